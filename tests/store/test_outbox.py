"""Numbered and chained in the business transaction; what the cloud's answers change, and what they never change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Connection, Stamp, TimeQuality
from gateway.store import outbox
from gateway.store.database import Database, migrate
from gateway.store.meta import put
from gateway.store.outbox import GENESIS, Identity, NewRecord, envelope_sha256
from gateway.store.sqlite import connect

WHO = Identity(gw="g", epoch="e1", boot=1)
STAMP = Stamp(1_781_343_000_000, TimeQuality.NTP)


def append(db: Connection, rid: str, lane: Any = "billing", who: Identity = WHO) -> int:
    return outbox.append(db, who, lane=lane, schema="s.v1", body=f"body of {rid}", stamp=STAMP, rid=rid)


@pytest.fixture
def db() -> Any:
    connection = connect(Path(":memory:"))
    migrate(connection)
    yield connection
    connection.close()


def states(db: Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT state FROM outbox WHERE lane = 'billing' ORDER BY epoch, seq")]


def test_numbers_are_gapless_and_chained_per_lane(db: Connection) -> None:
    """1, 2, 3 in each lane; `prev` is the hash of the row before, zeros first; the hash covers everything."""
    for n in range(3):
        assert append(db, f"b{n}") == n + 1
    assert append(db, "e0", "event") == 1
    rows = outbox.waiting(db, "billing", "e1", 0, 10)
    assert [row.prev for row in rows] == [GENESIS, rows[0].sha256, rows[1].sha256]
    for row in rows:
        assert row.sha256 == envelope_sha256(
            v=1, gw="g", epoch=row.epoch, boot=row.boot, lane=row.lane, seq=row.seq, rid=row.rid, ts=row.ts,
            ts_q=row.ts_q, schema=row.schema, prev=row.prev, body=row.body,
        )  # fmt: skip
    assert outbox.heads(db, "e1") == {
        "billing": (3, rows[2].sha256),
        "event": (1, outbox.sha256_at(db, "event", "e1", 1)),
    }


async def test_a_failed_transaction_leaves_no_gap(tmp_path: Path, executor: Any) -> None:
    """Business row and outbox row go together or not at all: the next record takes the number."""
    database = await Database.open(tmp_path / "b.db", connect, executor)

    def fails(connection: Connection) -> None:
        append(connection, "lost")
        raise ValueError("the business transaction fails")

    outcomes = await asyncio.gather(
        database.run(lambda c: append(c, "a")), database.run(fails), database.run(lambda c: append(c, "b")),
        return_exceptions=True,
    )  # fmt: skip
    assert (outcomes[0], type(outcomes[1]), outcomes[2]) == (1, ValueError, 2)
    await database.close()


def test_an_acknowledgement_is_cumulative_and_spares_what_is_missing(db: Connection) -> None:
    """Everything up to the number, but the gaps it names; again it changes nothing."""
    for n in range(6):
        append(db, f"b{n}")
    assert outbox.acknowledge(db, "billing", "e1", 5, [(2, 3)]) == 3
    assert states(db) == ["acked", "waiting", "waiting", "acked", "acked", "waiting"]
    assert outbox.acknowledge(db, "billing", "e1", 5, [(2, 3)]) == 0
    assert outbox.acknowledge(db, "billing", "other", 6) == 0
    assert outbox.waiting_seqs(db, "billing", "e1", 10) == [2, 3, 6]
    assert [row.seq for row in outbox.get_rows(db, "billing", "e1", [1, 2, 6])] == [2, 6]
    assert outbox.backlog(db) == {"billing": 3, "event": 0}


def test_a_refused_row_is_dead_once(db: Connection) -> None:
    """The first refusal returns it, the repetition nothing; an acknowledgement does not raise it from the dead."""
    for n in range(3):
        append(db, f"b{n}")
    row = outbox.reject(db, "billing", "e1", 2, "bad")
    assert row is not None
    assert row.rid == "b1"
    assert outbox.reject(db, "billing", "e1", 2, "bad") is None
    assert outbox.reject(db, "billing", "e1", 99, "bad") is None
    outbox.acknowledge(db, "billing", "e1", 3)
    assert states(db) == ["acked", "dead", "acked"]
    assert outbox.dead_letters(db) == [("billing", "e1", 2, "b1", "bad")]
    assert outbox.answered_upto(db, "billing", "e1") == 3


def test_a_refusal_that_comes_after_the_acknowledgement_still_counts(db: Connection) -> None:
    """The acknowledgement that named it was lost: both lists must agree all the same."""
    append(db, "b0")
    outbox.acknowledge(db, "billing", "e1", 1)
    assert outbox.reject(db, "billing", "e1", 1, "bad") is not None
    assert states(db) == ["dead"]


def test_what_the_cloud_forgot_waits_again(db: Connection) -> None:
    """Acknowledged rows beyond its head; refused ones stay refused."""
    for n in range(4):
        append(db, f"b{n}")
    outbox.acknowledge(db, "billing", "e1", 4)
    outbox.reject(db, "billing", "e1", 4, "bad")
    assert outbox.reopen(db, "billing", "e1", 2) == 1
    assert states(db) == ["acked", "acked", "waiting", "dead"]


def test_a_new_epoch_repeats_what_nobody_acknowledged(db: Connection) -> None:
    """Notice first; then the waiting rows with their rid, time and body, chained anew, naming the old row."""
    put(db, "epoch", "e1")
    for n in range(4):
        append(db, f"b{n}")
    append(db, "e0", "event")
    outbox.acknowledge(db, "billing", "e1", 2)
    notice = NewRecord("notice.v1", "restored", STAMP, "notice")
    assert outbox.restart_epoch(db, WHO, epoch="e2", notice=notice) == {"billing": 2, "event": 1}
    assert outbox.current_epoch(db, WHO) == "e2"
    assert [row.rid for row in outbox.waiting(db, "event", "e2", 0, 10)] == ["notice", "e0"]
    new = outbox.waiting(db, "billing", "e2", 0, 10)
    assert [(row.seq, row.rid, row.body) for row in new] == [(1, "b2", "body of b2"), (2, "b3", "body of b3")]
    assert [row.prev for row in new] == [GENESIS, new[0].sha256]
    assert new[0].supersedes == f"e1 3 {outbox.sha256_at(db, 'billing', 'e1', 3)}"
    assert not outbox.waiting_seqs(db, "billing", "e1", 10)
    assert append(db, "later") == 3, "whoever still holds the old identity writes into the epoch in force"
