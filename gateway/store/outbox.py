"""Rows that wait for the cloud: numbered and chained in the transaction that writes the business row (contract 5.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.clock import iso
from gateway.model import Connection, Lane, OutboxRow, Stamp

GENESIS = "0" * 64
"""`prev` of the first record of an epoch."""

DURABLE_LANES = ("billing", "event")
"""The lanes that live in billing.db; they share one epoch."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes: the gateway, the database's epoch, the boot."""

    gw: str
    epoch: str
    boot: int


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record that is not numbered yet."""

    schema: str
    body: str
    stamp: Stamp
    rid: str


def envelope_sha256(
    *, v: int, gw: str, epoch: str, boot: int, lane: str, seq: int, rid: str, ts: str, ts_q: str, schema: str,
    prev: str, body: str,
) -> str:  # fmt: skip
    """SHA-256 over the head fields, a line each, then the body's bytes; lower-case hex (contract 5.4)."""
    head = "".join(f"{field}\n" for field in (v, gw, epoch, boot, lane, seq, rid, ts, ts_q, schema, prev))
    return hashlib.sha256((head + body).encode()).hexdigest()


def current_epoch(db: Connection, who: Identity) -> str:
    """The epoch in force: the database's own; `who.epoch` is the one that this start began with."""
    row = db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    return str(row[0]) if row else who.epoch


CONFIRMED = "confirmed_epoch"
"""Key of `meta`: epoch and boot that the cloud has agreed to go on with."""


def confirm(db: Connection, who: Identity) -> None:
    """The cloud has compared its heads with ours and agrees: this database is no old copy."""
    value = f"{current_epoch(db, who)} {who.boot}"
    db.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value "
        "WHERE value <> excluded.value",
        (CONFIRMED, value),
    )


def is_confirmed(db: Connection, who: Identity) -> bool:
    """Whether the cloud has agreed since this start.

    The boot counts: a copy carries what was agreed when it was made, and cannot know that it is a copy.
    """
    row = db.execute("SELECT value FROM meta WHERE key = ?", (CONFIRMED,)).fetchone()
    return row is not None and row[0] == f"{current_epoch(db, who)} {who.boot}"


def append(
    db: Connection, who: Identity, *, lane: Lane, schema: str, body: str, stamp: Stamp, rid: str,
    supersedes: str | None = None,
) -> int:  # fmt: skip
    """Append one record to `lane` and return its sequence number. Call it inside the business transaction."""
    epoch = current_epoch(db, who)
    ts, ts_q = iso(stamp.utc_ms), stamp.quality.value
    return _append(db, who, epoch, lane, schema, body, ts, ts_q, rid, supersedes)


def head(db: Connection, who: Identity, lane: Lane) -> int:
    """The newest number of a lane in the epoch in force; 0: none."""
    row = db.execute(
        "SELECT ifnull(max(seq), 0) FROM outbox WHERE lane = ? AND epoch = ?", (lane, current_epoch(db, who))
    ).fetchone()
    return int(row[0]) if row else 0


def _append(
    db: Connection, who: Identity, epoch: str, lane: str, schema: str, body: str, ts: str, ts_q: str, rid: str,
    supersedes: str | None,
) -> int:  # fmt: skip
    head = db.execute(
        "SELECT seq, sha256 FROM outbox WHERE lane = ? AND epoch = ? ORDER BY seq DESC LIMIT 1", (lane, epoch)
    ).fetchone()
    seq, prev = (head[0] + 1, head[1]) if head else (1, GENESIS)
    sha256 = envelope_sha256(
        v=1, gw=who.gw, epoch=epoch, boot=who.boot, lane=lane, seq=seq, rid=rid, ts=ts, ts_q=ts_q, schema=schema,
        prev=prev, body=body,
    )  # fmt: skip
    db.execute(
        f"INSERT INTO outbox ({_COLUMNS}, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')",
        (lane, epoch, seq, who.boot, rid, ts, ts_q, schema, prev, sha256, body, supersedes),
    )
    return int(seq)


_COLUMNS = "lane, epoch, seq, boot, rid, ts, ts_q, schema, prev, sha256, body, supersedes"


