"""Breaks I5: the end of a session is put into the outbox twice, each with an id of its own."""

from __future__ import annotations

from random import Random

from gateway.cli import main
from gateway.model import Connection, Stamp
from gateway.records.bodies import Body
from gateway.sessions import writing
from gateway.store.outbox import Identity


def apply() -> None:
    """Append the end of a session once more."""
    once = writing.append

    def append(db: Connection, who: Identity, random: Random, stamp: Stamp, schema: str, body: Body) -> None:
        for _ in range(2 if schema == "session.end.v1" else 1):
            once(db, who, random, stamp, schema, body)

    writing.append = append


if __name__ == "__main__":
    apply()
    raise SystemExit(main())
