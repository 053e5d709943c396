"""What a box may draw without the gateway, as the judge reads it from the wire."""

from __future__ import annotations

from simulators.judge.fuses import NEVER_MS, Limit, in_force
from simulators.judge.place import Box

BOX = Box("box1", frozenset(), 6000, 16_000, {}, {})


def test_a_box_that_was_never_given_a_limit_has_its_fallback_at_all_times() -> None:
    assert in_force(BOX, [], 0) == [Limit(-NEVER_MS, NEVER_MS, 6000)]


def test_the_fallback_is_in_force_before_between_and_after_the_limits() -> None:
    first, second = Limit(1000, 2000, 10_000), Limit(5000, 9000, 8000)
    assert in_force(BOX, [second, first], 0) == [
        Limit(-NEVER_MS, 1000, 6000),
        first,
        Limit(2000, 5000, 6000),
        second,
        Limit(9000, NEVER_MS, 6000),
    ]
