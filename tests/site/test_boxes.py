"""The habits of the seeded wallboxes."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

from simulators.ocpp_link import Message

from .boxes import SeededCharger


def _message(name: str, *, sent: bool = False) -> Message:
    action = {"start": "StartTransaction", "stop": "StopTransaction", "meter": "MeterValues"}[name.split()[0]]
    return Message(action, dict, lambda _: None, name, "text" if sent else None)


def _reordered(*messages: Message) -> list[str]:
    charger = SeededCharger.__new__(SeededCharger)
    charger.link = SimpleNamespace(queue=deque(messages))  # type: ignore[assignment]
    charger._stops_first()
    return [message.id for message in charger.link.queue]


def test_a_box_that_reorders_sends_each_stop_before_what_was_metered_and_no_transaction_before_its_start() -> None:
    names = ("meter 1", "meter 2", "stop 1", "start 2", "meter 3", "stop 2", "start 3", "meter 4")
    assert _reordered(*map(_message, names)) == [
        "stop 1", "meter 1", "meter 2", "start 2", "stop 2", "meter 3", "start 3", "meter 4",
    ]  # fmt: skip


def test_what_has_been_sent_before_stays_first() -> None:
    first = _message("meter 1", sent=True)
    assert _reordered(first, _message("meter 2"), _message("stop 1")) == ["meter 1", "stop 1", "meter 2"]
