"""Breaks I6: the end register that is signed and billed is one watt-hour above the one that the meter gave."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from gateway.cli import main
from gateway.model import Connection, Reading, Stamp
from gateway.records import ocmf
from gateway.records.bodies import Body, SessionEnd
from gateway.sessions import writing
from gateway.sessions.session import Session
from gateway.sessions.writing import Writer
from gateway.store.outbox import Identity
from gateway.store.records import RecordRow


def apply() -> None:
    """Count one up in what is signed and in what is told; the readings that are kept stay true."""
    true_sign, true_append = Writer._sign, writing.append

    def sign(
        self: Writer, db: Connection, session: Session, kind: str, letter: ocmf.Transaction, reading: Reading,
        begin: RecordRow | None = None,
    ) -> str:  # fmt: skip
        if kind == "end" and reading.import_wh is not None:
            reading = replace(reading, import_wh=reading.import_wh + 1)
        return true_sign(self, db, session, kind, letter, reading, begin)

    def append(db: Connection, who: Identity, random: Random, stamp: Stamp, schema: str, body: Body) -> None:
        if isinstance(body, SessionEnd) and body.end_wh is not None and body.energy_wh is not None:
            body = body.model_copy(update={"end_wh": body.end_wh + 1, "energy_wh": body.energy_wh + 1})
        true_append(db, who, random, stamp, schema, body)

    Writer._sign = sign  # type: ignore[method-assign]
    writing.append = append


if __name__ == "__main__":
    apply()
    raise SystemExit(main())
