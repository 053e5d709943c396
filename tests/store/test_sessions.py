"""Sessions, the cursor into the journal, readings as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.model import Connection, Reading, StoreError, TimeQuality
from gateway.store import journal, readings, sessions
from gateway.store.database import migrate
from gateway.store.sqlite import connect


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    connection = connect(tmp_path / "billing.db")
    migrate(connection)
    yield connection
    connection.close()


def session(name: str, transaction_id: int, **changes: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(sessions.COLUMNS)
    row |= {
        "id": name, "charger": "box1", "connector": 1, "transaction_id": transaction_id, "state": "open",
        "id_tag": "A", "authorised_by": "csms", "begin_ms": 1000, "begin_q": "ntp", "begin_provenance": "meter",
        "billable": 0, "meter": "m1",
    }  # fmt: skip
    return row | changes


def entry(action: str, at_ms: int) -> journal.NewEntry:
    return journal.NewEntry(
        charger="box1", at_ms=at_ms, ts_q="ntp", boot=1, action=action, connector=1, transaction_id=None,
        message_id="1", frame="[]",
    )  # fmt: skip


def test_a_session_is_written_and_changed_by_its_id(db: Connection) -> None:
    sessions.put(db, session("a", 1))
    sessions.put(db, session("a", 1, state="ended", end_wh=7, end_provenance="meter", end_ms=2000))
    sessions.put(db, session("b", 2, begin_ms=3000))
    assert sessions.get(db, "nobody") is None
    found = sessions.of_transaction(db, "box1", 1)
    assert found is not None
    assert (found["state"], found["end_wh"]) == ("ended", 7)
    assert [one["id"] for one in sessions.running(db)] == ["b"]
    assert [one["id"] for one in sessions.running_at(db, "box1", 1)] == ["b"]
    assert sessions.running_at(db, "box1", 2) == []
    assert [one["id"] for one in sessions.newest(db, 9)] == ["b", "a"]
    last = sessions.last_end_on(db, "m1")
    assert last is not None
    assert last["id"] == "a"
    assert sessions.counts(db, "start_refused") == (1, 1)
    reason = db.execute("SELECT unbillable_reason FROM session WHERE state = 'ended'").fetchone()
    db.execute("UPDATE session SET unbillable_reason = 'start_refused' WHERE state = 'ended'")
    assert (sessions.counts(db, "start_refused"), reason) == ((1, 0), (None,)), "a refused card waits for nobody"


def test_two_sessions_never_have_one_transaction(db: Connection) -> None:
    sessions.put(db, session("a", 1))
    with pytest.raises(StoreError):
        sessions.put(db, session("b", 1))


def test_sessions_on_a_meter_by_time(db: Connection) -> None:
    """One that goes on reaches into the future; one that ended does not."""
    sessions.put(db, session("over", 1, begin_ms=100, end_ms=200, state="ended"))
    sessions.put(db, session("on", 2, begin_ms=300))
    assert [one["id"] for one in sessions.on_meter(db, "m1", 150, 250)] == ["over"]
    assert [one["id"] for one in sessions.on_meter(db, "m1", 201, 9999)] == ["on"]
    assert sessions.on_meter(db, "m2", 0, 9999) == []


def test_the_cursor_says_what_was_taken_in(db: Connection) -> None:
    assert sessions.cursor(db, "x") == 0
    first = journal.append(db, entry("StartTransaction", 1000))
    journal.append(db, entry("StopTransaction", 2000))
    assert sessions.unread_starts(db, "x", "box1", 1, 1000)
    assert not sessions.unread_starts(db, "x", "box1", 1, 999)
    assert not sessions.unread_starts(db, "x", "box1", 2, 1000)
    sessions.move_cursor(db, "x", first)
    assert sessions.cursor(db, "x") == first
    assert not sessions.unread_starts(db, "x", "box1", 1, 9000)
    assert sessions.unread_before(db, "x", 2001)
    assert not sessions.unread_before(db, "x", 2000)


def test_the_split_of_a_session_stands_beside_it(db: Connection) -> None:
    sessions.put(db, session("a", 1))
    assert sessions.split_of(db, "a") == (0, None)
    sessions.put_split(db, "a", 2, "{}")
    sessions.put(db, session("a", 1, state="stopped"))
    assert sessions.split_of(db, "a") == (2, "{}")


READING = Reading(
    "m1", 1000, 1040, TimeQuality.HOLDOVER, 5, None, power_w=0, current_ma=(1, 0, -2), serial="S", raw="00"
)  # fmt: skip


def test_a_reading_survives_its_json_also_as_the_journal_writes_it() -> None:
    """Zero is not nothing, and fields of a later version are left out."""
    assert readings.load(readings.dump(READING)) == READING
    assert readings.load(json.dumps(asdict(READING))) == READING
    assert readings.load(json.dumps(asdict(READING) | {"later": 1})) == READING
    assert readings.load(None) is None


def test_kept_readings_are_found_by_time(db: Connection) -> None:
    for at_ms in (1000, 2000, 3000):
        readings.keep(db, Reading("m1", at_ms, at_ms, TimeQuality.NTP, at_ms), "end")
    assert [one.requested_ms for one in readings.kept_between(db, "m1", 1000, 3000)] == [1000, 2000]
    before, after = readings.kept_before(db, "m1", 2000), readings.kept_after(db, "m1", 2000)
    assert before is not None
    assert after is not None
    assert (before.requested_ms, after.requested_ms) == (1000, 2000)
    assert readings.kept_before(db, "m1", 1000) is None
    assert readings.kept_after(db, "m2", 0) is None
