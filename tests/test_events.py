"""Events: logged, shown, and kept for the cloud where they say so."""

from __future__ import annotations

from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.events import EventBook
from gateway.log import _redact
from gateway.model import Event, Severity, Stamp, TimeQuality
from gateway.sessions.notices import notice


def test_cards_and_passwords_never_stand_in_the_log() -> None:
    """The last four characters tell cards apart; a short card tells nothing."""
    line: MutableMapping[str, Any] = {"event": "x", "id_tag": "04A2B3C4D5", "password": "geheim", "charger": "box1"}
    assert _redact(None, "info", line) == {"event": "x", "id_tag": "...C4D5", "password": "***", "charger": "box1"}
    assert _redact(None, "info", {"id_tag": "AB"})["id_tag"] == "***"


def test_an_event_becomes_a_notice_with_plain_values() -> None:
    """What JSON does not know is written as text."""
    event = Event("meter_lost", "meter grid", "no answer", "look at the line", Severity.WARNING, {"age_s": 1.5, "n": 2})
    body = notice(Stamp(1_781_343_000_000, TimeQuality.NTP), event)
    assert body.at == "2026-06-13T09:30:00.000Z"
    assert body.data == {"age_s": "1.5", "n": 2}
    assert body.severity == "warning"


def test_a_part_may_name_its_data_like_our_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Once a refused wallbox got HTTP 500, because its event's data had a key `at`."""
    clock = SimpleNamespace(now=lambda: Stamp(1_781_343_000_000, TimeQuality.NTP))
    book = EventBook(SimpleNamespace(clock=clock))  # type: ignore[arg-type]
    data = {"at": "x", "subject": "x", "event": "x", "cause": "x", "level": "x", "timestamp": "x", "self": "x"}
    book.tell(Event("charger_refused", "box9", "unknown identity", "add it", data=data))
    assert book.status()[0]["subject"] == "box9"
    printed = capsys.readouterr()
    assert "charger_refused" in printed.out + printed.err
