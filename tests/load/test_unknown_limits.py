"""A box whose limit is not what we told it last: after our restart, after its transaction, or because it ignores us."""

from __future__ import annotations

from gateway.model import LimitOutcome
from tests.load.building import Box, Building, circuit, connector
from tests.load.test_control_loop import charging, fits, living

GARAGE = circuit(limit_a=20, house_worst_ma=0, meter=None)


def held_from_before(building: Building, name: str, limit_ma: int, wants_ma: int = 32000) -> Box:
    """A transaction that ran before we started, with a limit that we do not remember."""
    box = building.start(name)
    box.profile = (limit_ma, building.clock.now_s + 115)
    box.wants_ma = wants_ma
    return box


async def test_after_a_restart_a_car_that_draws_more_than_there_is_room_for_is_told_at_once() -> None:
    """Its minimum is less than it draws, so no room must be found for it first (it kept its old limit for 2 min)."""
    async with living(connector("a"), connector("b", fallback_ma=6000)) as building:
        building.house_ma = (20000, 20000, 20000)
        boxes = [held_from_before(building, "a", 12000), held_from_before(building, "b", 12000)]
        began_s = building.clock.now_s
        await building.run(40)
        for box in boxes:
            at_s, limit_ma, raising = box.limits[0]
            assert (limit_ma, raising) == (6000, False)
            assert at_s - began_s <= 5
        assert max(building.loads("house")) <= 40000
        fits(building)()


async def test_after_a_restart_a_box_whose_car_sleeps_is_told_at_once_too() -> None:
    """Its car draws nothing and there is no room to begin: it is told its fallback, not left with 16 A."""
    async with living(connector("a"), connector("b")) as building:
        building.house_ma = (30000, 30000, 30000)
        sleeping, busy = held_from_before(building, "a", 16000, wants_ma=0), held_from_before(building, "b", 9000)
        await building.run(5)
        assert [limit_ma for _, limit_ma, _ in sleeping.limits] == [0]
        assert busy.limits[0][1] == 6000
        await building.run(10, fits(building))


async def test_after_a_restart_nothing_rises_into_what_a_box_that_is_not_back_may_still_offer() -> None:
    """Its car sleeps on an old limit of 16 A and may wake at any moment; the limit ends by itself."""
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=25, meter="grid")]) as building:
        held_from_before(building, "b", 16000, wants_ma=0).connected = False
        box = building.start("a")
        began_s = building.clock.now_s
        await building.run(100, fits(building))
        assert {limit_ma for _, limit_ma, _ in box.limits} == {0}
        await building.run(80, fits(building))
        assert next(at_s for at_s, limit_ma, _ in box.limits if limit_ma) - began_s <= 125


async def test_after_a_restart_a_car_is_given_at_once_what_no_old_limit_can_claim() -> None:
    """Who confirms a limit holds no older one: the others need not wait for the end of it."""
    async with living(connector("a"), connector("b"), circuits=[circuit(limit_a=25, meter="grid")]) as building:
        held_from_before(building, "b", 16000, wants_ma=0)
        box = building.start("a")
        began_s = building.clock.now_s
        await building.run(30)
        assert next(at_s for at_s, limit_ma, _ in box.limits if limit_ma) - began_s <= 20
        await building.run(60, fits(building))


async def test_nothing_rises_into_the_fallback_of_a_box_that_does_not_answer() -> None:
    """Seed 80523: told 0 A, it stopped on a line that brought nothing any more, and went to its fallback of 6 A."""
    boxes = [connector("a", fallback_ma=6000), connector("b")]
    async with living(*boxes, circuits=[circuit(limit_a=20, house_worst_ma=0, meter=None)]) as building:
        building.house_ma = (0, 0, 0)
        box, other = (building.boxes[one.ref] for one in boxes)
        box.csms_ma, other.csms_ma = 0, 10_000
        await charging(building, "a", "b")
        assert (box.drawn_ma, other.drawn_ma) == (0, 10_000)
        box.answer = LimitOutcome.SILENT
        for _ in range(70):
            await building.run(1)
            if "limit_unanswered" in building.kinds():
                break
        other.csms_ma = None
        await building.run(40)
        assert 10_000 <= other.drawn_ma <= 14_000
        box.answer = LimitOutcome.CONFIRMED
        await building.run(60)
        assert other.drawn_ma == 16_000


