"""The standard library's SQLite behind the `Connection` port: the only place that knows its error classes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from gateway.model import Connection, Rows, StoreError, StoreProblem, Value

_PROBLEMS = {
    sqlite3.SQLITE_FULL: StoreProblem.FULL,
    sqlite3.SQLITE_IOERR: StoreProblem.FULL,
    sqlite3.SQLITE_READONLY: StoreProblem.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: StoreProblem.READ_ONLY,
    sqlite3.SQLITE_BUSY: StoreProblem.LOCKED,
    sqlite3.SQLITE_LOCKED: StoreProblem.LOCKED,
    sqlite3.SQLITE_CORRUPT: StoreProblem.CORRUPT,
    sqlite3.SQLITE_NOTADB: StoreProblem.CORRUPT,
    sqlite3.SQLITE_CONSTRAINT: StoreProblem.CONSTRAINT,
}


def _store_error(error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    return StoreError(_PROBLEMS.get(primary, StoreProblem.OTHER) if primary else StoreProblem.OTHER, str(error))


class _Connection:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Value] = (), /) -> Rows:
        try:
            return self._connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise _store_error(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]], /) -> None:
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise _store_error(error) from error

    def close(self) -> None:
        self._connection.close()


def connect(path: Path) -> Connection:
    """Open for reading and writing, in autocommit mode; the file is made where it is missing."""
    try:
        return _Connection(sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0))
    except sqlite3.Error as error:
        raise _store_error(error) from error


def connect_read_only(path: Path) -> Connection:
    """Open an existing database for reading, as the command line does beside a running daemon."""
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        return _Connection(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0))
    except sqlite3.Error as error:
        raise _store_error(error) from error
