"""I11: a box that sends more than makes sense is told, also where each message finds its answer."""

from __future__ import annotations

import pytest

from gateway.ocpp.floods import CHATTER, CHATTER_S, FLOOD_AGAIN_S
from tests.ocpp.bench import Bench


def _bench() -> Bench:
    """Accepted long ago: what it said at boot does not count any more."""
    bench = Bench().accepted()
    bench.later(CHATTER_S)
    return bench


def _chat(bench: Bench, name: str, count: int, action: str = "Heartbeat") -> None:
    """The CSMS answers each message before the next one comes."""
    payload = {"connectorId": 1, "transactionId": 1, "meterValue": []} if action == "MeterValues" else {}
    for number in range(count):
        bench.say("charger", [2, f"{name}{number}", action, payload])
        bench.say("csms", [3, f"{name}{number}", {}])


@pytest.mark.parametrize("action", ["Heartbeat", "Authorize", "StatusNotification", "DataTransfer"])
def test_a_box_that_chatters_is_told_though_every_message_is_answered(action: str) -> None:
    bench = _bench()
    _chat(bench, "a", CHATTER - 1, action)
    assert bench.kinds() == []
    _chat(bench, "b", 1, action)
    (event,) = bench.events
    assert (event.kind, event.subject, event.keep) == ("charger_floods", "box1", True)
    assert str(CHATTER) in event.cause
    assert event.next_step


def test_chatter_is_told_once_in_ten_minutes() -> None:
    bench = _bench()
    for _ in range(10):
        _chat(bench, "a", 2 * CHATTER)
        bench.later(CHATTER_S + 1)
    assert bench.kinds() == ["charger_floods"]
    bench.later(FLOOD_AGAIN_S)
    _chat(bench, "b", CHATTER)
    assert bench.kinds() == ["charger_floods"] * 2


def test_as_many_messages_in_a_longer_time_are_no_flood() -> None:
    bench = _bench()
    for _ in range(10):
        _chat(bench, "a", CHATTER - 1)
        bench.later(CHATTER_S)
    assert bench.kinds() == []


def test_what_a_box_metered_while_it_was_away_may_come_as_fast_as_it_is_answered() -> None:
    bench = _bench()
    _chat(bench, "v", 5 * CHATTER, "MeterValues")
    assert bench.kinds() == []
