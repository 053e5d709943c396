"""The second copy follows the commits; what a judge must know of a start stands in the chain."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.sessions import keeping
from gateway.sessions.keeping import Keeping
from gateway.store.second_copy import NAME, compare


@asynccontextmanager
async def copying(house: Any) -> Any:
    part = Keeping(house.path, house.world, house.db, house.events.append)
    task = asyncio.create_task(part.run())
    try:
        yield part
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def copied(house: Any, part: Keeping, count: int) -> None:
    part.notify()
    async with asyncio.timeout(5):
        while part.last < count:  # noqa: ASYNC110 - the file has no event
            await asyncio.sleep(0.001)


async def a_session(house: Any, transaction: int) -> None:
    await house.start(transaction)
    await house.stop(transaction)
    await house.until("SELECT count(*) FROM session WHERE state = 'ended'", transaction)


async def test_every_signed_record_is_copied_and_the_copy_goes_on_after_a_kill(house: Any) -> None:
    for life in (1, 2):
        async with house.running(), copying(house) as part:
            await a_session(house, life)
            await copied(house, part, 2 * life)
    assert await house.db.run(lambda db: list(compare(db, house.path))) == []
    assert [event.kind for event in house.events if event.kind.startswith("copy")] == []


async def test_a_torn_copy_is_made_good_and_told(house: Any) -> None:
    async with house.running(), copying(house) as part:
        await a_session(house, 1)
        await copied(house, part, 2)
    path = house.path / NAME
    os.truncate(path, path.stat().st_size - 5)
    async with copying(house) as part:
        await copied(house, part, 2)
    assert await house.db.run(lambda db: list(compare(db, house.path))) == []
    [event] = [event for event in house.events if event.kind == "copy_repaired"]
    assert event.keep


async def test_a_copy_that_cannot_be_written_is_told_once_and_catches_up(house: Any, monkeypatch: Any) -> None:
    """A full disk of the copy ends no session; when there is room again nothing is missing."""
    full = True

    def sync(number: int) -> None:
        if full:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    async with house.running(), copying(house) as part:
        await a_session(house, 1)
        for _ in range(3):
            part.notify()
            await house.rows("SELECT 1")
        async with asyncio.timeout(5):
            while not any(event.kind == "copy_failed" for event in house.events):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        full = False
        await copied(house, part, 2)
    assert [event.kind for event in house.events].count("copy_failed") == 1
    assert await house.db.run(lambda db: list(compare(db, house.path))) == []


@pytest.mark.parametrize(
    ("clean", "version", "kinds"),
    [(True, "1", []), (False, "1", ["power"]), (True, "2", ["software_changed"]),
     (False, "2", ["power", "software_changed"])],
)  # fmt: skip
async def test_what_a_start_finds_is_told_for_the_chain(
    house: Any, clean: bool, version: str, kinds: list[str]
) -> None:
    assert await house.db.run(lambda db: keeping.begin(db, "1", 1)) == []
    if clean:
        await house.db.run(keeping.end)
    events = await house.db.run(lambda db: keeping.begin(db, version, 2))
    assert [event.kind for event in events] == kinds
    assert all(event.keep for event in events)


async def test_purge_refuses_what_is_young_and_says_what_went(house: Any) -> None:
    async with house.running():
        await a_session(house, 1)
        with pytest.raises(ValueError, match="kept for 4 years"):
            await house.acts.purge({"before": "2025-01-01"}, "petra")
        with pytest.raises(ValueError, match="must be a day"):
            await house.acts.purge({"before": "yesterday"}, "petra")
        assert await house.acts.purge({"before": "2022-01-01"}, "petra") == {
            "before": "2022-01-01", "outbox": 0, "journal": 0,
        }  # fmt: skip
