"""Where time may jump: before the parts of a start begin, and between two lives of the parts (docs/decisions/0008)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.events import EventBook
from gateway.health import part_failed
from gateway.meters.meters import Meters
from gateway.model import Clock, Connection, Event, Guess, Stamp, StoreError, World
from gateway.sessions import guesses, set_back
from gateway.sessions.boundaries import Boundaries
from gateway.sessions.quarters import Quarters
from gateway.sessions.restamping import newest_written_ms
from gateway.site_time import UNSURE
from gateway.store import meta
from gateway.store.database import Database

CLOCK_AGAIN_S = 60.0
"""How long after the disk has not taken the right time it is asked again (site seconds)."""

DRIFT = 10_000
"""A clock without a time server gains or loses at most a ten-thousandth (9 s a day): that was not set wrong."""


@dataclass(frozen=True)
class Memory:
    """What outlives the parts when the clock is put right: readings that are on no disk yet."""

    meters: Meters
    boundaries: Boundaries


async def go_on(clock: Clock, db: Database) -> list[Event]:
    """Time goes on from the newest on disk; where the life before never knew it, by that life's guess.

    The event where that guess has ended, and nobody can say whether it was right.
    """
    newest_ms = await db.run(newest_written_ms)
    try:
        before = await db.run(lambda connection: guesses.pending(connection, newest_ms))
    except (TypeError, ValueError) as error:
        await db.run(lambda connection: guesses.remember(connection, None))
        return [*await go_on(clock, db), guesses.unreadable(newest_ms, error)]
    clock.start_no_earlier_than(newest_ms, before)
    guess = clock.guess()
    await db.run(lambda connection: guesses.remember(connection, guess))
    return [guesses.unconfirmed(before, newest_ms)] if before is not None and guess is None else []


def note(db: Connection, now: Stamp, guess: Guess | None) -> None:
    """The newest time, and whether it is a guess: the next start goes on from there."""
    meta.beat(db, now.utc_ms, sure=now.quality not in UNSURE)
    guesses.remember(db, guess)


async def put_right(
    quarters: Quarters, world: World, db: Database, events: EventBook, memory: Memory, began: Stamp
) -> float:
    """While no part runs: what is on disk moves, then the memory, then the clock jumps. A right clock changes nothing.

    This life of the parts began with `began`. A disk that takes nothing leaves the time as it was, for another life;
    how long that goes on by it (site seconds).
    """
    off_ms, right, guess = world.clock.off_ms(), world.clock.right(), world.clock.guess()
    if not off_ms:
        return 0.0
    exact = guess is None or not guess.estimated
    since = began if guess is None or _drifted(guess.since, off_ms, world.clock.utc_ms()) else guess.since
    try:
        step, event = await db.run(
            lambda connection: set_back.put_right(connection, quarters, since, right, off_ms, exact=exact)
        )
    except StoreError as error:
        events.tell(part_failed("clock", error, CLOCK_AGAIN_S))
        return CLOCK_AGAIN_S
    world.clock.put_right()
    memory.meters.begin_anew(step.now_at)
    memory.boundaries.begin_anew(step, memory.meters.remembered())
    events.tell(replace(event, keep=False))
    return 0.0


def _drifted(since: Stamp, off_ms: int, now_ms: int) -> bool:
    """Over all of a guess a good clock without a time server may have come to be off by so much.

    When it was off by how much is not known; what earlier lives stamped is nearer to the truth where it stands.
    """
    return abs(off_ms) * DRIFT <= now_ms - since.utc_ms
