"""Charging profiles: the composite of the CSMS's, and the two of our own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.ocpp.dialect_files import load_dialect
from gateway.ocpp.profiles import BadProfileError, Profiles, fallback_profile, limit_profile, read_profile
from gateway.ocpp.times import parse_utc

AT = parse_utc("2026-06-13T12:00:00Z") or 0


def profile(profile_id: int = 1, purpose: str = "TxDefaultProfile", level: int = 0, **more: Any) -> dict[str, Any]:
    periods = more.pop("periods", [(0, 10)])
    schedule = {
        "chargingRateUnit": more.pop("unit", "A"),
        "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in periods],
        **more.pop("schedule", {}),
    }
    return {
        "chargingProfileId": profile_id, "stackLevel": level, "chargingProfilePurpose": purpose,
        "chargingProfileKind": more.pop("kind", "Absolute"), "chargingSchedule": schedule, **more,
    }  # fmt: skip


def store(*profiles: tuple[int, dict[str, Any]]) -> Profiles:
    kept = Profiles(())
    for connector, one in profiles:
        new = read_profile(connector, one, AT)
        kept.put(new, kept.replaced_by(new))
    return kept


def test_the_composite_takes_the_minimum_of_the_whole_and_the_leading_one() -> None:
    """Highest level leads in a purpose, Tx overrides TxDefault, ChargePointMax is a minimum (1.6 section 3.13.3)."""
    kept = store(
        (0, profile(1, "ChargePointMaxProfile", periods=[(0, 20)])),
        (0, profile(2, level=0, periods=[(0, 8)])),
        (1, profile(3, level=1, periods=[(0, 25)])),
    )
    assert kept.limit_ma(1, AT, None) == 20_000
    assert kept.limit_ma(2, AT, None) == 8_000
    kept.put(read_profile(1, profile(4, "TxProfile", periods=[(0, 6.1)]), AT))
    assert kept.limit_ma(1, AT, AT) == 6_100
    assert kept.limit_ma(1, AT, None) == 20_000, "a TxProfile needs a transaction"
    assert Profiles(()).limit_ma(1, AT, None) is None


@pytest.mark.parametrize(
    ("more", "offset_s", "limit_ma"),
    [
        ({"periods": [(0, 10), (60, 6)], "schedule": {"startSchedule": "2026-06-13T12:00:00Z"}}, 59, 10_000),
        ({"periods": [(0, 10), (60, 6)], "schedule": {"startSchedule": "2026-06-13T12:00:00Z"}}, 60, 6_000),
        ({"schedule": {"startSchedule": "2026-06-13T12:00:00Z", "duration": 100}}, 100, None),
        ({"schedule": {"startSchedule": "2026-06-13T12:00:10Z"}}, 9, None),
        ({"validTo": "2026-06-13T12:01:00Z"}, 60, None),
        ({"validFrom": "2026-06-13T12:01:00Z"}, 59, None),
        ({"kind": "Relative", "periods": [(0, 10), (30, 7)]}, 30, 7_000),
        ({"unit": "W", "periods": [(0, 6900)]}, 0, 10_000),
        (
            {"kind": "Recurring", "recurrencyKind": "Daily", "periods": [(0, 10), (43_200, 7)],
             "schedule": {"startSchedule": "2026-06-01T00:00:00Z", "duration": 86_400}}, 0, 7_000,
        ),
    ],
)  # fmt: skip
def test_a_schedule_holds_where_it_says(more: dict[str, Any], offset_s: int, limit_ma: int | None) -> None:
    """Periods, duration, validity, relative to the transaction's begin, recurring, W over three phases."""
    assert store((1, profile(**more))).limit_ma(1, AT + offset_s * 1000, AT) == limit_ma


def test_the_composite_schedule_tells_what_the_driver_gets() -> None:
    """Rule R53: never above our own limit, with each change in the asked span."""
    periods = [(0, 16), (60, 8), (120, 32)]
    kept = store((1, profile(periods=periods, schedule={"startSchedule": "2026-06-13T12:00:00Z"})))
    assert list(kept.composite(1, AT, 600, AT, 10_000)) == [(0, 10_000), (60, 8_000), (120, 10_000)]
    assert list(kept.composite(1, AT, 60, AT, 10_000)) == [(0, 10_000)]


def test_a_profile_replaces_its_like_and_filters_clear_what_they_name() -> None:
    """OCPP 1.6 sections 3.13.2 and 5.3."""
    kept = store((1, profile(1)), (2, profile(2)), (1, profile(3, level=1)))
    kept.put(*(lambda new: (new, kept.replaced_by(new)))(read_profile(1, profile(9), AT)))
    assert kept.matching({}) == (2, 3, 9)
    assert kept.matching({"connectorId": 1}) == (3, 9)
    assert kept.matching({"stackLevel": 1}) == (3,)
    assert kept.matching({"id": 2, "connectorId": 1}) == (2,)
    assert kept.matching({"chargingProfilePurpose": "TxProfile"}) == ()


@pytest.mark.parametrize(
    ("connector", "bad"),
    [
        (1, None), (1, {}), (1, profile(purpose="Other")), (1, profile(purpose="ChargePointMaxProfile")),
        (0, profile(purpose="TxProfile")), (1, profile(kind="Sometimes")), (1, profile(periods=[])),
        (1, profile(unit="kW")), (1, profile(level=-1)), (1, profile(periods=[(0, "10")])),
        (1, profile(periods=[(0, True)])), (1, profile(periods=[(0, -1)])),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_be_kept_is_refused(connector: int, bad: Any) -> None:
    """Rule R51: never a constant Accepted."""
    with pytest.raises(BadProfileError):
        read_profile(connector, bad, AT)


def test_our_limit_ends_by_itself_and_is_rounded_down_to_a_tenth() -> None:
    """It begins a little earlier, for a box whose clock is behind, and ends duration_s from now."""
    one = json.loads(limit_profile(2, 7, 9_999, 3, load_dialect("default"), AT + 400, 120))
    schedule = one["chargingSchedule"]
    begin = parse_utc(schedule["startSchedule"]) or 0
    assert begin + schedule["duration"] * 1000 == AT + 120_000
    assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 9.9}]
    assert (one["chargingProfilePurpose"], one["transactionId"]) == ("TxProfile", 7)


def test_our_profiles_follow_the_dialect() -> None:
    """numberPhases where a model needs it; a relative one ends by validTo."""
    garo = load_dialect("garo")
    assert json.loads(fallback_profile(1, 6000, 1, garo))["chargingSchedule"]["chargingSchedulePeriod"] == [
        {"startPeriod": 0, "limit": 6, "numberPhases": 1}
    ]
    relative = json.loads(limit_profile(1, 7, 6000, 1, replace(garo, profile_kind="Relative"), AT, 120))
    assert relative["validTo"] == "2026-06-13T12:02:00.000Z"
    assert "startSchedule" not in relative["chargingSchedule"]


def test_our_fallback_and_our_limit_have_ids_of_their_own() -> None:
    """One does not replace the other, at any connector."""
    default = load_dialect("default")
    ids = [json.loads(fallback_profile(n, 6000, 3, default))["chargingProfileId"] for n in range(1, 5)]
    ids += [json.loads(limit_profile(n, 1, 6000, 3, default, AT, 60))["chargingProfileId"] for n in range(1, 5)]
    assert len(set(ids)) == 8
