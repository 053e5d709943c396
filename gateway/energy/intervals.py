"""Pure: what the registers of one meter say about one interval: boundaries, differences, gaps, a meter swap.

Registers are whole Wh (floored once where they were decoded), so differences telescope: the sum over any run of
intervals is last minus first, to the watt-hour, whatever is missing in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from gateway.model import INTERVAL_MS, Reading

ROLLOVER_FROM = 99
"""A register may begin again at 0 only from this percentage of its range on (billing.md, example 5)."""

ROLLOVER_MAX_W = 100_000
"""What may have flowed at most since the reading before: 3 x 100 A and a margin. More is a reset or another meter."""

BOUNDARY_WAIT_MS = 10_000
"""A boundary value is the first good reading requested within this time after the boundary (site time)."""

CUT_SLACK_MS = 10_000
"""A run of a register may end so much before a session's begin and still be looked at: stamps of a stepped clock."""


def is_boundary_reading(reading: Reading, boundary_ms: int) -> bool:
    """Whether `reading` may stand for the boundary; the first one that may is taken, its skew stands in the row."""
    return boundary_ms <= reading.requested_ms < boundary_ms + BOUNDARY_WAIT_MS and reading.import_wh is not None


def boundary_of(k: int) -> int:
    """UTC ms of the start of interval `k`."""
    return k * INTERVAL_MS


@dataclass(frozen=True, slots=True)
class Known:
    """A reading that takes part in an interval; `estimated` where it was interpolated."""

    reading: Reading
    estimated: bool = False


def interpolated(before: Reading, after: Reading, boundary_ms: int) -> Known | None:
    """The missing boundary value between two good readings of one meter, on the straight line between them.

    Only the shape is estimated: the readings on both sides are true, so is their difference. A register that reached
    its range in between goes on from 0. None where the registers do not belong together (another serial, a new level, a
    register that went back, an instant outside).
    """
    span_ms = after.requested_ms - before.requested_ms
    if not before.requested_ms <= boundary_ms <= after.requested_ms or span_ms <= 0 or not goes_on(before, after):
        return None
    part_ms = boundary_ms - before.requested_ms
    import_wh = _between(before.import_wh, after.import_wh, before, after, part_ms)
    export_wh = _between(before.export_wh, after.export_wh, before, after, part_ms)
    if import_wh is None or (export_wh is None and before.export_wh is not None):
        return None
    estimate = replace(
        before, requested_ms=boundary_ms, replied_ms=boundary_ms, import_wh=import_wh, export_wh=export_wh,
        power_w=None, current_ma=None, raw="",
    )  # fmt: skip
    return Known(estimate, estimated=True)


def same_meter(one: Reading, other: Reading) -> bool:
    """Whether two readings may be of one meter: a serial number that is not known contradicts nothing."""
    return one.serial is None or other.serial is None or one.serial == other.serial


def goes_on(before: Reading, after: Reading) -> bool:
    """Whether the register of `after` counts on from that of `before`, as far as is known."""
    return same_meter(before, after) and not after.new_level


def exchange(before: Reading, after: Reading) -> str:
    """What was exchanged for what, in words: by serial numbers, or by registers where they do not tell."""
    if not same_meter(before, after):
        return f"{before.serial} was exchanged for {after.serial}"
    return f"the register at {before.import_wh} Wh was exchanged for one at {after.import_wh} Wh"


def _between(low_wh: int | None, high_wh: int | None, before: Reading, after: Reading, part_ms: int) -> int | None:
    flowed_wh = _advance(low_wh, high_wh, before, after)
    if low_wh is None or flowed_wh is None:
        return None
    value_wh = low_wh + flowed_wh * part_ms // (after.requested_ms - before.requested_ms)
    return value_wh % before.range_wh if before.range_wh and high_wh is not None and high_wh < low_wh else value_wh


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of one register without a break: from `low_wh` to `high_wh`."""

    serial: str | None
    low_wh: int
    high_wh: int
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One meter in one interval, Wh.

    `problems` say in words why the energy is not known (it is then only what is known of it), `lasting` the same where
    no later data can change it, `notes` what else the reader of a bill must know. `begins` is the first reading there
    ever was of the meter, where it lies in this interval: its energy counts from there. `unread`: there has been none
    yet.
    """

    import_wh: int
    export_wh: int | None
    segments: tuple[Segment, ...]
    estimated: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    begins: Reading | None = None
    unread: bool = False


def begun(meter: str, chain: Sequence[Known], problems: Sequence[str] = (), lasting: Sequence[str] = ()) -> Measured:
    """The energy of a meter in the interval of its first reading ever, which is the first of `chain`.

    What it had counted before belongs to no interval: a house's bills begin with the first registers. An empty chain
    is a meter that has not been read yet; `lasting` says then that its first reading lies after the interval.
    """
    if not chain:
        return Measured(0, 0, (), lasting=tuple(lasting), unread=True)
    first = chain[0].reading
    found = measured(chain, problems, lasting)
    note = f"meter {meter}: counts from its first reading, {first.import_wh} Wh"
    return replace(found, notes=(note, *found.notes), begins=first)


