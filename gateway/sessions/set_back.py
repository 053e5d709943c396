"""Puts the time right between two lives of the parts, in one transaction: a guess was off by more than seconds.

What was stamped since the guess began is moved by the difference, also what was before a kill or a power cut. Where the
clock was ahead, so is what an earlier start stamped with a time that has not come yet, and quarter hours that have not
come are withdrawn: one that was told already is told once more, without what was moved away, its version is remembered,
and it is settled anew when it comes (docs/decisions/0008).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from gateway.clock import iso
from gateway.energy.intervals import boundary_of
from gateway.energy.tariff import interval_of
from gateway.model import Connection, Event, Severity, Stamp, TimeQuality
from gateway.sessions import guesses, notices
from gateway.sessions.clock_watch import Step
from gateway.sessions.quarters import Handed, Quarters
from gateway.sessions.restamping import MAX_NAMED, Restamped, restamp, step_event
from gateway.site_time import NEVER_MS, UNSURE
from gateway.store import intervals, meta, outbox


def put_right(
    db: Connection, quarters: Quarters, began: Stamp, right: Stamp, off_ms: int, *, exact: bool = True
) -> tuple[Step, Event]:
    """The time of what was stamped since `began` was ahead by `off_ms` (negative: behind); it is `right` now.

    Not `exact`: the life that began then ended with the machine, and how long that was off is not known; what is moved
    stays guessed. Returns how to move what is still in memory, and what the cloud is told.
    """
    ahead = off_ms > 0
    before = began.quality if ahead or began.quality in UNSURE else TimeQuality.GUESSED
    after = right.quality if exact else TimeQuality.GUESSED
    since_ms, beyond_ms = (began.utc_ms, right.utc_ms) if ahead else (_unsure_since_ms(db, began, -off_ms), None)
    step = Step(-off_ms, before, after, since_ms, right.utc_ms + off_ms, beyond_ms)
    restamped = restamp(db, step, right.utc_ms)
    if ahead:
        span = _go_back(db, quarters, began, right, step)
        event = _set_back_event(began, right, step, restamped)
    else:
        span = _begin_anew(db, quarters, right, step, restamped)
        event = step_event(step, right.utc_ms, restamped)
    guesses.remember(db, None)
    if span is not None:
        event = _withdrawing(event, *span, outbox.head(db, quarters.who, "billing"))
    event = event if exact else _estimated(event)
    notices.append(db, quarters.who, quarters.random, right, event)
    return step, event


def _unsure_since_ms(db: Connection, began: Stamp, ahead_ms: int) -> int:
    """From when on what was stamped is moved forwards: from the begin of this guess.

    A house that never knew the time, and is younger than a day by its own clock, moves whole: its clock was never set,
    and went on from one start to the next.
    """
    never_ms = guesses.never_since_ms(db, began.utc_ms) if ahead_ms > NEVER_MS else None
    return began.utc_ms if never_ms is None else min(never_ms, began.utc_ms)


def _estimated(event: Event) -> Event:
    """Nobody knows for how long the machine was off: what is moved lies before this start, and stays a guess."""
    return replace(
        event, cause=f"{event.cause}; for how long the machine was off is not known",
        next_step="times of before this start are estimated: check the sessions named here; see to the machine's clock",
        severity=Severity.WARNING, data={**event.data, "estimated": True},
    )  # fmt: skip


def _begin_anew(
    db: Connection, quarters: Quarters, right: Stamp, step: Step, restamped: Restamped
) -> tuple[int, int] | None:
    """A house that begins anew takes nothing of quarter hours that never were: which are withdrawn, as [first, end)."""
    oldest = intervals.oldest(db)
    if restamped.never is None or oldest is None or not _began_with_it(db, oldest, step):
        return None
    end_k, began_k = restamped.never
    _begin_where_this_start_did(db, began_k, _withdraw(db, quarters, oldest, right, whole=True))
    return oldest, end_k


def _go_back(db: Connection, quarters: Quarters, began: Stamp, right: Stamp, step: Step) -> tuple[int, int] | None:
    """Withdraw the quarter hours that have not come: these, as [first, end)."""
    began_k, first_k = interval_of(step.moved_ms(began.utc_ms)), interval_of(right.utc_ms)
    oldest = intervals.oldest(db)
    # What flowed before the oldest would stand in none: all of them begin anew, also those that have come meanwhile.
    whole = oldest is not None and oldest > began_k and _began_with_it(db, oldest, step)
    if whole and oldest is not None:
        first_k = min(first_k, oldest)
    withdrawn = _withdraw(db, quarters, first_k, right, whole=whole)
    _begin_where_this_start_did(db, began_k, withdrawn)
    meta.put(db, "newest_ms", str(right.utc_ms))
    return withdrawn.span if withdrawn else None


def _began_with_it(db: Connection, oldest_k: int, step: Step) -> bool:
    """All quarter hours of the house are of what the step moves, and of less than a day; none of them is closed."""
    assert step.since_ms is not None
    assert step.until_ms is not None
    young = step.until_ms - step.since_ms <= NEVER_MS and oldest_k >= interval_of(step.since_ms) - 1
    return young and not intervals.is_closed(db, oldest_k, interval_of(step.until_ms))


@dataclass(frozen=True, slots=True)
class _Withdrawn:
    span: tuple[int, int]
    meters: tuple[str, ...]
    rules: int | None


def _withdraw(db: Connection, quarters: Quarters, first_k: int, right: Stamp, *, whole: bool) -> _Withdrawn | None:
    """Take back the quarter hours since `first_k`; where not `whole`, that one has begun."""
    rows = intervals.from_k(db, first_k)
    if not rows or (rows[-1].k == first_k and not whole):
        return None
    received = next(((row.k, Handed.load(row.handed)) for row in rows if row.handed is not None), None)
    for row in rows:
        if row.handed is not None and row.state != "closed":
            quarters.look_again(db, row.k, right)
    if received is not None:
        _give_back(db, quarters, *received)
    intervals.withdraw(db, first_k)
    if rows[0].k == first_k and not whole:
        intervals.add_boundary(db, first_k, rows[0].boundary, rows[0].rules)  # it has begun, and not ended
    return _Withdrawn((first_k, rows[-1].k + 1), tuple(rows[-1].boundary), rows[0].rules)


def _give_back(db: Connection, quarters: Quarters, first_k: int, first: Handed) -> None:
    """Carry and tanks as the first of them received them; what corrections before it add is still to be added.

    Corrections of withdrawn ones are none: their energy never was.
    """
    owed = _owed(db, quarters, first_k, first)
    for who in sorted({*intervals.carry(db), *first.carry_before, *owed}):
        intervals.put_carry(db, who, _handed_on_to(first, who), owed[who])
    if intervals.tanks(db):
        intervals.put_tank(db, "solar", first.tanks_before.solar_wh)
        intervals.put_tank(db, "grid", first.tanks_before.grid_wh)


def _owed(db: Connection, quarters: Quarters, first_k: int, first: Handed) -> Counter[str]:
    """By participant: what corrections before `first_k` in its period add, less what was received. Nano-Wh."""
    period, after, owed = quarters.period_of(db, first_k), first, Counter[str]()
    for k, text in intervals.handed_before(db, first_k):
        if quarters.period_of(db, k) != period:
            break
        one = Handed.load(text)
        for who in {*one.carry_after, *after.carry_before}:
            corrected = one.carry_after.get(who, 0) - _handed_on_to(after, who)
            owed[who] += corrected - one.adjustment.get(who, 0)
        after = one
    return owed


def _handed_on_to(received: Handed, who: str) -> int:
    """What the first version of the quarter hour before handed on."""
    return received.carry_before.get(who, 0) - received.adjustment.get(who, 0)


def _begin_where_this_start_did(db: Connection, k: int, withdrawn: _Withdrawn | None) -> None:
    """A house whose every quarter hour was withdrawn begins with the one in which it was really started."""
    if withdrawn is not None and intervals.newest(db) is None:
        intervals.add_boundary(db, k, dict.fromkeys(withdrawn.meters), withdrawn.rules)


def _set_back_event(began: Stamp, right: Stamp, step: Step, restamped: Restamped) -> Event:
    """What the operator and the cloud are told: from when on times were wrong."""
    data: dict[str, str | int | list[str]] = {
        "delta_ms": step.delta_ms,
        "before": began.quality.value,
        "after": step.after.value,
        "since": iso(began.utc_ms),
        "until": iso(right.utc_ms - step.delta_ms),
        "boundaries": restamped.boundaries,
        "sessions": list(restamped.sessions[:MAX_NAMED]),
    }
    return Event(
        "clock_set_back", "clock", f"the clock was {-step.delta_ms / 1000:.0f} s ahead; it is {iso(right.utc_ms)}",
        next_step="see to the machine's clock: its battery, or who set it; sessions of that time are named here",
        severity=Severity.WARNING, data=data, keep=True,
    )  # fmt: skip


def _withdrawing(event: Event, first_k: int, end_k: int, upto: int) -> Event:
    """With the quarter hours that are taken back; the cloud knows their rows by `upto`, the newest of the lane."""
    told = "that have not ended yet" if event.kind == "clock_set_back" else "that never were"
    data = {"withdrawn_from": iso(boundary_of(first_k)), "withdrawn_to": iso(boundary_of(end_k))}
    return replace(
        event, cause=f"{event.cause}; {end_k - first_k} quarter hours {told} were withdrawn",
        data={**event.data, **data, "withdrawn_upto": upto},
    )  # fmt: skip
