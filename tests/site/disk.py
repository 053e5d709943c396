"""A disk below SQLite that keeps only what was synced, and tears what was not (reference: SQLite's own crash tests).

`Disk.connect` fills the gateway's connection factory with apsw on a VFS in memory. A WAL without shared memory needs
exclusive locking, set here and nowhere else. A power cut takes, for each file, the synced bytes and any subset of
the 512-byte sectors written since: torn and reordered writes are in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import apsw

from gateway.model import StoreError, StoreProblem

SECTOR = 512
_names = itertools.count()

_PROBLEMS = {
    apsw.FullError: StoreProblem.FULL,
    apsw.IOError: StoreProblem.FULL,
    apsw.ReadOnlyError: StoreProblem.READ_ONLY,
    apsw.CantOpenError: StoreProblem.READ_ONLY,
    apsw.BusyError: StoreProblem.LOCKED,
    apsw.LockedError: StoreProblem.LOCKED,
    apsw.CorruptError: StoreProblem.CORRUPT,
    apsw.NotADBError: StoreProblem.CORRUPT,
    apsw.ConstraintError: StoreProblem.CONSTRAINT,
}


class SimFile:
    """One file: what reads see, what is safe, and which sectors differ."""

    def __init__(self, safe: bytes = b"") -> None:
        self.now = bytearray(safe)
        self.safe = bytearray(safe)
        self.unsynced: set[int] = set()
        self._shortest = len(safe)
        """The file was no longer than this at some moment since the last sync: behind it nothing old is left."""

    def write(self, offset: int, data: bytes) -> None:
        if len(self.now) < offset:
            self.now.extend(bytes(offset - len(self.now)))
        self.now[offset : offset + len(data)] = data
        self.unsynced.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def truncate(self, size: int) -> None:
        del self.now[size:]
        self._shortest = min(self._shortest, size)

    def sync(self) -> None:
        """Only what differs is copied: a file of many megabytes is synced at every commit."""
        del self.safe[self._shortest :]
        self.safe += self.now[len(self.safe) :]
        for sector in self.unsynced:
            start = sector * SECTOR
            self.safe[start : start + SECTOR] = self.now[start : start + SECTOR]
        self.unsynced.clear()
        self._shortest = len(self.now)

    def forget(self) -> None:
        """Nobody reads it any more."""
        self.now, self.safe, self.unsynced = bytearray(), bytearray(), set()

    def after_cut(self, random: Random) -> bytes:
        """The synced bytes, and each unsynced sector with one chance in two."""
        image = bytearray(self.safe)
        for sector in sorted(self.unsynced):
            if random.random() < 0.5:
                start = sector * SECTOR
                piece = self.now[start : start + SECTOR]
                if len(image) < start + len(piece):
                    image.extend(bytes(start + len(piece) - len(image)))
                image[start : start + len(piece)] = piece
        return bytes(image)


class Disk:
    """The disk of one machine. `on_write` is called before each write and sync with their running number."""

    def __init__(self, image: dict[str, bytes] | None = None) -> None:
        self.files = {name: SimFile(content) for name, content in (image or {}).items()}
        self.operations = 0
        self.synced = 0
        self.bytes_written = 0
        self.full = False
        self.on_write: Callable[[int], None] | None = None
        self._frozen: dict[str, bytes] | None = None
        self.name = f"simdisk{next(_names)}"
        self._vfs = _Vfs(self)

    @property
    def is_cut(self) -> bool:
        """The machine is off: nothing that is written now stays."""
        return self._frozen is not None

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(len(file.now) for file in self.files.values())

    def cut_power(self, random: Random) -> dict[str, bytes]:
        """What is on the disk when the power comes back. Writes from now on go nowhere."""
        if self._frozen is None:
            self._frozen = {name: file.after_cut(random) for name, file in self.files.items()}
        return self._frozen

    def stop(self) -> dict[str, bytes]:
        """A killed process: the kernel keeps what was written, synced or not."""
        if self._frozen is None:
            self._frozen = {name: bytes(file.now) for name, file in self.files.items()}
        return self._frozen

    def scrap(self) -> None:
        """The machine is gone and its image handed on: what it read from is given back."""
        for file in self.files.values():
            file.forget()
        self.files, self._frozen = {}, {}

    def touch(self) -> None:
        self.operations += 1
        if self.on_write is not None and self._frozen is None:
            self.on_write(self.operations)

    def connect(self, path: Path) -> DiskConnection:
        """The connection factory for `World.connect_database`."""
        try:
            connection = apsw.Connection(str(path), vfs=self.name)
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        except apsw.Error as error:
            raise _store_error(error) from error
        return DiskConnection(connection)

    def close(self) -> None:
        self._vfs.unregister()


class DiskConnection:
    """apsw behind the gateway's Connection protocol."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> _Rows:
        try:
            return _Rows(self._connection.execute(sql, parameters))
        except apsw.Error as error:
            raise _store_error(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        try:
            self._connection.executemany(sql, rows)
        except apsw.Error as error:
            raise _store_error(error) from error

    def close(self) -> None:
        self._connection.close()


class _Rows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._cursor, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._cursor)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor)


def _store_error(error: apsw.Error) -> StoreError:
    return StoreError(_PROBLEMS.get(type(error), StoreProblem.OTHER), str(error))


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "", maxpathname=1024)

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's name
        flags[1] = flags[0]
        if name is None:
            return _Handle(self._disk, SimFile())  # without a name: SQLite's own scrap, gone with its handle
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _Handle(self._disk, self._disk.files.setdefault(str(text), SimFile()))

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        return pathname in self._disk.files

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.touch()
        self._disk.files.pop(filename, None)


class _Handle:
    """One open file; the methods are SQLite's."""

    def __init__(self, disk: Disk, file: SimFile) -> None:
        self._disk, self._file = disk, file

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._file.now[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.full:
            raise apsw.FullError("disk full")
        self._disk.touch()
        self._disk.bytes_written += len(data)
        self._file.write(offset, bytes(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.touch()
        self._file.truncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.touch()
        self._disk.synced += 1
        self._file.sync()

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._file.now)

    def xLock(self, level: int) -> None:  # noqa: N802
        """One process: nobody to lock out."""

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """One process: nobody waits."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        """The content stays with the disk."""

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        """What SQLite's own layer says of Linux: a write touches no byte beside it (SQLITE_POWERSAFE_OVERWRITE). So is
        it here; without it SQLite would write the last page of each commit twice, as it does on no real machine."""
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False
