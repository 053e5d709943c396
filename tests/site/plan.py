"""Pure: what one seed decides - the house, its boxes and cars, the weather, and every fault of the watch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from simulators.building import CircuitPlan, Weather
from simulators.meter_image import Model
from simulators.sun import Cover, clouds, flats_ma, production_w

FuseType = Literal["gG", "MCB", "SLS"]
ROTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2))
SUN_PEAK_W = 20_000.0
LINE_METERS = 12
"""Meters on one serial line; more boxes get more lines."""

SETTLE_S = 420
"""Before the end of a watch nothing breaks any more: cars leave, queues run dry."""

LEAD_S = 45
"""A watch begins so long before a quarter hour, so that its first register is read at a boundary."""

BEGINNINGS = {
    "saturday, the high tariff ends": 1_781_346_600_000,
    "wednesday noon": 1_781_089_200_000,
    "monday, the high tariff begins": 1_781_497_800_000,
    "the clocks go back": 1_792_888_200_000,
    "the month ends": 1_782_855_000_000,
}
"""UTC ms: 2026-06-13 10:30, 2026-06-10 11:00, 2026-06-15 04:30, 2026-10-25 00:30, 2026-06-30 21:30."""


@dataclass(frozen=True, slots=True)
class Box:
    """A wallbox and how it is wired. `quirk`: "" | "forgets" (its profile with the link) | "no_zero" (holds no 0 A)."""

    name: str
    number: int
    rotation: tuple[int, int, int]
    phases: int
    fallback_a: int
    eager: bool
    quirk: str = ""
    model: Model = "iem3155"
    level_wh: float | None = None
    """Where the register of its meter stands at the start; None: anywhere."""
    named: bool = False
    """The serial number of its meter stands in the site file."""

    @property
    def card(self) -> str:
        return f"CARD-{self.number}"

    @property
    def meter(self) -> str:
        return f"m{self.number}"

    @property
    def line(self) -> int:
        return (self.number - 1) // LINE_METERS + 1

    @property
    def unit(self) -> int:
        return 10 + self.number

    @property
    def serial(self) -> int:
        return 30_000_000 + self.unit


@dataclass(frozen=True, slots=True)
class Fault:
    """Something goes wrong `at_s` for `lasts_s`; `target` names the box, meter or nothing; `size` is of its kind."""

    at_s: float
    kind: str
    lasts_s: float = 0.0
    target: str = ""
    size: float = 0.0

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.0f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s  {self.kind} {self.target}{lasts}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A driver comes to a box, shows the card, and leaves. Some cars start late; some fall back to one phase."""

    box: str
    at_s: float
    stays_s: float
    phases: int
    need_wh: float
    late_s: float
    delay_ms: int
    over_ms: int
    one_phase_after_s: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the seed decides."""

    seed: int
    seconds: int
    epoch_ms: int
    house_fuse_a: int
    garage_fuse_a: int
    house_worst_a: int
    boxes: tuple[Box, ...]
    visits: tuple[Visit, ...]
    faults: tuple[Fault, ...]
    house_fuse: FuseType = "gG"
    crowded: bool = False
    """There is room for two minima at a time, and every car stays: whoever waits is to have a turn (I9)."""

    away_s: int = 0
    """For so long before the watch the house has lived without its central system and without the cloud."""

    @property
    def start_ms(self) -> int:
        """When all of it begins, UTC ms; the watch itself begins at `epoch_ms`."""
        return self.epoch_ms - self.away_s * 1000

    @property
    def circuits(self) -> tuple[CircuitPlan, ...]:
        garage_ma = self.garage_fuse_a * 1000
        return (
            CircuitPlan("house", None, self.house_fuse, self.house_fuse_a * 1000, self.house_limit_ma),
            CircuitPlan("garage", "house", "MCB", garage_ma, garage_ma),
        )

    @property
    def house_limit_ma(self) -> int:
        """What the house is to keep to."""
        return keeps_to_ma(self.house_fuse, self.house_fuse_a)

    def with_added(self, added: tuple[Fault, ...]) -> Plan:
        """The same watch with more faults."""
        return replace(self, faults=self.faults + added)

    def with_faults(self, numbers: list[int]) -> Plan:
        """The same watch with only these faults (numbers in the full list)."""
        return replace(self, faults=tuple(fault for number, fault in enumerate(self.faults) if number in numbers))


def keeps_to_ma(fuse: FuseType, rated_a: int) -> int:
    """An SLS has 5 % of slack before it may open: 0.95 of it is kept (reference/load.md 2)."""
    return rated_a * (950 if fuse == "SLS" else 1000)


FAULT_KINDS: dict[str, tuple[float, float]] = {
    "csms_away": (20, 900),
    "csms_slow": (60, 300),
    "csms_half_open": (60, 300),
    "csms_late": (60, 300),
    "csms_twice": (60, 300),
    "csms_error": (60, 300),
    "csms_unknown_id": (60, 300),
    "csms_repeats_id": (300, 900),
    "broker_away": (20, 900),
    "broker_half_open": (60, 300),
    "broker_forgets": (20, 120),
    "cloud_loses_acks": (0, 0),
    "box_link_cut": (0, 0),
    "box_link_torn": (0, 0),
    "box_link_away": (30, 240),
    "box_link_half_open": (30, 180),
    "box_link_split": (60, 600),
    "box_link_slow": (60, 300),
    "box_reboot": (0, 0),
    "box_repeats": (0, 0),
    "box_ignores": (60, 400),
    "meter_silent": (15, 180),
    "meter_late": (30, 180),
    "meter_garbled": (20, 120),
    "meter_zero": (10, 90),
    "meter_frozen": (30, 200),
    "meter_exchanged": (0, 0),
    "disk_full": (10, 120),
    "clock_step": (60, 600),
    "kill": (2, 200),
    "kill_at_await": (2, 60),
    "power_cut": (10, 200),
    "power_cut_at_write": (5, 60),
}
"""Kind -> shortest and longest duration in seconds. A kill lasts until the machine is switched on again."""

AS_OFTEN = {"kill_at_await": 2, "power_cut_at_write": 2, "box_link_cut": 2, "csms_away": 2}
"""These are drawn more often than the others."""


FAMILIES: dict[str, tuple[float, dict[str, tuple[float, float]]]] = {
    "wiring": (0.04, {"meters_swapped": (30, 400)}),
    "order": (0.06, {"box_reorders": (90, 400)}),
    "hostile": (
        0.08,
        {
            "box_floods": (10, 60),
            "box_giant": (0, 0),
            "box_cards": (10, 60),
            "box_starts": (10, 60),
            "strangers": (10, 60),
        },
    ),
    "clock": (0.005, {"clock_wrong": (60, 600)}),
}
"""Name of the random stream -> how many of them come on each fault of `FAULT_KINDS`, and the kinds with durations.

