"""Pure: one charging session as a state machine. The table below is everything that moves a session.

A session is never given a value that nobody measured: what has no begin or end register ends unbillable, with its
reason, and stays so until a person decides (design rule 12, I5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from gateway.model import ConnectorRef, Reading

Provenance = Literal["meter", "charger", "none"]

PAST_S = 10.0
"""A stop whose own time lies further back than this before it came was kept by the charger and sent later (site)."""


class State(StrEnum):
    """Where a session stands; `NEW` is before the first event and never stored."""

    NEW = "new"
    OPEN = "open"
    STOPPED = "stopped"
    ENDED = "ended"


class Kind(StrEnum):
    """What can happen to a session."""

    START = "start"
    REFUSED = "refused"
    STRAY_STOP = "stray_stop"
    METER_VALUE = "meter_value"
    STOP = "stop"
    END_READING = "end_reading"
    NO_END = "no_end"
    NEXT_START = "next_start"


TABLE: Mapping[tuple[State, Kind], State] = {
    (State.NEW, Kind.START): State.OPEN,
    (State.NEW, Kind.REFUSED): State.ENDED,
    (State.NEW, Kind.STRAY_STOP): State.ENDED,
    (State.OPEN, Kind.METER_VALUE): State.OPEN,
    (State.OPEN, Kind.STOP): State.STOPPED,
    (State.OPEN, Kind.NEXT_START): State.ENDED,
    (State.STOPPED, Kind.METER_VALUE): State.STOPPED,
    (State.STOPPED, Kind.STOP): State.STOPPED,
    (State.STOPPED, Kind.END_READING): State.ENDED,
    (State.STOPPED, Kind.NO_END): State.ENDED,
    (State.STOPPED, Kind.NEXT_START): State.ENDED,
    (State.ENDED, Kind.METER_VALUE): State.ENDED,
    (State.ENDED, Kind.STOP): State.ENDED,
}
"""State, event -> next state. What does not stand here is illegal, raises, and changes nothing."""


class IllegalEventError(Exception):
    """This cannot happen to a session in this state."""


class Reason(StrEnum):
    """Why a session is not billable."""

    REFUSED = "start_refused"
    STRAY_STOP = "stop_without_start"
    NO_STOP = "start_without_stop"
    NO_METER = "no_meter"
    NO_BEGIN = "no_begin_register"
    NO_END = "no_end_register"
    CHARGER_ONLY = "end_register_only_from_charger"
    BEFORE_US = "ended_before_the_gateway_saw_it_begin"
    SWAPPED = "meter_swapped"
    WENT_BACK = "register_went_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One car at one connector, from plug to end record. Energy in Wh, times in UTC ms of site time.

    `begin_wh` and `end_wh` are the registers that the payer sees, the charger's own stand beside. `stop_arrived_ms` is
    when the stop came to us: the end register is the first good reading asked for after it.
    """

    id: str
    charger: str
    connector: int
    transaction_id: int
    state: State
    id_tag: str
    tenant: str | None
    participant: str | None
    authorised_by: str
    begin_ms: int
    begin_q: str
    begin_wh: int | None = None
    begin_provenance: Provenance = "none"
    charger_begin_wh: int | None = None
    stop_ms: int | None = None
    stop_arrived_ms: int | None = None
    end_ms: int | None = None
    end_q: str | None = None
    end_wh: int | None = None
    end_provenance: Provenance = "none"
    charger_end_wh: int | None = None
    stop_reason: str | None = None
    billable: bool = False
    unbillable_reason: str | None = None
    meter: str | None = None
    meter_serial: str | None = None

    @property
    def ref(self) -> ConnectorRef:
        """Where the car stands."""
        return ConnectorRef(self.charger, self.connector)

    @property
    def energy_wh(self) -> int | None:
        """End register minus begin register, where the session is billable (I6)."""
        if not self.billable or self.begin_wh is None or self.end_wh is None:
            return None
        return self.end_wh - self.begin_wh

    @property
    def stopped_in_the_past(self) -> bool:
        """The charger kept the stop and sent it later."""
        return self.stop_ms is not None and self.stop_arrived_ms is not None and self.stop_ms < self.stop_arrived_ms

    def row(self) -> dict[str, Any]:
        """The columns of its table."""
        return {**asdict(self), "state": self.state.value, "billable": int(self.billable)}


def of_row(row: Mapping[str, Any]) -> Session:
    """The session again."""
    values = {**row, "state": State(row["state"]), "billable": bool(row["billable"])}
    values["end_provenance"] = row["end_provenance"] or "none"
    return Session(**values)


def next_state(state: State, kind: Kind) -> State:
    """The state after an event; IllegalEventError where the table has none."""
    try:
        return TABLE[state, kind]
    except KeyError:
        raise IllegalEventError(f"{kind.value} cannot happen to a session that is {state.value}") from None


# Events


