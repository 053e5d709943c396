"""The adapter against brokers that misbehave: each ends the connection with its reason, none hangs or leaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.cloud import mqtt
from gateway.cloud.mqtt import BrokerRefusedError, Connection, Mqtt, Will

CONNACK_OK = b"\x20\x02\x00\x00"
CONNACK_OK_V5 = b"\x20\x03\x00\x00\x00"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


async def packet(reader: asyncio.StreamReader) -> bytes:
    """One MQTT packet of less than 128 bytes."""
    first, length = await reader.readexactly(2)
    return bytes([first, length]) + await reader.readexactly(length)


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., object]]:
    """`await fake(script, mqtt)`: a connection (not opened) and its socket to a broker that follows the script."""
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.3)
    servers: list[asyncio.Server] = []
    sockets: list[socket.socket] = []

    async def make(script: Script, version: Mqtt = "3.1.1") -> tuple[Connection, socket.socket]:
        server = await asyncio.start_server(script, "127.0.0.1", 0)  # type: ignore[arg-type]
        servers.append(server)
        sock = socket.create_connection(server.sockets[0].getsockname())
        sock.setblocking(False)
        sockets.append(sock)
        return Connection("c", version, Will("w", b"gone"), lambda message: None, lambda: None), sock

    yield make
    for sock in sockets:
        assert sock.fileno() == -1, "the socket is closed"
    for server in servers:
        server.close()


async def test_a_silent_broker_is_left(fake: Callable[..., object]) -> None:
    """No CONNACK within its time: OSError, and the socket is closed."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    connection, sock = await fake(silent)  # type: ignore[misc]
    with pytest.raises(OSError, match="no answer to CONNECT"):
        await connection.open(sock, None, None)


@pytest.mark.parametrize(("version", "other"), [("3.1.1", "5"), ("5", "3.1.1")])
async def test_a_broker_that_hangs_up_may_speak_the_other_version(
    fake: Callable[..., object], version: str, other: str
) -> None:
    """Brokers of one version close without an answer: the next step names the other one."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.close()

    connection, sock = await fake(hang_up, version)  # type: ignore[misc]
    with pytest.raises(BrokerRefusedError) as refused:
        await connection.open(sock, None, None)
    assert f'mqtt = "{other}"' in refused.value.next_step


@pytest.mark.parametrize(
    ("version", "connack", "cause", "step"),
    [
        ("3.1.1", b"\x20\x02\x00\x01", "hangs up", 'mqtt = "5"'),
        ("3.1.1", b"\x20\x02\x00\x04", "Bad user name or password", "secret"),
        ("3.1.1", b"\x20\x02\x00\x05", "Not authorized", "secret"),
        ("5", b"\x20\x02\x00\x01", "Unsupported protocol version", 'mqtt = "3.1.1"'),
        ("5", b"\x20\x03\x00\x84\x00", "Unsupported protocol version", 'mqtt = "3.1.1"'),
        ("5", b"\x20\x03\x00\x87\x00", "Not authorized", "secret"),
        ("5", b"\x20\x03\x00\x97\x00", "Quota exceeded", "operator of the broker"),
    ],
)
async def test_a_refusal_is_told_with_its_remedy(
    fake: Callable[..., object], version: str, connack: bytes, cause: str, step: str
) -> None:
    """Each reason code leads to one next step."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(connack)
        await reader.read()
        writer.close()

    connection, sock = await fake(refuse, version)  # type: ignore[misc]
    with pytest.raises(BrokerRefusedError) as refused:
        await connection.open(sock, None, None)
    assert cause in str(refused.value)
    assert step in refused.value.next_step


