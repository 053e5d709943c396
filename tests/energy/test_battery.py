"""Where the energy of a house with a battery came from."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.energy.battery import Tanks, origin_of, parts_of
from gateway.energy.split import Flows


def test_example_8_export_beyond_the_production() -> None:
    """The naive PV - export is negative; the tanks say what the battery's energy was."""
    flows = Flows(import_wh=0, export_wh=300, production_wh=100, discharge_wh=500)
    parts = parts_of(flows)
    assert (parts.pv_load, parts.battery_load, parts.battery_export) == (100, 200, 300)
    origin = origin_of(flows, Tanks(solar_wh=800, grid_wh=200))
    assert (origin.solar_wh, flows.consumption_wh - origin.solar_wh) == (260, 40)
    assert origin.tanks == Tanks(400, 100)


def test_example_8b_charging_at_night() -> None:
    """What the battery takes from the grid goes to the grid tank."""
    flows = Flows(import_wh=3000, export_wh=0, charge_wh=2500)
    parts = parts_of(flows)
    assert (flows.consumption_wh, parts.grid_load, parts.grid_battery) == (500, 500, 2500)
    assert origin_of(flows, Tanks()).tanks == Tanks(0, 2500)


def test_example_11_a_silent_inverter_does_not_matter() -> None:
    """Own solar is consumption minus import, whatever the production meters say: here both are read."""
    assert origin_of(Flows(0, 100, 1300), Tanks()).solar_wh == 1200


def test_a_battery_of_unknown_content_is_not_solar() -> None:
    assert origin_of(Flows(0, 0, 0, discharge_wh=700), Tanks()).solar_wh == 0


def test_losses_shrink_both_tanks() -> None:
    assert Tanks(800, 200).shrunk(100) == Tanks(720, 180)


def simulate(draw: random.Random) -> Flows:
    """An interval of random sub-intervals, each physically possible: what the meters then count."""
    sums = dict.fromkeys(("import_wh", "export_wh", "production_wh", "charge_wh", "discharge_wh"), 0)
    for _ in range(draw.randrange(1, 8)):
        production, load = draw.choice((0, draw.randrange(500))), draw.randrange(400)
        charge, discharge = draw.choice(((0, 0), (draw.randrange(300), 0), (0, draw.randrange(300))))
        net = load + charge - production - discharge
        sums["production_wh"] += production
        sums["charge_wh"] += charge
        sums["discharge_wh"] += discharge
        sums["import_wh" if net > 0 else "export_wh"] += abs(net)
    return Flows(**sums)


@given(st.integers(0, 2**32), st.integers(0, 5000), st.integers(0, 5000))
def test_the_parts_make_up_every_flow(seed: int, solar: int, grid: int) -> None:
    """All parts >= 0; load, production, discharge, charge and import are the sums of their parts."""
    flows = simulate(random.Random(seed))
    parts = parts_of(flows)
    assert min(vars_of(parts)) >= 0
    assert parts.pv_load + parts.battery_load + parts.grid_load == flows.consumption_wh
    assert parts.pv_load + parts.pv_battery + parts.pv_export == flows.production_wh
    assert parts.battery_load + parts.battery_export + parts.round_trip == flows.discharge_wh
    assert parts.pv_battery + parts.grid_battery + parts.round_trip == flows.charge_wh
    assert parts.grid_load + parts.grid_battery == flows.import_wh
    assert parts.pv_export + parts.battery_export == flows.export_wh
    origin = origin_of(flows, Tanks(solar, grid))
    assert 0 <= origin.solar_wh <= flows.consumption_wh
    assert origin.tanks.solar_wh >= 0
    assert origin.tanks.grid_wh >= 0


def vars_of(parts: object) -> list[int]:
    return [getattr(parts, name) for name in type(parts).__slots__]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_200_000_random_houses_close() -> None:
    draw = random.Random(8)
    for _ in range(200_000):
        flows = simulate(draw)
        parts = parts_of(flows)
        assert min(vars_of(parts)) >= 0
        assert parts.grid_load + parts.grid_battery == flows.import_wh
