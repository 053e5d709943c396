"""What a soak lives through, and that each run has its own key."""

from __future__ import annotations

import argparse

from .soak import Run, _plan


def _runs(**more: bool) -> list[Run]:
    usual = {"watches": None, "first_seed": 5000, "no_day": False, "long": False, "lengths": 1.0}
    return list(_plan(argparse.Namespace(**usual | more)))


def test_every_tenth_watch_of_a_soak_is_crowded_so_that_cars_take_turns() -> None:
    runs = _runs(no_day=True)
    assert [run.seed for run in runs] == list(range(5000, 5150))
    assert [run.seed for run in runs if run.crowded] == list(range(5009, 5150, 10))


def test_no_two_runs_of_a_soak_are_taken_for_one() -> None:
    runs = _runs(long=True)
    assert len({run.key for run in runs}) == len(runs) == 1000 + 10 + 1 + 2
    assert Run(1, 1.0, 8, 40.0).key != Run(1, 1.0, 8, 40.0, crowded=True).key


def test_a_soak_has_a_day_and_fourteen_days_without_the_internet_and_a_long_one_a_week_and_thirty() -> None:
    assert [(run.hours, run.away_days) for run in _runs() if run.chargers > 8] == [(24, 0), (1, 14)]
    long = [(run.hours, run.away_days) for run in _runs(long=True) if run.chargers > 8]
    assert long == [(168, 0), *[(24, 0)] * 10, (2, 30), (1, 14)]
