"""What a box may draw without the gateway, as the judge reads it from the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.judge.evidence import Evidence
from simulators.judge.fuses import NEVER_MS, Limit, _Behaviour, in_force
from simulators.judge.place import Box
from tests.simulators.judge.builder import START
from tests.simulators.judge.good_run import good_run

BOX = Box("box1", frozenset(), 6000, 16_000, {}, {})


def test_a_box_that_was_never_given_a_limit_has_its_fallback_at_all_times() -> None:
    assert in_force(BOX, [], 0) == [Limit(-NEVER_MS, NEVER_MS, 6000)]


def test_the_fallback_is_in_force_before_between_and_after_the_limits() -> None:
    first, second = Limit(1000, 2000, 10_000), Limit(5000, 9000, 8000)
    assert in_force(BOX, [second, first], 0) == [
        Limit(-NEVER_MS, 1000, 6000),
        first,
        Limit(2000, 5000, 6000),
        second,
        Limit(9000, NEVER_MS, 6000),
    ]


@pytest.mark.parametrize("years", [-20, 20])
def test_a_limit_that_a_wrong_clock_told_hides_none_around_a_death(tmp_path: Path, years: int) -> None:
    """Seed 14 with `--add 0,clock_wrong,1200,0.01 --add 1000,kill,20,0.5`: it ended before it began."""
    limits = [Limit(START + n * 60_000, START + n * 60_000 + 150_000, 10_000 + n) for n in range(1, 12)]
    limits[6] = Limit(limits[6].since_ms, START + years * 365 * 86_400_000, 16_000)
    evidence = Evidence(good_run().write(tmp_path / "run"))
    behaviour = _Behaviour.of(evidence, BOX, limits)
    for death_ms, allowed_ma in ((START + 200_000, 10_003), (START + 620_000, 10_010)):
        around = behaviour.between(death_ms, death_ms + 10_000)
        assert [around.allowed_ma(at_ms) for at_ms in (death_ms, death_ms + 10_000)] == [allowed_ma, allowed_ma]
        assert len(around.offers) < 4
    evidence.close()
