"""Where the gateway's clock is a guess, a box is told its limits in the time that the box itself goes by."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import LimitOutcome
from gateway.ocpp import actions as act
from gateway.ocpp.box_clock import KEPT, BoxClock
from gateway.ocpp.times import parse_utc, utc_text
from tests.ocpp.bench import Bench, start, started

HALF_A_DAY_MS = 12 * 3_600_000


def _status(message_id: str, box_ms: int) -> list[Any]:
    said = {"connectorId": 1, "errorCode": "NoError", "status": "Charging", "timestamp": utc_text(box_ms)}
    return [2, message_id, "StatusNotification", said]


def _begin_of_a_limit(bench: Bench, limit_ma: int = 0) -> int:
    bench.take("charger")
    bench.feed(act.SetLimit(1, 1, limit_ma, 120, raising=False))
    [asked] = [frame for frame in bench.take("charger") if frame[2] == "SetChargingProfile"]
    begin_ms = parse_utc(asked[3]["csChargingProfiles"]["chargingSchedule"]["startSchedule"])
    assert begin_ms is not None
    return begin_ms + 30_000


def _charging(off_ms: int, *, sure: bool) -> Bench:
    """A car charges; our clock is off by so much, the box's is right."""
    bench = Bench(ask_status=True).accepted()
    bench.off_ms, bench.sure = off_ms, sure
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    return bench


@pytest.mark.parametrize("off_ms", [HALF_A_DAY_MS, -HALF_A_DAY_MS])
def test_a_limit_begins_now_for_the_box_though_our_clock_is_half_a_day_off(off_ms: int) -> None:
    """It began half a day later, or had ended before it came: the box charged on by its fallback."""
    bench = _charging(off_ms, sure=False)
    for number in range(KEPT):
        bench.say("charger", _status(f"t{number}", bench.utc_ms))
    assert abs(_begin_of_a_limit(bench) - bench.utc_ms) <= 1000


def test_a_limit_below_the_fallback_waits_until_somebody_has_told_the_time() -> None:
    """Seed 10099: three days ahead, 0 A began three days later for the box, and ended the 0 A that held."""
    bench = _charging(HALF_A_DAY_MS, sure=False)
    bench.open("charger")  # what it said before does not count on a new line
    bench.take("charger")
    bench.feed(act.SetLimit(7, 1, 0, 120, raising=False))
    [asked] = bench.take("charger")
    assert (asked[2], bench.limits[7]) == ("TriggerMessage", LimitOutcome.ABSENT)
    bench.say("charger", [3, asked[1], {"status": "Accepted"}])
    bench.say("charger", _status("t9", bench.utc_ms))
    assert abs(_begin_of_a_limit(bench) - bench.utc_ms) <= 1000


def test_a_limit_of_the_fallback_and_more_is_safe_at_any_time() -> None:
    """A box for which it has not begun draws its fallback, which is no more."""
    bench = _charging(HALF_A_DAY_MS, sure=False)
    bench.open("charger")
    bench.take("charger")
    bench.feed(act.SetLimit(7, 1, 16_000, 120, raising=False))
    [asked] = bench.take("charger")
    bench.say("charger", [3, asked[1], {"status": "Accepted"}])
    assert (asked[2], bench.limits[7]) == ("SetChargingProfile", LimitOutcome.CONFIRMED)


def test_what_the_box_says_does_not_count_where_our_clock_is_known_to_be_right() -> None:
    """Boxes write local time as if it were UTC, and know better by themselves."""
    bench = _charging(0, sure=True)
    bench.say("charger", _status("t1", bench.utc_ms + 7_200_000))
    assert abs(_begin_of_a_limit(bench) - bench.utc_ms) <= 1000


def test_after_a_boot_only_what_the_box_says_since_counts() -> None:
    """It was told another time with the answer to its boot."""
    bench = _charging(HALF_A_DAY_MS, sure=False)
    bench.say("charger", _status("t1", bench.utc_ms))
    bench.say("charger", [2, "b2", "BootNotification", {"chargePointVendor": "x", "chargePointModel": "y"}])
    bench.say("csms", [3, "b2", {"status": "Accepted", "currentTime": utc_text(bench.utc_ms), "interval": 300}])
    assert abs(_begin_of_a_limit(bench, 16_000) - bench.utc_ms - HALF_A_DAY_MS) <= 1000


def test_what_a_box_kept_and_sends_later_does_not_turn_its_clock_back() -> None:
    clock = BoxClock()
    clock.heard(1_000_000, act.Now(0, 10.0, sure=False))
    clock.heard(400_000, act.Now(0, 11.0, sure=False))
    assert clock.now_ms(act.Now(0, 20.0, sure=False)) == 1_010_000
    clock.heard(None, act.Now(0, 21.0, sure=False))
    assert clock.now_ms(act.Now(5_000_000, 22.0, sure=False)) == 1_012_000, "no step of ours moves it"


def test_a_box_that_is_set_back_is_followed_after_three_messages() -> None:
    clock = BoxClock()
    for said_ms in (9_000_000, 1_000_000, 1_001_000, 1_002_000):
        clock.heard(said_ms, act.Now(0, said_ms / 1000 if said_ms < 9_000_000 else 999.0, sure=False))
    assert clock.now_ms(act.Now(0, 1003.0, sure=False)) == 1_003_000
