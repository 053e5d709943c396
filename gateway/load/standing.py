"""Pure: how each connector counts now, and what is learned of its car.

A connector of which nothing new is told counts as it did, until some time of a rule is over. So most are not judged
anew in most ticks.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from gateway.load import books
from gateway.load import car as cars_of
from gateway.load.books import Answer
from gateway.load.car import Car
from gateway.load.foreign import DRAW_KEPT_S, ZERO, Draw, Sample
from gateway.load.plant import Plant, Spot
from gateway.load.state import Inputs, Standing, State
from gateway.model import ConnectorRef, ConnectorState, PhaseMa
from gateway.site import Connector

BEGIN_S = 30.0
"""A connected charger counts with its fallback for this long while the first limit of a transaction is under way."""
GRACE_S = 120.0
"""After our start chargers come back one by one; until then they hold what we gave them before, or their fallback."""
CAR_GONE = ("Available", "Finishing", "Preparing")
"""A connector that says so charges no car, also while we still wait for the end of its transaction to be written or
answered."""
EXCESS_MA = 1000
EARLY_S = 1.0
"""So long before a rule's time is over the connector is judged at every look again."""


def look(plant: Plant, state: State, inputs: Inputs) -> dict[ConnectorRef, Standing]:
    """Every connector that the plant knows, with the answers and the newest samples learned."""
    answers = {answer.ref: answer for answer in inputs.answers}
    now_s, draws, cars = inputs.now_s, inputs.draws, state.cars
    standings: dict[ConnectorRef, Standing] = {}
    for one in inputs.connectors:
        ref = one.ref
        samples = draws.get(ref, ())
        # Who waits for an answer is judged at every look, so none is passed by here.
        before = state.standings.get(ref)
        if (
            before is not None
            and before.state is one
            and before.known.samples is samples
            and before.car is cars.get(ref)
            and now_s < before.until_s
        ):
            standings[ref] = before
        elif (spot := plant.spots.get(ref)) is not None:
            standings[ref] = _standing(plant, state, one, spot, samples, answers.get(ref), now_s)
    return standings


def _standing(
    plant: Plant,
    state: State,
    one: ConnectorState,
    spot: Spot,
    samples: tuple[Sample, ...],
    answer: Answer | None,
    now_s: float,
) -> Standing:
    newest = samples[-1] if samples and now_s - samples[-1].at_s <= DRAW_KEPT_S else None
    car = None
    if one.transaction_id is not None:
        car = _car(plant, state, one, one.transaction_id, newest, answer, now_s)
    counts = _counts(state, one, spot, car, newest, now_s)
    role, phases, counted_ma = counts.role, counts.phases, counts.counted_ma
    known = Draw(
        samples, _most(counts, newest), one.transaction_id is not None and not one.status.startswith("Suspended")
    )
    reserved, taken = _load(spot, counts, car, newest)
    claim = None
    if role == "claim" and car is not None:
        links, one_sided = spot.ways[phases], len(phases) < 3
        claim = cars_of.claim(car, spot.connector, links, one.csms_limit_ma, now_s, one_sided=one_sided)
    draw = None if newest is None else newest.ma
    until_s = _until_s(state, one, counts, car, newest, now_s)
    return Standing(one, spot, role, phases, counted_ma, draw, known, reserved, taken, car, claim, until_s)


def _until_s(
    state: State, one: ConnectorState, counts: _Counts, car: Car | None, newest: Sample | None, now_s: float
) -> float:
    """Until when all of it stays as it is while nothing new is told; 0 where that is not to be said.

    What is compared here with a rule's time may be off by the rounding of a sum, so that it ends a little early.
    """
    unread_s = math.inf if newest is None else newest.at_s + DRAW_KEPT_S
    if car is None:
        return unread_s - EARLY_S if one.fallback_proven else 0.0
    if not counts.settled or car is not state.cars.get(one.ref):
        return 0.0
    return min(unread_s, cars_of.calm_until_s(car, now_s - EARLY_S)) - EARLY_S


def _car(
    plant: Plant,
    state: State,
    one: ConnectorState,
    transaction: int,
    newest: Sample | None,
    answer: Answer | None,
    now_s: float,
) -> Car:
    """The running transaction, with the answer and the newest sample learned."""
    connector = plant.spots[one.ref].connector
    car = state.cars.get(one.ref)
    if car is None or car.book.transaction != transaction:
        car = cars_of.begin(transaction, connector, newest, now_s)
    book = car.book
    if answer is not None:
        book = books.answered(book, answer, _alone(state, one, connector, car, newest, now_s), plant.duration_s)
    if not one.connected and one.ref in state.connected:
        book = books.lost(book)
    book = books.pruned(book, now_s)
    # Cars and books are values: what learned nothing new goes on as the same object.
    car = car if book is car.book else replace(car, book=book)
    return cars_of.observe(car, connector, newest, now_s)


