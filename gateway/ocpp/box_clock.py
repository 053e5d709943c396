"""Pure: the time on a wallbox's own clock, by which it decides whether a charging profile has begun and ended.

A limit that ends by itself has to name a begin. Where the gateway's clock is a guess, a box that knows the
time takes that begin for past or still to come, and charges by its fallback instead: such a box is told in its own
time. What it said is kept against the monotonic clock, so that no step of ours moves it.
"""

from __future__ import annotations

from collections import deque

from gateway.ocpp.actions import Now

KEPT = 3
"""Words of the box that count; the latest of them, since what it kept and sends later bears an old time."""


class BoxClock:
    """What one box said of the time since it was last connected."""

    def __init__(self) -> None:
        self._offsets_ms: deque[int] = deque(maxlen=KEPT)

    def forget(self) -> None:
        """It boots, or connects anew: it may have been told another time."""
        self._offsets_ms.clear()

    def heard(self, said_ms: int | None, now: Now) -> None:
        """A message of the box bears this time."""
        if said_ms is not None:
            self._offsets_ms.append(said_ms - round(now.monotonic_s * 1000))

    def knows(self, now: Now) -> bool:
        """Whether what is written into a profile is the box's time, as far as anybody can know."""
        return now.sure or bool(self._offsets_ms)

    def now_ms(self, now: Now) -> int:
        """The time to write into a profile: ours, where somebody has compared it; else the box's, where it is known."""
        if now.sure or not self._offsets_ms:
            return now.utc_ms
        return max(self._offsets_ms) + round(now.monotonic_s * 1000)
