"""Commands by cid: the newest reply, what is open, what nobody was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.model import Connection, StoreError
from gateway.store import commands
from gateway.store.commands import KEPT_MS, StoredCommand
from gateway.store.database import migrate
from gateway.store.sqlite import connect


@pytest.fixture
def db() -> Iterator[Connection]:
    connection = connect(Path(":memory:"))
    migrate(connection)
    yield connection
    connection.close()


def make(cid: str) -> StoredCommand:
    return StoredCommand(cid, "limit", "{}", "anna", 5000)


def test_a_command_moves_and_its_newest_reply_stays(db: Connection) -> None:
    """accepted -> running -> done; a reply counts as told only while it is the newest."""
    commands.add(db, make("c"), "accepted", "r1", 1)
    assert commands.unfinished(db, "accepted") == [make("c")]
    commands.move(db, "c", "running", "r2")
    commands.mark_told(db, "c", "r1")
    assert commands.untold(db) == [("c", "r2")]
    assert commands.count_open(db) == 1
    commands.move(db, "c", "done", "r3")
    commands.mark_told(db, "c", "r3")
    assert commands.untold(db) == []
    assert commands.count_open(db) == 0
    assert commands.get_reply(db, "c") == "r3"
    with pytest.raises(StoreError):
        commands.add(db, make("c"), "accepted", "again", 2)


def test_finished_ones_are_forgotten_after_a_week_open_ones_never(db: Connection) -> None:
    """The table stays small; a repetition within seven days is answered."""
    commands.add(db, make("old"), "failed", "r", 0)
    commands.add(db, make("open"), "running", "r", 0)
    commands.add(db, make("new"), "accepted", "r", KEPT_MS)
    assert commands.get_reply(db, "old") == "r"
    commands.add(db, make("newer"), "accepted", "r", KEPT_MS + 1)
    assert commands.get_reply(db, "old") is None
    assert commands.get_reply(db, "open") == "r"
