"""Sessions and the cursor into the journal. A session is a mapping of the columns of its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model import Connection, Value

COLUMNS = (
    "id", "charger", "connector", "transaction_id", "state", "id_tag", "tenant", "participant", "authorised_by",
    "begin_ms", "begin_q", "begin_wh", "begin_provenance", "charger_begin_wh", "stop_ms", "stop_arrived_ms", "end_ms",
    "end_q", "end_wh", "end_provenance", "charger_end_wh", "stop_reason", "billable", "unbillable_reason", "meter",
    "meter_serial",
)  # fmt: skip
"""What the state machine owns; the split's columns are written by the settlement alone."""

_LIST = ", ".join(COLUMNS)


def cursor(db: Connection, name: str) -> int:
    """The newest journal entry that `name` has taken in; 0 before the first."""
    row = db.execute("SELECT entry FROM cursor WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def move_cursor(db: Connection, name: str, entry: int) -> None:
    """Move it in the transaction that takes the entry in: a kill can neither lose nor repeat one."""
    db.execute(
        "INSERT INTO cursor (name, entry) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET entry = excluded.entry",
        (name, entry),
    )


def unread_starts(db: Connection, name: str, charger: str, connector: int, until_ms: int) -> bool:
    """Whether the journal holds a start at this connector, come by `until_ms`, that `name` has not taken in."""
    row = db.execute(
        "SELECT 1 FROM journal WHERE entry > ? AND charger = ? AND connector = ? AND action = 'StartTransaction' "
        "AND at_ms <= ? LIMIT 1",
        (cursor(db, name), charger, connector, until_ms),
    ).fetchone()
    return row is not None


def unread_before(db: Connection, name: str, before_ms: int) -> bool:
    """Whether a start or stop that came before an instant has not been taken in."""
    row = db.execute(
        "SELECT 1 FROM journal WHERE entry > ? AND action IN ('StartTransaction', 'StopTransaction') "
        "AND at_ms < ? LIMIT 1",
        (cursor(db, name), before_ms),
    ).fetchone()
    return row is not None


def put(db: Connection, session: Mapping[str, Value]) -> None:
    """Write a session, new or changed."""
    marks = ", ".join("?" * len(COLUMNS))
    changes = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
    db.execute(
        f"INSERT INTO session ({_LIST}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {changes}",
        tuple(session[column] for column in COLUMNS),
    )


def _select(db: Connection, where: str, parameters: tuple[Value, ...]) -> list[dict[str, Any]]:
    rows = db.execute(f"SELECT {_LIST} FROM session WHERE {where}", parameters)
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def get(db: Connection, session: str) -> dict[str, Any] | None:
    """One session by its id."""
    return next(iter(_select(db, "id = ?", (session,))), None)


def that_begin_with(db: Connection, text: str) -> list[dict[str, Any]]:
    """The sessions whose id begins so, the first two of them: one is meant, or more must be said."""
    return _select(db, "substr(id, 1, length(?)) = ? ORDER BY id LIMIT 2", (text, text))


NO_TRANSACTION = (0, -1)
"""What chargers write where they were never told a transaction id."""


def of_transaction(db: Connection, charger: str, transaction_id: int) -> dict[str, Any] | None:
    """The session of an OCPP transaction."""
    if transaction_id in NO_TRANSACTION:
        return None
    where = "charger = ? AND transaction_id = ? AND transaction_id NOT IN (0, -1)"  # as the index says it
    return next(iter(_select(db, where, (charger, transaction_id))), None)


def running_at(db: Connection, charger: str, connector: int) -> list[dict[str, Any]]:
    """Sessions at a connector that have not ended, oldest first."""
    return _select(db, "charger = ? AND connector = ? AND state <> 'ended' ORDER BY begin_ms, id", (charger, connector))


def running(db: Connection) -> list[dict[str, Any]]:
    """Every session that has not ended, oldest first."""
    return _select(db, "state <> 'ended' ORDER BY begin_ms, id", ())


def since(db: Connection, at_ms: int) -> list[dict[str, Any]]:
    """Sessions that go on, or that began or ended since an instant, oldest first."""
    return _select(db, "end_ms IS NULL OR end_ms >= ? OR begin_ms >= ? ORDER BY begin_ms, id", (at_ms, at_ms))


def newest(db: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest sessions, newest first."""
    return _select(db, "1 ORDER BY begin_ms DESC, id LIMIT ?", (limit,))


def on_meter(db: Connection, meter: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """Sessions whose registers may lie in [from_ms, to_ms], by the order of their begin."""
    # Two searches of the index; with OR in one query SQLite would go through all sessions of the meter.
    going_on = _select(db, "meter = ? AND end_ms IS NULL AND begin_ms <= ?", (meter, to_ms))
    over = _select(db, "meter = ? AND end_ms >= ? AND begin_ms <= ?", (meter, from_ms, to_ms))
    return sorted([*going_on, *over], key=lambda session: (session["begin_ms"], session["id"]))


def last_end_on(db: Connection, meter: str) -> dict[str, Any] | None:
    """The session whose end register was read last on this meter."""
    where = "meter = ? AND end_provenance = 'meter' ORDER BY end_ms DESC, id DESC LIMIT 1"
    return next(iter(_select(db, where, (meter,))), None)


def undecided(db: Connection, from_ms: int, to_ms: int, but_reason: str, limit: int) -> list[str]:
    """Sessions that ended unbillable, began in [from_ms, to_ms), and that nobody has decided about, oldest first."""
    rows = db.execute(
        "SELECT id FROM session WHERE state = 'ended' AND billable = 0 AND begin_ms >= ? AND begin_ms < ? "
        "AND unbillable_reason IS NOT ? AND id NOT IN (SELECT session FROM decision) ORDER BY begin_ms, id LIMIT ?",
        (from_ms, to_ms, but_reason, limit),
    )
    return [row[0] for row in rows]


def counts(db: Connection, but_reason: str) -> tuple[int, int]:
    """How many sessions have ended, and how many of them wait for a person's decision.

    `but_reason` is no reason to wait: a card that was refused.
    """
    row = db.execute(
        "SELECT count(*), ifnull(sum(billable = 0 AND unbillable_reason IS NOT ? AND id NOT IN "
        "(SELECT session FROM decision)), 0) FROM session WHERE state = 'ended'",
        (but_reason,),
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def split_of(db: Connection, session: str) -> tuple[int, str | None]:
    """The newest split of a session: its version (0: none yet) and its text."""
    row = db.execute("SELECT split_version, split FROM session WHERE id = ?", (session,)).fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


def put_split(db: Connection, session: str, version: int, split: str) -> None:
    """The newest split of a session."""
    db.execute("UPDATE session SET split_version = ?, split = ? WHERE id = ?", (version, split, session))
