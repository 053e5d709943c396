"""What may go: nothing of the last four years, nothing that the cloud has not acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from gateway.model import Connection, Stamp, TimeQuality
from gateway.store import outbox, retention
from gateway.store.database import migrate
from gateway.store.outbox import Identity
from gateway.store.retention import NOTHING, RetentionError
from gateway.store.sqlite import connect

WHO = Identity("gw", "e", 1)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


OLD, YOUNG = ms("2020-01-01T00:00:00Z"), ms("2026-01-01T00:00:00Z")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    connection = connect(tmp_path / "billing.db")
    migrate(connection)
    yield connection
    connection.close()


def put(db: Connection, at_ms: int, state: str) -> None:
    seq = outbox.append(
        db, WHO, lane="billing", schema="x", body="{}", stamp=Stamp(at_ms, TimeQuality.NTP), rid=f"{at_ms}-{state}-"
        f"{db.execute('SELECT count(*) FROM outbox').fetchone()}",
    )  # fmt: skip
    db.execute("UPDATE outbox SET state = ? WHERE seq = ?", (state, seq))


def purge(db: Connection, before_ms: int) -> retention.Purged:
    total = NOTHING
    while (some := retention.step(db, before_ms)) != NOTHING:
        total = retention.Purged(total.outbox + some.outbox, total.journal + some.journal)
    return total


def test_four_years_are_the_least(db: Connection) -> None:
    """To the day, also on a leap day."""
    now = ms("2026-06-15T12:00:00Z")
    retention.check(ms("2022-06-15T12:00:00Z"), now)
    with pytest.raises(RetentionError, match="a day before 2022-06-15"):
        retention.check(ms("2022-06-15T12:00:01Z"), now)
    retention.check(ms("2024-02-28T00:00:00Z"), ms("2028-02-29T00:00:00Z"))


def test_only_what_is_old_and_acknowledged_goes(db: Connection) -> None:
    for at_ms, state in ((OLD, "acked"), (OLD, "dead"), (OLD, "acked"), (YOUNG, "acked"), (YOUNG, "waiting")):
        put(db, at_ms, state)
    assert purge(db, ms("2022-01-01T00:00:00Z")).outbox == 2
    assert db.execute("SELECT seq, state FROM outbox ORDER BY seq").fetchall() == [
        (2, "dead"), (4, "acked"), (5, "waiting"),
    ]  # fmt: skip


def test_nothing_behind_a_waiting_row_goes(db: Connection) -> None:
    """A gap in what the cloud has: everything after it is kept."""
    for state in ("acked", "waiting", "acked", "acked"):
        put(db, OLD, state)
    assert purge(db, YOUNG).outbox == 1
    assert [row[0] for row in db.execute("SELECT seq FROM outbox ORDER BY seq")] == [2, 3, 4]


def test_the_newest_row_stays_so_that_the_chain_goes_on(db: Connection) -> None:
    put(db, OLD, "acked")
    put(db, OLD, "acked")
    before = outbox.heads(db, "e")
    assert purge(db, YOUNG).outbox == 1
    assert outbox.heads(db, "e") == before
    put(db, YOUNG, "waiting")
    [row] = outbox.waiting(db, "billing", "e", 0, 9)
    assert (row.seq, row.prev) == (3, before["billing"][1])


def test_journal_entries_go_when_they_are_done_taken_in_and_their_session_has_ended(db: Connection) -> None:
    rows = [(OLD, "done", 1), (OLD, "pending", 2), (OLD, "done", 3), (YOUNG, "done", 4), (OLD, "local", 5)]
    for entry, (at_ms, state, transaction) in enumerate(rows, start=1):
        db.execute(
            "INSERT INTO journal (entry, charger, at_ms, ts_q, boot, action, transaction_id, message_id, frame, state) "
            "VALUES (?, 'box1', ?, 'ntp', 1, 'StartTransaction', ?, ?, '[]', ?)",
            (entry, at_ms, transaction, str(entry), state),
        )
    db.execute(
        "INSERT INTO session (id, charger, connector, transaction_id, state, id_tag, authorised_by, begin_ms, begin_q, "
        "begin_provenance) VALUES ('s', 'box1', 1, 3, 'open', 'A', 'csms', 1, 'ntp', 'none')"
    )
    assert purge(db, YOUNG) == NOTHING  # nobody has read the journal yet
    db.execute("INSERT INTO cursor VALUES ('sessions', 4)")
    assert purge(db, YOUNG).journal == 1
    db.execute("UPDATE session SET state = 'ended'")
    db.execute("UPDATE cursor SET entry = 5")
    assert purge(db, YOUNG).journal == 2
    assert [row[0] for row in db.execute("SELECT entry FROM journal ORDER BY entry")] == [2, 4]
