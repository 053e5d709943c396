"""`control.sock`: one JSON object a line in, one out. The command line and the health check speak it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.model import Event, Severity, Tell

SOCKET_NAME = "control.sock"
MAX_LINE = 64 * 1024
MAX_CLIENTS = 16
"""More are told to come again: a stuck client must not cost memory (I12)."""

IDLE_LINK_S = 30.0
Execute = Callable[[str, dict[str, Any], str], Awaitable[dict[str, Any]]]


class SocketTakenError(Exception):
    """Another daemon lives in the same runtime directory."""


class ControlSocket:
    """Serves operations on a Unix socket in the runtime directory (mode 0660)."""

    def __init__(self, run_dir: Path, execute: Execute, tell: Tell) -> None:
        self._path = run_dir / SOCKET_NAME
        self._execute = execute
        self._tell = tell
        self._clients = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._leave_others_alone()
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, path=self._path, limit=MAX_LINE)
        os.chmod(self._path, 0o660)
        ours = self._path.stat().st_ino
        async with server:
            try:
                await server.serve_forever()
            finally:
                with suppress(FileNotFoundError):
                    if self._path.stat().st_ino == ours:
                        self._path.unlink()

    async def _leave_others_alone(self) -> None:
        """What a dead daemon left may be replaced, the socket of one that lives may not. SocketTakenError."""
        try:
            _, writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            return
        writer.close()
        raise SocketTakenError(f"another gateway answers at {self._path}: give each its own directory with --run")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > MAX_CLIENTS:
                await _answer(writer, {"ok": False, "error": "too many clients: try again in a moment"})
                return
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError) as error:
            self._tell(
                Event("control_client_lost", "control.sock", str(error) or type(error).__name__, severity=Severity.INFO)
            )
        finally:
            self._clients -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_LINK_S):
                try:
                    line = await reader.readline()
                except ValueError:  # longer than the limit; what follows it is no request any more
                    await _answer(writer, {"ok": False, "error": f"a request may have {MAX_LINE // 1024} KiB"})
                    return
            if not line:
                return
            await _answer(writer, await self._reply(line))

    async def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            op, args = request["op"], request.get("args", {})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # the last: ten thousand brackets
            return _refusal('expected one JSON object a line, for example {"op": "status"}')
        if not isinstance(op, str) or not isinstance(args, dict):
            return _refusal('"op" must be a text and "args" an object')
        try:
            return {"ok": True, "result": await self._execute(op, args, "local")}
        except (ValueError, LookupError) as error:
            return _refusal(str(error.args[0] if error.args else error))
        except Exception as error:  # noqa: BLE001 - a fault of one operation must not hide in a closed connection
            self._tell(
                Event("operation_failed", op, f"{type(error).__name__}: {error}", severity=Severity.ERROR,
                      next_step="send this line to the maker")
            )  # fmt: skip
            return {"ok": False, "error": f"{op} failed inside the gateway ({type(error).__name__}): see its log"}


def _refusal(sentence: str) -> dict[str, Any]:
    """What was asked for is wrong, not the gateway."""
    return {"ok": False, "refused": True, "error": sentence}


async def _answer(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
    await writer.drain()
