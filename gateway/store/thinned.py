"""MeterValues that are not kept one by one while the CSMS is away: counted, never dropped in silence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gateway.model import Connection


@dataclass(frozen=True, slots=True)
class ThinnedRow:
    """How many MeterValues of a transaction came in a quarter hour, and how many of them were kept."""

    charger: str
    transaction_id: int
    quarter: int
    received: int
    kept: int


LOOK_BACK = 96
"""Quarter hours (a day) in which a message is recognised that was counted and whose answer was lost."""

_THIS = "quarter = ? AND charger = ? AND transaction_id = ?"


def count(
    db: Connection, charger: str, transaction_id: int, quarter: int, *, frame: str, always_keep: bool
) -> bool:  # fmt: skip
    """Count one message; True where it is to be kept: the first of its quarter hour, or one that always is.

    A charger has one message at a time on its way: the one that was counted last may come again to the byte, and is
    not counted again.
    """
    key = (quarter, charger, transaction_id)
    which = hashlib.sha256(frame.encode()).hexdigest()[:16]
    newest = db.execute(
        "SELECT quarter, told, newest FROM thinned WHERE quarter BETWEEN ? AND ? AND charger = ? "
        "AND transaction_id = ? ORDER BY quarter DESC LIMIT 1",
        (quarter - LOOK_BACK, *key),
    ).fetchone()
    if newest is not None and newest[2] == which:
        return False
    if newest is None or newest[0] != quarter:
        db.execute("INSERT INTO thinned VALUES (?, ?, ?, 1, 1, 0, ?)", (*key, which))
        return True
    # The usual case changes one page: what the index of the untold rests on is left alone.
    db.execute(
        f"UPDATE thinned SET received = received + 1, kept = kept + ?, newest = ? WHERE {_THIS}",
        (int(always_keep), which, *key),
    )
    if newest[1]:
        db.execute(f"UPDATE thinned SET told = 0 WHERE {_THIS}", key)
    return always_keep


def take_closed(db: Connection, running_quarter: int) -> list[ThinnedRow]:
    """Everybody's quarter hours but the running one that are not told yet; they count as told from now on.

    A quarter hour that has not come is of a clock that was ahead: it is over, too. But for the next one: who has waited
    for a commit to share may come when others have begun it.
    """
    return _take(db, "quarter NOT BETWEEN ? AND ?", (running_quarter, running_quarter + 1))


def take_of(db: Connection, charger: str) -> list[ThinnedRow]:
    """What is not told yet of one charger, that of the running quarter hour too."""
    return _take(db, "charger = ?", (charger,))


def _take(db: Connection, which: str, parameters: tuple[str | int, ...]) -> list[ThinnedRow]:
    columns = "charger, transaction_id, quarter, received, kept"
    rows = db.execute(
        f"SELECT {columns} FROM thinned WHERE told = 0 AND {which} ORDER BY quarter, charger, transaction_id",
        parameters,
    ).fetchall()
    if rows:
        db.execute(f"UPDATE thinned SET told = 1 WHERE told = 0 AND {which}", parameters)
    return [ThinnedRow(*row) for row in rows]
