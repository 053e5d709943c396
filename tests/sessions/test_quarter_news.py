"""What is said about quarter hours: those that are incomplete in a row, for one reason, are one event."""

from __future__ import annotations

from gateway.model import Event
from gateway.sessions.quarter_news import folded


def _incomplete(k: int, cause: str = "meter grid: no reading", next_step: str = "wait") -> Event:
    return Event("interval_provisional", f"quarter hour {k}", cause, next_step=next_step, data={"k": k}, keep=True)


def test_a_row_of_incomplete_quarter_hours_is_one_event_with_its_number_and_span() -> None:
    [told] = folded([_incomplete(k) for k in range(10, 15)])
    assert told.subject == "5 quarter hours, 10 to 14"
    assert told.data == {"k": 10, "quarters": 5}
    assert (told.cause, told.next_step, told.keep) == ("meter grid: no reading", "wait", True)


def test_it_goes_on_with_what_was_told_in_the_transaction_before() -> None:
    [told] = folded([*folded([_incomplete(10), _incomplete(11)]), _incomplete(12), _incomplete(13)])
    assert (told.subject, told.data["quarters"]) == ("4 quarter hours, 10 to 13", 4)


def test_another_reason_another_remedy_and_a_gap_are_told_by_themselves() -> None:
    other = [_incomplete(11, cause="meter pv: no reading"), _incomplete(12, next_step="accept it"), _incomplete(14)]
    assert folded([_incomplete(10), *other]) == [_incomplete(10), *other]


def test_other_events_are_told_each() -> None:
    """Energy that belongs to nobody has its own figure in each quarter hour."""
    events = [Event("imbalance", f"quarter hour {k}", "80 Wh", data={"k": k}) for k in (1, 2)]
    assert folded(events) == events
