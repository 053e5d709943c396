"""The building of the demonstration, its drivers, and the story of its day. All of it is data."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from simulators.building import CircuitPlan, Weather
from simulators.cars import Car
from simulators.charger import ChargerPlan
from simulators.clock import local_ms
from simulators.meter_image import Model
from simulators.sun import Cover, clouds, flats_ma, production_w

ZONE = "Europe/Zurich"
DATE = "2026-06-13"
SITE_ID = "demo-house"
SUN_PEAK_W = 9000.0
SPAN_S = 5 * 3600
"""The weather is made for this long: lead-in, story, draining and a stay."""

HOUSE_WORST_A = 22
"""The installer's figure for the flats on a phase; they take a little less, `FLATS_MOST_MA`."""
FLATS_MOST_MA = 20_500


def at(hour_minute: str) -> int:
    """Site time of a local HH:MM or HH:MM:SS of the story's day, UTC milliseconds."""
    return local_ms(ZONE, DATE, hour_minute)


EPOCH_MS = at("11:30")
END_MS = at("14:30")

CIRCUITS = (
    CircuitPlan("house", None, "gG", 40_000, 40_000),
    CircuitPlan("garage", "house", "MCB", 32_000, 32_000),
)
GARAGE_LIGHT_A = 1
"""What the garage's breaker carries beside the cars; nothing measures it."""


@dataclass(frozen=True, slots=True)
class BoxPlan:
    """A wallbox and how it is wired. `unit` is its meter's Modbus address."""

    name: str
    rotation: tuple[int, int, int]
    phases: int
    fallback_a: int
    meter: str
    model: Model
    unit: int
    tenant: str
    card: str
    eager: bool = False
    max_a: int = 16
    circuit: str = "garage"

    def charger(self) -> ChargerPlan:
        """What the simulated box needs of it."""
        return ChargerPlan(self.name, max_ma=self.max_a * 1000, eager=self.eager, password=f"{self.name}-password")


BOXES = (
    BoxPlan("box1", (0, 1, 2), 3, 6, "m1", "iem3155", 11, "T-1001", "CARD-A"),
    BoxPlan("box2", (1, 2, 0), 3, 6, "m2", "iem3155", 12, "T-1002", "CARD-B", eager=True),
    BoxPlan("box3", (2, 0, 1), 3, 6, "m3", "iem3155", 13, "T-1003", "CARD-C"),
    BoxPlan("box4", (0, 1, 2), 1, 0, "m4", "iem3155", 14, "T-1004", "CARD-D"),
    BoxPlan("box5", (1, 2, 0), 1, 0, "m5", "sdm630", 15, "T-1005", "CARD-E", eager=True),
    BoxPlan("box6", (2, 0, 1), 3, 0, "m6", "iem3155", 16, "T-1006", "CARD-F"),
)
CARDS = {box.card: "Accepted" for box in BOXES}
STRANGER = "CARD-X"


def car(box: str, rng: random.Random) -> Car:
    """The car that comes to a box: box1 and box3 three phases, box2 two, box4 and box5 one, box6 three."""
    phases, max_ma, need_wh = {
        "box1": (3, 16_000, 40_000.0),
        "box2": (2, 16_000, 3_600.0),
        "box3": (3, 16_000, 30_000.0),
        "box4": (1, 16_000, 12_000.0),
        "box5": (1, 16_000, 9_000.0),
        "box6": (3, 16_000, 20_000.0),
    }[box]
    return Car(
        f"car of {box}", phases, max_ma, need_wh * rng.uniform(0.95, 1.05),
        delay_ms=rng.choice((5000, 5500, 6000)), over_ms=rng.choice((1000, 2000, 3000)),
    )  # fmt: skip


def weather(rng: random.Random, start_ms: int) -> Weather:
    """Clouds from 11:50 on while everybody cooks; the sun is back after 12:20."""
    sky = clouds(
        rng, SPAN_S, [Cover(_second("11:50", start_ms), 0.15, 0.3), Cover(_second("12:20", start_ms), 0.55, 1.0)]
    )
    sun_w = [production_w(SUN_PEAK_W, start_ms + second * 1000, light) for second, light in enumerate(sky)]
    lunch = (_second("11:45", start_ms), _second("12:25", start_ms))
    return Weather(start_ms, flats_ma(rng, SPAN_S, lunch, 7000, FLATS_MOST_MA), sun_w)


def _second(hour_minute: str, start_ms: int) -> int:
    return (at(hour_minute) - start_ms) // 1000


Do = Literal["arrive", "show", "leave", "cut", "mend", "kill", "restart", "say"]


@dataclass(frozen=True, slots=True)
class Scene:
    """Something that happens at a local time.

    `arrive`: a car is plugged in and the card is shown; `show`: a card alone; `leave`: the driver stops and unplugs;
    `cut`/`mend`: the uplink; `kill`/`restart`: the gateway; `say`: only told.
    """

    when: str
    do: Do
    text: str
    box: str = ""
    card: str = ""

    @property
    def at_ms(self) -> int:
        """Site time, UTC milliseconds."""
        return at(self.when)


STORY = (
    Scene("11:30", "arrive", "a three-phase car", "box1", "CARD-A"),
    Scene("11:30:20", "arrive", "a two-phase car", "box2", "CARD-B"),
    Scene("11:30:40", "arrive", "a three-phase car", "box3", "CARD-C"),
    Scene("11:40", "show", "the fourth driver tries a card; the operator's backend knows it", "box4", "CARD-D"),
    Scene("11:50", "say", "clouds: the sun goes while everybody cooks, the fuse is short"),
    Scene("12:10", "cut", "the uplink is cut: no backend, no cloud"),
    Scene("12:25", "arrive", "the fourth car, with the card that the gateway remembers", "box4", "CARD-D"),
    Scene("12:26", "show", "a stranger's card is refused", "box5", STRANGER),
    Scene("12:36", "kill", "SIGKILL: the gateway dies in the middle of four charges"),
    Scene("12:38:30", "say", "without the gateway the boxes are at their fallback"),
    Scene("12:40", "restart", "the gateway comes back, the uplink is still cut"),
    Scene("13:00", "say", "the high tariff ends"),
    Scene("13:20", "leave", "the second car is full, its driver leaves during the outage", "box2", "CARD-B"),
    Scene("13:35", "mend", "the uplink is back: everything is told, in order"),
    Scene("13:40", "arrive", "a fifth car", "box5", "CARD-E"),
    Scene("13:45", "arrive", "a sixth car", "box6", "CARD-F"),
    Scene("14:02", "leave", "the fourth driver leaves", "box4", "CARD-D"),
    Scene("14:05", "leave", "the third driver leaves", "box3", "CARD-C"),
    Scene("14:08", "leave", "the fifth driver leaves", "box5", "CARD-E"),
    Scene("14:12", "leave", "the sixth driver leaves", "box6", "CARD-F"),
    Scene("14:15", "leave", "the last driver leaves", "box1", "CARD-A"),
)
