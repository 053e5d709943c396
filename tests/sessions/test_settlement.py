"""Quarter hours of a small house: the worked examples of the split, gaps, kills, corrections."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.model import StoreError, StoreProblem, TimeQuality
from gateway.sessions.settlement import Settlement
from gateway.store import intervals


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


async def test_the_first_interval_of_all_starts_at_the_first_registers_and_is_final(house: Any) -> None:
    """What flowed before is known to no meter and billed to nobody; from there everything adds up, and it says so."""
    async with house.running():
        house.meters.poll()
        house.at("09:12:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:15:00", grid=(100_150, 0), pv=(0, 50_200), flat=(20_100, None), m1=(7_200, None))
    [body] = await house.bodies("interval.v1")
    assert (body["state"], body["version"]) == ("final", 1)
    assert body["missing"][0] == "partial: starts at the first readings"
    assert "meter m1: counts from its first reading, 7000 Wh" in body["missing"]
    assert set(body["at_start"].values()) == {None}
    assert body["begins"]["flat"]["import_wh"] == 20_000
    assert (body["consumption_wh"], body["solar_wh"], body["import_wh"]) == (350, 200, 150)
    assert {one["participant"]: one["wh"] for one in body["shares"]} == {"flat": 100, "box1": 200, "common": 50}
    assert [(one["wh"], one["solar_wh"] + one["grid_wh"]) for one in body["sessions"]] == [(200, 200)]


async def test_before_the_first_reading_nothing_is_metered_and_nothing_is_missing(house: Any) -> None:
    """The gateway came up with dead buses: the interval is final with nothing in it."""
    async with house.running():
        await house.boundary("09:15:00")
    [body] = await house.bodies("interval.v1")
    assert (body["state"], body["consumption_wh"]) == ("final", 0)
    assert body["missing"][0].startswith("partial: ")


async def test_a_meter_that_is_new_in_the_house_counts_from_its_first_reading(house: Any) -> None:
    """It was built in between two quarter hours: the others keep theirs, the interval is final."""
    async with house.running():
        house.meters.silent = {"flat"}
        house.meters.poll()
        await house.boundary("09:15:00")
        house.meters.silent = set()
        house.at("09:20:00")
        house.meters.poll()
        await house.boundary("09:30:00", grid=(100_500, 0), flat=(20_300, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    waits, *later = await house.bodies("interval.v1")
    assert (waits["state"], waits["missing"]) == ("provisional", ["meter flat: not read yet"])
    [body] = [one for one in later if one["k"] == waits["k"] + 1]
    [known] = [one for one in later if one["k"] == waits["k"]]
    assert (known["state"], known["missing"]) == ("corrected", ["meter flat: read for the first time after this"])
    assert body["state"] == "final"
    assert list(body["begins"]) == ["flat"]
    assert share(body, "flat")["wh"] == 300


async def test_a_house_whose_grid_meter_comes_late_has_no_balance_before(house: Any) -> None:
    """What the box counted meanwhile could come from anywhere: no share, the reason in words, sessions as grid."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:15:00", m1=(7_200, None))
    [body] = await house.bodies("interval.v1")
    assert body["state"] == "final"
    assert body["shares"] == []
    assert body["at_start"]["m1"] is None
    assert "meter grid: read for the first time after others, no balance before that" in body["missing"]
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
        await house.until("SELECT count(*) FROM interval WHERE state = 'provisional' AND version > 0", 0)
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


async def test_example_3_two_users_in_one_quarter_hour(house: Any) -> None:
    """Solar of the box by what each took: 97 and 303 of 400."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        house.at("09:18:00")
        house.meters.registers["m1"] = (7_178, None)
        await house.stop(1)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
        house.at("09:22:00")
        await house.start(2, card="CARD-B")
        await house.until("SELECT count(*) FROM session", 2)
        await house.boundary("09:30:00", grid=(100_333, 0), pv=(0, 50_400), m1=(7_733, None))
    body = (await house.bodies("interval.v1"))[-1]
    assert sorted((one["wh"], one["solar_wh"]) for one in body["sessions"]) == [(178, 97), (555, 303)]
    [split] = await house.bodies("split.v1")
    assert (split["energy_wh"], split["solar_wh"], split["classes_wh"]) == (178, 97, {"HT": 81})


async def test_the_class_changes_on_saturday_at_one(house: Any) -> None:
    """HT until 13:00 local, NT after: two quarter hours of one session, two classes."""
    house.clock.now_ms += 3 * 86_400_000 + 5_400_000  # Saturday 2026-04-18, 12:40 in Zurich
    async with house.running():
        await house.boundary("2026-04-18T10:45:00Z")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("2026-04-18T11:00:00Z", grid=(100_500, 0), m1=(7_500, None))
        house.at("2026-04-18T11:10:00Z")
        house.meters.registers["m1"] = (7_700, None)
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("2026-04-18T11:15:00Z", grid=(100_700, 0))
    [split] = await house.bodies("split.v1")
    assert split["classes_wh"] == {"HT": 500, "NT": 200}


async def test_a_session_that_waits_keeps_its_interval_provisional(house: Any) -> None:
    """Stopped before the boundary, no end register yet: corrected as soon as it is there, and only then the split."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:29:00")
        house.meters.silent = {"m1"}
        await house.stop(1)
        await house.until("SELECT state FROM session", "stopped")
        house.at("09:30:00")
        await house.boundary("09:30:00", grid=(100_600, 0))
        house.at("09:31:00")
        house.meters.silent = set()
        house.meters.registers["m1"] = (7_600, None)
        house.meters.poll("m1")
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("09:45:00")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 1)
    versions = [(one["version"], one["state"]) for one in (await house.bodies("interval.v1"))[1:]]
    assert versions[0] == (1, "provisional")
    assert (2, "corrected") in versions
    [split] = await house.bodies("split.v1")
    assert (split["energy_wh"], split["state"]) == (600, "final")


