"""Breaks I6: the end register that is signed and billed is one watt-hour above the one that the meter gave."""

from __future__ import annotations

from dataclasses import replace

from gateway.cli import main
from gateway.model import Connection, Reading, Stamp
from gateway.sessions.session import Session
from gateway.sessions.writing import Writer


def apply() -> None:
    """Count one up before the end is signed."""
    true_end = Writer.end

    def end(self: Writer, db: Connection, session: Session, reading: Reading | None, stamp: Stamp) -> None:
        if session.end_wh is not None and reading is not None and reading.import_wh is not None:
            session = replace(session, end_wh=session.end_wh + 1)
            reading = replace(reading, import_wh=reading.import_wh + 1)
        true_end(self, db, session, reading, stamp)

    Writer.end = end  # type: ignore[method-assign]


if __name__ == "__main__":
    apply()
    raise SystemExit(main())
