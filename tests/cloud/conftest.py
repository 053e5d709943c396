"""A link, a broker, an uplink and the reference ingestor on real wires; site time runs 600 times fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import Scale, ScaledClock
from gateway.cloud.link import CloudLink
from gateway.model import Event, Reading, TimeQuality, World
from gateway.records.signing import FileSigner
from gateway.sessions.keys import KeyOperations
from gateway.sessions.session import Session, State
from gateway.sessions.writing import Writer
from gateway.site import Circuit, Cloud, Site, Tariff
from gateway.store import meta, outbox, records
from gateway.store.database import Database
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect_read_only
from gateway.world import real_world
from simulators import broker
from simulators.broker import BrokerProcess
from simulators.cloud.ingestor import Ingestor
from simulators.uplink import Uplink

SPEED = 600.0
EPOCH_MS = 1_781_343_000_000
GW = "house-1"


def make_site(port: int, **cloud: Any) -> Site:
    """A site that has nothing but a cloud."""
    circuit = Circuit(id="house", parent=None, fuse_a=40, fuse="gG", limit_ma=40_000, house_worst_ma=0, safe_ma=6000)
    settings: dict[str, Any] = {"host": "127.0.0.1", "port": port, "tls": False, "mqtt": "3.1.1"} | cloud
    return Site(
        id=GW, name="House", timezone="Europe/Zurich", simulation=True, circuits=(circuit,),
        tariff=Tariff(id="t", default="NT", windows=()), cloud=Cloud(**settings),
    )  # fmt: skip


async def wait_until(condition: Callable[[], Any], what: str, link_s: float = 15.0) -> None:
    """Poll until `condition` holds."""
    try:
        async with asyncio.timeout(link_s):
            while not condition():  # noqa: ASYNC110 - what is polled stands in a file of another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {link_s} s: {what}")


@dataclass
class Gateway:
    """A gateway that consists of its database and its cloud link."""

    path: Path
    world: World
    site: Site
    execute: Callable[[str, dict[str, Any], str], Any]
    secrets: Callable[[str], bytes | None]
    events: list[Event] = field(default_factory=list)
    db: Database = field(init=False)
    who: Identity = field(init=False)
    link: CloudLink = field(init=False)
    signer: FileSigner = field(init=False)
    task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.db = await Database.open(self.path, self.world.connect_database, self.world.store)
        boot = await self.db.run(lambda db: meta.begin_boot(db, GW, simulation=True, random=self.world.random))
        self.who = boot.who
        self.signer = FileSigner.open(self.path.parent / "keys", simulation=True, now_ms=EPOCH_MS)
        keys = KeyOperations(self.site, self.world.clock, self.db, self.signer, self.events.append)
        await keys.start()
        self.link = CloudLink(
            self.site, self.world, self.db, self.who, self.events.append, self.secrets, self.execute, keys.retire
        )
        self.task = asyncio.create_task(self.link.run())

    async def stop(self) -> None:
        """The clean end."""
        if self.task is None:
            return
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self.task = None
        await self.db.close()

    async def add(self, count: int = 1, lane: str = "billing", body: str | None = None) -> list[int]:
        """Append records, each in a transaction of its own, and tell the link."""
        seqs = []
        for _ in range(count):
            rid = f"{self.world.random.getrandbits(128):032x}"
            text = body if body is not None else f'{{"n":"{rid}","text":"Zähler ✓"}}'
            seqs.append(
                await self.db.run(
                    lambda db, rid=rid, text=text: outbox.append(  # type: ignore[misc]
                        db, self.who, lane=lane, schema="test.v1", body=text, stamp=self.world.clock.now(), rid=rid
                    )
                )
            )
            self.link.notify()
        return seqs

    async def begin_session(self, name: str) -> str:
        """A session begins: its signed record."""
        at_ms = self.world.clock.utc_ms()
        reading = Reading("m1", at_ms, at_ms, TimeQuality.SIMULATED, 7000, model="iem3155", serial="SN-1", raw="00")
        session = Session(
            id=name, charger="box1", connector=1, transaction_id=1, state=State.OPEN, id_tag="CARD-A", tenant=None,
            participant=None, authorised_by="gateway", begin_ms=at_ms, begin_q="simulated", begin_wh=7000, meter="m1",
        )  # fmt: skip
        writer = Writer(self.site, self.who, self.signer, self.world.random)
        await self.db.run(lambda db: writer.begin(db, session, reading, self.world.clock.now()))
        self.link.notify()
        (record,) = await self.db.run(lambda db: records.of_session(db, name))
        return record.text

    def rows(self, columns: str = "lane, epoch, seq, rid, prev, sha256, body", where: str = "1") -> list[Any]:
        """What the outbox holds, read from outside."""
        connection = connect_read_only(self.path)
        try:
            return connection.execute(
                f"SELECT {columns} FROM outbox WHERE {where} ORDER BY epoch, lane, seq"
            ).fetchall()
        finally:
            connection.close()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@dataclass
class CloudSide:
    """The reference ingestor in a task, with its evidence."""

    ingestor: Ingestor
    path: Path
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.ingestor.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
            self.task = None

    def rows(self, table: str, columns: str) -> list[Any]:
        if not self.path.exists():
            return []
        connection = connect_read_only(self.path)
        try:
            return connection.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()
        finally:
            connection.close()

    def records(self) -> list[Any]:
        return sorted(self.rows("record", "lane, epoch, seq, rid, prev, sha256, body"))


@dataclass
class Bench:
    """Everything of one test."""

    gateway: Gateway
    cloud: CloudSide
    uplink: Uplink
    broker: BrokerProcess

    async def drained(self) -> None:
        """Every record is answered by the cloud."""
        await wait_until(lambda: not self.gateway.rows("seq", "state = 'waiting'"), "the outbox is empty")

    def agree(self) -> None:
        """I8: the cloud holds each record once, byte-identical, and nothing else but what both list as refused."""
        ours = sorted(self.gateway.rows(where="state = 'acked'"))
        assert self.cloud.records() == ours
        dead = self.gateway.rows("lane, epoch, seq", "state = 'dead'")
        assert sorted(self.cloud.rows("rejected", "lane, epoch, seq")) == sorted(dead)


async def refuse_all(op: str, args: dict[str, Any], actor: str) -> dict[str, Any]:
    raise LookupError(f"unknown operation {op!r}")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = ScaledClock(Scale(EPOCH_MS, time.monotonic(), SPEED))
    made = real_world(clock)
    yield made
    made.store.shutdown()


@pytest.fixture
def embedded() -> Iterator[BrokerProcess]:
    process = broker.embedded()
    process.start()
    yield process
    process.kill()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[BrokerProcess]:
    if broker.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    process = broker.mosquitto(folder)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def bench(tmp_path: Path, world: World) -> Callable[..., Any]:
    """`async with bench(broker, mqtt="5") as b`: link -> uplink -> broker -> ingestor, all running."""

    @asynccontextmanager
    async def make(
        process: BrokerProcess, *, execute: Any = refuse_all, secrets: Any = lambda name: None,
        ingestor: dict[str, Any] | None = None, **cloud: Any,
    ) -> AsyncIterator[Bench]:  # fmt: skip
        uplink = Uplink({"broker": ("127.0.0.1", process.port)})
        await uplink.start()
        settings = {"port": process.port} | (ingestor or {})
        side = CloudSide(
            Ingestor("127.0.0.1", database=tmp_path / "cloud.db", now_ms=world.clock.utc_ms, **settings),
            tmp_path / "cloud.db",
        )
        side.start()
        await asyncio.wait_for(side.ingestor.ready.wait(), 10)
        (tmp_path / "state").mkdir()
        gateway = Gateway(
            tmp_path / "state" / "billing.db", world, make_site(uplink.port("broker"), **cloud), execute, secrets
        )
        await gateway.start()
        try:
            yield Bench(gateway, side, uplink, process)
        finally:
            await gateway.stop()
            await side.stop()
            await uplink.stop()

    return make
