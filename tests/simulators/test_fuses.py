"""The trip curves keep what the standards promise, and excesses are found."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from simulators.fuses import Excess, ExcessWatch, Fuse, trip_time_s


@pytest.mark.parametrize(("kind", "never"), [("gG", 1.25), ("MCB", 1.13), ("SLS", 1.05)])
def test_a_fuse_carries_its_conventional_current_for_ever(kind, never):
    assert math.isinf(trip_time_s(kind, never))
    assert math.isfinite(trip_time_s(kind, never + 0.01))


def test_a_40_a_fuse_holds_95_a_for_10_s_and_opens_within_5_s_at_190_a():
    assert trip_time_s("gG", 95 / 40) == pytest.approx(10)
    assert trip_time_s("gG", 190 / 40) <= 5
    assert trip_time_s("gG", 1.6) <= 3600


def test_a_breaker_opens_at_once_at_three_times_and_in_minutes_at_1_45():
    assert trip_time_s("MCB", 3.2) < 0.1
    assert 60 < trip_time_s("MCB", 1.45) < 3600


def test_more_current_never_takes_longer():
    ratios = [1 + step / 50 for step in range(400)]
    for kind in ("gG", "MCB", "SLS"):
        times = [trip_time_s(kind, ratio) for ratio in ratios]
        assert all(later <= sooner + 1e-9 for sooner, later in pairwise(times))


def test_a_fuse_opens_when_its_time_is_used_up_and_stays_open():
    fuse = Fuse("gG", 40_000)
    seconds = next(second for second in range(1, 100) if fuse.carry(95_000, 1.0))
    assert seconds == 10
    assert fuse.open
    assert not fuse.carry(95_000, 1.0)


def test_a_fuse_forgets_while_it_carries_less():
    fuse = Fuse("gG", 40_000)
    for _ in range(9):
        fuse.carry(95_000, 1.0)
    for _ in range(600):
        fuse.carry(10_000, 1.0)
    assert fuse.used == 0
    assert not fuse.open


def test_an_excess_ends_after_a_gap_and_says_start_length_and_worst():
    watch = ExcessWatch("over_100", 1.0)
    found = [
        watch.see(ratio, second * 1000, (second + 1) * 1000) for second, ratio in enumerate([0.9, 1.1, 0.9, 1.2, 0.9])
    ]
    assert found == [None] * 5
    assert watch.see(0.9, 5000, 6000) == Excess("over_100", 1000, 3.0, 1.2)
    assert watch.end() is None


def test_an_excess_that_still_lasts_is_told_at_the_end():
    watch = ExcessWatch("over_145", 1.45)
    watch.see(1.5, 0, 1000)
    assert watch.end() == Excess("over_145", 0, 1.0, 1.5)
