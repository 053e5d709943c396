"""Pure: when it is told that a meter is lost and that it is back. One that comes and goes is told of ever less often.

A meter is told to be back when it has answered for a while without being lost again: 30 s, and twice as long each time
it was lost soon after, up to a quarter hour. So one bad plug makes a handful of events, not ten a minute (I12). What
the load manager and `status` see is not delayed by this.
"""

from __future__ import annotations

from dataclasses import dataclass

STEADY_S = 30.0
"""Site seconds for which a meter must answer before it is told to be back ..."""

STEADY_MOST_S = 900.0
"""... twice as long after each relapse, up to this."""

RELAPSE_S = 900.0
"""Lost again within this time after it was told to be back: a relapse."""


@dataclass(slots=True)
class Presence:
    """What was told of one meter. Times are site-monotonic seconds, handed in."""

    told_lost: bool = False
    _steady_s: float = STEADY_S
    _losses: int = 0
    _answers_since_s: float | None = None
    _back_s: float | None = None

    def lost(self, now_s: float) -> bool:
        """It is lost: whether that is to be told."""
        if self.told_lost:
            self._losses += self._answers_since_s is not None
            self._answers_since_s = None
            return False
        relapse = self._back_s is not None and now_s - self._back_s < RELAPSE_S
        self._steady_s = min(2 * self._steady_s, STEADY_MOST_S) if relapse else STEADY_S
        self.told_lost, self._losses, self._answers_since_s = True, 1, None
        return True

    def answered(self, now_s: float) -> int | None:
        """It answers: how often it was lost meanwhile where it is to be told that it is back, else None."""
        if not self.told_lost:
            return None
        if self._answers_since_s is None:
            self._answers_since_s = now_s
        if now_s - self._answers_since_s < self._steady_s:
            return None
        self.told_lost, self._back_s = False, now_s
        return self._losses
