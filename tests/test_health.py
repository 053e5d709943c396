"""What the watchdog believes."""

from __future__ import annotations

from gateway.health import problems


def test_a_part_that_moves_is_well_and_one_that_stands_is_named() -> None:
    """The control loop may stand for seconds, the database for minutes."""
    assert problems(1000.0, {"control loop": 999.0, "database": 700.0}) == []
    [sentence] = problems(1000.0, {"control loop": 980.0, "database": 700.0})
    assert sentence == "the control loop has not moved for 20 s"


def test_a_part_that_was_never_asked_is_no_problem() -> None:
    """A site without a control loop yet is not ill."""
    assert problems(1000.0, {}) == []