async def ended_unseen(building: Building, status: str) -> Box:
    """Box a is told 0 A by its backend; then its transaction ends, and nobody can write that down."""
    box = building.boxes[connector("a").ref]
    box.csms_ma = 0
    await charging(building, "a", "b")
    assert building.shown("a")["reserved_a"] == 0
    box.profile, box.answer, box.status, box.wants_ma = None, LimitOutcome.REFUSED, status, 0
    return box


async def test_a_box_that_says_its_car_has_gone_counts_with_its_fallback_though_it_refuses_limits() -> None:
    boxes = [connector("a", fallback_ma=6000), connector("b")]
    async with living(*boxes, circuits=[circuit(limit_a=20, meter="grid")]) as building:
        await ended_unseen(building, "Available")
        await building.run(2)
        assert (building.shown("a")["reserved_a"], building.shown("a")["reason"]) == (6.0, "leaving")
        await building.run(30)
        assert building.shown("a")["reason"] == "leaving"  # also once it has refused a limit
        await building.run(30, fits(building))


async def test_a_box_that_refuses_a_limit_may_have_ended_its_transaction_and_counts_with_its_fallback() -> None:
    boxes = [connector("a", fallback_ma=6000), connector("b")]
    async with living(*boxes, circuits=[circuit(limit_a=20, meter="grid")]) as building:
        box = await ended_unseen(building, "SuspendedEVSE")
        await building.run(70)
        assert any(at_s > building.clock.now_s - 70 for at_s, _, _ in box.limits)
        assert (building.shown("a")["reserved_a"], building.shown("a")["reason"]) == (6.0, "unanswered")
        fits(building)()


async def test_others_make_room_in_time_for_a_car_that_does_not_stop() -> None:
    """All stand at their minimum, so others must stop: with 11 s to follow that is to begin long before 45 s."""
    boxes = [connector(name, max_ma=6000) for name in "abc"]
    async with living(*boxes, circuits=[circuit(limit_a=27, meter="grid")]) as building:
        for box in building.boxes.values():
            box.follow_after_s = 11.0
        await charging(building, "a", "b", "c")
        assert building.loads("house")[0] == 23000
        building.house_ma = (12000, 5000, 5000)
        while not (told := [box for box in building.boxes.values() if box.limits[-1][1] == 0]):
            await building.run(1)
        told[0].obeys = False
        await building.run(80)
        assert building.longest_over_s <= 40
        assert building.loads("house")[0] <= 27000


async def test_after_a_restart_a_car_whose_meter_falls_silent_before_it_came_down_counts_with_what_it_drew() -> None:
    """Seed 22510, crowded: it had confirmed 0 A and drew 6 A; when nobody saw that any more, others were raised."""
    async with living(connector("a"), connector("b"), circuits=[GARAGE]) as building:
        building.house_ma = (0, 0, 0)
        held_from_before(building, "a", 16000).obeys = False
        building.boxes[connector("a").ref].csms_ma = 0
        await building.run(12)
        assert building.boxes[connector("a").ref].limits[-1][1] == 0
        building.silent.add("m-a")
        building.start("b")
        await building.run(120)
        assert building.boxes[connector("a").ref].drawn_ma == 16000
        assert building.boxes[connector("b").ref].drawn_ma <= 4000
        assert building.shown("a")["reserved_a"] == 16.0
        building.silent.clear()
        building.boxes[connector("a").ref].obeys = True
        await building.run(60)
        assert building.shown("a")["reserved_a"] == 0


