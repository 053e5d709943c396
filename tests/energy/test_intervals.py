"""Boundaries, differences, gaps, swaps of one meter."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.energy.intervals import (
    Cut,
    Known,
    Measured,
    begun,
    interpolated,
    is_boundary_reading,
    measured,
    within,
)
from gateway.model import Reading, TimeQuality

QUARTER = 900_000


def reading(at_ms: int, wh: int | None, serial: str | None = "A", export: int | None = None) -> Reading:
    return Reading("m", at_ms, at_ms + 50, TimeQuality.NTP, wh, export, serial=serial)


def test_the_boundary_is_the_first_reading_asked_for_at_or_after_it() -> None:
    """Not before, within ten seconds, and with a register."""
    assert not is_boundary_reading(reading(QUARTER - 1, 5), QUARTER)
    assert is_boundary_reading(reading(QUARTER, 5), QUARTER)
    assert is_boundary_reading(reading(QUARTER + 9_999, 5), QUARTER)
    assert not is_boundary_reading(reading(QUARTER + 10_000, 5), QUARTER)
    assert not is_boundary_reading(reading(QUARTER, None), QUARTER)


def test_example_4_a_missing_boundary() -> None:
    """R, missing, R + 1001: 500 and 501, flagged; the total is true."""
    first, last = reading(0, 70_000), reading(2 * QUARTER, 71_001)
    middle = interpolated(first, last, QUARTER)
    assert middle is not None
    one, other = measured([Known(first), middle]), measured([middle, Known(last)])
    assert (one.import_wh, other.import_wh) == (500, 501)
    assert one.estimated
    assert other.estimated
    assert middle.reading.raw == ""


def test_example_6_a_meter_swap() -> None:
    """178 + 190 = 368 Wh; the two minutes without a meter are named, not invented."""
    chain = [
        Known(reading(0, 12_345_500)), Known(reading(360_000, 12_345_678)),
        Known(reading(480_000, 17, "B")), Known(reading(QUARTER, 207, "B")),
    ]  # fmt: skip
    energy = measured(chain)
    assert energy.import_wh == 368
    assert energy.problems == ()
    assert "swapped, A by B" in energy.notes[0]


def test_a_new_level_counts_nothing_of_what_lies_between() -> None:
    """A meter that tells no serial number was exchanged; it went up, or down."""
    for level in (930, 12):
        new = replace(reading(480_000, level, None), new_level=True)
        chain = [reading(0, 500, None), reading(360_000, 712, None), new, reading(QUARTER, level + 40, None)]
        energy = measured([Known(one) for one in chain])
        assert (energy.import_wh, energy.problems) == (252, ())
        assert energy.notes == (f"meter m: swapped or reset, 712 by {level} Wh; not metered in between",)
        assert interpolated(chain[1], new, 400_000) is None
    went_on = interpolated(new, chain[3], 500_000)
    assert went_on is not None


def test_nothing_is_estimated_across_a_swap_or_a_reset() -> None:
    assert interpolated(reading(0, 5), reading(2 * QUARTER, 9, "B"), QUARTER) is None
    assert interpolated(reading(0, 5), reading(2 * QUARTER, 4), QUARTER) is None
    assert interpolated(reading(0, 5), reading(QUARTER - 1, 9), QUARTER) is None
    assert interpolated(reading(0, 5, export=7), reading(2 * QUARTER, 9), QUARTER) is None


def test_a_register_that_went_back_is_a_problem() -> None:
    energy = measured([Known(reading(0, 100)), Known(reading(QUARTER, 90))])
    assert energy.import_wh == 0
    assert (energy.problems, "went back" in energy.lasting[0]) == ((), True)


def test_floors_telescope() -> None:
    """Differences of floored registers: 250 + 251 + 250 = 751, where rounded differences would lose one."""
    registers = [10_000, 10_250, 10_501, 10_751]
    readings = [reading(n * QUARTER, wh) for n, wh in enumerate(registers)]
    parts = [measured([Known(a), Known(b)]).import_wh for a, b in pairwise(readings)]
    assert parts == [250, 251, 250]
    assert sum(parts) == registers[-1] - registers[0]


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=20), st.data())
def test_the_pieces_of_a_session_sum_to_its_registers(steps: list[int], data: st.DataObject) -> None:
    """Wherever begin and end lie, and whatever boundary lies between."""
    registers = [0]
    for step in steps:
        registers.append(registers[-1] + step)
    begin = data.draw(st.integers(0, registers[-1]))
    end = data.draw(st.integers(begin, registers[-1]))
    quarters: list[Measured] = [
        measured([Known(reading(n * QUARTER, low)), Known(reading((n + 1) * QUARTER, high))])
        for n, (low, high) in enumerate(pairwise(registers))
    ]
    pieces = [within(Cut("s", "A", begin, end), quarter.segments) for quarter in quarters]
    assert sum(pieces) == end - begin
    running = [within(Cut("s", "A", begin), quarter.segments) for quarter in quarters]
    assert sum(running) == registers[-1] - begin


def test_a_session_takes_nothing_from_another_meter() -> None:
    energy = measured([Known(reading(0, 0, "B")), Known(reading(QUARTER, 900, "B"))])
    assert within(Cut("s", "A", 100, 300), energy.segments) == 0


@pytest.mark.parametrize(
    ("cut", "part_wh"),
    [
        (Cut("begins later", None, 791, from_ms=QUARTER + 20_000), 0),
        (Cut("ended before", None, 791, 1_633, from_ms=-QUARTER, to_ms=-20_000), 0),
        (Cut("begins in it", None, 791, from_ms=QUARTER - 20_000), 209),
        (Cut("ends in it", None, 791, 950, from_ms=-QUARTER, to_ms=20_000), 159),
        (Cut("of no known time", None, 791), 209),
    ],
)
def test_a_session_takes_nothing_before_it_began_and_after_it_ended_whatever_the_registers(
    cut: Cut, part_wh: int
) -> None:
    """A meter without a serial number was exchanged: the old one's numbers say nothing of the new one's sessions."""
    energy = measured([Known(reading(0, 500, None)), Known(reading(QUARTER, 1_000, None))])
    assert within(cut, energy.segments) == part_wh


def rolled(low: int, high: int, span_ms: int = 900_000, range_wh: int | None = 10 << 32) -> Any:
    def at(at_ms: int, wh: int) -> Known:
        return Known(Reading("m", at_ms, at_ms, TimeQuality.NTP, wh, serial="A", range_wh=range_wh))

    return measured([at(0, low), at(span_ms, high)])


def test_example_5_a_counter_that_begins_again_at_zero() -> None:
    """A 32-bit counter of 10 Wh: 4 294 967 290 -> 5 is 110 Wh, in two runs of the register."""
    found = rolled(42_949_672_900, 50)
    assert (found.import_wh, found.problems) == (110, ())
    assert [(one.low_wh, one.high_wh) for one in found.segments] == [(42_949_672_900, 42_949_672_960), (0, 50)]


@pytest.mark.parametrize(
    ("low", "high", "range_wh"),
    [
        (42_000_000_000, 50, 10 << 32),  # not near its end: a reset
        (42_949_672_900, 30_000, 10 << 32),  # more than can have flowed: another meter
        (42_949_672_900, 50, None),  # a register that never overflows
    ],
)
def test_what_is_no_rollover_is_a_named_problem(low: int, high: int, range_wh: int | None) -> None:
    found = rolled(low, high, range_wh=range_wh)
    assert found.import_wh == 0
    assert (found.problems, "went back" in found.lasting[0]) == ((), True)


def test_a_boundary_that_was_missed_while_the_register_began_again_is_estimated() -> None:
    """The register is full at 1,000,000 Wh: the line goes on from 0, and every Wh lies on one side of the boundary."""
    before, after = full(999_900, -60_000), full(100, 60_000)
    known = interpolated(before, after, 0)
    assert known is not None
    assert known.estimated
    assert known.reading.import_wh == 0
    early, late = interpolated(before, after, -30_000), interpolated(before, after, 30_000)
    assert early is not None
    assert late is not None
    assert (early.reading.import_wh, late.reading.import_wh) == (999_950, 50)
    chain = [Known(before), known, Known(after)]
    assert measured(chain[:2]).import_wh + measured(chain[1:]).import_wh == 200


def test_a_register_that_fell_without_being_full_is_not_estimated() -> None:
    assert interpolated(full(900_000, -60_000), full(100, 60_000), 0) is None


def full(import_wh: int, at_ms: int) -> Reading:
    return Reading("a", at_ms, at_ms + 40, TimeQuality.NTP, import_wh, range_wh=1_000_000)


def test_a_meter_counts_from_its_first_reading_ever() -> None:
    first, high = full(5_000, 100_000), full(5_400, 900_000)
    found = begun("a", [Known(first), Known(high)])
    assert (found.import_wh, found.begins, found.problems) == (400, first, ())
    assert found.notes == ("meter a: counts from its first reading, 5000 Wh",)


def test_a_meter_that_was_not_read_yet_has_counted_nothing() -> None:
    found = begun("a", [])
    assert (found.import_wh, found.unread, found.begins) == (0, True, None)
