"""The uplink: what it carries, drops, refuses and swallows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from simulators.uplink import Mode, Uplink


@pytest.fixture
async def uplink() -> AsyncIterator[Uplink]:
    """Two services that echo, each with its own mark."""
    servers = []
    targets = {}
    for mark in (b"a", b"b"):

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mark: bytes = mark) -> None:
            while data := await reader.read(100):
                writer.write(mark + data)
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        servers.append(server)
        targets[mark.decode()] = ("127.0.0.1", server.sockets[0].getsockname()[1])
    made = Uplink(targets)
    await made.start()
    yield made
    await made.stop()
    for server in servers:
        server.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """The other side has gone, with or without a reset."""
    try:
        return await asyncio.wait_for(reader.read(10), 2) == b""
    except ConnectionResetError:
        return True


async def ask(uplink: Uplink, name: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", uplink.port(name))
    writer.write(b"x")
    answer = await asyncio.wait_for(reader.read(10), 2)
    writer.close()
    return answer


async def test_it_carries_each_service_to_its_own_target(uplink: Uplink) -> None:
    """One port per name."""
    assert await ask(uplink, "a") == b"ax"
    assert await ask(uplink, "b") == b"bx"
    assert uplink.connects == {"a": 1, "b": 1}


async def test_a_cut_drops_and_refuses_until_it_is_restored(uplink: Uplink) -> None:
    """What was open ends at once, new connects are refused, the same port comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", uplink.port("a"))
    writer.write(b"1")
    assert await reader.read(10) == b"a1"
    port = uplink.port("a")
    await uplink.cut()
    assert await ended(reader)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert uplink.mode is Mode.CUT
    await uplink.restore()
    assert uplink.port("a") == port
    assert await ask(uplink, "a") == b"ax"


async def test_half_open_swallows_bytes_and_tells_nobody(uplink: Uplink) -> None:
    """The connection stands, nothing comes through; restoring drops it, as a router that has forgotten it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", uplink.port("a"))
    writer.write(b"1")
    assert await reader.read(10) == b"a1"
    uplink.half_open()
    writer.write(b"2")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(10), 0.1)
    await uplink.restore()
    assert await ended(reader)
    writer.close()
    assert await ask(uplink, "a") == b"ax"


async def test_a_service_that_is_not_there_closes_the_connection(uplink: Uplink) -> None:
    """As a proxy does: accepted, then ended."""
    uplink.retarget("a", "127.0.0.1", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", uplink.port("a"))
    assert await ended(reader)
    writer.close()
