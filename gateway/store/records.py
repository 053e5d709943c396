"""Signed texts: kept for ever as they came, chained by hash, their pagination counted in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.model import Connection

GENESIS = "0" * 64
"""`prev` of the first record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRow:
    """One signed text. `sha256` is over prev, LF, text."""

    session: str
    kind: str
    signed_by: str
    key_id: str
    charge_point: str
    pagination: int | None
    text: str
    reading: str | None
    prev: str
    sha256: str
    id: int = 0


_COLUMNS = "session, kind, signed_by, key_id, charge_point, pagination, text, reading, prev, sha256"


def next_page(db: Connection, key_id: str, charge_point: str) -> int:
    """Draw the next number of a key and charge point, from 1; it is spent with the transaction, and never again."""
    row = db.execute(
        "INSERT INTO pagination (key_id, charge_point, next) VALUES (?, ?, 2) "
        "ON CONFLICT (key_id, charge_point) DO UPDATE SET next = next + 1 RETURNING next - 1",
        (key_id, charge_point),
    ).fetchone()
    assert row is not None
    return int(row[0])


def head(db: Connection) -> str:
    """The hash of the newest record."""
    row = db.execute("SELECT sha256 FROM record ORDER BY id DESC LIMIT 1").fetchone()
    return str(row[0]) if row else GENESIS


def append(db: Connection, record: RecordRow) -> int:
    """Keep one record; its id."""
    row = db.execute(
        f"INSERT INTO record ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            record.session, record.kind, record.signed_by, record.key_id, record.charge_point, record.pagination,
            record.text, record.reading, record.prev, record.sha256,
        ),
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


def of_session(db: Connection, session: str) -> list[RecordRow]:
    """The records of one session, in the order they were signed."""
    rows = db.execute(f"SELECT {_COLUMNS}, id FROM record WHERE session = ? ORDER BY id", (session,))
    return [_row(row) for row in rows]


def everything(db: Connection) -> Iterator[RecordRow]:
    """Every record, oldest first; rows are fetched as they are asked for."""
    for row in db.execute(f"SELECT {_COLUMNS}, id FROM record ORDER BY id"):
        yield _row(row)


def _row(values: tuple[object, ...]) -> RecordRow:
    names = (*_COLUMNS.split(", "), "id")
    return RecordRow(**dict(zip(names, values, strict=True)))  # type: ignore[arg-type]
