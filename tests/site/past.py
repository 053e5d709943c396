"""The days before a watch: central system and cloud are away, and the house goes on (`--away DAYS`).

Nothing of it is written by hand. The real gateway runs with its real libraries: wallboxes connect, show cards, start,
meter and stop over their wire, meters are read over Modbus, quarter hours close, sessions end and are signed; all that
waits, waits where it waits in a building. So that weeks pass in minutes, what says nothing about them is left out: the
load manager rests (nothing of the past is judged for I1, I2 and I9; cars draw what they are given here), meters are
read at quarter hours, starts and stops, boxes look at themselves and say that they live less often, and no pings go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import gateway.app
import simulators.charger
from gateway.load.control_loop import ControlLoop
from gateway.site import Site
from gateway.site_file import load_site
from simulators.building import VOLT, Phases
from simulators.cars import Car
from simulators.clock import QUARTER_MS
from simulators.sun import production_w

from .budget import held_bytes, kept_by_modules
from .plan import DAY_S, SUN_PEAK_W, Box, Fault, Plan

if TYPE_CHECKING:
    from .house import House

ONLINE_S = 900
"""At the beginning both ends are there for so long: boxes are accepted, and cards shown."""

QUIET_S = 600
"""Before the watch begins, every car has left; and between two cars."""

OFF_S = 60.0
SELDOM_S = 900.0
"""How often meters are read beside what is asked for, and boxes look at themselves."""

HEARTBEAT_S = 14_400
FAR_S = 0.25
"""One way over a mobile network with a weak signal."""

LIVES_DAYS = (2.0, 6.0)
"""So long one life of the gateway lasts, until the power fails."""

VISITS_A_DAY = ((6.0, 14.0), (15.5, 22.0))
"""Hours of the day (UTC) between which each of a box's cars comes ..."""

STAYS_H = (0.5, 4.5)
"""... and how long it stays."""

LOOK_EVERY_QUARTERS = 48
"""How often it is counted what the gateway holds in memory."""

CARD_AGAIN_S = 30.0
CARD_TRIES = 20


DRAIN_FAULTS = (
    ("broker_away", (5, 60), (5, 40)),
    ("csms_away", (10, 80), (5, 40)),
    ("kill_at_await", (60, 150), (2, 30)),
    ("csms_half_open", (100, 250), (10, 60)),
    ("power_cut_at_write", (150, 300), (5, 30)),
)
"""What goes wrong beside the faults of every watch, while what has waited goes out: when, and for how long (s)."""


def drain_faults(plan: Plan) -> tuple[Fault, ...]:
    """Both ends go again, and the gateway dies, while it tells them of the days before."""
    random = Random(f"{plan.seed}/drain")
    return tuple(
        Fault(round(random.uniform(*when_s), 1), kind, round(random.uniform(*lasts_s), 1), "", random.random())
        for kind, when_s, lasts_s in DRAIN_FAULTS
    )


@dataclass(frozen=True, slots=True)
class PastVisit:
    """A car that was there before the watch. `steps`: seconds, and what it draws on each phase for so long (mA)."""

    at_s: float
    phases: int
    steps: tuple[tuple[float, int], ...]


def past_visits(plan: Plan, box: Box) -> list[PastVisit]:
    """Two cars a day at each box, `at_s` since the beginning; none of them is there when the watch begins."""
    random = Random(f"{plan.seed}/past/{box.name}")
    day_s = plan.start_ms // 1000 // DAY_S * DAY_S - plan.start_ms // 1000
    visits: list[PastVisit] = []
    free_s = ONLINE_S + 60.0
    while day_s < plan.away_s:
        for first_h, last_h in VISITS_A_DAY:
            at_s = day_s + random.uniform(first_h, last_h) * 3600
            stays_s = random.uniform(*STAYS_H) * 3600
            visit = PastVisit(round(at_s, 1), min(box.phases, random.choice((1, 2, 3, 3))), _steps(random, stays_s))
            if at_s > free_s and at_s + stays_s < plan.away_s - QUIET_S:
                visits.append(visit)
                free_s = at_s + stays_s + QUIET_S
        day_s += DAY_S
    return visits


