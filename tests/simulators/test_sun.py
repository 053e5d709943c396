"""The weather repeats with its seed and keeps the bounds that the judge relies on."""

from __future__ import annotations

import itertools
import random

import pytest

from simulators.clock import local_ms
from simulators.demo.plan import HOUSE_WORST_A, at, weather
from simulators.sun import RAMP_PER_S, Cover, clouds, elevation, production_w

NOON_MS = local_ms("Europe/Zurich", "2026-06-13", "13:26")


def test_the_sun_is_highest_at_local_noon_and_away_at_night():
    day = [elevation(local_ms("Europe/Zurich", "2026-06-13", f"{hour:02d}:26")) for hour in range(24)]
    assert day.index(max(day)) == 13
    assert max(day) == pytest.approx(0.91, abs=0.02)
    assert elevation(local_ms("Europe/Zurich", "2026-06-13", "01:00")) == 0


def test_the_modules_give_their_share_of_the_light():
    clear, dark = production_w(9000, NOON_MS, 1.0), production_w(9000, NOON_MS, 0.2)
    assert 6000 < clear < 7500
    assert dark == pytest.approx(clear * 0.2)


def test_clouds_come_when_they_are_told_to_and_not_faster_than_a_ramp():
    light = clouds(random.Random(3), 3600, [Cover(1200, 0.15, 0.3)])
    assert min(light[:1200]) > 0.85
    assert max(light[1300:]) < 0.35
    assert max(abs(b - a) for a, b in itertools.pairwise(light)) <= RAMP_PER_S + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_the_house_stays_under_its_worst_case_and_rises_by_less_than_the_judge_allows(seed):
    """Design I1p: the house rises by at most 0.4 of its fuse (40 A) per phase within 25 s."""
    seen = weather(random.Random(seed), at("11:25"))
    assert max(max(phases) for phases in seen.flats_ma) <= HOUSE_WORST_A * 1000
    for phase in range(3):
        net = [flats[phase] - sun / 3 / 230 * 1000 for flats, sun in zip(seen.flats_ma, seen.sun_w, strict=True)]
        assert max(max(net[i : i + 26]) - net[i] for i in range(len(net) - 26)) <= 0.4 * 40_000


def test_one_seed_gives_one_weather():
    first, second, other = (weather(random.Random(seed), at("11:25")) for seed in (1, 1, 2))
    assert first == second
    assert first.flats_ma != other.flats_ma


@pytest.mark.parametrize("seed", range(8))
def test_from_1150_on_the_fuse_is_short(seed):
    """What is left of 40 A beside the flats is less than the garage's 31 A, and enough for three cars at 6 A."""
    seen = weather(random.Random(seed), at("11:25"))
    lunch = range((at("11:53") - at("11:25")) // 1000, (at("12:10") - at("11:25")) // 1000)
    left = [40_000 - max(seen.flats_ma[s]) + seen.sun_w[s] / 3 / 230 * 1000 for s in lunch]
    assert min(left) < 26_000
    assert min(left) >= 18_000
