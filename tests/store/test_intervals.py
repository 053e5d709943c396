"""Quarter hours on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.model import Connection, Reading, TimeQuality
from gateway.store import intervals
from gateway.store.database import migrate
from gateway.store.intervals import ShareRow
from gateway.store.sqlite import connect


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    connection = connect(tmp_path / "billing.db")
    migrate(connection)
    yield connection
    connection.close()


def reading(wh: int) -> Reading:
    return Reading("m", wh * 10, wh * 10 + 1, TimeQuality.NTP, wh, serial="S")


def rows(db: Connection, *read: bool) -> None:
    """Boundaries 1, 2, ...: with a reading or without."""
    for k, there in enumerate(read, 1):
        intervals.add_boundary(db, k, {"m": reading(k) if there else None})


def settle(db: Connection, k: int, state: str = "final") -> None:
    intervals.settle(db, k, state=state, version=1, result="{}", handed="{}")


def test_a_boundary_stands_as_it_was_written_first(db: Connection) -> None:
    rows(db, True)
    intervals.add_boundary(db, 1, {"m": None})
    row = intervals.get(db, 1)
    assert row is not None
    assert row.boundary == {"m": reading(1)}
    assert (row.version, row.state, row.result) == (0, "provisional", None)
    assert intervals.get(db, 2) is None


def test_intervals_settle_in_order_once_their_end_is_there(db: Connection) -> None:
    rows(db, True, True, True)
    assert intervals.unsettled(db, 20) == [1, 2]
    settle(db, 1)
    assert intervals.unsettled(db, 20) == [2]
    assert (intervals.newest(db), intervals.newest_settled(db)) == (3, 1)


def test_the_readings_beside_a_gap_of_months_are_found_without_reading_it(db: Connection) -> None:
    """A house that was off for 200 days settled each of 19,200 quarter hours by looking at thousands of rows."""
    rows(db, True, *[False] * 50, True)
    assert intervals.boundary_before(db, "m", 50) == reading(1)
    assert intervals.boundary_after(db, "m", 3) == reading(52)
    plan = db.execute(
        "EXPLAIN QUERY PLAN SELECT k FROM interval INDEXED BY interval_read WHERE instr(boundary, ':{') > 0 AND k <= 50"
    ).fetchall()
    assert "interval_read (k<?)" in str(plan)
    assert db.execute(
        "SELECT count(*) FROM interval INDEXED BY interval_read WHERE instr(boundary, ':{') > 0"
    ).fetchone() == (2,)
    assert intervals.unsettled(db, 3) == [1, 2, 3]


def test_only_settled_and_open_intervals_become_dirty(db: Connection) -> None:
    rows(db, True, True, True, True)
    settle(db, 1, "closed")
    settle(db, 2)
    settle(db, 3, "provisional")
    intervals.mark_dirty(db, 1, 9)
    assert intervals.dirty(db) == [2, 3]
    intervals.clean(db, 3)
    settle(db, 2)
    assert intervals.dirty(db) == []
    assert intervals.count_provisional(db) == 1


def test_the_nearest_readings_on_both_sides_of_a_gap(db: Connection) -> None:
    rows(db, True, False, False, True)
    assert intervals.boundary_before(db, "m", 3) == reading(1)
    assert intervals.boundary_after(db, "m", 2) == reading(4)
    assert intervals.boundary_after(db, "m", 5) is None
    assert intervals.boundary_before(db, "other", 3) is None
    assert intervals.gap_before(db, "m", 4) == 1
    assert intervals.gap_before(db, "m", 2) is None


def test_before_the_first_reading_of_a_meter_lies_all_that_waits_for_it(db: Connection) -> None:
    """Not where it was read long ago: a gap that nobody bridges is no beginning."""
    rows(db, False, True)
    assert intervals.gap_before(db, "m", 2) == 1
    db.execute("INSERT INTO kept_reading (meter, why, requested_ms, reading) VALUES ('m', 'gap', 0, '{}')")
    assert intervals.gap_before(db, "m", 2) is None


def test_a_meter_whose_every_boundary_is_missing_has_its_gap_from_the_reading_that_was_kept(db: Connection) -> None:
    """Seed 159: a house began, and its next boundary was missed too; nobody settled the two again."""
    rows(db, False, False, False, True)
    read_ms = 2 * 900_000 + 5_000
    db.execute(
        "INSERT INTO kept_reading (meter, why, requested_ms, reading) VALUES ('m', 'first', ?, '{}')", (read_ms,)
    )
    assert intervals.gap_before(db, "m", 4) == 2


def test_shares_of_an_interval_are_replaced_as_a_whole(db: Connection) -> None:
    def share(session: str, version: int) -> ShareRow:
        return ShareRow(session, 1, version, 10, 4, 6, "HT", "final")

    intervals.put_shares(db, 1, [share("a", 1), share("b", 1)])
    intervals.put_shares(db, 1, [share("b", 2)])
    assert intervals.sessions_in(db, 1) == ["b"]
    assert intervals.shares_of(db, "b") == [share("b", 2)]
    assert intervals.shares_of(db, "a") == []


def test_carry_and_tanks(db: Connection) -> None:
    intervals.put_carry(db, "flat", -333_333_334, 0)
    intervals.put_carry(db, "flat", 5, 7)
    intervals.put_tank(db, "solar", 3)
    intervals.put_tank(db, "solar", 4)
    assert intervals.carry(db) == {"flat": (5, 7)}
    assert intervals.tanks(db) == {"solar": 4}
