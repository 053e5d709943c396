"""Pure: when it is told that a meter leaves requests unanswered though it is there, and that this is over.

A meter that is lost is told as lost. One that is late with every third answer, or damages it, gives readings all the
time and yet has a fault: a termination that is missing, a time-out that is too short. Somebody has to know.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

REQUESTS = 20
FAILED = 5
"""So many of the last so many requests without an answer that can be used; a sound line loses one in a thousand."""


@dataclass(slots=True)
class Steadiness:
    """The newest requests to one meter: which of them failed."""

    told: bool = False
    _requests: int = 0
    _failed: deque[int] = field(default_factory=deque)
    """The numbers of those that failed, of the newest `REQUESTS`."""

    def settle(self, *, failed: bool, lost: bool) -> int | None:
        """A request is over: how many of the newest failed where something is to be told, else None; 0: it is over.

        What is told as lost needs no second word, and begins anew when it is back.
        """
        if lost:
            self._requests = 0
            self._failed.clear()
            return None
        self._requests += 1
        if failed:
            self._failed.append(self._requests)
        while self._failed and self._failed[0] <= self._requests - REQUESTS:
            self._failed.popleft()
        count = len(self._failed)
        steady = not count and self._requests >= REQUESTS
        if not (steady if self.told else count >= FAILED):
            return None
        self.told = not self.told
        return count
