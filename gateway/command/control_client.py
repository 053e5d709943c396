"""Asks the running daemon through `control.sock`: one JSON object a line out, one in."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from gateway.command.directories import UserError

TIMEOUT_S = 10.0
SLOW_S = {"period": 600.0, "purge": 600.0, "import": 60.0}
"""Operations that go through months of quarter hours."""

MAX_ANSWER = 16 * 1024 * 1024


def ask(run_dir: Path, op: str, **args: Any) -> dict[str, Any]:
    """The result of one operation. UserError: exit 2 where the daemon refuses what it was asked, 1 where it
    fails or nobody answers."""
    path = run_dir / "control.sock"
    timeout_s = SLOW_S.get(op, TIMEOUT_S)
    request = json.dumps({"op": op, "args": args}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout_s)
            channel.connect(str(path))
            channel.sendall(request)
            line = _read_line(channel)
    except PermissionError as error:
        raise UserError(f"{path} is not open to this user: use sudo", 1) from error
    except TimeoutError as error:
        raise UserError(
            f"the gateway did not answer within {timeout_s:.0f} s: see journalctl -u zev-gateway", 1
        ) from error
    except OSError as error:
        raise UserError(
            f"no gateway answers at {path}: start it, or say with --run where its runtime directory is", 1
        ) from error
    return _result(line)


def _read_line(channel: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) <= MAX_ANSWER:
        part = channel.recv(65536)
        if not part:
            break
        received += part
    return bytes(received)


def _result(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
        if answer["ok"]:
            result: dict[str, Any] = answer["result"]
            return result
        sentence, code = str(answer["error"]), 2 if answer.get("refused") else 1
    except (ValueError, KeyError, TypeError) as error:
        raise UserError("the gateway broke off its answer: see journalctl -u zev-gateway", 1) from error
    raise UserError(sentence, code)
