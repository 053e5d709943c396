"""What the database writes beside its own files: nothing, or a card would wear out under copies nobody keeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.model import Connection
from gateway.store.database import Database
from tests.site.disk import Disk

OWN = {"/billing.db", "/billing.db-wal", "/billing.db-journal", "/billing.db-shm"}
ROWS = 3000


def _fill(connection: Connection) -> None:
    connection.executemany(
        "INSERT INTO meta (key, value) VALUES (?, ?)", [(f"key {number}", "x" * 200) for number in range(ROWS)]
    )


def _change(connection: Connection) -> None:
    connection.execute("UPDATE meta SET value = value || 'y'")


async def test_a_large_change_leaves_no_temporary_file(tmp_path: Path) -> None:
    """SQLite's copies of what a savepoint changes go to a file once they are large, and from then on always."""
    disk = Disk()
    with ThreadPoolExecutor(1) as store:
        db = await Database.open(Path("/billing.db"), disk.connect, store)
        await db.run(_fill)
        await db.run(_change)
        await db.run(_change)
        files = set(disk.files)
        await db.close()
    assert files <= OWN, files - OWN
