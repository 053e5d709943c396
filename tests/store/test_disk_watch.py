"""A disk that refused is asked until it takes something, and that is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.model import Event
from gateway.store.database import Database
from gateway.store.disk_watch import ASK_EVERY_S, DiskWatch
from tests.site.clock import SimClock
from tests.site.disk import Disk
from tests.site.loop import SimLoop


@pytest.mark.parametrize(
    ("full_s", "took_s"), [(1, ASK_EVERY_S), (90, 5 * ASK_EVERY_S)], ids=["for a moment", "for a while"]
)
def test_a_disk_is_asked_after_a_refusal_until_it_takes_something(full_s: float, took_s: float) -> None:
    """Also where nothing that is written differs from what stands there: SQLite would not touch the disk for it."""
    told: list[Event] = []
    disk = Disk()

    async def live() -> DiskWatch:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        db = await Database.open(Path("/site.db"), disk.connect, None)  # type: ignore[arg-type]
        watch = DiskWatch(db, SimClock(loop, 0), told.append)
        task = asyncio.create_task(watch.run())
        disk.full = True
        loop.call_later(full_s, setattr, disk, "full", False)
        watch.refused()
        await asyncio.sleep(1000)
        task.cancel()
        await db.close()
        return watch

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        watch = runner.run(live())
    disk.close()
    assert watch.took_s == took_s
    assert [(event.kind, event.subject) for event in told] == [("store_takes", "database")]
