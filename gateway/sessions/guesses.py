"""What is on disk of a life that never knew the time: the next start goes on by its guess, and has it put right."""

from __future__ import annotations

import json

from gateway.clock import iso
from gateway.energy.intervals import boundary_of
from gateway.model import Connection, Event, Guess, Severity, Stamp, TimeQuality
from gateway.site_time import NEVER_MS, UNSURE
from gateway.store import intervals, journal, meta, readings

GUESS = "guess"


def remember(db: Connection, guess: Guess | None) -> None:
    """How this life goes; None: it knows the time, and what was stamped by a guess has been moved."""
    before = meta.get(db, GUESS)
    if guess is None:
        if before:
            meta.put(db, GUESS, "")
        return
    (at_ms, quality), boot, offset_ms, doubted_ms, estimated, _ = guess
    meta.put(db, GUESS, json.dumps([at_ms, quality.value, boot, offset_ms, doubted_ms, estimated]))


def pending(db: Connection, newest_ms: int) -> Guess | None:
    """How the life before went that nobody has put right; `newest_ms`: the newest time on disk.

    TypeError, ValueError where another version has written it: it is forgotten then.
    """
    text = meta.get(db, GUESS)
    if not text:
        return None
    at_ms, quality, boot, offset_ms, doubted_ms, estimated = json.loads(text)
    since = Stamp(at_ms, TimeQuality(quality))
    return Guess(since, boot, offset_ms, doubted_ms, estimated, never_since_ms(db, newest_ms) is not None)


def never_since_ms(db: Connection, at_ms: int) -> int | None:
    """The oldest time on disk of a house that did not know the time until `at_ms`, and was younger than a day then."""
    stamped = [oldest_ms for oldest_ms in (readings.oldest_kept_ms(db), journal.oldest_ms(db)) if oldest_ms]
    first_k = intervals.oldest(db)
    if not stamped and first_k is None:
        return None
    oldest_ms = min(stamped, default=at_ms)
    begun_ms = oldest_ms if first_k is None else min(oldest_ms, boundary_of(first_k + 1))
    if at_ms - begun_ms > NEVER_MS or meta.sure_before(db, at_ms) or journal.any_sure(db, UNSURE):
        return None
    return oldest_ms


def unreadable(newest_ms: int, error: Exception) -> Event:
    """A start that cannot read how the one before went goes by its own clock."""
    return Event(
        "clock_unconfirmed", "clock", f"how the start before knew the time cannot be read ({error})",
        next_step=f"if that start, until {iso(newest_ms)}, went by a wrong time, its sessions bear it: compare them",
        severity=Severity.WARNING, data={"until": iso(newest_ms)}, keep=True,
    )  # fmt: skip


def unconfirmed(guess: Guess, newest_ms: int) -> Event:
    """This start knows the time, and nobody can say any more whether the life before went by the right one.

    What it stamped stays where it is, with its quality: the machine may have been off for as long as it looks.
    """
    since, until = iso(guess.since.utc_ms), iso(newest_ms)
    return Event(
        "clock_unconfirmed", "clock",
        f"no time server had answered from {since} to {until} when the machine went off: whether that time was right "
        "is not known",
        next_step="where the machine was not off until now, times of sessions before this start are wrong by as much; "
        "give the machine a time server it reaches, or a clock with a battery",
        severity=Severity.WARNING, data={"since": since, "until": until, "quality": guess.since.quality.value},
        keep=True,
    )  # fmt: skip
