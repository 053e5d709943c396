"""An OCPP side on real wires; site time runs 600 times fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.clock import Scale, ScaledClock
from gateway.model import Event, World
from gateway.ocpp.side import OcppSide
from gateway.site import Site
from gateway.store.database import Database
from gateway.store.outbox import Identity
from gateway.world import real_world
from tests.ocpp.wires import EPOCH_MS, SPEED, FakeMeters, Gateway, Run


@pytest.fixture
def run_gateway(tmp_path: Path) -> Run:
    """`async with run_gateway(site)`: the same database each time, so that leaving and entering again is a restart."""
    clock = ScaledClock(Scale(EPOCH_MS, time.monotonic(), SPEED))

    @asynccontextmanager
    async def run(site: Site, secrets: dict[str, bytes] | None = None) -> AsyncIterator[Gateway]:
        world: World = real_world(clock)
        db = await Database.open(tmp_path / "billing.db", world.connect_database, world.store)
        events: list[Event] = []
        calls: list[int] = []
        meters = FakeMeters(clock)
        side = OcppSide(
            site, world, db, Identity("house-1", "e" * 32, 1), meters, events.append, (secrets or {}).get,
            lambda: calls.append(1),
        )  # fmt: skip
        task = asyncio.create_task(side.run())
        waiter = asyncio.create_task(side.ready.wait())
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if task.done():
                await task
            yield Gateway(side, db, events, meters, calls, task)
        finally:
            waiter.cancel()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await db.close()
            world.store.shutdown()
            world.net.shutdown()

    return run