def measured(chain: Sequence[Known], problems: Sequence[str] = (), lasting: Sequence[str] = ()) -> Measured:
    """The energy along the known readings of one meter, oldest first.

    Between two readings of different serials, or where a new level begins, nothing is counted and it is noted: the time
    without a meter is not invented. `problems` and `lasting` are those the caller knows of, such as a missing boundary.
    """
    has_export = all(known.reading.export_wh is not None for known in chain)
    import_wh, export_wh = 0, 0
    segments: list[Segment] = []
    found, notes = list(lasting), []
    for one, other in pairwise(chain):
        before, after = one.reading, other.reading
        if not same_meter(before, after):
            notes.append(f"meter {before.meter}: swapped, {before.serial} by {after.serial}; not metered in between")
            continue
        if after.new_level:
            notes.append(
                f"meter {before.meter}: swapped or reset, {before.import_wh} by {after.import_wh} Wh; "
                "not metered in between"
            )
            continue
        imported = _advance(before.import_wh, after.import_wh, before, after)
        exported = _advance(before.export_wh, after.export_wh, before, after) if has_export else 0
        if imported is None or exported is None:
            found.append(
                f"meter {before.meter}: its register went back from {before.import_wh} to {after.import_wh} Wh"
            )
            continue
        import_wh, export_wh = import_wh + imported, export_wh + exported
        low = before.import_wh or 0
        segments += _segments(before, after, low, imported)
    estimated = any(known.estimated for known in chain)
    return Measured(
        import_wh, export_wh if has_export else None, tuple(_joined(segments)), estimated, tuple(problems),
        tuple(notes), tuple(found),
    )  # fmt: skip


def _advance(low_wh: int | None, high_wh: int | None, before: Reading, after: Reading) -> int | None:
    if low_wh is None or high_wh is None:
        return None
    return high_wh - low_wh if high_wh >= low_wh else _rolled_over(low_wh, high_wh, before, after)


def _rolled_over(low_wh: int, high_wh: int, before: Reading, after: Reading) -> int | None:
    """The energy where a register has reached its range and begun again at 0; None where it cannot be that."""
    range_wh = before.range_wh
    if range_wh is None or not range_wh * ROLLOVER_FROM < low_wh * 100 <= range_wh * 100:
        return None
    flowed_wh = (high_wh - low_wh) % range_wh
    possible_wh = ROLLOVER_MAX_W * (after.requested_ms - before.requested_ms) // 3_600_000
    return flowed_wh if flowed_wh <= possible_wh else None


def _segments(before: Reading, after: Reading, low_wh: int, flowed_wh: int) -> list[Segment]:
    """One run of the register, or two where it began again at 0 in between."""
    if after.import_wh is None or after.import_wh >= low_wh:
        return [Segment(before.serial, low_wh, low_wh + flowed_wh, before.requested_ms, after.requested_ms)]
    first = Segment(
        before.serial, low_wh, low_wh + flowed_wh - after.import_wh, before.requested_ms, after.requested_ms
    )
    return [first, Segment(before.serial, 0, after.import_wh, before.requested_ms, after.requested_ms)]


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbours that continue each other become one."""
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if last and last.high_wh == segment.low_wh and last.to_ms == segment.from_ms and last.serial == segment.serial:
            joined[-1] = replace(last, high_wh=segment.high_wh, to_ms=segment.to_ms)
        else:
            joined.append(segment)
    return joined


@dataclass(frozen=True, slots=True)
class Cut:
    """A session on a meter: the registers at its begin and end; `end_wh` None while it goes on.

    `from_ms` and `to_ms` are when these registers stood there (UTC); None where no time bounds the cut.
    """

    session: str
    serial: str | None
    begin_wh: int
    end_wh: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def may_touch(self, segment: Segment) -> bool:
        """Whether the session may have taken energy there.

        The registers decide how much. Of a run that ended before the session began, or began after it ended, they
        decide nothing: where a meter without a serial number was exchanged, the same numbers come again.
        """
        if self.serial is not None and segment.serial is not None and self.serial != segment.serial:
            return False
        began = self.from_ms is None or segment.to_ms > self.from_ms - CUT_SLACK_MS
        return began and (self.to_ms is None or segment.from_ms < self.to_ms + CUT_SLACK_MS)


def within(cut: Cut, segments: Sequence[Segment]) -> int:
    """What the session took in these segments, Wh. Over all intervals the pieces sum to end - begin."""
    total = 0
    for segment in segments:
        if not cut.may_touch(segment):
            continue
        low = min(max(cut.begin_wh, segment.low_wh), segment.high_wh)
        high = segment.high_wh if cut.end_wh is None else min(max(cut.end_wh, segment.low_wh), segment.high_wh)
        total += max(0, high - low)
    return total
