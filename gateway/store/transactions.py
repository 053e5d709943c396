"""The transaction ids of both sides, kept for ever (contract 5.3, rule R30).

The key is the id toward the charger. It is the CSMS's own id wherever that one is free; else, and while the CSMS is
away, a local id, drawn downward from 2^31-1 and never used twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Connection

HIGHEST_ID = 2**31 - 1
GIVEN_UP = -1
"""The CSMS never issued an id: later messages carry -1 (OCPP 1.6 errata 3.18)."""

_LOCAL_ID = "next_local_id"


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """One transaction; `csms_id` is None until the CSMS has answered its start."""

    local_id: int
    csms_id: int | None
    connector: int
    id_tag: str
    start_entry: int
    start_ms: int
    stop_entry: int | None


_COLUMNS = "local_id, csms_id, connector, id_tag, start_entry, start_ms, stop_entry"


def begin(
    db: Connection, charger: str, *, csms_id: int | None, connector: int, id_tag: str, start_entry: int, start_ms: int
) -> TransactionRow:
    """The row of the transaction that `start_entry` began: made now, or the known one with the CSMS's id added."""
    known = by_start(db, charger, start_entry)
    if known is not None:
        if csms_id is None or known.csms_id is not None:
            return known
        db.execute(
            "UPDATE transaction_map SET csms_id = ? WHERE charger = ? AND local_id = ?",
            (csms_id, charger, known.local_id),
        )
        return by_start(db, charger, start_entry) or known
    local_id = _free_id(db, charger, csms_id)
    db.execute(
        "INSERT INTO transaction_map (charger, local_id, csms_id, connector, id_tag, start_entry, start_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (charger, local_id, csms_id, connector, id_tag, start_entry, start_ms),
    )
    return TransactionRow(local_id, csms_id, connector, id_tag, start_entry, start_ms, None)


def _free_id(db: Connection, charger: str, csms_id: int | None) -> int:
    if csms_id is not None and csms_id != GIVEN_UP and abs(csms_id) <= HIGHEST_ID and not _used(db, charger, csms_id):
        return csms_id
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_LOCAL_ID,)).fetchone()
    candidate = int(row[0]) if row else HIGHEST_ID
    while _used(db, charger, candidate):
        candidate -= 1
    db.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_LOCAL_ID, str(candidate - 1)),
    )
    return candidate


def _used(db: Connection, charger: str, local_id: int) -> bool:
    row = db.execute("SELECT 1 FROM transaction_map WHERE charger = ? AND local_id = ?", (charger, local_id)).fetchone()
    return row is not None


def by_start(db: Connection, charger: str, start_entry: int) -> TransactionRow | None:
    """The transaction that this journal entry began."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM transaction_map WHERE charger = ? AND start_entry = ?", (charger, start_entry)
    ).fetchone()
    return TransactionRow(*row) if row else None


def stop(db: Connection, charger: str, local_id: int, entry: int) -> None:
    """The transaction has its stop; the first one counts."""
    db.execute(
        "UPDATE transaction_map SET stop_entry = ? WHERE charger = ? AND local_id = ? AND stop_entry IS NULL",
        (entry, charger, local_id),
    )


def give_up(db: Connection, charger: str, start_entry: int) -> None:
    """The CSMS refused the start for good: what follows is sent with -1 (rule R31)."""
    db.execute(
        "UPDATE transaction_map SET csms_id = ? WHERE charger = ? AND start_entry = ? AND csms_id IS NULL",
        (GIVEN_UP, charger, start_entry),
    )


def recent(db: Connection, charger: str, limit: int) -> list[TransactionRow]:
    """Every running transaction, those of waiting entries, and the `limit` newest others; oldest first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM transaction_map WHERE charger = ? AND (stop_entry IS NULL "
        "OR local_id IN (SELECT transaction_id FROM journal WHERE charger = ? AND state IN ('pending', 'sent')) "
        "OR start_entry IN (SELECT start_entry FROM transaction_map WHERE charger = ? ORDER BY start_entry DESC "
        "LIMIT ?)) ORDER BY start_entry",
        (charger, charger, charger, limit),
    )
    return [TransactionRow(*row) for row in rows]
