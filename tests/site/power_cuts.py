"""Power cuts by the thousand: the real store, tracker and outbox on a disk that keeps only what was synced.

One life: a database is opened, transactions of two wallboxes are journaled and confirmed, the tracker makes sessions
of them, events go into their lane, a cloud is told what is committed - until the power fails before the n-th write.
Then the image is opened again: everything that was confirmed or told must be there to the byte, so no page of a signing
key is used twice; lanes and records must be whole; the sessions must come out once each.

    python -m tests.site.power_cuts --cuts 10000
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from gateway.clock import iso
from gateway.model import Connection, ConnectorRef, Reading, TimeQuality, World
from gateway.records.signing import FileSigner
from gateway.records.verify import Link, SequenceCheck
from gateway.sessions.tracker import Tracker
from gateway.site import Charger, Circuit, Connector, Meter, Participant, Site, Split, Tariff, Token
from gateway.store import journal, meta, outbox, readings, records
from gateway.store.database import Database
from gateway.store.outbox import GENESIS, Identity, envelope_sha256

from .clock import SimClock
from .disk import Disk
from .loop import SimLoop

EPOCH_MS = 1_781_346_600_000
BOXES = ("box1", "box2")
TRANSACTIONS = 4
LATEST_CUT = 260
"""Writes of one whole life; a cut after the last one is a life without a cut."""


@dataclass
class Toll:
    """What the cuts have cost: nothing, if the gateway keeps its word."""

    cuts: int = 0
    confirmed: int = 0
    lost: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Nothing was lost and everything is whole."""
        return self.lost == 0 and not self.broken


class OtherConnection:
    """The same connection with one pragma other than the store sets it."""

    def __init__(self, connection: Connection, pragma: str, other: str) -> None:
        self._connection, self._pragma, self._other = connection, pragma, other

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        return self._connection.execute(self._other if self._pragma in sql else sql, parameters)

    def executemany(self, sql: str, rows: Any, /) -> None:
        self._connection.executemany(sql, rows)

    def close(self) -> None:
        self._connection.close()


def cut_often(cuts: int, seed: int, *, weak: bool = False, progress: Callable[[int], None] = lambda _: None) -> Toll:
    """So many lives, each with a cut at its own write; `weak` takes the sync away."""
    toll = Toll()
    with tempfile.TemporaryDirectory() as folder:
        signer = FileSigner.open(Path(folder) / "keys", simulation=True, now_ms=EPOCH_MS)
        fresh = _fresh_image()
        for number in range(cuts):
            source = Random(f"{seed}/{number}")
            _one_life(None if source.random() < 0.05 else fresh, source, signer, toll, weak=weak)
            progress(number)
    return toll


def _fresh_image() -> dict[str, bytes]:
    disk = Disk()

    async def make() -> None:
        db = await Database.open(Path("/billing.db"), disk.connect, None)  # type: ignore[arg-type]
        await db.close()

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        runner.run(make())
    image = disk.stop()
    disk.close()
    return image


def _one_life(image: dict[str, bytes] | None, source: Random, signer: FileSigner, toll: Toll, *, weak: bool) -> None:
    disk, ledger = Disk(image), Counter[str]()
    cut_at = source.randrange(1, LATEST_CUT)

    def on_write(number: int) -> None:
        if number >= cut_at:
            disk.cut_power(source)

    disk.on_write = on_write
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        runner.run(_Life(disk, signer, source, ledger, weak=weak).live())
    after = Disk(disk.cut_power(source))
    disk.close()
    toll.cuts += 1
    toll.confirmed += len(ledger)
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        try:
            runner.run(_Life(after, signer, source, ledger, weak=False).judge(toll))
        except Exception as error:  # noqa: BLE001 - whatever the database says after a cut is the finding
            toll.broken.append(f"cut at write {cut_at}: {type(error).__name__}: {error}")
    after.close()


