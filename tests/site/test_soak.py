"""What a soak lives through, and that each run has its own key."""

from __future__ import annotations

import argparse

from .soak import Run, _plan


def _runs(**more: bool) -> list[Run]:
    return list(
        _plan(argparse.Namespace(**{"watches": 150, "first_seed": 5000, "no_day": False, "long": False} | more))
    )


def test_every_tenth_watch_of_a_soak_is_crowded_so_that_cars_take_turns() -> None:
    runs = _runs(no_day=True)
    assert [run.seed for run in runs] == list(range(5000, 5150))
    assert [run.seed for run in runs if run.crowded] == list(range(5009, 5150, 10))


def test_no_two_runs_of_a_soak_are_taken_for_one() -> None:
    runs = _runs(long=True)
    assert len({run.key for run in runs}) == len(runs) == 1011
    assert Run(1, 1.0, 8, 40.0).key != Run(1, 1.0, 8, 40.0, crowded=True).key
