"""What the simulators saw, kept for the judge (simulators/README.md). Everything is written in batches."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

from simulators.clock import SiteClock

BATCH = 5000
"""Rows of one table: a transaction and its file writes cost as much as some hundred rows."""

TRUTH = """
CREATE TABLE boundary (meter TEXT, at_ms INTEGER, import_wh REAL, export_wh REAL);
CREATE TABLE served (meter TEXT, at_ms INTEGER, import_wh INTEGER, export_wh INTEGER);
CREATE TABLE fuse (circuit TEXT, phase INTEGER, at_ms INTEGER, kind TEXT, seconds REAL, ratio REAL);
CREATE TABLE power (meter TEXT, k INTEGER, max_w REAL);
CREATE TABLE draw (charger TEXT, at_ms INTEGER, current_ma INTEGER, limit_ma INTEGER);
"""
INDEXES = """
CREATE INDEX draw_at ON draw (charger, at_ms, current_ma);
CREATE INDEX served_at ON served (meter, at_ms);
"""
"""The judge asks for spans of a day's millions of rows; made at the end, they cost the building nothing."""

INSERTS = {
    "boundary": "INSERT INTO boundary VALUES (?, ?, ?, ?)",
    "served": "INSERT INTO served VALUES (?, ?, ?, ?)",
    "fuse": "INSERT INTO fuse VALUES (?, ?, ?, ?, ?, ?)",
    "power": "INSERT INTO power VALUES (?, ?, ?)",
    "draw": "INSERT INTO draw VALUES (?, ?, ?, ?)",
}


def open_evidence(path: Path, tables: str) -> sqlite3.Connection:
    """A new database of evidence: it may be lost with the machine, so nothing waits for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.executescript(tables)
    return connection


class TruthLog:
    """evidence/truth.db; see the table in simulators/README.md."""

    def __init__(self, path: Path) -> None:
        self._connection = open_evidence(path, TRUTH)
        self._waiting: dict[str, list[tuple[Any, ...]]] = {table: [] for table in INSERTS}
        self._draws = self._waiting["draw"]

    def boundary(self, meter: str, at_ms: int, import_wh: float, export_wh: float) -> None:
        """The registers' true content at a quarter hour."""
        self._add("boundary", (meter, at_ms, import_wh, export_wh))

    def served(self, meter: str, at_ms: int, import_wh: int | None, export_wh: int | None) -> None:
        """A meter has answered with these registers."""
        self._add("served", (meter, at_ms, import_wh, export_wh))

    def fuse(self, circuit: str, phase: int, at_ms: int, kind: str, seconds: float, ratio: float) -> None:
        """A phase was above its limit, has tripped, or was watched; phases are written 1, 2, 3."""
        self._add("fuse", (circuit, phase + 1, at_ms, kind, seconds, ratio))

    def power(self, meter: str, k: int, max_w: float) -> None:
        """The largest power of a meter in quarter hour k."""
        self._add("power", (meter, k, max_w))

    def draw(self, charger: str, at_ms: int, current_ma: int, limit_ma: int) -> None:
        """What a car drew on its largest phase, and what it was offered: for every box in every second."""
        self._draws.append((charger, at_ms, current_ma, limit_ma))
        if len(self._draws) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._connection.execute("BEGIN")
        for table, rows in self._waiting.items():
            self._connection.executemany(INSERTS[table], rows)
            rows.clear()
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Write what waits and end."""
        self.flush()
        self._connection.executescript(INDEXES)
        self._connection.close()

    def _add(self, table: str, row: tuple[Any, ...]) -> None:
        rows = self._waiting[table]
        rows.append(row)
        if len(rows) >= BATCH:
            self.flush()


class LineLog:
    """JSON lines, written every second of real time and at the end."""

    def __init__(self, path: Path, clock: SiteClock) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("w", encoding="utf-8", buffering=1 << 16)
        self._clock = clock

    def line(self, **keys: Any) -> None:
        """One line, with the site time first."""
        self._file.write(json.dumps({"t": self._clock.utc_ms(), **keys}, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Hand what waits to the system."""
        self._file.flush()

    def close(self) -> None:
        """Write what waits and end."""
        self._file.close()


class FrameLog(LineLog):
    """The frames of one side of the wire."""

    def frame(self, charger: str, direction: Literal["in", "out"], frame: str) -> None:
        """A frame that was received (`in`) or is about to be sent (`out`)."""
        self.line(charger=charger, dir=direction, frame=frame)


class EventLog(LineLog):
    """The story as it happened; `listeners` hear each line."""

    def __init__(self, path: Path, clock: SiteClock) -> None:
        super().__init__(path, clock)
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []

    def event(self, what: str, **keys: Any) -> None:
        """Something happened."""
        self.line(what=what, **keys)
        self.flush()
        for listener in self.listeners:
            listener(what, keys)


class Beat:
    """A beat of 10 ms that measures how long this process, or the machine, stood still."""

    PERIOD_S = 0.01

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.PERIOD_S
            await asyncio.sleep(self.PERIOD_S)
            self.longest_s = max(self.longest_s, loop.time() - due)

    def write(self, path: Path) -> None:
        """evidence/beat.json."""
        path.write_text(json.dumps({"longest_stall_ms": round(self.longest_s * 1000, 1)}) + "\n", encoding="utf-8")
