"""Quarter hours of a small house: the worked examples of the split, gaps, kills, corrections."""

from __future__ import annotations

import json
from typing import Any


def share(body: dict[str, Any], who: str) -> dict[str, Any]:
    return next(one for one in body["shares"] if one["participant"] == who)


async def test_example_2_one_session_over_three_intervals(house: Any) -> None:
    """Solar, HT and NT of a session sum to its registers, interval by interval pro rata with flat and common rest."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_000, 600), pv=(0, 51_800), flat=(20_400, None), m1=(7_700, None))
        await house.boundary("09:45:00", grid=(100_300, 600), pv=(0, 53_300), flat=(20_850, None), m1=(8_900, None))
        house.at("09:59:00")
        house.meters.registers["m1"] = (10_650, None)
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("10:00:00", grid=(102_700, 600), flat=(21_350, None))
    first, second, third = (await house.bodies("interval.v1"))[1:]
    assert (first["solar_wh"], second["solar_wh"], third["solar_wh"]) == (1200, 1500, 0)
    assert [one["sessions"][0]["solar_wh"] for one in (first, second, third)] == [700, 1000, 0]
    assert (share(second, "flat")["solar_wh"], share(second, "common")["solar_wh"]) == (375, 125)
    assert (share(second, "flat")["grid_wh"], share(second, "common")["grid_wh"]) == (75, 25)
    [split] = await house.bodies("split.v1")
    assert split["classes_wh"] == {"HT": 1950}
    assert split["solar_wh"] == 1700
    assert split["energy_wh"] == 3650
    assert split["state"] == "final"
    [end] = await house.bodies("session.end.v1")
    assert end["energy_wh"] == 3650
    assert end["end_wh"] - end["begin_wh"] == 3650
    assert [one["state"] for one in (first, second, third)] == ["final"] * 3


async def test_the_first_interval_of_all_is_incomplete_and_billed_to_nobody(house: Any) -> None:
    """What flowed before the first boundary is known to no meter: no share, the reason in words, sessions as grid."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:15:00", m1=(7_200, None))
    [body] = await house.bodies("interval.v1")
    assert body["state"] == "provisional"
    assert body["shares"] == []
    assert body["at_start"]["m1"] is None
    assert "meter m1: no reading at the start" in body["missing"]
    assert [(one["wh"], one["solar_wh"]) for one in body["sessions"]] == [(200, 0)]


async def test_example_4_a_missing_boundary_is_estimated_when_the_next_is_there(house: Any) -> None:
    """Provisional at once; corrected with flagged pieces that sum to the true registers; the split gets a version."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.meters.silent = {"m1"}
        await house.boundary("09:30:00", grid=(101_500, 0))
        house.meters.silent = set()
        await house.boundary("09:45:00", grid=(103_000, 0), m1=(8_001, None))
        await house.until("SELECT count(*) FROM interval WHERE state = 'corrected'", 1)
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("10:00:00")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 1)
    bodies = [one for one in await house.bodies("interval.v1") if one["sessions"] or one["version"] > 1]
    corrected, next_one = bodies[0], bodies[1]
    if corrected["k"] > next_one["k"]:
        corrected, next_one = next_one, corrected
    assert [one["sessions"][0]["wh"] for one in (corrected, next_one)] == [500, 501]
    assert share(corrected, "box1")["estimated"]
    assert share(next_one, "box1")["estimated"]
    assert corrected["at_end"]["m1"] is None
    [split] = await house.bodies("split.v1")
    assert (split["energy_wh"], split["classes_wh"]) == (1001, {"HT": 1001})


async def test_boundaries_that_passed_while_the_gateway_was_dead_are_made_good(house: Any) -> None:
    """Totals come from registers: a session over a dead hour keeps its energy, to the watt-hour."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_000, 100), pv=(0, 51_000), m1=(7_500, None))
    house.at("10:20:00")
    async with house.running():
        await house.boundary("10:30:00", grid=(104_000, 100), pv=(0, 55_000), flat=(20_800, None), m1=(11_500, None))
        await house.until("SELECT count(*) FROM interval WHERE state = 'provisional' AND version > 0", 1)
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("10:45:00")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 1)
    [split] = await house.bodies("split.v1")
    assert split["energy_wh"] == 4500
    assert split["solar_wh"] + sum(split["classes_wh"].values()) == 4500
    rows = await house.rows("SELECT k, result FROM interval WHERE result IS NOT NULL ORDER BY k")
    bodies = [json.loads(row[1]) for row in rows][1:]
    assert sum(one["import_wh"] for one in bodies) == 4000
    for who, total in (("flat", 800), ("box1", 4500)):
        assert sum(share(one, who)["wh"] for one in bodies) == total


async def test_carry_is_handed_on_and_a_correction_adds_its_difference_by_name(house: Any) -> None:
    """carry before = carry after of the interval before + adjustment, for everybody, in every interval in force."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", grid=(100_001, 0), pv=(0, 50_100), flat=(20_033, None), m1=(7_007, None))
        house.meters.silent = {"grid"}
        await house.boundary("09:45:00", pv=(0, 50_200), flat=(20_066, None), m1=(7_014, None))
        house.meters.silent = set()
        await house.boundary("10:00:00", grid=(100_003, 0), pv=(0, 50_301), flat=(20_100, None), m1=(7_025, None))
        await house.until("SELECT count(*) FROM interval WHERE state = 'corrected'", 1)
        await house.boundary("10:15:00", grid=(100_004, 0), pv=(0, 50_409), flat=(20_131, None), m1=(7_039, None))
    rows = await house.rows("SELECT result FROM interval WHERE version > 0 ORDER BY k")
    bodies = [json.loads(row[0]) for row in rows][1:]
    assert [one["version"] for one in bodies] == [1, 2, 1, 1]
    assert any(one["adjustment_nano_wh"] for one in bodies[3]["shares"])
    for who in ("flat", "box1", "common"):
        shares = [share(one, who) for one in bodies]
        difference = sum(one["carry_before_nano_wh"] - one["carry_after_nano_wh"] for one in shares)
        assert difference == shares[0]["carry_before_nano_wh"] - shares[-1]["carry_after_nano_wh"]
        for body, one in zip(bodies, shares, strict=True):
            exact = body["solar_wh"] * one["wh"] * 10**9 // body["consumption_wh"]
            moved = one["carry_before_nano_wh"] - one["carry_after_nano_wh"]
            assert one["solar_wh"] * 10**9 - exact == moved
