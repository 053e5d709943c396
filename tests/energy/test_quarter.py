"""One quarter hour of a house, settled."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.energy.battery import Tanks
from gateway.energy.intervals import Cut, Known, Measured, begun, measured
from gateway.energy.quarter import House, Quarter, SessionCut, settle
from gateway.model import Reading, TimeQuality

HOUSE = House(
    grid="grid", production=("pv",), metered={"flat": ("f",), "box": ("m",)}, charger_meters=frozenset({"m"})
)  # fmt: skip


def energy(import_wh: int, export_wh: int | None = None, start: int = 0) -> Measured:
    def reading(at_ms: int, wh: int, out: int | None) -> Known:
        return Known(Reading("x", at_ms, at_ms, TimeQuality.NTP, wh, out))

    first = 0 if export_wh is not None else None
    return measured([reading(0, start, first), reading(900_000, start + import_wh, export_wh)])


def quarter(house: House = HOUSE, cuts: list[SessionCut] | None = None, **meters: Measured) -> Quarter:
    return settle(house, meters, {"m": cuts or []}, {}, Tanks())


def test_example_9_the_participants_took_more_than_the_house() -> None:
    """They keep their own meters' values; the difference is a named imbalance, never billed to the common rest."""
    done = quarter(grid=energy(497, 0), pv=energy(0, 500), f=energy(700), m=energy(303))
    assert done.consumption_wh == 997
    assert (done.solar_wh, done.imbalance_wh) == (500, -6)
    assert done.shares["common"].wh == 0
    assert sum(share.solar_wh for share in done.shares.values()) == 500
    assert sum(share.grid_wh for share in done.shares.values()) == 503


def test_example_15_import_and_export_in_one_quarter() -> None:
    """Grid 200 is what the utility bills; min(P, C) would hide it."""
    done = quarter(grid=energy(200, 400), pv=energy(0, 1000), f=energy(500), m=energy(300))
    assert (done.consumption_wh, done.solar_wh) == (800, 600)
    assert sum(share.grid_wh for share in done.shares.values()) == 200


def test_example_16_virtual_balance() -> None:
    """The neighbour behind the same grid meter does not take part: the grid meter is not even read."""
    done = quarter(replace(HOUSE, balance="virtual"), pv=energy(0, 1000), f=energy(0), m=energy(0))
    assert done.solar_wh == 0
    assert done.shares["common"].wh == 0


def test_example_3_two_users_in_one_quarter_hour() -> None:
    """Solar of the box is shared by what each of them took; solar + grid is what they took."""
    cuts = [SessionCut(Cut("A", None, 0, 178)), SessionCut(Cut("B", None, 178))]
    done = quarter(
        House(grid="grid", production=("pv",), metered={"box": ("m",)}, charger_meters=frozenset({"m"})),
        cuts, grid=energy(333, 0), pv=energy(0, 400), m=energy(733),
    )  # fmt: skip
    assert [(part.session, part.wh, part.solar_wh) for part in done.parts] == [("A", 178, 97), ("B", 555, 303)]
    assert done.outside == ()


@pytest.mark.parametrize(
    ("wh", "cuts", "named"),
    [
        (20, [], [("standby", 20)]),
        (900, [], [("free_charging", 900)]),
        (120, [SessionCut(Cut("x", None, 0, 100), billable=False)], [("free_charging", 100), ("standby", 20)]),
        (120, [SessionCut(Cut("s", None, 0, 110))], [("standby", 10)]),
    ],
)
def test_energy_outside_sessions_is_named(wh: int, cuts: list[SessionCut], named: list[tuple[str, int]]) -> None:
    """I6b: what a charger's meter counted is its sessions and what stands beside, each by its name."""
    done = quarter(cuts=cuts, grid=energy(2000, 0), pv=energy(0, 0), f=energy(0), m=energy(wh))
    assert [(piece.name, piece.wh) for piece in done.outside] == named


def test_without_the_grid_meter_nobody_is_given_sun() -> None:
    """Known is what sessions took; it stands as grid until the balance can be drawn up."""
    done = quarter(cuts=[SessionCut(Cut("s", None, 0))], pv=energy(0, 900), f=energy(10), m=energy(300))
    assert (done.flows, done.solar_wh, dict(done.shares)) == (None, None, {})
    assert [(part.wh, part.solar_wh) for part in done.parts] == [(300, 0)]
    assert done.missing == ("meter grid: not read",)


