"""One task owns one bus: it asks what the plan says, hands the answers to the stations, and does the reconnecting."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.meters.answer import Answer, Outcome
from gateway.meters.blocks import TURNAROUND_S, gap_limit, request_s
from gateway.meters.line import Line
from gateway.meters.poll_plan import BusPlan, Entry, Kind, Learnt, Task, bus_load
from gateway.meters.presence import Presence
from gateway.meters.station import Station
from gateway.meters.steadiness import Steadiness
from gateway.meters.words import absent_event, back_event, lost_event, steadiness_event
from gateway.model import INTERVAL_MS, Clock, Event, Reading, Severity, Tell
from gateway.site import Bus

RECONNECT_STEP_S = 2.0
RECONNECT_MAX_S = 60.0
"""Site seconds between attempts to open the port: 2, 4, 6 ... 60."""

CALM_TIMEOUTS = 2
"""A meter on a serial line that did not answer is not asked again for so many time-outs."""

NEAR_TIMEOUTS = 2
"""So many time-outs before a quarter hour no time is lost on meters that do not answer."""

SHORTEST_IDLE_S = 1e-5
"""Link time; without it, rounding between the two kinds of time could leave a virtual clock standing."""

FULL = 0.7
"""A bus that is busy for a larger share of the time has no room for repeats and the burst."""


@dataclass(frozen=True, slots=True)
class _Waiter:
    asked_ms: int
    reading: asyncio.Future[Reading | None]


class BusTask:
    """The owner of one bus."""

    def __init__(self, bus: Bus, stations: Mapping[str, Station], clock: Clock, tell: Tell) -> None:
        self._bus = bus
        self._stations = stations
        self._clock = clock
        self._tell = tell
        self._line = Line(bus, clock)
        self._plan = BusPlan()
        self._wake = asyncio.Event()
        self._waiters: dict[str, list[_Waiter]] = {meter: [] for meter in stations}
        self._interval = clock.utc_ms() // INTERVAL_MS
        self._failed_in_row = 0
        self._attempts = 0
        self._down_told = False
        self._presence = {meter: Presence() for meter in stations}
        self._steadiness = {meter: Steadiness() for meter in stations}
        self._absent_told: set[tuple[str, str]] = set()
        self._strange_told: set[str] = set()
        site_per_link = 1.0 / clock.link_s(1.0)
        self._near_ms = NEAR_TIMEOUTS * bus.timeout_s * site_per_link * 1000
        serial = bus.device is not None or bus.rtu_over_tcp
        for station in stations.values():
            self._plan.add(
                station.meter.id,
                station.meter.unit,
                station.model,
                period_s=station.meter.period_s,
                gap=gap_limit(bus),
                rest_s=station.model.rest_s * site_per_link,
                calm_s=CALM_TIMEOUTS * bus.timeout_s * site_per_link if serial else 0.0,
            )

    async def run(self) -> None:
        """Serve the bus until cancelled."""
        self._warn_if_full()
        try:
            while True:
                try:
                    cause = await self._serve()
                except Exception as error:  # noqa: BLE001 - the border of the task: one bus must not end the others
                    cause = f"{type(error).__name__}: {error}"
                self._went_down(cause)
                self._attempts += 1
                await self._clock.sleep(min(RECONNECT_STEP_S * self._attempts, RECONNECT_MAX_S))
        finally:
            self._line.close()

    def lost(self, meter: str) -> bool:
        """Whether `meter` gives no values at present."""
        return self._down_told or self._plan.entries[meter].lost

    async def read_now(self, meter: str) -> Reading | None:
        """The energy of `meter`, requested after this call; None after one time-out (link time) at the latest."""
        if not self._line.connected or not self._plan.demand(meter, self._clock.monotonic()):
            return None
        waiter = _Waiter(self._clock.utc_ms(), asyncio.get_running_loop().create_future())
        self._waiters[meter].append(waiter)
        self._wake.set()
        done, _ = await asyncio.wait({waiter.reading}, timeout=self._bus.timeout_s)
        if done:
            return waiter.reading.result()
        if waiter in self._waiters[meter]:
            self._waiters[meter].remove(waiter)
        return None

    async def _serve(self) -> str:
        """Open the port and ask until it goes wrong; returns why."""
        cause = await self._line.connect()
        if cause is not None:
            return cause
        self._plan.restart(self._clock.monotonic())
        self._failed_in_row = 0
        while self._failed_in_row < max(5, 2 * len(self._stations)):
            near = self._watch_boundary(self._clock.utc_ms())
            task = self._plan.next(self._clock.monotonic(), boundary_near=near)
            if task is None:
                await self._idle(near)
                continue
            answer = await self._line.read(task.entry.unit, task.span)
            if answer.outcome is Outcome.DOWN:
                return f"the connection to {self._line.place} was lost"
            self._settle(task, answer)
        return f"none of the {len(self._stations)} meters behind {self._line.place} answers"

    def _watch_boundary(self, utc_ms: int) -> bool:
        """Begin a quarter hour where one has begun. Whether the next one is near."""
        interval = utc_ms // INTERVAL_MS
        if interval != self._interval:
            self._interval = interval
            self._plan.boundary(self._clock.monotonic())
        return self._boundary_ms(utc_ms) < self._near_ms

    def _boundary_ms(self, utc_ms: int) -> int:
        return (self._interval + 1) * INTERVAL_MS - utc_ms

    async def _idle(self, near: bool) -> None:
        """Sleep until something is due, the quarter hour begins, or somebody wants a reading."""
        due_s = self._plan.due_s(boundary_near=near) - self._clock.monotonic()
        boundary_s = self._boundary_ms(self._clock.utc_ms()) / 1000
        link_s = max(SHORTEST_IDLE_S, self._clock.link_s(min(due_s, boundary_s)))
        alarm = asyncio.get_running_loop().call_later(link_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
            self._wake.clear()

    def _settle(self, task: Task, answer: Answer) -> None:
        now_s = answer.to_s  # it has just come
        station = self._stations[task.entry.id]
        learnt: Learnt | None = None
        if answer.outcome is Outcome.GOOD:
            self._line_works()
            self._good(task, answer, station, now_s)
        elif answer.outcome is Outcome.REFUSED:
            self._line_works()
            learnt = self._plan.refused(task, answer.code, now_s)
        else:
            self._failed_in_row += 1
            if answer.outcome is Outcome.SILENT:
                station.counters.timeouts += 1
            else:
                station.counters.rejected += 1
            learnt = self._plan.silent(task, now_s)
        if learnt is not None and learnt.absent is not None:
            self._tell_absent(station, learnt.absent, answer)
        self._after(task.entry, answer, now_s)

    def _good(self, task: Task, answer: Answer, station: Station, now_s: float) -> None:
        block = task.span
        if task.kind is Kind.IDENTIFY:
            cause = station.why_not(answer, block) if task.done == 0 else None
            if cause is not None:
                self._tell_strange(station, cause)
                self._plan.rejected(task, now_s)
                return
            if task.done > 0:
                station.learn_serial(answer, block)
        self._plan.answered(task, answer, now_s)
        if not task.complete or task.kind is Kind.IDENTIFY:
            return
        self._strange_told.discard(station.meter.id)
        reading = station.take(task.answers)
        if station.wants_name:
            self._plan.identify(station.meter.id, now_s, first=station.first_level_unnamed)
        if task.kind is Kind.ENERGY:
            self._give(station.meter.id, reading)
        elif station.unconfirmed and not station.wants_name:
            self._plan.again(station.meter.id, now_s)

    def _after(self, entry: Entry, answer: Answer, now_s: float) -> None:
        """Tell of a meter that is lost or unsteady, and that it is so no more."""
        presence = self._presence[entry.id]
        if entry.misses:
            self._give(entry.id, None)
        if entry.lost:
            if presence.lost(now_s):
                self._tell(lost_event(entry.id, entry.unit, self._bus.id, self._line.place, answer))
        elif not entry.misses and entry.identified and (losses := presence.answered(now_s)) is not None:
            self._tell(back_event(entry.id, losses))
        failed = answer.outcome not in (Outcome.GOOD, Outcome.REFUSED)
        count = self._steadiness[entry.id].settle(failed=failed, lost=presence.told_lost)
        if count is not None:
            self._tell(steadiness_event(entry.id, count))

    def _give(self, meter: str, reading: Reading | None) -> None:
        """Answer those who wait for a reading that was requested after they asked."""
        late: list[_Waiter] = []
        for waiter in self._waiters[meter]:
            if reading is not None and reading.requested_ms < waiter.asked_ms:
                late.append(waiter)
            elif not waiter.reading.done():
                waiter.reading.set_result(reading)
        self._waiters[meter] = late
        if late:
            self._plan.demand(meter, self._clock.monotonic())

    def _line_works(self) -> None:
        self._failed_in_row = self._attempts = 0
        if self._down_told:
            self._down_told = False
            self._tell(Event("bus_back", f"bus {self._bus.id}", f"{self._line.place} answers again", keep=True))

    def _went_down(self, cause: str) -> None:
        self._line.close()
        for meter in self._waiters:
            self._give(meter, None)
        if self._down_told:
            return
        self._down_told = True
        self._tell(
            Event(
                "bus_down",
                f"bus {self._bus.id}",
                cause,
                "check the adapter or converter, its cable and its settings; it is tried again at least once a minute",
                Severity.ERROR,
                {"place": self._line.place, "meters": sorted(self._stations)},
                keep=True,
            )
        )

    def _tell_strange(self, station: Station, cause: str) -> None:
        if station.meter.id in self._strange_told:
            return
        self._strange_told.add(station.meter.id)
        self._tell(
            Event(
                "meter_not_recognised",
                f"meter {station.meter.id}",
                cause,
                f"check `model` and `unit` of this meter; it is configured as {station.model.id}",
                Severity.ERROR,
                {"model": station.model.id, "unit": station.meter.unit},
                keep=True,
            )
        )

    def _tell_absent(self, station: Station, name: str, answer: Answer) -> None:
        """Once. A serial number that it has given before will come again: it was disturbed just now."""
        known = (station.meter.id, name)
        if known in self._absent_told or (name == "serial" and station.serial is not None):
            return
        self._absent_told.add(known)
        expected = station.meter.serial is not None
        self._tell(absent_event(station.meter.id, name, answer, serial_expected=expected))

    def _warn_if_full(self) -> None:
        entries = list(self._plan.entries.values())
        seconds = {
            span.count: request_s(self._bus, span.count) + (TURNAROUND_S if self._bus.device else 0.0)
            for entry in entries
            for span in entry.blocks.cycle
        }
        # As on a real site: a fast clock makes no bus slower.
        load = bus_load(entries, seconds)
        if load > FULL:
            self._tell(
                Event(
                    "bus_full",
                    f"bus {self._bus.id}",
                    f"its meters would need {load:.0%} of its time",
                    "raise baud or period_s, or move meters to another bus; until then values come later",
                    Severity.WARNING,
                    {"load_percent": round(load * 100)},
                )
            )
