"""Streams of signed texts with one removed, doubled or swapped: each found; whole ones raise no alarm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.completeness import Fault, Stand, begin_and_end, check_session, follow
from gateway.records.facts import Facts, Register, facts_of
from gateway.records.recognise import Format


def text(page: int, *registers: tuple[str, str], letter: str = "T", meter: str = "M", clock: str = "I") -> Facts:
    """One record: (TX, kWh) pairs."""
    readings = tuple(Register(kind, value, "kWh", "1-0:1.8.0*255", "x", clock) for kind, value in registers)
    return Facts(Format.OCMF, "G", meter, letter, page, readings)


def session(page: int, begin: str, end: str) -> Facts:
    return text(page, ("B", begin), ("E", end))


def faults(*stream: Facts) -> list[Fault]:
    stand: Stand | None = None
    found: list[Fault] = []
    for facts in stream:
        stand, problems = follow(stand, facts)
        found += [problem.fault for problem in problems]
    return found


@given(st.integers(0, 10**6), st.integers(2, 60))
def test_a_whole_stream_has_no_fault_wherever_it_begins(first: int, count: int) -> None:
    assert faults(*(session(first + i, f"{i}.000", f"{i}.900") for i in range(count))) == []


@given(st.integers(3, 60), st.data())
def test_a_removed_record_is_a_gap(count: int, data: st.DataObject) -> None:
    gone = data.draw(st.integers(1, count - 2))
    assert faults(*(session(i, f"{i}.0", f"{i}.9") for i in range(count) if i != gone)) == [Fault.GAP]


@given(st.integers(2, 60), st.data())
def test_a_doubled_page_is_a_repeat(count: int, data: st.DataObject) -> None:
    twice = data.draw(st.integers(0, count - 1))
    pages = [i for i in range(count) for _ in range(2 if i == twice else 1)]
    assert faults(*(session(i, f"{i}.0", f"{i}.9") for i in pages)) == [Fault.REPEAT]


@given(st.integers(4, 60), st.data())
def test_two_swapped_records_are_a_gap_that_is_filled_late(count: int, data: st.DataObject) -> None:
    """Told when the gap shows; the late one is no second fault, and its older register none either."""
    place = data.draw(st.integers(1, count - 3))
    pages = list(range(count))
    pages[place], pages[place + 1] = pages[place + 1], pages[place]
    assert faults(*(session(i, f"{i}.0", f"{i}.9") for i in pages)) == [Fault.GAP]


def test_a_gap_says_which_pages_are_missing() -> None:
    stand, _ = follow(None, session(1, "0", "1"))
    _, (problem,) = follow(stand, session(9, "1", "2"))
    assert problem.sentence == "pages 2 to 8 are missing before T9"


def test_gaps_are_filled_one_by_one_and_no_page_twice() -> None:
    """Pages 2 to 4 are missing: 3, 2 and 4 come late, then 3 again."""
    stand: Stand | None = None
    outcomes = []
    for page in (1, 5, 3, 2, 4, 3):
        stand, problems = follow(stand, text(page))
        outcomes.append([problem.fault for problem in problems])
    assert outcomes == [[], [Fault.GAP], [], [], [], [Fault.REPEAT]]
    assert stand is not None
    assert stand.gaps == ()


def test_a_page_from_before_the_first_one_is_no_repeat() -> None:
    """The end came first, then the begin: nobody saw page 503 before; a second 503 is one."""
    assert faults(session(504, "2", "3"), session(503, "1", "2"), session(505, "3", "4")) == []
    assert faults(text(504), text(500), text(502), text(500)) == [Fault.REPEAT]
    assert faults(text(504), text(500), text(501), text(503), text(505)) == []


def test_what_is_remembered_of_gaps_is_bounded() -> None:
    stand: Stand | None = None
    for page in range(0, 1000, 2):
        stand, _ = follow(stand, text(page))
    assert stand is not None
    assert len(stand.gaps) == 32


def test_letters_of_the_clock() -> None:
    """S to I and I to U are worse, U to I is better, R says nothing about the clock."""
    assert faults(text(1, ("B", "1"), clock="S"), text(2, ("B", "1"), clock="I")) == [Fault.CLOCK]
    assert faults(text(1, ("B", "1"), clock="I"), text(2, ("B", "1"), clock="U")) == [Fault.CLOCK]
    assert faults(text(1, ("B", "1"), clock="U"), text(2, ("B", "1"), clock="S")) == []
    relative = text(2, ("E", "1"), clock="R")
    assert faults(text(1, ("B", "1"), clock="I"), relative, text(3, ("B", "1"), clock="U")) == [Fault.CLOCK]


def test_a_register_that_goes_back() -> None:
    """Inside one text, and from one to the next; a charger that counts each transaction from zero may."""
    assert faults(session(1, "5.000", "4.999")) == [Fault.BACK]
    assert faults(session(1, "1.0", "9.0"), session(2, "8.999", "9.5")) == [Fault.BACK]
    assert faults(session(1, "0.0", "9.0"), session(2, "0.0", "3.0"), session(3, "0.000", "1.0")) == []


def test_a_text_without_a_page_moves_nothing() -> None:
    stand, _ = follow(None, text(4))
    assert follow(stand, Facts(Format.UNKNOWN)) == (stand, [])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([session(1, "1.0", "2.0")], []),
        ([text(1, ("B", "1.0")), text(2, ("C", "1.5")), text(3, ("L", "2.0"))], []),
        ([text(1, ("B", "1.0"))], [Fault.NO_END]),
        ([text(2, ("R", "1.0"))], [Fault.NO_BEGIN]),
        ([text(1, ("B", "1.0")), text(2, ("E", "2.0"), meter="OTHER")], [Fault.SERIAL]),
        ([text(1, ("B", "2.0")), text(2, ("E", "1.0"))], [Fault.BACK]),
        ([Facts(Format.PCDF)], []),
        ([], []),
    ],
)
def test_a_session(texts: list[Facts], expected: list[Fault]) -> None:
    assert [problem.fault for problem in check_session(texts)] == expected


def test_begin_and_end_are_of_one_register() -> None:
    """A record with total and transaction registers pairs like with like."""
    registers = (
        Register("B", "0.0", "kWh", "1-0:98.8.0.FF", "", ""), Register("B", "7.0", "kWh", "1-0:1.8.0", "", ""),
        Register("E", "8.0", "kWh", "1-0:1.8.0", "", ""), Register("E", "1.0", "kWh", "1-0:98.8.0.FF", "", ""),
    )  # fmt: skip
    begin, end = begin_and_end([Facts(Format.OCMF, "G", "M", "T", 1, registers)])
    assert begin is not None
    assert end is not None
    assert (begin.value, end.value) == ("0.0", "1.0")


def test_left_out_fields_are_those_of_the_reading_before() -> None:
    """OCMF lets later readings leave out what is equal; numbers stay the texts that were signed."""
    facts = facts_of(
        'OCMF|{"GS":"G","MS":"M","PG":"F7","RD":[{"TM":"2026-01-01T00:00:00,000+0100 S","TX":"B","RV":2935.600,'
        '"RI":"1-0:1.8.0","RU":"kWh","ST":"G"},{"TM":"2026-01-01T01:00:00,000+0100 I","TX":"E","RV":" 2936.10"}]}|{}'
    )
    assert (facts.letter, facts.page) == ("F", 7)
    first, second = facts.registers
    assert (first.value, first.clock) == ("2935.600", "S")
    assert (second.value, second.unit, second.obis, second.clock) == (" 2936.10", "kWh", "1-0:1.8.0", "I")
    assert second.wh() == 2936100
    assert Register("B", "1", "A", "", "", "").wh() is None
    assert Register("B", "NaN", "Wh", "", "", "").wh() is None
