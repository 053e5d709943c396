"""What the CSMS said of cards: its local list, and our cache of its answers (OCPP 1.6 sections 3.5.1 and 3.5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gateway.model import Connection

Source = Literal["list", "cache"]
MAX_CACHE = 1000
"""Cards kept per charger; the oldest answers go first (I12)."""


@dataclass(frozen=True, slots=True)
class TagRow:
    """One card as the CSMS last described it; compared without case."""

    source: str
    id_tag: str
    status: str
    expiry_ms: int | None
    parent: str | None


def known(db: Connection, charger: str) -> list[TagRow]:
    """List and cache of a charger."""
    rows = db.execute(
        "SELECT source, id_tag, status, expiry_ms, parent FROM id_tag WHERE charger = ? ORDER BY source, id_tag",
        (charger,),
    )
    return [TagRow(*row) for row in rows]


def list_version(db: Connection, charger: str) -> int:
    """The version of our copy of the local list, 0 where there is none."""
    row = db.execute("SELECT version FROM local_list WHERE charger = ?", (charger,)).fetchone()
    return int(row[0]) if row else 0


def learn(db: Connection, charger: str, tag: TagRow, learned_ms: int) -> None:
    """Put one answer of the CSMS into the cache or the list."""
    db.execute(
        "INSERT INTO id_tag (charger, source, id_tag, status, expiry_ms, parent, learned_ms) VALUES (?,?,?,?,?,?,?) "
        "ON CONFLICT (charger, source, id_tag) DO UPDATE SET status = excluded.status, "
        "expiry_ms = excluded.expiry_ms, parent = excluded.parent, learned_ms = excluded.learned_ms",
        (charger, tag.source, tag.id_tag, tag.status, tag.expiry_ms, tag.parent, learned_ms),
    )
    if tag.source == "cache":
        db.execute(
            "DELETE FROM id_tag WHERE charger = ? AND source = 'cache' AND id_tag IN (SELECT id_tag FROM id_tag "
            "WHERE charger = ? AND source = 'cache' ORDER BY learned_ms DESC LIMIT -1 OFFSET ?)",
            (charger, charger, MAX_CACHE),
        )


def forget(db: Connection, charger: str, source: Source, id_tag: str) -> None:
    """Remove one card."""
    db.execute("DELETE FROM id_tag WHERE charger = ? AND source = ? AND id_tag = ?", (charger, source, id_tag))


def clear(db: Connection, charger: str, source: Source) -> None:
    """ClearCache, or a full list that replaces the old one."""
    db.execute("DELETE FROM id_tag WHERE charger = ? AND source = ?", (charger, source))


def update_list(
    db: Connection, charger: str, *, version: int, full: bool, entries: Iterable[TagRow], removed: Iterable[str],
    learned_ms: int,
) -> None:  # fmt: skip
    """SendLocalList (OCPP 1.6 section 5.15)."""
    if full:
        clear(db, charger, "list")
    for id_tag in removed:
        forget(db, charger, "list", id_tag)
    for tag in entries:
        learn(db, charger, tag, learned_ms)
    db.execute(
        "INSERT INTO local_list (charger, version) VALUES (?, ?) "
        "ON CONFLICT (charger) DO UPDATE SET version = excluded.version",
        (charger, version),
    )
