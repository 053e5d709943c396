"""What waits in memory for the disk: held in order, bounded, told; and what a gateway that was down still knows."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.energy.intervals import Known, boundary_of, measured
from gateway.model import Reading, StoreError, StoreProblem, TimeQuality
from gateway.sessions import settlement as settling
from gateway.sessions.boundaries import MAX_HELD, MAX_SINGLE, Boundaries
from gateway.sessions.clock_watch import Step
from gateway.sessions.settlement import Settlement
from gateway.store import intervals

K = 1_973_000


def reading(k: int, wh: int = 100, *, meter: str = "a", after_ms: int = 300, serial: str = "1") -> Reading:
    at_ms = boundary_of(k) + after_ms
    return Reading(meter, at_ms, at_ms + 40, TimeQuality.NTP, wh, serial=serial)


class FullDisk:
    """`intervals.add_boundary` as long as a test says that there is no room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._honest = intervals.add_boundary
        monkeypatch.setattr(intervals, "add_boundary", self._add_boundary)

    def _add_boundary(self, *arguments: Any) -> None:
        if self.full:
            raise StoreError(StoreProblem.FULL, "disk full")
        self._honest(*arguments)


def alone(house: Any) -> Settlement:
    """The settlement, whose task a test starts and sees failing, as `app` does."""
    house.settlement = Settlement(
        house.site, house.world, house.db, house.who, house.meters, house.events.append, lambda: None
    )
    return house.settlement


async def begun(settlement: Settlement) -> asyncio.Task[None]:
    task = asyncio.create_task(settlement.run())
    async with asyncio.timeout(5):
        while settlement._next_k is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    return task


