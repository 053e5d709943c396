"""An entry on which the CSMS closes the connection every time: a dead letter, and the queue goes on."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import Severity
from gateway.ocpp import actions as act
from gateway.ocpp.replay import MAX_CUTS
from tests.ocpp.bench import Bench, meter, start, started, stop
from tests.ocpp.wires import make_charger

LOCAL = 2**31 - 1
KINDS = ("StartTransaction", "MeterValues", "StopTransaction")


def _sent(bench: Bench) -> list[list[Any]]:
    return [frame for frame in bench.take("csms") if frame[0] == 2 and frame[2] in KINDS]


def _charged_offline() -> Bench:
    """Start and stop of one transaction wait for the CSMS."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.say("charger", stop("e1", LOCAL))
    bench.take("charger")
    return bench


def _cut_while_sending(bench: Bench, times: int) -> list[list[Any]]:
    """The CSMS comes, gets the entry, and goes; what it got. The waits before a resend are lived through."""
    got = []
    for _ in range(times):
        bench.open("csms")
        got += _resent(bench)
        bench.close("csms")
    return got


def _resent(bench: Bench) -> list[list[Any]]:
    """What is sent, if need be after its wait."""
    for _ in range(60):
        if frames := _sent(bench):
            return frames
        bench.later(5)
    return []


def _parked(bench: Bench) -> list[str]:
    return [row[0] for row in bench.journal() if row[2] == "parked"]


def test_the_entry_that_kills_every_connection_is_parked_and_the_rest_arrives() -> None:
    """Told with its cause; what belongs to a parked start goes with -1."""
    bench = _charged_offline()
    got = _cut_while_sending(bench, MAX_CUTS)
    assert [frame[1] for frame in got] == ["s1"] * MAX_CUTS
    assert _parked(bench) == ["StartTransaction"]
    (event,) = [one for one in bench.events if one.kind == "dead_letter"]
    assert f"ended {MAX_CUTS} times in a row when it got StartTransaction" in event.cause
    assert event.keep
    assert event.severity is Severity.ERROR
    assert event.next_step
    bench.open("csms")
    assert _sent(bench) == [stop("e1", -1)]
    bench.say("csms", [3, "e1", {}])
    assert [row[2] for row in bench.journal()] == ["parked", "done"]


def test_one_loss_less_is_a_bad_link_and_nothing_is_lost() -> None:
    """The entry goes again and is answered; the count begins anew with the next one."""
    bench = _charged_offline()
    _cut_while_sending(bench, MAX_CUTS - 1)
    bench.open("csms")
    assert [frame[1] for frame in _resent(bench)] == ["s1"]
    bench.say("csms", started("s1", 5))
    assert _sent(bench) == [stop("e1", 5)]
    bench.close("csms")
    _cut_while_sending(bench, MAX_CUTS - 2)
    assert _parked(bench) == []
    assert "dead_letter" not in bench.kinds()


def test_a_link_that_breaks_between_entries_that_progress_parks_nothing() -> None:
    """Each connection dies with the next entry on its way, and each entry is answered on the one after it."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    for number in range(4 * MAX_CUTS):
        bench.say("charger", meter(f"m{number}", LOCAL, 20 + number))
    bench.take("charger")
    seen: list[str] = []
    for _ in range(4 * MAX_CUTS):
        bench.open("csms")
        first = _sent(bench)[0][1]
        seen.append(first)
        bench.say("csms", started(first, 5) if first == "s1" else [3, first, {}])
        assert len(_sent(bench)) == 1
        bench.close("csms")
    assert seen == ["s1", *(f"m{number}" for number in range(4 * MAX_CUTS - 1))]
    assert _parked(bench) == []


def test_between_the_losses_the_connection_is_there_for_all_else() -> None:
    """From the second loss on the entry waits before it goes again: a card can be asked for meanwhile."""
    bench = _charged_offline()
    _cut_while_sending(bench, 2)
    bench.open("csms")
    assert _sent(bench) == []
    bench.say("charger", [2, "a", "Authorize", {"idTag": "CARD-B"}])
    assert [frame[2] for frame in bench.take("csms")] == ["Authorize"]
    bench.say("csms", [3, "a", {"idTagInfo": {"status": "Accepted"}}])
    bench.later(61)
    assert [frame[1] for frame in _sent(bench)] == ["s1"]


def test_a_connection_that_dies_under_another_message_does_not_count() -> None:
    """The entry waited behind it and was never sent."""
    bench = _charged_offline()
    _cut_while_sending(bench, MAX_CUTS - 1)
    bench.later(400)
    for number in range(2 * MAX_CUTS):
        status = {"connectorId": 1, "errorCode": "NoError", "status": f"S{number}"}
        bench.say("charger", [2, f"n{number}", "StatusNotification", status])
        bench.open("csms")
        assert [frame[2] for frame in bench.take("csms")] == ["StatusNotification"]
        bench.close("csms")
    assert _parked(bench) == []


def test_a_link_that_also_breaks_while_the_entry_rests_parks_nothing() -> None:
    """A CSMS that restarts again and again loses every connection, whatever is on it."""
    bench = _charged_offline()
    for _ in range(2 * MAX_CUTS):
        _cut_while_sending(bench, 2)
        bench.open("csms")
        assert _sent(bench) == [], "the entry waits for its turn"
        bench.close("csms")
    assert _parked(bench) == []


def test_a_connection_that_we_close_ourselves_does_not_count() -> None:
    """A silent CSMS is dialled anew by us, for weeks if it must be: nothing is parked for that."""
    bench = _charged_offline()
    for _ in range(3 * MAX_CUTS):
        bench.open("csms")
        bench.later(400)
        assert bench.closed[-1:] == ["csms"]
        bench.close("csms")
    assert _parked(bench) == []


def test_a_box_that_leaves_while_its_entry_is_on_its_way_does_not_count() -> None:
    """Set to spec-close, its CSMS's connection is closed by us each time it goes."""
    bench = Bench(make_charger(upstream="csms", authority="csms", offline="spec-close")).accepted()
    bench.say("charger", start())
    assert [frame[1] for frame in _sent(bench)] == ["s1"]
    for _ in range(2 * MAX_CUTS):
        bench.close("charger")
        assert bench.closed[-1] == "csms"
        bench.close("csms")
        bench.open("charger", "csms")
        assert [frame[1] for frame in _resent(bench)] == ["s1"]
    assert _parked(bench) == []


@pytest.mark.parametrize("again", [False, True])
def test_a_disk_that_refuses_the_parking_is_asked_again(again: bool) -> None:
    """Until then the entry is not sent: it would cost the connection once more."""
    bench = _charged_offline()
    _cut_while_sending(bench, MAX_CUTS - 1)
    bench.failing = act.Fail
    _cut_while_sending(bench, 1)
    assert _parked(bench) == []
    if again:
        bench.open("csms")
        bench.later(100)
        assert _sent(bench) == []
    bench.failing = None
    bench.later(61)
    assert _parked(bench) == ["StartTransaction"]
