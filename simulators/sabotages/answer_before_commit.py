"""Breaks I3: meter values are confirmed at once and reach the disk four site minutes later; a kill loses the last."""

from __future__ import annotations

from gateway.cli import main
from gateway.model import Connection
from gateway.store import journal
from gateway.store.journal import NewEntry

DELAY_MS = 240_000
NO_ENTRY = 0
"""What the relay is told; no entry has this number."""


def apply() -> None:
    """Put a memory between the relay and its journal."""
    write = journal.append
    held: list[NewEntry] = []

    def append(db: Connection, new: NewEntry) -> int:
        while held and held[0].at_ms <= new.at_ms - DELAY_MS:
            write(db, held.pop(0))
        if new.action != "MeterValues":
            return write(db, new)
        held.append(new)
        return NO_ENTRY

    journal.append = append


if __name__ == "__main__":
    apply()
    raise SystemExit(main())
