"""The simulation itself: real libraries on virtual time, the same events from the same seed."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from random import Random

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from gateway.model import Connection
from gateway.store.database import Database

from .disk import Disk
from .loop import NODE, DeadlockError, SimLoop
from .net import Network


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _talk(network: Network, count: int) -> None:
    async with (
        serve(_echo, "csms", 80, compression=None),
        connect("ws://csms:80/", proxy=None, compression=None) as peer,
    ):
        for number in range(count):
            await peer.send(f"message {number}")
            assert await peer.recv() == f"message {number}"
            await asyncio.sleep(60)


def _run_talk(seed: int) -> str:
    digest = hashlib.sha256()
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimLoop)
        network = Network(loop, seed)
        network.link("csms:80").split = 0.5
        network.log = lambda name, side, data: digest.update(f"{loop.time():.9f} {side} {len(data)}".encode())
        runner.run(_talk(network, 100))
    return digest.hexdigest()


def test_websockets_run_unmodified_and_repeat_on_one_seed() -> None:
    """100 messages over 100 virtual minutes: one seed gives one history, another seed another."""
    assert _run_talk(1) == _run_talk(1) != _run_talk(2)


def test_a_loop_in_which_nothing_can_happen_says_so() -> None:
    """A hang is found at once, not by a timeout."""

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    loop = SimLoop()
    with pytest.raises(DeadlockError):
        loop.run_until_complete(hang())
    loop.close()


def test_a_killed_node_runs_no_finally() -> None:
    """After a kill nothing of the dead machine runs: no except, no finally, no timer."""
    traces: list[str] = []

    async def victim() -> None:
        NODE.set("gateway")
        try:
            await asyncio.sleep(100)
        finally:
            traces.append("finally")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        task = asyncio.create_task(victim())
        await asyncio.sleep(10)
        loop.dead.add("gateway")
        await asyncio.sleep(1000)
        assert not task.done()
        traces.append("end")
        loop.dead.clear()
        task.cancel()

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        runner.run(main())
    assert traces[0] == "end"


def _insert(key: str) -> object:
    def work(db: Connection) -> None:
        db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, "x" * 300))

    return work


def _keys(db: Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT key FROM meta")}


@pytest.mark.parametrize("seed", range(20))
def test_what_the_database_confirmed_survives_a_power_cut_at_any_write(seed: int) -> None:
    """Torn and reordered unsynced sectors: every confirmed transaction is there, and the file is whole."""
    random = Random(seed)
    disk, confirmed = Disk(), list[str]()
    cut_at = random.randrange(5, 150)

    def on_write(number: int) -> None:
        if number >= cut_at:
            disk.cut_power(random)

    async def work() -> None:
        db = await Database.open(Path("/billing.db"), disk.connect, None)  # type: ignore[arg-type]
        for number in range(40):
            await db.run(_insert(f"key {number}"))  # type: ignore[arg-type]
            if not disk.is_cut:
                confirmed.append(f"key {number}")

    async def look(after: Disk) -> tuple[set[str], list[tuple[str]]]:
        db = await Database.open(Path("/billing.db"), after.connect, None)  # type: ignore[arg-type]
        return await db.run(lambda c: (_keys(c), c.execute("PRAGMA integrity_check").fetchall()))

    disk.on_write = on_write
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        runner.run(work())
    after = Disk(disk.cut_power(random))
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        found, check = runner.run(look(after))
    disk.close()
    after.close()
    assert set(confirmed) <= found
    assert check == [("ok",)]
