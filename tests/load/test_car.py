"""One running transaction: what is learned from its draw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.load import books, car
from gateway.load.allocate import Grant
from gateway.load.books import Answer
from gateway.load.capacity import Node, room
from gateway.load.car import Car
from gateway.load.foreign import Draw, Sample
from gateway.load.pacing import Bounds, Seat, pace
from gateway.model import LimitOutcome
from tests.load.building import circuit, connector

BOX = connector("a")


def limited(limit_ma: int, at_s: float) -> Car:
    """A car whose box confirmed `limit_ma` at `at_s`."""
    new = car.begin(1, BOX, Sample(at_s, (6000, 6000, 6000)), at_s)
    book = books.send(new.book, limit_ma, at_s)
    answer = Answer(BOX.ref, 1, limit_ma, at_s, at_s, LimitOutcome.CONFIRMED)
    return replace(new, book=books.answered(book, answer, 0, 1000.0))


def seen(one: Car, at_s: float, ma: int) -> Car:
    return car.observe(replace(one, book=books.pruned(one.book, at_s)), BOX, Sample(at_s, (ma, ma, ma)), at_s)


def test_a_car_that_draws_above_its_limit_for_a_moment_is_not_disobedient() -> None:
    """Many cars take more than the offer in their first 1 to 3 s."""
    one = seen(limited(6000, 0.0), 100.0, 9000)
    assert not one.disobedient
    one = seen(one, 103.0, 6000)
    assert not seen(one, 106.0, 9000).disobedient


def test_a_car_that_stays_above_its_limit_is_disobedient_until_it_obeys() -> None:
    one = limited(6000, 0.0)
    for at_s in (20.0, 28.0):
        one = seen(replace(one, book=replace(one.book, past=((16000, 0.0),))), at_s, 9000)
    assert not one.disobedient  # 30 s are not over, 16 A were allowed lately
    one = seen(seen(one, 40.0, 9000), 46.0, 9000)
    assert one.disobedient
    one = seen(one, 60.0, 6900)
    assert one.disobedient, "one good second may be a pause of its own"
    assert seen(seen(one, 65.0, 9000), 70.0, 6900).disobedient
    assert not seen(seen(one, 65.0, 6900), 70.0, 6900).disobedient


def test_a_reduction_that_is_not_felt_after_20_seconds_is_late_and_not_yet_disobedience() -> None:
    one = replace(limited(6000, 0.0), book=replace(limited(6000, 0.0).book, past=((16000, 0.0),)))
    assert not seen(one, 19.0, 9000).late
    one = seen(one, 20.0, 9000)
    assert (one.late, one.disobedient) == (True, False)
    assert not seen(one, 23.0, 6500).late
    read_before = car.observe(replace(one, late=False), BOX, Sample(19.0, (9000, 9000, 9000)), 25.0)
    assert not read_before.late


def test_what_a_late_car_drew_may_come_again_for_ten_seconds() -> None:
    """Seed 10000, 16 h with 20 boxes: a box that cannot hold 0 A had been told 28 s before when its car left; another
    was given its room a second before that was known, and the next car may begin by the fallback."""
    one = replace(limited(6000, 0.0), book=replace(limited(6000, 0.0).book, past=((16000, 0.0),)))
    assert car.again_ma(seen(seen(one, 19.0, 9000), 20.0, 0)) == 0, "it was in time"
    one = seen(seen(one, 20.0, 9000), 21.0, 0)
    assert (one.late, one.disobedient, car.again_ma(one)) == (False, False, 9000)
    one = seen(one, 30.0, 0)
    assert car.again_ma(one) == 9000
    assert car.again_ma(seen(one, 31.0, 0)) == 0
    again = seen(one, 31.0, 8000)
    assert (again.late, car.again_ma(seen(again, 32.0, 0))) == (True, 9000)


def test_a_car_that_takes_nothing_sleeps_after_two_minutes() -> None:
    one = limited(6000, 0.0)
    for at_s in range(0, 130, 10):
        one = seen(one, float(at_s), 0)
    assert not car.claim(one, BOX, (0,), None, 119.0, one_sided=True).asleep
    assert car.claim(one, BOX, (0,), None, 120.0, one_sided=True).asleep
    assert not car.claim(seen(one, 131.0, 6000), BOX, (0,), None, 131.0, one_sided=True).asleep


def test_a_missing_reading_makes_no_demand() -> None:
    one = limited(16000, 0.0)
    for at_s in range(50, 110, 10):
        one = seen(one, float(at_s), 7000)
    assert one.demand_ma == 9000
    assert car.observe(one, BOX, None, 120.0).demand_ma is None


def test_a_car_raised_again_must_have_had_room_for_ten_seconds() -> None:
    one = limited(8000, 0.0)
    sent: list[tuple[int, int]] = []
    for second in range(100, 115):
        seat = Seat(BOX, one, (0, 1, 2), 8000, Grant(16000, "full"))
        paced = pace([seat], Bounds((8000,) * 3, (40000,) * 3, (40000,) * 3), (), float(second), 1000.0)
        one = paced.cars[BOX.ref]
        sent += [(second, command.limit_ma) for command in paced.commands]
        if sent:
            break
    assert sent == [(110, 16000)]


def test_room_that_goes_in_between_starts_the_ten_seconds_anew() -> None:
    one = limited(8000, 0.0)
    bounds = Bounds((8000,) * 3, (40000,) * 3, (40000,) * 3)
    for second in range(100, 118):
        target_ma = 8000 if second == 108 else 16000
        paced = pace([Seat(BOX, one, (0, 1, 2), 8000, Grant(target_ma, "fuse"))], bounds, (), float(second), 1000.0)
        one = paced.cars[BOX.ref]
        assert paced.commands == ()


def test_a_reduction_that_is_not_felt_yet_is_not_taken_back_while_the_circuit_is_too_full() -> None:
    """Seed 683: three boxes were told 8 A, and 9.3 A before they had come down from 10 A, beside one that had left."""
    one = limited(8000, 0.0)
    told: list[tuple[int, int]] = []
    for second in range(100, 130):
        taken_ma = 49_900 if second < 120 else 40_000
        seat = Seat(BOX, one, (0, 1, 2), 10_000, Grant(9300, "fuse"))
        paced = pace([seat], Bounds((taken_ma,) * 3, (40_000,) * 3, (40_000,) * 3), (), float(second), 1000.0)
        one = paced.cars[BOX.ref]
        told += [(second, command.limit_ma) for command in paced.commands]
        if told:
            break
    assert told == [(120, 9300)]


def test_a_circuit_that_stays_above_its_limit_blames_the_house_for_what_nobody_can_read() -> None:
    """A car without a meter may draw 10 A and draws 6: the house seems 4 A smaller than it is, for 8 s."""
    one = circuit(limit_a=30, meter="grid")
    node = Node()
    kept = []
    for second in range(12):
        total = (Sample(float(second), (31000, 31000, 31000)),)
        node, found = room(node, one, 20000, total, [Draw((), (10000,) * 3, charging=True)], float(second))
        kept.append(found.keep[0])
    assert kept == [9000] * 8 + [0] * 4


WAITS, BEGINS = Grant(0, "waiting", None, 1, 60.0), Grant(6000, "start")


def waiting(since_s: float) -> Car:
    """A car that has been told 0 A and waits."""
    one = limited(0, since_s)
    return replace(one, on=False, since_s=since_s)


def test_a_turn_of_which_a_car_has_had_nothing_costs_it_neither_its_place_nor_a_pause() -> None:
    """Another box did not make room for it: it has waited since it began to wait."""
    one = seen(car.turned(waiting(100.0), BEGINS, 900.0), 901.0, 0)
    assert (one.on, one.since_s) == (True, 900.0)
    back = car.turned(one, WAITS, 940.0)
    assert (back.on, back.since_s, back.paused) == (False, 100.0, False)
    again = car.turned(seen(back, 941.0, 0), BEGINS, 1000.0)
    assert car.turned(again, WAITS, 1040.0).since_s == 100.0


@pytest.mark.parametrize("answered", [True, False])
def test_a_turn_that_has_begun_is_over_when_it_is_taken(answered: bool) -> None:
    """Also where the box has not answered: it may have begun."""
    one = car.turned(waiting(100.0), BEGINS, 900.0)
    book = books.send(one.book, 6000, 901.0)
    if answered:
        answer = Answer(BOX.ref, 1, 6000, 901.0, 902.0, LimitOutcome.CONFIRMED)
        book = books.answered(book, answer, 0, 1000.0)
    one = seen(replace(one, book=book), 903.0, 0)
    back = car.turned(one, WAITS, 940.0)
    assert (back.on, back.since_s, back.paused) == (False, 940.0, True)
