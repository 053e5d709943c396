"""The journal: written once, read in order, and never forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model import Connection
from gateway.store import journal
from gateway.store.database import migrate
from gateway.store.journal import NewEntry
from gateway.store.sqlite import connect

START = NewEntry(
    charger="box1", at_ms=1000, ts_q="ntp", boot=1, action="StartTransaction", connector=1, transaction_id=None,
    message_id="s1", frame='[2,"s1","StartTransaction",{}]', content_key="START 1",
)  # fmt: skip
STOP = replace(START, action="StopTransaction", transaction_id=7, message_id="e1", frame="[2,...]", content_key="STOP")


@pytest.fixture
def db() -> Connection:
    connection = connect(Path(":memory:"))
    migrate(connection)
    return connection


def test_a_reader_sees_a_start_once_it_has_its_answer(db: Connection) -> None:
    """The sessions stop in front of it: nobody knows its transaction id yet."""
    first, second, third = (journal.append(db, one) for one in (STOP, START, replace(STOP, message_id="e2")))
    assert [row.entry for row in journal.after(db, 0, 10)] == [first]
    journal.answered(db, second, '{"transactionId":7}', "csms", transaction_id=7)
    rows = journal.after(db, first, 10)
    assert [(row.entry, row.transaction_id, row.answered_by) for row in rows] == [(second, 7, "csms"), (third, 7, None)]
    assert [row.entry for row in journal.after(db, 0, 2)] == [first, second]


def test_an_answer_is_never_overwritten(db: Connection) -> None:
    """What the charger was told stays what it was told (rule R35)."""
    entry = journal.append(db, START)
    journal.answered(db, entry, "first", "gateway", transaction_id=1)
    journal.answered(db, entry, "second", "csms", transaction_id=2)
    row = journal.get(db, entry)
    assert row is not None
    assert (row.answer, row.answered_by, row.transaction_id) == ("first", "gateway", 1)


def test_a_repetition_is_found_by_bytes_or_by_content(db: Connection) -> None:
    """Not by the message id alone, and not at another charger."""
    entry = journal.append(db, START)

    def found(charger: str, message_id: str, frame: str, key: str | None) -> int | None:
        row = journal.find_same(db, charger, message_id, frame, key)
        return row.entry if row else None

    assert found("box1", "s1", START.frame, None) == entry
    assert found("box1", "s9", "other", "START 1") == entry
    assert found("box1", "s1", "other", None) is None
    assert found("box2", "s1", START.frame, "START 1") is None


def test_the_queue_of_a_charger_in_order_until_each_is_done(db: Connection) -> None:
    """Pending and sent ones wait; done, local and parked ones do not; another charger's are not seen."""
    entries = [journal.append(db, replace(STOP, message_id=f"m{n}", at_ms=n)) for n in range(4)]
    journal.append(db, replace(STOP, state="local"))
    journal.append(db, replace(STOP, charger="box2"))
    journal.mark_sent(db, entries[0])
    assert [(row.entry, row.state) for row in journal.pending(db, "box1", 2)] == [
        (entries[0], "sent"), (entries[1], "pending"),
    ]  # fmt: skip
    journal.done(db, entries[0])
    assert [journal.failed(db, entries[1], "no", 3) for _ in range(3)] == [False, False, True]
    assert journal.queue_state(db, "box1") == journal.QueueState(2, 1, 2)
    assert [(row.entry, row.error, row.attempts) for row in journal.parked(db)] == [(entries[1], "no", 3)]
    journal.done(db, entries[1])
    assert journal.parked(db) == [], "a late answer settles a parked entry, too"


def test_a_local_entry_stays_local(db: Connection) -> None:
    """There was nobody to tell."""
    entry = journal.append(db, replace(STOP, state="local"))
    journal.done(db, entry)
    journal.mark_sent(db, entry)
    assert [row.state for row in journal.bounds_of(db, "box1", 7)] == ["local"]


def test_starts_that_a_kill_left_without_an_answer(db: Connection) -> None:
    """They are what a restart must settle (rule R48)."""
    journal.append(db, STOP)
    entry = journal.append(db, START)
    assert [row.entry for row in journal.unanswered_starts(db, "box1")] == [entry]
    journal.answered(db, entry, "{}", "gateway", transaction_id=7)
    assert journal.unanswered_starts(db, "box1") == []
