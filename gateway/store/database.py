"""The one writer of a database: functions in, results out, everything that waits shares one fsync.

A transaction is one synchronous function of the connection, with no await inside, so two tasks can never share half
of one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from gateway.model import Connection, StoreError, StoreProblem

T = TypeVar("T")
Work = Callable[[Connection], Any]
Outcome = tuple[Any, Exception | None]

APPLICATION_ID = 0x5A455647  # "ZEVG"
MAX_BATCH = 200
"""Transactions that share one commit; more only lengthens the wait of the first."""

MAX_WAITING = 10_000
"""Beyond this the disk has stopped: further work is refused at once, so that memory stays bounded (I12)."""

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA journal_size_limit=4194304",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
)


class NewerDatabaseError(Exception):
    """The database was written by a newer version of the gateway; nothing in it was touched."""


class ForeignDatabaseError(Exception):
    """Another program's database; nothing in it was touched."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A transaction and its caller; `due` is when it waits no longer for others (loop's time)."""

    work: Work
    future: asyncio.Future[Any]
    due: float


class Database:
    """Owns the write connection. `run` is safe from any task of the loop."""

    def __init__(self, connection: Connection, executor: Executor) -> None:
        self._connection = connection
        self._executor = executor
        self._waiting: deque[_Job] = deque()
        self._patient: deque[_Job] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._hurried = False
        self._drainer: asyncio.Task[None] | None = None
        self.refused: str | None = None
        """Why the newest commit failed as a whole (disk full, read-only ...); None while commits succeed."""
        self._closed = False

    @classmethod
    async def open(cls, path: Path, connect: Callable[[Path], Connection], executor: Executor) -> Database:
        """Open and migrate. ForeignDatabaseError, NewerDatabaseError, StoreError."""
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(executor, _open, path, connect)
        return cls(connection, executor)

    async def run(self, work: Callable[[Connection], T], *, within_s: float = 0.0) -> T:
        """Run `work` in a transaction and return its result after the commit is on disk.

        With `within_s` (seconds of the loop) it may wait so long for a commit that writes anyway, and share it. An
        exception of `work` undoes its own changes and no other's. A cancelled caller does not undo anything.
        """
        if self._closed:
            raise StoreError(StoreProblem.OTHER, "the database is closed")
        if len(self._waiting) + len(self._patient) >= MAX_WAITING:
            raise StoreError(StoreProblem.FULL, "the disk does not keep up")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if within_s > 0:
            self._patient.append(_Job(work, future, loop.time() + within_s))
            self._set_timer(loop)
        else:
            self._waiting.append(_Job(work, future, loop.time()))
            self._start_draining()
        return await asyncio.shield(future)

    def hurry(self) -> None:
        """What waits for a commit to share has one of its own now."""
        self._hurried = True
        self._waiting.extend(self._patient)
        self._patient.clear()
        self._set_timer(asyncio.get_running_loop())
        if self._waiting:
            self._start_draining()

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first that has waited for long enough takes all along."""
        due = min((job.due for job in self._patient), default=None)
        if self._timer is not None and self._timer.when() != due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = loop.call_at(due, self.hurry)

    def _start_draining(self) -> None:
        if self._drainer is None or self._drainer.done():
            self._drainer = asyncio.create_task(self._drain(), name="store")

    async def close(self) -> None:
        """Finish what waits, checkpoint, close."""
        self._closed = True
        self.hurry()
        if self._drainer is not None:
            await self._drainer
        await asyncio.get_running_loop().run_in_executor(self._executor, _close, self._connection)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
            along, self._patient, self._hurried = self._patient, deque(), False
            outcomes, refused = await loop.run_in_executor(
                self._executor, _commit_together, self._connection, _works(batch), _works(along)
            )
            self.refused = str(refused) if refused else None
            _hand_out([*batch, *along], outcomes)
            if len(outcomes) == len(batch):  # nothing was written that the others could have gone along with
                self._patient.extendleft(reversed(along))
            if self._hurried and self._patient:
                self.hurry()
            self._set_timer(loop)


def _hand_out(jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
    """To the callers of those that were tried; the others still wait."""
    for job, (result, error) in zip(jobs, outcomes, strict=False):
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
            job.future.exception()  # a cancelled caller no longer looks at it


def _works(jobs: Iterable[_Job]) -> list[Work]:
    return [job.work for job in jobs]


def _commit_together(
    connection: Connection, works: list[Work], along: list[Work]
) -> tuple[list[Outcome], StoreError | None]:
    """`along` goes with what writes anyway: a look at the database makes no page of its own dirty."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        before = _changes(connection) if along else 0
        outcomes = [_in_savepoint(connection, work) for work in works]
        if along and _changes(connection) > before:
            outcomes += [_in_savepoint(connection, work) for work in along]
        connection.execute("COMMIT")
    except StoreError as error:
        _roll_back(connection)
        return [(None, error)] * len(works), error
    return outcomes, None


def _changes(connection: Connection) -> int:
    """Rows changed since this connection was opened."""
    row = connection.execute("SELECT total_changes()").fetchone()
    return int(row[0]) if row else 0


def _in_savepoint(connection: Connection, work: Work) -> Outcome:
    connection.execute("SAVEPOINT work")
    try:
        result = work(connection)
    except Exception as error:  # noqa: BLE001 - it is handed to the caller, who decides
        try:
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
        except StoreError as lost:  # SQLite has undone the whole transaction (disk full, I/O error): say why, to all
            raise (error if isinstance(error, StoreError) else lost) from None
        return None, error
    connection.execute("RELEASE work")
    return result, None


def _roll_back(connection: Connection) -> None:
    try:
        connection.execute("ROLLBACK")
    except StoreError:  # SQLite has already rolled back (disk full, I/O error): there is nothing left to undo
        return


def _open(path: Path, connect: Callable[[Path], Connection]) -> Connection:
    connection = connect(path)
    try:
        check_ours(connection)
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _close(connection: Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def schemas() -> list[tuple[int, str]]:
    """The numbered schema files, in order."""
    folder = resources.files("gateway.store") / "schema"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [(int(entry.name.split("_")[0].removesuffix(".sql")), entry.read_text(encoding="utf-8")) for entry in files]


def check_ours(connection: Connection) -> None:
    """ForeignDatabaseError where the file holds another program's tables. A new and empty file is ours."""
    found = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
    owner, version = (row[0] if row else 0 for row in found)
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and (owner or version or (tables and tables[0])):
        raise ForeignDatabaseError(
            "it is another program's database, and was left as it is: "
            "say with --state where the gateway keeps its state, or move the file away"
        )


def migrate(connection: Connection) -> None:
    """Bring the schema to the newest version, each step in a transaction of its own."""
    row = connection.execute("PRAGMA user_version").fetchone()
    version = row[0] if row else 0
    known = schemas()
    newest = known[-1][0]
    if version > newest:
        raise NewerDatabaseError(
            f"the database has schema {version}, this gateway knows up to {newest}: "
            "install the newer gateway again, or move the state directory away"
        )
    for number, sql in known:
        if number <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise


def _statements(sql: str) -> list[str]:
    lines = [line.split("--")[0] for line in sql.splitlines()]
    return [statement for statement in (part.strip() for part in "\n".join(lines).split(";")) if statement]