class _Life:
    """The daemon's parts around one disk, from power on to power off."""

    def __init__(self, disk: Disk, signer: FileSigner, source: Random, ledger: Counter[str], *, weak: bool) -> None:
        self._disk, self._signer, self._ledger, self._weak = disk, signer, ledger, weak
        self._clock: SimClock
        self._random = Random(source.random())
        self._writes_back = source.random() < 0.5

    def _connect(self, path: Path) -> Connection:
        connection: Connection = self._disk.connect(path)
        if self._weak:  # no sync at each commit: what WAL with synchronous=NORMAL does
            connection = OtherConnection(connection, "PRAGMA synchronous=", "PRAGMA synchronous=NORMAL")
        if self._writes_back:  # a life is too short for the store's own thousand pages
            connection = OtherConnection(connection, "PRAGMA wal_autocheckpoint=", "PRAGMA wal_autocheckpoint=20")
        return connection

    async def _begin(self) -> tuple[Database, Identity, Tracker]:
        self._clock = SimClock(asyncio.get_running_loop(), EPOCH_MS)
        db = await Database.open(Path("/billing.db"), self._connect, None)  # type: ignore[arg-type]
        boot = await db.run(lambda c: meta.begin_boot(c, SITE.id, simulation=True, random=self._random))
        world = World(
            clock=self._clock, random=self._random, store=None, net=None, connect_database=self._connect,  # type: ignore[arg-type]
            open_socket=None, notify=lambda _: None,  # type: ignore[arg-type]
        )  # fmt: skip
        meters = _Meters(self._clock)
        return db, boot.who, Tracker(SITE, world, db, boot.who, meters, self._signer, lambda _: None, lambda: None)

    async def live(self) -> None:
        """Until everything is told; after the cut nothing is confirmed any more."""
        try:
            db, who, tracker = await self._begin()
        except Exception:  # noqa: BLE001 - a cut while it opens: the next start shows what is left
            assert self._disk.is_cut
            return
        following = asyncio.ensure_future(tracker.run())
        cloud = asyncio.ensure_future(self._tell_cloud(db, who))
        boxes = [asyncio.ensure_future(self._box(db, who, tracker, box)) for box in BOXES]
        await asyncio.gather(*boxes, return_exceptions=True)
        await asyncio.sleep(1)
        for task in (following, cloud):
            task.cancel()
        await asyncio.gather(following, cloud, return_exceptions=True)

    async def _tell_cloud(self, db: Database, who: Identity) -> None:
        """What is committed leaves the house: its number, its hash and the page of its signed text are spent."""
        while True:
            for lane in outbox.DURABLE_LANES:
                known = await db.run(lambda c, lane=lane: outbox.waiting(c, lane, who.epoch, 0, 1000))  # type: ignore[misc]
                for row in known:
                    for what in _told(lane, row.seq, row.sha256, row.schema, row.body):
                        self._confirm(what)
            await asyncio.sleep(0.2)

    async def _box(self, db: Database, who: Identity, tracker: Tracker, box: str) -> None:
        for number in range(1, TRANSACTIONS + 1):
            tx = number + 100 * BOXES.index(box)
            for action, payload, answer in _messages(tx, self._clock.utc_ms()):
                await self._say(db, box, tx, action, payload, answer)
                tracker.notify()
                await asyncio.sleep(0.3)
            stamp = self._clock.now()
            await db.run(
                lambda c, stamp=stamp, tx=tx: outbox.append(  # type: ignore[misc]
                    c, who, lane="event", schema="notice.v1", body=f'{{"of":"{box}/{tx}"}}', stamp=stamp,
                    rid=f"{box}-{tx}",
                )
            )  # fmt: skip
            self._confirm(f"event {box}-{tx}")
            if self._disk.is_cut:
                return

    async def _say(
        self, db: Database, box: str, tx: int, action: str, payload: dict[str, Any], answer: dict[str, Any]
    ) -> None:
        message_id = f"{box}-{tx}-{action}"
        reading = _reading(f"m-{box}", self._clock.utc_ms()) if action == "StartTransaction" else None
        new = journal.NewEntry(
            charger=box, at_ms=self._clock.utc_ms(), ts_q="simulated", boot=1, action=action, connector=1,
            transaction_id=tx, message_id=message_id, frame=json.dumps([2, message_id, action, payload]),
            reading=readings.dump(reading) if reading else None, answer=json.dumps(answer), answered_by="gateway",
        )  # fmt: skip
        patience_s = 0.5 if action == "MeterValues" else 0.0
        await db.run(lambda c: journal.append(c, new), within_s=patience_s)
        self._confirm(f"journal {message_id}")

    def _confirm(self, what: str) -> None:
        """Now the charger hears yes, or the cloud a record. With the power gone nobody hears anything."""
        if not self._disk.is_cut:
            self._ledger[what] += 1

    async def judge(self, toll: Toll) -> None:
        """Start again on what the disk has kept."""
        db, _, tracker = await self._begin()
        following = asyncio.ensure_future(tracker.run())
        await asyncio.sleep(120)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        found, problems = await db.run(_look)
        keys = {self._signer.key_id: self._signer.public_spki()}
        problems += await db.run(partial(_records, keys=keys))
        await db.close()
        missing = sorted(set(self._ledger) - found)
        toll.lost += len(missing)
        toll.broken += problems