def test_a_quarter_hour_without_a_balance_names_the_exchange_of_another_meter_too() -> None:
    """Seed 40010: m3 went back, m6 was exchanged, and only m3 was named."""
    lost = replace(energy(0), problems=("meter f: its register went back from 9 to 5 Wh",))
    swapped = replace(energy(300), notes=("meter m: swapped, 1 by 2; not metered in between",))
    done = quarter(grid=energy(500, 0), pv=energy(0, 0), f=lost, m=swapped)
    assert done.flows is None
    assert done.missing == (*lost.problems, *swapped.notes)


def test_the_common_rest_has_a_ceiling() -> None:
    """What lies above it is a named imbalance and belongs to nobody."""
    done = quarter(
        replace(HOUSE, common_ceiling_wh=100), grid=energy(1000, 0), pv=energy(0, 0), f=energy(300), m=energy(0)
    )
    assert (done.shares["common"].wh, done.imbalance_wh) == (100, 600)


@given(st.integers(0, 4000), st.integers(0, 4000), st.integers(0, 4000), st.integers(0, 3000), st.integers(0, 3000))
def test_everything_closes(imported: int, exported: int, produced: int, flat: int, box: int) -> None:
    """I7 for any registers, also such as cannot be: shares sum to solar - unallocated, all to C - imbalance."""
    done = quarter(grid=energy(imported, exported), pv=energy(0, produced), f=energy(flat), m=energy(box))
    shares = done.shares.values()
    assert done.consumption_wh == imported + produced - exported
    assert sum(share.wh for share in shares) == done.consumption_wh - done.imbalance_wh
    assert sum(share.solar_wh for share in shares) == (done.solar_wh or 0) - done.unallocated_wh
    assert all(0 <= share.solar_wh <= share.wh for share in shares)
    assert sum(part.wh for part in done.parts) + sum(piece.wh for piece in done.outside) == box


def first_read(at_s: int, import_wh: int = 100, export_wh: int | None = None) -> Measured:
    """A meter that was read for the first time `at_s` seconds into the interval."""
    low = Reading("x", at_s * 1000, at_s * 1000, TimeQuality.NTP, 0, 0 if export_wh is not None else None)
    return begun("x", [Known(low), Known(replace(low, requested_ms=900_000, import_wh=import_wh, export_wh=export_wh))])


def test_a_house_begins_with_its_first_readings() -> None:
    """All within a minute: a balance, and it says that it is partial."""
    done = quarter(grid=first_read(305, 60, 0), pv=first_read(300, 0, 50), f=first_read(310), m=first_read(250, 0))
    assert (done.consumption_wh, done.solar_wh) == (110, 50)
    assert done.missing[0] == "partial: starts at the first readings"
    assert set(done.begins) == {"grid", "pv", "f", "m"}


def test_a_grid_meter_that_comes_a_minute_after_the_others_gives_no_balance() -> None:
    """And a flat that comes late is no obstacle: what it took before is in the common rest."""
    late = quarter(grid=first_read(365, 60, 0), pv=first_read(300, 0, 50), f=first_read(304), m=first_read(300))
    assert late.flows is None
    assert late.missing == ("meter grid: read for the first time after others, no balance before that",)
    flat = quarter(grid=first_read(300, 160, 0), pv=first_read(300, 0, 50), f=first_read(800), m=first_read(300, 0))
    assert flat.consumption_wh == 210


def test_a_new_sun_in_an_old_house_gives_no_balance_before_its_first_reading() -> None:
    done = quarter(grid=energy(500, 0), pv=first_read(300, 0, 50), f=energy(300), m=energy(0))
    assert done.flows is None


def test_a_house_of_which_nothing_was_read_yet_has_nothing_to_share() -> None:
    nothing = Measured(0, 0, (), unread=True)
    done = quarter(grid=nothing, pv=nothing, f=nothing, m=nothing)
    assert (done.consumption_wh, done.missing) == (0, ("partial: nothing was metered, no meter had been read yet",))
    some = quarter(grid=energy(500, 0), pv=energy(0, 0), f=nothing, m=energy(0))
    assert some.missing == ("meter f: not read yet",)