def started(new: Session, reading: Reading | None) -> Session:
    """The charger has been told its transaction id. The begin register is the reading taken when it asked."""
    state = next_state(new.state, Kind.START)
    if reading is None or reading.import_wh is None:
        return replace(new, state=state)
    return replace(
        new,
        state=state,
        begin_ms=reading.requested_ms,
        begin_q=reading.quality.value,
        begin_wh=reading.import_wh,
        begin_provenance="meter",
        meter_serial=reading.serial,
    )


def refused(new: Session) -> Session:
    """The card was refused: it is told, and never billed."""
    return replace(
        new, state=next_state(new.state, Kind.REFUSED), end_ms=new.begin_ms, end_q=new.begin_q,
        stop_ms=new.begin_ms, stop_arrived_ms=new.begin_ms, unbillable_reason=Reason.REFUSED.value,
    )  # fmt: skip


def stray_stop(new: Session, stop: Stop) -> Session:
    """A stop of a transaction that nobody saw begin."""
    return replace(
        new, state=next_state(new.state, Kind.STRAY_STOP), stop_ms=stop.at_ms, stop_arrived_ms=stop.arrived_ms,
        end_ms=stop.at_ms, end_q=stop.quality, charger_end_wh=stop.charger_wh, stop_reason=stop.reason,
        unbillable_reason=Reason.STRAY_STOP.value,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stop:
    """A StopTransaction. `at_ms` is when it stopped: `arrived_ms`, or the charger's time where that is long before."""

    arrived_ms: int
    at_ms: int
    quality: str
    charger_wh: int | None
    reason: str | None


def stopped(session: Session, stop: Stop) -> Session:
    """The first stop counts; one that is seen again changes nothing, nor does one after the end."""
    state = next_state(session.state, Kind.STOP)
    if session.state is not State.OPEN:
        return session
    return replace(
        session, state=state, stop_ms=stop.at_ms, stop_arrived_ms=stop.arrived_ms, end_q=stop.quality,
        charger_end_wh=stop.charger_wh, stop_reason=stop.reason,
    )  # fmt: skip


def end_reading(session: Session, reading: Reading, *, same_meter: bool = True, went_on: bool = True) -> Session:
    """The end register is there: the session is billable if begin and end belong together.

    `same_meter` is False where the begin names no meter and nothing shows that it was the one that the end names;
    `went_on`, where a register that does not count on from the one before was read in between.
    """
    state = next_state(session.state, Kind.END_READING)
    in_the_past = session.stopped_in_the_past
    ended = replace(
        session,
        state=state,
        end_ms=session.stop_ms if in_the_past else reading.requested_ms,
        end_q=reading.quality.value,
        end_wh=reading.import_wh,
        end_provenance="meter",
    )
    return _judged(ended, reading, same_meter, went_on)


def _judged(ended: Session, reading: Reading, same_meter: bool, went_on: bool) -> Session:
    reason: Reason | None = None
    if ended.begin_wh is None or ended.begin_provenance != "meter":
        reason = Reason.NO_BEGIN
    elif not same_meter or (ended.meter_serial and reading.serial and ended.meter_serial != reading.serial):
        reason = Reason.SWAPPED
    elif reading.import_wh is None or reading.import_wh < ended.begin_wh:
        reason = Reason.WENT_BACK
    elif not went_on:
        reason = Reason.SWAPPED
    return replace(ended, billable=reason is None, unbillable_reason=reason.value if reason else None)


def without_end(session: Session, reason: Reason) -> Session:
    """There is no end register of the meter, and there never will be. The charger's own value stands beside."""
    state = next_state(session.state, Kind.NO_END)
    provenance: Provenance = "charger" if session.charger_end_wh is not None else "none"
    return replace(
        session, state=state, end_ms=session.stop_ms, end_provenance=provenance, unbillable_reason=reason.value
    )


def next_start(session: Session, at_ms: int, quality: str) -> Session:
    """Another session begins at the connector and this one has no end: no stop was seen, or no reading after it."""
    state = next_state(session.state, Kind.NEXT_START)
    reason = Reason.NO_STOP if session.state is State.OPEN else Reason.NO_END
    return replace(
        session,
        state=state,
        stop_ms=session.stop_ms or at_ms,
        stop_arrived_ms=session.stop_arrived_ms or at_ms,
        end_ms=session.stop_ms or at_ms,
        end_q=session.end_q or quality,
        unbillable_reason=reason.value,
    )


def meter_value(session: Session) -> Session:
    """A MeterValues of its transaction: registers come from the meter, so nothing changes."""
    return replace(session, state=next_state(session.state, Kind.METER_VALUE))


# A stop that the charger kept and sent later


def flat_around(readings: list[Reading], at_ms: int) -> Reading | None:
    """The reading after `at_ms`, where the register is the same on both sides of it: then it was so at `at_ms`."""
    before = max((one for one in readings if one.requested_ms <= at_ms), key=lambda one: one.requested_ms, default=None)
    after = min((one for one in readings if one.requested_ms > at_ms), key=lambda one: one.requested_ms, default=None)
    if before is None or after is None or before.import_wh is None:
        return None
    same = before.import_wh == after.import_wh and before.serial == after.serial
    return after if same else None
