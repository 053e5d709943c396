"""The clock was wrong at the start: what never was is not settled, what has not come is withdrawn, nothing is twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from gateway.clock import iso
from gateway.model import Stamp, StoreError, StoreProblem, TimeQuality
from gateway.sessions.quarters import Quarters
from gateway.sessions.restamping import newest_written_ms, steps_since
from gateway.sessions.set_back import put_right
from gateway.sessions.settlement import AT_ONCE, Settlement
from gateway.store import chargers, intervals, journal, meta, readings, transactions

GUESSED, RTC, NTP = TimeQuality.GUESSED, TimeQuality.RTC, TimeQuality.NTP
DAY = 86_400_000


async def set_back(house: Any, began: Stamp, back_ms: int, *, exact: bool = True) -> None:
    """What the application does between two lives of its parts, or before the first of a start."""
    house.clock.step(-back_ms)
    house.clock.quality = NTP
    right, quarters = house.clock.now(), Quarters(house.site, house.who, house.world.random)
    _, event = await house.db.run(lambda db: put_right(db, quarters, began, right, back_ms, exact=exact))
    house.events.append(event)


async def _lived_ahead(house: Any, back_ms: int) -> Stamp:
    """Three quarter hours of 200 Wh each in the flat, and a session, on a clock that was ahead by `back_ms`."""
    house.clock.quality = RTC
    began: Stamp = house.clock.now()
    async with house.running():
        await house.boundary("09:15:00", flat=(20_000, None))
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", flat=(20_200, None), m1=(7_400, None))
        await house.boundary("09:45:00", flat=(20_400, None), m1=(7_900, None))
        house.at("09:46:00")
        house.meters.poll()
    await set_back(house, began, back_ms)
    return began


def each_version_once(bodies: list[dict[str, Any]]) -> None:
    told: dict[int, list[int]] = {}
    for body in bodies:
        told.setdefault(body["k"], []).append(body["version"])
    assert all(versions == list(range(1, len(versions) + 1)) for versions in told.values()), told


async def test_a_first_start_weeks_ahead_is_set_back_and_settles_on_at_the_right_time(house: Any) -> None:
    """It used to stand still for three weeks."""
    back_ms = 21 * DAY + 123_456
    await _lived_ahead(house, back_ms)
    false_k = {body["k"] for body in await house.bodies("interval.v1")}
    now_ms = house.clock.now_ms
    assert (await house.rows("SELECT max(k) FROM interval"))[0][0] <= now_ms // 900_000
    async with house.running():
        k = now_ms // 900_000 + 1
        await house.boundary(iso(k * 900_000), flat=(20_600, None), m1=(8_100, None))
        house.at(iso(k * 900_000 + 60_000))
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary(iso((k + 1) * 900_000), flat=(20_800, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        await house.until("SELECT count(*) > 0 FROM outbox WHERE schema = 'split.v1'", 1)
    bodies = await house.bodies("interval.v1")
    each_version_once(bodies)
    newest = {body["k"]: body for body in bodies}
    assert all(newest[k]["consumption_wh"] is None for k in false_k), (
        "a withdrawn quarter hour holds no energy any more"
    )
    taken = Counter[str]()
    for body in newest.values():
        taken.update({share["participant"]: share["wh"] for share in body["shares"]})
    assert taken["box1"] == 8_100 - 7_000, "all of it, once"
    [event] = [event for event in house.events if event.kind == "clock_set_back"]
    assert event.data["delta_ms"] == -back_ms
    assert event.data["withdrawn_from"] <= iso(min(false_k) * 900_000)
    [[session, begin_ms]] = await house.rows("SELECT id, begin_ms FROM session")
    assert event.data["sessions"] == [session]
    assert iso(begin_ms + back_ms) == "2026-04-15T09:15:00.000Z"
    assert [one["data"] for one in await house.bodies("notice.v1")] == [event.data], "with the rows that it withdraws"


async def test_a_quarter_hour_that_was_told_before_it_came_gets_its_next_version_when_it_comes(house: Any) -> None:
    """An hour ahead: the same quarter hours come again, as later versions of those that were told."""
    await _lived_ahead(house, 3_600_000)
    told = Counter(body["k"] for body in await house.bodies("interval.v1"))
    async with house.running():
        for number in range(1, 6):
            k = house.clock.now_ms // 900_000 + 1
            await house.boundary(iso(k * 900_000), flat=(20_400 + 100 * number, None), m1=(7_900 + 50 * number, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    bodies = await house.bodies("interval.v1")
    each_version_once(bodies)
    again = {body["k"]: body for body in bodies if body["version"] > told[body["k"]] > 0}
    assert again
    ks = [row[0] for row in await house.rows("SELECT k FROM interval ORDER BY k")]
    assert ks == list(range(ks[0], ks[-1] + 1))
    chain = [body for _, body in sorted({body["k"]: body for body in bodies}.items()) if body["shares"]]
    flat = sum(share["wh"] for body in chain for share in body["shares"] if share["participant"] == "flat")
    last = chain[-1]["at_end"]["flat"]["import_wh"]
    assert flat == last - 20_000


async def test_corrections_of_quarter_hours_that_never_came_leave_no_carry_behind(house: Any) -> None:
    """Half a day ahead, with sun: its quarter hours were provisional, then estimated; 30 Wh of carry were left over."""
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", grid=(100_050, 0), pv=(0, 50_333), flat=(20_100, None), m1=(7_050, None))
        await house.until("SELECT count(*) FROM interval WHERE version = 0", 1)
    before = {who: both for who, both in (await house.db.run(intervals.carry)).items() if any(both)}
    assert before
    house.at("09:37:00")
    back_ms = DAY // 2
    house.clock.step(back_ms)
    house.clock.quality = RTC
    began: Stamp = house.clock.now()
    async with house.running():
        house.at("21:44:59")
        await house.boundary("21:45:00", grid=(101_013, 0), pv=(0, 53_000), flat=(21_177, None), m1=(8_003, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        house.at("21:46:00")
    assert any(adjustment for _, adjustment in (await house.db.run(intervals.carry)).values())
    house.clock.now_ms -= 600_000
    await set_back(house, began, back_ms)
    after = {who: both for who, both in (await house.db.run(intervals.carry)).items() if any(both)}
    assert after == before
    [event] = [event for event in house.events if event.kind == "clock_set_back"]
    [[head]] = await house.rows("SELECT max(seq) FROM outbox WHERE lane = 'billing'")
    assert event.data["withdrawn_from"] == "2026-04-15T09:30:00.000Z"
    assert event.data["withdrawn_upto"] == head, "the cloud knows the rows that are taken back by their numbers"


async def test_what_an_earlier_start_stamped_ahead_keeps_its_order(house: Any) -> None:
    """The power failed before the clock was set back: all of it was put at one instant, and registers went back."""
    house.clock.quality = RTC
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", **registers(1))
        await house.boundary("09:45:00", **registers(2))
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
    house.at("09:50:00")
    await set_back(house, house.clock.now(), 3 * DAY)
    kept = await house.db.run(lambda db: readings.kept_between(db, "flat", 0, house.clock.now_ms))
    at_ms = {one.import_wh: one.requested_ms for one in kept}
    assert [one.import_wh for one in kept] == sorted(one.import_wh or 0 for one in kept)
    assert (at_ms[20_100] - at_ms[20_000], at_ms[20_200] - at_ms[20_100]) == (900_000, 900_000)


@pytest.mark.parametrize("off_ms", [3 * DAY, -200 * DAY, -9_000 * DAY])
async def test_a_house_that_begins_anew_begins_without_carry(house: Any, off_ms: int) -> None:
    """Of a first start that was three days ahead, or months behind, nothing is left: what it handed on came as an
    adjustment, or as carry (12 with `--add 0,clock_wrong,1200,0.15`)."""
    house.clock.quality = RTC
    began: Stamp = house.clock.now()
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", **registers(1))
        await house.boundary("09:45:00", **registers(2))
        await house.until("SELECT count(*) FROM interval WHERE version = 0", 1)
        house.at("09:46:00")
    assert any(nano_wh for nano_wh, _ in (await house.db.run(intervals.carry)).values())
    await set_back(house, began, off_ms)
    newest = {body["k"]: body for body in await house.bodies("interval.v1")}
    assert newest
    assert not any(body["consumption_wh"] for body in newest.values()), "told once more, without what was moved"
    [[head]] = await house.rows("SELECT max(seq) FROM outbox WHERE lane = 'billing'")
    assert house.events[-1].data["withdrawn_upto"] == head
    assert house.events[-1].data["withdrawn_from"] <= iso(min(newest) * 900_000)
    assert house.events[-1].data["withdrawn_to"] > iso(max(newest) * 900_000)
    assert not any(any(both) for both in (await house.db.run(intervals.carry)).values())


async def test_a_clock_that_was_in_the_new_year_already_gives_the_old_one_its_carry_back(house: Any) -> None:
    """The period changes at local midnight, and carry begins anew with it: once, when the year really ends."""
    house.at("2026-12-31T22:14:00Z")
    async with house.running():
        await house.boundary("2026-12-31T22:15:00Z")
        await house.boundary("2026-12-31T22:30:00Z", **registers(1))
        await house.until("SELECT count(*) FROM interval WHERE version = 0", 1)
    before = {who: both for who, both in (await house.db.run(intervals.carry)).items() if any(both)}
    assert before
    back_ms = 40 * 60_000
    house.clock.step(back_ms)
    house.clock.quality = RTC
    began: Stamp = house.clock.now()
    async with house.running():
        await house.boundary("2026-12-31T23:15:00Z", **registers(2))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        house.at("2026-12-31T23:16:00Z")
    assert not any(nano_wh for nano_wh, _ in (await house.db.run(intervals.carry)).values() if abs(nano_wh) > 10**9)
    await set_back(house, began, back_ms)
    assert {who: both for who, both in (await house.db.run(intervals.carry)).items() if any(both)} == before
    [event] = [event for event in house.events if event.kind == "clock_set_back"]
    [withdrawn_k] = {
        body["k"] for body in await house.bodies("interval.v1") if body["start"] == event.data["withdrawn_from"]
    }
    async with house.running():
        for number, minute in enumerate(("22:45", "23:00", "23:15"), 3):
            await house.boundary(f"2026-12-31T{minute}:00Z", **registers(number))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    newest = {body["k"]: body for body in await house.bodies("interval.v1")}
    carries = [
        {share["participant"]: share["carry_before_nano_wh"] for share in newest[k]["shares"]}
        for k in range(withdrawn_k, withdrawn_k + 3)
    ]
    assert {who: nano_wh for who, nano_wh in carries[0].items() if nano_wh} == {
        who: both[0] for who, both in before.items()
    }
    assert any(carries[1].values())
    assert not any(carries[2].values()), "the year ends at 23:00 UTC"


def registers(number: int) -> dict[str, tuple[int, int | None]]:
    """What the meters show at the number-th quarter hour: some of it is the sun, and it does not divide evenly."""
    return {
        "grid": (100_000 + 50 * number, 0), "pv": (0, 50_000 + 333 * number), "flat": (20_000 + 100 * number, None),
        "m1": (7_000 + 51 * number, None),
    }  # fmt: skip


async def test_years_that_never_were_get_no_quarter_hours(house: Any) -> None:
    """A first start with the date of the image: it used to settle every quarter hour of the years in between."""
    house.clock.quality = RTC
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", flat=(20_200, None))
        house.at("09:31:00")
        house.clock.step(3 * 365 * DAY)
        house.clock.quality = NTP
        house.meters.poll()
        house.settlement.notify()
        now_k = house.clock.now_ms // 900_000
        await house.until("SELECT max(k) FROM interval", now_k)
        await house.boundary(iso((now_k + 1) * 900_000), flat=(20_400, None))
        await house.boundary(iso((now_k + 2) * 900_000), flat=(20_500, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    bodies = await house.bodies("interval.v1")
    each_version_once(bodies)
    assert len({body["k"] for body in bodies}) < 10
    newest = {body["k"]: body for body in bodies}
    flat = sum(share["wh"] for body in newest.values() for share in body["shares"] if share["participant"] == "flat")
    assert flat == 500
    [event] = [event for event in house.events if event.kind == "clock_step"]
    assert event.data["never_to"] > "2029"


async def test_an_absence_that_was_is_settled_quarter_hour_by_quarter_hour(house: Any) -> None:
    """The house knew the time before: two days without power are two days."""
    await house.db.run(lambda db: meta.beat(db, house.clock.now_ms - 1000, sure=True))
    house.clock.quality = TimeQuality.GUESSED
    async with house.running():
        await house.boundary("09:15:00")
        house.clock.step(2 * DAY)
        house.clock.quality = NTP
        house.settlement.notify()
        await house.until("SELECT max(k) FROM interval", house.clock.now_ms // 900_000 - 1)
    ks = [row[0] for row in await house.rows("SELECT k FROM interval ORDER BY k")]
    assert ks == list(range(ks[0], ks[-1] + 1))
    assert len(ks) > 192


async def test_a_day_without_readings_is_told_as_one_event_and_one_for_its_beginning(house: Any) -> None:
    """It used to be an event for each of its quarter hours."""
    async with house.running():
        await house.boundary("09:15:00")
    house.clock.now_ms += DAY
    async with house.running():
        await _told(house, 95)
    assert _quarters(house) == [1, 94], "that in which its readings end, and the day"
    ks = {body["k"] for body in await house.bodies("interval.v1") if body["state"] == "provisional"}
    assert len(ks) == 95


async def _told(house: Any, count: int) -> None:
    """Wait until the events tell of so many incomplete quarter hours."""
    async with asyncio.timeout(5):
        while sum(_quarters(house)) < count:  # noqa: ASYNC110 - an event is not waited for
            await asyncio.sleep(0)


def _quarters(house: Any) -> list[int]:
    """How many quarter hours each event about incomplete ones tells of."""
    return [event.data.get("quarters", 1) for event in house.events if event.kind == "interval_provisional"]


async def test_a_disk_that_fails_in_between_hides_no_incomplete_quarter_hours(house: Any) -> None:
    """What was settled before it is told, though the next ones might have gone on with it."""
    async with house.running():
        await house.boundary("09:15:00")
    settled, failed, some = [], asyncio.Event(), Settlement._some

    def fails_after_two(settlement: Settlement, db: Any, stamp: Stamp) -> Any:
        if len(settled) == 2:
            loop.call_soon_threadsafe(failed.set)
            raise StoreError(StoreProblem.FULL, "database or disk is full")
        done = some(settlement, db, stamp)
        settled.extend([done] if done is not None else [])
        return done

    loop = asyncio.get_running_loop()
    house.clock.now_ms += DAY
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Settlement, "_some", fails_after_two)
        with suppress(StoreError):
            async with house.running(), asyncio.timeout(5):
                await failed.wait()
    assert sum(_quarters(house)) == 2 * AT_ONCE


async def test_a_start_that_guesses_goes_on_after_all_that_is_on_disk(house: Any) -> None:
    """The newest time is noted every few minutes; what was written since must not be lived through again."""
    house.clock.quality = RTC
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00")
        noted = await house.db.run(meta.newest_ms)
        read = await house.db.run(newest_written_ms)
        assert noted < read
        assert iso(read) == "2026-04-15T09:30:00.040Z"
        house.at("09:40:00")
        await house.start(1)
        assert iso(await house.db.run(newest_written_ms)) == "2026-04-15T09:40:00.000Z"
        house.at("09:41:00")
        newest = {"m1": house.meters.reading("m1")}
        await house.db.run(lambda db: readings.put_last(db, newest))
        assert iso(await house.db.run(newest_written_ms)) == "2026-04-15T09:41:00.040Z"


@pytest.mark.parametrize("off_ms", [3 * DAY, -37 * 60_000])
async def test_a_start_that_nobody_had_taken_in_begins_at_the_right_time(house: Any, off_ms: int) -> None:
    """It waited for the answer of the CSMS while the clock was put right: its session began days ahead."""
    house.clock.quality = GUESSED
    began: Stamp = house.clock.now()
    async with house.running():
        await house.boundary("09:15:00")
        entry = await house.journal("StartTransaction", {"idTag": "CARD-A", "connectorId": 1}, read="m1")
        await house.db.run(
            lambda db: transactions.begin(
                db, "box1", csms_id=None, connector=1, id_tag="CARD-A", start_entry=entry, start_ms=house.clock.now_ms
            )
        )
        status = chargers.StatusRow(1, '{"status": "Charging"}', house.clock.now_ms, told=True)
        await house.db.run(lambda db: chargers.save_status(db, "box1", status))
    right_ms = house.clock.now_ms - off_ms
    await set_back(house, began, off_ms)
    answer = '{"idTagInfo": {"status": "Accepted"}, "transactionId": 7}'
    await house.db.run(lambda db: journal.answered(db, entry, answer, "gateway", transaction_id=7))
    async with house.running():
        await house.until("SELECT begin_ms FROM session", right_ms)
    assert await house.rows("SELECT at_ms, ts_q FROM journal") == [(right_ms, "ntp")]
    assert await house.rows("SELECT start_ms FROM transaction_map") == [(right_ms,)]
    assert await house.rows("SELECT at_ms FROM connector_status") == [(right_ms,)]


async def test_what_came_before_this_start_keeps_its_time(house: Any) -> None:
    """With another quality, or earlier: nobody knows that it was wrong."""
    await house.journal("StartTransaction", {"idTag": "CARD-A", "connectorId": 1})
    house.clock.now_ms += 1
    house.clock.quality = GUESSED
    began: Stamp = house.clock.now()
    await house.journal("StartTransaction", {"idTag": "CARD-A", "connectorId": 1})
    house.clock.quality = NTP
    await house.journal("StartTransaction", {"idTag": "CARD-A", "connectorId": 1})
    first_ms = began.utc_ms - 1
    await set_back(house, began, -DAY)
    rows = await house.rows("SELECT at_ms FROM journal ORDER BY entry")
    assert [at_ms - first_ms for (at_ms,) in rows] == [0, 1 + DAY, 1]


@pytest.mark.parametrize(("years", "moved"), [(3, True), (0, False)])
async def test_a_house_that_never_knew_the_time_moves_whole_over_its_starts(
    house: Any, years: int, moved: bool
) -> None:
    """Seed 467: the power failed before a time server answered; the session of the start before stayed years behind.

    Not by hours: that may be an absence after a start whose clock was right.
    """
    off_ms = -(years * 365 * DAY + 5 * 3_600_000)
    house.clock.quality = RTC
    async with house.running():
        house.meters.poll()
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
    [[first_ms]] = await house.rows("SELECT begin_ms FROM session")
    house.clock.now_ms += 120_000
    async with house.running():
        began: Stamp = house.clock.now()
        house.meters.poll()
    await set_back(house, began, off_ms)
    [[begin_ms, quality]] = await house.rows("SELECT begin_ms, begin_q FROM session")
    assert (begin_ms - first_ms, quality) == ((-off_ms, "ntp") if moved else (0, "rtc"))
    [event] = [event for event in house.events if event.kind == "clock_step"]
    assert bool(event.data["sessions"]) == moved
    assert ("never_from" in event.data) == moved


@pytest.mark.parametrize(("moved", "steps"), [(True, 0), (False, 1)])
async def test_a_step_that_moved_a_start_is_no_step_since_that_start(house: Any, moved: bool, steps: int) -> None:
    """Seed 635: a stop that was sent again after a minute was one of now: the clock had been put right by 68 s."""
    if not moved:
        house.clock.now_ms += 1
    house.clock.quality = GUESSED
    began: Stamp = house.clock.now()
    start_ms = began.utc_ms + (5_000 if moved else -1)
    house.clock.now_ms += 60_000
    await set_back(house, began, -68_000)
    seen_ms = start_ms + (68_000 if moved else 0)
    assert await house.db.run(lambda db: steps_since(db, seen_ms)) == [68_000] * steps
