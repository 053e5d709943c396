"""What a bill costs: from end register to committed record, CPU per session, a month of splits, `verify --all`.

Every commit that changes something waits 5 ms in place of this machine's own disk. The floor is what cannot be left
out: signing the record, and that wait. Figures of one run are compared with one another only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gateway.command.verification import verify_store
from gateway.model import INTERVAL_S, Connection, ConnectorRef, Guess, Reading, Rows, Stamp, TimeQuality, Value, World
from gateway.records.signing import FileSigner
from gateway.records.verify import chain_hash
from gateway.sessions.quarters import Quarters
from gateway.sessions.tracker import Tracker
from gateway.site import Charger, Connector, Meter, Participant, Site, Tariff, TariffWindow
from gateway.store import intervals, journal, meta, readings, records
from gateway.store.database import Database
from gateway.store.journal import NewEntry
from gateway.store.records import RecordRow
from gateway.store.sqlite import connect

FSYNC_S = 0.005
RATIO_LIMIT = 1.3
CHARGERS = 40
START_MS = 1_775_001_600_000  # 2026-04-01T00:00Z


class SlowDisk:
    """A connection whose commits wait for a disk of 5 ms where they changed something, and for no other disk."""

    def __init__(self, path: Path) -> None:
        self._inner = connect(path)
        self._written = 0

    def execute(self, sql: str, parameters: Sequence[Value] = (), /) -> Rows:
        rows = self._inner.execute("PRAGMA synchronous=OFF" if sql == "PRAGMA synchronous=FULL" else sql, parameters)
        if sql == "COMMIT":
            (written,) = self._inner.execute("SELECT total_changes()").fetchone() or (0,)
            if written != self._written:
                self._written = written
                time.sleep(FSYNC_S)
        return rows

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]], /) -> None:
        self._inner.executemany(sql, rows)

    def close(self) -> None:
        self._inner.close()


class Clock:
    """Site time that a benchmark moves."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def now(self) -> Stamp:
        return Stamp(self.now_ms, TimeQuality.NTP)

    def utc_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return self.now_ms / 1000

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
        await asyncio.sleep(site_s)