async def test_a_disk_that_is_full_for_two_hours_loses_no_boundary(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine boundaries wait in memory, the meters remember 15 minutes; they are written in order, and it is told."""
    disk = FullDisk(monkeypatch)
    settlement = alone(house)
    task = await begun(settlement)
    await house.boundary("09:15:00")
    disk.full = True
    for number in range(1, 10):
        house.clock.now_ms += 900_000
        house.meters.registers |= {"grid": (100_000 + 100 * number, 0), "flat": (20_000 + 10 * number, None)}
        house.meters.poll()
        with pytest.raises(StoreError):
            await task
        task = asyncio.create_task(settlement.run())
    with pytest.raises(StoreError):
        await task
    disk.full = False
    house.clock.now_ms += 60_000
    task = asyncio.create_task(settlement.run())
    await house.until("SELECT count(*) FROM interval WHERE version > 0", 10)
    task.cancel()
    rows = await house.rows("SELECT result FROM interval WHERE version > 0 ORDER BY k")
    bodies = [json.loads(row[0]) for row in rows][1:]
    assert [(one["state"], one["version"], one["import_wh"]) for one in bodies] == [("final", 1, 100)] * 9
    kinds = [event.kind for event in house.events]
    assert kinds.count("boundaries_wait") == 1
    [written] = [event for event in house.events if event.kind == "boundaries_written"]
    assert (written.data["written"], written.keep) == (9, True)
    assert "boundaries_lost" not in kinds


async def test_what_goes_beyond_the_bound_is_told_at_once_and_in_sum(house: Any) -> None:
    """Two days and three quarter hours: the first one given up is told, and all of them when the disk takes rows."""
    settlement = alone(house)
    task = await begun(settlement)
    await house.boundary("09:15:00")
    task.cancel()
    for _ in range(MAX_HELD + 3):
        house.clock.now_ms += 900_000
        house.meters.poll()
    told = [event for event in house.events if event.kind == "boundaries_lost"]
    assert [event.data["lost"] for event in told] == [1]
    task = asyncio.create_task(settlement.run())
    await house.until("SELECT count(*) FROM interval WHERE version > 0", MAX_HELD + 4)
    task.cancel()
    told = [event for event in house.events if event.kind == "boundaries_lost"]
    assert [event.data["lost"] for event in told] == [1, 3]
    assert told[1].data["first"] == "2026-04-15T09:30:00.000Z"


async def test_a_step_of_the_clock_that_could_not_be_written_is_applied_when_the_disk_takes_it(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time became sure while the disk was full: the readings of this start still move."""
    honest, full = settling.restamp, True

    def restamp(*arguments: Any) -> int:
        if full:
            raise StoreError(StoreProblem.FULL, "disk full")
        return honest(*arguments)

    monkeypatch.setattr(settling, "restamp", restamp)
    house.clock.quality = TimeQuality.GUESSED
    settlement = alone(house)
    task = await begun(settlement)
    await house.boundary("09:15:00")
    house.at("09:16:00")
    house.clock.step(600_000)
    house.clock.quality = TimeQuality.NTP
    settlement.notify()
    with pytest.raises(StoreError):
        await task
    full = False
    again = asyncio.create_task(settlement.run())
    await house.until("SELECT count(*) FROM kept_reading WHERE why = 'restamped'", 4)
    again.cancel()
    assert [event.data["delta_ms"] for event in house.events if event.kind == "clock_step"] == [600_000]


async def test_a_meter_that_is_exchanged_while_the_gateway_is_down_loses_a_minute_at_most(house: Any) -> None:
    """The old meter's 650 Wh since the boundary are the session's; the event says how long nobody measured."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:27:00")
        house.meters.registers["m1"] = (7_650, None)
        house.meters.poll()
        house.settlement.notify()
        await house.until("SELECT count(*) FROM meta WHERE key = 'last_readings' AND instr(value, '7650')", 1)
    house.meters.serials["m1"] = "SN-new"
    house.meters.registers["m1"] = (12, None)
    house.at("09:50:00")
    async with house.running():
        house.meters.poll()
        await house.boundary("10:00:00", m1=(40, None))
    [event] = [event for event in house.events if event.kind == "meter_swapped"]
    assert (event.data["old_wh"], event.data["new_wh"]) == (7_650, 12)
    assert (event.data["from"], event.data["to"]) == ("2026-04-15T09:27:00.000Z", "2026-04-15T09:50:00.000Z")
    body = [one for one in await house.bodies("interval.v1") if one["start"] == "2026-04-15T09:15:00.000Z"][-1]
    gap = "what was counted from 2026-04-15T09:27:00.000Z to 2026-04-15T09:50:00.000Z is not known"
    assert body["missing"] == [f"meter m1: at the end SN-m1 was exchanged for SN-new; {gap}"]
    assert [one["wh"] for one in body["sessions"]] == [650]
    kept = await house.rows("SELECT why FROM kept_reading WHERE meter = 'm1' ORDER BY id")
    assert ("before_swap",) in kept
    assert ("after_swap",) in kept


def newest(bodies: list[dict[str, Any]], start: str) -> dict[str, Any]:
    """The newest version of the quarter hour that begins then."""
    return [one for one in bodies if one["start"][11:16] == start][-1]


async def test_quarter_hours_around_an_exchange_that_nobody_saw_are_final_and_say_why(house: Any) -> None:
    """Nothing more can come: the period closes; what was metered stands as grid energy, the rest is nobody's."""
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:25:00")
        house.meters.registers |= {"grid": (100_400, 0), "m1": (7_400, None)}
        house.meters.poll()
        house.settlement.notify()
        await house.until("SELECT count(*) FROM meta WHERE key = 'last_readings' AND instr(value, '7400')", 1)
    house.meters.serials["m1"] = "SN-new"
    house.meters.registers |= {"grid": (101_600, 0), "m1": (12, None)}
    house.at("09:50:00")
    async with house.running():
        house.meters.poll()
        await house.boundary("10:00:00", grid=(101_700, 0), m1=(40, None))
        await house.boundary("10:15:00", grid=(101_900, 0), m1=(90, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    bodies = await house.bodies("interval.v1")
    for start in ("09:15", "09:30", "09:45"):
        body = newest(bodies, start)
        assert (body["state"], body["consumption_wh"], body["shares"]) == (
            "final" if body["version"] == 1 else "corrected",
            None,
            [],
        )
        assert "SN-m1 was exchanged for SN-new" in body["missing"][0]
    assert newest(bodies, "10:00")["consumption_wh"] == 200
    assert await house.rows("SELECT count(*) FROM interval WHERE state = 'provisional' AND version > 0") == [(0,)]
    told = [one for one in house.events if one.kind == "interval_unknown"]
    assert len(told) == 3
    assert all("stays so" in one.next_step and "exchanged" in one.cause for one in told)


async def test_a_register_that_began_anew_while_nobody_looked_is_final_too(house: Any) -> None:
    """A reset without a serial number: both registers are kept, and no line joins them."""
    house.meters.serials["flat"] = None
    async with house.running():
        await house.boundary("09:15:00")
    house.meters.registers |= {"grid": (100_900, 0), "flat": (5, None)}
    house.at("09:50:00")
    async with house.running():
        house.meters.poll()
        await house.boundary("10:00:00", grid=(101_000, 0), flat=(60, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    for start in ("09:15", "09:30", "09:45"):
        body = newest(await house.bodies("interval.v1"), start)
        assert body["state"] in ("final", "corrected")
        assert any("meter flat: " in text and "anew" in text for text in body["missing"])


async def test_a_meter_that_is_silent_may_still_come(house: Any) -> None:
    """Only its absence is known: the quarter hour waits for its data."""
    async with house.running():
        await house.boundary("09:15:00")
        house.meters.silent = {"grid"}
        await house.boundary("09:30:00", m1=(7_100, None))
    body = newest(await house.bodies("interval.v1"), "09:15")
    assert (body["state"], body["missing"]) == ("provisional", ["meter grid: no reading at the end"])


async def test_what_passed_before_the_first_reading_of_a_late_meter_is_final_once_it_is_there(house: Any) -> None:
    """The grid meter is connected an hour after the others: until then a person must look, then nothing can come."""
    house.meters.silent = {"grid"}
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", m1=(7_100, None))
        await house.boundary("09:45:00", m1=(7_200, None))
        before = newest(await house.bodies("interval.v1"), "09:15")
        assert (before["state"], before["missing"]) == ("provisional", ["meter grid: not read yet"])
        house.meters.silent = set()
        house.at("09:50:00")
        house.meters.poll("grid")
        await house.boundary("10:00:00", grid=(100_300, 0), m1=(7_300, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        await house.boundary("10:15:00", grid=(100_500, 0), m1=(7_400, None))
    bodies = await house.bodies("interval.v1")
    assert newest(bodies, "09:15")["missing"] == ["meter grid: read for the first time after this"]
    for start in ("09:15", "09:30", "09:45"):
        assert newest(bodies, start)["state"] in ("final", "corrected")
        assert newest(bodies, start)["consumption_wh"] is None
    assert newest(bodies, "10:00")["consumption_wh"] == 200


async def test_the_newest_readings_cost_one_small_row_a_minute(house: Any) -> None:
    """Written where a register has moved, and only then: a sleeping house writes nothing."""
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:16:30")
        house.meters.registers["m1"] = (7_001, None)
        house.meters.poll()
        house.settlement.notify()
        await house.until("SELECT count(*) FROM meta WHERE key = 'last_readings' AND instr(value, '7001')", 1)
        [[first, size]] = await house.rows("SELECT value, length(value) FROM meta WHERE key = 'last_readings'")
        assert size < 110 * 4
        house.at("09:18:00")
        house.meters.poll()
        await house.boundary("09:30:00")
        assert await house.rows("SELECT value FROM meta WHERE key = 'last_readings'") == [(first,)]


async def test_the_newest_readings_are_a_minute_old_at_most_with_the_look_that_writes_them(house: Any) -> None:
    """Seed 10086: due after a minute they went with the look after that, and a full disk was told after 65 s."""
    async with house.running():
        await house.boundary("09:15:00")
        for at, wh in (("09:16:30", 7001), ("09:17:26", 7002)):
            house.at(at)
            house.meters.registers["m1"] = (wh, None)
            house.meters.poll()
            house.settlement.notify()
            await house.until(f"SELECT count(*) FROM meta WHERE key = 'last_readings' AND instr(value, '{wh}')", 1)


def test_a_boundary_is_held_once_and_only_its_first_reading() -> None:
    held = Boundaries(("a", "b"))
    held.take(reading(K, 100))
    held.take(reading(K, 101, after_ms=5_000))
    held.take(reading(K, 102, after_ms=10_000))
    assert not held.complete(K)
    held.take(reading(K, 7, meter="b"))
    assert held.complete(K)
    assert [one and one.import_wh for one in held.of(K).values()] == [100, 7]
    held.written(K + 1)
    held.take(reading(K, 103, after_ms=8_000))
    assert held.of(K) == {"a": None, "b": None}


def test_beyond_the_bound_the_oldest_boundary_goes_and_is_counted() -> None:
    held = Boundaries(("a",))
    for k in range(K, K + MAX_HELD + 3):
        held.take(reading(k, k))
    assert held.dropped == [K, K + 1, K + 2]
    assert held.waiting(K + 10_000) == MAX_HELD
    assert held.of(K)["a"] is None
    assert held.of(K + 3)["a"] is not None


def test_readings_beside_gaps_are_bounded_too() -> None:
    held = Boundaries(("a",))
    for number in range(MAX_SINGLE):
        held.take(reading(K + number, number))
    assert len(held.single()) == MAX_SINGLE


def test_what_was_stamped_with_a_guess_moves_and_stands_for_no_boundary() -> None:
    held = Boundaries(("a",))
    guessed = replace(reading(K), quality=TimeQuality.GUESSED)
    held.take(guessed)
    held.move(Step(60_000, TimeQuality.GUESSED, TimeQuality.NTP, 0, 1 << 60))
    assert held.of(K) == {"a": None}
    assert [(one.requested_ms - guessed.requested_ms, why) for one, why in held.single()] == [
        (60_000, "first"),
        (60_000, "restamped"),
    ]


def test_a_restored_reading_from_the_future_says_nothing() -> None:
    """The clock of the run before was wrong."""
    held = Boundaries(("a", "b"))
    held.take(reading(K, 100))
    assert held.restore({"a": reading(K + 1, 90), "b": reading(K + 1, 90, meter="b")}) == []
    held.take(reading(K, 50, meter="b"))
    assert [why for _, why in held.single()] == ["first", "first"]


def test_a_restored_reading_that_comes_after_the_first_one_still_tells_of_the_exchange() -> None:
    held = Boundaries(("a",))
    held.take(reading(K, 5, serial="2"))
    [event] = held.restore({"a": reading(K - 1, 9_000)})
    assert event.kind == "meter_swapped"
    assert [why for _, why in held.single()] == ["first", "before_swap", "after_swap"]


def test_a_new_level_is_kept_on_both_sides() -> None:
    """Seed 124: a meter without a serial number was exchanged during an absence. Seed 20058: while it was read."""
    before = replace(reading(K, 999_600), serial=None, range_wh=1_000_000)
    after = replace(reading(K, 2_000, after_ms=60_300), serial=None, range_wh=1_000_000, new_level=True)
    restarted, running = Boundaries(("a",)), Boundaries(("a",))
    restarted.restore({"a": before})
    running.take(before)
    assert (restarted.take(after), running.take(after)) == (None, None)
    assert restarted.single() == [(before, "before_swap"), (after, "after_swap")]
    assert running.single() == [(before, "first"), (before, "before_swap"), (after, "after_swap")]
    for held in (restarted, running):
        energy = measured([Known(one) for one, _ in held.single()])
        assert (energy.import_wh, energy.problems) == (0, ())


def test_a_boundary_reading_that_is_held_follows_the_clock_to_the_quarter_hour_at_which_it_lies() -> None:
    """Rows that were written ahead of the right time come again: what is held for them is not too late."""
    held = Boundaries(("a",))
    held.written(K + 96)
    held.take(replace(reading(K + 96), quality=TimeQuality.RTC))
    ahead = Step(-96 * 900_000, TimeQuality.RTC, TimeQuality.NTP, 0, 1 << 60, beyond_ms=0)
    held.begin_anew(ahead, [reading(K + 1), reading(K + 1, 7)])
    assert held.of(K)["a"] == replace(reading(K), quality=TimeQuality.NTP)
    assert held.of(K + 1)["a"] == reading(K + 1), "it was not known that a quarter hour began then"
    assert held.waiting(K + 2) == 2
