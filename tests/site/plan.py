"""Pure: what one seed decides - the house, its boxes and cars, the weather, and every fault of the watch."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from simulators.building import CircuitPlan, Weather
from simulators.cars import Car
from simulators.sun import Cover, clouds, flats_ma, production_w

ROTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2))
HOUSE_FUSE_A = 80
GARAGE_FUSE_A = 63
HOUSE_WORST_A = 32
FALLBACK_BUDGET_A = 40
SUN_PEAK_W = 20_000.0
LINE_METERS = 12
"""Meters on one serial line; more boxes get more lines."""


@dataclass(frozen=True, slots=True)
class Box:
    """A wallbox and how it is wired."""

    name: str
    number: int
    rotation: tuple[int, int, int]
    phases: int
    fallback_a: int
    eager: bool

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


@dataclass(frozen=True, slots=True)
class Fault:
    """Something goes wrong `at_s` for `lasts_s`; `target` names the box, meter or nothing."""

    at_s: float
    kind: str
    lasts_s: float = 0.0
    target: str = ""

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.0f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s  {self.kind} {self.target}{lasts}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A driver comes to a box, shows the card, and leaves."""

    box: str
    at_s: float
    stays_s: float
    phases: int
    need_wh: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the seed decides."""

    seed: int
    seconds: int
    boxes: tuple[Box, ...]
    visits: tuple[Visit, ...]
    faults: tuple[Fault, ...]

    @property
    def circuits(self) -> tuple[CircuitPlan, ...]:
        return (
            CircuitPlan("house", None, "gG", HOUSE_FUSE_A * 1000, HOUSE_FUSE_A * 1000),
            CircuitPlan("garage", "house", "MCB", GARAGE_FUSE_A * 1000, GARAGE_FUSE_A * 1000),
        )


FAULT_KINDS = {
    "csms_away": (30, 900),
    "csms_slow": (60, 300),
    "csms_half_open": (60, 300),
    "broker_away": (30, 900),
    "broker_forgets": (20, 120),
    "box_link_cut": (0, 0),
    "box_link_away": (30, 240),
    "box_link_split": (60, 600),
    "box_reboot": (0, 0),
    "meter_silent": (15, 180),
    "meter_late": (30, 180),
    "meter_garbled": (20, 120),
    "kill": (2, 200),
    "power_cut": (10, 200),
}
"""Kind -> shortest and longest duration in seconds."""


def make_plan(seed: int, hours: float, chargers: int, faults_per_hour: float = 30.0) -> Plan:
    """One seed, one plan."""
    random = Random(f"{seed}/plan")
    seconds = round(hours * 3600)
    boxes = _boxes(random, chargers)
    return Plan(
        seed, seconds, boxes, _visits(random, boxes, seconds), _faults(random, boxes, seconds, faults_per_hour)
    )


def _boxes(random: Random, count: int) -> tuple[Box, ...]:
    left_a = [FALLBACK_BUDGET_A] * 3
    boxes = []
    for number in range(1, count + 1):
        rotation, phases = random.choice(ROTATIONS), random.choice((1, 3, 3))
        used = rotation[:phases]
        fallback_a = 6 if all(left_a[phase] >= 6 for phase in used) else 0
        for phase in used:
            left_a[phase] -= fallback_a
        boxes.append(Box(f"box{number}", number, rotation, phases, fallback_a, random.random() < 0.3))
    return tuple(boxes)


def _visits(random: Random, boxes: tuple[Box, ...], seconds: int) -> tuple[Visit, ...]:
    visits = []
    for box in boxes:
        at_s = random.uniform(20, 900)
        while at_s < seconds - 600:
            stays_s = min(random.uniform(400, 3000), seconds - 400 - at_s)
            phases = random.choice((1, 2, 3)) if box.phases == 3 else 1
            visits.append(Visit(box.name, round(at_s, 1), round(stays_s, 1), phases, random.uniform(1500, 30_000)))
            at_s += stays_s + random.uniform(60, 900)
    return tuple(sorted(visits, key=lambda visit: visit.at_s))


def _faults(random: Random, boxes: tuple[Box, ...], seconds: int, per_hour: float) -> tuple[Fault, ...]:
    """Faults until five minutes before the end: the rest is for draining."""
    faults: list[Fault] = []
    if not per_hour:
        return ()
    at_s = 120.0
    while True:
        at_s += random.expovariate(per_hour / 3600)
        if at_s > seconds - 420:
            return tuple(faults)
        kind = random.choice(sorted(FAULT_KINDS))
        shortest, longest = FAULT_KINDS[kind]
        lasts_s = min(random.uniform(shortest, longest), seconds - 300 - at_s)
        box = random.choice(boxes)
        targets = {"box": box.name, "meter": random.choice(("grid", box.meter))}
        faults.append(Fault(round(at_s, 1), kind, round(lasts_s, 1), targets.get(kind.split("_")[0], "")))


def car(visit: Visit, random: Random) -> Car:
    """The car of a visit."""
    return Car(
        f"car at {visit.box}", visit.phases, 16_000, visit.need_wh,
        delay_ms=random.choice((5000, 6000, 8000, 11_000)), over_ms=random.choice((1000, 2000, 3000)),
    )  # fmt: skip


def weather(seed: int, start_ms: int, seconds: int) -> Weather:
    """Sun with clouds that come and go, flats with steps of at most 0.4 In in 25 s."""
    random = Random(f"{seed}/weather")
    covers = [Cover(second, *random.choice(((0.1, 0.4), (0.5, 1.0), (0.8, 1.0)))) for second in range(0, seconds, 900)]
    sky = clouds(random, seconds, covers)
    sun_w = [production_w(SUN_PEAK_W, start_ms + second * 1000, light) for second, light in enumerate(sky)]
    lunch = (seconds // 3, seconds // 2)
    return Weather(start_ms, flats_ma(random, seconds, lunch, 6000, HOUSE_WORST_A * 1000), sun_w)


def site_text(plan: Plan) -> str:
    """The site file of this house."""
    parts = [
        f"""\