class Meters:
    """A meter port whose readings come when they are asked for by the benchmark, never by themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wh = 1_000_000
        self._seen: list[Reading] = []
        self._listeners: list[Callable[[Reading], None]] = []

    def reading(self) -> Reading:
        return Reading("m0", self._clock.now_ms, self._clock.now_ms + 40, TimeQuality.NTP, self.wh, serial="A1",
                       model="iem3155", map_version="1", raw=f"{self.wh:016x}")  # fmt: skip

    def arrive(self) -> None:
        reading = self.reading()
        self._seen = [*self._seen[-3:], reading]
        for listener in self._listeners:
            listener(reading)

    def latest(self, meter: str) -> Reading | None:
        return self._seen[-1] if self._seen else None

    def series(self, meter: str, from_ms: int, to_ms: int) -> Sequence[Reading]:
        return [one for one in self._seen if meter == "m0" and from_ms <= one.requested_ms <= to_ms]

    async def read_now(self, meter: str) -> Reading | None:
        return None

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        self._listeners.append(listener)


def building() -> Site:
    """Forty boxes with a meter each, eight flats, a grid meter and a roof."""
    boxes = [f"box{number}" for number in range(CHARGERS)]
    flats = [f"f{number}" for number in range(8)]
    meters = [Meter(id="grid", model="m", bus="b", unit=1, role="grid"),
              Meter(id="pv", model="m", bus="b", unit=2, role="production"),
              *(Meter(id=flat, model="m", bus="b", unit=3, role="participant") for flat in flats),
              *(Meter(id=f"m{n}", model="m", bus="b", unit=4, role="charger") for n in range(CHARGERS))]  # fmt: skip
    window = TariffWindow(name="HT", weekdays=frozenset(range(5)), start_quarter=28, end_quarter=80)
    return Site(
        id="bench", name="Bench", timezone="Europe/Zurich", circuits=(), meters=tuple(meters),
        chargers=tuple(
            Charger(id=box, connectors=(Connector(ref=ConnectorRef(box, 1), circuit="house", max_ma=16000,
                                                  fallback_ma=0, meter=f"m{number}", participant=box),))
            for number, box in enumerate(boxes)
        ),
        participants=(*(Participant(id=flat, name=flat, kind="flat", meter=flat) for flat in flats),
                      *(Participant(id=box, name=box, kind="charger") for box in boxes),
                      Participant(id="common", name="House", kind="common")),
        tariff=Tariff(id="t", default="NT", windows=(window,)),
    )  # fmt: skip


async def open_world(folder: Path, connecting: Callable[[Path], Connection]) -> tuple[World, Database, Any, FileSigner]:
    executor = ThreadPoolExecutor(max_workers=1)
    world = World(clock=Clock(), random=random.Random(1), store=executor, net=executor, connect_database=connecting,
                  open_socket=None, notify=lambda _: None)  # type: ignore[arg-type]  # fmt: skip
    db = await Database.open(folder / "billing.db", connecting, executor)
    boot = await db.run(lambda c: meta.begin_boot(c, "bench", simulation=False, random=world.random))
    return world, db, boot.who, FileSigner.open(folder / "keys", simulation=False, now_ms=START_MS)


def entry(clock: Clock, action: str, transaction: int, payload: dict[str, Any], reading: Reading | None) -> NewEntry:
    """One journal entry as the OCPP side writes it."""
    answer = {"idTagInfo": {"status": "Accepted"}, "transactionId": transaction}
    return NewEntry(
        charger="box0", at_ms=clock.now_ms, ts_q="ntp", boot=1, action=action, connector=1, transaction_id=transaction,
        message_id=f"{action}{transaction}", frame=json.dumps([2, f"{transaction}", action, payload]),
        reading=readings.dump(reading) if reading else None, answer=json.dumps(answer), answered_by="gateway",
    )  # fmt: skip


async def ending(count: int) -> dict[str, float]:
    """Sessions one after another: milliseconds from the end register to the record on disk, and the floor beside it."""
    with tempfile.TemporaryDirectory() as folder:
        world, db, who, signer = await open_world(Path(folder), SlowDisk)
        clock, meters = world.clock, Meters(world.clock)  # type: ignore[arg-type]
        assert isinstance(clock, Clock)
        committed = asyncio.Event()
        tracker = Tracker(building(), world, db, who, meters, signer, lambda _: None, committed.set)
        running = asyncio.create_task(tracker.run())
        took: list[float] = []
        floors: list[float] = []
        cpu = 0.0
        for transaction in range(1, count + 1):
            clock.now_ms += 10_000
            began_cpu = time.process_time()
            await _until(db, tracker, clock, entry(clock, "StartTransaction", transaction, {"idTag": "A"},
                                                   meters.reading()), "open", transaction)  # fmt: skip
            clock.now_ms += 10_000
            meters.wh += 900
            stop = entry(clock, "StopTransaction", transaction, {"transactionId": transaction}, None)
            await _until(db, tracker, clock, stop, "stopped", transaction)
            clock.now_ms += 1_000
            committed.clear()
            began = time.perf_counter()
            meters.arrive()
            await committed.wait()
            took.append(time.perf_counter() - began)
            await _state(db, "ended", transaction)
            cpu += time.process_time() - began_cpu
            floors.append(_floor(signer, transaction))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await db.close()
        world.store.shutdown()
    end_ms, floor_ms = statistics.median(took) * 1000, statistics.median(floors) * 1000
    return {"end_ms": end_ms, "floor_ms": floor_ms, "ratio": end_ms / floor_ms, "cpu_ms": cpu / count * 1000}


async def _until(
    db: Database, tracker: Tracker, clock: Clock, new: NewEntry, state: str, transaction: int
) -> None:  # fmt: skip
    await db.run(lambda connection: journal.append(connection, new))
    tracker.notify()
    await _state(db, state, transaction)


async def _state(db: Database, state: str, transaction: int) -> None:
    """Wait until the session is so on disk: the look shares the queue with the work, and costs no commit."""
    sql = "SELECT 1 FROM session WHERE transaction_id = ? AND state = ?"
    while not await db.run(lambda connection: connection.execute(sql, (transaction, state)).fetchall()):  # noqa: ASYNC110
        await asyncio.sleep(0)


def _floor(signer: FileSigner, number: int) -> float:
    began = time.perf_counter()
    signer.sign(f"a record of 700 bytes {number}".ljust(700).encode())
    time.sleep(FSYNC_S)
    return time.perf_counter() - began


async def month(days: int) -> dict[str, float]:
    """The quarter hours of a month settled one by one: 50 meters, ten cars at any time."""
    with tempfile.TemporaryDirectory() as folder:
        world, db, who, _ = await open_world(Path(folder), connect)
        site, draw = building(), random.Random(3)
        registers = {meter.id: [draw.randrange(10**6), draw.randrange(10**6)] for meter in site.meters}
        quarters = Quarters(site, who, world.random)
        first_k = START_MS // 1000 // INTERVAL_S
        count, spent, largest = days * 96, 0.0, 0.0
        for k in range(first_k, first_k + count + 1):
            boundary = {name: _boundary(name, k, wh) for name, wh in registers.items()}
            await db.run(lambda c, k=k, boundary=boundary: intervals.add_boundary(c, k, boundary))  # type: ignore[misc]
            if k > first_k:
                began = time.process_time()
                stamp = Stamp(k * 900_000, TimeQuality.NTP)
                await db.run(lambda c, k=k, stamp=stamp: quarters.settle_next(c, k - 1, stamp))  # type: ignore[misc]
                spent, largest = spent + time.process_time() - began, max(largest, time.process_time() - began)
            _flow(registers, draw, k)
        await db.close()
        world.store.shutdown()
    each_ms = spent / count * 1000
    return {"days": days, "seconds": spent, "ms_per_quarter": each_ms, "longest_ms": largest * 1000}


def _boundary(name: str, k: int, wh: list[int]) -> Reading:
    at_ms = k * 900_000 + 120
    export_wh = wh[1] if name in ("grid", "pv") else None
    return Reading(name, at_ms, at_ms + 40, TimeQuality.NTP, wh[0], export_wh, serial="A1", model="iem3155",
                   map_version="1", raw=f"{wh[0]:016x}")  # fmt: skip


def _flow(registers: dict[str, list[int]], draw: random.Random, k: int) -> None:
    load = 0
    for name, wh in registers.items():
        if name not in ("grid", "pv"):
            flowed = (
                draw.randrange(2_700) if name[0] == "m" and (k // 8 + int(name[1:])) % 4 == 0 else draw.randrange(90)
            )
            wh[0], load = wh[0] + flowed, load + flowed
    sun = draw.randrange(20_000) if 24 <= k % 96 < 76 else 0
    registers["pv"][1] += sun
    registers["grid"][0] += max(0, load - sun)
    registers["grid"][1] += max(0, sun - load)


def verifying(count: int) -> dict[str, float]:
    """A store of `count` signed records, verified as `verify --all` does; the floor is the bare signature check."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world, db, _, signer = asyncio.run(open_world(folder, connect))
        asyncio.run(db.close())
        world.store.shutdown()
        connection = connect(folder / "billing.db")
        _fill(connection, signer, count)
        began = time.perf_counter()
        shown: list[int] = []
        found = verify_store(connection, folder, lambda done, _: shown.append(done))
        took = time.perf_counter() - began
        connection.close()
        if found.records != count or found.problems or not shown:
            raise SystemExit(f"verify: {found.records} records, {found.problems[:3]}")
    return {"records": count, "seconds": took, "ms_per_record": took / count * 1000, "progress": len(shown)}


