"""The end register of a stopped session, to the letter of design rule 12; nothing is ever put in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.clock import iso
from gateway.energy.tariff import interval_of
from gateway.model import Connection, Event, Reading, Severity
from gateway.sessions import session as machine
from gateway.sessions.session import Reason, Session
from gateway.store import intervals, readings, sessions

AROUND_MS = 15 * 60 * 1000
"""How far beside a stop in the past a kept reading may lie."""


NAMELESS_MS = 24 * 3_600_000
"""So long after its stop a session waits for a reading that names its meter, while the meter answers without a name."""

TELL_MS = 15 * 60_000
"""So long after its stop a session that still waits for its end register is told."""


@dataclass(frozen=True, slots=True)
class End:
    """The session as it ended, and the reading that ended it; None where no reading ever will."""

    session: Session
    reading: Reading | None


def end_of(
    db: Connection, cursor: str, session: Session, known: Sequence[Reading], tolerance_ms: int, until_ms: int | None
) -> End | None:
    """The end of a stopped session by the good readings `known` of its meter; None while it must wait for one.

    `cursor` names who reads the journal. `until_ms` is when the next session at the connector began, None where none
    did: a reading after that belongs to the next one, too. Where the session began on a meter with a serial number,
    a reading without one ends nothing: it may be another meter's, exchanged while nobody looked. A meter that still
    answers without it a day later has no end register to give.
    """
    if session.meter is None:
        return End(machine.without_end(session, Reason.NO_METER), None)
    nameless = any(one.requested_ms >= (session.stop_arrived_ms or 0) + NAMELESS_MS for one in known)
    known = [one for one in known if _is_named(session, one)]
    if nameless and not known:
        return End(machine.without_end(session, Reason.NO_END), None)
    if session.stopped_in_the_past:
        return _in_the_past(db, session, session.meter, known, tolerance_ms)
    good = [one for one in known if one.import_wh is not None and one.requested_ms >= (session.stop_arrived_ms or 0)]
    first = min(good, key=lambda one: one.requested_ms, default=None)
    if first is None or (until_ms is not None and first.requested_ms > until_ms):
        return None
    if until_ms is None and sessions.unread_starts(
        db, cursor, session.charger, session.connector, first.requested_ms
    ):  # another session there may have begun before this reading: its start decides
        return None
    return _ended(db, session, session.meter, first, known)


def waits_event(session: Session, known: Sequence[Reading], now_ms: int) -> Event | None:
    """What a person must know of a session that waits for its end register for long; None while it does not."""
    since_ms = session.stop_arrived_ms or 0
    if now_ms - since_ms < TELL_MS:
        return None
    nameless = any(one.requested_ms >= since_ms and not _is_named(session, one) for one in known)
    cause, next_step = _WAITS_NAMELESS if nameless else _WAITS_SILENT
    return Event(
        "end_register_waits", str(session.ref), cause.format(meter=session.meter, serial=session.meter_serial),
        next_step=next_step, severity=Severity.WARNING, keep=True,
        data={"session": session.id, "meter": session.meter, "stopped": iso(since_ms)},
    )  # fmt: skip


_WAITS_NAMELESS = (
    "the session has stopped, and meter {meter} answers without its serial number {serial}: it may be another meter",
    "read the number on the meter, and look at its line (status, meters); the first reading that names it ends the "
    "session, a day after its stop it ends without a register and a person decides",
)
_WAITS_SILENT = (
    "the session has stopped, and meter {meter} has given no end register since",
    "look at the meter and its line (status, meters); its first reading ends the session, if no other begins before",
)


def _in_the_past(
    db: Connection, session: Session, meter: str, known: Sequence[Reading], tolerance_ms: int
) -> End | None:
    """The series at the time of the stop, where it is flat; else the charger's own value, unbillable."""
    at_ms = session.stop_ms or 0
    if at_ms < session.begin_ms - tolerance_ms:
        return End(machine.without_end(session, Reason.BEFORE_US), None)
    around = [*known, *(one for one in _kept_around(db, meter, at_ms) if _is_named(session, one))]
    flat = machine.flat_around(around, at_ms)
    if flat is not None:
        return _ended(db, session, meter, flat, known)
    if any(one.requested_ms > at_ms for one in around):
        return End(machine.without_end(session, Reason.CHARGER_ONLY), None)
    return None


def _ended(db: Connection, session: Session, meter: str, reading: Reading, known: Sequence[Reading]) -> End:
    same = session.meter_serial is not None or reading.serial in (None, *_names_before(db, meter, session.begin_ms))
    since_ms, until_ms = session.begin_ms + 1, reading.requested_ms + 1
    meanwhile = [*known, *readings.kept_between(db, meter, since_ms, until_ms), reading]
    went_on = not any(one.new_level and since_ms <= one.requested_ms < until_ms for one in meanwhile)
    return End(machine.end_reading(session, reading, same_meter=same, went_on=went_on), reading)


def _names_before(db: Connection, meter: str, at_ms: int) -> list[str]:
    """The serial numbers that a meter gave shortly before an instant; one that was taken away does not come back."""
    row, kept = intervals.get(db, interval_of(at_ms)), readings.kept_before(db, meter, at_ms)
    found = [row.boundary.get(meter) if row is not None else None, kept]
    return [one.serial for one in found if one is not None and one.serial is not None]


def _is_named(session: Session, reading: Reading) -> bool:
    return session.meter_serial is None or reading.serial is not None


def _kept_around(db: Connection, meter: str, at_ms: int) -> list[Reading]:
    k = interval_of(at_ms)
    rows = [intervals.get(db, k), intervals.get(db, k + 1)]
    boundaries = [reading for row in rows if row and (reading := row.boundary.get(meter)) is not None]
    return boundaries + readings.kept_between(db, meter, at_ms - AROUND_MS, at_ms + AROUND_MS)