async def test_what_an_unbillable_session_took_moves_to_energy_outside_sessions(house: Any) -> None:
    """Settled as a session while it ran; when it ends without a stop a new version names it free charging."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_900, 0), m1=(7_900, None))
        await house.start(2)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
        await house.boundary("09:45:00", grid=(101_000, 0), m1=(8_000, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    first = [one for one in await house.bodies("interval.v1") if one["start"] == "2026-04-15T09:15:00.000Z"]
    assert [(one["version"], len(one["sessions"])) for one in first] == [(1, 1), (2, 0)]
    assert [(one["wh"], one["name"], one["owner"]) for one in first[-1]["outside"]] == [(900, "free_charging", "box1")]
    assert await house.bodies("split.v1") == []


async def test_an_interval_waits_for_the_journal_to_be_read(house: Any) -> None:
    """A start that nobody has taken in yet must not turn its energy into free charging."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.journal("StartTransaction", {"connectorId": 1, "idTag": "CARD-A"}, read="m1")  # not answered yet
        house.at("09:30:00")
        house.meters.registers |= {"grid": (100_900, 0), "m1": (7_900, None)}
        house.meters.poll()
        k = house.clock.now_ms // 900_000
        await house.until("SELECT max(k) FROM interval", k)
        await house.rows("SELECT 1")
        assert await house.rows("SELECT version FROM interval WHERE k = ?", k - 1) == [(0,)]
        await house.answer(1, tx=5)
        await house.until(f"SELECT version FROM interval WHERE k = {k - 1}", 1)
    body = (await house.bodies("interval.v1"))[-1]
    assert [one["wh"] for one in body["sessions"]] == [900]


async def test_carry_starts_at_zero_with_a_billing_period(house: Any) -> None:
    """Local midnight of the first of May."""
    house.clock.now_ms += 15 * 86_400_000 + 12 * 3_600_000 + 1_800_000  # 2026-04-30, 23:40 in Zurich
    async with house.running():
        await house.boundary("2026-04-30T21:45:00Z")
        await house.boundary("2026-04-30T22:00:00Z", grid=(100_001, 0), pv=(0, 50_100), flat=(20_033, None))
        await house.boundary("2026-04-30T22:15:00Z", grid=(100_002, 0), pv=(0, 50_200), flat=(20_066, None))
    before, after = (await house.bodies("interval.v1"))[1:]
    assert any(one["carry_after_nano_wh"] for one in before["shares"])
    assert all(one["carry_before_nano_wh"] == 0 for one in after["shares"])


async def test_example_6_a_meter_is_swapped(house: Any) -> None:
    """178 + 190 = 368: both readings of the swap are kept, the interval is settled and says so."""
    async with house.running():
        house.meters.registers["m1"] = (12_345_500, None)
        await house.boundary("09:15:00")
        house.at("09:21:00")
        house.meters.registers["m1"] = (12_345_678, None)
        house.meters.poll("m1")
        house.at("09:23:00")
        house.meters.serials["m1"] = "SN-new"
        house.meters.registers["m1"] = (17, None)
        house.meters.poll("m1")
        await house.boundary("09:30:00", grid=(100_400, 0), m1=(207, None))
    body = (await house.bodies("interval.v1"))[-1]
    assert share(body, "box1")["wh"] == 368
    assert body["state"] == "final"
    assert "swapped, SN-m1 by SN-new" in body["missing"][0]
    assert any(event.kind == "meter_swapped" and event.keep for event in house.events)


async def test_of_an_exchanged_meter_without_a_serial_number_a_session_takes_its_own_energy_only(house: Any) -> None:
    """The session begins 20 s after the quarter hour of the exchange, which is looked at again while it goes on."""
    house.meters.serials["m1"] = None
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:20:00")
        house.meters.registers["m1"] = (7_900, None)
        house.meters.poll("m1")
        await house.boundary("09:30:00", grid=(100_400, 0), m1=(207, None))
        house.at("09:30:20")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        k = house.clock.now_ms // 900_000 - 1
        await house.db.run(lambda db: intervals.mark_dirty(db, k, k))
        house.settlement._wake.set()
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        house.at("09:40:00")
        house.meters.registers["m1"] = (500, None)
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("09:45:00", grid=(100_800, 0))
    [split] = await house.bodies("split.v1")
    assert (split["energy_wh"], split["intervals"]) == (293, [k + 1])