def _alone(
    state: State, one: ConnectorState, connector: Connector, car: Car | None, newest: Sample | None, now_s: float
) -> int:
    """What the connector may draw where no limit of ours governs that we know of.

    A fallback that was never proven counts with the connector's maximum, once the charger is lost, or has run for a
    while without a limit. A car that draws has at least the minimum on offer: after our start it may hold what we
    gave it before.
    """
    if not one.fallback_proven:
        if one.connected:
            early = car is None or now_s - car.began_s < BEGIN_S
        else:
            early = one.ref not in state.seen and now_s - state.started_s < GRACE_S
        if not early:
            return connector.max_ma
    return connector.fallback_ma if car is None else max(connector.fallback_ma, cars_of.offered_ma(connector, newest))


class _Counts(NamedTuple):
    """See `Standing`. `told_ma`: what the book alone says; `settled`: that is the one limit that can be in force."""

    role: str
    phases: tuple[int, ...]
    counted_ma: int
    told_ma: int
    settled: bool = False


def _counts(
    state: State, one: ConnectorState, spot: Spot, car: Car | None, newest: Sample | None, now_s: float
) -> _Counts:
    connector, every = spot.connector, spot.phases
    gone = one.status in CAR_GONE
    if car is not None and newest is not None and one.connected and not gone and not car.disobedient:
        settled_ma = books.settled(car.book, now_s)
        if settled_ma is not None:  # as mostly: then what it may draw alone is not asked for
            return _Counts("claim", cars_of.phases(car, every, now_s), settled_ma, settled_ma, settled=True)
    alone_ma = _alone(state, one, connector, car, newest, now_s)
    if car is None:
        return _Counts("idle" if one.connected else "lost", every, alone_ma, alone_ma)
    told_ma = counted_ma = books.counted(car.book, now_s, alone_ma, newest)
    if newest is None:
        counted_ma = max(counted_ma, cars_of.unseen_ma(car))
    if not one.connected:
        # Its car may have left: where nobody reads it, nothing says that it draws anything.
        return _Counts("lost", every, counted_ma, told_ma if newest is not None else 0)
    if gone:
        # Its stop is on the way: the next car may begin under the fallback, on every phase. What is drawn counts too.
        counted_ma = alone_ma if newest is not None else max(counted_ma, alone_ma)
    if car.disobedient:
        # Without a reading it still draws what it drew: a silent meter does not make a car obey.
        counted_ma = counted_ma if newest is not None else max(counted_ma, car.over_ma)
        return _Counts("disobedient", every, counted_ma, counted_ma)
    if gone:
        return _Counts("leaving", every, counted_ma, counted_ma)
    if books.unsteered(car.book, now_s):
        return _Counts("unanswered", every, counted_ma, counted_ma)
    return _Counts("claim", cars_of.phases(car, every, now_s), counted_ma, told_ma)


def _most(counts: _Counts, newest: Sample | None) -> PhaseMa:
    """What a connector is taken to draw at most where the house is reckoned as the rest of a total: not more than it
    was told, and nothing where its link is lost too. What it is reserved must not make the house smaller."""
    ma, on = counts.told_ma, counts.phases
    one, two, three = ma if 0 in on else 0, ma if 1 in on else 0, ma if 2 in on else 0
    if newest is None:
        return one, two, three
    a, b, c = newest.ma
    return a if a > one else one, b if b > two else two, c if c > three else three


def _load(spot: Spot, counts: _Counts, car: Car | None, newest: Sample | None) -> tuple[PhaseMa, PhaseMa]:
    """What is reserved for a connector beside what is shared out, and all that it may draw now.

    What is measured above the limit counts too: all of it for the sum, and as a reservation. A car that may still be
    following is reserved the tolerance, since the electronics of cars and boxes are not exact. A box draws on every
    phase that it is connected to, also where its car draws nothing, and also while nobody reads its meter.
    """
    draw, standby_ma = (ZERO, spot.standby_ma) if newest is None else (newest.ma, 0)
    follows = car is None or not car.late
    reserved, taken = [0, 0, 0], [0, 0, 0]
    for phase in spot.phases:
        told_ma = counts.counted_ma if phase in counts.phases else 0
        ma = told_ma + standby_ma
        if draw[phase] > ma:
            ma = draw[phase]
        taken[phase] = ma
        if counts.role == "claim":
            ma -= told_ma
            if follows and ma > EXCESS_MA:
                ma = EXCESS_MA
        reserved[phase] = ma
    return (reserved[0], reserved[1], reserved[2]), (taken[0], taken[1], taken[2])
