"""The real process is killed again and again while a wallbox talks to it: what it confirmed stands in its journal."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

ROOT = Path(__file__).parent.parent.parent
READY_S = 60.0
"""Real seconds until the process listens, on a machine that other tests keep busy."""

PATIENT_EVERY = 4
"""So many lives to one that lasts until something has been confirmed: a meter value may wait up to 5 s for a commit
that it shares (docs/decisions/0010), and nobody would get past it in lives of a quarter of a second."""

SITE = """\
[site]
id = "killed"
name = "Killed house"

[ocpp]
listen = "127.0.0.1:{port}"

[[circuit]]
id = "house"
fuse_a = 40
fuse = "gG"
house_worst_a = 20

[[charger]]
id = "box1"
circuit = "house"
max_a = 16
fallback_a = 6
participant = "p1"

[[participant]]
id = "p1"
name = "Box 1"
kind = "charger"

[[token]]
id = "CARD-A"
tenant = "anna"

[tariff]
default = "NT"
windows = []
"""


class Box:
    """A wallbox that says one transaction message after the other and notes what was confirmed."""

    def __init__(self, port: int) -> None:
        self.confirmed: list[str] = []
        self.heard = asyncio.Event()
        """Something has been confirmed in this life of the gateway."""

        self._url = f"ws://127.0.0.1:{port}/box1"
        self._number = 0
        self._transaction: int | None = None

    async def talk(self) -> None:
        """Until the line goes down."""
        try:
            async with connect(self._url, subprotocols=[Subprotocol("ocpp1.6")], proxy=None) as line:
                await self._call(line, "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
                while True:
                    await self._say(line)
        except (OSError, WebSocketException):
            return

    async def _say(self, line: ClientConnection) -> None:
        """Start, two meter values, stop, and so on; a start whose answer was lost is said again."""
        hour, second = divmod(self._number, 3600)
        at = f"2026-06-13T{10 + hour:02d}:{second // 60:02d}:{second % 60:02d}Z"
        step = self._number % 4
        if step == 0:
            payload: dict[str, object] = {
                "connectorId": 1,
                "idTag": "CARD-A",
                "meterStart": self._number,
                "timestamp": at,
            }
            answer = await self._confirmed(line, "StartTransaction", payload)
            self._transaction = int(answer["transactionId"])
        elif step == 3:
            await self._confirmed(
                line,
                "StopTransaction",
                {"transactionId": self._transaction, "meterStop": self._number, "timestamp": at},
            )
        else:
            value = {"timestamp": at, "sampledValue": [{"value": str(self._number)}]}
            await self._confirmed(
                line, "MeterValues", {"connectorId": 1, "transactionId": self._transaction, "meterValue": [value]}
            )
        self._number += 1

    async def _confirmed(self, line: ClientConnection, action: str, payload: dict[str, object]) -> dict[str, object]:
        message_id = f"{action}-{self._number}"
        answer = await self._call(line, action, payload, message_id)
        self.confirmed.append(message_id)
        self.heard.set()
        return answer

    async def _call(
        self, line: ClientConnection, action: str, payload: dict[str, object], message_id: str = "boot"
    ) -> dict[str, object]:
        await line.send(json.dumps([2, message_id, action, payload]))
        while True:
            frame = json.loads(await line.recv())
            if frame[0] == 3 and frame[1] == message_id:
                return frame[2]  # type: ignore[no-any-return]
            if frame[0] == 2:
                await line.send(json.dumps([3, frame[1], {"status": "Accepted"}]))


async def _start(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "run", "--config", str(folder / "site.toml"),
        "--state", str(folder / "state"), "--run", str(folder / "run"),
        cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=(folder / "log").open("ab"),
    )  # fmt: skip


async def _listens(port: int) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def kill_often(folder: Path, kills: int, seed: int) -> tuple[Box, int]:
    """Start, let the box talk for a moment, SIGKILL; returns the box and the exit code of a clean end after it all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "site.toml").write_text(SITE.format(port=port))
    box, source = Box(port), random.Random(seed)
    for number in range(kills + 1):
        process = await _start(folder)
        await _listens(port)
        box.heard.clear()
        talking = asyncio.create_task(box.talk())
        if number % PATIENT_EVERY == 0:
            async with asyncio.timeout(READY_S):
                await box.heard.wait()
        await asyncio.sleep(source.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL if number < kills else signal.SIGTERM)
        code = await process.wait()
        await talking
    return box, code


def _journal(folder: Path) -> tuple[list[str], str]:
    db = sqlite3.connect(folder / "state" / "billing.db")
    try:
        names = [row[0] for row in db.execute("SELECT message_id FROM journal ORDER BY entry")]
        return names, db.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        db.close()


async def _lose_nothing(folder: Path, kills: int) -> None:
    box, code = await kill_often(folder, kills, seed=kills)
    names, check = _journal(folder)
    kept = set(names)
    assert [name for name in box.confirmed if name not in kept] == []
    assert [name for name in names if name in set(box.confirmed)] == box.confirmed, "in the order of confirming"
    assert len(names) == len(kept), "a message that was repeated stands once"
    assert check == "ok"
    assert code == 0
    assert len(box.confirmed) > kills


async def test_what_a_killed_process_confirmed_is_in_its_journal(tmp_path: Path) -> None:
    """20 SIGKILLs, each at another moment of start and traffic."""
    await _lose_nothing(tmp_path, 20)


@pytest.mark.slow
async def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    await _lose_nothing(tmp_path, 200)
