"""What must be compared with the truth: every run but one that had no occasion."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from simulators.judge.skews import ServedLog, compare_with_truth
from simulators.judge.times import QUARTER_MS
from simulators.judge.verdict import Notes

LIVED_THROUGH = [(0, 3 * QUARTER_MS + 20_000)]
DEAD_AT_EVERY_SECOND = [(0, QUARTER_MS + 9_000), (QUARTER_MS + 60_000, 2 * QUARTER_MS + 30_000)]
DEAD_BEFORE_IT_WAS_WRITTEN = [(0, QUARTER_MS + 10_500), (QUARTER_MS + 60_000, 2 * QUARTER_MS + 30_000)]


@pytest.mark.parametrize(
    ("lives", "must_show", "holds"),
    [
        (DEAD_AT_EVERY_SECOND, False, True),
        (DEAD_AT_EVERY_SECOND, True, False),
        (DEAD_BEFORE_IT_WAS_WRITTEN, False, True),
        (LIVED_THROUGH, False, False),
        (LIVED_THROUGH, True, False),
    ],
)
def test_nothing_compared_is_no_fault_only_where_a_watch_killed_the_gateway_at_every_second_boundary(
    lives: list[tuple[int, int]], must_show: bool, holds: bool
) -> None:
    """Seed 10079: dead at two of four boundaries, so no quarter hour had both its registers."""
    notes = Notes("I7")
    evidence = SimpleNamespace(
        lives=lives,
        end_ms=3 * QUARTER_MS + 25_000,
        must_show=must_show,
        rows=lambda *_: [],
        place=None,
        speed=1.0,
        widen_ms=0,
    )
    compare_with_truth(evidence, [], ServedLog(evidence), notes)  # type: ignore[arg-type]
    assert notes.finding().holds is holds
