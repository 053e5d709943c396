"""The composite of charging profiles, as OCPP 1.6 section 3.13 defines it."""

from __future__ import annotations

from random import Random

import pytest

from simulators.clock import iso
from simulators.profiles import Profile, clear, limit_ma, limit_until, put, refusal

NOW_MS = 1_781_343_000_000


def made(purpose, limit, *, identity=1, stack=0, connector=1, received_ms=NOW_MS, unit="A", kind="Absolute", **more):  # type: ignore[no-untyped-def]
    schedule = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
        **{key: more.pop(key) for key in ("duration", "startSchedule", "chargingSchedulePeriod") if key in more},
    }
    text = {
        "chargingProfileId": identity,
        "stackLevel": stack,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
        **more,
    }
    return Profile(connector, received_ms, text)


def composite(*profiles, at_ms=NOW_MS, began_ms=NOW_MS):  # type: ignore[no-untyped-def]
    return limit_ma(profiles, at_ms, max_ma=16_000, began_ms=began_ms)


def test_without_profiles_the_box_gives_its_maximum():
    assert composite() == 16_000


def test_a_transaction_profile_overrides_the_default_and_only_in_a_transaction():
    default, mine = made("TxDefaultProfile", 6), made("TxProfile", 12, identity=2)
    assert composite(default, mine) == 12_000
    assert composite(default, mine, began_ms=None) == 6_000


def test_the_highest_stack_level_leads_until_it_ends():
    low, high = made("TxProfile", 8), made("TxProfile", 12, identity=2, stack=3, duration=60)
    assert composite(low, high) == 12_000
    assert composite(low, high, at_ms=NOW_MS + 60_000) == 8_000


def test_the_maximum_of_the_box_caps_everything():
    assert composite(made("ChargePointMaxProfile", 7, connector=0), made("TxProfile", 12, identity=2)) == 7_000


@pytest.mark.parametrize(("phases", "expected"), [(1, 16_000), (3, 10_000)])
def test_watts_are_shared_by_the_phases(phases, expected):
    periods = [{"startPeriod": 0, "limit": 6900, "numberPhases": phases}]
    assert composite(made("TxProfile", 0, unit="W", chargingSchedulePeriod=periods)) == expected


def test_periods_follow_each_other_from_the_start_of_the_schedule():
    periods = [{"startPeriod": 0, "limit": 6}, {"startPeriod": 300, "limit": 10}]
    profile = made("TxProfile", 0, chargingSchedulePeriod=periods, startSchedule=iso(NOW_MS))
    assert composite(profile, at_ms=NOW_MS - 1000) == 16_000
    assert composite(profile, at_ms=NOW_MS + 299_000) == 6_000
    assert composite(profile, at_ms=NOW_MS + 300_000) == 10_000


def test_a_relative_profile_counts_from_its_arrival_in_a_running_transaction():
    profile = made("TxProfile", 9, kind="Relative", duration=120, received_ms=NOW_MS + 500_000)
    assert composite(profile, at_ms=NOW_MS + 619_000) == 9_000
    assert composite(profile, at_ms=NOW_MS + 620_000) == 16_000


def test_a_daily_profile_comes_again():
    profile = made(
        "TxDefaultProfile", 6, kind="Recurring", recurrencyKind="Daily", duration=3600, startSchedule=iso(NOW_MS)
    )
    assert composite(profile, at_ms=NOW_MS + 2 * 86_400_000 + 3_599_000) == 6_000
    assert composite(profile, at_ms=NOW_MS + 2 * 86_400_000 + 3_600_000) == 16_000


def test_validity_bounds_a_profile():
    profile = made("TxDefaultProfile", 6, validFrom=iso(NOW_MS + 1000), validTo=iso(NOW_MS + 2000))
    assert [composite(profile, at_ms=NOW_MS + ms) for ms in (0, 1000, 2000)] == [16_000, 6_000, 16_000]


def test_a_new_profile_replaces_the_one_with_its_purpose_and_level():
    profiles: list[Profile] = []
    put(profiles, made("TxProfile", 8, identity=1))
    put(profiles, made("TxProfile", 9, identity=2))
    put(profiles, made("TxDefaultProfile", 6, identity=3))
    assert [profile.id for profile in profiles] == [2, 3]


def test_clearing_takes_what_is_named_and_says_how_many():
    profiles = [made("TxProfile", 8, identity=1), made("TxDefaultProfile", 6, identity=2)]
    assert clear(profiles, {"id": 9}) == 0
    assert clear(profiles, {"chargingProfilePurpose": "TxProfile"}) == 1
    assert clear(profiles, {}) == 1


@pytest.mark.parametrize(
    ("profile", "transaction", "why"),
    [
        (made("TxProfile", 8), None, "TxProfile without a transaction"),
        (made("TxProfile", 8, transactionId=4), 5, "TxProfile for transaction 4, running is 5"),
        (made("ChargePointMaxProfile", 8), 5, "ChargePointMaxProfile belongs to connector 0"),
        (made("Nonsense", 8), 5, "unknown purpose Nonsense"),
        (made("TxProfile", 8, transactionId=5), 5, None),
    ],
)
def test_what_a_box_refuses_it_says_why(profile, transaction, why):
    assert refusal(profile.connector, profile.text, transaction) == why


@pytest.mark.parametrize("seed", range(30))
def test_a_limit_stays_for_as_long_as_is_said(seed):
    random = Random(seed)
    profiles = [
        made(
            purpose,
            8,
            identity=identity,
            stack=identity,
            kind=random.choice(("Absolute", "Relative", "Recurring")),
            startSchedule=iso(NOW_MS + random.randrange(-90_000, 5000)),
            duration=random.randrange(1, 20),
            validTo=iso(NOW_MS + random.randrange(1, 20_000)),
            chargingSchedulePeriod=[
                {"startPeriod": 0, "limit": 8},
                {"startPeriod": random.randrange(1, 9), "limit": 7},
            ],
        )
        for identity, purpose in enumerate(("TxProfile", "TxDefaultProfile", "ChargePointMaxProfile"))
    ]
    at_ms = NOW_MS
    while at_ms < NOW_MS + 20_000:
        limit, until_ms = limit_until(profiles, at_ms, max_ma=16_000, began_ms=NOW_MS)
        last_ms = int(min(until_ms, NOW_MS + 20_000))
        assert last_ms > at_ms
        for later_ms in (at_ms, (at_ms + last_ms) // 2, last_ms - 1):
            assert composite(*profiles, at_ms=later_ms) == limit
        at_ms = last_ms