def _steps(random: Random, stays_s: float) -> tuple[tuple[float, int], ...]:
    """It charges, gets less or more, is full and stays for a while."""
    draws_ma = [random.choice((6000, 8000, 10_000, 13_000, 16_000)) for _ in range(random.choice((1, 2, 3)))]
    share_s = stays_s * random.uniform(0.5, 0.95) / len(draws_ma)
    full_s = stays_s - share_s * len(draws_ma)
    return (*((round(share_s, 1), draw_ma) for draw_ma in draws_ma), (round(full_s, 1), 0))


@dataclass
class PastFigures:
    """What the days before the watch have cost: seconds of one core, bytes on disk and written, bytes in memory."""

    took_s: float = 0.0
    on_disk: int = 0
    written: int = 0
    held: int = 0


class Past:
    """Lives through the days before the watch; afterwards the power has failed, and both ends come back."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._random = Random(f"{house.plan.seed}/past")
        self._rest: Phases = (0.0, 0.0, 0.0)
        self._sun_w = 0.0
        self._dark = False
        self.figures = PastFigures()

    async def live(self) -> None:
        """Until the watch begins."""
        house, plan, began_s = self._house, self._house.plan, time.process_time()
        now_ms = house.clock.utc_ms()
        for meter in house.building.meters.values():
            meter.pass_to(now_ms)
        with _seldom(house):
            works = [self._quarters(), self._lives(), *map(self._box, plan.boxes)]
            tasks = [house.loop.create_task(work) for work in works]
            for task in tasks:
                task.add_done_callback(house._ended)
            await asyncio.sleep(ONLINE_S)
            self._ends(+1)
            await asyncio.sleep(plan.away_s - ONLINE_S - OFF_S)
            for task in tasks[1:]:
                task.cancel()
            self._power_fails()
            await asyncio.sleep(OFF_S)
            tasks[0].cancel()
            self._flow()
            self._ends(-1)
            self._far_away()
        self.figures.took_s = time.process_time() - began_s

    def _ends(self, by: int) -> None:
        """Both ends go, or come back."""
        house = self._house
        lasts_s = house.plan.away_s - ONLINE_S
        for kind, link in (("csms_away", "csms:80"), ("broker_away", "broker:1883")):
            if by > 0:
                house.events.event("fault", kind=kind, target="", lasts_s=lasts_s)
                if kind == "csms_away":
                    house.events.event("uplink_cut", link="csms")
            house.network.refuse(link, by)
            house.network.cut(link)

    def _far_away(self) -> None:
        """From now on both ends are reached over a slow line: what has waited takes its time, like in a building."""
        house = self._house
        for name in ("csms:80", "broker:1883"):
            house.network.link(name).latency_s += FAR_S
        house.events.event("uplink_slow", link="csms", ms=round(FAR_S * 1000))
        house.events.event("ends_back")

    async def _lives(self) -> None:
        """The power fails now and then."""
        house, random = self._house, Random(f"{self._house.plan.seed}/past/lives")
        site = _quiet(load_site(house.site_file))
        while True:
            house.start_gateway(site)
            await asyncio.sleep(random.uniform(*LIVES_DAYS) * DAY_S)
            self._power_fails()
            await asyncio.sleep(OFF_S)
            self._dark = False
            self._flow()

    def _power_fails(self) -> None:
        """In the whole garage: no car draws anything until it is back."""
        house, machine = self._house, self._house.machine
        if machine is not None:
            self.figures.on_disk = max(self.figures.on_disk, machine.disk.size)
            self.figures.written += machine.disk.bytes_written
        house.kill_gateway(power=True)
        self._dark = True
        self._flow()
        for box in house.plan.boxes:
            house.truth.draw(box.name, house.clock.utc_ms(), 0, 0)

    # What flows

    async def _quarters(self) -> None:
        """Sun and flats change at each quarter hour; what was true then is noted."""
        house = self._house
        while True:
            self._weather()
            self._flow()
            k = house.clock.utc_ms() // QUARTER_MS + 1
            await house.clock.sleep_until(k * QUARTER_MS)
            for meter in house.building.meters.values():
                meter.pass_to(k * QUARTER_MS)
                house.truth.boundary(meter.name, k * QUARTER_MS, meter.import_wh, meter.export_wh)
            house.building._powers(k - 1)
            if k % LOOK_EVERY_QUARTERS == 0 and house.machine is not None:
                held = held_bytes([house.machine.task, *kept_by_modules()])
                self.figures.held = max(self.figures.held, held)

    def _weather(self) -> None:
        random, worst_ma = self._random, self._house.plan.house_worst_a * 1000
        self._rest = (random.uniform(500, worst_ma), random.uniform(500, worst_ma), random.uniform(500, worst_ma))
        light = random.choice((0.2, 0.5, 0.8, 1.0))
        self._sun_w = production_w(SUN_PEAK_W, self._house.clock.utc_ms(), light)

    def _flow(self) -> None:
        """The same goes on until now, then this flows: what the boxes draw, the flats, less the sun."""
        building, now_ms = self._house.building, self._house.clock.utc_ms()
        for meter in building.meters.values():
            meter.pass_to(now_ms)
        total = [self._rest[phase] - self._sun_w / 3 / VOLT * 1000 for phase in range(3)]
        for box in self._house.plan.boxes:
            outlet = building.outlets[box.name]
            car = None if self._dark else outlet.car
            building._rewire(outlet, () if car is None else outlet.rotation[: min(car.phases, outlet.phases)])
            for phase in range(3):
                total[phase] += outlet.current_ma[phase]
        building.meters["grid"].flow((total[0], total[1], total[2]))
        sun_ma = -self._sun_w / 3 / VOLT * 1000
        building.meters["pv"].flow((sun_ma, sun_ma, sun_ma))

    # Drivers

    async def _box(self, box: Box) -> None:
        """The card is shown while the central system is there; then one car after the other comes."""
        house, charger = self._house, self._house.chargers[box.name]
        await asyncio.sleep(60 + box.number)
        await charger.present(box.card)
        for visit in past_visits(house.plan, box):
            await asyncio.sleep(max(0.0, visit.at_s - house.loop.time()))
            house.events.event("car_plugged", charger=box.name, follows_ms=0)
            charger.plug(Car(f"car at {box.name}", visit.phases, 16_000, 1e6))
            for _ in range(CARD_TRIES):
                answer = await charger.present(box.card)
                if charger.transaction is not None:
                    break
                house.trace(f"{box.name}: card {answer}")
                await asyncio.sleep(CARD_AGAIN_S)
            if charger.transaction is not None:
                house.events.event("car_started", charger=box.name, card=box.card)
                for lasts_s, draw_ma in visit.steps:
                    self._draw(box, draw_ma)
                    await asyncio.sleep(lasts_s)
                self._draw(box, 0)
                house.events.event("car_stopped", charger=box.name, card=box.card)
            await charger.unplug()
            self._flow()

    def _draw(self, box: Box, draw_ma: int) -> None:
        self._flow()
        self._house.building.outlets[box.name].draw_ma = draw_ma
        self._flow()


class _Resting(ControlLoop):
    """A load manager that gives no limits: boxes keep to what they were told before."""

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()


@contextmanager
def _seldom(house: House) -> Iterator[None]:
    """What says nothing about weeks without the internet happens seldom."""
    patched: tuple[tuple[Any, str, Any], ...] = (
        (gateway.app, "ControlLoop", _Resting),
        (simulators.charger, "LOOK_S", SELDOM_S),
        (house.csms, "_heartbeat_s", HEARTBEAT_S),
    )
    before = [getattr(part, name) for part, name, _ in patched]
    for part, name, value in patched:
        setattr(part, name, value)
    try:
        yield
    finally:
        for (part, name, _), value in zip(patched, before, strict=True):
            setattr(part, name, value)


def _quiet(site: Site) -> Site:
    """The same site, with meters that are read seldom and lines without pings."""
    meters = tuple(replace(meter, period_s=SELDOM_S) for meter in site.meters)
    return replace(site, meters=meters, ocpp=replace(site.ocpp, ping_s=None))
