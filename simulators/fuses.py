"""Pure: fuses that open by their trip curve, at the fast end of what the standard allows.

Points: IEC 60269 gG (1.25 In never; 40 A holds 95 A for 10 s and opens within 5 s at 190 A), EN 60898 MCB type B
(1.13 In never, 2.55 In from 1 s, 3 In at once), VDE 0641-21 SLS type E (1.05 In never, 1.2 In within 2 h). Between two
points the time is interpolated on logarithmic scales; a fuse collects the share of its time that each second uses up,
and forgets it while it carries less than its rated current.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

CURVES: dict[str, tuple[tuple[float, float], ...]] = {
    "gG": ((1.25, 7200.0), (2.375, 10.0), (4.75, 1.0), (10.0, 0.1)),
    "MCB": ((1.13, 7200.0), (2.55, 1.0), (3.0, 0.02)),
    "SLS": ((1.05, 7200.0), (1.2, 1200.0), (2.5, 5.0), (5.0, 0.1)),
}
"""(multiple of the rated current, seconds until it opens); below the first point it never does."""

COOLING_S = 600.0
"""After this long below the rated current a fuse has forgotten what it carried."""


def trip_time_s(kind: str, ratio: float) -> float:
    """Seconds that a cold fuse of `kind` carries `ratio` times its rated current; infinite where it never opens."""
    curve = CURVES[kind]
    if ratio <= curve[0][0]:
        return math.inf
    for (low, low_s), (high, high_s) in pairwise(curve):
        if ratio <= high:
            part = math.log(ratio / low) / math.log(high / low)
            return math.exp(math.log(low_s) + part * math.log(high_s / low_s))
    return curve[-1][1]


@dataclass(slots=True)
class Fuse:
    """One phase of one fuse. `used` runs from 0 (cold) to 1 (opens)."""

    kind: str
    rated_ma: int
    used: float = 0.0
    open: bool = False

    def carry(self, current_ma: float, seconds: float) -> bool:
        """Carry a current for a while; True where the fuse opens now."""
        if self.open:
            return False
        ratio = abs(current_ma) / self.rated_ma
        if ratio < 1:
            self.used = max(0.0, self.used - seconds / COOLING_S)
            return False
        self.used += seconds / trip_time_s(self.kind, ratio)
        self.open = self.used >= 1
        return self.open


@dataclass(frozen=True, slots=True)
class Excess:
    """A phase of a circuit was above `kind` of its limit from `at_ms` for `seconds`; `ratio` is the highest seen."""

    kind: str
    at_ms: int
    seconds: float
    ratio: float


@dataclass(slots=True)
class ExcessWatch:
    """Finds the stretches in which a current is above a multiple of the limit; shorter gaps do not end a stretch."""

    kind: str
    above: float
    gap_ms: int = 2000
    _from_ms: int | None = None
    _last_ms: int = 0
    _ratio: float = 0.0

    def see(self, ratio: float, from_ms: int, to_ms: int) -> Excess | None:
        """The current was `ratio` of the limit in [from, to); returns a stretch that has ended."""
        if ratio > self.above:
            if self._from_ms is None:
                self._from_ms, self._ratio = from_ms, 0.0
            self._last_ms, self._ratio = to_ms, max(self._ratio, ratio)
            return None
        if self._from_ms is not None and to_ms - self._last_ms >= self.gap_ms:
            return self.end()
        return None

    def end(self) -> Excess | None:
        """The stretch that is still open, if one is."""
        if self._from_ms is None:
            return None
        found = Excess(self.kind, self._from_ms, (self._last_ms - self._from_ms) / 1000, self._ratio)
        self._from_ms = None
        return found
