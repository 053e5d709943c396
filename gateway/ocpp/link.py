"""The edge of one charger: performs what its relay decides, and feeds it what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.model import (
    Clock,
    ConnectorRef,
    Event,
    LimitOutcome,
    MeterPort,
    Reading,
    Severity,
    Stamp,
    StoreError,
    Tell,
)
from gateway.ocpp import actions as act
from gateway.ocpp.relay import Relay, Setting
from gateway.ocpp.storing import Storing
from gateway.ocpp.trace import TraceLog
from gateway.ocpp.wire import Wire
from gateway.site_time import UNSURE
from gateway.store import journal
from gateway.store.database import Database

MAX_STORING = 1000
"""Store actions that wait for the disk; the next one is refused at once, and the relay says so to its peer."""

FRESH_MS = 5000
"""A reading for a start is at most this old (site time, design rule 12)."""

PATIENCE_S = 5.0
"""Site seconds that periodic values may wait for a commit of others, while we answer them (design rule 1)."""

ADMIT_S = 5.0
"""Link seconds that a charger in spec-close mode waits for its CSMS before it is refused."""

_IN_JOURNAL = (act.Append, act.AnswerStart, act.AnswerEntry, act.Fail, act.TakeNext)


@dataclass(frozen=True, slots=True)
class Parts:
    """What every link needs of the site."""

    db: Database
    clock: Clock
    meters: MeterPort
    tell: Tell
    trace: TraceLog
    on_journal: Callable[[], None]


class ChargerLink:
    """One charger. `run` does the slow actions until it is cancelled; all else happens in `feed`, at once."""

    def __init__(self, setting: Setting, relay: Relay, storing: Storing, parts: Parts) -> None:
        self.setting = setting
        self.id = setting.charger.id
        self.wanted = asyncio.Event()
        self.csms_open = asyncio.Event()
        self.queue = journal.QueueState(0, 0, None)
        self._relay = relay
        self._storing = storing
        self._parts = parts
        self._wires: dict[act.Side, Wire] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._to_store: asyncio.Queue[act.StoreAction] = asyncio.Queue(MAX_STORING)
        self._readings: set[asyncio.Task[None]] = set()
        self._limits: dict[int, asyncio.Future[LimitOutcome]] = {}
        self._ticket = 0
        self._count_due: asyncio.TimerHandle | None = None
        self._counted = asyncio.Event()
        self._finished = asyncio.Event()
        self._patient = self._hurried = False

    async def run(self) -> None:
        """Write to the database, in order, until cancelled."""
        try:
            self._perform(self._relay.start(self._now()))
            self._count_soon()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(), name=f"store {self.id}")
                tasks.create_task(self._count(), name=f"count {self.id}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            if self._count_due is not None:
                self._count_due.cancel()
            for task in self._readings:
                task.cancel()

    async def finish(self) -> None:
        """Take no new CALL; returns when the open ones have their answers (rule R49)."""
        self._relay.stop()
        self._parts.db.hurry()
        self._look_if_finished()
        await self._finished.wait()

    def _look_if_finished(self) -> None:
        if self._relay.stopping and not self._relay.busy:
            self._finished.set()

    def feed(self, event: act.RelayEvent) -> None:
        """Let the relay decide, and do it. A fault in it costs one event of one charger, and is told."""
        try:
            actions = self._relay.on(event, self._now())
        except Exception as error:  # noqa: BLE001 - the border of a charger
            self._tell_bug(f"{type(event).__name__}", error)
            actions = self._relay.take_actions()
        self._perform(actions)
        self._look_if_finished()

    def _now(self) -> act.Now:
        stamp = self._parts.clock.now()
        return act.Now(stamp.utc_ms, self._parts.clock.monotonic(), stamp.quality not in UNSURE)

    # Connections

    async def attend(self, side: act.Side, wire: Wire) -> str:
        """Serve a connection of this charger until it ends; a newer one of the same side replaces it (rule R19)."""
        older = self._wires.get(side)
        self._wires[side] = wire
        if older is not None:
            older.close(1008, "replaced by a newer connection")
        if side == "csms":
            self.csms_open.set()
        self.feed(act.Opened(side))
        why = "the gateway stops"
        try:
            why = await wire.run(lambda text: self._received(side, wire, text))
        finally:
            if self._wires.get(side) is wire:
                del self._wires[side]
                if side == "csms":
                    self.csms_open.clear()
                self.feed(act.Closed(side, why))
        return why

    def _received(self, side: act.Side, wire: Wire, text: str) -> None:
        if self._wires.get(side) is wire:
            self._trace(side, "in", "received", text)
            self.feed(act.Received(side, text))

    @property
    def charger_connected(self) -> bool:
        """The box is there."""
        return "charger" in self._wires

    async def admit(self) -> bool:
        """Whether the charger may connect now: in spec-close mode only while its CSMS can be dialled."""
        if self.setting.charger.offline != "spec-close" or self.setting.upstream is None:
            return True
        self.wanted.set()
        try:
            async with asyncio.timeout(ADMIT_S):
                await self.csms_open.wait()
        except TimeoutError:
            return False
        return True

    # Ports

    @property
    def csms_ready(self) -> bool:
        """The CSMS answers for this charger."""
        return self._relay.csms_ready

    async def set_limit(self, ref: ConnectorRef, limit_ma: int, *, duration_s: int, raising: bool) -> LimitOutcome:
        """See `model.ChargerPort`."""
        self._ticket += 1
        ticket = self._ticket
        future: asyncio.Future[LimitOutcome] = asyncio.get_running_loop().create_future()
        self._limits[ticket] = future
        try:
            self.feed(act.SetLimit(ticket, ref.connector, limit_ma, duration_s, raising))
            return await future
        finally:
            self._limits.pop(ticket, None)

    # Actions

    def _perform(self, actions: list[act.Action]) -> None:
        for action in actions:
            if isinstance(action, act.Send):
                self._send(action)
            elif isinstance(action, act.Wake):
                self._wake(action)
            elif isinstance(action, act.Unwake):
                self._unwake(action.key)
            elif isinstance(action, act.Report):
                self._parts.tell(action.event)
            elif isinstance(action, act.Trace):
                self._trace(action.side, "in", action.rule, action.text)
            elif isinstance(action, act.TakeReading):
                self._take_reading(action.connector)
            elif isinstance(action, act.Close):
                self._close(action)
            elif isinstance(action, act.Dial):
                self.wanted.set() if action.wanted else self.wanted.clear()
            elif isinstance(action, act.LimitDone):
                self._limit_done(action)
            elif isinstance(action, act.Hurry):
                self._hurry()
            else:
                self._store(action)

    def _send(self, action: act.Send) -> None:
        wire = self._wires.get(action.side)
        if wire is not None:
            self._trace(action.side, "out", action.rule, action.text)
            wire.send(action.text)

    def _close(self, action: act.Close) -> None:
        wire = self._wires.get(action.side)
        if wire is not None:
            wire.close(action.code, action.reason)

    def _limit_done(self, action: act.LimitDone) -> None:
        future = self._limits.get(action.ticket)
        if future is not None and not future.done():
            future.set_result(action.outcome)

    def _trace(self, side: act.Side, way: str, rule: str, text: str) -> None:
        self._parts.trace.add(self._parts.clock.utc_ms(), self.id, side, "in" if way == "in" else "out", rule, text)

    def _wake(self, action: act.Wake) -> None:
        self._unwake(action.key)
        link_s = action.seconds if action.scale == "link" else self._parts.clock.link_s(action.seconds)
        self._timers[action.key] = asyncio.get_running_loop().call_later(link_s, self._fire, action.key)

    def _unwake(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _fire(self, key: str) -> None:
        self._timers.pop(key, None)
        self.feed(act.Woke(key))

    # Meter

    def _take_reading(self, connector: int | None) -> None:
        task = asyncio.create_task(self._read(connector), name=f"start reading {self.id}")
        self._readings.add(task)
        task.add_done_callback(self._readings.discard)

    async def _read(self, connector: int | None) -> None:
        meter = next((one.meter for one in self.setting.charger.connectors if one.ref.connector == connector), None)
        reading: Reading | None = None
        try:
            reading = await self._fresh(meter) if meter is not None else None
        except Exception as error:  # noqa: BLE001 - a broken meter must not cost the driver the start
            self._tell_bug("meter", error)
        self.feed(act.ReadingTaken(reading))

    async def _fresh(self, meter: str) -> Reading | None:
        reading = self._parts.meters.latest(meter)
        if reading is not None and self._parts.clock.utc_ms() - reading.requested_ms <= FRESH_MS:
            return reading
        return await self._parts.meters.read_now(meter)

    # Database

    def _store(self, action: act.StoreAction) -> None:
        try:
            self._to_store.put_nowait(action)
            if self._patient:  # it stands behind one that waits for others
                self._hurry()
        except asyncio.QueueFull:
            failed = act.StoreFailed(action, "the disk does not keep up")
            asyncio.get_running_loop().call_soon(self.feed, failed)

    async def _write(self) -> None:
        try:
            while True:
                await self._write_one(await self._to_store.get())
        finally:
            await self._flush()

    async def _flush(self) -> None:
        """What was decided before the end is still written; nobody hears of it any more (rule R49)."""
        stamp = self._parts.clock.now()
        while not self._to_store.empty():
            action = self._to_store.get_nowait()
            try:
                await self._parts.db.run(lambda db, a=action: self._storing.perform(db, a, stamp))  # type: ignore[misc]
            except StoreError as error:
                self._tell_bug("store", error)

    async def _write_one(self, action: act.StoreAction) -> None:
        stamp = self._parts.clock.now()
        try:
            result = await self._commit(action, stamp)
        except StoreError as error:
            self.feed(act.StoreFailed(action, str(error)))
            return
        except Exception as error:  # noqa: BLE001 - one entry that cannot be written must not stop the charger
            self._tell_bug("store", error)
            self.feed(act.StoreFailed(action, f"{type(error).__name__}: {error}"))
            return
        self.feed(act.Stored(action, result))
        if isinstance(action, _IN_JOURNAL):
            self._count_soon()
            self._parts.on_journal()

    async def _commit(self, action: act.StoreAction, stamp: Stamp) -> object:
        """Periodic values wait for others to share a commit with; so does what a box says of its plug, which is no part
        of a bill and is said again after a restart."""
        patient = isinstance(action, act.SaveStatus) or (isinstance(action, act.Append) and action.patient)
        self._patient = patient and not self._hurried and self._to_store.empty() and not self._relay.stopping
        within_s = self._parts.clock.link_s(PATIENCE_S) if self._patient else 0.0
        try:
            return await self._parts.db.run(lambda db: self._storing.perform(db, action, stamp), within_s=within_s)
        finally:
            self._patient = False
            if isinstance(action, act.Append):
                self._hurried = False

    def _hurry(self) -> None:
        """Somebody waits behind what waits for others, or is about to."""
        self._hurried = True
        self._parts.db.hurry()

    def _tell_bug(self, part: str, error: Exception) -> None:
        cause = f"{part}: {type(error).__name__}: {error}"
        self._parts.tell(Event("ocpp_fault", self.id, cause, "report it with the log", Severity.ERROR))

    # The queue's length, for status

    def _count_soon(self) -> None:
        if self._count_due is None:
            self._count_due = asyncio.get_running_loop().call_later(1.0, self._counted.set)

    async def _count(self) -> None:
        while True:
            await self._counted.wait()
            self._counted.clear()
            self._count_due = None
            try:
                self.queue = await self._parts.db.run(lambda db: journal.queue_state(db, self.id))
            except StoreError as error:
                self._tell_bug("queue length", error)
