"""The state machine of a session: its table is the whole truth."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.model import Reading, TimeQuality
from gateway.sessions import session as machine
from gateway.sessions.session import (
    TABLE,
    IllegalEventError,
    Kind,
    Session,
    State,
    Stop,
    flat_around,
    of_row,
)

NEW = Session(
    id="s", charger="box1", connector=1, transaction_id=7, state=State.NEW, id_tag="A", tenant="anna",
    participant="box1", authorised_by="csms", begin_ms=1000, begin_q="ntp", meter="m1",
)  # fmt: skip
STOP = Stop(arrived_ms=9000, at_ms=9000, quality="ntp", charger_wh=12, reason="Local")


def reading(at_ms: int, wh: int | None, serial: str | None = "A") -> Reading:
    return Reading("m1", at_ms, at_ms + 9, TimeQuality.NTP, wh, serial=serial)


APPLY = {
    Kind.START: lambda session: machine.started(session, reading(900, 5)),
    Kind.REFUSED: machine.refused,
    Kind.STRAY_STOP: lambda session: machine.stray_stop(session, STOP),
    Kind.METER_VALUE: machine.meter_value,
    Kind.STOP: lambda session: machine.stopped(session, STOP),
    Kind.END_READING: lambda session: machine.end_reading(session, reading(9100, 50)),
    Kind.NO_END: lambda session: machine.without_end(session, machine.Reason.NO_END),
    Kind.NEXT_START: lambda session: machine.next_start(session, 9500, "ntp"),
}


@pytest.mark.parametrize(("state", "kind"), list(product(State, Kind)))
def test_every_event_in_every_state_does_what_the_table_says(state: State, kind: Kind) -> None:
    """Legal: the state of the table. Illegal: it raises."""
    session = machine.replace(NEW, state=state)
    if (state, kind) in TABLE:
        assert APPLY[kind](session).state is TABLE[state, kind]
    else:
        with pytest.raises(IllegalEventError):
            APPLY[kind](session)


def test_only_a_session_with_both_registers_of_one_meter_is_billable() -> None:
    stopped = machine.stopped(machine.started(NEW, reading(900, 40)), STOP)
    cases = {
        (50, "A"): None,
        (40, "A"): None,
        (39, "A"): "register_went_back",
        (50, "B"): "meter_swapped",
    }
    for (wh, serial), reason in cases.items():
        ended = machine.end_reading(stopped, reading(9100, wh, serial))
        assert (ended.billable, ended.unbillable_reason) == (reason is None, reason)
        assert ended.energy_wh == (wh - 40 if reason is None else None)
    blind = machine.end_reading(machine.stopped(machine.started(NEW, None), STOP), reading(9100, 50))
    assert (blind.billable, blind.unbillable_reason, blind.energy_wh) == (False, "no_begin_register", None)


def test_no_session_that_ended_otherwise_has_energy() -> None:
    """Refused, stray, without end, overtaken: a reason, no energy."""
    opened = machine.started(NEW, reading(900, 5))
    for ended in (
        machine.refused(NEW),
        machine.stray_stop(NEW, STOP),
        machine.without_end(machine.stopped(opened, STOP), machine.Reason.CHARGER_ONLY),
        machine.next_start(opened, 9500, "ntp"),
        machine.next_start(machine.stopped(opened, STOP), 9500, "ntp"),
    ):
        assert (ended.state, ended.billable, ended.energy_wh) == (State.ENDED, False, None)
        assert ended.unbillable_reason


def test_a_session_is_its_row() -> None:
    ended = machine.end_reading(machine.stopped(machine.started(NEW, reading(900, 40)), STOP), reading(9100, 50))
    assert of_row(ended.row()) == ended


def test_a_register_is_known_in_between_only_where_it_is_flat() -> None:
    flat = [reading(1000, 5), reading(2000, 7), reading(3000, 7), reading(4000, 8)]
    assert flat_around(flat, 2500) == flat[2]
    assert flat_around(flat, 2000) == flat[2]
    assert flat_around(flat, 3500) is None
    assert flat_around(flat, 500) is None
    assert flat_around(flat, 9000) is None
    assert flat_around([reading(1000, 5), reading(2000, 5, "B")], 1500) is None
