"""Pure: what time a site goes by, from a wall clock that may be wrong and a monotonic one that counts.

The newest time on disk is the floor of a start. A wall clock that is behind it (no battery), or far beyond it without
ever having been compared with the world (a battery clock that was set wrong), is not believed: time goes on from the
floor, guessed, until a time server answers or somebody sets the clock. What is believed is followed. Within one life
of the gateway's parts a guess is never put right by more than ten seconds, and time never goes backwards: a small
correction is followed or waited for, a large one is `off_ms`, and the application starts its parts anew at the right
time (docs/decisions/0008).

A guess does not end with the process: what it has stamped still waits for the right time. The next start goes on by it,
to the millisecond where the machine has run on, and where that start knows the time already, it is put right before
the parts begin.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import Guess, Stamp, TimeQuality

UNSURE = frozenset({TimeQuality.GUESSED, TimeQuality.RTC})
"""Nobody has compared these with the time of the world."""

STANDS_STILL_MS = 10_000
"""Time stands still for at most so long to let a wall clock catch up that was set back; a guess is moved on by no more
under running parts."""

BELIEVED_MS = 7 * 86_400_000
"""A longer absence is not believed of a clock that nobody has compared."""


NEVER_MS = 86_400_000
"""A house that never knew the time, and is younger than this, has only lived through what it counted: what a larger
step jumps over never was. A smaller one may be an absence."""


class Look(NamedTuple):
    """Both clocks of the machine at one instant, and what is known of the first. A tuple, like `Stamp`."""

    wall_ms: int
    monotonic_ms: int
    """Since the machine's start `machine_boot`; "": which one that was is not known."""

    quality: TimeQuality
    machine_boot: str = ""

    @property
    def offset_ms(self) -> int:
        """Changes only where somebody sets the wall clock."""
        return self.wall_ms - self.monotonic_ms


class SiteTime:
    """The time of one machine, from its start."""

    def __init__(self, look: Look) -> None:
        self.off_ms = 0
        """By how much site time is ahead of the wall clock that is believed, where it neither waits for it nor follows;
        negative: behind."""
        self._doubted_ms: int | None = None
        self._unsure = look.quality in UNSURE
        self._since: Stamp | None = None
        self._estimated = False
        self._newest_ms, self._offset_ms = look.wall_ms, look.offset_ms

    def start_no_earlier_than(self, newest_ms: int, look: Look, guess: Guess | None = None) -> None:
        """The newest time on disk; 0: nothing is on disk. `guess`: how the life before this one went, if by a guess."""
        if guess is not None and look.machine_boot and guess.machine_boot == look.machine_boot:
            self._doubted_ms, self._unsure = guess.doubted_ms, True
            self._since, self._estimated = guess.since, guess.estimated
            self._go_on(max(newest_ms, look.monotonic_ms + guess.offset_ms), look)
        elif guess is not None and _lost(newest_ms, look, guess):
            self._since, self._estimated = guess.since, True
            going_on_ms = newest_ms + (look.monotonic_ms if look.machine_boot else 0)
            self._doubted_ms, self._unsure = going_on_ms - look.monotonic_ms, True
            self._go_on(going_on_ms, look)
        else:
            self._begin(newest_ms, look, guess)

    def _begin(self, newest_ms: int, look: Look, guess: Guess | None) -> None:
        behind, beyond = newest_ms - look.wall_ms > STANDS_STILL_MS, look.wall_ms - newest_ms > BELIEVED_MS
        doubted = look.quality in UNSURE and (behind or (beyond and newest_ms > 0))
        self._doubted_ms, self._unsure = look.offset_ms if doubted else None, look.quality in UNSURE
        self._estimated = False
        began = self._go_on(newest_ms if doubted else max(newest_ms, look.wall_ms), look)
        if self._unsure:
            same = guess is not None and not doubted and _by_one_battery(look, guess)
            self._since = guess.since if guess is not None and same else began._replace(quality=look.quality)
        else:
            self._since = None

    def guess(self, look: Look) -> Guess | None:
        """What the next start has to know; None where this one knows the time."""
        if self._since is None:
            return None
        return Guess(self._since, look.machine_boot, self._offset_ms, self._doubted_ms, self._estimated)

    def now(self, look: Look) -> Stamp:
        """Site time at this look; never less than at an earlier one."""
        wall_ms, monotonic_ms, quality, _ = look
        if (
            wall_ms - monotonic_ms == self._offset_ms
            and wall_ms >= self._newest_ms
            and self._doubted_ms is None
            and self._unsure == (quality in UNSURE)
        ):
            # As nearly always: nobody has set the clock since the last look. This is asked some fifty times a second.
            self._newest_ms, self.off_ms = wall_ms, 0
            return Stamp(wall_ms, quality)
        going_on_ms = max(self._newest_ms, monotonic_ms + self._offset_ms)
        if self._doubted_ms is not None and not self._proven(look, self._doubted_ms):
            return self._go_on(going_on_ms, look, TimeQuality.GUESSED)
        off_ms = going_on_ms - wall_ms
        guessed = self._doubted_ms is not None or (self._unsure and quality not in UNSURE)
        if off_ms > STANDS_STILL_MS or (guessed and off_ms < -STANDS_STILL_MS):
            self.off_ms = off_ms
            return self._go_on(going_on_ms, look, TimeQuality.GUESSED)
        if off_ms < -STANDS_STILL_MS:  # somebody has set the clock: what was stamped before went by another one
            self._since = None
        return self._follow(max(self._newest_ms, wall_ms), look)

    def put_right(self, look: Look) -> None:
        """Take the time of the wall clock. Nothing may run that reads the clock.

        Where that is unsure too, what was moved to it waits with what comes for a time that is known.
        """
        self._since = self._since and self._since._replace(utc_ms=self._since.utc_ms - self.off_ms)
        self._follow(look.wall_ms, look)

    def _follow(self, site_ms: int, look: Look) -> Stamp:
        self.off_ms, self._doubted_ms, self._unsure = 0, None, look.quality in UNSURE
        stamp = self._go_on(site_ms, look, look.quality)
        self._since = (self._since or stamp) if self._unsure else None
        return stamp

    def _go_on(self, site_ms: int, look: Look, quality: TimeQuality = TimeQuality.GUESSED) -> Stamp:
        self._newest_ms, self._offset_ms = site_ms, site_ms - look.monotonic_ms
        return Stamp(site_ms, quality)

    def _proven(self, look: Look, doubted_ms: int) -> bool:
        """A time server has answered, or somebody has set the clock since the start."""
        return look.quality not in UNSURE or abs(look.offset_ms - doubted_ms) >= STANDS_STILL_MS


def _lost(newest_ms: int, look: Look, guess: Guess) -> bool:
    """What an earlier life stamped by its guess does not fit the clock of now: that was another one, or has been set.

    The machine was off in between, for how long is not known: what that life stamped last was before this start. Where
    it lies in the past by less than a day, or the house knew the time once, the machine may have been off for so long.
    """
    past_ms = look.wall_ms - newest_ms
    if look.quality in UNSURE:
        return guess.never and NEVER_MS < past_ms <= BELIEVED_MS
    return past_ms < -STANDS_STILL_MS or (guess.never and past_ms > NEVER_MS)


def _by_one_battery(look: Look, guess: Guess) -> bool:
    """The clock that was followed then has gone on while the machine was off: it is wrong by as much as it was.

    In the first day of a house, that is: later it may have been set in between, and what was right must not be moved.
    """
    return guess.never and guess.doubted_ms is None and guess.since.quality is look.quality is TimeQuality.RTC
