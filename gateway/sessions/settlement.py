"""Closes quarter hours: the edge that collects the boundary readings and commits; the work stands in quarters.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.clock import iso
from gateway.energy.intervals import BOUNDARY_WAIT_MS, boundary_of
from gateway.energy.tariff import check, interval_of
from gateway.model import Clock, Connection, Event, MeterPort, Reading, Stamp, StoreError, Tell, World
from gateway.records.bodies import Interval
from gateway.sessions import notices
from gateway.sessions.boundaries import Boundaries, dropped_event, held_event, written_event
from gateway.sessions.clock_watch import ClockWatch, Step
from gateway.sessions.intake import CURSOR
from gateway.sessions.quarter_news import folded
from gateway.sessions.quarters import Quarters, Settled
from gateway.sessions.restamping import Restamped, restamp, step_event
from gateway.sessions.rules import of_site
from gateway.site import Site
from gateway.store import intervals, meta, readings, rules, sessions
from gateway.store.database import Database
from gateway.store.outbox import Identity

LOOK_S = 10.0
"""How often it is looked whether something settled must be looked at again (site seconds)."""

REPLY_S = 0.5
"""How much later than its request the last boundary reading may come (link seconds)."""

PATIENCE_MS = 60_000
"""How long an interval waits for the sessions to have read the journal; then it is settled provisionally."""

ONE_INSTANT_S = 0.5
LOOKS = 20
"""Two clocks that are read further apart than this tell of no step (site seconds); they are looked at again."""

SAVE_S = 55.0
"""How often the newest reading of each meter is made durable, all in one row of about 2 kB: 6 MB a day (site seconds).

