"""The control socket: one JSON object a line, and every kind of nonsense gets one sentence."""

from __future__ import annotations

import asyncio
import json
import socket as socketlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.control import MAX_CLIENTS, MAX_LINE, ControlSocket, SocketTakenError
from gateway.model import Event


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def socket(tmp_path: Path, told: list[Event]) -> AsyncIterator[Path]:
    async def execute(op: str, args: dict[str, Any], actor: str) -> dict[str, Any]:
        if op == "broken":
            raise RuntimeError("a mistake of ours")
        if op != "echo":
            raise LookupError(f"unknown operation {op!r}")
        return {"args": args, "actor": actor}

    task = asyncio.create_task(ControlSocket(tmp_path, execute, told.append).run())
    path = tmp_path / "control.sock"
    async with asyncio.timeout(5):
        while not path.exists() or stat.S_IMODE(path.stat().st_mode) != 0o660:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0)
    yield path
    task.cancel()
    await asyncio.wait([task])
    assert not path.exists()


async def ask(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(path)
    answers = []
    for line in lines:
        writer.write(line + b"\n")
        answers.append(json.loads(await reader.readline()))
    writer.close()
    return answers


async def test_an_operation_is_carried_out_and_says_who_asked(socket: Path) -> None:
    """Two requests on one connection, each with its answer."""
    first, second = await ask(socket, b'{"op": "echo", "args": {"a": 1}}', b'{"op": "echo"}')
    assert first == {"ok": True, "result": {"args": {"a": 1}, "actor": "local"}}
    assert second["result"]["args"] == {}


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b'{"op": 3}',
        b'{"op": "echo", "args": 1}',
        b"{}",
        b"\xff\xfe",
        pytest.param(b"[" * 60_000, id="brackets"),
    ],
)
async def test_nonsense_gets_a_sentence_and_the_connection_goes_on(socket: Path, line: bytes) -> None:
    """The next request on the same connection is answered as if nothing had been."""
    refused, good = await ask(socket, line, b'{"op": "echo"}')
    assert refused["ok"] is False
    assert refused["error"]
    assert good["ok"] is True


async def test_an_unknown_operation_names_itself(socket: Path) -> None:
    """What cannot be done is said, not guessed."""
    [answer] = await ask(socket, b'{"op": "fly"}')
    assert "fly" in answer["error"]


async def test_a_mistake_of_ours_is_told_and_answered(socket: Path, told: list[Event]) -> None:
    """An operation that breaks never looks like a daemon that is away."""
    [answer] = await ask(socket, b'{"op": "broken"}')
    assert "see its log" in answer["error"]
    assert [event.kind for event in told] == ["operation_failed"]


async def test_more_clients_than_allowed_are_told_to_come_again(socket: Path) -> None:
    """Memory stays bounded whatever local programs do (I12)."""
    held = [await asyncio.open_unix_connection(socket) for _ in range(MAX_CLIENTS)]
    for reader, writer in held:
        writer.write(b'{"op": "echo"}\n')
        await reader.readline()
    reader, _writer = await asyncio.open_unix_connection(socket)
    assert "too many clients" in json.loads(await reader.readline())["error"]
    _writer.close()
    for _, writer in held:
        writer.close()


async def test_a_request_that_is_too_long_is_told_so(socket: Path) -> None:
    """Not a silent hang-up: the caller must not think that the daemon is away."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"a" * (2 * MAX_LINE) + b"\n")
    assert "KiB" in json.loads(await reader.readline())["error"]
    writer.close()


async def _nothing(op: str, args: dict[str, Any], actor: str) -> dict[str, Any]:
    return {}


async def test_a_second_daemon_does_not_take_the_socket_of_one_that_lives(socket: Path, told: list[Event]) -> None:
    """The first one still answers, and the socket stays when the second one has given up."""
    with pytest.raises(SocketTakenError, match="--run"):
        await ControlSocket(socket.parent, _nothing, told.append).run()
    [answer] = await ask(socket, b'{"op": "echo"}')
    assert answer["ok"] is True


async def test_what_a_killed_daemon_left_is_replaced(tmp_path: Path, told: list[Event]) -> None:
    """A socket file at which nobody listens."""
    path = tmp_path / "control.sock"
    with socketlib.socket(socketlib.AF_UNIX) as dead:
        dead.bind(str(path))
    old = path.stat().st_mtime_ns
    task = asyncio.create_task(ControlSocket(tmp_path, _nothing, told.append).run())
    async with asyncio.timeout(5):
        while not path.exists() or path.stat().st_mtime_ns == old:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0)
    assert (await ask(path, b'{"op": "any"}'))[0]["ok"] is True
    task.cancel()
    await asyncio.wait([task])
    assert not path.exists()