[site]
id = "sim-{plan.seed}"
name = "Seeded house {plan.seed}"
timezone = "Europe/Zurich"
simulation = true

[ocpp]
listen = "0.0.0.0:9000"

[[upstream]]
id = "operator"
url = "ws://csms:80/{{id}}"

[[circuit]]
id = "house"
fuse_a = {HOUSE_FUSE_A}
fuse = "gG"
house_worst_a = {HOUSE_WORST_A}
meter = "grid"

[[circuit]]
id = "garage"
parent = "house"
fuse_a = {GARAGE_FUSE_A}
fuse = "MCB"
house_worst_a = 0

[[bus]]
id = "lan"
host = "lan"
port = 502
timeout_s = 0.5
pause_s = 0.01

[[meter]]
id = "grid"
model = "abb_b23"
bus = "lan"
unit = 1
role = "grid"
period_s = 1

[[meter]]
id = "pv"
model = "iem3155"
bus = "lan"
unit = 2
role = "production"

[[participant]]
id = "rest"
name = "Flats"
kind = "common"

[tariff]
id = "EGBB"
default = "NT"
windows = [
    {{ class = "HT", days = "Mon-Fri", from = "07:00", to = "20:00" }},
    {{ class = "HT", days = "Sat", from = "07:00", to = "13:00" }},
]

[cloud]
broker = "mqtt://broker:1883"
mqtt = "3.1.1"
"""
    ]
    for line in sorted({box.line for box in plan.boxes}):
        parts.append(f'\n[[bus]]\nid = "line{line}"\nhost = "line{line}"\nport = 4001\nrtu_over_tcp = true\n'
                     "timeout_s = 0.5\npause_s = 0.02\n")  # fmt: skip
    for box in plan.boxes:
        rotation = "".join(f"L{phase + 1}" for phase in box.rotation[: box.phases])
        parts.append(f"""
[[meter]]
id = "{box.meter}"
model = "iem3155"
bus = "line{box.line}"
unit = {box.unit}
role = "charger"

[[charger]]
id = "{box.name}"
upstreams = ["operator"]
circuit = "garage"
rotation = "{rotation}"
phases = {box.phases}
max_a = 16
fallback_a = {box.fallback_a}
meter = "{box.meter}"
participant = "p-{box.name}"

[[participant]]
id = "p-{box.name}"
name = "Parking space {box.number}"
kind = "charger"

[[token]]
id = "{box.card}"
tenant = "T-{box.number}"
""")
    return "".join(parts)
