"""What may be thrown away, and when: only what the cloud has acknowledged, and nothing younger than four years.

Sessions, records, decisions, periods, kept readings and the boundary registers of every quarter hour stay for ever:
they are the proof, and `audit` needs them. What goes are old bodies in the outbox and journal entries that are done;
they are most of the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.clock import iso
from gateway.model import Connection

MIN_YEARS = 4
AT_ONCE = 500
"""Rows in one transaction: a purge never makes a wallbox wait."""


_OUTBOX = """
DELETE FROM outbox WHERE rowid IN (
  SELECT rowid FROM outbox AS o WHERE state IN ('acked', 'superseded') AND ts < ?
  AND seq < (SELECT max(seq) FROM outbox WHERE lane = o.lane AND epoch = o.epoch)
  AND NOT EXISTS (
    SELECT 1 FROM outbox WHERE lane = o.lane AND epoch = o.epoch AND state = 'waiting' AND seq < o.seq
  ) LIMIT ?
) RETURNING 1
"""
_JOURNAL = """
DELETE FROM journal WHERE entry IN (
  SELECT entry FROM journal AS j WHERE at_ms < ? AND state IN ('done', 'local')
  AND entry <= (SELECT ifnull(min(entry), 0) FROM cursor)
  AND NOT EXISTS (
    SELECT 1 FROM session WHERE charger = j.charger AND transaction_id = j.transaction_id AND state <> 'ended'
  ) LIMIT ?
) RETURNING 1
"""


class RetentionError(ValueError):
    """It is too young to be thrown away; one sentence."""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many rows one step removed; 0 and 0 when nothing is left to do."""

    outbox: int
    journal: int


NOTHING = Purged(0, 0)


def check(before_ms: int, now_ms: int) -> None:
    """RetentionError where something of the last four years would go."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    day = min(now.day, 28) if now.month == 2 else now.day
    limit_ms = round(now.replace(year=now.year - MIN_YEARS, day=day).timestamp() * 1000)
    if before_ms > limit_ms:
        raise RetentionError(f"records are kept for {MIN_YEARS} years at least: give a day before {iso(limit_ms)[:10]}")


def step(db: Connection, before_ms: int) -> Purged:
    """Remove some rows that are older than `before_ms`; call it until it finds none.

    A row of the outbox goes when the cloud has acknowledged it and every one before it, and it is not the newest of its
    lane: the chain goes on from that one. A journal entry goes when it is done and its session has ended.
    """
    outbox = db.execute(_OUTBOX, (iso(before_ms), AT_ONCE)).fetchall()
    journal = db.execute(_JOURNAL, (before_ms, AT_ONCE)).fetchall()
    return Purged(len(outbox), len(journal))
