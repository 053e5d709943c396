"""Transaction ids of both sides, cards, counts of thinned values, and what a charger confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Connection
from gateway.store import chargers, thinned, tokens, transactions
from gateway.store.database import migrate
from gateway.store.sqlite import connect
from gateway.store.transactions import HIGHEST_ID


def fresh() -> Connection:
    connection = connect(Path(":memory:"))
    migrate(connection)
    return connection


@pytest.fixture
def db() -> Connection:
    return fresh()


def begin(db: Connection, entry: int, csms_id: int | None, charger: str = "box1") -> int:
    row = transactions.begin(
        db, charger, csms_id=csms_id, connector=1, id_tag="A", start_entry=entry, start_ms=entry
    )  # fmt: skip
    return row.local_id


@given(st.lists(st.none() | st.sampled_from([0, 1, -1, 5, HIGHEST_ID, HIGHEST_ID - 1, 2**40]), max_size=20))
def test_ids_toward_a_charger_are_unique_whatever_the_csms_issues(issued: list[int | None]) -> None:
    """Rule R30; the CSMS's own id wherever it is free, never 0 or -1, always 32 bits."""
    db = fresh()
    ids: list[int] = []
    for entry, csms_id in enumerate(issued):
        local_id = begin(db, entry, csms_id)
        free = csms_id is not None and csms_id not in ids and csms_id not in (0, -1) and csms_id <= HIGHEST_ID
        assert (local_id == csms_id) == free
        assert local_id not in (0, -1)
        assert local_id <= HIGHEST_ID
        ids.append(local_id)
    assert len(set(ids)) == len(ids)


def test_the_csmss_id_comes_later_and_is_added_once(db: Connection) -> None:
    """The id toward the charger stays."""
    assert begin(db, 1, None) == HIGHEST_ID
    assert begin(db, 1, 42) == HIGHEST_ID
    assert begin(db, 1, 43) == HIGHEST_ID
    row = transactions.by_start(db, "box1", 1)
    assert row is not None
    assert row.csms_id == 42


def test_local_ids_go_down_over_all_chargers(db: Connection) -> None:
    """One counter, kept in the database."""
    assert [begin(db, entry, None, charger) for entry, charger in ((1, "a"), (2, "b"), (3, "a"))] == [
        HIGHEST_ID, HIGHEST_ID - 1, HIGHEST_ID - 2,
    ]  # fmt: skip


def test_the_first_stop_counts_and_running_ones_are_remembered(db: Connection) -> None:
    """`recent` has every running one and the newest others."""
    for entry in range(1, 6):
        begin(db, entry, entry)
    for local_id in (2, 3, 4, 5):
        transactions.stop(db, "box1", local_id, 100)
    transactions.stop(db, "box1", 2, 200)
    assert [(row.local_id, row.stop_entry) for row in transactions.recent(db, "box1", 2)] == [
        (1, None), (4, 100), (5, 100),
    ]  # fmt: skip


def test_a_start_that_is_given_up_is_known_as_minus_one(db: Connection) -> None:
    """Errata 3.18; one that the CSMS knows is not touched."""
    begin(db, 1, None)
    begin(db, 2, 9)
    transactions.give_up(db, "box1", 1)
    transactions.give_up(db, "box1", 2)
    assert [row.csms_id for row in transactions.recent(db, "box1", 5)] == [-1, 9]


def test_cards_are_kept_without_case_and_the_list_is_replaced_or_changed(db: Connection) -> None:
    """List and cache stand side by side."""
    tokens.learn(db, "box1", tokens.TagRow("cache", "Card", "Accepted", None, None), 1)
    tokens.learn(db, "box1", tokens.TagRow("cache", "CARD", "Blocked", 5, "P"), 2)
    assert [(row.status, row.expiry_ms, row.parent) for row in tokens.known(db, "box1")] == [("Blocked", 5, "P")]
    row = tokens.TagRow("list", "a", "Accepted", None, None)
    tokens.update_list(db, "box1", version=2, full=True, entries=[row], removed=[], learned_ms=3)
    tokens.update_list(db, "box1", version=3, full=False, entries=[], removed=["A"], learned_ms=4)
    assert [one.source for one in tokens.known(db, "box1")] == ["cache"]
    assert (tokens.list_version(db, "box1"), tokens.list_version(db, "box2")) == (3, 0)
    tokens.clear(db, "box1", "cache")
    assert tokens.known(db, "box1") == []


