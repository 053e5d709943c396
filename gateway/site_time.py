"""Pure: what time a site goes by, from a wall clock that may be wrong and a monotonic one that counts.

The newest time on disk is the floor of a start. A wall clock that is behind it (no battery), or far beyond it without
ever having been compared with the world (a battery clock that was set wrong), is not believed: time goes on from the
floor, guessed, until a time server answers or somebody sets the clock. What is believed is followed. Within one life
of the gateway's parts time never goes backwards: a small correction is waited for, a large one is `ahead_ms`, and the
application starts its parts anew at the right time (docs/decisions/0008).
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.model import Stamp, TimeQuality

UNSURE = frozenset({TimeQuality.GUESSED, TimeQuality.RTC})
"""Nobody has compared these with the time of the world."""

STANDS_STILL_MS = 10_000
"""Time stands still for at most so long to let a wall clock catch up that was set back."""

BELIEVED_MS = 7 * 86_400_000
"""A longer absence is not believed of a clock that nobody has compared."""


class Look(NamedTuple):
    """Both clocks of the machine at one instant, and what is known of the first. A tuple, like `Stamp`."""

    wall_ms: int
    monotonic_ms: int
    quality: TimeQuality

    @property
    def offset_ms(self) -> int:
        """Changes only where somebody sets the wall clock."""
        return self.wall_ms - self.monotonic_ms


class SiteTime:
    """The time of one machine, from its start."""

    def __init__(self, look: Look) -> None:
        self.ahead_ms = 0
        """By how much site time is ahead of a wall clock that is believed, where it does not wait for it."""
        self._doubted_ms: int | None = None
        self._newest_ms, self._offset_ms = look.wall_ms, look.offset_ms

    def start_no_earlier_than(self, newest_ms: int, look: Look) -> None:
        """The newest time on disk; 0: nothing is on disk."""
        behind, beyond = newest_ms - look.wall_ms > STANDS_STILL_MS, look.wall_ms - newest_ms > BELIEVED_MS
        doubted = look.quality in UNSURE and (behind or (beyond and newest_ms > 0))
        self._doubted_ms = look.offset_ms if doubted else None
        self._go_on(newest_ms or look.wall_ms, look)

    def now(self, look: Look) -> Stamp:
        """Site time at this look; never less than at an earlier one."""
        going_on_ms = max(self._newest_ms, look.monotonic_ms + self._offset_ms)
        if self._doubted_ms is not None and not self._proven(look, self._doubted_ms):
            return self._go_on(going_on_ms, look, TimeQuality.GUESSED)
        self._doubted_ms = None
        ahead_ms = going_on_ms - look.wall_ms
        if ahead_ms > STANDS_STILL_MS:
            self.ahead_ms = ahead_ms
            return self._go_on(going_on_ms, look, TimeQuality.GUESSED)
        self.ahead_ms = 0
        return self._go_on(max(self._newest_ms, look.wall_ms), look, look.quality)

    def set_back(self, look: Look) -> int:
        """Take the time of the wall clock, and say how far back that is. Nothing may run that reads the clock."""
        back_ms = self.now(look).utc_ms - look.wall_ms
        self._go_on(look.wall_ms, look)
        return back_ms

    def _go_on(self, site_ms: int, look: Look, quality: TimeQuality = TimeQuality.GUESSED) -> Stamp:
        self._newest_ms, self._offset_ms = site_ms, site_ms - look.monotonic_ms
        return Stamp(site_ms, quality)

    def _proven(self, look: Look, doubted_ms: int) -> bool:
        """A time server has answered, or somebody has set the clock since the start."""
        return look.quality not in UNSURE or abs(look.offset_ms - doubted_ms) >= STANDS_STILL_MS
