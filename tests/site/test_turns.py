"""The check of I9: each second of a wait uses up its part of the bound in force, and the place told is compared."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from simulators.judge.verdict import Notes

from .plan import Plan, make_plan
from .turns import CHANGE_S, DWELL_S, Turns, _compare


class _House:
    """Four cars at boxes that hold 16 A together; the tests say what each profile allows."""

    def __init__(self) -> None:
        plan = make_plan(1, 1.0, 4, 0, crowded=True)
        boxes = tuple(replace(box, quirk="", phases=3, fallback_a=0) for box in plan.boxes)
        self.plan: Plan = replace(plan, boxes=boxes)
        car = SimpleNamespace(full=lambda: False)
        self.limits_ma = {box.name: 0 for box in self.plan.boxes}
        self.boxes: dict[str, Any] = {
            box.name: SimpleNamespace(
                name=box.name,
                outlet=SimpleNamespace(car=car, draw_ma=0, current_ma=(0, 0, 0)),
                transaction=SimpleNamespace(id=1),
                link=SimpleNamespace(connected=True),
                disobeys=False,
                limit_ma=lambda _now_ms, name=box.name: self.limits_ma[name],
                may_draw_ma=lambda _now_ms, name=box.name: self.limits_ma[name],
            )
            for box in self.plan.boxes
        }
        building: Any = SimpleNamespace(load_ma=lambda _circuit: (0, 0, 0), boxes_ma=lambda _circuit: (0, 0, 0))
        self.found: list[str] = []
        self.turns = Turns(self.plan, building, self.boxes, lambda _invariant, text: self.found.append(text))

    def live(self, since_s: int, until_s: int, trouble: dict[str, str] | None = None) -> None:
        for second in range(since_s, until_s):
            self.turns.second(second * 1000, trouble or {})


@pytest.fixture
def house() -> _House:
    return _House()


BOUND_S = round(2 * DWELL_S + CHANGE_S)
"""Four cars, two minima: two rounds."""


def test_who_waits_for_longer_than_the_bound_is_found(house: _House) -> None:
    """Two charge without an end, and two never do."""
    house.limits_ma |= {"box1": 8000, "box2": 8000}
    house.live(0, BOUND_S - 1)
    assert house.found == []
    house.live(BOUND_S - 1, BOUND_S + 5)
    assert [text.split()[0] for text in house.found] == ["box3", "box4"]


def test_a_turn_ends_the_wait(house: _House) -> None:
    """Those who had none before start anew."""
    house.limits_ma |= {"box1": 8000, "box2": 8000}
    house.live(0, BOUND_S - 10)
    house.limits_ma |= {"box1": 0, "box2": 0, "box3": 8000, "box4": 8000}
    house.live(BOUND_S - 10, 2 * BOUND_S - 30)
    assert house.found == []


@pytest.mark.parametrize("trouble", [{"gateway": "dead"}, {"box3": "lost", "box4": "lost"}])
def test_what_is_dead_or_lost_is_not_counted(house: _House, trouble: dict[str, str]) -> None:
    """Nobody can be given a turn then."""
    house.limits_ma |= {"box1": 8000, "box2": 8000}
    house.live(0, 3 * BOUND_S, trouble)
    assert house.found == []


def test_seconds_without_room_for_one_minimum_count_for_nothing(house: _House) -> None:
    """The idle boxes hold the fuse; who waits is told a place, and no time."""
    for box in house.plan.boxes[1:]:
        house.boxes[box.name].transaction = None
        house.limits_ma[box.name] = 12_000
    house.live(0, 3 * BOUND_S)
    assert house.found == []
    house.turns.close(3 * BOUND_S * 1000)
    assert _said(house.turns, 600, {"id": "box1/1", "position": 1, "until": None}) == []


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"position": 1, "until": "1970-01-01T00:20:00Z"}, 0),
        ({"position": None, "until": "1970-01-01T00:20:00Z"}, 1),
        ({"position": 1, "until": None}, 1),
        ({"position": 1, "until": "1970-01-01T00:05:00Z"}, 1),
        ({"position": 1, "until": "1970-01-01T05:00:00Z"}, 1),
    ],
)
def test_place_and_time_must_be_told(house: _House, said: dict[str, Any], wrong: int) -> None:
    """A place from 1, a time that lies ahead, by at most four hours."""
    house.limits_ma |= {"box1": 8000, "box2": 8000, "box3": 8000}
    house.live(0, 1200)
    house.turns.close(1_200_000)
    assert len(_said(house.turns, 600, {"id": "box4/1", **said})) == wrong


@pytest.mark.parametrize(("at_s", "wrong"), [(1080, 0), (1079, 1)])
def test_who_is_told_to_begin_needs_no_place_where_the_raise_follows(house: _House, at_s: int, wrong: int) -> None:
    """Others are reduced first, and confirm it: that takes two minutes at most."""
    house.limits_ma |= {"box1": 8000, "box2": 8000, "box3": 8000}
    house.live(0, 1200)
    house.turns.close(1_200_000)
    connector = {"id": "box4/1", "position": None, "until": "1970-01-01T00:20:00Z", "reason": "start"}
    assert len(_said(house.turns, at_s, connector, compared=wrong)) == wrong


@pytest.mark.parametrize(
    ("above", "at_s", "wrong"),
    [((590, 1200), 600, 0), ((590, 1200), 711, 1), ((590, 615), 600, 1), ((601, 1200), 600, 1)],
)
def test_who_is_told_to_begin_while_a_box_does_not_make_room_is_told_a_place_within_two_minutes(
    house: _House, above: tuple[int, int], at_s: int, wrong: int
) -> None:
    """A box goes on with 6 A that was told 0 A: for that long nobody is raised. One that only follows late is none."""
    house.limits_ma |= {"box2": 8000}
    outlet = house.boxes["box1"].outlet
    house.live(0, above[0])
    outlet.draw_ma = 6000
    house.live(*above)
    outlet.draw_ma = 0
    house.live(above[1], 1200)
    house.turns.close(1_200_000)
    house.turns.stretches = [one for one in house.turns.stretches if one[0] == "box4"]
    connector = {"id": "box4/1", "position": None, "until": "1970-01-01T00:20:00Z", "reason": "start"}
    assert len(_said(house.turns, at_s, connector, compared=wrong)) == wrong


def _said(turns: Turns, at_s: int, connector: dict[str, Any], compared: int = 1) -> list[str]:
    """What the check finds where the status says this of the only box that waits."""
    notes = Notes("I9")
    now = f"1970-01-01T00:{at_s // 60:02d}:{at_s % 60:02d}Z"
    assert _compare({"now": now, "connectors": [connector]}, turns, notes) == compared
    return notes.violations
