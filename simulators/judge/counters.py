"""How a meter counts, as the story tells it: the step of its register, and where it begins again at 0."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulators.judge.evidence import Evidence, Occurrence


def step_wh(evidence: Evidence, meter: str) -> Fraction:
    """One step of its register at the level of this run, at least 1 Wh."""
    return max([Fraction(1), *(Fraction(told.data["step_wh"]) for told in _counts(evidence, meter))])


def shown_wh(evidence: Evidence, meter: str, true_wh: float) -> int:
    """What a register shows of an energy that is counted without end."""
    range_wh = next((told.data["range_wh"] for told in _counts(evidence, meter)), None)
    return int(true_wh) % int(range_wh) if range_wh else int(true_wh)


def advanced_wh(evidence: Evidence, meter: str, moved_wh: int) -> int:
    """What a register has counted that moved by `moved_wh`; a counter that began again at 0 has counted its range more.

    Only from 99 % of its range on: a meter that falls from anywhere else was exchanged, or lies (reference/billing.md).
    """
    if moved_wh >= 0:
        return moved_wh
    for told in _counts(evidence, meter):
        range_wh = told.data["range_wh"]
        if range_wh and -moved_wh * 100 > range_wh * 99:
            return moved_wh + int(range_wh)
    return moved_wh


def _counts(evidence: Evidence, meter: str) -> list[Occurrence]:
    return [told for told in evidence.told("meter_counts") if told.data["meter"] == meter]