@pytest.mark.parametrize(
    "noise", [b"\x00" * 40, b"\x20\x7f" + b"\xff" * 127, b"\x30\x02\x00\x09", b"HTTP/1.1 400 Bad\r\n"]
)
async def test_bytes_that_are_no_mqtt_end_the_connection_only(fake: Callable[..., object], noise: bytes) -> None:
    """A web server on the port, or a broken broker: the connection ends, nothing escapes into the loop."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(CONNACK_OK)
        await packet(reader)
        writer.write(noise)
        await reader.read()
        writer.close()

    connection, sock = await fake(babble)  # type: ignore[misc]
    await connection.open(sock, None, None)
    with pytest.raises(OSError):
        await connection.subscribe("down/#")
    assert connection.lost.is_set()
    assert connection.reason


async def test_a_message_beyond_the_largest_ends_the_connection(fake: Callable[..., object]) -> None:
    """A broker cannot make us hold 200 MB: the length alone is enough to leave."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(CONNACK_OK)
        writer.write(b"\x32\xff\xff\xff\x7f" + b"\x00\x01a\x00\x01" + b"x" * 1000)
        await reader.read()
        writer.close()

    connection, sock = await fake(flood)  # type: ignore[misc]
    await connection.open(sock, None, None)
    async with asyncio.timeout(2):
        await connection.lost.wait()
    assert "larger" in connection.reason


async def test_the_brokers_receive_maximum_is_kept(fake: Callable[..., object]) -> None:
    """MQTT 5: at most as many unconfirmed messages as it says; a PUBACK makes room, one with an error ends it."""
    go = asyncio.Event()

    async def narrow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(b"\x20\x06\x00\x00\x03\x21\x00\x02")  # Receive Maximum 2
        first = await packet(reader)
        mid = first[5:7]
        writer.write(b"\x40\x02" + mid)
        await go.wait()
        second = await packet(reader)
        writer.write(b"\x40\x04" + second[5:7] + b"\x87\x00")  # Not authorized
        await reader.read()
        writer.close()

    taken: list[str] = []
    connection, sock = await fake(narrow, "5")  # type: ignore[misc]
    await connection.open(sock, None, None)
    assert connection.room == 2
    assert connection.publish("t", b"1", taken=lambda: taken.append("1"))
    assert connection.publish("t", b"2", taken=lambda: taken.append("2"))
    assert not connection.publish("t", b"3")
    async with asyncio.timeout(2):
        while connection.room == 0:  # noqa: ASYNC110 - a broker's answer on a real wire
            await asyncio.sleep(0.005)
    assert taken == ["1"]
    go.set()
    async with asyncio.timeout(2):
        await connection.lost.wait()
    assert "Not authorized" in connection.reason
    assert taken == ["1"]
    assert connection.room == 0


async def test_only_so_many_bytes_are_under_way(fake: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a thin line a hundred long records would not be confirmed in time; a single one may always go."""
    monkeypatch.setattr(mqtt, "MAX_UNCONFIRMED_BYTES", 100)
    go = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(CONNACK_OK)
        await go.wait()
        first = await packet(reader)
        writer.write(b"\x40\x02" + first[5:7])
        await reader.read()
        writer.close()

    connection, sock = await fake(late)  # type: ignore[misc]
    await connection.open(sock, None, None)
    assert connection.room == mqtt.MAX_UNCONFIRMED
    assert connection.publish("t", b"x" * 120)
    assert connection.room == 0
    assert not connection.publish("t", b"y")
    go.set()
    async with asyncio.timeout(2):
        while connection.room == 0:  # noqa: ASYNC110 - a broker's answer on a real wire
            await asyncio.sleep(0.005)
    assert [connection.publish("t", b"z" * 40) for _ in range(3)] == [True, True, False]
    connection.abort("enough")


async def test_a_broker_that_confirms_nothing_is_left(
    fake: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers pings but no messages: the connection ends, and a new one may do better."""
    monkeypatch.setattr(mqtt, "PUBACK_S", 0.2)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(CONNACK_OK)
        await reader.read()
        writer.close()

    connection, sock = await fake(deaf)  # type: ignore[misc]
    await connection.open(sock, None, None)
    connection.publish("t", b"1")
    async with asyncio.timeout(3):
        await connection.lost.wait()
    assert "not confirmed" in connection.reason


async def test_a_cancelled_connect_closes_its_socket(fake: Callable[..., object]) -> None:
    """The daemon stops while it waits for the broker."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    connection, sock = await fake(silent)  # type: ignore[misc]
    opening = asyncio.create_task(connection.open(sock, None, None))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
