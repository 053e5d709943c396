"""The one writer: shared commits, isolated failures, migrations all or nothing, and what a power cut may take."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.model import Connection, StoreError, StoreProblem
from gateway.store import database as module
from gateway.store.database import Database, NewerDatabaseError, migrate, schemas
from gateway.store.meta import get, put
from gateway.store.sqlite import connect, connect_read_only


def set_key(key: str, value: str = "1") -> Any:
    return lambda db: put(db, key, value)


def keys(path: Path) -> set[str]:
    connection = connect_read_only(path)
    try:
        return {key for (key,) in connection.execute("SELECT key FROM meta")}
    finally:
        connection.close()


async def test_what_waits_shares_one_commit(db: Database, spies: list[Any], tmp_path: Path) -> None:
    """A hundred callers at once cost two fsyncs at most, and each gets its own result after the commit."""
    before = spies[0].commits
    results = await asyncio.gather(*(db.run(lambda c, n=n: (put(c, f"k{n}", "1"), n)[1]) for n in range(100)))
    assert results == list(range(100))
    assert spies[0].commits - before <= 2
    assert len(keys(tmp_path / "billing.db")) >= 100


async def test_a_failure_undoes_its_own_work_and_no_others(db: Database, tmp_path: Path) -> None:
    """Three in one commit, the middle one raises after it wrote: its rows go, the others stay."""

    def half(connection: Connection) -> None:
        put(connection, "half", "1")
        raise ValueError("not this one")

    outcomes = await asyncio.gather(
        db.run(set_key("before")), db.run(half), db.run(set_key("after")), return_exceptions=True
    )
    assert isinstance(outcomes[1], ValueError)
    assert {"before", "after"} <= keys(tmp_path / "billing.db")
    assert "half" not in keys(tmp_path / "billing.db")


async def test_a_broken_constraint_is_the_callers_alone(db: Database) -> None:
    """A StoreError inside one function does not fail the batch."""
    twice = "INSERT INTO meta (key, value) VALUES ('one', '1')"
    outcomes = await asyncio.gather(
        *(db.run(lambda c: c.execute(twice).fetchall()) for _ in range(2)), db.run(set_key("x")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [list, StoreError, type(None)]
    assert outcomes[1].problem is StoreProblem.CONSTRAINT


async def _handed_over(*works: Any) -> list[asyncio.Task[Any]]:
    """Tasks that have come as far as to wait for their commit."""
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(0)
    return tasks


async def test_what_may_wait_goes_with_the_next_that_writes(db: Database, spies: list[Any]) -> None:
    """One commit for both; the patient one is told at once, long before its time is over."""
    patient = await _handed_over(*(db.run(set_key(f"p{n}"), within_s=600) for n in range(3)))
    before = spies[0].commits
    await db.run(set_key("urgent"))
    assert spies[0].commits - before == 1
    await asyncio.wait_for(asyncio.gather(*patient), 1)


async def test_a_look_takes_nobody_along(db: Database, tmp_path: Path) -> None:
    """What only reads makes no commit that could be shared: whoever waits is not written one by one behind it."""
    (patient,) = await _handed_over(db.run(set_key("patient"), within_s=600))
    for _ in range(3):
        await db.run(lambda c: c.execute("SELECT count(*) FROM meta").fetchone())
    assert "patient" not in keys(tmp_path / "billing.db")
    assert not patient.done()
    db.hurry()
    await asyncio.wait_for(patient, 1)
    assert "patient" in keys(tmp_path / "billing.db")


async def test_who_has_waited_for_long_enough_takes_all_along(db: Database, spies: list[Any]) -> None:
    """Nobody writes meanwhile: the first whose time is over ends the wait of all, in one commit."""
    before = spies[0].commits
    long, short = await _handed_over(db.run(set_key("long"), within_s=600), db.run(set_key("short"), within_s=0.01))
    await asyncio.wait_for(asyncio.gather(long, short), 1)
    assert spies[0].commits - before == 1


async def test_who_is_hurried_while_a_look_goes_on_waits_no_longer(
    db: Database, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """The look has it in its batch, writes nothing, and gives it back: the hurry is not forgotten."""
    go = threading.Event()
    executor.submit(go.wait)
    (patient,) = await _handed_over(db.run(set_key("patient"), within_s=600))
    (look,) = await _handed_over(db.run(lambda c: c.execute("SELECT 1").fetchone()))
    await asyncio.sleep(0)
    db.hurry()
    go.set()
    await asyncio.wait_for(asyncio.gather(patient, look), 1)
    assert "patient" in keys(tmp_path / "billing.db")


async def test_who_went_along_with_a_commit_that_failed_still_waits() -> None:
    """The disk is full for the one that could not wait; the other is written when there is room, and told then."""
    pytest.importorskip("apsw", reason="the disk that can be full is an apsw VFS")
    from tests.site.disk import Disk

    disk = Disk()
    with ThreadPoolExecutor(1) as executor:
        database = await Database.open(Path("billing.db"), disk.connect, executor)
        (patient,) = await _handed_over(database.run(set_key("patient"), within_s=600))
        disk.full = True
        with pytest.raises(StoreError):
            await database.run(set_key("urgent"))
        disk.full = False
        assert not patient.done()
        await database.run(set_key("later"))
        await asyncio.wait_for(patient, 1)
        assert await database.run(lambda c: (get(c, "urgent"), get(c, "patient"))) == (None, "1")
        await database.close()
    disk.close()


async def test_the_end_waits_for_nobodys_patience(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """What was handed over is written before the database closes."""
    database = await Database.open(tmp_path / "b.db", connect, executor)
    (patient,) = await _handed_over(database.run(set_key("patient"), within_s=600))
    await asyncio.wait_for(database.close(), 5)
    await patient
    assert "patient" in keys(tmp_path / "b.db")


async def test_a_cancelled_caller_undoes_nothing(db: Database, tmp_path: Path) -> None:
    """Its transaction was handed over: it is committed, and the writer goes on."""
    caller = asyncio.create_task(db.run(set_key("cancelled")))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await db.run(set_key("next"))
    assert {"cancelled", "next"} <= keys(tmp_path / "billing.db")


async def test_a_disk_that_does_not_keep_up_refuses_at_once(
    db: Database, executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue has an end: memory stays bounded, the caller is told."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    go = threading.Event()
    executor.submit(go.wait)
    tasks = [asyncio.create_task(db.run(set_key(f"k{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StoreError) as refused:
        await asyncio.wait_for(asyncio.gather(*(db.run(set_key("more")) for _ in range(4))), 1)
    assert refused.value.problem is StoreProblem.FULL
    go.set()
    await asyncio.gather(*tasks)


async def test_a_closed_database_says_so(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """What waited is finished first; later work is refused."""
    database = await Database.open(tmp_path / "b.db", connect, executor)
    last = asyncio.create_task(database.run(set_key("last")))
    await asyncio.sleep(0)
    await database.close()
    await last
    assert "last" in keys(tmp_path / "b.db")
    with pytest.raises(StoreError, match="closed"):
        await database.run(set_key("late"))


async def test_a_newer_database_is_refused_untouched(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    """An older gateway after a rollback: one sentence, and not a byte of the schema changes."""
    path = tmp_path / "b.db"
    connection = connect(path)
    connection.execute("CREATE TABLE from_the_future (x)")
    connection.execute(f"PRAGMA application_id={module.APPLICATION_ID}")
    connection.execute("PRAGMA user_version=999")
    connection.close()
    with pytest.raises(NewerDatabaseError, match="schema 999"):
        await Database.open(path, connect, executor)
    reader = connect_read_only(path)
    assert reader.execute("SELECT name FROM sqlite_master").fetchall() == [("from_the_future",)]
    reader.close()


@pytest.mark.parametrize("mark", ["CREATE TABLE photos (id)", "PRAGMA application_id=77", "PRAGMA user_version=2"])
async def test_another_programs_database_is_refused_untouched(
    tmp_path: Path, executor: ThreadPoolExecutor, mark: str
) -> None:
    """Its tables, its application id, or a version without ours: each is proof enough."""
    path = tmp_path / "b.db"
    connection = connect(path)
    connection.execute(mark)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(module.ForeignDatabaseError, match="another program's database"):
        await Database.open(path, connect, executor)
    assert path.read_bytes() == before


class FailsAt:
    """A connection whose n-th statement fails."""

    def __init__(self, connection: Connection, n: int) -> None:
        self._connection, self.left = connection, n

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        if sql.startswith(("CREATE", "PRAGMA application_id", "PRAGMA user_version=", "COMMIT")):
            self.left -= 1
            if self.left == 0:
                raise StoreError(StoreProblem.FULL, "the disk is full")
        return self._connection.execute(sql, parameters)


def _names_by_version(tmp_path: Path) -> Iterator[tuple[int, set[Any]]]:
    connection = connect(tmp_path / "whole.db")
    for number, sql in schemas():
        for statement in module._statements(sql):
            connection.execute(statement)
        yield number, set(connection.execute("SELECT name FROM sqlite_master").fetchall())
    connection.close()


def test_a_migration_is_all_or_nothing(tmp_path: Path) -> None:
    """Whichever statement fails, the database is as its version says, and the next start migrates it whole."""
    whole: dict[int, set[Any]] = {0: set()} | dict(_names_by_version(tmp_path))
    failures = 0
    for n in range(1, 1000):
        path = tmp_path / f"{n}.db"
        connection = connect(path)
        try:
            migrate(FailsAt(connection, n))  # type: ignore[arg-type]
        except StoreError:
            failures += 1
            (version,) = connection.execute("PRAGMA user_version").fetchone() or (None,)
            assert set(connection.execute("SELECT name FROM sqlite_master").fetchall()) == whole[version]
            migrate(connection)
            assert connection.execute("PRAGMA user_version").fetchone() == (schemas()[-1][0],)
            continue
        finally:
            connection.close()
        break
    assert failures > 10


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    """Every start calls it."""
    connection = connect(tmp_path / "b.db")
    migrate(connection)
    before = connection.execute("SELECT * FROM sqlite_master").fetchall()
    migrate(connection)
    assert connection.execute("SELECT * FROM sqlite_master").fetchall() == before
    connection.close()


@pytest.mark.parametrize("seed", range(8))
async def test_a_power_cut_takes_nothing_that_was_confirmed(seed: int) -> None:
    """At a random write the power goes, with torn and reordered sectors: what `run` returned is there afterwards."""
    pytest.importorskip("apsw", reason="the disk that can be cut is an apsw VFS")
    from tests.site.disk import Disk

    random = Random(seed)
    disk = Disk()
    confirmed: list[int] = []
    with ThreadPoolExecutor(1) as executor:
        database = await Database.open(Path("billing.db"), disk.connect, executor)
        cut_at = disk.operations + random.randrange(20, 200)
        disk.on_write = lambda number: disk.cut_power(random) if number == cut_at else None  # type: ignore[func-returns-value]
        for n in range(200):
            await database.run(set_key(f"k{n}", "x" * random.randrange(2000)))
            if disk.is_cut:
                break
            confirmed.append(n)
        await database.close()
        image = disk.cut_power(random)
        disk.close()
        after = Disk(image)
        found = await Database.open(Path("billing.db"), after.connect, executor)
        assert await found.run(lambda c: c.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
        for n in confirmed:
            assert await found.run(lambda c, n=n: get(c, f"k{n}")) is not None, f"seed {seed}: k{n} was confirmed"  # type: ignore[misc]
        await found.close()
        after.close()
    assert disk.is_cut
    assert confirmed


async def test_a_full_disk_fails_its_callers_and_nothing_else() -> None:
    """Told as full; when there is room again the same database goes on."""
    pytest.importorskip("apsw", reason="the disk that can be full is an apsw VFS")
    from tests.site.disk import Disk

    disk = Disk()
    with ThreadPoolExecutor(1) as executor:
        database = await Database.open(Path("billing.db"), disk.connect, executor)
        disk.full = True
        with pytest.raises(StoreError) as refused:
            await database.run(set_key("big", "x" * 3_000_000))
        assert refused.value.problem is StoreProblem.FULL
        disk.full = False
        await database.run(set_key("small"))
        assert await database.run(lambda c: (get(c, "big"), get(c, "small"))) == (None, "1")
        await database.close()
    disk.close()
