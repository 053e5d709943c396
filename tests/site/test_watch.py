"""What the watch sees each second: each of its rules passes what keeps it and finds what is minimally worse."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from .plan import Box, Plan
from .watch import Watch

EPOCH_MS = 1_781_346_600_000


@dataclass
class FakeBox:
    """A box as the watch looks at it: `told_ma` is what its profiles say."""

    name: str
    told_ma: int = 6000
    draw_ma: int = 0
    disobeys: bool = False
    quirk: str = ""
    profiles: list[object] = field(default_factory=lambda: [object()])

    @property
    def outlet(self) -> Any:
        return SimpleNamespace(car=None, draw_ma=self.draw_ma, current_ma=[self.draw_ma] * 3)

    def limit_ma(self, _now_ms: int) -> int:
        return self.told_ma

    def may_draw_ma(self, _now_ms: int) -> int:
        return self.draw_ma if self.quirk == "no_zero" and not self.told_ma else self.told_ma

    def install(self, _connector: int, text: dict[str, Any]) -> str | None:
        self.told_ma = round(text["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] * 1000)
        return None


class Place:
    """Two boxes on three phases behind 20 A, in a house behind 40 A that takes `rest_ma`; `live` lets seconds pass."""

    def __init__(self) -> None:
        self.now_ms = EPOCH_MS
        self.rest_ma = 10_000
        boxes = tuple(Box(f"box{n}", n, (0, 1, 2), 3, 6, eager=False) for n in (1, 2))
        plan = Plan(1, 3600, EPOCH_MS, 40, 20, 16, boxes, (), ())
        self.boxes = {box.name: FakeBox(box.name) for box in boxes}
        building = SimpleNamespace(
            outlets={name: box.outlet for name, box in self.boxes.items()},
            load_ma=lambda _circuit: (self.rest_ma,) * 3,
            boxes_ma=lambda _circuit: (0, 0, 0),
        )
        clock = SimpleNamespace(utc_ms=lambda: self.now_ms)
        self.watch = Watch(plan, building, self.boxes, clock)  # type: ignore[arg-type]
        self.watch.hear("gateway_ready", {})
        self.live(60)

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_ms += 1000
            self.watch.second(self.now_ms)

    def give(self, name: str, ampere: float, transaction: int = 1) -> None:
        """A limit arrives at a box."""
        schedule = {"duration": 150, "chargingSchedulePeriod": [{"startPeriod": 0, "limit": ampere}]}
        text = {"chargingProfilePurpose": "TxProfile", "transactionId": transaction, "chargingSchedule": schedule}
        self.boxes[name].install(1, text)

    def found(self) -> list[str]:
        return [violation.text for violation in self.watch.violations]


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_quiet_house_holds(place: Place) -> None:
    place.live(3600)
    assert place.found() == []


def test_a_raise_fits_when_it_arrives(place: Place) -> None:
    place.give("box1", 14)
    assert place.found() == []
    place.live(10)
    place.give("box1", 15)
    assert "box1 was raised to 15 A; now the boxes may draw 21.0 A of 20 A" in place.found()[0]


def test_what_a_box_has_confirmed_and_forgotten_may_be_said_again_while_it_lasts(place: Place) -> None:
    place.give("box1", 12)
    place.boxes["box1"].told_ma, place.boxes["box2"].told_ma = 0, 10_000
    place.live(7)
    place.give("box1", 12)
    assert place.found() == []


@pytest.mark.parametrize(("ampere", "transaction", "later_s"), [(12.3, 1, 7), (12, 2, 7), (12, 1, 150)])
def test_more_than_it_has_confirmed_is_a_raise(place: Place, ampere: float, transaction: int, later_s: int) -> None:
    """More current, for another car, or after its time."""
    place.give("box1", 12)
    place.boxes["box1"].told_ma, place.boxes["box2"].told_ma = 0, 10_000
    place.live(later_s)
    place.give("box1", ampere, transaction)
    assert f"box1 was raised to {ampere:g} A" in place.found()[0]


@pytest.mark.parametrize("silent", [True, False])
def test_a_raise_fits_beside_a_box_that_cannot_hold_0_where_its_meter_shows_it(place: Place, silent: bool) -> None:
    box = place.boxes["box2"]
    box.told_ma, box.draw_ma, box.quirk = 0, 6_000, "no_zero"
    if silent:
        place.watch.hear("meter_silent", {"meter": "m2"})
    place.live(10)
    place.give("box1", 16)
    place.live(100)
    assert bool(place.found()) is not silent


@pytest.mark.parametrize("ampere", [0.0, 7.0])
def test_a_lower_limit_is_no_raise_for_a_box_that_cannot_hold_0(place: Place, ampere: float) -> None:
    """From then on it counts with what its car still draws by the limit before."""
    other, box = place.boxes["box1"], place.boxes["box2"]
    other.told_ma, box.told_ma, box.draw_ma, box.quirk = 14_000, 6_000, 10_400, "no_zero"
    place.live(60)
    place.give("box2", ampere)
    assert bool(place.found()) == (ampere > 6)


def test_a_raise_fits_also_beside_a_box_that_disobeys(place: Place) -> None:
    place.boxes["box2"].disobeys, place.boxes["box2"].draw_ma = True, 10_000
    place.live(10)
    place.give("box1", 10)
    assert place.found() == []
    place.give("box1", 11)
    assert "box1 was raised to 11 A" in place.found()[0]


def test_a_raise_fits_also_just_after_the_gateway_has_come_back(place: Place) -> None:
    place.give("box2", 10)
    place.watch.hear("gateway_killed", {})
    place.live(30)
    place.watch.hear("gateway_ready", {})
    place.live(6)
    place.give("box1", 10)
    assert place.found() == []
    place.give("box1", 11)
    assert "box1 was raised to 11 A" in place.found()[0]


def test_without_the_gateway_a_box_keeps_its_last_limit_and_from_150_s_on_its_fallback(place: Place) -> None:
    place.give("box1", 12)
    place.watch.hear("gateway_killed", {})
    place.live(149)
    assert place.found() == []
    place.live(1)
    assert place.found() == ["box1 offers 12 A 150 s after the gateway's death, its fallback is 6 A"]


def test_without_the_gateway_no_box_offers_more_than_it_was_told(place: Place) -> None:
    place.give("box1", 12)
    place.watch.hear("gateway_killed", {})
    place.live(20)
    place.boxes["box1"].told_ma = 6000  # its limit has ended: the fallback
    place.live(20)
    assert place.found() == []
    place.boxes["box1"].told_ma = 12_100
    place.live(1)
    assert place.found() == ["box1 offers 12.1 A 41 s after the gateway's death, its last limit is 12 A"]


def test_the_fallbacks_fit_from_150_s_after_the_death(place: Place) -> None:
    """Before that nobody is there to reduce what was given, and the house may rise."""
    place.watch.hear("gateway_killed", {})
    place.rest_ma = 30_000
    place.live(149)
    place.rest_ma = 10_000
    place.live(100)
    assert place.found() == []
    place.rest_ma = 30_000
    place.live(25)
    assert place.found() == []
    place.live(1)
    assert "house L1: for 26 s the boxes may draw 12.0 A beside 30.0 A" in place.found()[0]


def test_a_gateway_that_is_back_has_45_s_for_what_became_too_much_without_it(place: Place) -> None:
    place.watch.hear("gateway_killed", {})
    place.boxes["box1"].told_ma = place.boxes["box2"].told_ma = 12_000
    place.watch._held = {"box1": 12_000, "box2": 12_000}
    place.live(60)
    place.watch.hear("gateway_ready", {})
    place.live(44)
    assert place.found() == []
    place.live(2)
    assert "garage L1: for 45 s the boxes may draw 24.0 A" in place.found()[0]


def test_a_box_that_was_lost_and_disobeys_is_in_trouble_until_both_are_over(place: Place) -> None:
    for _ in range(2):
        place.watch.hear("charger_lost", {"charger": "box1"})
    place.watch.hear("charger_back", {"charger": "box1"})
    place.live(46)
    assert place.watch.trouble == {"box1": "lost"}
    place.watch.hear("charger_back", {"charger": "box1"})
    place.live(44)
    assert place.watch.trouble == {"box1": "lost"}
    place.live(2)
    assert place.watch.trouble == {}


def test_a_box_that_cannot_hold_0_a_explains_an_excess_only_while_it_draws(place: Place) -> None:
    other, box = place.boxes["box1"], place.boxes["box2"]
    box.quirk, box.told_ma, box.draw_ma = "no_zero", 0, 6000
    other.told_ma = 21_000
    place.live(45)
    assert place.found() == []
    box.draw_ma = 0
    place.live(1)
    assert "garage L1: for 46 s" in place.found()[0]
