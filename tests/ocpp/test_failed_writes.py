"""A disk that takes nothing is told for each kind of row, not for each row (I11, I12)."""

from __future__ import annotations

from itertools import count as numbers

from gateway.model import Event
from gateway.ocpp.failed_writes import AGAIN_S, SOON_S
from tests.ocpp.bench import Bench

_NUMBERS = numbers()


def _hold(bench: Bench, count: int) -> None:
    """Somebody shows so many cards at the box, and the CSMS answers each time."""
    for number in (next(_NUMBERS) for _ in range(count)):
        bench.say("charger", [2, f"a{number}", "Authorize", {"idTag": f"CARD-{number}"}])
        bench.say("csms", [3, f"a{number}", {"idTagInfo": {"status": "Accepted"}}])


def _told(bench: Bench, kind: str = "store_failed") -> list[Event]:
    return [event for event in bench.events if event.kind == kind]


def test_a_box_that_shows_cards_to_a_full_disk_costs_one_line() -> None:
    """Seed 60012: 1660 lines in two minutes, 0.4 MB on the card that was full."""
    bench = Bench().accepted()
    bench.disk_full = True
    _hold(bench, 200)
    (event,) = _told(bench)
    assert event.cause == "LearnTag could not be written: disk full"
    assert event.next_step


def test_each_kind_of_row_that_is_not_written_is_told() -> None:
    bench = Bench().accepted()
    bench.disk_full = True
    _hold(bench, 2)
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Faulted"}
    bench.say("charger", [2, "n", "StatusNotification", status])
    bench.say("csms", [3, "n", {}])
    assert [event.cause.split()[0] for event in _told(bench)] == ["LearnTag", "SaveStatus"]


def test_a_disk_that_stays_full_is_told_every_ten_minutes() -> None:
    bench = Bench().accepted()
    bench.disk_full = True
    for _ in range(61):
        _hold(bench, 3)
        bench.later(60)
    assert len(_told(bench)) == 1 + 3600 // round(AGAIN_S)


def test_how_many_rows_were_not_written_is_told_when_the_disk_takes_them_again() -> None:
    bench = Bench().accepted()
    bench.disk_full = True
    _hold(bench, 200)
    bench.disk_full = False
    _hold(bench, 1)
    (event,) = _told(bench, "store_takes")
    assert "199 more rows" in event.cause
    bench.later(SOON_S)
    _hold(bench, 1)
    assert len(_told(bench, "store_takes")) == 1


def test_a_disk_that_is_full_again_is_told_again() -> None:
    bench = Bench().accepted()
    for _ in range(2):
        bench.disk_full = True
        _hold(bench, 5)
        bench.disk_full = False
        _hold(bench, 1)
        bench.later(SOON_S)
    assert len(_told(bench)) == 2


def test_a_disk_that_takes_every_second_row_is_told_twice_a_minute() -> None:
    bench = Bench().accepted()
    for number in range(600):
        bench.disk_full = number % 2 == 0
        _hold(bench, 1)
        bench.later(0.1)
    assert len(_told(bench)) == 2
    assert len(_told(bench, "store_takes")) == 2
