"""A power cut at any write loses nothing confirmed or told, no session comes twice, no page of a key is used twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gateway.store import records

from .power_cuts import cut_often


def test_power_cuts_at_any_write_lose_nothing_that_was_confirmed() -> None:
    """A share of the ten thousand of `make prove`."""
    toll = cut_often(250, seed=1)
    assert toll.confirmed > 500
    assert (toll.lost, toll.broken) == (0, [])


def test_the_same_cuts_find_the_loss_of_a_database_that_does_not_sync() -> None:
    assert cut_often(40, seed=1, weak=True).lost > 0


def test_a_page_that_is_not_drawn_in_the_transaction_of_its_record_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter beside the database goes on where the record was undone."""
    spent = Counter[tuple[str, str]]()

    def beside(_: Any, key_id: str, place: str) -> int:
        spent[key_id, place] += 1
        return spent[key_id, place]

    monkeypatch.setattr(records, "next_page", beside)
    toll = cut_often(20, seed=1)
    assert any("pagination" in problem for problem in toll.broken)


@pytest.mark.slow
def test_ten_thousand_power_cuts_lose_nothing() -> None:
    toll = cut_often(10_000, seed=2)
    print(f"{toll.cuts} power cuts, {toll.confirmed} confirmed, {toll.lost} lost")  # noqa: T201
    assert (toll.lost, toll.broken) == (0, [])
