"""Pure: a car that follows what a wallbox offers it, late, a little greedily at first, and slower when nearly full.

IEC 61851-1: the offer is 0 or at least 6 A; a car follows a change within 5 s plus what it takes itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MIN_OFFER_MA = 6000
TAPER_FROM = 0.9
"""From this share of its need on, a car takes less and less, down to `TAPER_TO_MA`."""
TAPER_TO_MA = 2000


@dataclass(slots=True)
class Car:
    """One car at one wallbox.

    `need_wh` is what its battery still takes; `delay_ms` how long it needs to follow an offer; `over_ms` how long it
    draws `over_ma` more than the offer at its start.
    """

    name: str
    phases: int
    max_ma: int
    need_wh: float
    delay_ms: int = 5500
    start_ms: int = 3000
    over_ms: int = 2000
    over_ma: int = 1500
    taken_wh: float = 0.0
    _offers: deque[tuple[int, int]] = field(default_factory=deque)
    _drawing_from_ms: int | None = None

    def full(self) -> bool:
        """Its battery takes no more."""
        return self.taken_wh >= self.need_wh

    def draw_ma(self, offer_ma: int | None, now_ms: int) -> int:
        """What it draws on each of its phases; `offer_ma` None: the contactor is open."""
        if offer_ma is None:
            self._offers.clear()
            self._drawing_from_ms = None
            return 0
        self._remember(offer_ma, now_ms)
        followed = self._followed(now_ms)
        if followed < MIN_OFFER_MA or self.full():
            self._drawing_from_ms = None
            return 0
        if self._drawing_from_ms is None:
            self._drawing_from_ms = now_ms
        greed = self.over_ma if now_ms - self._drawing_from_ms < self.over_ms else 0
        return min(followed + greed, self._wants_ma())

    def _remember(self, offer_ma: int, now_ms: int) -> None:
        if not self._offers:
            # The first offer is followed after the time that a car needs to lock and to close its own relays.
            self._offers.append((now_ms - self.delay_ms, 0))
            self._offers.append((now_ms - self.delay_ms + self.start_ms, offer_ma))
        elif self._offers[-1][1] != offer_ma:
            self._offers.append((now_ms, offer_ma))

    def _followed(self, now_ms: int) -> int:
        while len(self._offers) > 1 and self._offers[1][0] <= now_ms - self.delay_ms:
            self._offers.popleft()
        return self._offers[0][1]

    def _wants_ma(self) -> int:
        share = self.taken_wh / self.need_wh
        if share <= TAPER_FROM:
            return self.max_ma
        left = max(0.0, (1 - share) / (1 - TAPER_FROM))
        return min(self.max_ma, round(TAPER_TO_MA + left * (self.max_ma - TAPER_TO_MA)))
