"""The split by its worked examples, and what must hold for any numbers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.energy.split import NANO, Flows, Key, allocate, largest_remainder, share_within, virtual_flows

STEPS = st.lists(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 6000), min_size=1).flatmap(
        lambda use: st.tuples(st.just(use), st.integers(0, sum(use.values())))
    ),
    min_size=1,
    max_size=30,
)


def test_example_1_basic() -> None:
    shares, _ = largest_remainder(1000, {"a": 500, "b": 300, "c": 700}, {})
    assert shares == {"a": 333, "b": 200, "c": 467}


def test_example_3_two_sessions_in_one_quarter_hour() -> None:
    assert share_within(400, {"A": 178, "B": 555}) == {"A": 97, "B": 303}


def test_example_10_nothing_to_share_and_nobody_to_share_with() -> None:
    """No division by zero: all grid, or all export."""
    assert largest_remainder(0, {"a": 0, "b": 0}, {"a": 7})[0] == {"a": 0, "b": 0}
    assert largest_remainder(0, {"a": 0}, {"a": 7})[1] == {"a": 7}
    assert allocate(0, 0, {"a": 10}, {}, Key()).shares["a"].grid_wh == 10
    assert Flows(0, 500, 500).consumption_wh == 0


def test_example_12_static_and_dynamic() -> None:
    """A static key gives what nobody can use to the grid; a dynamic one does not."""
    use = {"a": 100, "b": 500, "c": 900}
    static = allocate(1000, 1000, use, {}, Key("equal"))
    assert [share.solar_wh for share in static.shares.values()] == [100, 333, 333]
    assert static.unallocated_wh == 234
    dynamic = allocate(1000, 1000, use, {}, Key())
    assert [share.solar_wh for share in dynamic.shares.values()] == [67, 333, 600]


def test_a_static_key_leaves_what_belongs_to_nobody() -> None:
    """Half of the key is somebody's who is not here: it is exported."""
    split = allocate(900, 1000, {"a": 900, "b": 900}, {}, Key("static", {"a": 300_000, "b": 200_000}))
    assert [share.solar_wh for share in split.shares.values()] == [300, 200]
    assert split.unallocated_wh == 400


def test_a_static_key_never_gives_more_than_the_house_used() -> None:
    """Import and export in one quarter hour: entitlements of the production exceed what was used of it."""
    split = allocate(600, 1000, {"a": 400, "b": 400}, {}, Key("equal"))
    assert [share.solar_wh for share in split.shares.values()] == [300, 300]


def test_example_13_two_equal_flats_over_a_year() -> None:
    """With carry they are at most 1 Wh apart after 17,520 intervals; ties alone would drift by kilowatt-hours."""
    draw = random.Random(13)
    carry: dict[str, int] = {}
    sums = {"a": 0, "b": 0}
    for _ in range(17_520):
        use = draw.randrange(0, 500)
        shares, carry = largest_remainder(draw.randint(0, 2 * use), {"a": use, "b": use}, carry)
        for name, wh in shares.items():
            sums[name] += wh
    assert abs(sums["a"] - sums["b"]) <= 1


def test_example_15_import_and_export_in_one_quarter() -> None:
    flows = Flows(import_wh=200, export_wh=400, production_wh=1000)
    assert flows.consumption_wh == 800
    assert flows.consumption_wh - flows.import_wh == 600


def test_example_16_a_neighbour_behind_the_same_meter() -> None:
    """Virtual balance: participants took nothing, so all counts as fed in, whoever used it."""
    assert virtual_flows(0, 1000) == Flows(import_wh=0, export_wh=1000, production_wh=1000)


def test_more_than_there_is_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match="cannot be shared"):
        largest_remainder(11, {"a": 10}, {})


@given(STEPS)
def test_it_closes_exactly_and_carry_says_how_far_off_everybody_is(steps: list[tuple[dict[str, int], int]]) -> None:
    """Sum of shares = total, nobody beyond their use, and over any run solar - exact = carry before - carry after."""
    carry: dict[str, int] = {}
    for use, total in steps:
        shares, after = largest_remainder(total, use, carry)
        assert sum(shares.values()) == total
        for name, wh in use.items():
            assert 0 <= shares[name] <= wh
            exact = total * wh * NANO // sum(use.values()) if sum(use.values()) else 0
            assert shares[name] * NANO - exact == carry.get(name, 0) - after[name]
        carry |= after
        assert all(abs(rest) <= 1.1 * NANO for rest in carry.values())


@given(STEPS, st.randoms())
def test_the_order_of_participants_changes_nothing(
    steps: list[tuple[dict[str, int], int]], shuffle: random.Random
) -> None:
    """Ties fall by name, not by place."""
    carry: dict[str, int] = {}
    for use, total in steps:
        names = list(use)
        shuffle.shuffle(names)
        mixed = largest_remainder(total, {name: use[name] for name in names}, carry)
        shares, after = largest_remainder(total, use, carry)
        assert mixed == (shares, after)
        carry |= after


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 900), min_size=1),
    st.integers(0, 3000),
    st.integers(0, 900),
    st.sampled_from(["dynamic", "static", "equal"]),
)
def test_every_key_closes(use: dict[str, int], pool: int, exported: int, kind: str) -> None:
    """Solar of all + unallocated = solar of the house; solar + grid = consumption, for everybody."""
    solar = min(max(0, pool - exported), sum(use.values()))
    split = allocate(solar, pool, use, {}, Key(kind, {"a": 400_000, "b": 600_000}))  # type: ignore[arg-type]
    assert sum(share.solar_wh for share in split.shares.values()) + split.unallocated_wh == solar
    assert split.unallocated_wh >= 0
    assert all(0 <= share.solar_wh <= share.wh for share in split.shares.values())
    assert {name: share.solar_wh + share.grid_wh for name, share in split.shares.items()} == use


@pytest.mark.slow
def test_200_000_random_intervals_stay_within_one_watt_hour() -> None:
    """2 to 40 participants, many zeros, no sun and all sun included: no carry beyond 1.1 Wh, every sum exact."""
    draw = random.Random(4)
    for participants in (2, 5, 12, 40):
        carry: dict[str, int] = {}
        for _ in range(50_000):
            use = {f"p{n}": draw.choice((0, draw.randrange(6000))) for n in range(participants)}
            whole = sum(use.values())
            total = draw.choice((0, whole, draw.randint(0, whole)))
            shares, after = largest_remainder(total, use, carry)
            assert sum(shares.values()) == total
            carry |= after
            assert max(abs(rest) for rest in carry.values()) <= 1.1 * NANO
