"""A meter that leaves requests unanswered though it is there is told of, once, and that it answers again."""

from __future__ import annotations

from gateway.meters.steadiness import FAILED, REQUESTS, Steadiness
from gateway.meters.words import steadiness_event
from gateway.model import Severity


def _settle(steadiness: Steadiness, pattern: str, *, lost: bool = False) -> list[tuple[int, int]]:
    """What is told after which request; "x" is one that failed."""
    told = [steadiness.settle(failed=one == "x", lost=lost) for one in pattern]
    return [(number, count) for number, count in enumerate(told, 1) if count is not None]


def test_a_meter_that_is_late_with_every_third_answer_is_told_of_once() -> None:
    assert _settle(Steadiness(), "..x" * 200) == [(3 * FAILED, FAILED)]


def test_single_failures_are_no_fault() -> None:
    sparse = "x" + "." * (REQUESTS // (FAILED - 1))
    assert _settle(Steadiness(), sparse * 200) == []


def test_it_is_over_after_as_many_answers_in_a_row_and_may_begin_anew() -> None:
    steadiness = Steadiness()
    assert _settle(steadiness, "..x" * FAILED) == [(3 * FAILED, FAILED)]
    assert _settle(steadiness, "." * (REQUESTS - 1) + "x") == []
    assert _settle(steadiness, "." * REQUESTS) == [(REQUESTS, 0)]
    assert _settle(steadiness, "x" * FAILED) == [(FAILED, FAILED)]


def test_of_a_meter_that_is_told_to_be_lost_nothing_more_is_told() -> None:
    steadiness = Steadiness()
    assert _settle(steadiness, "x" * 100, lost=True) == []
    assert _settle(steadiness, "x." * (FAILED - 1)) == []


def test_the_events_say_what_is_wrong_and_what_to_do() -> None:
    begins, ends = steadiness_event("m1", FAILED), steadiness_event("m1", 0)
    assert (begins.kind, begins.subject, begins.severity) == ("meter_unsteady", "meter m1", Severity.WARNING)
    assert f"{FAILED} of its last {REQUESTS} answers" in begins.cause
    assert "timeout_s" in begins.next_step
    assert (ends.kind, ends.subject) == ("meter_steady", "meter m1")
    assert begins.keep
    assert ends.keep
