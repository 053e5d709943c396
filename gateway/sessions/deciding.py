"""What a person decides about a session that is not billable by itself: bill it by registers they give, or waive it.

The end record stays as it is: a decision never becomes a signed register. It is a record of its own, with who, when and
why; a later decision about the same session is its next version (I5).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from gateway.clock import iso
from gateway.energy.intervals import Cut
from gateway.energy.tariff import interval_of
from gateway.model import Connection, Reading, Stamp
from gateway.records.bodies import SessionDecision
from gateway.sessions import cuts
from gateway.sessions import session as machine
from gateway.sessions.session import Session, State
from gateway.sessions.writing import append
from gateway.store import decisions, intervals, periods, readings, sessions
from gateway.store.decisions import DecisionRow
from gateway.store.outbox import Identity

FAR_MS = 7 * 86_400_000
"""How far beside a session a reading may lie that proves the registers a person gives."""


class DecisionError(ValueError):
    """It cannot be decided so; one sentence with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person says. With `bill` the registers count where the session has none of its own; Wh.

    `basis` "meter": they are of the connector's meter, and the energy is split; "charger": of the charger.
    """

    bill: bool
    actor: str
    reason: str
    begin_wh: int | None = None
    end_wh: int | None = None
    basis: Literal["meter", "charger"] = "meter"


def propose(session: Session, choice: Choice) -> tuple[int | None, int | None]:
    """Pure: the registers that the choice bills, (None, None) where it waives. DecisionError where there is no bill."""
    if session.state is not State.ENDED:
        raise DecisionError(f"session {session.id} has not ended: there is nothing to decide")
    if session.billable:
        raise DecisionError(f"session {session.id} is billable by its registers: a person cannot change them")
    if not choice.actor.strip() or not choice.reason.strip():
        raise DecisionError("say who decides and why: both are kept with the session")
    if not choice.bill:
        if choice.begin_wh is not None or choice.end_wh is not None:
            raise DecisionError("a session that is waived has no registers: leave them out")
        return None, None
    begin_wh, end_wh = _registers(session, choice)
    if begin_wh is None or end_wh is None:
        missing = " and ".join(name for name, wh in (("begin", begin_wh), ("end", end_wh)) if wh is None)
        raise DecisionError(f"session {session.id} has no {missing} register: give it with the decision")
    if not 0 <= begin_wh <= end_wh:
        raise DecisionError(f"the end register {end_wh} Wh lies below the begin register {begin_wh} Wh")
    return begin_wh, end_wh


def _registers(session: Session, choice: Choice) -> tuple[int | None, int | None]:
    """What the meter said itself cannot be replaced; the charger's own values are taken where nothing else is given."""
    if choice.basis == "charger":
        begin_wh = choice.begin_wh if choice.begin_wh is not None else session.charger_begin_wh
        return begin_wh, choice.end_wh if choice.end_wh is not None else session.charger_end_wh
    if session.meter is None:
        raise DecisionError('the connector has no meter of its own: bill by the charger\'s registers (basis "charger")')
    begin_wh = session.begin_wh if session.begin_provenance == "meter" else None
    if begin_wh is not None and choice.begin_wh not in (None, begin_wh):
        raise DecisionError(f"the meter read {begin_wh} Wh at the begin: that register cannot be replaced")
    return (begin_wh if begin_wh is not None else choice.begin_wh), choice.end_wh


