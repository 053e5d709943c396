"""How a life went that never knew the time stands on disk, until somebody knows it."""

from __future__ import annotations

from typing import Any

from gateway.model import Guess, Stamp, TimeQuality
from gateway.sessions import guesses
from gateway.store import meta

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
