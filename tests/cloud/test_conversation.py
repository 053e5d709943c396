"""What is said on one connection, without a broker: when there is nothing to do but to wait, it waits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from gateway.cloud.conversation import Conversation, Shared
from gateway.cloud.outbox import LaneWindow
from gateway.model import World
from gateway.store import meta
from gateway.store.database import Database
from gateway.store.outbox import DURABLE_LANES
from gateway.store.sqlite import connect
from tests.sessions.conftest import ManualClock

GW = "house-1"
TURNS = 50


class FullConnection:
    """Every place on the wire is taken until the broker confirms something."""

    room = 0

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.tries = 0

    def publish(self, *_: Any, **__: Any) -> bool:
        self.tries += 1
        return False


async def test_without_room_on_the_wire_it_waits_for_room(tmp_path: Path) -> None:
    """A broker that confirms nothing for a minute does not keep the processor busy for a minute."""
    store = ThreadPoolExecutor(1)
    world = World(
        clock=ManualClock(), random=Random(1), store=store, net=store, connect_database=connect,
        open_socket=None, notify=lambda _: None,  # type: ignore[arg-type]
    )  # fmt: skip
    db = await Database.open(tmp_path / "billing.db", connect, store)
    boot = await db.run(lambda c: meta.begin_boot(c, GW, simulation=True, random=world.random))
    connection, wake = FullConnection(), asyncio.Event()
    shared = Shared({lane: LaneWindow(world.random) for lane in DURABLE_LANES})
    talk = Conversation(
        GW, world, db, boot.who, lambda _: None, None, shared, wake, None, simulation=True,  # type: ignore[arg-type]
    )  # fmt: skip
    running = asyncio.create_task(talk.run(connection))  # type: ignore[arg-type]
    for _ in range(TURNS):
        await db.run(lambda _: None)  # each of its steps needs the database too: it had its turn
    running.cancel()
    await asyncio.wait([running])
    await db.close()
    store.shutdown()
    assert 1 <= connection.tries < 5