async def test_a_car_that_was_seen_to_follow_counts_with_its_limit_when_its_meter_falls_silent() -> None:
    """Else one silent meter would hold up a garage."""
    async with living(connector("a"), connector("b"), circuits=[GARAGE]) as building:
        building.house_ma = (0, 0, 0)
        box = held_from_before(building, "a", 16000)
        await building.run(40)
        box.csms_ma = 6000
        await building.run(40)
        building.start("b")
        box.csms_ma = 0
        await building.run(3)
        building.silent.add("m-a")
        await building.run(120)
        assert building.shown("a")["reserved_a"] == 0
        assert building.boxes[connector("b").ref].drawn_ma > 6000


async def test_what_is_reserved_for_an_unseen_car_does_not_make_the_house_smaller() -> None:
    """Seed 10022: it was told 8 A, drew 3 A, and was reserved the 16 A of before; as if it drew those, the house behind
    the total looked 13 A smaller, and others were given what it may take at any moment."""
    async with living(connector("a"), connector("b")) as building:
        building.house_ma = (20000, 20000, 20000)
        box = held_from_before(building, "a", 16000, wants_ma=16000)
        box.csms_ma, box.follow_after_s = 8000, 20.0
        await building.run(13)
        building.silent.add("m-a")
        box.wants_ma = 3000
        await building.run(10)
        building.start("b")
        await building.run(130, fits(building))
        assert building.shown("a")["reserved_a"] == 16.0
        assert building.boxes[connector("b").ref].drawn_ma >= 6000


async def test_a_box_that_comes_back_into_a_full_garage_is_not_given_what_it_was_reserved() -> None:
    """The day of 10000 with 20 boxes: told 0 A, it counted with its fallback while it was lost; and the one that was to
    make room for it could not hold 0 A."""
    narrow = circuit(limit_a=12, house_worst_ma=0, meter=None)
    boxes = [connector("a", max_ma=6000), connector("b", max_ma=6000), connector("c", max_ma=6000, fallback_ma=6000)]
    async with living(*boxes, circuits=[narrow]) as building:
        building.house_ma = (0, 0, 0)
        waits = building.start("c")
        waits.csms_ma = 0
        await charging(building, "a", "b")
        assert building.loads("house")[0] == 12000
        waits.csms_ma = None
        for box in building.boxes.values():
            box.obeys = box is waits
        waits.connected = False
        await building.run(8)
        waits.connected = True
        await building.run(40, lambda: not_above(building, 12000))


def not_above(building: Building, limit_ma: int) -> None:
    assert max(building.loads("house")) <= limit_ma, building.clock.now_s


async def test_after_a_restart_a_box_that_may_hold_0_is_not_told_its_fallback_beside_what_others_may_hold() -> None:
    """The day of 10000 with 20 boxes: its car drew nothing by a limit of 0 A from before, and it counted with 6 A."""
    narrow = circuit(limit_a=12, house_worst_ma=0, meter=None)
    boxes = [connector("a", fallback_ma=6000), connector("b"), connector("c")]
    async with living(*boxes, circuits=[narrow]) as building:
        building.house_ma = (0, 0, 0)
        waits = held_from_before(building, "a", 0)
        for name in ("b", "c"):  # they are not back yet, and their meters cannot be read
            box = held_from_before(building, name, 6000)
            box.connected, box.profile = False, (6000, building.clock.now_s + 60)
            building.silent.add(f"m-{name}")
        await building.run(110, lambda: not_above(building, 12000))
        await building.run(60, lambda: not_above(building, 12000))
        assert waits.limits[-1][1] >= 6000, "what others held has ended"


async def test_a_car_that_may_have_left_a_lost_box_does_not_make_the_house_smaller() -> None:
    """Seed 60109: the box's link was away and its meter unreadable when its car left. As if the car still drew, the
    house looked smaller by as much, and others were given the fallback under which the next car begins."""
    async with living(connector("a", fallback_ma=6000), connector("b")) as building:
        building.house_ma = (20000, 20000, 20000)
        await charging(building, "a", "b")
        box = building.boxes[connector("a", fallback_ma=6000).ref]
        box.connected = False
        building.silent.add("m-a")
        box.wants_ma = 0
        await building.run(60)
        await building.run(200, fits(building))
        assert building.boxes[connector("b").ref].drawn_ma >= 6000