def waiting(db: Connection, lane: str, epoch: str, after: int, limit: int) -> list[OutboxRow]:
    """The oldest unacknowledged rows of a lane with seq > `after`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE lane = ? AND epoch = ? AND seq > ? AND state = 'waiting' "
        "ORDER BY seq LIMIT ?",
        (lane, epoch, after, limit),
    )
    return [OutboxRow(*row) for row in rows]


def waiting_seqs(db: Connection, lane: str, epoch: str, limit: int) -> list[int]:
    """The numbers of the oldest unacknowledged rows of a lane, in order."""
    rows = db.execute(
        "SELECT seq FROM outbox WHERE lane = ? AND epoch = ? AND state = 'waiting' ORDER BY seq LIMIT ?",
        (lane, epoch, limit),
    )
    return [row[0] for row in rows]


def get_rows(db: Connection, lane: str, epoch: str, seqs: Sequence[int]) -> list[OutboxRow]:
    """The rows with these numbers that still wait, in order."""
    marks = ",".join("?" * len(seqs))
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE lane = ? AND epoch = ? AND state = 'waiting' AND seq IN ({marks}) "
        "ORDER BY seq",
        (lane, epoch, *seqs),
    )
    return [OutboxRow(*row) for row in rows]


def sha256_at(db: Connection, lane: str, epoch: str, seq: int) -> str | None:
    """The hash of one row, None where there is no such row."""
    row = db.execute(
        "SELECT sha256 FROM outbox WHERE lane = ? AND epoch = ? AND seq = ?", (lane, epoch, seq)
    ).fetchone()
    return str(row[0]) if row else None


def answered_upto(db: Connection, lane: str, epoch: str) -> int:
    """The newest number of a lane that the cloud has ever acknowledged or refused; 0 where there is none."""
    row = db.execute(
        "SELECT seq FROM outbox WHERE lane = ? AND epoch = ? AND state IN ('acked', 'dead') ORDER BY seq DESC LIMIT 1",
        (lane, epoch),
    ).fetchone()
    return int(row[0]) if row else 0


def heads(db: Connection, epoch: str) -> dict[str, tuple[int, str]]:
    """The newest (seq, sha256) of each lane that has one."""
    found = {}
    for lane in DURABLE_LANES:
        row = db.execute(
            "SELECT seq, sha256 FROM outbox WHERE lane = ? AND epoch = ? ORDER BY seq DESC LIMIT 1", (lane, epoch)
        ).fetchone()
        if row:
            found[lane] = (row[0], row[1])
    return found


def backlog(db: Connection) -> dict[str, int]:
    """How many rows of each lane wait for the cloud's acknowledgement."""
    counts = db.execute("SELECT lane, count(*) FROM outbox WHERE state = 'waiting' GROUP BY lane").fetchall()
    return dict.fromkeys(DURABLE_LANES, 0) | dict(counts)


def acknowledge(db: Connection, lane: str, epoch: str, upto: int, missing: Iterable[tuple[int, int]] = ()) -> int:
    """Every row with seq <= `upto` is stored by the cloud, but those in the ranges it names as missing.

    Returns how many rows are newly acknowledged.
    """
    ranges = list(missing)
    kept = "".join(" AND NOT seq BETWEEN ? AND ?" for _ in ranges)
    rows = db.execute(
        "UPDATE outbox SET state = 'acked' WHERE lane = ? AND epoch = ? AND seq <= ? AND state = 'waiting'"
        f"{kept} RETURNING seq",
        (lane, epoch, upto, *(bound for pair in ranges for bound in pair)),
    )
    return len(rows.fetchall())


def reject(db: Connection, lane: str, epoch: str, seq: int, reason: str) -> OutboxRow | None:
    """The cloud refuses this row for good: it stands in both sides' lists and blocks nothing.

    Returns the row where it is newly dead, None where it already was or never existed.
    """
    rows = db.execute(
        "UPDATE outbox SET state = 'dead', reason = ? WHERE lane = ? AND epoch = ? AND seq = ? "
        f"AND state IN ('waiting', 'acked') RETURNING {_COLUMNS}",
        (reason, lane, epoch, seq),
    ).fetchall()
    return OutboxRow(*rows[0]) if rows else None


def dead_letters(db: Connection) -> list[tuple[str, str, int, str, str]]:
    """Every record that the cloud refused: (lane, epoch, seq, rid, reason)."""
    rows = db.execute("SELECT lane, epoch, seq, rid, reason FROM outbox WHERE state = 'dead' ORDER BY lane, epoch, seq")
    return [(lane, epoch, seq, rid, reason) for lane, epoch, seq, rid, reason in rows]


def reopen(db: Connection, lane: str, epoch: str, after: int) -> int:
    """The cloud has forgotten what it acknowledged beyond `after`: those rows wait again. Returns how many."""
    rows = db.execute(
        "UPDATE outbox SET state = 'waiting' WHERE lane = ? AND epoch = ? AND seq > ? AND state = 'acked' "
        "RETURNING seq",
        (lane, epoch, after),
    )
    return len(rows.fetchall())


def restart_epoch(db: Connection, who: Identity, *, epoch: str, notice: NewRecord) -> dict[str, int]:
    """Begin `epoch` after a restored card: `notice` first, then every waiting row again, same rid and body.

    The repeated rows name what they supersede; the old ones leave the queue. Returns how many, by lane.
    """
    old = current_epoch(db, who)
    db.execute(
        "INSERT INTO meta (key, value) VALUES ('epoch', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (epoch,),
    )
    append(db, who, lane="event", schema=notice.schema, body=notice.body, stamp=notice.stamp, rid=notice.rid)
    return {lane: _repeat(db, who, lane, old, epoch) for lane in DURABLE_LANES}


def _repeat(db: Connection, who: Identity, lane: str, old: str, epoch: str) -> int:
    repeated, after = 0, 0
    while rows := waiting(db, lane, old, after, 100):
        for row in rows:
            name = f"{old} {row.seq} {row.sha256}"
            _append(db, who, epoch, lane, row.schema, row.body, row.ts, row.ts_q, row.rid, name)
        after = rows[-1].seq
        repeated += len(rows)
    db.execute("UPDATE outbox SET state = 'superseded' WHERE lane = ? AND epoch = ? AND state = 'waiting'", (lane, old))
    return repeated
