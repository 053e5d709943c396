"""A small house on a real database: a clock that is moved by hand, meters that a test sets, a journal it writes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.model import ConnectorRef, Event, Guess, Reading, Stamp, TimeQuality, World
from gateway.records.signing import FileSigner
from gateway.sessions.acts import Acts
from gateway.sessions.settlement import Settlement
from gateway.sessions.tracker import Tracker
from gateway.site import (
    Charger,
    Circuit,
    Connector,
    Meter,
    Participant,
    Site,
    Split,
    Tariff,
    TariffWindow,
    Token,
)  # fmt: skip
from gateway.store import journal, meta, readings, sessions
from gateway.store.database import Database
from gateway.store.sqlite import connect

EGBB = Tariff(
    id="egbb",
    default="NT",
    windows=(
        TariffWindow(name="HT", weekdays=frozenset(range(5)), start_quarter=28, end_quarter=80),
        TariffWindow(name="HT", weekdays=frozenset({5}), start_quarter=28, end_quarter=52),
    ),
)


def ms(text: str) -> int:
    """UTC ms of an ISO time with Z."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


START_MS = ms("2026-04-15T09:10:00Z")  # a Wednesday, 11:10 in Zurich: HT


class ManualClock:
    """Site time moves only when a test says so; a sleep ends when time has come there."""

    def __init__(self, now_ms: int = START_MS, quality: TimeQuality = TimeQuality.NTP) -> None:
        self.now_ms, self.quality = now_ms, quality
        self.stepped_ms = 0

    def now(self) -> Stamp:
        return Stamp(self.now_ms, self.quality)

    def utc_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return (self.now_ms - self.stepped_ms) / 1000

    def step(self, delta_ms: int) -> None:
        """The wall clock is set; the monotonic one does not notice."""
        self.now_ms += delta_ms
        self.stepped_ms += delta_ms

    def link_s(self, site_s: float) -> float:
        return site_s

    def off_ms(self) -> int:
        return 0

    def right(self) -> Stamp:
        return self.now()

    def put_right(self) -> None:
        raise AssertionError("it is never wrong")

    def start_no_earlier_than(self, utc_ms: int, guess: Guess | None = None) -> None:
        self.now_ms = max(self.now_ms, utc_ms)

    def guess(self) -> None:
        return None

    async def sleep(self, site_s: float) -> None:
        raise AssertionError("the sessions wait on events")


