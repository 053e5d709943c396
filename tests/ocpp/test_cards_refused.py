"""A card that the gateway refuses is one event with a next step, not silence and not a flood."""

from __future__ import annotations

import json

import pytest

from gateway.ocpp.refused_cards import CARD_AGAIN_S, MAX_TOLD_CARDS
from gateway.site import Token
from tests.ocpp.bench import Bench, start
from tests.ocpp.wires import make_charger

CARD = "04A224B2C15B80"


def _bench(**charger: str) -> Bench:
    tokens = (Token(id="CARD-A", tenant="anna"), Token(id="OLD", tenant="ben", to_ms=1))
    return Bench(make_charger(**charger), upstream=None, tokens=tokens).open("charger")


def _boot(bench: Bench) -> Bench:
    bench.say("charger", [2, "b", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}])
    bench.serve_chores()
    return bench


def _hold(bench: Bench, card: str) -> str:
    bench.say("charger", [2, "a", "Authorize", {"idTag": card}])
    answer = next(frame for frame in bench.take("charger") if frame[1] == "a")
    return str(answer[2]["idTagInfo"]["status"])


def test_an_unknown_card_is_told_once_in_ten_minutes_and_never_in_full() -> None:
    """Authorize and StartTransaction of the same card are one event of the box."""
    bench = _boot(_bench())
    assert _hold(bench, CARD) == "Invalid"
    bench.say("charger", start(tag=CARD.lower()))
    assert _hold(bench, CARD) == "Invalid"
    (event,) = bench.events
    assert (event.kind, event.subject) == ("card_refused", "box1")
    assert event.data["id_tag"] == "...5B80"
    assert CARD not in json.dumps([event.cause, event.next_step, dict(event.data)])
    assert "add the card to [[token]]" in event.next_step
    bench.later(CARD_AGAIN_S + 1)
    assert _hold(bench, CARD) == "Invalid"
    assert bench.kinds() == ["card_refused"] * 2


def test_a_card_held_to_the_reader_all_day_is_told_every_ten_minutes() -> None:
    """Refusals in between do not put the next event off."""
    bench = _boot(_bench())
    for _ in range(61):
        _hold(bench, CARD)
        bench.later(60)
    assert bench.kinds() == ["card_refused"] * 7


@pytest.mark.parametrize(("card", "kinds"), [("CARD-A", []), ("OLD", ["card_refused"])])
def test_a_known_card_is_no_event_and_one_whose_time_is_over_says_so(card: str, kinds: list[str]) -> None:
    """The next step fits the cause; a short card shows nothing of itself."""
    bench = _boot(_bench())
    _hold(bench, card)
    assert bench.kinds() == kinds
    for event in bench.events:
        assert "time of this card is over" in event.cause
        assert event.data["id_tag"] == "***"


def test_a_card_that_the_csms_refuses_is_its_own_affair() -> None:
    """While the CSMS answers, the gateway decides nothing and tells nothing; without it, it does."""
    bench = Bench(make_charger(upstream="csms", authority="csms")).accepted()
    bench.say("charger", [2, "a", "Authorize", {"idTag": CARD}])
    bench.say("csms", [3, "a", {"idTagInfo": {"status": "Invalid"}}])
    assert bench.kinds() == []
    bench.close("csms")
    assert _hold(bench, "UNKNOWN") == "Invalid"
    assert bench.kinds() == ["card_refused"]


def test_of_cards_without_end_some_are_told_and_the_rest_is_counted() -> None:
    """I12: somebody who tries numbers fills neither the log nor the memory."""
    bench = _boot(_bench())
    for number in range(3 * MAX_TOLD_CARDS):
        assert _hold(bench, f"CARD-{number}") == "Invalid"
    assert bench.kinds() == ["card_refused"] * MAX_TOLD_CARDS + ["many_cards_refused"]
    event = bench.events[-1]
    assert (event.subject, event.keep) == ("box1", True)
    assert event.cause
    assert event.next_step
    assert len(bench.relay._core.refused_cards._told_s) == MAX_TOLD_CARDS
    bench.later(CARD_AGAIN_S + 1)
    assert bench.kinds()[-2:] == ["many_cards_refused"] * 2
    assert bench.events[-1].data["refused"] == 2 * MAX_TOLD_CARDS


def test_when_nobody_tries_cards_any_more_each_is_told_again() -> None:
    bench = _boot(_bench())
    for number in range(MAX_TOLD_CARDS + 1):
        _hold(bench, f"CARD-{number}")
    bench.later(3 * CARD_AGAIN_S)
    told = len(bench.events)
    bench.later(CARD_AGAIN_S)
    assert len(bench.events) == told
    assert _hold(bench, "CARD-0") == "Invalid"
    assert bench.kinds()[told:] == ["card_refused"]


def test_a_flood_of_cards_is_counted_again_and_again_while_it_lasts() -> None:
    """An hour of it is some dozen lines of each box."""
    bench = _boot(_bench())
    for number in range(3600):
        _hold(bench, f"CARD-{number}")
        bench.later(1)
    assert bench.kinds().count("many_cards_refused") <= 7
    assert len(bench.events) <= 7 * (MAX_TOLD_CARDS + 1)
