"""Pure: what the settlement holds in memory until the disk takes it: boundary, single and newest readings.

A boundary reading is held from its arrival until its row is written, however long the disk is full, up to `MAX_HELD`
boundaries; then the oldest goes, and is counted. Registers count on, so what is lost is the shape of those quarter
hours, not their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.clock import iso
from gateway.energy.intervals import boundary_of, is_boundary_reading
from gateway.energy.tariff import interval_of
from gateway.model import Event, Reading, Severity
from gateway.sessions.clock_watch import Step

MAX_HELD = 192
"""Boundaries in memory: two days, about 4 MB with 40 meters."""

MAX_SINGLE = 2_000
"""Readings beside a gap, a swap or a step that wait for the disk; further ones are not kept."""

GAP_MS = 120_000
"""Without a reading for this long the readings on both sides of the gap are kept singly."""


class Boundaries:
    """The readings of one run of the gateway, as far as they are not on disk."""

    def __init__(self, meters: Sequence[str]) -> None:
        self._meters = tuple(meters)
        self._held: dict[int, dict[str, Reading]] = {}
        self._from_k = 0
        self._first: dict[str, Reading] = {}
        self._last: dict[str, Reading] = {}
        self._saved: dict[str, Reading] = {}
        self._single: list[tuple[Reading, str]] = []
        self.restored = False
        """Whether the newest readings of the run before are known."""

        self.dropped: list[int] = []
        """Boundaries that were given up, oldest first; whoever tells of them clears it."""

    def take(self, reading: Reading) -> Event | None:
        """A good reading with energy, in the order of arrival; the event where another meter answers now."""
        event = self._notice_gap(reading)
        if interval_of(reading.requested_ms) >= self._from_k and self._hold(reading):
            while len(self._held) > MAX_HELD:
                oldest = min(self._held)
                del self._held[oldest]
                self.dropped.append(oldest)
        return event

    def restore(self, saved: Mapping[str, Reading]) -> list[Event]:
        """The newest readings of the run before this one: what a meter counted until then is known.

        One that seems to come from the future was stamped by another clock, and says nothing.
        """
        self.restored = True
        events: list[Event | None] = []
        for meter, last in saved.items():
            first = self._first.get(meter)
            if first is None:
                self._last.setdefault(meter, last)
            elif last.requested_ms <= first.requested_ms:
                events.append(self._gap(last, first))
        return [event for event in events if event is not None]

    def complete(self, k: int) -> bool:
        """Whether every meter has been read at the boundary that begins `k`."""
        row = self._held.get(k, {})
        return len(row) >= len(self._meters) and all(meter in row for meter in self._meters)

    def of(self, k: int) -> dict[str, Reading | None]:
        """What is known of one boundary; None for a meter that was not read in time."""
        return {meter: self._held.get(k, {}).get(meter) for meter in self._meters}

    def waiting(self, end_k: int) -> int:
        """How many boundaries before `end_k` wait for the disk."""
        return sum(self._from_k <= k < end_k for k in self._held)

    def written(self, end_k: int) -> None:
        """The rows of all boundaries before `end_k` are on disk."""
        self._from_k = end_k
        self._held = {k: row for k, row in self._held.items() if k >= end_k}

    def begin_anew(self, step: Step, remembered: Iterable[Reading]) -> None:
        """Another life of the parts begins, at the right time: rows that were written ahead of it may come again.

        `remembered` are the last minutes of each meter at the right time, oldest first: quarter hours that nobody knew
        of have begun in them.
        """
        self._from_k = 0
        self.move(step)
        for reading in remembered:
            if reading.import_wh is not None:
                self._hold(reading)

    def _hold(self, reading: Reading) -> bool:
        """Keep the first reading of each meter at a quarter hour; whether it lies at one."""
        k = interval_of(reading.requested_ms)
        if not is_boundary_reading(reading, boundary_of(k)):
            return False
        self._held.setdefault(k, {}).setdefault(reading.meter, reading)
        return True

    def move(self, step: Step) -> None:
        """The right time is known: what bears another one lies elsewhere, and is kept singly."""
        self._last = {meter: step.now_at(one) for meter, one in self._last.items()}
        self._first = {meter: step.now_at(one) for meter, one in self._first.items()}
        self._single = [(step.now_at(one), why) for one, why in self._single]
        held, self._held = self._held, {}
        for row in held.values():
            for one in row.values():
                moved = step.now_at(one)
                if not self._hold(moved):
                    self._keep(moved, "restamped")

    # What is written beside the rows

    def single(self) -> list[tuple[Reading, str]]:
        """Readings to be kept singly, and why."""
        return list(self._single)

    def single_written(self, count: int) -> None:
        """The first `count` of them are on disk."""
        del self._single[:count]

    def unsaved(self) -> dict[str, Reading]:
        """The newest reading of every meter where one of them says something new, else nothing."""
        new = any(not _same_register(self._saved.get(meter), one) for meter, one in self._last.items())
        return dict(self._last) if new else {}

    def saved(self, readings: Mapping[str, Reading]) -> None:
        """These are on disk as the newest ones."""
        self._saved = dict(readings)

    def _notice_gap(self, reading: Reading) -> Event | None:
        last = self._last.get(reading.meter)
        known = reading.meter in self._first
        self._first.setdefault(reading.meter, reading)
        self._last[reading.meter] = reading
        if last is None or last.requested_ms > reading.requested_ms:
            self._keep(reading, "gap" if known else "first")
            return None
        short = reading.requested_ms - last.requested_ms <= GAP_MS
        if known and short and not reading.new_level and not _swapped(last, reading):
            return None
        return self._gap(last, reading)

    def _gap(self, last: Reading, reading: Reading) -> Event | None:
        swapped = _swapped(last, reading)
        why = "swap" if swapped or reading.new_level else "gap"
        self._keep(last, f"before_{why}")
        self._keep(reading, f"after_{why}")
        return swap_event(last, reading) if swapped else None

    def _keep(self, reading: Reading, why: str) -> None:
        if len(self._single) < MAX_SINGLE:
            self._single.append((reading, why))


def _swapped(last: Reading, reading: Reading) -> bool:
    return last.serial != reading.serial and last.serial is not None and reading.serial is not None


def _same_register(one: Reading | None, other: Reading) -> bool:
    return one is not None and (one.import_wh, one.export_wh, one.serial) == (
        other.import_wh, other.export_wh, other.serial,
    )  # fmt: skip


def swap_event(last: Reading, reading: Reading) -> Event:
    """Another meter answers: its register, that of the old one, and the time in between that nobody has measured."""
    return Event(
        "meter_swapped",
        f"meter {reading.meter}",
        f"serial {last.serial} at {last.import_wh} Wh, then serial {reading.serial} at {reading.import_wh} Wh; "
        f"from {iso(last.requested_ms)} to {iso(reading.requested_ms)} nothing was metered",
        next_step="write both readings into the log of the house; what flowed in between is billed to nobody, "
        "sessions across the swap wait for a decision",
        severity=Severity.WARNING,
        data={
            "old": last.serial, "new": reading.serial, "old_wh": last.import_wh, "new_wh": reading.import_wh,
            "from": iso(last.requested_ms), "to": iso(reading.requested_ms),
        },
        keep=True,
    )  # fmt: skip


def held_event(count: int, cause: str) -> Event:
    """The disk takes no row: boundaries wait in memory."""
    return Event(
        "boundaries_wait", "disk", f"the readings of {count} quarter hours wait in memory for the disk: {cause}",
        next_step=f"make room on the disk; {MAX_HELD} of them (two days) are held, a restart loses them",
        severity=Severity.ERROR, data={"waiting": count, "most": MAX_HELD}, keep=True,
    )  # fmt: skip


def dropped_event(dropped: Sequence[int]) -> Event:
    """More boundaries than memory may hold."""
    first, last = boundary_of(dropped[0]), boundary_of(dropped[-1])
    return Event(
        "boundaries_lost", "disk", f"the readings of {len(dropped)} quarter hours were given up, "
        f"{iso(first)} to {iso(last)}: more than {MAX_HELD} waited for the disk",
        next_step="their energy is known in sum, its shape is estimated; make room on the disk",
        severity=Severity.ERROR, data={"lost": len(dropped), "first": iso(first), "last": iso(last)}, keep=True,
    )  # fmt: skip


def written_event(count: int) -> Event:
    """The disk takes rows again."""
    return Event(
        "boundaries_written", "disk", f"there is room again: the readings of {count} quarter hours were written late",
        data={"written": count}, keep=True,
    )  # fmt: skip