class FakeMeters:
    """Meters whose registers a test sets. `silent` ones answer nothing, `new_levels` are marked once."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.registers: dict[str, tuple[int, int | None]] = {}
        self.serials: dict[str, str | None] = {}
        self.ranges: dict[str, int] = {}
        self.silent: set[str] = set()
        self.new_levels: set[str] = set()
        self.asked: list[str] = []
        self._seen: dict[str, list[Reading]] = {}
        self._listeners: list[Callable[[Reading], None]] = []

    def reading(self, meter: str) -> Reading:
        import_wh, export_wh = self.registers[meter]
        return Reading(
            meter=meter, requested_ms=self._clock.now_ms, replied_ms=self._clock.now_ms + 40,
            quality=self._clock.quality, import_wh=import_wh, export_wh=export_wh, model="iem3155", map_version="1",
            serial=self.serials.get(meter, f"SN-{meter}"), raw="00ff", range_wh=self.ranges.get(meter),
            new_level=meter in self.new_levels,
        )  # fmt: skip

    def poll(self, *meters: str) -> None:
        """Good readings of these meters, or of all, arrive now."""
        for meter in meters or sorted(self.registers):
            if meter not in self.silent:
                self._arrived(self.reading(meter))
        self.new_levels -= set(meters or self.registers)

    def _arrived(self, reading: Reading) -> None:
        self._seen.setdefault(reading.meter, []).append(reading)
        for listener in self._listeners:
            listener(reading)

    def latest(self, meter: str) -> Reading | None:
        return next(reversed(self._seen.get(meter, [])), None)

    def series(self, meter: str, from_ms: int, to_ms: int) -> Sequence[Reading]:
        kept_ms = self._clock.now_ms - 900_000  # as the real ones: the last quarter hour
        return [one for one in self._seen.get(meter, []) if max(from_ms, kept_ms) <= one.requested_ms <= to_ms]

    async def read_now(self, meter: str) -> Reading | None:
        self.asked.append(meter)
        if meter in self.silent:
            return None
        reading = self.reading(meter)
        self._arrived(reading)
        return reading

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        self._listeners.append(listener)

    def forget(self) -> None:
        """What a restart forgets."""
        self._seen.clear()
        self._listeners.clear()


def connector(charger: str, meter: str | None) -> Connector:
    return Connector(
        ref=ConnectorRef(charger, 1), circuit="house", max_ma=16000, fallback_ma=6000, meter=meter, participant=charger
    )


def small_house(**changes: Any) -> Site:
    """Grid, sun, one flat and one box with a meter each, one box without; what is left is common."""
    site = Site(
        id="gw-test",
        name="Test",
        timezone="Europe/Zurich",
        circuits=(
            Circuit(id="house", parent=None, fuse_a=40, fuse="gG", limit_ma=40000, house_worst_ma=20000, safe_ma=6000),
        ),
        meters=(
            Meter(id="grid", model="abb_b23", bus="b", unit=1, role="grid"),
            Meter(id="pv", model="abb_b23", bus="b", unit=2, role="production"),
            Meter(id="flat", model="iem3155", bus="b", unit=3, role="participant"),
            Meter(id="m1", model="iem3155", bus="b", unit=4, role="charger"),
        ),
        chargers=(
            Charger(id="box1", connectors=(connector("box1", "m1"),)),
            Charger(id="bare", connectors=(connector("bare", None),)),
        ),
        participants=(
            Participant(id="flat", name="Flat", kind="flat", meter="flat"),
            Participant(id="box1", name="Box 1", kind="charger"),
            Participant(id="bare", name="Bare box", kind="charger"),
            Participant(id="common", name="House", kind="common"),
        ),
        tokens=(Token(id="CARD-A", tenant="anna"), Token(id="CARD-OLD", tenant="otto", to_ms=START_MS - 1)),
        split=Split(),
        tariff=EGBB,
    )  # fmt: skip
    return replace(site, **changes)


@dataclass
class House:
    """The running parts, and what a test does to them."""

    path: Path
    site: Site
    clock: ManualClock
    meters: FakeMeters
    db: Database
    world: World
    signer: FileSigner
    who: Any
    events: list[Event] = field(default_factory=list)
    message: int = 0
    tracker: Tracker | None = None
    settlement: Settlement | None = None
    acts: Acts | None = None

    def at(self, text: str) -> None:
        """Move the clock to a time of the first day, or to a whole one."""
        self.clock.now_ms = ms(text if "T" in text else f"2026-04-15T{text}Z")

    async def journal(
        self, action: str, payload: dict[str, Any], *, charger: str = "box1", tx: int | None = None,
        answer: dict[str, Any] | None = None, read: str | None = None, at_ms: int | None = None, notify: bool = True,
        reading: Reading | None = None, connector: int = 1,
    ) -> int:  # fmt: skip
        """Write one entry as the OCPP side does."""
        self.message += 1
        if read is not None:
            reading = await self.meters.read_now(read)
        new = journal.NewEntry(
            charger=charger, at_ms=at_ms or self.clock.now_ms, ts_q=self.clock.quality.value, boot=1, action=action,
            connector=connector, transaction_id=tx, message_id=str(self.message),
            frame=json.dumps([2, str(self.message), action, payload]),
            reading=readings.dump(reading) if reading else None,
            answer=json.dumps(answer) if answer is not None else None,
            answered_by="gateway" if answer is not None else None,
        )  # fmt: skip
        entry = await self.db.run(lambda db: journal.append(db, new))
        if notify and self.tracker:
            self.tracker.notify()
        return entry

    async def start(
        self, tx: int, *, card: str = "CARD-A", status: str = "Accepted", meter_start: int = 5000, **more: Any
    ) -> int:
        """A start that was answered, with a reading taken for it."""
        more.setdefault("read", "m1")
        payload = {"connectorId": 1, "idTag": card, "meterStart": meter_start, "timestamp": iso(self.clock.now_ms)}
        answer = {"idTagInfo": {"status": status}, "transactionId": tx}
        return await self.journal("StartTransaction", payload | more.pop("payload", {}), tx=tx, answer=answer, **more)

    async def stop(self, tx: int, *, meter_stop: int = 9000, **more: Any) -> int:
        """A stop that was answered."""
        payload = {"transactionId": tx, "meterStop": meter_stop, "timestamp": iso(self.clock.now_ms)}
        return await self.journal("StopTransaction", payload | more.pop("payload", {}), tx=tx, answer={}, **more)

    async def answer(self, entry: int, *, tx: int, status: str = "Accepted") -> None:
        """The answer to a start, and with it its transaction id."""
        text = json.dumps({"idTagInfo": {"status": status}, "transactionId": tx})
        await self.db.run(lambda db: journal.answered(db, entry, text, "csms", transaction_id=tx))
        assert self.tracker is not None
        assert self.settlement is not None
        self.tracker.notify()
        await self.until("SELECT count(*) FROM session", 1)
        self.settlement._wake.set()

    async def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await self.db.run(lambda db: db.execute(sql, parameters).fetchall())

    async def bodies(self, schema: str) -> list[dict[str, Any]]:
        """What went into the billing lane, oldest first."""
        rows = await self.rows("SELECT body FROM outbox WHERE schema = ? ORDER BY seq", schema)
        return [json.loads(row[0]) for row in rows]

    async def until(self, sql: str, expected: Any) -> None:
        """Wait until a query gives this value."""
        async with asyncio.timeout(5):
            while (await self.rows(sql))[0][0] != expected:  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(0)

    async def boundary(self, text: str, **registers: tuple[int, int | None]) -> None:
        """A quarter hour comes: these registers, and a reading of every meter that is not silent."""
        self.at(text)
        self.meters.registers |= registers
        k = self.clock.now_ms // 900_000
        self.meters.poll()
        if self.meters.silent:
            self.clock.now_ms += 11_000
            assert self.settlement is not None
            self.settlement._wake.set()
        await self.until(f"SELECT ifnull(max(version), 0) > 0 FROM interval WHERE k = {k - 1}", 1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The tracker and the settlement, until the block ends; then everything in memory is gone, as in a kill."""
        self.tracker = Tracker(
            self.site, self.world, self.db, self.who, self.meters, self.signer, self.events.append, lambda: None
        )
        self.settlement = Settlement(
            self.site, self.world, self.db, self.who, self.meters, self.events.append, lambda: None
        )
        self.acts = Acts(self.site, self.world, self.db, self.who, self.settlement.notify)
        tasks = [asyncio.create_task(self.tracker.run()), asyncio.create_task(self.settlement.run())]
        try:
            async with asyncio.timeout(5):
                while self.settlement._next_k is None:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            self.meters.forget()
            self.tracker = self.settlement = None


