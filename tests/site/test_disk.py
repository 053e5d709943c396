"""The simulated disk keeps what was synced, and nothing of a machine that is gone."""

from __future__ import annotations

from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from .disk import SECTOR, Disk, SimFile

OFFSETS = st.integers(0, 4 * SECTOR)
WRITES = st.tuples(st.just("write"), OFFSETS, st.binary(min_size=1, max_size=2 * SECTOR))
TRUNCATIONS = st.tuples(st.just("truncate"), OFFSETS, st.just(b""))
SYNCS = st.tuples(st.just("sync"), st.just(0), st.just(b""))


@given(st.binary(max_size=3 * SECTOR), st.lists(st.one_of(WRITES, TRUNCATIONS, SYNCS), max_size=30))
def test_what_is_safe_after_a_sync_is_what_reads_see(start: bytes, steps: list[tuple[str, int, bytes]]) -> None:
    """Whatever was written, cut and synced before, and nothing is safe that was not synced."""
    file, synced = SimFile(start), start
    for what, offset, data in steps:
        if what == "write":
            file.write(offset, data)
        elif what == "truncate":
            file.truncate(offset)
        else:
            file.sync()
            synced = bytes(file.now)
        assert bytes(file.safe) == synced


def test_a_scrapped_disk_gives_its_memory_back_and_its_image_lives_on(tmp_path: Path) -> None:
    """A day has a hundred restarts: each dead machine would keep four times its database."""
    disk = Disk()
    connection = disk.connect(tmp_path / "billing.db")
    connection.execute("CREATE TABLE kept (word TEXT)")
    connection.execute("INSERT INTO kept VALUES ('once')")
    files = list(disk.files.values())
    image = disk.cut_power(Random(1))
    disk.scrap()
    assert [len(file.now) + len(file.safe) for file in files] == [0] * len(files)
    after = Disk(image).connect(tmp_path / "billing.db")
    assert after.execute("SELECT word FROM kept").fetchall() == [("once",)]
