"""I12: what the gateway holds in memory and writes to its disk stays in a budget, whatever a peer does.

Simulators and gateway share one process here, so its memory says nothing. What a machine's tasks reach, and what the
gateway's modules keep, is counted object by object; code, simulators and the libraries' modules are left out.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from simulators.judge.evidence import Evidence
from simulators.judge.times import QUARTER_MS
from simulators.judge.verdict import Finding, Notes

from .disk import Disk

LOOK_EVERY_S = 900
"""A look takes some hundredths of a second: once in a quarter hour."""

HELD_BYTES, HELD_BYTES_A_BOX = 4_000_000, 250_000
"""In memory, beside code and libraries."""

DISK_BYTES, DISK_BYTES_A_BOX_HOUR = 4_000_000, 400_000
"""Database and journal."""

DISK_BYTES_A_QUARTER_AHEAD = 20_000
"""A clock that is days ahead is believed as an absence of days: each of its quarter hours is a row that is told, and
told again when it is taken back."""

BELIEVED_MS = 7 * 86_400_000
"""A longer absence is not believed (docs/decisions/0008)."""

WRITTEN_BYTES_A_BOX_HOUR = 40_000_000
"""Wide: every card that a box shows is remembered on disk, and a box may show forty a second. Without hostile peers it
is 2 MB."""

LOGGED_BYTES_A_BOX_HOUR = 50_000
"""Twice what the worst of 150 watches wrote: with forty faults an hour and peers that mean no good. An SD card."""

EVENTS_A_BOX_HOUR = 60

FLAT_FROM_LOOKS = 32
"""In a run of eight hours and more what is held in its second half is compared with the first."""

FLAT = 1.2

GROWN_LOOKS = 2
"""From so many looks on a machine's age makes no difference."""

_CODE = (types.ModuleType, type, types.CodeType, types.BuiltinFunctionType, asyncio.AbstractEventLoop)
_OUTSIDE = ("tests.", "simulators.", "structlog", "logging")
_KEEPS = (dict, list, set, deque)
_LEAVES = frozenset({int, str, float, bytes})
"""Most objects are of these kinds, and refer to nothing."""

_Way = Callable[[Any], Iterable[Any]]


class Budget:
    """Looks at a machine now and then, and remembers the most of each."""

    def __init__(self, boxes: int) -> None:
        self._boxes = boxes
        self._held: list[tuple[int, int]] = []
        """Of each look: how many there were before in this life of the machine, and the bytes."""
        self._age = 0
        self._largest = self._written = 0

    def look(self, task: asyncio.Task[None], disk: Disk) -> None:
        """Count what is held and stored now."""
        self._held.append((self._age, held_bytes([task, *kept_by_modules()])))
        self._age += 1
        self._largest = max(self._largest, disk.size)

    def ended(self, disk: Disk) -> None:
        """A life of the machine is over."""
        self._age = 0
        self._written += disk.bytes_written
        self._largest = max(self._largest, disk.size)

    def finding(self, evidence: Evidence) -> Finding:
        """The finding on I12."""
        notes, boxes = Notes("I12"), self._boxes
        hours = max(1.0, (evidence.end_ms - evidence.story[0].at_ms) / 3_600_000)
        box_hours = boxes * hours
        ((events,),) = evidence.rows("cloud.db", "SELECT count(*) FROM record WHERE lane = 'event'")
        logged = (evidence.folder / "gateway.log").stat().st_size
        for name, found, most in (
            ("held in memory", max((held for _, held in self._held), default=0), HELD_BYTES + boxes * HELD_BYTES_A_BOX),
            ("on disk", self._largest, DISK_BYTES + box_hours * DISK_BYTES_A_BOX_HOUR + ahead_bytes(evidence)),
            ("written to disk", self._written, box_hours * WRITTEN_BYTES_A_BOX_HOUR),
            ("logged", logged, box_hours * LOGGED_BYTES_A_BOX_HOUR),
        ):
            notes.figure(name, _mb(found))
            notes.expect(found <= most, f"{name}: {_mb(found)}, the budget is {_mb(most)}")
        notes.figure("events", events)
        most_events = round(box_hours * EVENTS_A_BOX_HOUR)
        notes.expect(events <= most_events, f"{events} events for the cloud, the budget is {most_events}")
        notes.expect(bool(self._held), "nobody has looked")
        if len(self._held) >= FLAT_FROM_LOOKS:
            grown = growth(self._held)
            notes.figure("second half of the first half's memory", f"{grown:.2f}")
            notes.expect(grown <= FLAT, f"what is held in memory grows: {grown:.2f} times from one half to the other")
        return notes.finding()


def ahead_bytes(evidence: Evidence) -> int:
    """What the quarter hours take that a clock which was ahead has told of."""
    ahead_ms = max((int(told.data["off_ms"]) for told in evidence.told("clock_reads")), default=0)
    return max(0, min(ahead_ms, BELIEVED_MS)) // QUARTER_MS * DISK_BYTES_A_QUARTER_AHEAD


def growth(looks: Sequence[tuple[int, int]]) -> float:
    """What is usually held in the second half of a run, as a multiple of the first half's.

    Only looks of one age are compared: half an hour of readings is kept, so that a machine which was killed ten minutes
    ago holds half of what an old one does, and the kills of a seed fall where they like.
    """
    middle = len(looks) // 2
    first, second = (_by_age(half) for half in (looks[:middle], looks[middle:]))
    both = [(min(len(first[age]), len(second[age])), age) for age in first.keys() & second.keys()]
    grown = sum(count * median(second[age]) / median(first[age]) for count, age in both)
    return grown / sum(count for count, _ in both)


def _by_age(looks: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    held: dict[int, list[int]] = {}
    for age, size in looks:
        held.setdefault(min(age, GROWN_LOOKS), []).append(size)
    return held


def held_bytes(roots: Iterable[Any]) -> int:
    """Bytes of all objects that `roots` reach, code and simulators left out."""
    seen: set[int] = set()
    ways: dict[type, _Way | None] = {}
    waiting, total = list(roots), 0
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        kind = type(found)
        if kind not in ways:
            ways[kind] = _way_on(kind)
        on = ways[kind]
        if on is not None:
            seen.add(id(found))
            total += sys.getsizeof(found, 0)
            if kind not in _LEAVES:
                waiting.extend(on(found))
    return total


def kept_by_modules() -> list[Any]:
    """The containers that the gateway's modules keep for everybody."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("gateway.")]
    return [kept for module in modules for kept in vars(module).values() if isinstance(kept, _KEEPS)]


def _way_on(kind: type) -> _Way | None:
    """What gives the objects that one of this kind refers to; None: it is outside and does not count.

    Asked once for a kind: a look comes by tens of thousands of objects.
    """
    if issubclass(kind, asyncio.Task):
        return _of_task
    if issubclass(kind, _CODE) or str(kind.__module__).startswith(_OUTSIDE):
        return None
    return _of_function if issubclass(kind, types.FunctionType) else gc.get_referents


def _of_task(task: asyncio.Task[Any]) -> Iterable[Any]:
    return [task.get_coro()]


def _of_function(function: types.FunctionType) -> Iterable[Any]:
    """Its globals are its module's; what it has closed over is its own."""
    return [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]


def _mb(size: float) -> str:
    return f"{size / 1e6:.2f} MB"
