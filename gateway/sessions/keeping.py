"""Keeps a second copy of what is signed, and writes into the chain what a judge of the records must know of a start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gateway.model import Connection, Event, Severity, Tell, World
from gateway.store import meta
from gateway.store.database import Database
from gateway.store.second_copy import SecondCopy, head, rows_after

Argument = TypeVar("Argument")
Result = TypeVar("Result")

LOOK_AGAIN_S = 60.0
"""The database is looked at this often even if nobody calls (site seconds)."""

RETRY_S = 60.0
CLEAN, VERSION = "ended_cleanly", "version"


class Keeping:
    """Copies new records after their commit. A copy that cannot be written stops nothing else; it is told once."""

    def __init__(self, folder: Path, world: World, db: Database, tell: Tell) -> None:
        self._copy, self._world, self._db, self._tell = SecondCopy(folder), world, db, tell
        self._wake = asyncio.Event()
        self._failed = False
        self.last = 0
        """The newest record that stands in the copy."""

    def notify(self) -> None:
        """A record was committed."""
        self._wake.set()

    async def run(self) -> None:
        """Copy for ever."""
        opened = False
        while True:
            self._wake.clear()
            try:
                if not opened:
                    await self._open()
                    opened = True
                await self._catch_up()
                self._failed = False
            except OSError as error:
                opened = False
                self._tell_failed(error)
            await self._wait()

    async def _open(self) -> None:
        hashes = await self._db.run(_newest_hashes)
        found = await self._outside(self._copy.open, hashes)
        self.last = found.last
        for note in found.notes:
            self._tell(_repaired(self._copy.path.name, note))

    async def _catch_up(self) -> None:
        while rows := await self._db.run(lambda db: rows_after(db, self.last)):
            await self._outside(self._copy.append, [payload for _, payload in rows])
            self.last = rows[-1][0]

    async def _outside(self, work: Callable[[Argument], Result], argument: Argument) -> Result:
        """What waits for the file system must not hold up the loop, nor the database."""
        return await asyncio.get_running_loop().run_in_executor(self._world.net, work, argument)

    def _tell_failed(self, error: OSError) -> None:
        if self._failed:
            return
        self._failed = True
        self._tell(
            Event(
                "copy_failed", self._copy.path.name, f"{error.strerror or error}",
                next_step="make room on the disk; the records are safe in the database, the copy catches up by itself",
                severity=Severity.WARNING, keep=True,
            )
        )  # fmt: skip

    async def _wait(self) -> None:
        wait_s = RETRY_S if self._failed else LOOK_AGAIN_S
        try:
            async with asyncio.timeout(self._world.clock.link_s(wait_s)):
                await self._wake.wait()
        except TimeoutError:
            return


def _newest_hashes(db: Connection) -> dict[int, str]:
    number, sha256 = head(db)
    rows = db.execute("SELECT id, sha256 FROM record WHERE id > ?", (number - 1000,)).fetchall() if sha256 else []
    return {int(row[0]): str(row[1]) for row in rows}


def _repaired(name: str, note: str) -> Event:
    return Event(
        "copy_repaired", name, note,
        next_step="it happens after a power cut; `zev-gateway verify --all` compares copy and database",
        severity=Severity.WARNING, keep=True,
    )  # fmt: skip


# What a start finds


def begin(db: Connection, version: str, boot: int) -> list[Event]:
    """A power cut and a new version since the last start, as events for the chain; inside one transaction."""
    first, clean = boot == 1, meta.get(db, CLEAN) == "1"
    before = meta.get(db, VERSION)
    meta.put(db, CLEAN, "0")
    meta.put(db, VERSION, version)
    events: list[Event] = []
    if not first and not clean:
        data = {"boot": boot, "last_written_ms": int(meta.get(db, "newest_ms") or 0)}
        step = "was the machine switched off, or did the service fail? journalctl -u zev-gateway"
        events.append(
            Event("power", "gateway", "the last run did not end cleanly: power cut or kill", step, Severity.WARNING,
                  data, keep=True)
        )  # fmt: skip
    if before is not None and before != version:
        events.append(Event("software_changed", "gateway", f"{before} -> {version}",
                            data={"before": before, "now": version}, keep=True))  # fmt: skip
    return events


def end(db: Connection) -> None:
    """The gateway ends by itself: the next start finds no power cut."""
    meta.put(db, CLEAN, "1")