def decide(
    db: Connection, who: Identity, random: Random, session_id: str, choice: Choice, stamp: Stamp
) -> SessionDecision:
    """Keep a decision and put it into the billing lane, inside one transaction. DecisionError, LookupError.

    `session_id` is its id or the begin of it, as every list shows it.
    """
    session = _named(db, session_id)
    session_id = session.id
    begin_wh, end_wh = propose(session, choice)
    before = decisions.newest(db, session_id)
    on_meter = choice.bill and choice.basis == "meter"
    if on_meter:
        assert begin_wh is not None
        assert end_wh is not None
        _check_on_meter(db, session, begin_wh, end_wh)
    if on_meter or (before is not None and before.basis == "meter"):
        _refuse_closed(db, session)
    body = SessionDecision(
        session=session_id, version=before.version + 1 if before else 1, bill=choice.bill,
        basis=choice.basis if choice.bill else "none", begin_wh=begin_wh, end_wh=end_wh,
        energy_wh=end_wh - begin_wh if begin_wh is not None and end_wh is not None else None,
        unbillable_reason=session.unbillable_reason, actor=choice.actor, reason=choice.reason, at=iso(stamp.utc_ms),
    )  # fmt: skip
    kept = DecisionRow(
        session=session_id, version=body.version, at_ms=stamp.utc_ms, bill=choice.bill, begin_wh=begin_wh,
        end_wh=end_wh, basis=body.basis, body=body.model_dump_json(),
    )  # fmt: skip
    decisions.append(db, kept)
    append(db, who, random, stamp, "session.decision.v1", body)
    first_k, last_k = _touched(session)
    intervals.mark_dirty(db, first_k, last_k)
    return body


def _named(db: Connection, text: str) -> Session:
    row = sessions.get(db, text)
    found = [row] if row is not None else sessions.that_begin_with(db, text)
    if not found:
        raise LookupError(f"there is no session {text}: zev-gateway sessions lists them")
    if len(found) > 1:
        raise LookupError(f"more than one session begins with {text}: give more of its id")
    return machine.of_row(found[0])


def _touched(session: Session) -> tuple[int, int]:
    end_ms = max(session.end_ms or 0, session.stop_arrived_ms or 0, session.begin_ms)
    return interval_of(session.begin_ms - cuts.SLACK_MS), interval_of(end_ms + cuts.SLACK_MS)


def _refuse_closed(db: Connection, session: Session) -> None:
    first_k, last_k = _touched(session)
    if intervals.is_closed(db, first_k, last_k):
        name = periods.holding(db, first_k) or periods.holding(db, last_k) or "its period"
        raise DecisionError(f"session {session.id} lies in {name}, which is closed: reopen it first, or waive")


def _check_on_meter(db: Connection, session: Session, begin_wh: int, end_wh: int) -> None:
    """Registers that a person gives must lie where the meter went meanwhile, and on no other session's energy."""
    meter = session.meter or ""
    end_ms = session.end_ms or session.begin_ms
    low, high = _known_around(db, meter, session, end_ms)
    if (low is not None and begin_wh < low) or (high is not None and end_wh > high):
        raise DecisionError(
            f"the meter {meter} went from {low} to {high} Wh around this session: {begin_wh} to {end_wh} is not in it"
        )
    found, _ = cuts.on_meter(db, meter, session.begin_ms - FAR_MS, end_ms + FAR_MS)
    for other in found:
        if other.cut.session != session.id and other.billable and _overlap(other.cut, session, begin_wh, end_wh):
            raise DecisionError(f"session {other.cut.session} has taken part of this energy: its registers stand")


def _overlap(other: Cut, session: Session, begin_wh: int, end_wh: int) -> bool:
    if other.serial and session.meter_serial and other.serial != session.meter_serial:
        return False
    return other.begin_wh < end_wh and (other.end_wh is None or other.end_wh > begin_wh)


def _known_around(db: Connection, meter: str, session: Session, end_ms: int) -> tuple[int | None, int | None]:
    """The meter's registers before the begin and after the end, as boundary readings and kept ones tell."""
    before = [
        intervals.boundary_before(db, meter, interval_of(session.begin_ms)),
        readings.kept_before(db, meter, session.begin_ms),
    ]
    after = [
        intervals.boundary_after(db, meter, interval_of(end_ms) + 1),
        readings.kept_after(db, meter, end_ms),
    ]
    low = max((wh for one in before if (wh := _of_same_meter(session, one)) is not None), default=None)
    high = min((wh for one in after if (wh := _of_same_meter(session, one)) is not None), default=None)
    return low, high


def _of_same_meter(session: Session, reading: Reading | None) -> int | None:
    if reading is None or (session.meter_serial and reading.serial and reading.serial != session.meter_serial):
        return None
    return reading.import_wh
