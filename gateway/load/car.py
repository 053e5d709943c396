"""Pure: one running transaction at one connector, as the load manager sees it: limits, draw, turn, obedience."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.load import books
from gateway.load.admission import OFF_S, SLEEPY_S, Claim
from gateway.load.allocate import Grant
from gateway.load.books import LATE_S, TOLERANCE_MA, Book
from gateway.load.foreign import Sample
from gateway.site import Connector

RECLAIM_S = 45.0
"""A car that draws this long at least 1 A less than it is offered is offered what it draws and 2 A more."""
RECLAIM_SPARE_MA = 2000
START_HOLD_S = 40.0
"""A car begins at its minimum for this long: some draw above the offer at first, some begin late."""
NARROW_S = 60.0
"""Phases on which a car has drawn nothing in its transaction stop counting after this long of charging on others."""
DRAWS_MA = 500
CHARGES_MA = 3000
OVER_AGAIN_S = 5.0
FORGIVE_S = 10.0
"""A car that disobeyed, or was late, is believed again after this long of obeying: one good second may be a pause of
its own, and a car that leaves does not say so in the second in which it stops."""


@dataclass(frozen=True, slots=True)
class Car:
    """`on`: has a turn since `since_s`, else waits since then. Times are site-monotonic seconds, None = not so.

    `demand_ma` caps the offer to what the car takes. `seen` are the building phases on which it drew. `over_s` is the
    instant of the first sample above what it was allowed, `over_ma` the largest draw since; `disobedient` follows from
    a second one. `late`: its reduction should have been felt by now. `good_s` is the first sample after that with which
    it obeys. `waited_s` is since when it waited before a turn of which it has had nothing yet. `unfelt_ma` is what it
    drew when it was last seen, if that was more than its limit, `follows` whether it was ever seen to come down to one.
    """

    book: Book
    on: bool
    since_s: float
    paused: bool = False
    started_s: float | None = None
    demand_ma: int | None = None
    under_s: float | None = None
    idle_s: float | None = None
    seen: frozenset[int] = frozenset()
    charging_s: float | None = None
    room_s: float | None = None
    waited_s: float | None = None
    over_s: float | None = None
    over_ma: int = 0
    disobedient: bool = False
    good_s: float | None = None
    late: bool = False
    began_s: float = 0.0
    unfelt_ma: int = 0
    follows: bool = False


def offered_ma(connector: Connector, newest: Sample | None) -> int:
    """The least that the connector must be offering, from what is drawn: there is nothing between 0 and the minimum."""
    draw_ma = 0 if newest is None else max(newest.ma)
    return min(connector.max_ma, max(connector.min_ma, draw_ma)) if draw_ma >= DRAWS_MA else 0


def begin(transaction: int, connector: Connector, newest: Sample | None, now_s: float) -> Car:
    """A transaction appears. It has its turn at once where current flows already or its fallback is on offer."""
    draws = newest is not None and max(newest.ma) >= TOLERANCE_MA
    on = draws or connector.fallback_ma >= connector.min_ma
    return Car(Book(transaction), on, now_s, began_s=now_s)


def observe(car: Car, connector: Connector, newest: Sample | None, now_s: float) -> Car:
    """Learn from the newest sample (None where it is missing or too old)."""
    limit_ma = books.in_force(car.book, now_s)
    car = _begun(_started(car, limit_ma, now_s), limit_ma)
    if newest is None:
        return _asks(car, under_s=None, idle_s=None, demand_ma=None)
    draw_ma = max(newest.ma)
    car = _demand(car, connector, limit_ma, draw_ma, now_s)
    car = _phases(car, newest, draw_ma, now_s)
    car = _felt(car, limit_ma, draw_ma)
    return _obeys(car, newest, limit_ma, draw_ma, now_s)


def _started(car: Car, limit_ma: int | None, now_s: float) -> Car:
    if not limit_ma:
        return car if car.started_s is None else replace(car, started_s=None)
    return replace(car, started_s=now_s) if car.started_s is None else car


def _begun(car: Car, limit_ma: int | None) -> Car:
    """Its turn has begun with the first limit above 0 that leaves, whether it is answered or not."""
    if car.waited_s is None or not (limit_ma or car.book.wanted_ma):
        return car
    return replace(car, waited_s=None)


def _demand(car: Car, connector: Connector, offered_ma: int | None, draw_ma: int, now_s: float) -> Car:
    if not offered_ma:
        return _asks(car, under_s=None, idle_s=None, demand_ma=car.demand_ma)
    idle_s = None if draw_ma >= DRAWS_MA else now_s if car.idle_s is None else car.idle_s
    if draw_ma >= offered_ma - TOLERANCE_MA:
        return _asks(car, under_s=None, idle_s=idle_s, demand_ma=None)
    if car.under_s is None:
        return _asks(car, under_s=now_s, idle_s=idle_s, demand_ma=car.demand_ma)
    if now_s - car.under_s < RECLAIM_S:
        return _asks(car, under_s=car.under_s, idle_s=idle_s, demand_ma=car.demand_ma)
    wanted_ma = max(connector.min_ma, -(-(draw_ma + RECLAIM_SPARE_MA) // 100) * 100)
    if car.demand_ma is not None and abs(wanted_ma - car.demand_ma) < TOLERANCE_MA:
        wanted_ma = car.demand_ma
    return _asks(car, under_s=now_s, idle_s=idle_s, demand_ma=wanted_ma)


def _asks(car: Car, *, under_s: float | None, idle_s: float | None, demand_ma: int | None) -> Car:
    """The car with what it was seen to take; itself where nothing of that is new, as in most seconds."""
    if under_s == car.under_s and idle_s == car.idle_s and demand_ma == car.demand_ma:
        return car
    return replace(car, under_s=under_s, idle_s=idle_s, demand_ma=demand_ma)


def _phases(car: Car, newest: Sample, draw_ma: int, now_s: float) -> Car:
    if draw_ma < DRAWS_MA:
        return car
    drawn = [phase for phase, ma in enumerate(newest.ma) if ma >= DRAWS_MA]
    charging_s = now_s if car.charging_s is None and draw_ma >= CHARGES_MA else car.charging_s
    if car.seen.issuperset(drawn) and charging_s == car.charging_s:
        return car
    return replace(car, seen=car.seen.union(drawn), charging_s=charging_s)


def _felt(car: Car, limit_ma: int | None, draw_ma: int) -> Car:
    above_ma = draw_ma if limit_ma is not None and draw_ma > limit_ma + TOLERANCE_MA else 0
    follows = car.follows or (not above_ma and draw_ma + TOLERANCE_MA < car.unfelt_ma)
    if above_ma == car.unfelt_ma and follows == car.follows:
        return car
    return replace(car, unfelt_ma=above_ma, follows=follows)


def unseen_ma(car: Car) -> int:
    """What a car counts with at least while nobody sees what it draws: until it was seen to follow a limit, it may go
    on drawing what it drew when its meter fell silent."""
    return 0 if car.follows else car.unfelt_ma


def _obeys(car: Car, newest: Sample, limit_ma: int | None, draw_ma: int, now_s: float) -> Car:
    within = limit_ma is not None and draw_ma <= limit_ma + TOLERANCE_MA
    if within and not car.late and car.over_s is None and car.good_s is None:
        return car  # in most seconds: then no earlier and larger limit matters, and nothing is to be forgiven
    car = _late(car, newest.at_s, draw_ma)
    allowed_ma = books.allowed_lately(car.book, now_s)
    if allowed_ma is None:
        return car
    if draw_ma <= allowed_ma + TOLERANCE_MA:
        return _forgiven(car, newest.at_s)
    over_s = newest.at_s if car.over_s is None else car.over_s
    return replace(
        car,
        over_s=over_s,
        over_ma=max(car.over_ma, *newest.ma),
        disobedient=car.disobedient or newest.at_s - over_s >= OVER_AGAIN_S,
        good_s=None,
    )


def _forgiven(car: Car, at_s: float) -> Car:
    """It obeys: what a late or disobedient one drew may come again for a while, and so long the latter stays it."""
    if car.disobedient and car.good_s is None:
        return replace(car, good_s=at_s)
    if car.good_s is not None and at_s - car.good_s < FORGIVE_S:
        return car if car.disobedient or car.over_s is None else replace(car, over_s=None)
    if car.good_s is None and car.over_s is None:
        return car
    return replace(car, over_s=None, over_ma=0, disobedient=False, good_s=None)


def calm_until_s(car: Car, now_s: float) -> float:
    """Until when a car that holds a settled limit, and has learned nothing from its newest sample, learns nothing from
    it and claims the same: the first of the times of these rules that is not over."""
    ends_s = [car.since_s + OFF_S]
    if car.book.confirmed is not None:
        ends_s.append(car.book.confirmed.over_s)
    if car.under_s is not None:
        ends_s.append(car.under_s + RECLAIM_S)
    if car.charging_s is not None:
        ends_s.append(car.charging_s + NARROW_S)
    if car.started_s is not None:
        ends_s.append(car.started_s + START_HOLD_S)
    if car.idle_s is not None:
        ends_s.append(car.idle_s + SLEEPY_S)
    return min([end_s for end_s in ends_s if end_s > now_s], default=now_s)


def again_ma(car: Car) -> int:
    """What a car that disobeyed, and obeys for a moment, may draw again in the next."""
    return car.over_ma if car.good_s is not None else 0


def _late(car: Car, at_s: float, draw_ma: int) -> Car:
    allowed_ma = books.allowed_lately(car.book, at_s, LATE_S)
    if allowed_ma is not None and draw_ma > allowed_ma + TOLERANCE_MA:
        return replace(car, late=True, over_ma=max(car.over_ma, draw_ma), good_s=None)
    return replace(car, late=False, good_s=at_s) if car.late else car


def phases(car: Car, every: tuple[int, ...], now_s: float) -> tuple[int, ...]:
    """The building phases on which the car counts: all of the connector until a long charge used fewer."""
    if car.charging_s is None or now_s - car.charging_s < NARROW_S or not car.seen or car.seen.issuperset(every):
        return every
    return tuple(phase for phase in every if phase in car.seen) or every


def claim(
    car: Car, connector: Connector, links: tuple[int, ...], csms_ma: int | None, now_s: float, *, one_sided: bool
) -> Claim:
    """What the car asks of the allocation, over `links`; `one_sided` where it counts on fewer than three phases."""
    most_ma, why = connector.max_ma, "full"
    if car.demand_ma is not None and car.demand_ma < most_ma:
        most_ma, why = car.demand_ma, "demand"
    if csms_ma is not None and csms_ma < most_ma:
        most_ma, why = csms_ma, "csms"
    holds = car.started_s is None or now_s - car.started_s < START_HOLD_S
    if holds and most_ma > connector.min_ma:
        most_ma, why = connector.min_ma, "start"
    ready = not car.paused or now_s - car.since_s >= OFF_S
    asleep = car.idle_s is not None and now_s - car.idle_s >= SLEEPY_S
    # Who has had nothing of its turn yet still begins: by the careful room, and in the place in which it waited.
    on, since_s = (car.on, car.since_s) if car.waited_s is None else (False, car.waited_s)
    return Claim(connector.ref, links, connector.min_ma, most_ma, why, 1, on, since_s, ready, asleep, one_sided)


def turned(car: Car, grant: Grant, now_s: float) -> Car:
    """The plan gave the car its turn, or took it. Only what the fuse takes is a pause that must last.

    A turn of which the car has had nothing - another did not make room for it - costs it neither its place in the queue
    nor a pause.
    """
    on = grant.limit_ma > 0
    if on == car.on:
        return car
    if on:
        return replace(car, on=True, since_s=now_s, paused=False, waited_s=car.since_s)
    if car.waited_s is not None:
        return replace(car, on=False, since_s=car.waited_s, paused=False, waited_s=None)
    return replace(car, on=False, since_s=now_s, paused=grant.reason == "waiting")
