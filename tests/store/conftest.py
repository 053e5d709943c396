"""A database on a real file, with one worker thread as in the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.model import Connection, Rows, Value
from gateway.store.database import Database
from gateway.store.sqlite import connect


class Spy:
    """Counts the commits of a connection."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self.commits = 0

    def execute(self, sql: str, parameters: tuple[Value, ...] = (), /) -> Rows:
        if sql == "COMMIT":
            self.commits += 1
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: list[tuple[Value, ...]], /) -> None:
        self._connection.executemany(sql, rows)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def executor() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def spies() -> list[Spy]:
    return []


@pytest.fixture
async def db(tmp_path: Path, executor: ThreadPoolExecutor, spies: list[Spy]) -> AsyncIterator[Database]:
    def spying(path: Path) -> Connection:
        spies.append(Spy(path))
        return spies[-1]  # type: ignore[return-value]

    database = await Database.open(tmp_path / "billing.db", spying, executor)
    yield database
    await database.close()
