"""MeterValues that are not kept one by one while the CSMS is away: counted, never dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Connection


@dataclass(frozen=True, slots=True)
class ThinnedRow:
    """How many MeterValues of a transaction came in a quarter hour, and how many of them were kept."""

    transaction_id: int
    quarter: int
    received: int
    kept: int


def count(db: Connection, charger: str, transaction_id: int, quarter: int, *, always_keep: bool) -> bool:
    """Count one message; True where it is to be kept: the first of its quarter hour, or one that always is."""
    row = db.execute(
        "SELECT kept FROM thinned WHERE charger = ? AND transaction_id = ? AND quarter = ?",
        (charger, transaction_id, quarter),
    ).fetchone()
    keep = always_keep or row is None
    db.execute(
        "INSERT INTO thinned (charger, transaction_id, quarter, received, kept, told) VALUES (?, ?, ?, 1, ?, 0) "
        "ON CONFLICT (charger, transaction_id, quarter) DO UPDATE SET received = received + 1, "
        "kept = kept + excluded.kept, told = 0",
        (charger, transaction_id, quarter, int(keep)),
    )
    return keep


def take_untold(db: Connection, charger: str, running_quarter: int | None) -> list[ThinnedRow]:
    """What is not told yet of quarter hours other than the running one (None: of all); told from now on.

    A quarter hour that has not come is of a clock that was ahead: it is over, too.
    """
    untold, parameters = "charger = ? AND told = 0 AND quarter IS NOT ?", (charger, running_quarter)
    rows = db.execute(
        f"SELECT transaction_id, quarter, received, kept FROM thinned WHERE {untold} ORDER BY quarter, transaction_id",
        parameters,
    ).fetchall()
    db.execute(f"UPDATE thinned SET told = 1 WHERE {untold}", parameters)
    return [ThinnedRow(*row) for row in rows]
