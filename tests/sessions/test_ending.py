"""A session whose end register does not come: told after a quarter hour, ended where its meter never says its name."""

from __future__ import annotations

from typing import Any


async def stopped_without_a_name(house: Any) -> None:
    """It began on a meter with a serial number, which answers without it when the car has stopped."""
    await house.boundary("09:15:00")
    await house.start(1)
    await house.until("SELECT count(*) FROM session", 1)
    house.at("09:20:00")
    house.meters.serials["m1"] = None
    house.meters.registers["m1"] = (7_400, None)
    await house.stop(1)
    await house.until("SELECT count(*) FROM session WHERE state = 'stopped'", 1)


def told(house: Any) -> list[Any]:
    return [event for event in house.events if event.kind == "end_register_waits"]


async def look(house: Any, text: str) -> None:
    """Time has come there; the meter answers, the tracker looks."""
    house.at(text)
    house.meters.poll("m1")
    house.tracker.notify()


async def settled(house: Any) -> None:
    """The tracker has looked at what was there when this began."""
    count = len(house.meters.asked)
    house.tracker._asked.clear()
    house.tracker.notify()
    while len(house.meters.asked) == count:
        await house.rows("SELECT 1")


async def test_a_meter_that_does_not_say_its_name_is_told_after_a_quarter_hour_and_once(house: Any) -> None:
    async with house.running():
        await stopped_without_a_name(house)
        await look(house, "09:34:00")
        await settled(house)
        assert told(house) == []
        await look(house, "09:35:30")
        await settled(house)
        await look(house, "09:50:00")
        await settled(house)
    [event] = told(house)
    assert "answers without its serial number SN-m1" in event.cause
    assert "a person decides" in event.next_step
    assert event.keep


async def test_it_ends_a_day_after_its_stop_without_a_register_and_a_person_decides(house: Any) -> None:
    """The register may be another meter's: it is never taken, and the period does not stay open for it."""
    async with house.running():
        await stopped_without_a_name(house)
        await look(house, "2026-04-16T09:19:00Z")
        await settled(house)
        assert await house.rows("SELECT state FROM session") == [("stopped",)]
        await look(house, "2026-04-16T09:20:30Z")
        await house.until("SELECT state FROM session", "ended")
        assert (await house.tracker.status())["unbillable"] == 1
    rows = await house.rows("SELECT billable, end_wh, unbillable_reason, charger_end_wh FROM session")
    assert rows == [(0, None, "no_end_register", 9_000)]


async def test_the_first_reading_that_names_the_meter_still_ends_it(house: Any) -> None:
    """Also hours later: nothing but its name was missing."""
    async with house.running():
        await stopped_without_a_name(house)
        house.meters.serials["m1"] = "SN-m1"
        await look(house, "15:00:00")
        await house.until("SELECT state FROM session", "ended")
    assert await house.rows("SELECT billable, end_wh - begin_wh FROM session") == [(1, 400)]


async def test_a_silent_meter_is_told_and_waited_for(house: Any) -> None:
    """Its register says what flowed whenever it comes back; nothing is put in its place."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:20:00")
        house.meters.silent = {"m1"}
        await house.stop(1)
        await house.until("SELECT count(*) FROM session WHERE state = 'stopped'", 1)
        await look(house, "2026-04-18T09:00:00Z")
        await settled(house)
        [event] = told(house)
        assert "has given no end register since" in event.cause
        house.meters.silent = set()
        house.meters.registers["m1"] = (7_900, None)
        await look(house, "2026-04-18T09:10:00Z")
        await house.until("SELECT state FROM session", "ended")
    assert await house.rows("SELECT billable, end_wh - begin_wh FROM session") == [(1, 900)]
