"""The control loop in a small building: fake boxes and meters, a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.model import LimitOutcome
from tests.load.building import Building, circuit, connector, site_of


@asynccontextmanager
async def living(*boxes: Any, circuits: Any = None, duration_s: int = 120) -> AsyncIterator[Building]:
    """A building whose loop runs until the end of the block."""
    building = Building(site_of(circuits or [circuit(meter="grid")], boxes, duration_s))
    building.house_ma = (5000, 5000, 5000)
    task = asyncio.create_task(building.loop.run())
    try:
        yield building
        assert "control_failed" not in building.kinds(), building.events
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def fits(building: Building) -> Callable[[], None]:
    """What must hold after every second: the house and all that the boxes may draw fit every circuit."""

    def check() -> None:
        for one in building.site.circuits:
            house = building.house_ma if one.parent is None else (0, 0, 0)
            for phase in one.phases:
                may = sum(
                    box.may_ma(building.clock.now_s)
                    for box in building.boxes.values()
                    if phase in box.connector.building_phases() and box.connector.circuit in (one.id, "garage")
                )
                assert may + house[phase] <= one.limit_ma, (building.clock.now_s, one.id, phase, may)

    return check


async def test_a_car_begins_with_the_minimum_and_gets_all_after_the_hold() -> None:
    async with living(connector("a")) as building:
        await building.run(20)
        building.start("a")
        await building.run(100, fits(building))
        box = building.boxes[connector("a").ref]
        assert box.limits[0][1] == 6000
        raised = next(at_s for at_s, limit_ma, _ in box.limits if limit_ma == 16000)
        assert 40 <= raised - box.limits[0][0] <= 60
        assert building.shown("a") == {
            "id": "a/1", "limit_a": 16.0, "reserved_a": 16.0, "draw_a": [16.0, 16.0, 16.0], "reason": "full",
            "reason_text": "all that the box may give", "position": None, "until": None,
        }  # fmt: skip


async def charging(building: Building, *names: str) -> None:
    """Cars at the boxes, until everybody has what there is."""
    await building.run(10)
    for name in names:
        building.start(name)
    await building.run(150)


async def test_a_step_of_the_house_reduces_the_cars_in_the_next_tick() -> None:
    async with living(connector("a"), connector("b")) as building:
        await charging(building, "a", "b")
        assert building.loads("house") == (37000, 37000, 37000)
        building.house_ma = (20000, 5000, 5000)
        step_s = building.clock.now_s
        await building.run(3)
        reductions = [(at_s, ma) for box in building.boxes.values() for at_s, ma, _ in box.limits if at_s > step_s]
        assert {ma for _, ma in reductions} <= {9700, 9800}
        assert max(at_s for at_s, _ in reductions) - step_s <= 2.0
        await building.run(40)
        assert building.longest_over_s <= 25
        assert max(building.loads("house")) <= 40000


async def test_many_house_steps_never_keep_a_circuit_above_its_limit_for_25_seconds() -> None:
    boxes = [connector("a"), connector("b", rotation=(1, 2, 0), phases=1), connector("c", rotation=(2, 0, 1), phases=2)]
    async with living(*boxes) as building:
        await charging(building, "a", "b", "c")
        for house in [(20, 5, 5), (20, 20, 5), (5, 21, 20), (5, 5, 5), (21, 21, 21), (8, 24, 8), (5, 5, 5)]:
            building.house_ma = (house[0] * 1000, house[1] * 1000, house[2] * 1000)
            await building.run(60)
        assert 0 < building.longest_over_s <= 25


async def test_a_cloud_that_takes_the_sun_for_a_minute_does_not_keep_the_fuse_above_its_limit() -> None:
    """Cars follow 8 s late; without looking ahead the fuse was above its limit for as long as the sun went (25 s)."""
    async with living(connector("a"), connector("b")) as building:
        for box in building.boxes.values():
            box.follow_after_s = 8.0
        await charging(building, "a", "b")
        building.longest_over_s = 0.0
        for _ in range(60):
            house = building.house_ma[0] + 220
            building.house_ma = (house, house, house)
            await building.run(1)
        await building.run(20)
        assert building.longest_over_s <= 12
        assert max(building.loads("house")) <= 40000


async def test_a_lost_box_keeps_its_current_reserved_until_its_limit_ends_and_then_its_fallback() -> None:
    async with living(connector("a"), connector("b"), connector("c", fallback_ma=6000)) as building:
        await charging(building, "a", "c")
        lost = building.boxes[connector("c").ref]
        assert lost.profile is not None
        held_ma = lost.profile[0]
        lost.connected = False
        building.start("b")
        await building.run(40)
        assert building.shown("c")["reason"] == "lost"
        assert building.shown("c")["reserved_a"] == held_ma / 1000 == 16.0
        await building.run(120, fits(building))
        assert building.shown("c")["reserved_a"] == 6.0
        assert "charger_reserved" in building.kinds()


async def test_a_lost_box_that_never_proved_its_fallback_counts_with_its_maximum() -> None:
    async with living(connector("a"), connector("c", fallback_ma=6000)) as building:
        building.boxes[connector("c").ref].proven = False
        await charging(building, "c")
        building.boxes[connector("c").ref].connected = False
        building.boxes[connector("c").ref].wants_ma = 6000
        await building.run(200)
        assert building.shown("c")["reserved_a"] == 16.0


async def test_a_silent_meter_counts_with_the_worst_case_and_then_with_the_safe_value() -> None:
    async with living(connector("a"), connector("b")) as building:
        await charging(building, "a", "b")
        assert building.shown("a")["limit_a"] == 16.0
        building.silent.add("grid")
        await building.run(15)
        # 40 A less the worst case of 20 A is shared by two.
        assert [building.shown(name)["limit_a"] for name in "ab"] == [10.0, 10.0]
        await building.run(60)
        # safe_a = 6: one car may charge, the other waits and knows its place.
        assert sorted(str(building.shown(name)["limit_a"]) for name in "ab") == ["0.0", "6.0"]
        assert [kind for kind in building.kinds() if kind.startswith("meter")] == [
            "meter_old", "meter_silent", "meter_old_over",
        ]  # fmt: skip
        building.silent.clear()
        await building.run(30)
        assert building.kinds().count("meter_silent_over") == 1


async def test_two_boxes_that_share_one_minimum_take_turns_and_nobody_waits_longer_than_the_bound() -> None:
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=30, meter="grid")]) as building:
        building.house_ma = (20000, 20000, 20000)
        await building.run(30)
        building.start("a")
        building.start("b")
        turns: list[str] = []
        waits = {"a": 0, "b": 0}
        longest = 0

        def watch() -> None:
            nonlocal longest
            fits(building)()
            for name in "ab":
                on = building.boxes[connector(name).ref].may_ma(building.clock.now_s) > 0
                waits[name] = 0 if on else waits[name] + 1
                longest = max(longest, waits[name])
                if on and (not turns or turns[-1] != name):
                    turns.append(name)

        await building.run(3000, watch)
        assert turns[:4] == ["a", "b", "a", "b"]
        assert longest <= 2 * 900
        waiting = next(building.shown(name) for name in "ab" if building.shown(name)["limit_a"] == 0)
        assert (waiting["reason"], waiting["position"]) == ("waiting", 1)
        assert str(waiting["until"]).endswith("Z")


async def test_who_had_to_make_room_and_does_not_obey_costs_nobody_the_place_in_the_queue() -> None:
    """The longest waiting is told to begin, the other goes on with 6 A: he stays before whoever came later."""
    boxes = [connector(name) for name in "abc"]
    async with living(*boxes, circuits=[circuit(limit_a=12, meter="grid")]) as building:
        await building.run(30)
        holds = building.start("a")
        holds.wants_ma = 6000
        await building.run(60)
        building.start("b")
        await building.run(60)
        building.start("c")
        await building.run(60)
        assert [building.shown(name)["position"] for name in "abc"] == [None, 1, 2]
        holds.obeys = False
        told: list[object] = []
        await building.run(1000, lambda: told.append(building.shown("b")["reason"]))
        assert "start" in told, "its turn came"
        assert building.shown("a")["reason"] == "disobedient"
        assert [building.shown(name)["position"] for name in "abc"] == [None, 1, 2]
        assert all(limit_ma == 0 for name in "bc" for _, limit_ma, _ in building.boxes[connector(name).ref].limits)


async def test_a_raise_waits_until_the_reduction_that_makes_room_is_confirmed_and_settled() -> None:
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=32, meter="grid")]) as building:
        await charging(building, "a")
        assert building.shown("a")["limit_a"] == 16.0
        first = building.boxes[connector("a").ref]
        building.house_ma = (11000, 11000, 11000)
        await building.run(30)
        first.follow_after_s = 12.0
        building.start("b")
        started_s = building.clock.now_s
        await building.run(40)
        reduced_s = next(at_s for at_s, ma, _ in first.limits if at_s >= started_s and ma < 16000)
        begun_s = next(at_s for at_s, ma, _ in building.boxes[connector("b").ref].limits if ma > 0)
        assert begun_s - reduced_s >= 12
        assert building.longest_over_s == 0


async def test_an_unanswered_reduction_counts_with_the_old_value() -> None:
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=32, meter="grid")]) as building:
        building.house_ma = (4000, 4000, 4000)
        await charging(building, "a")
        building.boxes[connector("a").ref].answer = LimitOutcome.SILENT
        building.house_ma = (12000, 12000, 12000)
        building.start("b")
        await building.run(30)
        assert building.shown("a")["reserved_a"] == 16.0
        assert building.shown("b")["limit_a"] == 0.0
        assert building.kinds().count("limit_unanswered") == 1


async def test_a_limit_is_renewed_before_it_ends_also_a_limit_of_zero() -> None:
    async with living(connector("a", fallback_ma=6000), duration_s=60) as building:
        building.house_ma = (39000, 39000, 39000)
        await building.run(5)
        building.start("a")
        ended: list[float] = []

        def watch() -> None:
            profile = building.boxes[connector("a").ref].profile
            if profile is not None and building.clock.now_s >= profile[1]:
                ended.append(building.clock.now_s)

        await building.run(300, watch)
        limits = building.boxes[connector("a").ref].limits
        assert ended == []
        assert {ma for _, ma, _ in limits} == {0}
        assert 8 <= len(limits) <= 11


async def test_a_disobedient_box_whose_meter_goes_silent_counts_with_what_it_drew() -> None:
    """Seed 656761: its limit of 0 A counted again as soon as nobody measured it, and the others were raised."""
    garage = circuit(limit_a=26, house_worst_ma=0, meter=None)
    async with living(connector("a"), connector("b"), circuits=[garage]) as building:
        building.house_ma = (0, 0, 0)
        await charging(building, "a", "b")
        building.boxes[connector("a").ref].obeys = False
        await building.run(60)
        assert building.boxes[connector("a").ref].drawn_ma == 16000
        assert 6000 < building.loads("house")[0] - 16000 <= 10000
        building.silent.add("m-a")
        building.over_s.clear()
        building.longest_over_s = 0
        await building.run(120)
        assert building.longest_over_s == 0


async def test_nothing_rises_into_what_a_disobedient_box_leaves_free_for_a_moment() -> None:
    """Seed 10000, the day: a box that cannot hold 0 A drew nothing for a second, and another was given its room."""
    garage = circuit(limit_a=26, house_worst_ma=0, meter=None)
    async with living(connector("a"), connector("b"), circuits=[garage]) as building:
        building.house_ma = (0, 0, 0)
        await charging(building, "a", "b")
        box, other = (building.boxes[connector(name).ref] for name in "ab")
        box.obeys = False
        await building.run(150)
        assert (box.drawn_ma, building.shown("a")["reason"]) == (16000, "disobedient")
        others_ma = other.drawn_ma
        building.over_s.clear()
        building.longest_over_s = 0
        for _ in range(3):
            box.wants_ma = 0
            await building.run(8)
            assert (box.drawn_ma, other.drawn_ma) == (0, others_ma)
            box.wants_ma = 16000
            await building.run(10)
        assert building.longest_over_s == 0
        box.wants_ma = 0
        await building.run(60)
        assert other.drawn_ma > others_ma


async def test_a_box_whose_car_has_gone_counts_on_all_its_phases_before_its_stop_is_known() -> None:
    """Seeds 123 and 124: with the disk full or the CSMS slow the stop came late, and others were raised meanwhile."""
    garage = circuit(limit_a=20, house_worst_ma=0, meter=None)
    others = [connector(name, rotation=(1, 2, 0), phases=1) for name in ("b", "c")]
    async with living(connector("a", fallback_ma=6000), *others, circuits=[garage]) as building:
        building.house_ma = (0, 0, 0)
        building.boxes[connector("a").ref].car_phases = 1
        await charging(building, "a", "b", "c")
        assert building.loads("house") == (16000, 20000, 0)
        gone = building.boxes[connector("a").ref]
        gone.status, gone.wants_ma = "Finishing", 0
        await building.run(12)
        assert building.loads("house")[1] <= 20000 - 6000


async def test_a_box_that_ignores_its_limit_is_told_once_and_the_others_make_room() -> None:
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=40, meter="grid")]) as building:
        await charging(building, "a", "b")
        building.boxes[connector("a").ref].obeys = False
        building.house_ma = (16000, 16000, 16000)
        await building.run(60)
        assert building.shown("a")["reason"] == "disobedient"
        assert building.longest_over_s <= 45
        assert max(building.loads("house")) <= 40000
        await building.run(100)
        assert building.kinds().count("charger_disobedient") == 1
        building.boxes[connector("a").ref].obeys = True
        await building.run(30)
        assert building.kinds().count("charger_disobedient_over") == 1
        assert building.shown("a")["reason"] != "disobedient"


async def test_a_box_that_draws_more_than_its_fallback_without_a_transaction_is_told_and_the_others_make_room() -> None:
    """Seed 62000: the start of its transaction could not be written, and nobody was told what it drew."""
    async with living(connector("a", fallback_ma=6000), connector("b"), circuits=[circuit(limit_a=40)]) as building:
        await charging(building, "b")
        stray = building.boxes[connector("a").ref]
        stray.own_ma = 6900
        await building.run(60, fits(building))
        assert "charger_disobedient" not in building.kinds(), "less than 1 A above it"
        stray.own_ma = 20000
        await building.run(25)
        assert "charger_disobedient" not in building.kinds()
        await building.run(60)
        told = [event for event in building.events if event.kind == "charger_disobedient"]
        assert [(event.subject, "20.0 A without a transaction" in event.cause) for event in told] == [("a/1", True)]
        assert max(building.loads("house")) <= 40000
        stray.own_ma = 0
        await building.run(10)
        assert building.kinds().count("charger_disobedient_over") == 1


async def test_an_unused_offer_is_given_to_others_and_given_back() -> None:
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=26, meter="grid")]) as building:
        building.house_ma = (2000, 2000, 2000)
        building.boxes[connector("a").ref].wants_ma = 7000
        await charging(building, "a", "b")
        assert building.shown("a")["limit_a"] == 9.0
        assert building.shown("a")["reason"] == "demand"
        assert building.shown("b")["limit_a"] == 14.5
        building.boxes[connector("a").ref].wants_ma = 32000
        await building.run(60, fits(building))
        assert building.shown("a")["limit_a"] == pytest.approx(11.7, abs=0.5)


async def test_the_backends_limit_is_never_exceeded_and_below_the_minimum_means_zero() -> None:
    async with living(connector("a")) as building:
        await charging(building, "a")
        box = building.boxes[connector("a").ref]
        box.csms_ma = 10450
        await building.run(5)
        assert box.limits[-1][1] == 10400
        box.csms_ma = 10000
        await building.run(5)
        assert box.limits[-1][1] == 10000
        box.csms_ma = 5900
        await building.run(5)
        assert box.limits[-1][1] == 0
        assert building.shown("a")["reason"] == "csms_zero"


async def test_after_power_returns_the_sum_rises_by_at_most_16_a_in_5_s() -> None:
    boxes = [connector(f"b{number}", fallback_ma=6000 if number < 2 else 0) for number in range(6)]
    async with living(*boxes, circuits=[circuit(limit_a=100, meter="grid")]) as building:
        for box in building.boxes.values():
            box.transaction = 1
        sums: list[int] = []

        def watch() -> None:
            sums.append(sum(box.may_ma(building.clock.now_s) for box in building.boxes.values()))
            assert all(sums[-1] - earlier <= 16000 for earlier in sums[-6:])

        await building.run(120, watch)
        assert sums[0] == 12000
        assert sums[-1] >= 93000


async def test_noise_of_the_meters_changes_nothing() -> None:
    async with living(*(connector(name) for name in "abcd")) as building:
        building.house_ma = (8000, 8000, 8000)
        await charging(building, *"abcd")
        counts = {one: len(box.limits) for one, box in building.boxes.items()}
        changes = 0
        held = {one: box.may_ma(building.clock.now_s) for one, box in building.boxes.items()}
        seconds = 0

        def noise() -> None:
            nonlocal changes, seconds
            seconds += 1
            swing = (seconds * 37 % 7 - 3) * 100
            building.house_ma = (8000 + swing, 8000 - swing, 8000 + (seconds * 53 % 7 - 3) * 100)
            for one, box in building.boxes.items():
                if (now_ma := box.may_ma(building.clock.now_s)) != held[one]:
                    changes += 1
                    held[one] = now_ma
                assert now_ma >= 6000

        await building.run(600, noise)
        assert changes < 10 * 4
        assert all(len(box.limits) > counts[one] for one, box in building.boxes.items())


async def test_a_slow_charger_does_not_hold_up_the_others() -> None:
    async with living(connector("a"), connector("b")) as building:
        building.boxes[connector("a").ref].answer_after_s = 500.0
        await building.run(5)
        building.start("a")
        building.start("b")
        await building.run(100)
        assert len(building.boxes[connector("a").ref].limits) == 1
        assert building.shown("b")["limit_a"] == 16.0
        assert building.clock.now_s - building.loop.beat < 1.5


async def test_a_transaction_that_ends_gives_its_current_to_the_others() -> None:
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=26, meter="grid")]) as building:
        await charging(building, "a", "b")
        before = building.shown("b")["limit_a"]
        building.stop("a")
        await building.run(40, fits(building))
        assert (before, building.shown("b")["limit_a"]) == (10.2, 16.0)
        assert building.shown("a")["reason"] == "idle"


async def test_a_circuit_that_stays_high_is_told_once() -> None:
    async with living(connector("a")) as building:
        building.house_ma = (50000, 5000, 5000)
        await building.run(100)
        assert building.loop.status()["circuits"][0]["over"] is True
        building.house_ma = (5000, 5000, 5000)
        await building.run(10)
        assert [kind for kind in building.kinds() if "high" in kind] == ["circuit_high", "circuit_high_over"]


async def test_a_charger_port_that_fails_is_told_and_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with living(connector("a"), connector("b")) as building:
        works = building.set_limit

        async def broken(ref: Any, limit_ma: int, **more: Any) -> LimitOutcome:
            if ref.charger == "a":
                raise OSError("no such socket")
            return await works(ref, limit_ma, **more)

        monkeypatch.setattr(building, "set_limit", broken)
        await charging(building, "a", "b")
        assert "limit_failed" in building.kinds()
        assert building.shown("a")["reason"] == "unanswered"
        assert building.shown("b")["limit_a"] == 16.0


async def test_a_tick_that_fails_is_told_once_stops_the_beat_and_the_next_one_tries_again() -> None:
    building = Building(site_of([circuit(meter="grid")], [connector("a")]))
    task = asyncio.create_task(building.loop.run())
    await building.run(5)
    boxes, building.boxes = building.boxes, None  # type: ignore[assignment]
    await building.clock.advance(10)
    stale_s = building.clock.now_s - building.loop.beat
    building.boxes = boxes
    await building.run(2)
    assert building.kinds().count("control_failed") == 1
    assert stale_s >= 10
    assert building.clock.now_s - building.loop.beat <= 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_car_that_uses_one_phase_frees_the_other_two_after_a_minute() -> None:
    boxes = [connector("a"), connector("b", phases=1, rotation=(1, 2, 0), max_ma=32000)]
    async with living(*boxes, circuits=[circuit(limit_a=26, meter="grid")]) as building:
        building.boxes[connector("a").ref].car_phases = 1
        await charging(building, "a", "b")
        assert building.shown("a")["limit_a"] == 16.0
        assert building.shown("b")["limit_a"] == 20.5
        building.boxes[connector("a").ref].car_phases = 3
        await building.run(40)
        assert building.longest_over_s <= 25
        assert max(building.loads("house")) <= 26000


async def test_after_a_restart_running_cars_go_on_and_nobody_is_paused() -> None:
    """The limits of before are unknown; the cars draw, so they keep their turn."""
    async with living(connector("a"), connector("b", fallback_ma=6000)) as building:
        for box in building.boxes.values():
            box.transaction = 1
            box.profile = (16000, building.clock.now_s + 100)
        await building.run(100)
        for box in building.boxes.values():
            assert min(limit_ma for _, limit_ma, _ in box.limits) == 6000
            assert box.may_ma(building.clock.now_s) == 16000


async def test_after_a_restart_nobody_gets_back_what_others_still_draw() -> None:
    """a was told 0 A before the gateway died, and b holds 12 A: with a's fallback that is too much until b has less."""
    boxes = (connector("a", fallback_ma=6000), connector("b"), connector("c", fallback_ma=6000))
    async with living(*boxes, circuits=[circuit(limit_a=25, meter="grid", house_worst_ma=5000)]) as building:
        a, b = building.start("a", 7), building.start("b", 8)
        until_s = building.clock.now_s + 100
        a.profile, b.profile = (0, until_s), (12_000, until_s)
        b.answer_after_s = 4.0
        await building.run(60, fits(building))
        assert b.limits[0][1] == 6000, "what is too much is reduced at once"
        assert a.limits[0][1] == 6000
        assert a.limits[0][0] >= b.limits[0][0] + 4.0, "and given only when that is confirmed"
        assert "charger_disobedient" not in building.kinds(), "b has 30 s to follow the first limit, too"
