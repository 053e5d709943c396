"""The second, append-only copy of the signed records beside the database: `sessions.log` in the state directory.

It is written after the commit, frame by frame, and fsynced; at the start it is repaired from the database. It is never
rewritten: where its content contradicts the database the file is set aside under another name, told, and begun anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.model import Connection
from gateway.store.frames import MAGIC, Walk, frame

NAME = "sessions.log"
BATCH = 200
"""Records that are copied with one fsync."""

_COLUMNS = ("id", "session", "kind", "signed_by", "key_id", "charge_point", "pagination", "text", "prev", "sha256")


@dataclass(frozen=True, slots=True)
class Opened:
    """How the copy was found: `last` is the newest record in it, `notes` say in words what was repaired."""

    last: int
    notes: tuple[str, ...] = ()


def payload_of(row: tuple[Any, ...]) -> bytes:
    """One record as the copy holds it."""
    return json.dumps(dict(zip(_COLUMNS, row, strict=True)), ensure_ascii=False, separators=(",", ":")).encode()


def rows_after(db: Connection, last: int, limit: int = BATCH) -> list[tuple[int, bytes]]:
    """Records that are newer than `last`, oldest first, as (id, payload)."""
    rows = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM record WHERE id > ? ORDER BY id LIMIT ?", (last, limit))
    return [(row[0], payload_of(row)) for row in rows]


def head(db: Connection) -> tuple[int, str | None]:
    """The newest record of the database: its number and hash."""
    row = db.execute("SELECT id, sha256 FROM record ORDER BY id DESC LIMIT 1").fetchone()
    return (int(row[0]), str(row[1])) if row else (0, None)


class SecondCopy:
    """The file. Its methods block; call them outside the event loop."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def open(self, db_hashes: dict[int, str]) -> Opened:
        """Make the file, cut off a torn end, and see that what it holds is what the database holds.

        `db_hashes` are number and hash of the newest records of the database. OSError.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            self._begin()
            return Opened(0)
        newest_payload = b""
        with self.path.open("rb") as file:
            walk = Walk(file.read)
            for payload in walk:
                newest_payload = payload
        size, notes = self.path.stat().st_size, list[str]()
        if walk.fault is not None and walk.good_bytes:
            self._cut(walk.good_bytes)
            notes.append(f"{walk.fault}: {size - walk.good_bytes} bytes were cut off and are written again")
        last, sha256 = _identity(newest_payload)
        newest = max(db_hashes, default=0)
        if not walk.good_bytes or last > newest or (last and db_hashes.get(last, sha256) != sha256):
            aside = self._set_aside()
            why = (
                f"it {walk.fault}"
                if not walk.good_bytes
                else f"it ends with record {last}, the database has another one"
            )
            notes.append(f"{why}; it was kept as {aside.name} and begun anew")
            self._begin()
            return Opened(0, tuple(notes))
        return Opened(last, tuple(notes))

    def append(self, payloads: list[bytes]) -> None:
        """Write records behind the others and wait for the disk. OSError."""
        with self.path.open("ab") as file:
            file.write(b"".join(frame(payload) for payload in payloads))
            file.flush()
            os.fsync(file.fileno())

    def _begin(self) -> None:
        with self.path.open("wb") as file:
            file.write(MAGIC)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.path.parent)

    def _cut(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def _set_aside(self) -> Path:
        number = 1
        while (aside := self.path.with_name(f"{NAME}.{number}")).exists():
            number += 1
        self.path.rename(aside)
        return aside


def compare(db: Connection, folder: Path) -> Iterator[tuple[int, str]]:
    """What differs between the copy and the database, by record; a copy that lags behind by its newest is no fault."""
    path = folder / NAME
    if not path.exists():
        yield 0, f"there is no second copy {path.name}"
        return
    rows = iter(db.execute(f"SELECT {', '.join(_COLUMNS)} FROM record ORDER BY id"))
    with path.open("rb") as file:
        walk = Walk(file.read)
        row = next(rows, None)
        for payload in walk:
            number, _ = _identity(payload)
            while row is not None and row[0] < number:
                yield row[0], "is missing in the second copy"
                row = next(rows, None)
            if row is None or row[0] > number:
                yield number, "stands in the second copy only"
                continue
            if payload != payload_of(row):
                yield number, "is another one in the second copy"
            row = next(rows, None)
    if walk.fault is not None:
        yield 0, f"{NAME} {walk.fault}"


def _identity(payload: bytes) -> tuple[int, str | None]:
    if not payload:
        return 0, None
    values = json.loads(payload)
    return int(values["id"]), str(values["sha256"])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
