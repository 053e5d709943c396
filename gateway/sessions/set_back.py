"""Goes back to the right time, in one transaction: the clock was ahead of it by more than can be waited for.

What was stamped since this start is moved by the difference; what an earlier start stamped with a time that has not
come yet is put where this one began. Quarter hours that have not come are withdrawn: one that was told already is told
once more, without what was moved away, its version is remembered, and it is settled anew when it comes
(docs/decisions/0008).
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.clock import iso
from gateway.energy.intervals import boundary_of
from gateway.energy.tariff import interval_of
from gateway.model import Connection, Event, Severity, Stamp
from gateway.sessions import notices
from gateway.sessions.clock_watch import Step
from gateway.sessions.quarters import Handed, Quarters
from gateway.sessions.restamping import MAX_NAMED, Restamped, restamp
from gateway.store import intervals, meta, readings


@dataclass(frozen=True, slots=True)
class _SetBack:
    """What was moved, and which quarter hours were withdrawn, as [first, end) of their numbers; None: none."""

    restamped: Restamped
    withdrawn: tuple[int, int] | None


def set_back(db: Connection, quarters: Quarters, began: Stamp, right: Stamp, back_ms: int) -> Event:
    """The time that began with `began` was ahead by `back_ms`; it is `right` now. Returns what the cloud is told."""
    event = _set_back_event(began, right, back_ms, _go_back(db, quarters, began, right, back_ms))
    notices.append(db, quarters.who, quarters.random, right, event)
    return event


def _go_back(db: Connection, quarters: Quarters, began: Stamp, right: Stamp, back_ms: int) -> _SetBack:
    step = Step(-back_ms, began.quality, right.quality, began.utc_ms, right.utc_ms + back_ms, beyond_ms=right.utc_ms)
    restamped = restamp(db, step, right.utc_ms)
    readings.put_last(db, {m: step.moved(one) if step.moves(one) else one for m, one in readings.last(db).items()})
    withdrawn = _withdraw(db, quarters, interval_of(right.utc_ms), right)
    _begin_where_this_start_did(db, interval_of(began.utc_ms - back_ms), withdrawn)
    meta.put(db, "newest_ms", str(right.utc_ms))
    return _SetBack(restamped, withdrawn.span if withdrawn else None)


@dataclass(frozen=True, slots=True)
class _Withdrawn:
    span: tuple[int, int]
    meters: tuple[str, ...]
    rules: int | None


def _withdraw(db: Connection, quarters: Quarters, first_k: int, right: Stamp) -> _Withdrawn | None:
    rows = intervals.from_k(db, first_k)
    if not rows or rows[-1].k == first_k:
        return None
    received = [Handed.load(row.handed) for row in rows if row.handed is not None]
    pending = {who: adjustment for who, (_, adjustment) in intervals.carry(db).items()}
    for row in rows:
        if row.handed is not None and row.state != "closed":
            quarters.look_again(db, row.k, right)
    if received:
        _give_back(db, received, pending)
    intervals.withdraw(db, first_k)
    if rows[0].k == first_k:
        intervals.add_boundary(db, first_k, rows[0].boundary, rows[0].rules)  # it has begun, and not ended
    return _Withdrawn((first_k, rows[-1].k + 1), tuple(rows[-1].boundary), rows[0].rules)


def _give_back(db: Connection, handed: list[Handed], pending: dict[str, int]) -> None:
    """Carry and tanks as the first of them received them; what was added later is still to be added."""
    first = handed[0]
    for who, nano_wh in first.carry_before.items():
        added = sum(one.adjustment.get(who, 0) for one in handed)
        intervals.put_carry(db, who, nano_wh - first.adjustment.get(who, 0), added + pending.get(who, 0))
    if intervals.tanks(db):
        intervals.put_tank(db, "solar", first.tanks_before.solar_wh)
        intervals.put_tank(db, "grid", first.tanks_before.grid_wh)


def _begin_where_this_start_did(db: Connection, k: int, withdrawn: _Withdrawn | None) -> None:
    """A house whose every quarter hour was withdrawn begins with the one in which it was really started."""
    if withdrawn is not None and intervals.newest(db) is None:
        intervals.add_boundary(db, k, dict.fromkeys(withdrawn.meters), withdrawn.rules)


def _set_back_event(began: Stamp, right: Stamp, back_ms: int, done: _SetBack) -> Event:
    """What the operator and the cloud are told: from when on times were wrong, and what was withdrawn."""
    data: dict[str, str | int | list[str]] = {
        "delta_ms": -back_ms,
        "before": began.quality.value,
        "after": right.quality.value,
        "since": iso(began.utc_ms),
        "until": iso(right.utc_ms + back_ms),
        "boundaries": done.restamped.boundaries,
        "sessions": list(done.restamped.sessions[:MAX_NAMED]),
    }
    cause = f"the clock was {back_ms / 1000:.0f} s ahead; it is {iso(right.utc_ms)}"
    if done.withdrawn is not None:
        first_k, end_k = done.withdrawn
        data |= {"withdrawn_from": iso(boundary_of(first_k)), "withdrawn_to": iso(boundary_of(end_k))}
        cause += f"; {end_k - first_k} quarter hours that have not ended yet were withdrawn"
    return Event(
        "clock_set_back", "clock", cause,
        next_step="see to the machine's clock: its battery, or who set it; sessions of that time are named here",
        severity=Severity.WARNING, data=data, keep=True,
    )  # fmt: skip