def _told(lane: str, seq: int, sha256: str, schema: str, body: str) -> Iterator[str]:
    """What a row that has left the house has spent, for ever."""
    yield f"row {lane} {seq} {sha256}"
    name = {"session.begin.v1": "ocmf_begin", "session.end.v1": "ocmf_end"}.get(schema)
    text = json.loads(body)[name] if name else None
    if text:
        signed = json.loads(text.split("|")[1])
        yield f"page {signed['GS']} {signed['CI']} {signed['PG']} {hashlib.sha256(text.encode()).hexdigest()}"


def _look(db: Connection) -> tuple[set[str], list[str]]:
    """What is there, and what is not whole."""
    problems = [text for (text,) in db.execute("PRAGMA integrity_check").fetchall() if text != "ok"]
    entries = db.execute("SELECT entry, message_id, action, transaction_id FROM journal ORDER BY entry").fetchall()
    found = {f"journal {row[1]}" for row in entries}
    problems += [f"{row[1]} stands twice" for row in entries if sum(row[1] == other[1] for other in entries) > 1]
    columns = "lane, seq, epoch, boot, rid, ts, ts_q, schema, prev, sha256, body, gw"
    begins: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    expected: dict[str, tuple[int, str]] = {}
    for lane, seq, epoch, boot, rid, ts, ts_q, schema, prev, sha, body, gw in db.execute(
        f"SELECT {columns} FROM (SELECT *, '{SITE.id}' AS gw FROM outbox) ORDER BY lane, seq"
    ):
        number, before = expected.get(lane, (1, GENESIS))
        if (seq, prev) != (number, before):
            problems.append(f"{lane} {seq} does not follow")
        whole = envelope_sha256(
            v=1, gw=gw, epoch=epoch, boot=boot, lane=lane, seq=seq, rid=rid, ts=ts, ts_q=ts_q, schema=schema,
            prev=prev, body=body,
        )  # fmt: skip
        if whole != sha:
            problems.append(f"{lane} {seq}: another hash")
        expected[lane] = (seq + 1, sha)
        found.update(_told(lane, seq, sha, schema, body))
        if lane == "event":
            found.add(f"event {rid}")
        elif schema == "session.begin.v1":
            begins[json.loads(body)["transaction_id"]] += 1
        elif schema == "session.end.v1":
            ends[json.loads(body)["transaction_id"]] += 1
    started = {row[3] for row in entries if row[2] == "StartTransaction"}
    stopped = {row[3] for row in entries if row[2] == "StopTransaction"}
    problems += [
        f"transaction {tx}: {begins[tx]} begin records" for tx in sorted(started | set(begins)) if begins[tx] != 1
    ]
    kept = Counter(row[0] for row in db.execute("SELECT transaction_id FROM session"))
    problems += [f"transaction {tx}: {kept[tx]} sessions" for tx in sorted(started | set(kept)) if kept[tx] != 1]
    problems += [f"transaction {tx}: {ends[tx]} end records" for tx in sorted(stopped | set(ends)) if ends[tx] != 1]
    return found, problems


