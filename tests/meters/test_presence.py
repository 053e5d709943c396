"""What is told of a meter that comes and goes: once, and ever less often."""

from __future__ import annotations

import pytest

from gateway.meters.answer import Answer, Outcome
from gateway.meters.presence import Presence
from gateway.meters.words import EXCEPTIONS, absent_event, advice, back_event, energy_of, lost_event, meaning
from gateway.model import Reading, TimeQuality


def test_a_meter_that_was_lost_once_is_back_when_it_has_answered_for_half_a_minute() -> None:
    presence = Presence()
    assert presence.answered(0) is None
    assert presence.lost(10)
    assert not presence.lost(12)
    assert [presence.answered(at_s) for at_s in (20, 25, 49.9, 50, 55)] == [None, None, None, 1, None]


def test_a_meter_that_flaps_every_six_seconds_is_told_of_once() -> None:
    """An hour of it: lost, and nothing more until it stays."""
    presence = Presence()
    told = []
    for at_s in range(0, 3600, 6):
        told += [("lost", at_s)] if presence.lost(at_s) else []
        told += [("back", at_s)] if presence.answered(at_s + 3) is not None else []
    assert told == [("lost", 0)]
    losses = [presence.answered(at_s) for at_s in (3610, 3640)]
    assert losses == [None, 600]


def test_one_that_stays_just_long_enough_is_told_of_ever_less_often() -> None:
    """35 s there, 5 s away, for a day: bounded to a pair in a quarter hour."""
    presence = Presence()
    told = 0
    for round_s in range(0, 86_400, 40):
        told += presence.lost(round_s)
        told += sum(presence.answered(round_s + 5 + more) is not None for more in range(0, 35, 5))
    assert told <= 3
    presence = Presence()
    told = 0
    for round_s in range(0, 86_400, 1000):  # the longest hold is served, each time
        told += presence.lost(round_s)
        told += sum(presence.answered(round_s + more) is not None for more in range(5, 990, 5))
    assert told <= 2 * 87


def test_after_a_quiet_quarter_hour_it_is_a_first_time_again() -> None:
    presence = Presence()
    presence.lost(0)
    presence.answered(10)
    assert presence.answered(40) == 1
    assert presence.lost(100)
    presence.answered(110)
    assert presence.answered(140) is None
    assert presence.answered(170) == 1
    assert presence.lost(2000)
    presence.answered(2010)
    assert presence.answered(2040) == 1


def answer(outcome: Outcome, code: int = 0, why: str = "") -> Answer:
    return Answer(outcome, 0, 0, 0.0, 0.0, (), code, why)


def test_exception_2_comes_with_advice() -> None:
    """A wrong register map, unit or model: that is where to look, not at the cable."""
    event = lost_event("m1", 7, "rtu", "/dev/x", answer(Outcome.REFUSED, 2, f"register 5000: {meaning(2)}"))
    assert event.cause == "unit 7 on /dev/x: register 5000: it has no such register (Modbus exception 2)"
    assert event.next_step.startswith("check `model` and `unit`")
    assert lost_event("m1", 7, "rtu", "/dev/x", answer(Outcome.SILENT, why="no answer")).next_step.startswith(
        "check its power"
    )


@pytest.mark.parametrize("code", [*EXCEPTIONS, 99])
def test_every_exception_has_words_and_a_next_step(code: int) -> None:
    assert meaning(code).endswith(f"(Modbus exception {code})")
    assert advice(answer(Outcome.REFUSED, code))


def test_a_serial_number_that_did_not_come_is_not_said_to_be_missing() -> None:
    """Only a refusal proves that the meter has none."""
    silent = absent_event("m1", "serial", answer(Outcome.SILENT, why="no answer"), serial_expected=True)
    assert "not when it is asked for its serial number" in silent.cause
    refused = absent_event("m1", "serial", answer(Outcome.REFUSED, 2, meaning(2)), serial_expected=False)
    assert refused.cause == "it does not give its serial number: it has no such register (Modbus exception 2)"


def test_a_meter_that_came_and_went_says_how_often() -> None:
    assert back_event("m1", 1).cause == "it answers again"
    assert back_event("m1", 7).cause == "it answers again; it came and went 7 times"


def test_a_register_that_is_not_there_is_not_none_watt_hours() -> None:
    one = Reading("m", 0, 1, TimeQuality.NTP, 500)
    assert energy_of(one) == "500 Wh in"
    assert energy_of(Reading("m", 0, 1, TimeQuality.NTP, None, 7)) == "no value in, 7 Wh out"
