"""Pure: the sun over the building and what the flats take, second by second, from one seed.

Both are made for the whole story beforehand, so that two runs with one seed see the same weather.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

LATITUDE, LONGITUDE = math.radians(47.4), 8.5
RAMP_PER_S = 0.02
"""A cloud's edge takes at least 50 s to cover the modules: slow beside the 10 %/s of a real one, see `flats_ma`."""


def elevation(utc_ms: int) -> float:
    """Sine of the sun's elevation over Zurich, 0 at night (Cooper's declination, no equation of time)."""
    moment = datetime.fromtimestamp(utc_ms / 1000, UTC)
    day = moment.timetuple().tm_yday
    declination = math.radians(23.45) * math.sin(2 * math.pi * (284 + day) / 365)
    hours = moment.hour + moment.minute / 60 + moment.second / 3600 + LONGITUDE / 15
    angle = (hours - 12) * math.pi / 12
    sine = math.sin(LATITUDE) * math.sin(declination) + math.cos(LATITUDE) * math.cos(declination) * math.cos(angle)
    return max(0.0, sine)


@dataclass(frozen=True, slots=True)
class Cover:
    """From `at_s` on, clouds leave between `low` and `high` of the clear sky's light."""

    at_s: int
    low: float
    high: float


def clouds(rng: random.Random, seconds: int, covers: Sequence[Cover]) -> list[float]:
    """The share of the clear sky's light in each second, with edges no steeper than `RAMP_PER_S`."""
    light: list[float] = []
    now = target = 0.95
    change_at = 0
    waiting = list(covers)
    cover = Cover(0, 0.9, 1.0)
    for second in range(seconds):
        if waiting and second >= waiting[0].at_s:
            cover, change_at = waiting.pop(0), second
        if second >= change_at:
            target = rng.uniform(cover.low, cover.high)
            change_at = second + rng.randrange(60, 240)
        now += min(RAMP_PER_S, max(-RAMP_PER_S, target - now))
        light.append(now)
    return light


def production_w(peak_w: float, utc_ms: int, light: float) -> float:
    """What the modules give: `peak_w` times the light that falls on them, 15 % lost on the way."""
    return 0.85 * peak_w * light * math.pow(elevation(utc_ms), 1.1)


@dataclass(frozen=True, slots=True)
class Appliance:
    """Something that a resident switches on: one phase, one step."""

    phase: int
    from_s: int
    to_s: int
    ma: int


def flats_ma(
    rng: random.Random, seconds: int, lunch: tuple[int, int], base_ma: int, ceiling_ma: int, quiet_s: int = 30
) -> list[tuple[int, int, int]]:
    """What the flats take on each phase in each second, at most `ceiling_ma`.

    Two rises on one phase are at least `quiet_s` apart and one is at most 7 A: with a cloud's edge on top the building
    rises by less than 0.4 of a 40 A fuse within 25 s (design I1p). During `lunch` more is switched on.
    """
    columns = [_phase_ma(rng, phase, seconds, lunch, base_ma, ceiling_ma, quiet_s) for phase in range(3)]
    return list(zip(*columns, strict=True))


def _phase_ma(
    rng: random.Random, phase: int, seconds: int, lunch: tuple[int, int], base_ma: int, ceiling_ma: int, quiet_s: int
) -> list[int]:
    level = [base_ma + rng.randrange(-500, 500)] * seconds
    for thing in _appliances(rng, phase, seconds, lunch, quiet_s):
        to_s = min(thing.to_s, seconds)
        if max(level[thing.from_s : to_s], default=0) + thing.ma <= ceiling_ma - 300:
            for second in range(thing.from_s, to_s):
                level[second] += thing.ma
    ripple = 0
    for second in range(seconds):
        if second % 5 == 0:
            ripple = rng.randrange(-120, 120)
        level[second] += ripple
    return level


def _appliances(rng: random.Random, phase: int, seconds: int, lunch: tuple[int, int], quiet_s: int) -> list[Appliance]:
    found = []
    second = rng.randrange(10, 60)
    while second < seconds:
        busy = lunch[0] <= second < lunch[1]
        lasts = rng.randrange(240, 900) if busy else rng.randrange(60, 300)
        found.append(Appliance(phase, second, second + lasts, rng.randrange(2500, 6000)))
        second += quiet_s + (rng.randrange(0, 150) if busy else rng.randrange(120, 500))
    return found