A family of its own, so that what is added here leaves the faults of a seed where they were.
"""

FIRST_START_WRONG = 0.05
"""Of all houses so many begin with a wrong clock, where anything goes wrong at all."""

ALL_KINDS = {
    **FAULT_KINDS,
    **{kind: lasts for _, kinds in FAMILIES.values() for kind, lasts in kinds.items()},
}

DAY_S = 86_400
DAY_MS = DAY_S * 1000
WRONG_BY_MS = (
    -20 * 365 * DAY_MS, -200 * DAY_MS, -2 * DAY_MS, -2_345_678, 3_456_789, DAY_MS // 2, 3 * DAY_MS, 21 * DAY_MS,
)  # fmt: skip
"""What a clock without a battery, with a bad one, or one that was set wrong may be off by."""


def wrong_by_ms(size: float) -> int:
    """By how much a clock is wrong at a start: never by whole quarter hours."""
    return WRONG_BY_MS[int(size * len(WRONG_BY_MS))] + round(size * 800_000) + 40_000


FLOAT_LEVELS_WH = (16_384_000.0, 32_768_000.0, 65_536_000.0)
"""A float32 of kWh steps by 1.95, 3.9 and 7.8 Wh from here on (reference/metering.md 5)."""

ROLLS_AT_WH = 2.0**32


CROWDED_GARAGE_A = 16


def make_plan(seed: int, hours: float, chargers: int, faults_per_hour: float = 40.0, *, crowded: bool = False) -> Plan:
    """One seed, one plan."""
    random = Random(f"{seed}/plan")
    seconds = round(hours * 3600)
    epoch_ms = random.choice(sorted(BEGINNINGS.values())) - LEAD_S * 1000
    house_fuse_a, garage_fuse_a = random.choice(((63, 40), (63, 50), (80, 40), (80, 63)))
    if crowded:
        garage_fuse_a = CROWDED_GARAGE_A
    house_fuse: FuseType = Random(f"{seed}/fuse").choice(("gG", "MCB", "SLS"))
    house_worst_a = 32
    fallbacks_a = min(garage_fuse_a - 4, keeps_to_ma(house_fuse, house_fuse_a) // 1000 - house_worst_a)
    boxes = _metered(Random(f"{seed}/meters"), _boxes(random, chargers, fallbacks_a))
    visits = _crowd(random, boxes, seconds) if crowded else _visits(random, boxes, seconds)
    faults = _faults(Random(f"{seed}/faults"), boxes, seconds, faults_per_hour)
    for family, (share, kinds) in FAMILIES.items():
        faults += _more_faults(Random(f"{seed}/{family}"), kinds, boxes, seconds, share * faults_per_hour)
    faults += _first_start(Random(f"{seed}/first start"), faults_per_hour)
    return Plan(
        seed, seconds, epoch_ms, house_fuse_a, garage_fuse_a, house_worst_a, boxes, visits, faults, house_fuse, crowded
    )


def _metered(random: Random, boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """What hangs behind each box: mostly a counter of whole Wh; some of float32, one that is about to roll over."""
    rolls = random.choice(boxes) if boxes and random.random() < 0.5 else None
    return tuple(_meter(random, box, rolls=box is rolls) for box in boxes)


def _meter(random: Random, box: Box, *, rolls: bool) -> Box:
    named, model = random.random() < 0.5, random.choice(("iem3155", "iem3155", "sdm630"))
    level_wh = random.choice(FLOAT_LEVELS_WH) * random.uniform(1.0, 1.9)
    before_wh = random.uniform(50.0, 3000.0)
    if rolls:
        return replace(box, model="dvh4013", level_wh=ROLLS_AT_WH - before_wh)
    if model == "sdm630":
        return replace(box, model="sdm630", level_wh=level_wh, named=named)
    return replace(box, named=named)


def _boxes(random: Random, count: int, fallback_budget_a: int) -> tuple[Box, ...]:
    left_a = [fallback_budget_a] * 3
    boxes = []
    for number in range(1, count + 1):
        rotation, phases = random.choice(ROTATIONS), random.choice((1, 2, 3, 3, 3))
        used = rotation[:phases]
        fallback_a = 6 if all(left_a[phase] >= 6 for phase in used) else 0
        for phase in used:
            left_a[phase] -= fallback_a
        quirk = random.choice(("", "", "", "", "forgets", "no_zero" if fallback_a else ""))
        if quirk == "no_zero" and any(box.quirk == "no_zero" for box in boxes):
            quirk = ""
        boxes.append(Box(f"box{number}", number, rotation, phases, fallback_a, random.random() < 0.3, quirk))
    return tuple(boxes)


def _visits(random: Random, boxes: tuple[Box, ...], seconds: int) -> tuple[Visit, ...]:
    visits = []
    for box in boxes:
        at_s = random.uniform(60, 600)
        while at_s < seconds - SETTLE_S - 300:
            stays_s = min(random.uniform(300, 2400), seconds - SETTLE_S - at_s)
            visits.append(_visit(random, box, at_s, stays_s))
            at_s += stays_s + random.uniform(60, 500)
    return tuple(sorted(visits, key=lambda visit: visit.at_s))


def _crowd(random: Random, boxes: tuple[Box, ...], seconds: int) -> tuple[Visit, ...]:
    """Everybody comes in the first minutes, with an empty battery, and stays to the end."""
    visits = []
    for box in boxes:
        at_s = random.uniform(60, 200)
        visits.append(replace(_visit(random, box, at_s, seconds - SETTLE_S - at_s), need_wh=60_000.0))
    return tuple(sorted(visits, key=lambda visit: visit.at_s))


def _visit(random: Random, box: Box, at_s: float, stays_s: float) -> Visit:
    phases = min(box.phases, random.choice((1, 2, 3, 3)))
    drops = random.uniform(100, stays_s) if phases > 1 and random.random() < 0.2 else None
    return Visit(
        box.name, round(at_s, 1), round(stays_s, 1), phases, random.uniform(1500, 30_000),
        late_s=random.choice((3.0, 3.0, 8.0, 40.0)), delay_ms=random.choice((5000, 6000, 8000, 11_000)),
        over_ms=random.choice((1000, 2000, 3000)), one_phase_after_s=drops,
    )  # fmt: skip


def _faults(random: Random, boxes: tuple[Box, ...], seconds: int, per_hour: float) -> tuple[Fault, ...]:
    """Faults until some minutes before the end: the rest is for draining."""
    faults: list[Fault] = []
    if not per_hour:
        return ()
    kinds = [kind for kind in sorted(FAULT_KINDS) for _ in range(AS_OFTEN.get(kind, 1))]
    at_s = 100.0
    while True:
        at_s += random.expovariate(per_hour / 3600)
        if at_s > seconds - SETTLE_S:
            return tuple(faults)
        kind = random.choice(kinds)
        shortest, longest = FAULT_KINDS[kind]
        lasts_s = min(random.uniform(shortest, longest), seconds - SETTLE_S + 60 - at_s)
        box = random.choice(boxes)
        targets = {"box": box.name, "meter": random.choice(("grid", "pv", box.meter, box.meter))}
        if kind == "meter_exchanged":
            targets["meter"] = box.meter
        faults.append(
            Fault(round(at_s, 1), kind, round(lasts_s, 1), targets.get(kind.split("_")[0], ""), random.random())
        )


def _more_faults(
    random: Random, kinds: dict[str, tuple[float, float]], boxes: tuple[Box, ...], seconds: int, per_hour: float
) -> tuple[Fault, ...]:
    """The faults of one family."""
    faults: list[Fault] = []
    at_s = 100.0
    while per_hour:
        at_s += random.expovariate(per_hour / 3600)
        if at_s > seconds - SETTLE_S:
            break
        kind = random.choice(sorted(kinds))
        lasts_s = min(random.uniform(*kinds[kind]), seconds - SETTLE_S + 60 - at_s)
        faults.append(Fault(round(at_s, 1), kind, round(lasts_s, 1), random.choice(boxes).name, random.random()))
    return tuple(faults)


def _first_start(random: Random, per_hour: float) -> tuple[Fault, ...]:
    """The clock of a new house was never set."""
    if not per_hour or random.random() >= FIRST_START_WRONG:
        return ()
    lasts_s = round(random.uniform(*FAMILIES["clock"][1]["clock_wrong"]), 1)
    return (Fault(0.0, "clock_wrong", lasts_s, "", random.random()),)


def weather(plan: Plan, seconds: int) -> Weather:
    """Sun with clouds that come and go, flats with steps of at most 0.4 In in 25 s."""
    random = Random(f"{plan.seed}/weather")
    covers = [Cover(second, *random.choice(((0.1, 0.4), (0.5, 1.0), (0.8, 1.0)))) for second in range(0, seconds, 900)]
    sky = clouds(random, seconds, covers)
    sun_w = [production_w(SUN_PEAK_W, plan.epoch_ms + second * 1000, light) for second, light in enumerate(sky)]
    lunch = (seconds // 3, seconds // 2)
    return Weather(plan.epoch_ms, flats_ma(random, seconds, lunch, 6000, plan.house_worst_a * 1000), sun_w)