async def test_another_level_near_the_range_is_no_rollover_where_the_meter_was_read_just_before(house: Any) -> None:
    """Seed 40010: full at 1 000 000 Wh, no serial number. Over the quarter hour 1 900 Wh look like a rollover; within
    the minute that the new level had to hold they cannot have flowed."""
    house.meters.serials["m1"], house.meters.ranges["m1"] = None, 1_000_000
    house.meters.registers["m1"] = (999_000, None)
    async with house.running():
        await house.boundary("09:15:00")
        for minute in range(16, 30):
            house.at(f"09:{minute}:00")
            house.meters.registers["m1"] = (999_000 if minute < 21 else 900, None)
            house.meters.new_levels = {"m1"} if minute == 21 else set()
            house.meters.poll()
        await house.boundary("09:30:00", grid=(100_400, 0), m1=(950, None))
    body = (await house.bodies("interval.v1"))[-1]
    assert body["missing"] == ["meter m1: swapped or reset, 999000 by 900 Wh; not metered in between"]
    assert (body["state"], share(body, "box1")["wh"]) == ("final", 50)
    assert [(one["meter"], one["wh"]) for one in body["outside"]] == [("m1", 50)]


async def test_a_new_level_between_two_runs_is_named_where_the_boundary_was_missed(house: Any) -> None:
    """Nothing is estimated between two levels, and the sum of both sides is what the meters counted."""
    house.meters.serials["m1"] = None
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:20:00")
        house.meters.registers["m1"] = (7_300, None)
        house.meters.poll()
        house.settlement.notify()
        await house.until("SELECT count(*) FROM meta WHERE key = 'last_readings' AND instr(value, '7300')", 1)
    house.at("09:35:00")
    async with house.running():
        house.meters.registers["m1"], house.meters.new_levels = (90_000, None), {"m1"}
        house.meters.poll()
        await house.boundary("09:45:00", m1=(90_100, None))
    newest = {one["start"]: one for one in await house.bodies("interval.v1")}
    bodies = [newest[f"2026-04-15T09:{minute}:00.000Z"] for minute in (15, 30)]
    told = "the register at 7300 Wh was exchanged for one at 90000 Wh"
    assert [told in " ".join(body["missing"]) for body in bodies] == [True, True]
    assert [[piece["wh"] for piece in body["outside"]] for body in bodies] == [[300], [100]]


async def test_a_clock_that_was_guessed_keeps_the_interval_provisional(house: Any) -> None:
    """The shares are there; that the time is not sure is said."""
    house.clock.quality = TimeQuality.GUESSED
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", grid=(100_100, 0))
    body = (await house.bodies("interval.v1"))[-1]
    assert (body["state"], body["quality"]) == ("provisional", "guessed")
    assert body["shares"]


async def test_status_shows_the_newest_interval_and_the_suns_part(house: Any) -> None:
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", grid=(100_250, 0), pv=(0, 50_750), flat=(20_500, None))
        status = await house.settlement.status()
    assert status == {"last_interval": "2026-04-15T09:15:00.000Z", "solar_share_pct": 75, "provisional": 0}


async def test_what_comes_late_to_a_closed_interval_changes_nothing(house: Any) -> None:
    """A closed period changes only by an explicit act."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00")
        await house.rows("UPDATE interval SET state = 'closed' WHERE version > 0")
        house.at("09:31:00")
        await house.start(1, reading=None, read="m1")
        await house.until("SELECT count(*) FROM session", 1)
    assert await house.rows("SELECT count(*) FROM interval WHERE dirty = 1") == [(0,)]


async def test_a_boundary_that_passed_while_the_disk_was_full_is_taken_from_the_meters_memory(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 156: no row could be written for 47 s, and the boundary that the meters still held was given up."""
    async with house.running():
        await house.boundary("09:15:00")
    full = False
    honest = intervals.add_boundary

    def add_boundary(*arguments: Any) -> None:
        if full:
            raise StoreError(StoreProblem.FULL, "disk full")
        honest(*arguments)

    monkeypatch.setattr(intervals, "add_boundary", add_boundary)
    settlement = Settlement(
        house.site, house.world, house.db, house.who, house.meters, house.events.append, lambda: None
    )
    failing = asyncio.create_task(settlement.run())
    async with asyncio.timeout(5):
        while settlement._next_k is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    full = True
    house.at("09:30:00")
    house.meters.registers |= {"grid": (100_500, 0)}
    house.meters.poll()
    with pytest.raises(StoreError):
        await failing
    house.at("09:30:50")
    full = False
    again = asyncio.create_task(settlement.run())
    await house.until("SELECT count(*) FROM interval WHERE version > 0", 2)
    again.cancel()
    body = (await house.bodies("interval.v1"))[-1]
    assert (body["state"], body["import_wh"]) == ("final", 500)
    assert body["at_end"]["grid"]["import_wh"] == 100_500
