"""Each bound of the judge holds on both sides: what just keeps it passes, what is minimally worse is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.judge import judge
from tests.simulators.judge import bounds
from tests.simulators.judge.builder import Run
from tests.simulators.judge.good_run import good_run


def _broken(run: Run, folder: Path) -> dict[str, str]:
    verdict = judge(run.write(folder))
    return {finding.invariant: finding.first_violation for finding in verdict.findings if not finding.holds}


@pytest.mark.parametrize("pair", bounds.PAIRS, ids=lambda pair: pair.name)
def test_what_keeps_the_bound_passes(pair: bounds.Pair, tmp_path: Path) -> None:
    run = good_run()
    pair.keeps(run)
    assert _broken(run, tmp_path / "run") == {}


@pytest.mark.parametrize("pair", bounds.PAIRS, ids=lambda pair: pair.name)
def test_what_is_minimally_worse_is_found(pair: bounds.Pair, tmp_path: Path) -> None:
    run = good_run()
    pair.breaks(run)
    broken = _broken(run, tmp_path / "run")
    assert set(broken) == set(pair.invariants), broken
    assert pair.says in broken[pair.invariants[0]]