def _records(db: Connection, keys: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the signed records: signature, chain, pagination, and a session's begin or end twice."""
    check = SequenceCheck(keys)
    problems, kinds = [], Counter[tuple[str, str]]()
    for row in records.everything(db):
        kinds[row.session, row.kind] += 1
        link = Link(
            row.id, row.key_id, row.charge_point, row.pagination, row.text, row.prev, row.sha256, row.signed_by,
            row.session, row.kind, row.reading,
        )  # fmt: skip
        problems += [f"record {row.id}: {why}" for why in check.look_at(link)]
    pages = db.execute("SELECT key_id, charge_point, next FROM pagination").fetchall()
    problems += check.finish({(row[0], row[1]): row[2] for row in pages}, check.last_id)
    return problems + [f"session {name}: {count} {kind} texts" for (name, kind), count in kinds.items() if count != 1]


class _Meters:
    """A meter port whose registers grow with time."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock

    def latest(self, meter: str) -> Reading | None:
        return _reading(meter, self._clock.utc_ms())

    def series(self, meter: str, from_ms: int, to_ms: int) -> Sequence[Reading]:
        return [_reading(meter, at_ms) for at_ms in range(max(EPOCH_MS, to_ms - 5000), to_ms + 1, 1000)]

    async def read_now(self, meter: str) -> Reading | None:
        return _reading(meter, self._clock.utc_ms())

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        """Nobody is told: it is asked when it is needed."""


def _reading(meter: str, at_ms: int) -> Reading:
    return Reading(
        meter, at_ms, at_ms + 20, TimeQuality.SIMULATED, 7000 + (at_ms - EPOCH_MS) // 100, model="iem3155",
        map_version="1", serial=f"SN-{meter}", raw="00",
    )  # fmt: skip


def _messages(tx: int, now_ms: int) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    at = iso(now_ms)
    return [
        ("StartTransaction", {"connectorId": 1, "idTag": "CARD-A", "meterStart": 1, "timestamp": at},
         {"idTagInfo": {"status": "Accepted"}, "transactionId": tx}),
        ("MeterValues", {"connectorId": 1, "transactionId": tx, "meterValue": []}, {}),
        ("StopTransaction", {"transactionId": tx, "meterStop": 9, "timestamp": at}, {}),
    ]  # fmt: skip


SITE = Site(
    id="cut",
    name="Cut",
    timezone="Europe/Zurich",
    simulation=True,
    circuits=(
        Circuit(id="house", parent=None, fuse_a=40, fuse="gG", limit_ma=40000, house_worst_ma=20000, safe_ma=6000),
    ),
    meters=tuple(Meter(id=f"m-{box}", model="iem3155", bus="b", unit=1, role="charger") for box in BOXES),
    chargers=tuple(
        Charger(
            id=box,
            connectors=(
                Connector(
                    ref=ConnectorRef(box, 1), circuit="house", max_ma=16000, fallback_ma=0, meter=f"m-{box}",
                    participant=box,
                ),
            ),
        )
        for box in BOXES
    ),
    participants=tuple(Participant(id=box, name=box, kind="charger") for box in BOXES),
    tokens=(Token(id="CARD-A", tenant="anna"),),
    split=Split(),
    tariff=Tariff(id="flat", default="NT", windows=()),
)  # fmt: skip


def main() -> int:
    """Cut, and print the toll beside that of a database that does not sync."""
    parser = argparse.ArgumentParser(prog="python -m tests.site.power_cuts")
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    started = time.monotonic()

    def progress(number: int) -> None:
        if number % 500 == 499:
            print(f"{number + 1} cuts, {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201

    toll = cut_often(arguments.cuts, arguments.seed, progress=progress)
    weak = cut_often(max(50, arguments.cuts // 50), arguments.seed, weak=True)
    print(f"synchronous=FULL:   {toll.cuts} cuts, {toll.confirmed} confirmed, {toll.lost} lost")  # noqa: T201
    print(f"synchronous=NORMAL: {weak.cuts} cuts, {weak.confirmed} confirmed, {weak.lost} lost")  # noqa: T201
    for problem in toll.broken[:20]:
        print(f"  {problem}")  # noqa: T201
    return 0 if toll.holds and weak.lost > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
