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


# Texts that chargers signed


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargerText:
    """What is known of a charger's text beside the text itself. `spki_hex` is the key that the verdict rests on."""

    record: int
    charger: str
    connector: int
    entry: int
    place: int
    at_ms: int
    frame_sha256: str
    text_sha256: str
    wrapper: str
    context: str
    method: str
    encoding: str
    key_received: str | None
    format: str
    verdict: str
    reason: str
    spki_hex: str | None


_TEXT = (
    "record, charger, connector, entry, place, at_ms, frame_sha256, text_sha256, wrapper, context, method, encoding, "
    "key_received, format, verdict, reason, spki_hex"
)


def is_kept(db: Connection, charger: str, session: str, text_sha256: str) -> bool:
    """Whether the session already has this text of the charger: chargers send one several times."""
    row = db.execute(
        "SELECT 1 FROM charger_text JOIN record ON record.id = charger_text.record "
        "WHERE charger = ? AND text_sha256 = ? AND session = ? LIMIT 1",
        (charger, text_sha256, session),
    ).fetchone()
    return row is not None


def has_verdict(db: Connection, session: str, verdict: str) -> bool:
    """Whether a text of the session already got this verdict."""
    row = db.execute(
        "SELECT 1 FROM record JOIN charger_text ON charger_text.record = record.id "
        "WHERE session = ? AND verdict = ? LIMIT 1",
        (session, verdict),
    ).fetchone()
    return row is not None


def describe(db: Connection, text: ChargerText) -> None:
    """Keep what is known of a text, in the transaction that keeps the text."""
    names = _TEXT.split(", ")
    db.execute(
        f"INSERT INTO charger_text ({_TEXT}) VALUES ({', '.join('?' * len(names))})",
        tuple(getattr(text, name) for name in names),
    )


def charger_texts(db: Connection, session: str) -> list[tuple[ChargerText, str]]:
    """The texts that a charger signed in a session, in the order they came, with what is known of each."""
    columns = ", ".join(f"charger_text.{name}" for name in _TEXT.split(", "))
    rows = db.execute(
        f"SELECT {columns}, text FROM record JOIN charger_text ON charger_text.record = record.id "
        "WHERE session = ? ORDER BY record.id",
        (session,),
    )
    return [(_text(row[:-1]), str(row[-1])) for row in rows]


def _text(values: tuple[object, ...]) -> ChargerText:
    return ChargerText(**dict(zip(_TEXT.split(", "), values, strict=True)))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class StreamRow:
    """How far the pages of one signer and meter have come. `gaps` is JSON."""

    first: int
    page: int
    gaps: str
    clock: str
    register_wh: str


def stream(db: Connection, charger: str, signer: str, meter: str, letter: str) -> StreamRow | None:
    """The stand of a stream; None before its first text."""
    row = db.execute(
        "SELECT first, page, gaps, clock, register_wh FROM charger_stream "
        "WHERE charger = ? AND signer = ? AND meter = ? AND letter = ?",
        (charger, signer, meter, letter),
    ).fetchone()
    return StreamRow(*row) if row else None


def put_stream(db: Connection, charger: str, signer: str, meter: str, letter: str, stand: StreamRow) -> None:
    """Move a stream on."""
    db.execute(
        "INSERT INTO charger_stream (charger, signer, meter, letter, first, page, gaps, clock, register_wh) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (charger, signer, meter, letter) DO UPDATE SET "
        "first = excluded.first, page = excluded.page, gaps = excluded.gaps, clock = excluded.clock, "
        "register_wh = excluded.register_wh",
        (charger, signer, meter, letter, stand.first, stand.page, stand.gaps, stand.clock, stand.register_wh),
    )


# Our own keys


def key_in_force(db: Connection, key_id: str, spki_hex: str, at_ms: int) -> str | None:
    """Say which key signs from now on; the id of the one before where it changed, else None (first start included)."""
    row = db.execute("SELECT key_id FROM signing_key WHERE to_ms IS NULL ORDER BY from_ms DESC LIMIT 1").fetchone()
    before = str(row[0]) if row else None
    if before == key_id:
        return None
    db.execute("UPDATE signing_key SET to_ms = ? WHERE to_ms IS NULL", (at_ms,))
    db.execute(
        "INSERT INTO signing_key (key_id, spki_hex, from_ms, to_ms) VALUES (?, ?, ?, NULL) "
        "ON CONFLICT (key_id) DO UPDATE SET to_ms = NULL",
        (key_id, spki_hex, at_ms),
    )
    return before


def own_keys(db: Connection) -> dict[str, str]:
    """Every key of ours that this database saw: key id -> SPKI hex."""
    return {str(row[0]): str(row[1]) for row in db.execute("SELECT key_id, spki_hex FROM signing_key")}
