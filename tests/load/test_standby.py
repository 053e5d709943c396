"""What a box draws itself comes on top of what it offers its car: a fuse with no room to spare must know it."""

from __future__ import annotations

from tests.load.building import Building, circuit, connector
from tests.load.test_control_loop import charging, living

GARAGE = circuit(limit_a=40, house_worst_ma=0, meter=None)


async def stays_below(building: Building, phase: int) -> None:
    """The circuit is used, and for minutes at most what it may carry."""
    building.longest_over_s = 0
    building.over_s.clear()
    await building.run(120)
    assert 38_500 < building.loads("house")[phase] <= 40_000
    assert building.longest_over_s == 0


async def test_boxes_whose_meters_are_silent_still_draw_what_their_electronics_take() -> None:
    """Seed 10058: two meters were exchanged for each other and not read; 20 mA stood above the limit for a minute."""
    boxes = [connector(name) for name in "abcdef"]
    async with living(*boxes, circuits=[GARAGE]) as building:
        building.house_ma = (0, 0, 0)
        for box in building.boxes.values():
            box.own_ma = 20
        building.silent.update(("m-a", "m-b", "m-c", "m-f"))
        await charging(building, "a", "b", "c", "d", "e")
        await stays_below(building, 2)


async def test_what_a_box_draws_on_a_phase_that_its_car_does_not_use_counts_there() -> None:
    """A car on one phase counts on that phase only, but the electronics of its box may hang on another."""
    single = [connector(name, rotation=(2, 0, 1), phases=1, max_ma=32000) for name in "bc"]
    async with living(connector("a"), *single, circuits=[GARAGE]) as building:
        building.house_ma = (0, 0, 0)
        narrow = building.boxes[connector("a").ref]
        narrow.car_phases, narrow.own_ma = 1, 20
        await charging(building, "a", "b", "c")
        await stays_below(building, 2)