With the next look after it: once a minute. A meter that is exchanged while the gateway is down loses what it counted
since. Where nothing else happens this is what notices a full disk."""

AT_ONCE = 20
"""Intervals in one transaction when many passed while the gateway was away."""

MAX_MISSED = 400 * 96
"""Quarter hours that are made good after an absence; a longer one is a wrong clock."""


class Settlement:
    """Packs a row at each quarter hour, settles the interval before it, corrects what comes late."""

    def __init__(
        self, site: Site, world: World, db: Database, who: Identity, meters: MeterPort, tell: Tell,
        on_outbox: Callable[[], None], boundaries: Boundaries | None = None,
    ) -> None:  # fmt: skip
        """`boundaries`: what an earlier life of the parts holds in memory, at the right time."""
        check(site.tariff)
        self._site, self._clock, self._db, self._tell, self._on_outbox = site, world.clock, db, tell, on_outbox
        self._who, self._random = who, world.random
        self._quarters = Quarters(site, who, world.random)
        self._rules = of_site(site).dump()
        self._meters = [meter.id for meter in site.meters]
        self._boundaries = boundaries if boundaries is not None else Boundaries(self._meters)
        self._next_k: int | None = None
        self._held_told = False
        self._saved_s = self._clock.monotonic()
        self._watch = ClockWatch(*_both_clocks(self._clock))
        self._steps: list[tuple[Step, int]] = []
        self._wake = asyncio.Event()
        meters.subscribe(self._on_reading)

    async def run(self) -> None:
        """Close quarter hours for ever; those that passed while the gateway was away first."""
        try:
            await self._run()
        except StoreError as error:
            self._tell_held(error)
            raise

    async def _run(self) -> None:
        await self._restore()
        await self._look_at_clock()
        await self._begin()
        while True:
            self._wake.clear()
            await self._look_at_clock()
            await self._keep_readings()
            await self._close_boundaries()
            await self._settle()
            await self._wait()

    async def status(self) -> dict[str, Any]:
        """The newest interval, how much of it was the sun, and how many are provisional."""
        return await self._db.run(_overview)

    def notify(self) -> None:
        """Something that settled intervals rest on has changed."""
        self._wake.set()

    # The clock

    async def _look_at_clock(self) -> None:
        """When the time becomes certain, what was stamped with a guess is moved, and settled again."""
        stamp, monotonic_s = _both_clocks(self._clock)
        step = self._watch.look(stamp, monotonic_s)
        if step is not None:
            self._boundaries.move(step)
            self._steps.append((step, stamp.utc_ms))
        while self._steps:  # a disk that was full takes them in the order in which they came
            step, at_ms = self._steps[0]
            event, restamped = await self._db.run(partial(self._restamp, step=step, at_ms=at_ms))
            del self._steps[0]
            self._tell(replace(event, keep=False))
            self._on_outbox()
            if restamped.never is not None and self._next_k is not None:
                await self._begin()

    def _restamp(self, db: Connection, step: Step, at_ms: int) -> tuple[Event, Restamped]:
        """Move, and tell the cloud in the same transaction what it has to correct."""
        restamped = restamp(db, step, at_ms)
        event = step_event(step, at_ms, restamped)
        notices.append(db, self._who, self._random, Stamp(at_ms, step.after), event)
        return event, restamped

    # Readings

    async def _restore(self) -> None:
        """The newest readings of the run before: a meter that was exchanged meanwhile loses at most a minute."""
        if not self._boundaries.restored:
            for event in self._boundaries.restore(await self._db.run(readings.last)):
                self._tell(event)

    def _on_reading(self, reading: Reading) -> None:
        if reading.import_wh is None:
            return
        known = len(self._boundaries.dropped)
        event = self._boundaries.take(reading)
        if event is not None:
            self._tell(event)
        if not known and self._boundaries.dropped:
            self._tell(dropped_event(self._boundaries.dropped))
        if self._next_k is not None and self._boundaries.complete(self._next_k):
            self._wake.set()

    async def _keep_readings(self) -> None:
        """Write what is kept singly; and once a minute the newest reading of each meter, all in one small row."""
        kept, newest, now_ms = self._boundaries.single(), self._newest_to_save(), self._clock.utc_ms()
        if not kept and not newest:
            return
        await self._db.run(lambda db: _keep(db, kept, newest, now_ms))
        self._boundaries.single_written(len(kept))
        if newest:
            self._boundaries.saved(newest)
            self._saved_s = self._clock.monotonic()

    def _newest_to_save(self) -> dict[str, Reading]:
        return self._boundaries.unsaved() if self._clock.monotonic() - self._saved_s >= SAVE_S else {}

    # Boundaries

    async def _begin(self) -> None:
        """Rows for the boundaries that have passed without one: what is held of them, in order, or nothing."""
        now_ms = self._clock.utc_ms()
        passed = Passed(self._meters, self._rules, self._boundaries.of)
        self._next_k = await self._db.run(lambda db: _begin(db, now_ms, passed))
        self._tell_written(self._boundaries.waiting(self._next_k))
        self._boundaries.written(self._next_k)

    async def _close_boundaries(self) -> None:
        """Write the row of each boundary that is complete, or waited for long enough."""
        while self._next_k is not None:
            k, now_ms = self._next_k, self._clock.utc_ms()
            complete = self._boundaries.complete(k)
            if now_ms < boundary_of(k) or (now_ms < self._deadline_ms(k) and not complete):
                return
            await self._db.run(partial(_close, k=k, boundary=self._boundaries.of(k), current=self._rules))
            newest = max(k, interval_of(now_ms))
            if newest - k > MAX_MISSED:
                await self._begin()
                return
            if newest - k > 1:  # the clock stepped, or the machine slept
                passed = Passed(self._meters, self._rules, self._boundaries.of)
                await self._db.run(partial(_pass_by, first_k=k + 1, next_k=newest, passed=passed))
                k = newest - 1
            self._next_k = k + 1
            self._boundaries.written(self._next_k)

    def _tell_held(self, error: StoreError) -> None:
        waiting = self._boundaries.waiting(interval_of(self._clock.utc_ms()) + 1)
        if waiting and not self._held_told:
            self._held_told = True
            self._tell(held_event(waiting, str(error)))

    def _tell_written(self, waited: int) -> None:
        if self._held_told:
            self._held_told = False
            self._tell(written_event(waited))
        if self._boundaries.dropped:
            self._tell(dropped_event(self._boundaries.dropped))
            self._boundaries.dropped.clear()

    def _deadline_ms(self, k: int) -> int:
        reply_ms = REPLY_S / self._clock.link_s(1.0) * 1000
        return boundary_of(k) + BOUNDARY_WAIT_MS + round(reply_ms)

    # Settling

    async def _settle(self) -> None:
        news: list[Event] = []
        try:
            while True:
                stamp = self._clock.now()
                settled = await self._db.run(lambda db, stamp=stamp: self._some(db, stamp))  # type: ignore[misc]
                if settled is None:
                    return
                news = folded([*news, *settled.events])
                self._tell_all(news[:-1])
                news = news[-1:]  # the next quarter hours may go on with it
                if settled.wrote:
                    self._on_outbox()
        finally:
            self._tell_all(news)

    def _tell_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._tell(event)

    def _some(self, db: Connection, stamp: Stamp) -> Settled | None:
        """Settle a few intervals: new ones in order, then those to be looked at again. None: nothing is left to do."""
        total = Settled()
        work = 0
        for k in intervals.unsettled(db, AT_ONCE):
            unread = sessions.unread_before(db, CURSOR, boundary_of(k + 1) + BOUNDARY_WAIT_MS)
            if unread and stamp.utc_ms < boundary_of(k + 1) + PATIENCE_MS:
                break
            _add(total, self._quarters.settle_next(db, k, stamp))
            work += 1
        for k in intervals.dirty(db)[: AT_ONCE - work]:
            _add(total, self._quarters.look_again(db, k, stamp))
            work += 1
        for k in intervals.late(db)[: AT_ONCE - work]:
            event = self._quarters.look_at_late(db, k)
            total.events += [event] if event is not None else []
            work += 1
        return total if work else None

    async def _wait(self) -> None:
        now_ms = self._clock.utc_ms()
        next_ms = now_ms + round(LOOK_S * 1000)
        if self._next_k is not None:
            boundary_ms, deadline_ms = boundary_of(self._next_k), self._deadline_ms(self._next_k)
            next_ms = min(next_ms, boundary_ms if now_ms < boundary_ms else deadline_ms)
        try:
            async with asyncio.timeout(self._clock.link_s(max(0.05, (next_ms - now_ms) / 1000))):
                await self._wake.wait()
        except TimeoutError:
            return


def _both_clocks(clock: Clock) -> tuple[Stamp, float]:
    """Wall clock and monotonic clock of one instant: looked at again where the machine paused in between."""
    for _ in range(LOOKS):
        before_s = clock.monotonic()
        stamp = clock.now()
        if clock.monotonic() - before_s < ONE_INSTANT_S:
            break
    return stamp, before_s


def _add(total: Settled, one: Settled) -> None:
    total.events += one.events
    total.wrote = total.wrote or one.wrote


@dataclass(frozen=True)
class Passed:
    """What is known of boundaries that have passed without a row. `current` are the rules of the configuration."""

    meters: list[str]
    current: str
    boundary: Callable[[int], dict[str, Reading | None]]


def _begin(db: Connection, now_ms: int, passed: Passed) -> int:
    """The first boundary to collect. Those that passed while the gateway was away are missing, and say so."""
    newest, now_k = intervals.newest(db), interval_of(now_ms)
    still_open = now_ms < boundary_of(now_k) + BOUNDARY_WAIT_MS
    upcoming = now_k if still_open else now_k + 1
    if newest is None:
        nothing = dict.fromkeys(passed.meters)
        intervals.add_boundary(db, upcoming - 1, nothing, rules.put(db, passed.current, now_ms))
        return upcoming
    upcoming = max(upcoming, newest + 1)
    _pass_by(db, newest + 1, upcoming, passed)
    return upcoming


def _pass_by(db: Connection, first_k: int, next_k: int, passed: Passed) -> None:
    """Rows for the boundaries first_k ... next_k - 1 with what is remembered, by the rules that were in force last."""
    kept = rules.newest(db)
    for k in range(max(first_k, next_k - MAX_MISSED), next_k):
        in_force = kept if kept is not None else rules.put(db, passed.current, boundary_of(k))
        _write_row(db, k, passed.boundary(k), in_force)


def _close(db: Connection, k: int, boundary: dict[str, Reading | None], current: str) -> None:
    """Write a boundary row by the rules of the configuration."""
    _write_row(db, k, boundary, rules.put(db, current, boundary_of(k)))


def _write_row(db: Connection, k: int, boundary: dict[str, Reading | None], in_force: int) -> None:
    """Where a meter is back, the intervals of its gap can be estimated: look at them again."""
    intervals.add_boundary(db, k, boundary, in_force)
    for meter, reading in boundary.items():
        if reading is None:
            continue
        first = intervals.gap_before(db, meter, k)
        if first is not None:
            intervals.mark_dirty(db, first, k - 1)


def _keep(db: Connection, kept: list[tuple[Reading, str]], newest: Mapping[str, Reading], now_ms: int) -> None:
    for reading, why in kept:
        readings.keep(db, reading, why)
    if newest:
        readings.put_last(db, newest)
        meta.beat(db, now_ms)  # without a hardware clock the next start must not begin before these


def _overview(db: Connection) -> dict[str, Any]:
    newest = intervals.newest_settled(db)
    row = intervals.get(db, newest) if newest is not None else None
    body = Interval.model_validate_json(row.result) if row is not None and row.result else None
    share = None
    if body is not None and body.consumption_wh and body.solar_wh is not None:
        share = round(100 * (body.solar_wh - body.unallocated_wh) / body.consumption_wh)
    return {
        "last_interval": iso(boundary_of(body.k)) if body is not None else None,
        "solar_share_pct": share,
        "provisional": intervals.count_provisional(db),
    }
