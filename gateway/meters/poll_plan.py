"""Pure: what a bus asks next, from what is due and what has happened. Times are site-monotonic seconds, handed in.

Order: energy that someone waits for, then the burst at a quarter hour, then cycles by their deadline. A meter that does
not answer is tried once in 2 s x n, at most every 5 min, and shrinks no other meter's share. Blocks that a meter
refuses get smaller until it answers; a value that it does not have is learnt once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.meters.answer import Answer
from gateway.meters.blocks import MeterBlocks, plan_blocks
from gateway.meters.meter_model import MeterModel, Span

LOST_AFTER = 2
BACKOFF_STEP_S = 2.0
BACKOFF_MAX_S = 300.0
IDENTIFY_EVERY_S = 300.0
IDENTIFY_SLACK_S = 60.0
IDENTIFY_AGAIN_S = 10.0
"""Of a meter that answers nonsense the serial number is asked no more often than this."""

NAMELESS_AFTER = 3
"""Silences in a row where the serial number stands, before a meter that never gave it is read without it."""

NAMELESS_AT_MOST = 6
"""After so many silences in a row a meter is taken to have no serial number, and nobody is made to wait for it."""

REFUSES_ADDRESS = frozenset((1, 2, 3))
"""Exception codes that speak of the request (illegal function, address, value); others of the moment."""


class Kind(StrEnum):
    """What a task is for."""

    IDENTIFY = "identify"
    CYCLE = "cycle"
    ENERGY = "energy"


@dataclass(slots=True)
class Entry:
    """One meter of the bus and how it stands.

    `due_s` is when its next cycle may begin, `misses` the tasks in a row that failed, `proven` the blocks that it has
    once answered, `named` whether it has once given its serial number, `nameless` how often in a row it was silent when
    asked for it, `asked_s` when it was asked last, `doubted` whether its first level has made it be asked, `rested_s`
    when it may be asked again. After a silence it is left alone for `calm_s`: what it may still send must not pass for
    the answer to a repeated request.
    """

    id: str
    unit: int
    model: MeterModel
    period_s: float
    rest_s: float
    calm_s: float
    gap: int
    blocks: MeterBlocks
    due_s: float = 0.0
    identify_s: float = 0.0
    identified: bool = False
    named: bool = False
    nameless: int = 0
    asked_s: float = float("-inf")
    doubted: bool = False
    misses: int = 0
    rested_s: float = 0.0
    max_block: int | None = None
    absent: frozenset[str] = frozenset()
    proven: set[Span] = field(default_factory=set)

    @property
    def lost(self) -> bool:
        """Whether it has missed its cycles."""
        return self.misses >= LOST_AFTER

    def replan(self) -> None:
        """Make the blocks anew from what was learnt."""
        self.blocks = plan_blocks(self.model, gap=self.gap, max_block=self.max_block, absent=self.absent)

    def ask_name_again(self) -> None:
        """A meter that was silent about its serial number, or has once given it, was disturbed: it is asked again."""
        if (self.named or self.nameless) and "serial" in self.absent:
            self.absent -= {"serial"}
            self.replan()


@dataclass(slots=True, eq=False)
class Task:
    """The requests that together make one reading (or one identification) of one meter."""

    entry: Entry
    kind: Kind
    spans: tuple[Span, ...]
    deadline_s: float
    boundary: bool = False
    done: int = 0
    answers: dict[Span, Answer] = field(default_factory=dict)

    @property
    def span(self) -> Span:
        """What is asked next."""
        return self.spans[self.done]

    @property
    def complete(self) -> bool:
        """Whether every request has been answered."""
        return self.done == len(self.spans)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a refusal taught: the largest block that this meter gives, or the value that it does not have."""

    max_block: int | None = None
    absent: str | None = None


