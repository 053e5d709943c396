"""Where an energy register begins again at 0 (billing.md, example 5)."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gateway.meters.meter_model import NumberType, Register, Span


@pytest.mark.parametrize(
    ("kind", "scale", "range_wh"),
    [("u32", Fraction(10), 42_949_672_960), ("u16", Fraction(1), 65_536), ("u32", Fraction(1, 3), None),
     ("u64", Fraction(1), None), ("s64", Fraction(1), None), ("f32", Fraction(1000), None)],
)  # fmt: skip
def test_only_a_small_counter_overflows(kind: NumberType, scale: Fraction, range_wh: int | None) -> None:
    """A float saturates, a 64-bit counter outlives the house; a range that is no whole watt-hour is not used."""
    register = Register("energy_import_wh", Span("holding", 0, 2), kind, "big", scale)
    assert register.range_wh == range_wh
