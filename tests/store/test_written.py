"""What a commit costs the card: the bytes that SQLite hands to the disk, counted below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.model import Connection, Stamp, TimeQuality
from gateway.ocpp import actions as act
from gateway.ocpp.storing import QUARTER_MS, Storing
from gateway.store import journal, outbox, thinned
from gateway.store.database import _PRAGMAS, _statements, migrate, schemas
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect

pytest.importorskip("apsw", reason="the disk that counts is an apsw VFS")

from tests.site.disk import Disk

PAGE = 4096 + 24
"""A page in the write-ahead log, with its head."""

BOXES = [f"box{number}" for number in range(1, 21)]
WEEKS = range(1_978_000, 1_978_000 + 14 * 96)
"""The quarter hours of two weeks."""


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.close()


def open_on(disk: Disk) -> Connection:
    """A database as the daemon has it; nothing is written back from its log meanwhile."""
    connection = disk.connect(Path("/billing.db"))
    for pragma in (*_PRAGMAS, "PRAGMA wal_autocheckpoint=0"):
        connection.execute(pragma).fetchall()
    migrate(connection)
    return connection


def cost(disk: Disk, db: Connection, work: Callable[[], object]) -> int:
    """Bytes that one transaction writes."""
    before = disk.bytes_written
    db.execute("BEGIN IMMEDIATE")
    work()
    db.execute("COMMIT")
    return disk.bytes_written - before


def test_after_weeks_everybodys_counts_are_one_page(disk: Disk) -> None:
    """What is written most while the CSMS is away: 20 boxes in one commit cost what one box costs."""
    db = open_on(disk)
    for quarter in WEEKS:
        for box in BOXES:
            thinned.count(db, box, 2**31 - 1 - BOXES.index(box), quarter, frame=f"{quarter}", always_keep=False)
        thinned.take_closed(db, quarter)
    last = WEEKS[-1]

    def count(boxes: list[str]) -> None:
        for box in boxes:
            frame = f"one of {len(boxes)}"
            thinned.count(db, box, 2**31 - 1 - BOXES.index(box), last, frame=frame, always_keep=False)

    assert cost(disk, db, lambda: count(BOXES[:1])) == PAGE
    assert cost(disk, db, lambda: count(BOXES)) <= 2 * PAGE, "at the seam of two pages"


def test_a_quarter_hour_of_everybody_is_told_in_few_pages(disk: Disk) -> None:
    """The first message after it tells those of all: 20 events lie side by side in the lane."""
    db = open_on(disk)
    for box in BOXES:
        thinned.count(db, box, 7, 1000, frame="m", always_keep=False)
    storing = Storing("box1", Identity("gw", "e" * 32, 1), iter([f"rid-{n}" for n in range(99)]).__next__)
    at_ms = 1001 * QUARTER_MS
    append = act.Append(
        action="MeterValues", connector=1, transaction_id=7, message_id="m", frame="[]", content_key=None, reading=None,
        at_ms=at_ms, for_csms=True, answer="{}", thin=True,
    )  # fmt: skip
    written = cost(disk, db, lambda: storing.perform(db, append, Stamp(at_ms, TimeQuality.NTP)))
    assert outbox.backlog(db)["event"] == 20
    assert written <= 16 * PAGE, "five to the lane, the rest to journal, counts and cursors"


def test_a_kept_message_costs_no_page_for_its_transaction(disk: Disk) -> None:
    """Nobody looks for the meter values of a transaction; its start and its stop are found."""
    db = open_on(disk)
    costs = {}
    for action in ("StartTransaction", "MeterValues", "StopTransaction"):
        new = journal.NewEntry(
            charger="box1", at_ms=1, ts_q="ntp", boot=1, action=action, connector=1, transaction_id=7,
            message_id=action, frame="[]", answer="{}",
        )  # fmt: skip
        costs[action] = cost(disk, db, lambda new=new: journal.append(db, new))  # type: ignore[misc]
    assert [row.action for row in journal.bounds_of(db, "box1", 7)] == ["StartTransaction", "StopTransaction"]
    assert costs["StopTransaction"] == 5 * PAGE
    assert costs["MeterValues"] == 4 * PAGE, "itself, its number, what is open, its message id"


def test_what_was_counted_before_the_update_is_still_there(tmp_path: Path) -> None:
    """Schema 4 lays the counts out anew."""
    db = connect(tmp_path / "b.db")
    for number, sql in schemas():
        if number == 4:
            db.execute("INSERT INTO thinned VALUES ('box1', 7, 1000, 15, 1, 1), ('box2', 8, 1001, 3, 2, 0)")
        for statement in _statements(sql):
            db.execute(statement)
    assert thinned.take_closed(db, 2000) == [thinned.ThinnedRow("box2", 8, 1001, 3, 2)]
    assert not thinned.count(db, "box1", 7, 1000, frame="m", always_keep=False), (
        "it is known, and its first one was kept"
    )
    db.close()
