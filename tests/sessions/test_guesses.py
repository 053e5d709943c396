"""How a life went that never knew the time stands on disk, until somebody knows it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.clock import iso
from gateway.model import Guess, Stamp, TimeQuality
from gateway.sessions import guesses
from gateway.store import meta

from .test_set_back import each_version_once, registers, set_back

NOW = 1_781_343_000_000
DAY = 86_400_000
GUESS = Guess(Stamp(NOW, TimeQuality.RTC), "0b3c", 1_781_342_000_000, None)


async def test_what_is_remembered_is_what_the_next_start_finds(house: Any) -> None:
    assert await house.db.run(lambda db: guesses.pending(db, NOW)) is None
    for guess in (GUESS, GUESS._replace(doubted_ms=-3, estimated=True)):
        await house.db.run(lambda db, guess=guess: guesses.remember(db, guess))
        assert await house.db.run(lambda db: guesses.pending(db, NOW)) == guess
    await house.db.run(lambda db: guesses.remember(db, None))
    assert await house.db.run(lambda db: guesses.pending(db, NOW)) is None


async def test_a_house_that_knows_the_time_writes_nothing(house: Any) -> None:
    await house.db.run(lambda db: guesses.remember(db, None))
    assert await house.rows("SELECT count(*) FROM meta WHERE key = 'guess'") == [(0,)]


async def test_only_a_young_house_that_nobody_ever_told_the_time_has_never_known_it(house: Any) -> None:
    """An older one may have been off for as long as it looks."""
    house.clock.quality = TimeQuality.RTC
    await house.db.run(lambda db: guesses.remember(db, GUESS))
    await house.journal("StartTransaction", {"idTag": "CARD-A", "connectorId": 1})
    at_ms = house.clock.now_ms

    async def never(newest_ms: int) -> bool:
        guess = await house.db.run(lambda db: guesses.pending(db, newest_ms))
        return bool(guess.never)

    assert await never(at_ms + DAY)
    assert not await never(at_ms + DAY + 1)
    await house.db.run(lambda db: meta.beat(db, at_ms + 1, sure=True))
    assert await never(at_ms)
    assert not await never(at_ms + 1)


def test_who_reads_that_nobody_knows_it_any_more_knows_from_when_to_when() -> None:
    event = guesses.unconfirmed(GUESS, NOW + 60_000)
    assert (event.kind, event.keep) == ("clock_unconfirmed", True)
    assert event.data == {"since": "2026-06-13T09:30:00.000Z", "until": "2026-06-13T09:31:00.000Z", "quality": "rtc"}
    assert event.next_step


@pytest.mark.parametrize("exact", [True, False], ids=["the machine ran on", "its power failed"])
@pytest.mark.parametrize("off_ms", [-200 * DAY, -40 * 60_000, 50 * 60_000, 21 * DAY])
async def test_a_guess_that_ended_with_its_process_is_put_right_as_a_whole(
    house: Any, off_ms: int, exact: bool
) -> None:
    """Also what lies in the past already, of a clock that was 50 min ahead an hour ago. After a power cut it stays a
    guess: for how long the machine was off is not known."""
    house.clock.quality = TimeQuality.RTC
    began: Stamp = house.clock.now()
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", **registers(1))
        await house.until("SELECT count(*) FROM interval WHERE version = 0", 1)
    [[first_ms]] = await house.rows("SELECT begin_ms FROM session")
    house.clock.now_ms += 3_600_000
    await set_back(house, began, off_ms, exact=exact)
    [[session, begin_ms, quality]] = await house.rows("SELECT id, begin_ms, begin_q FROM session")
    assert (begin_ms - first_ms, quality) == (-off_ms, "ntp" if exact else "guessed")
    [[at_ms, quality]] = await house.rows("SELECT at_ms, ts_q FROM journal")
    assert (at_ms, quality) == (begin_ms, "ntp" if exact else "guessed")
    [event] = [event for event in house.events if event.kind in ("clock_step", "clock_set_back")]
    assert event.data["sessions"] == [session]
    assert ("estimated" in event.data, "how long the machine was off" in event.cause) == (not exact, not exact)
    assert [one["data"] for one in await house.bodies("notice.v1")] == [event.data]
    async with house.running():
        for number in (2, 3):
            k = house.clock.now_ms // 900_000 + 1
            await house.boundary(iso(k * 900_000), **registers(number))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    bodies = await house.bodies("interval.v1")
    each_version_once(bodies)
    newest = {body["k"]: body for body in bodies}
    flat = sum(share["wh"] for body in newest.values() for share in body["shares"] if share["participant"] == "flat")
    assert flat == 300, "all of it, once"
