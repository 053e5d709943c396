"""Where sessions lie on a charger's meter: the registers at their begin and end."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.energy.intervals import Cut
from gateway.energy.quarter import SessionCut
from gateway.model import Connection
from gateway.sessions import session as machine
from gateway.sessions.session import Session, State
from gateway.store import decisions, sessions

SLACK_MS = 60_000
"""Boundary readings are taken up to 10 s after the boundary, registers decide: a look a little further is harmless."""


def on_meter(db: Connection, meter: str, from_ms: int, to_ms: int) -> tuple[list[SessionCut], list[str]]:
    """The sessions that may have taken energy in [from_ms, to_ms), and in words what is still waited for."""
    found: list[SessionCut] = []
    waiting: list[str] = []
    for row in sessions.on_meter(db, meter, from_ms - SLACK_MS, to_ms + SLACK_MS):
        session = machine.of_row(row)
        if session.state is State.STOPPED and (session.stop_arrived_ms or 0) < to_ms:
            waiting.append(f"waits: the end register of session {session.id}")
        cut = _cut(db, session)
        if cut is not None:
            found.append(cut)
    return found, waiting


def _cut(db: Connection, session: Session) -> SessionCut | None:
    if session.state is State.ENDED and not session.billable:
        return _decided(db, session) or _own_cut(session)
    return _own_cut(session)


def _decided(db: Connection, session: Session) -> SessionCut | None:
    """Where a person put the session on the meter; None where nobody did."""
    decision = decisions.newest(db, session.id)
    if decision is None or decision.basis != "meter" or decision.begin_wh is None or decision.end_wh is None:
        return None
    cut = Cut(session.id, session.meter_serial, decision.begin_wh, decision.end_wh)
    return SessionCut(cut, billable=decision.bill)


def _own_cut(session: Session) -> SessionCut | None:
    if session.begin_wh is None or session.begin_provenance != "meter":
        return None
    if session.state is not State.ENDED:
        return SessionCut(Cut(session.id, session.meter_serial, session.begin_wh, from_ms=session.begin_ms))
    if session.end_wh is None:
        return None
    cut = Cut(
        session.id, session.meter_serial, session.begin_wh, session.end_wh, session.begin_ms, session.end_ms
    )  # fmt: skip
    return SessionCut(cut, billable=session.billable)


def ended_within(db: Connection, meters: Iterable[str], from_ms: int, to_ms: int) -> set[str]:
    """Billable sessions that ended in [from_ms, to_ms), also those that took nothing."""
    return {
        row["id"]
        for meter in meters
        for row in sessions.on_meter(db, meter, from_ms - SLACK_MS, to_ms + SLACK_MS)
        if row["state"] == State.ENDED.value and (row["billable"] or decisions.newest(db, row["id"]) is not None)
    }
