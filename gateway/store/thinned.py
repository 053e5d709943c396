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


def take_untold(db: Connection, charger: str, before_quarter: int) -> list[ThinnedRow]:
    """Closed quarter hours (< `before_quarter`) that are not told yet; they count as told from now on."""
    rows = db.execute(
        "SELECT transaction_id, quarter, received, kept FROM thinned WHERE charger = ? AND told = 0 AND quarter < ? "
        "ORDER BY quarter, transaction_id",
        (charger, before_quarter),
    ).fetchall()
    db.execute("UPDATE thinned SET told = 1 WHERE charger = ? AND told = 0 AND quarter < ?", (charger, before_quarter))
    return [ThinnedRow(*row) for row in rows]
