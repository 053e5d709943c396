"""Rows that wait for the cloud: numbered and chained in the transaction that writes the business row (contract 5.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.clock import iso
from gateway.model import Connection, Lane, Stamp

GENESIS = "0" * 64
"""`prev` of the first record of an epoch."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes: the gateway, the database's epoch, the boot."""

    gw: str
    epoch: str
    boot: int


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One record of a lane as it goes to the cloud."""

    lane: str
    epoch: str
    seq: int
    boot: int
    rid: str
    ts: str
    ts_q: str
    schema: str
    prev: str
    sha256: str
    body: str


def envelope_sha256(
    *, v: int, gw: str, epoch: str, boot: int, lane: str, seq: int, rid: str, ts: str, ts_q: str, schema: str,
    prev: str, body: str,
) -> str:  # fmt: skip
    """SHA-256 over the head fields, a line each, then the body's bytes; lower-case hex (contract 5.4)."""
    head = "".join(f"{field}\n" for field in (v, gw, epoch, boot, lane, seq, rid, ts, ts_q, schema, prev))
    return hashlib.sha256((head + body).encode()).hexdigest()


def append(db: Connection, who: Identity, *, lane: Lane, schema: str, body: str, stamp: Stamp, rid: str) -> int:
    """Append one record to `lane` and return its sequence number. Call it inside the business transaction."""
    head = db.execute(
        "SELECT seq, sha256 FROM outbox WHERE lane = ? AND epoch = ? ORDER BY seq DESC LIMIT 1", (lane, who.epoch)
    ).fetchone()
    seq, prev = (head[0] + 1, head[1]) if head else (1, GENESIS)
    ts, ts_q = iso(stamp.utc_ms), stamp.quality.value
    sha256 = envelope_sha256(
        v=1, gw=who.gw, epoch=who.epoch, boot=who.boot, lane=lane, seq=seq, rid=rid, ts=ts, ts_q=ts_q, schema=schema,
        prev=prev, body=body,
    )  # fmt: skip
    db.execute(
        "INSERT INTO outbox (lane, epoch, seq, boot, rid, ts, ts_q, schema, prev, sha256, body, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')",
        (lane, who.epoch, seq, who.boot, rid, ts, ts_q, schema, prev, sha256, body),
    )
    return seq


_COLUMNS = "lane, epoch, seq, boot, rid, ts, ts_q, schema, prev, sha256, body"


def waiting(db: Connection, lane: str, epoch: str, after: int, limit: int) -> list[OutboxRow]:
    """The oldest unacknowledged rows of a lane with seq > `after`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE lane = ? AND epoch = ? AND seq > ? AND state = 'waiting' "
        "ORDER BY seq LIMIT ?",
        (lane, epoch, after, limit),
    )
    return [OutboxRow(*row) for row in rows]


def heads(db: Connection, epoch: str) -> dict[str, tuple[int, str]]:
    """The newest (seq, sha256) of each lane that has one."""
    rows = db.execute(
        "SELECT lane, seq, sha256 FROM outbox AS o WHERE epoch = ? AND seq = "
        "(SELECT max(seq) FROM outbox WHERE lane = o.lane AND epoch = o.epoch)",
        (epoch,),
    )
    return {lane: (seq, sha256) for lane, seq, sha256 in rows}


def backlog(db: Connection) -> dict[str, int]:
    """How many rows of each lane wait for the cloud's acknowledgement."""
    return dict(db.execute("SELECT lane, count(*) FROM outbox WHERE state = 'waiting' GROUP BY lane").fetchall())


def acknowledge(db: Connection, lane: str, epoch: str, upto: int, missing: Iterable[int] = ()) -> None:
    """Every row with seq <= `upto` is stored by the cloud, but those it names as missing."""
    wanted = sorted(set(missing))
    marks = ",".join("?" * len(wanted))
    db.execute(
        "UPDATE outbox SET state = 'acked' WHERE lane = ? AND epoch = ? AND seq <= ? AND state = 'waiting'"
        + (f" AND seq NOT IN ({marks})" if wanted else ""),
        (lane, epoch, upto, *wanted),
    )


def reject(db: Connection, lane: str, epoch: str, seq: int, reason: str) -> None:
    """The cloud refuses this row for good: it stands in both sides' lists and blocks nothing."""
    db.execute(
        "UPDATE outbox SET state = 'dead', reason = ? WHERE lane = ? AND epoch = ? AND seq = ?",
        (reason, lane, epoch, seq),
    )
