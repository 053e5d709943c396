"""The fuse tree, and what `check` says of the building without the gateway (design rule 8)."""

from __future__ import annotations

import pytest

from gateway.load.circuits import alone_report, problems_when_alone, tree_of
from tests.load.building import circuit, connector, site_of


def test_links_follow_the_rotation_up_to_the_root() -> None:
    site = site_of(
        [circuit("house"), circuit("garage", parent="house")],
        [connector("a", "garage", rotation=(1, 2, 0), phases=2), connector("b", "house", rotation=(2, 0, 1), phases=1)],
    )
    tree = tree_of(site)
    links = {str(ref): found for ref, found in tree.links_of.items()}
    assert links == {"a/1": (3 + 1, 3 + 2, 0 + 1, 0 + 2), "b/1": (2,)}
    assert tree.name(4) == "garage L2"


def test_a_circuit_of_one_phase_has_no_link_on_the_others() -> None:
    site = site_of([circuit("house"), circuit("shed", parent="house", phases=(1,))], [connector("a", "shed")])
    assert tree_of(site).links_of[connector("a").ref] == (4, 0, 1, 2)


def test_a_cycle_and_a_missing_parent_are_named() -> None:
    cycle = site_of([circuit("a", parent="b"), circuit("b", parent="a")], [])
    with pytest.raises(ValueError, match='circuit "a" is its own ancestor'):
        tree_of(cycle)
    with pytest.raises(ValueError, match='circuit "a": its parent "nowhere" does not exist'):
        tree_of(site_of([circuit("a", parent="nowhere")], []))


def test_fallbacks_that_fit_on_every_phase_are_no_problem() -> None:
    """Three one-phase boxes of 16 A on three phases fit beside 20 A under 36 A; on one phase they would not."""
    boxes = [
        connector(f"b{n}", phases=1, rotation=((n, (n + 1) % 3, (n + 2) % 3)), fallback_ma=16000) for n in range(3)
    ]
    assert problems_when_alone(site_of([circuit(limit_a=36)], boxes)) == []


def test_fallbacks_that_do_not_fit_are_named_with_circuit_phase_and_figures() -> None:
    boxes = [
        connector("a", "garage", fallback_ma=10000),
        connector("b", "garage", phases=1, rotation=(1, 2, 0), fallback_ma=6000),
        connector("c", "garage"),
    ]
    site = site_of([circuit("house", 35), circuit("garage", 32, parent="house", house_worst_ma=2000)], boxes)
    assert problems_when_alone(site) == [
        'circuit "house", L2: without the gateway the chargers may draw 16.0 A (a/1 10.0 A, b/1 6.0 A) beside 20.0 A '
        "of the house, 36.0 A in sum, but the limit is 35.0 A. Take 1.0 A away: set fallback_a of one or more of them "
        "to 0, or state a smaller house_worst_a if it is too high."
    ]


def test_a_parent_carries_the_worst_case_of_a_circuit_below_it() -> None:
    """A house said to draw 5 A at worst holds a garage said to draw 30 A: the 30 A count."""
    site = site_of(
        [circuit("house", 35, house_worst_ma=5000), circuit("garage", 40, parent="house", house_worst_ma=30000)],
        [connector("a", "house", fallback_ma=6000)],
    )
    assert len(problems_when_alone(site)) == 3
    assert "beside 30.0 A of the house" in problems_when_alone(site)[0]


def test_a_house_that_is_too_large_by_itself_is_not_blamed_on_the_chargers() -> None:
    problems = problems_when_alone(site_of([circuit(limit_a=16)], [connector("a")]))
    assert len(problems) == 3
    assert problems[0].startswith('circuit "house", L1: the rest of the house may draw 20.0 A, more than the limit')


def test_the_report_says_who_may_still_charge() -> None:
    site = site_of([circuit()], [connector("a", fallback_ma=6000, phases=2, rotation=(1, 2, 0)), connector("b")])
    assert alone_report(site) == [
        "a/1: charges with at most 6.0 A on L2 L3",
        "b/1: does not charge without the gateway (fallback_a = 0)",
        'circuit "house": at most L1 20.0 A, L2 26.0 A, L3 26.0 A of 40.0 A, 20.0 A of it for the rest of the house',
    ]
