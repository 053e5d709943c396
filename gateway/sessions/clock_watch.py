"""Pure: notices that the site's clock stepped, and which readings of this start bear a time that nobody was sure of.

Without a hardware clock a start goes on from the newest time on disk, marked guessed. When the right time comes, what
was written since is moved by the difference: the monotonic clock counted all the while, so the difference is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.energy.intervals import is_boundary_reading
from gateway.model import Reading, Stamp, TimeQuality
from gateway.site_time import UNSURE

STEP_MS = 2000
"""A smaller step is the slewing and the jitter of a good clock."""


@dataclass(frozen=True, slots=True)
class Step:
    """The clock moved against the monotonic clock by `delta_ms`.

    `since_ms` ... `until_ms`, in the time before the step, is when readings were stamped that are moved by it; None
    where none are: the clock was sure of itself before.
    """

    delta_ms: int
    before: TimeQuality
    after: TimeQuality
    since_ms: int | None = None
    until_ms: int | None = None
    beyond_ms: int | None = None
    """Where the clock was ahead: the right time. Whatever bears a later one is moved, whoever was sure of it."""

    def moves(self, reading: Reading) -> bool:
        """Whether the time of this reading is to be moved."""
        return self.moves_at(reading.requested_ms, reading.quality)

    def moves_at(self, at_ms: int, quality: TimeQuality) -> bool:
        """Whether an instant is to be moved that was written with this quality."""
        if self.beyond_ms is not None and at_ms > self.beyond_ms:
            return True
        if self.since_ms is None or self.until_ms is None or quality not in UNSURE:
            return False
        return self.since_ms <= at_ms <= self.until_ms

    def moved(self, reading: Reading) -> Reading:
        """The reading at the right time."""
        requested_ms = self.moved_ms(reading.requested_ms)
        replied_ms = requested_ms + reading.replied_ms - reading.requested_ms
        return replace(reading, requested_ms=requested_ms, replied_ms=replied_ms, quality=self.after)

    def now_at(self, reading: Reading) -> Reading:
        """The reading at the right time where it has to be moved, else as it is."""
        return self.moved(reading) if self.moves(reading) else reading

    def moved_ms(self, at_ms: int) -> int:
        """The right time of an instant.

        What an earlier start stamped ahead keeps its order and its distances, and lies before this start, which went on
        from the newest of it: later than it was by as long as the machine was off, and nobody knows how long.
        """
        return at_ms + self.delta_ms


class ClockWatch:
    """Compares wall clock and monotonic clock from look to look."""

    def __init__(self, stamp: Stamp, monotonic_s: float) -> None:
        self._offset_ms = _offset_ms(stamp, monotonic_s)
        self._last = stamp
        self._since_ms: int | None = stamp.utc_ms if stamp.quality in UNSURE else None

    def look(self, stamp: Stamp, monotonic_s: float) -> Step | None:
        """What happened since the last look; None where the clock just went on."""
        offset_ms, last = _offset_ms(stamp, monotonic_s), self._last
        delta_ms = offset_ms - self._offset_ms
        until_ms = stamp.utc_ms - delta_ms
        stepped = abs(delta_ms) >= STEP_MS
        became_sure = last.quality in UNSURE and stamp.quality not in UNSURE
        self._last = stamp
        if stamp.quality in UNSURE:
            if self._since_ms is None:
                self._since_ms = stamp.utc_ms
            if not stepped:
                return None
            self._offset_ms = offset_ms
            return Step(delta_ms, last.quality, stamp.quality)
        since_ms, self._since_ms = self._since_ms, None
        self._offset_ms = offset_ms
        if became_sure and since_ms is not None and (stepped or last.quality is TimeQuality.GUESSED):
            return Step(delta_ms, last.quality, stamp.quality, since_ms, until_ms)
        return Step(delta_ms, last.quality, stamp.quality) if stepped else None


def _offset_ms(stamp: Stamp, monotonic_s: float) -> int:
    return stamp.utc_ms - round(monotonic_s * 1000)


@dataclass(frozen=True, slots=True)
class MovedRow:
    """A boundary row after a step: the readings that still stand for the boundary, and those that lie elsewhere."""

    boundary: Mapping[str, Reading | None]
    elsewhere: tuple[Reading, ...]
    changed: bool


def move_row(boundary: Mapping[str, Reading | None], boundary_ms: int, step: Step) -> MovedRow:
    """Move the readings of one boundary to the right time. One that no longer lies at it leaves it missing."""
    kept: dict[str, Reading | None] = {}
    elsewhere: list[Reading] = []
    changed = False
    for meter, reading in boundary.items():
        if reading is None or not step.moves(reading):
            kept[meter] = reading
            continue
        changed = True
        moved = step.moved(reading)
        stays = is_boundary_reading(moved, boundary_ms)
        kept[meter] = moved if stays else None
        if not stays:
            elsewhere.append(moved)
    return MovedRow(kept, tuple(elsewhere), changed)