def iso(utc_ms: int) -> str:
    from gateway.clock import iso as spelled

    return spelled(utc_ms)


async def build(path: Path, site: Site) -> House:
    clock = ManualClock()
    meters = FakeMeters(clock)
    meters.registers = {"grid": (100_000, 0), "pv": (0, 50_000), "flat": (20_000, None), "m1": (7_000, None)}
    executor = ThreadPoolExecutor(max_workers=1)
    world = World(
        clock=clock, random=random.Random(7), store=executor, net=executor, connect_database=connect,
        open_socket=None, notify=lambda _: None,  # type: ignore[arg-type]
    )  # fmt: skip
    db = await Database.open(path / "billing.db", connect, executor)
    boot = await db.run(lambda c: meta.begin_boot(c, site.id, simulation=False, random=world.random))
    signer = FileSigner.open(path / "keys", simulation=False, now_ms=START_MS)
    return House(path, site, clock, meters, db, world, signer, boot.who)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The small house, not yet running."""
    built = await build(tmp_path, small_house())
    yield built
    await built.db.close()
    built.world.store.shutdown()


async def one(house: Any) -> dict[str, Any]:
    """The only session."""
    [found] = await house.db.run(lambda db: sessions.newest(db, 10))
    return dict(found)


async def ended(house: Any) -> dict[str, Any]:
    await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
    return await one(house)
