"""The second copy of the records: whatever a power cut leaves of it, it is found and made good from the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from gateway.model import Connection
from gateway.records.verify import chain_hash
from gateway.store import records
from gateway.store.database import migrate
from gateway.store.frames import MAGIC, Walk, frame
from gateway.store.records import RecordRow
from gateway.store.second_copy import NAME, SecondCopy, compare, rows_after
from gateway.store.sqlite import connect


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    connection = connect(tmp_path / "billing.db")
    migrate(connection)
    yield connection
    connection.close()


def add(db: Connection, count: int) -> None:
    for _ in range(count):
        prev = records.head(db)
        page = records.next_page(db, "key", "box1/1")
        text = f'OCMF|{{"PG":"T{page}"}}|ü'
        row = RecordRow(session="s", kind="begin", signed_by="gateway", key_id="key", charge_point="box1/1",
                        pagination=page, text=text, reading=None, prev=prev, sha256=chain_hash(prev, text))  # fmt: skip
        records.append(db, row)


def hashes(db: Connection) -> dict[int, str]:
    return dict(db.execute("SELECT id, sha256 FROM record").fetchall())


def catch_up(db: Connection, folder: Path) -> tuple[int, tuple[str, ...]]:
    """What the daemon does: open, then copy what is missing."""
    copy = SecondCopy(folder)
    opened = copy.open(hashes(db))
    rows = rows_after(db, opened.last)
    copy.append([payload for _, payload in rows])
    return len(rows), opened.notes


def test_records_are_copied_once_and_completely(db: Connection, tmp_path: Path) -> None:
    add(db, 3)
    assert catch_up(db, tmp_path) == (3, ())
    assert catch_up(db, tmp_path) == (0, ())
    add(db, 2)
    assert catch_up(db, tmp_path) == (2, ())
    assert list(compare(db, tmp_path)) == []
    with (tmp_path / NAME).open("rb") as file:
        texts = [json.loads(payload)["text"] for payload in Walk(file.read)]
    assert texts == [row.text for row in records.everything(db)]


def test_a_file_that_ends_anywhere_is_made_good(db: Connection, tmp_path: Path) -> None:
    """A power cut at every byte of the newest frames: afterwards the copy is whole again."""
    add(db, 3)
    catch_up(db, tmp_path)
    path = tmp_path / NAME
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        copied, notes = catch_up(db, tmp_path)
        assert path.read_bytes() == whole
        assert copied >= 1
        if len(MAGIC) < size and not _is_border(whole, size):
            assert "cut off" in notes[0]
    assert list(compare(db, tmp_path)) == []


def _is_border(whole: bytes, size: int) -> bool:
    walk = Walk(BytesIO(whole[:size]).read)
    list(walk)
    return walk.fault is None


def test_one_flipped_bit_is_found_by_its_record(db: Connection, tmp_path: Path) -> None:
    """In the file by its checksum, in the database by the comparison."""
    add(db, 3)
    catch_up(db, tmp_path)
    path = tmp_path / NAME
    whole = bytearray(path.read_bytes())
    for position in range(len(MAGIC), len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 4
        path.write_bytes(flipped)
        assert any(NAME in why for _, why in compare(db, tmp_path))
    path.write_bytes(whole)
    db.execute("UPDATE record SET text = text || ' ' WHERE id = 2")
    assert list(compare(db, tmp_path)) == [(2, "is another one in the second copy")]
    db.execute("DELETE FROM record WHERE id = 2")
    assert list(compare(db, tmp_path)) == [(2, "stands in the second copy only")]


def test_a_copy_of_another_database_is_kept_aside(db: Connection, tmp_path: Path) -> None:
    """A restored card: what the old copy holds is evidence, and is not written over."""
    add(db, 4)
    catch_up(db, tmp_path)
    old = (tmp_path / NAME).read_bytes()
    db.execute("DELETE FROM record WHERE id > 2")
    copied, notes = catch_up(db, tmp_path)
    assert copied == 2
    assert "sessions.log.1" in notes[0]
    assert (tmp_path / "sessions.log.1").read_bytes() == old
    (tmp_path / NAME).write_bytes(b"something else entirely")
    assert "sessions.log.2" in catch_up(db, tmp_path)[1][0]
    assert list(compare(db, tmp_path)) == []


def test_a_missing_copy_and_missing_records_are_named(db: Connection, tmp_path: Path) -> None:
    add(db, 3)
    assert list(compare(db, tmp_path)) == [(0, "there is no second copy sessions.log")]
    copy = SecondCopy(tmp_path)
    copy.open({})
    copy.append([payload for number, payload in rows_after(db, 0) if number != 2])
    assert list(compare(db, tmp_path)) == [(2, "is missing in the second copy")]


def test_a_length_that_is_noise_reads_nothing() -> None:
    """A damaged length must not make us read a gigabyte."""
    asked: list[int] = []
    content = BytesIO(MAGIC + b"\xff" * 64)

    def read(size: int) -> bytes:
        asked.append(size)
        return content.read(size)

    walk = Walk(read)
    assert list(walk) == []
    assert walk.fault == "torn at byte 8"
    assert max(asked) == 8
    with pytest.raises(ValueError, match="do not fit"):
        frame(b"x" * ((1 << 20) + 1))
