"""No confirmed transaction message, event or session is lost by a power cut at any write; without the sync it is."""

from __future__ import annotations

import pytest

from .power_cuts import cut_often


def test_power_cuts_at_any_write_lose_nothing_that_was_confirmed() -> None:
    """A share of the ten thousand of `make prove`."""
    toll = cut_often(250, seed=1)
    assert toll.confirmed > 500
    assert (toll.lost, toll.broken) == (0, [])


def test_the_same_cuts_find_the_loss_of_a_database_that_does_not_sync() -> None:
    assert cut_often(40, seed=1, weak=True).lost > 0


@pytest.mark.slow
def test_ten_thousand_power_cuts_lose_nothing() -> None:
    toll = cut_often(10_000, seed=2)
    print(f"{toll.cuts} power cuts, {toll.confirmed} confirmed, {toll.lost} lost")  # noqa: T201
    assert (toll.lost, toll.broken) == (0, [])