class BusPlan:
    """The tasks of one bus."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._urgent: list[Task] = []
        self._cycles: dict[str, Task] = {}

    def add(
        self,
        meter: str,
        unit: int,
        model: MeterModel,
        *,
        period_s: float,
        gap: int,
        rest_s: float = 0.0,
        calm_s: float = 0.0,
    ) -> None:
        """A meter of this bus. Its first cycle is due at once."""
        blocks = plan_blocks(model, gap=gap)
        self.entries[meter] = Entry(meter, unit, model, period_s, rest_s, max(rest_s, calm_s), gap, blocks)

    def demand(self, meter: str, now_s: float) -> bool:
        """Someone waits for the energy of `meter`. False where it cannot be had: lost or not yet identified."""
        entry = self.entries[meter]
        if entry.lost or not entry.identified:
            return False
        if not any(task.entry is entry and not task.boundary for task in self._urgent):
            waiting = sum(not task.boundary for task in self._urgent)
            self._urgent.insert(waiting, Task(entry, Kind.ENERGY, _energy(entry), now_s))
        if 0 < entry.nameless <= NAMELESS_AT_MOST:
            self.identify(meter, now_s)  # who waits for a register needs its name as well
        return True

    def boundary(self, now_s: float) -> None:
        """A quarter hour has begun: the energy of every meter, the lost ones once and last."""
        self._urgent = [task for task in self._urgent if not task.boundary]
        known = [entry for entry in self.entries.values() if entry.identified]
        for entry in sorted(known, key=lambda one: one.lost):
            self._urgent.append(Task(entry, Kind.ENERGY, _energy(entry), now_s, boundary=True))
        for entry in self.entries.values():
            if not entry.identified:
                # It may be back, and its boundary register can be had for 10 s only: its back-off ends here.
                entry.due_s = min(entry.due_s, now_s)

    def next(self, now_s: float, *, boundary_near: bool = False) -> Task | None:
        """The task whose `span` is to be asked now. Before a boundary no time is lost on those that do not answer."""
        for task in self._urgent:
            if task.entry.rested_s <= now_s:
                return task
        for entry in self.entries.values():
            if entry.due_s <= now_s and entry.id not in self._cycles:
                self._cycles[entry.id] = _cycle(entry, now_s)
        first: Task | None = None
        for task in self._cycles.values():
            if task.entry.rested_s > now_s or (boundary_near and task.entry.misses):
                continue
            if first is None or task.deadline_s < first.deadline_s:
                first = task
        return first

    def due_s(self, *, boundary_near: bool = False) -> float:
        """When `next` may have something, if nothing else happens."""
        times = [task.entry.rested_s for task in self._urgent]
        times += [
            max(entry.rested_s, 0.0 if entry.id in self._cycles else entry.due_s)
            for entry in self.entries.values()
            if not (boundary_near and entry.misses)
        ]
        return min(times, default=float("inf"))

    def answered(self, task: Task, answer: Answer, now_s: float) -> None:
        """The meter gave `task.span`."""
        entry, span = task.entry, task.span
        task.answers[span] = answer
        entry.proven.add(span)
        entry.rested_s = now_s + entry.rest_s
        task.done += 1
        if task.complete:
            self._finish(task, now_s)

    def silent(self, task: Task, now_s: float) -> Learnt | None:
        """No answer, or none that could be used. A block that was never answered by a meter that is there shrinks."""
        entry, span = task.entry, task.span
        entry.rested_s = now_s + entry.calm_s
        if task.kind is Kind.IDENTIFY and task.done > 0:
            return self._nameless(task, now_s)
        if task.kind is not Kind.IDENTIFY and not entry.misses and span not in entry.proven:
            learnt = self._shrink(task)
            if learnt is not None:
                return learnt
        self._miss(task, now_s)
        return None

    def refused(self, task: Task, code: int, now_s: float) -> Learnt | None:
        """The meter answered with an exception."""
        entry = task.entry
        entry.rested_s = now_s + entry.rest_s
        if task.kind is Kind.IDENTIFY and task.done > 0:
            entry.nameless = 0
            return self._without(task, "serial", now_s)
        if task.kind is Kind.IDENTIFY or code not in REFUSES_ADDRESS:
            self._miss(task, now_s)
            return None
        learnt = self._shrink(task)
        if learnt is not None:
            return learnt
        name = _only_value(entry, task.span)
        if name is None or name == "energy_import_wh":
            self._miss(task, now_s)
            return None
        return self._without(task, name, now_s)

    def rejected(self, task: Task, now_s: float) -> None:
        """It answered something that cannot be this model: count it as not answered."""
        task.entry.identified = False
        self._miss(task, now_s)

    def again(self, meter: str, now_s: float) -> None:
        """Read `meter` at once, ahead of its period."""
        self.entries[meter].due_s = now_s

    def identify(self, meter: str, now_s: float, *, first: bool = False) -> None:
        """Who answers there? Its level has changed: asked at once, or where it was asked just now, in a while.

        For its `first` level after a start it is asked at once, and only where it does not tell it in a while again.
        """
        entry = self.entries[meter]
        wait_s = 0.0 if first and not entry.doubted else IDENTIFY_AGAIN_S
        entry.doubted = entry.doubted or first
        entry.identify_s = min(entry.identify_s, max(now_s, entry.asked_s + wait_s))
        if entry.identify_s <= now_s:
            entry.due_s = now_s

    def restart(self, now_s: float) -> None:
        """The bus is back: everyone is identified anew, nobody waits for an old back-off."""
        self._urgent.clear()
        self._cycles.clear()
        for entry in self.entries.values():
            entry.identified = False
            entry.identify_s = entry.due_s = entry.rested_s = now_s

    def _finish(self, task: Task, now_s: float) -> None:
        entry = task.entry
        entry.misses = 0
        self._drop(task)
        if task.kind is Kind.IDENTIFY:
            entry.identified, entry.asked_s = True, now_s
            if entry.blocks.serial in task.answers:
                entry.named, entry.nameless = True, 0
            entry.identify_s = now_s + IDENTIFY_EVERY_S
            entry.due_s = now_s
        elif task.kind is Kind.CYCLE:
            # On its own grid while it keeps up, else at once: a slow bus drifts, and takes turns by deadline.
            entry.due_s = max(task.deadline_s, now_s)

    def _miss(self, task: Task, now_s: float) -> None:
        entry = task.entry
        entry.misses += 1
        self._drop(task)
        self._cycles.pop(entry.id, None)
        self._urgent = [other for other in self._urgent if other.entry is not entry]
        wait_s = min(BACKOFF_STEP_S * (entry.misses - 1), BACKOFF_MAX_S)
        entry.due_s = now_s + max(wait_s, min(entry.period_s, BACKOFF_STEP_S))
        if entry.lost:
            # It may come back as another meter, or with other limits.
            entry.identified, entry.nameless, entry.max_block, entry.absent = False, 0, None, frozenset()
            entry.replan()

    def _drop(self, task: Task) -> None:
        if self._cycles.get(task.entry.id) is task:
            del self._cycles[task.entry.id]
        if task in self._urgent:
            self._urgent.remove(task)

    def _shrink(self, task: Task) -> Learnt | None:
        """Half the block, never less than its largest value; None where it cannot get smaller."""
        entry, span = task.entry, task.span
        least = max(register.span.count for register in entry.model.registers.values())
        smaller = max((span.count // 2 + 1) // entry.model.step * entry.model.step, least)
        if smaller >= span.count:
            return None
        entry.max_block = smaller
        self._replan(entry)
        return Learnt(max_block=smaller)

    def _nameless(self, task: Task, now_s: float) -> Learnt | None:
        """No answer where the serial number stands. Once is a disturbance: a register without a name bills nobody.

        Some meters are silent there for ever: they are read without it, and asked again ever more rarely.
        """
        entry = task.entry
        entry.nameless += 1
        entry.asked_s = now_s
        if not entry.named and entry.nameless < NAMELESS_AFTER:
            self._drop(task)
            entry.due_s = now_s + BACKOFF_STEP_S
            return None
        learnt = self._without(task, "serial", now_s)
        entry.identify_s = now_s + min(IDENTIFY_AGAIN_S * entry.nameless, IDENTIFY_EVERY_S)
        return learnt if entry.nameless == (1 if entry.named else NAMELESS_AFTER) else None

    def _without(self, task: Task, name: str, now_s: float) -> Learnt:
        entry = task.entry
        entry.absent |= {name}
        entry.max_block = None
        if name == "serial":
            task.spans = task.spans[: task.done]
            self._finish(task, now_s)
        self._replan(entry)
        return Learnt(absent=name)

    def _replan(self, entry: Entry) -> None:
        entry.replan()
        self._cycles.pop(entry.id, None)
        for task in self._urgent:
            if task.entry is entry:
                task.spans, task.done = _energy(entry), 0
                task.answers.clear()


def _energy(entry: Entry) -> tuple[Span, ...]:
    return entry.blocks.energy or entry.blocks.fast


def _cycle(entry: Entry, now_s: float) -> Task:
    if not entry.identified:
        return Task(entry, Kind.IDENTIFY, _identity(entry), now_s + entry.period_s)
    if entry.identify_s <= now_s:
        entry.ask_name_again()
        return Task(entry, Kind.IDENTIFY, _identity(entry), now_s + min(entry.period_s, IDENTIFY_SLACK_S))
    return Task(entry, Kind.CYCLE, entry.blocks.cycle, entry.due_s + entry.period_s)


def _identity(entry: Entry) -> tuple[Span, ...]:
    return (entry.blocks.probe, *((entry.blocks.serial,) if entry.blocks.serial is not None else ()))


def _only_value(entry: Entry, span: Span) -> str | None:
    """The value that `span` is asked for, where it is one alone."""
    inside = [name for name, register in entry.model.registers.items() if span.covers(register.span)]
    wanted = [name for name in inside if name not in entry.absent]
    return wanted[0] if len(wanted) == 1 else None


def bus_load(entries: Iterable[Entry], seconds: Mapping[int, float]) -> float:
    """The share of the time that the cycles of these meters occupy; `seconds` maps a block's length to its time."""
    return sum(sum(seconds[span.count] for span in entry.blocks.cycle) / entry.period_s for entry in entries)
