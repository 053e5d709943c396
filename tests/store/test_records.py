"""Signed texts on disk: numbered, chained, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model import Connection, StoreError
from gateway.store import records
from gateway.store.database import migrate
from gateway.store.records import RecordRow
from gateway.store.sqlite import connect


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    connection = connect(tmp_path / "billing.db")
    migrate(connection)
    yield connection
    connection.close()


ROW = RecordRow(
    session="s", kind="begin", signed_by="gateway", key_id="k", charge_point="box1/1", pagination=1,
    text="OCMF|{ }|ü\n", reading=None, prev=records.GENESIS, sha256="aa",
)  # fmt: skip


def test_pages_count_per_key_and_charge_point(db: Connection) -> None:
    places = [("k", "box1/1"), ("k", "box1/1"), ("k", "box2/1"), ("other", "box1/1"), ("k", "box1/1")]
    assert [records.next_page(db, *place) for place in places] == [1, 2, 1, 1, 3]


def test_a_page_is_never_used_twice(db: Connection) -> None:
    records.append(db, ROW)
    with pytest.raises(StoreError):
        records.append(db, replace(ROW, sha256="bb"))


def test_texts_that_a_charger_signed_have_no_page_of_ours(db: Connection) -> None:
    passed = replace(ROW, signed_by="charger", key_id="", pagination=None)
    records.append(db, passed)
    records.append(db, passed)
    assert len(list(records.everything(db))) == 2


def test_a_text_comes_back_byte_for_byte_and_the_head_is_the_newest(db: Connection) -> None:
    assert records.head(db) == records.GENESIS
    first = records.append(db, ROW)
    records.append(db, replace(ROW, session="t", pagination=2, sha256="bb"))
    assert records.head(db) == "bb"
    assert records.of_session(db, "s") == [replace(ROW, id=first)]
    assert [row.session for row in records.everything(db)] == ["s", "t"]
