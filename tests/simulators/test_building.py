"""The building's energies close, its registers are exact between two steps, and its fuses open."""

from __future__ import annotations

import pytest

from simulators.building import STANDBY_MA, Building, CircuitPlan, Outlet, Weather
from simulators.cars import Car

START_MS = 1_781_343_000_000


class Notes:
    """A truth log in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[object, ...]]] = {}

    def __getattr__(self, table: str):  # type: ignore[no-untyped-def]
        return lambda *row: self.rows.setdefault(table, []).append(row)


def building(outlets, *, flats=(5000, 6000, 7000), sun_w=3450.0, fuse_ma=40_000, notes=None):  # type: ignore[no-untyped-def]
    seconds = 7200
    circuits = (
        CircuitPlan("house", None, "gG", fuse_ma, fuse_ma),
        CircuitPlan("garage", "house", "MCB", 32_000, 32_000),
    )
    registers = dict.fromkeys(("grid", "pv", *(outlet.meter for outlet in outlets)), (1000.0, 500.0))
    weather = Weather(START_MS, [flats] * seconds, [sun_w] * seconds)
    return Building(weather, circuits, outlets, registers, notes or Notes())


def outlet(name="box1", rotation=(0, 1, 2), phases=3, car=None, offer=10_000):  # type: ignore[no-untyped-def]
    return Outlet(name, "garage", f"m-{name}", rotation, phases, offer=lambda _now: offer, car=car)


def test_import_and_production_equal_export_and_what_flats_and_cars_take():
    boxes = [
        outlet("box1", car=Car("a", 3, 16_000, 50_000.0)),
        outlet("box2", (1, 2, 0), car=Car("b", 2, 16_000, 50_000.0)),
    ]
    house = building(boxes, sun_w=9000.0)
    house.advance(START_MS + 3_600_000)
    now = START_MS + 3_600_000
    read = {name: house.reading(name, now)[1:] for name in house.meters}
    gained = {name: (imported - 1000, exported - 500) for name, (imported, exported) in read.items()}
    flats_wh = 18_000 * 0.230 * (3600 - 1) / 3600
    cars_wh = gained["m-box1"][0] + gained["m-box2"][0]
    balance = gained["grid"][0] + gained["pv"][1] - gained["grid"][1]
    assert balance == pytest.approx(flats_wh + cars_wh, abs=0.01)
    assert boxes[0].car.taken_wh + boxes[1].car.taken_wh == pytest.approx(cars_wh - 2 * STANDBY_MA * 0.23, abs=0.01)


def test_a_car_loads_the_phases_that_its_box_is_wired_to():
    house = building([outlet(rotation=(1, 2, 0), car=Car("b", 2, 16_000, 50_000.0))], sun_w=0.0)
    house.advance(START_MS + 60_000)
    assert house.meters["m-box1"].current_ma == (0, 10_000 + STANDBY_MA, 10_000)
    assert house.load_ma("garage") == (0, 10_000 + STANDBY_MA, 10_000)
    assert house.load_ma("house") == (5000, 16_000 + STANDBY_MA, 17_000)


def test_what_the_boxes_draw_together_follows_every_car():
    """Per circuit and phase, also where a car comes, changes its phases and goes."""
    boxes = [outlet("box1", car=Car("a", 3, 16_000, 50_000.0)), outlet("box2", (1, 2, 0))]
    house = building(boxes)
    sums = []
    for second in range(1, 200):
        if second == 60:
            boxes[1].car = Car("b", 2, 16_000, 50_000.0)
        elif second == 120:
            boxes[0].car.phases = 1
        elif second == 160:
            boxes[1].car = None
        house.advance(START_MS + second * 1000)
        each = tuple(sum(box.current_ma[phase] for box in boxes) for phase in range(3))
        assert house.boxes_ma("house") == house.boxes_ma("garage") == house.load_ma("garage") == each
        sums.append(each)
    assert len(set(sums)) >= 5


def test_a_register_between_two_steps_lies_on_the_line_between_them():
    house = building([outlet(car=Car("a", 3, 16_000, 50_000.0))])
    values = [house.reading("m-box1", START_MS + 60_000 + ms)[1] for ms in (0, 250, 500, 999, 1000)]
    power_w = house.meters["m-box1"].power_w
    assert values[2] - values[0] == pytest.approx(power_w * 0.5 / 3600)
    assert values[4] - values[3] == pytest.approx(power_w * 0.001 / 3600)


def test_after_a_stall_every_second_is_made_up_for():
    notes, late = Notes(), Notes()
    steady = building([outlet(car=Car("a", 3, 16_000, 5000.0))], notes=notes)
    for second in range(1, 1801):
        steady.advance(START_MS + second * 1000)
    stalled = building([outlet(car=Car("a", 3, 16_000, 5000.0))], notes=late)
    stalled.advance(START_MS + 1_800_000)
    assert notes.rows == late.rows


def test_every_quarter_hour_every_register_is_noted_with_the_largest_power():
    notes = Notes()
    house = building([outlet(car=Car("a", 3, 16_000, 50_000.0))], notes=notes)
    house.advance(START_MS + 901_000)
    at_end = {meter: row for meter, at_ms, *row in notes.rows["boundary"] if at_ms == START_MS + 900_000}
    assert set(at_end) == {"grid", "pv", "m-box1"}
    assert ("pv", START_MS // 900_000, 3450.0) in [(m, k, round(w, 6)) for m, k, w in notes.rows["power"]]


def test_a_fuse_that_opens_takes_its_phase_from_everything_behind_it():
    notes = Notes()
    house = building([outlet(car=Car("a", 3, 32_000, 90_000.0), offer=32_000)], fuse_ma=25_000, notes=notes)
    house.advance(START_MS + 7_000_000)
    tripped = [row for row in notes.rows["fuse"] if row[3] == "trip"]
    assert tripped[0][:2] == ("house", 2)
    assert house.meters["m-box1"].current_ma[2] == 0
    assert house.load_ma("house")[2] == 0


def test_excesses_and_what_was_watched_are_told():
    notes = Notes()
    house = building([outlet(car=Car("a", 3, 32_000, 90_000.0), offer=32_000)], fuse_ma=38_000, notes=notes)
    house.advance(START_MS + 60_000)
    house.close()
    rows = notes.rows["fuse"]
    assert {(row[0], row[1]) for row in rows if row[3] == "watched"} == {
        (circuit, phase) for circuit in ("house", "garage") for phase in range(3)
    }
    assert not [row for row in rows if row[3] == "over_100" and row[0] == "house"]
    (standby,) = [row for row in rows if row[3] == "over_100"]
    assert standby[0] == "garage"
    assert standby[5] == pytest.approx(32_020 / 32_000)
