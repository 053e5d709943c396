"""Moves what was written with a guessed time to the right time, once it is known, in one transaction.

Boundary readings that turn out to lie elsewhere stay as kept readings; the boundaries are then estimated between true
readings, so that every total stays exact. Signed records are never touched: they say by themselves that their time was
uncertain (OCMF letter U).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.clock import iso
from gateway.energy.intervals import boundary_of
from gateway.energy.tariff import interval_of
from gateway.model import Connection, Event, Severity, TimeQuality
from gateway.sessions.clock_watch import Step, move_row
from gateway.site_time import NEVER_MS
from gateway.store import chargers, intervals, journal, meta, readings, sessions

STEPS = "clock_steps"
KEPT_STEPS = 20
MAX_NAMED = 500
"""Sessions that one event names; more would have to begin before the time is known."""

_TIMES = {"begin_q": ("begin_ms",), "end_q": ("stop_ms", "stop_arrived_ms", "end_ms")}


@dataclass(frozen=True, slots=True)
class Restamped:
    """What was moved: how many boundary rows, and which sessions (rows that tell of them may be at the cloud)."""

    boundaries: int = 0
    sessions: tuple[str, ...] = ()
    never: tuple[int, int] | None = None
    """Quarter hours [first, end) that the step jumped over and that never were: they get no rows."""


def restamp(db: Connection, step: Step, now_ms: int) -> Restamped:
    """Move the times of this start by the step."""
    _remember(db, step, now_ms)
    never = _jump_over(db, step, now_ms)
    if step.since_ms is None or step.until_ms is None:
        return Restamped(never=never)
    readings.restamp(db, _from_ms(step), step.moves, step.moved)
    readings.put_last(db, {meter: step.now_at(one) for meter, one in readings.last(db).items()})
    journal.restamp(db, _from_ms(step), partial(_moved_entry, step))
    chargers.restamp(db, partial(step.moves_at, quality=step.before), step.moved_ms)
    moved = _move_sessions(db, step)
    return Restamped(_move_boundaries(db, step, now_ms), moved, never)


def newest_written_ms(db: Connection) -> int:
    """The newest time that anything on disk bears: a start that goes by a guess goes on after all of it."""
    newest = intervals.newest(db)
    row = intervals.get(db, newest) if newest is not None else None
    read = [one.replied_ms for one in (row.boundary.values() if row is not None else ()) if one is not None]
    read += [one.replied_ms for one in readings.last(db).values()]
    return max(meta.newest_ms(db), readings.newest_kept_ms(db), journal.newest_ms(db), *read)


def _from_ms(step: Step) -> int:
    """From when on something may have to be moved."""
    assert step.since_ms is not None
    return step.since_ms if step.beyond_ms is None else min(step.since_ms, step.beyond_ms)


def _jump_over(db: Connection, step: Step, now_ms: int) -> tuple[int, int] | None:
    """A first start years ago: the house begins anew with the quarter hour in which it was really started."""
    newest = intervals.newest(db)
    if newest is None or step.delta_ms <= NEVER_MS or meta.sure_before(db, now_ms - step.delta_ms):
        return None
    row = intervals.get(db, newest)
    assert row is not None
    began_k = interval_of(now_ms if step.since_ms is None else step.since_ms + step.delta_ms)
    intervals.add_boundary(db, began_k, dict.fromkeys(row.boundary), row.rules)
    return newest + 1, began_k


def _moved_entry(step: Step, row: journal.JournalRow) -> tuple[int, str, str | None]:
    """The time of a journal entry, its quality, and the reading that was taken for it."""
    reading = readings.load(row.reading)
    text = row.reading if reading is None or not step.moves(reading) else readings.dump(step.moved(reading))
    if not _moves(step, row.at_ms, row.ts_q):
        return row.at_ms, row.ts_q, text
    return step.moved_ms(row.at_ms), step.after.value, text


def _move_boundaries(db: Connection, step: Step, now_ms: int) -> int:
    assert step.since_ms is not None
    first_k = interval_of(_from_ms(step)) - 1
    changed = 0
    for row in intervals.from_k(db, first_k):
        moved = move_row(row.boundary, boundary_of(row.k), step)
        if not moved.changed:
            continue
        changed += 1
        intervals.put_boundary(db, row.k, moved.boundary)
        for reading in moved.elsewhere:
            readings.keep(db, reading, "restamped")
    early_k = min(first_k, interval_of(step.since_ms + step.delta_ms) - 1)
    intervals.mark_dirty(db, early_k, max(interval_of(now_ms), intervals.newest(db) or 0))
    return changed


def _move_sessions(db: Connection, step: Step) -> tuple[str, ...]:
    moved_ids = []
    for row in sessions.since(db, _from_ms(step)):
        changed = dict(row)
        for quality, names in _TIMES.items():
            if row[quality] is None:
                continue
            moved = [name for name in names if row[name] is not None and _moves(step, row[name], row[quality])]
            for name in moved:
                changed[name] = step.moved_ms(row[name])
            if moved:
                changed[quality] = step.after.value
        if changed != row:
            sessions.put(db, changed)
            moved_ids.append(str(row["id"]))
    return tuple(moved_ids)


def _moves(step: Step, at_ms: int, quality: str) -> bool:
    return step.moves_at(at_ms, TimeQuality(quality))


def _remember(db: Connection, step: Step, now_ms: int) -> None:
    """Steps stay known for a while: a charger that has not followed is not in the past."""
    moved_ms = None if step.since_ms is None else step.moved_ms(step.since_ms)
    steps = [*json.loads(meta.get(db, STEPS) or "[]"), [now_ms, step.delta_ms, moved_ms]][-KEPT_STEPS:]
    meta.put(db, STEPS, json.dumps(steps))


def steps_since(db: Connection, at_ms: int) -> list[int]:
    """By how much the clock stepped, each time since an instant; what a step has moved lies behind it."""
    return [
        delta_ms
        for when_ms, delta_ms, *moved_ms in json.loads(meta.get(db, STEPS) or "[]")
        if when_ms >= at_ms and not (moved_ms and moved_ms[0] is not None and at_ms >= moved_ms[0])
    ]


def step_event(step: Step, now_ms: int, restamped: Restamped) -> Event:
    """What the operator and the cloud are told: by how much, and what was moved.

    A row that has left the house is never changed: the event names the sessions whose guessed times it corrects.
    """
    moved, rows = step.since_ms is not None and step.until_ms is not None, restamped.boundaries
    data: dict[str, Any] = {"delta_ms": step.delta_ms, "before": step.before.value, "after": step.after.value}
    if moved:
        assert step.since_ms is not None
        assert step.until_ms is not None
        data |= {"since": iso(step.since_ms), "until": iso(step.until_ms), "boundaries": rows}
        data["sessions"] = list(restamped.sessions[:MAX_NAMED])
    if restamped.never is not None:
        first_k, end_k = restamped.never
        data |= {"never_from": iso(boundary_of(first_k)), "never_to": iso(boundary_of(end_k))}
    return Event(
        "clock_step" if step.delta_ms else "clock_sure",
        "clock",
        f"{step.before.value} -> {step.after.value}, {step.delta_ms / 1000:+.1f} s at {iso(now_ms)}"
        + (f"; {rows} quarter hours were moved" if moved else ""),
        next_step="" if moved else "give the machine a time server it reaches, or a clock with a battery",
        severity=Severity.INFO if moved else Severity.WARNING,
        data=data,
        keep=True,
    )