def _fill(db: Connection, signer: FileSigner, count: int) -> None:
    """Records as the gateway writes them: chained, numbered, signed."""
    from gateway.records import ocmf

    prev = records.GENESIS
    db.execute("BEGIN IMMEDIATE")
    for number in range(1, count + 1):
        place = f"box{number % CHARGERS}/1"
        page = records.next_page(db, signer.key_id, place)
        reading = Reading("m0", START_MS + number * 1000, START_MS + number * 1000 + 40, TimeQuality.NTP, number,
                          serial="A1", raw=f"{number:016x}")  # fmt: skip
        charger, _, connector = place.partition("/")
        signed = ocmf.payload(
            ocmf.Statement(transaction="B", reading=reading, session=f"s{number}", charger=charger,
                           connector=int(connector), id_tag="A", id_type="UNDEFINED", authorised_by="csms",
                           pagination=page, key_id=signer.key_id, version="1", prev=prev, simulation=False,
                           meter_serial="A1")
        )  # fmt: skip
        text = ocmf.record_text(signed, signer.sign(signed.encode()))
        row = RecordRow(session=f"s{number}", kind="begin", signed_by="gateway", key_id=signer.key_id,
                        charge_point=place, pagination=page, text=text, reading=readings.dump(reading), prev=prev,
                        sha256=chain_hash(prev, text))  # fmt: skip
        records.append(db, row)
        prev = row.sha256
    db.execute("COMMIT")


def main() -> int:
    """Print the figures; 1 where the end of a session takes longer than its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    end = asyncio.run(ending(options.sessions))
    split = asyncio.run(month(options.days))
    verified = verifying(options.records)
    if options.json:
        print(json.dumps({"v": 1, "end": end, "month": split, "verify": verified, "ratio_limit": RATIO_LIMIT}))
    else:
        print(f"session end: {end['end_ms']:.2f} ms from the end register to the record on disk; sign and wait alone "
              f"{end['floor_ms']:.2f} ms: {end['ratio']:.2f}x (limit {RATIO_LIMIT}x)")  # fmt: skip
        print(f"CPU per session, start to end: {end['cpu_ms']:.1f} ms")
        print(f"{split['days']} days of {CHARGERS} chargers: {split['seconds']:.1f} s CPU, "
              f"{split['ms_per_quarter']:.1f} ms a quarter hour, longest {split['longest_ms']:.0f} ms")  # fmt: skip
        print(f"verify --all: {verified['records']} records in {verified['seconds']:.1f} s, "
              f"{verified['ms_per_record']:.3f} ms each, {verified['progress']} signs of progress")  # fmt: skip
    return 0 if end["ratio"] <= RATIO_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
