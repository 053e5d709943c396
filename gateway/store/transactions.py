"""The transaction ids of both sides, kept for ever (contract 5.3, rule R30).

The key is the id toward the charger. It is the CSMS's own id wherever that one is free; else, and while the CSMS is
away, a local id, drawn downward from 2^31-1 and never used twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.model import Connection

HIGHEST_ID = 2**31 - 1
GIVEN_UP = -1
"""The CSMS never issued an id: later messages carry -1 (OCPP 1.6 errata 3.18)."""

NOBODYS_IDS = (0, GIVEN_UP)
"""What chargers write where they know no id: never one toward a charger, whatever the CSMS answers (rule R30)."""

_LOCAL_ID = "next_local_id"


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """One transaction; `csms_id` is None until the CSMS has answered its start.

    `accepted`: what the charger was told; a refused one has no stop.
    `most_wh`: the charger's register at which it must end, as long as the CSMS has not accepted it.
    `to_stop`: the CSMS refused it after it had begun, and the charger must end it (rule R43).
    """

    local_id: int
    csms_id: int | None
    connector: int
    id_tag: str
    start_entry: int
    start_ms: int
    stop_entry: int | None
    accepted: bool = True
    most_wh: int | None = None
    to_stop: bool = False


_COLUMNS = "local_id, csms_id, connector, id_tag, start_entry, start_ms, stop_entry, accepted, most_wh, to_stop"


def _row(values: Sequence[Any]) -> TransactionRow:
    row = TransactionRow(*values)
    return replace(row, accepted=bool(row.accepted), to_stop=bool(row.to_stop))


def begin(
    db: Connection, charger: str, *, csms_id: int | None, connector: int, id_tag: str, start_entry: int, start_ms: int,
    accepted: bool = True, most_wh: int | None = None,
) -> TransactionRow:  # fmt: skip
    """The row of the transaction that `start_entry` began: made now, or the known one with the CSMS's id added."""
    known = by_start(db, charger, start_entry)
    if known is not None:
        if csms_id is None or known.csms_id is not None:
            return known
        db.execute(
            "UPDATE transaction_map SET csms_id = ?, most_wh = NULL WHERE charger = ? AND local_id = ?",
            (csms_id, charger, known.local_id),
        )
        return by_start(db, charger, start_entry) or known
    local_id = _free_id(db, charger, csms_id)
    db.execute(
        "INSERT INTO transaction_map (charger, local_id, csms_id, connector, id_tag, start_entry, start_ms, accepted, "
        "most_wh) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (charger, local_id, csms_id, connector, id_tag, start_entry, start_ms, int(accepted), most_wh),
    )
    return TransactionRow(local_id, csms_id, connector, id_tag, start_entry, start_ms, None, accepted, most_wh)


def _free_id(db: Connection, charger: str, csms_id: int | None) -> int:
    usable = csms_id is not None and csms_id not in NOBODYS_IDS and abs(csms_id) <= HIGHEST_ID
    if csms_id is not None and usable and not _used(db, charger, csms_id):
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
    return _row(row) if row else None


def csms_id(db: Connection, charger: str, local_id: int) -> int | None:
    """The id that the CSMS knows a transaction by; None where it knows none, or we none."""
    row = db.execute(
        "SELECT csms_id FROM transaction_map WHERE charger = ? AND local_id = ?", (charger, local_id)
    ).fetchone()
    return row[0] if row else None


def refuse(db: Connection, charger: str, local_id: int) -> None:
    """The CSMS refuses what we had let in: it is to be stopped, over any restart, until it is (rule R43)."""
    db.execute("UPDATE transaction_map SET to_stop = 1 WHERE charger = ? AND local_id = ?", (charger, local_id))


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
    """The `limit` newest transactions, and the newest that was let in of each connector; oldest first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM transaction_map WHERE charger = ? AND start_entry IN ("
        "SELECT * FROM (SELECT start_entry FROM transaction_map WHERE charger = ? ORDER BY start_entry DESC LIMIT ?) "
        "UNION SELECT max(start_entry) FROM transaction_map WHERE charger = ? AND stop_entry IS NULL AND accepted = 1 "
        "GROUP BY connector) ORDER BY start_entry",
        (charger, charger, limit, charger),
    )
    return [_row(row) for row in rows]
