"""How far a register has moved, and how fine it is, as the judge sees it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from simulators.judge.counters import advanced_wh, shown_wh, step_wh
from simulators.judge.evidence import Evidence

RANGE = 2**32


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    (tmp_path / "evidence").mkdir()
    lines = [
        {"t": 0, "what": "meter_counts", "meter": "m1", "model": "dvh4013", "step_wh": 1.0, "range_wh": RANGE},
        {"t": 0, "what": "meter_counts", "meter": "m2", "model": "sdm630", "step_wh": 7.8125, "range_wh": None},
        {"t": 0, "what": "meter_counts", "meter": "m3", "model": "sdm630", "step_wh": 0.5, "range_wh": None},
    ]
    (tmp_path / "evidence" / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Evidence(tmp_path)


def test_a_counter_that_began_again_at_0_has_counted_its_range_more(evidence: Evidence) -> None:
    assert advanced_wh(evidence, "m1", 70 - (RANGE - 30)) == 100
    assert advanced_wh(evidence, "m1", 100) == 100


@pytest.mark.parametrize(("meter", "moved_wh"), [("m1", -RANGE // 2), ("m2", -RANGE + 5), ("unknown", -5)])
def test_a_register_that_falls_otherwise_has_fallen(evidence: Evidence, meter: str, moved_wh: int) -> None:
    assert advanced_wh(evidence, meter, moved_wh) == moved_wh


def test_a_register_shows_the_rest_of_its_range(evidence: Evidence) -> None:
    assert [shown_wh(evidence, meter, RANGE + 5.7) for meter in ("m1", "m2")] == [5, RANGE + 5]


def test_the_step_is_what_the_story_tells_and_never_below_1_wh(evidence: Evidence) -> None:
    assert [step_wh(evidence, meter) for meter in ("m1", "m2", "m3", "unknown")] == [1, Fraction("7.8125"), 1, 1]