def test_the_cache_keeps_the_newest_answers(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """I12."""
    monkeypatch.setattr(tokens, "MAX_CACHE", 3)
    for number in range(5):
        tokens.learn(db, "box1", tokens.TagRow("cache", f"c{number}", "Accepted", None, None), number)
    assert [row.id_tag for row in tokens.known(db, "box1")] == ["c2", "c3", "c4"]


def test_thinned_values_are_counted_and_told_once_the_quarter_is_over(db: Connection) -> None:
    """The first of a quarter is kept; what comes after it was told is told again with the new sum."""
    kept = [thinned.count(db, "box1", 7, 1, frame=f"{n}", always_keep=n == 2) for n in range(3)]
    assert kept == [True, False, True]
    assert thinned.take_closed(db, 1) == []
    assert thinned.take_closed(db, 2) == [thinned.ThinnedRow("box1", 7, 1, 3, 2)]
    assert thinned.take_closed(db, 2) == []
    thinned.count(db, "box1", 7, 1, frame="4", always_keep=False)
    assert thinned.take_closed(db, 2) == [thinned.ThinnedRow("box1", 7, 1, 4, 2)]


def test_a_message_that_comes_again_is_counted_once(db: Connection) -> None:
    """Its count was on disk when the power failed, its answer had not left: also in the next quarter hour."""
    for frame in ("a", "b", "b"):
        thinned.count(db, "box1", 7, 1, frame=frame, always_keep=False)
    assert not thinned.count(db, "box1", 7, 2, frame="b", always_keep=False)
    assert thinned.count(db, "box2", 7, 1, frame="b", always_keep=False), "another box may say the same"
    assert thinned.take_of(db, "box1") == [thinned.ThinnedRow("box1", 7, 1, 2, 1)]


def test_everybodys_quarters_are_told_but_the_running_one_and_the_next(db: Connection) -> None:
    """What lies further ahead is of a clock that was wrong; a stop tells all of its own charger."""
    for charger, quarter in (("box1", 1), ("box2", 1), ("box2", 2), ("box1", 3), ("box2", 50)):
        thinned.count(db, charger, 7, quarter, frame=f"{charger} {quarter}", always_keep=False)
    assert [(row.charger, row.quarter) for row in thinned.take_closed(db, 2)] == [
        ("box1", 1),
        ("box2", 1),
        ("box2", 50),
    ]
    assert [(row.charger, row.quarter) for row in thinned.take_of(db, "box2")] == [("box2", 2)]
    assert [(row.charger, row.quarter) for row in thinned.take_closed(db, 5)] == [("box1", 3)]


def test_what_is_known_of_a_charger_comes_back(db: Connection) -> None:
    """Boot, acceptance, confirmed fallbacks, written configuration, statuses, profiles."""
    assert chargers.get(db, "box1") == chargers.ChargerRow()
    chargers.save_boot(db, "box1", "{}", 5, told=False)
    chargers.save_accepted(db, "box1", "csms", 6, 300)
    chargers.save_fallbacks(db, "box1", {1: "p"})
    chargers.save_configuration(db, "box1", {"K": ("60", "Accepted")})
    known = chargers.get(db, "box1")
    assert known == chargers.ChargerRow("{}", 5, False, 6, "csms", 300, {1: "p"}, {"K": ("60", "Accepted")})
    chargers.save_boot_told(db, "box1")
    assert chargers.get(db, "box1").boot_told
    for told in (False, True):
        chargers.save_status(db, "box1", chargers.StatusRow(1, "{}", 7, told))
    assert chargers.statuses(db, "box1") == [chargers.StatusRow(1, "{}", 7, True)]
    for profile_id, replaced in ((1, ()), (2, (1,))):
        row = chargers.ProfileRow(0, profile_id, "TxDefaultProfile", 0, "{}", 8)
        chargers.save_profile(db, "box1", row, replaced)
    assert [row.profile_id for row in chargers.profiles(db, "box1")] == [2]
