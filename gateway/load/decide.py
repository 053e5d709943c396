"""Pure: one tick of the load manager: `step(plant, state, inputs) -> Outcome`. All that it remembers is in `State`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, combinations
from operator import sub
from typing import NamedTuple

from gateway.load import books
from gateway.load import car as cars_of
from gateway.load.allocate import Grant, Snapshot, allocate
from gateway.load.books import Answer
from gateway.load.capacity import Node, Room, room
from gateway.load.car import Car
from gateway.load.circuits import Tree, tree_of
from gateway.load.foreign import DRAW_KEPT_S, OLD_S, ZERO, Draw, Sample
from gateway.load.pacing import Bounds, Command, Raised, Seat, pace
from gateway.model import ConnectorRef, ConnectorState, PhaseMa
from gateway.site import Connector, Site

BEGIN_S = 30.0
"""A connected charger counts with its fallback for this long while the first limit of a transaction is under way."""
GRACE_S = 120.0
"""After our start chargers come back one by one; until then they hold what we gave them before, or their fallback."""
EXCESS_MA = 1000
STANDBY_MA = 50
"""What a box whose meter is not read draws itself, on top of what it offers its car (5 to 12 W are usual)."""
CAR_GONE = ("Available", "Finishing", "Preparing")
"""A connector that says so charges no car, also while we still wait for the end of its transaction to be written or
answered."""


@dataclass(frozen=True, slots=True)
class Plant:
    """What does not change: the tree, and per connector each of its building phases with the links of that phase.

    `ways`: all links of a connector by the building phases on which a car there may count.
    """

    tree: Tree
    connectors: Mapping[ConnectorRef, Connector]
    links: Mapping[ConnectorRef, Mapping[int, tuple[int, ...]]]
    ways: Mapping[ConnectorRef, Mapping[tuple[int, ...], tuple[int, ...]]]
    tilt: tuple[tuple[tuple[int, ...], int], ...]
    duration_s: float


def plant_of(site: Site) -> Plant:
    """The plant of a checked site."""
    tree = tree_of(site)
    connectors = {one.ref: one for one in site.connectors()}
    links = {
        ref: {phase: tree.links(one.circuit, (phase,)) for phase in one.building_phases()}
        for ref, one in connectors.items()
    }
    ways = {ref: _ways(links[ref]) for ref in connectors}
    tilt = tuple(
        (tuple(3 * index + phase for phase in circuit.phases), circuit.imbalance_ma)
        for index, circuit in enumerate(tree.circuits)
        if circuit.imbalance_ma is not None
    )
    return Plant(tree, connectors, links, ways, tilt, float(site.ocpp.limit_duration_s))


def _ways(links: Mapping[int, tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, ...]]:
    return {
        phases: tuple(link for phase in phases for link in links[phase])
        for count in range(1, len(links) + 1)
        for phases in combinations(links, count)
    }


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the edge gathered: samples oldest first, on the building's phases, times site-monotonic."""

    now_s: float
    connectors: tuple[ConnectorState, ...]
    draws: Mapping[ConnectorRef, tuple[Sample, ...]]
    totals: Mapping[str, tuple[Sample, ...]]
    answers: tuple[Answer, ...] = ()


class Standing(NamedTuple):
    """How one connector counts now. `role`: idle, leaving, lost, claim, disobedient, unanswered.

    `draw`: None = not known; `told_ma`: what the book alone says (None: as counted). A tuple, as whatever is made anew
    for every connector in every tick.
    """

    state: ConnectorState
    role: str
    phases: tuple[int, ...]
    counted_ma: int
    draw: PhaseMa | None
    grant: Grant | None = None
    told_ma: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What one tick hands to the next."""

    started_s: float
    cars: Mapping[ConnectorRef, Car] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    raised: tuple[Raised, ...] = ()
    connected: frozenset[ConnectorRef] = frozenset()
    seen: frozenset[ConnectorRef] = frozenset()
    told: frozenset[str] = frozenset()
    strays: Mapping[ConnectorRef, float] = field(default_factory=dict)
    """Since when a connector without a transaction draws more than its fallback."""
    standings: tuple[Standing, ...] = ()
    rooms: tuple[Room, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The next state, and what to send, in this order."""

    state: State
    commands: tuple[Command, ...]


def step(plant: Plant, state: State, inputs: Inputs) -> Outcome:
    """One tick: learn, count, share, pace."""
    newest = {ref: _newest(samples, inputs.now_s) for ref, samples in inputs.draws.items()}
    cars = _cars(plant, state, inputs, newest)
    standings = [
        _standing(plant, state, one, cars.get(one.ref), newest.get(one.ref), inputs.now_s) for one in inputs.connectors
    ]
    nodes, rooms = _rooms(plant, state, standings, inputs)
    connected = frozenset([one.ref for one in inputs.connectors if one.connected])
    learned = partial(
        State,
        state.started_s,
        nodes=nodes,
        connected=connected,
        seen=state.seen | connected,
        told=state.told,
        strays=state.strays,
        rooms=rooms,
    )
    if _awaits_meters(plant, state, inputs):
        return Outcome(learned(raised=state.raised, standings=tuple(standings)), ())
    reserved, taken = _load(plant, standings, cars)
    keep, fill = _flat([one.keep for one in rooms]), _flat([one.fill for one in rooms])
    claims = [
        cars_of.claim(
            cars[one.state.ref],
            plant.connectors[one.state.ref],
            plant.ways[one.state.ref][one.phases],
            one.state.csms_limit_ma,
            inputs.now_s,
            one_sided=len(one.phases) < 3,
        )
        for one in standings
        if one.role == "claim"
    ]
    plan = allocate(
        Snapshot(
            inputs.now_s,
            tuple(claims),
            _beside(keep, reserved),
            _beside(fill, reserved),
            plant.tilt,
        )
    )
    for ref, grant in plan.grants.items():
        cars[ref] = cars_of.turned(cars[ref], grant, inputs.now_s)
    standings = [_granted(one, plan.grants[one.state.ref]) if one.role == "claim" else one for one in standings]
    seats = [
        _seat(plant, state, one, cars[one.state.ref], inputs.now_s)
        for one in standings
        if one.role in ("claim", "disobedient", "unanswered", "leaving")
    ]
    careful = _without(fill, _unknown(plant, state, standings, cars, inputs.now_s))
    bounds = Bounds(tuple(taken), _flat([one.booked for one in rooms]), careful)
    paced = pace(seats, bounds, state.raised, inputs.now_s, plant.duration_s)
    cars.update(paced.cars)
    return Outcome(learned(cars=cars, raised=paced.raised, standings=tuple(standings)), paced.commands)


def _awaits_meters(plant: Plant, state: State, inputs: Inputs) -> bool:
    """Just started, and meters not read yet: nobody is stopped for that, the boxes hold what they held.

    Who draws when we begin to look has the turn, so the cars are judged only when their meters are known.
    """
    if inputs.now_s - state.started_s >= OLD_S:
        return False
    circuits = any(one.meter is not None and not inputs.totals.get(one.id) for one in plant.tree.circuits)
    return circuits or any(
        one.transaction_id is not None and plant.connectors[one.ref].meter is not None and not inputs.draws.get(one.ref)
        for one in inputs.connectors
    )


def _newest(samples: tuple[Sample, ...], now_s: float) -> Sample | None:
    return samples[-1] if samples and now_s - samples[-1].at_s <= DRAW_KEPT_S else None


def _cars(
    plant: Plant, state: State, inputs: Inputs, newest: Mapping[ConnectorRef, Sample | None]
) -> dict[ConnectorRef, Car]:
    """The running transactions, with the answers and the newest samples learned."""
    answers = {answer.ref: answer for answer in inputs.answers}
    cars: dict[ConnectorRef, Car] = {}
    for one in inputs.connectors:
        connector = plant.connectors.get(one.ref)
        if one.transaction_id is None or connector is None:
            continue
        sample = newest.get(one.ref)
        car = state.cars.get(one.ref)
        if car is None or car.book.transaction != one.transaction_id:
            car = cars_of.begin(one.transaction_id, connector, sample, inputs.now_s)
        book = car.book
        if (answer := answers.get(one.ref)) is not None:
            alone_ma = _alone(state, one, connector, car, sample, inputs.now_s)
            book = books.answered(book, answer, alone_ma, plant.duration_s)
        if not one.connected and one.ref in state.connected:
            book = books.lost(book)
        book = books.pruned(book, inputs.now_s)
        # Cars and books are values: what learned nothing new goes on as the same object.
        car = car if book is car.book else replace(car, book=book)
        cars[one.ref] = cars_of.observe(car, connector, sample, inputs.now_s)
    return cars


def _alone(
    state: State, one: ConnectorState, connector: Connector, car: Car | None, newest: Sample | None, now_s: float
) -> int:
    """What the connector may draw where no limit of ours governs that we know of.

    A fallback that was never proven counts with the connector's maximum, once the charger is lost, or has run for a
    while without a limit. A car that draws has at least the minimum on offer: after our start it may hold what we
    gave it before.
    """
    offered_ma = cars_of.offered_ma(connector, newest) if car is not None else 0
    if one.fallback_proven:
        return max(connector.fallback_ma, offered_ma)
    if one.connected:
        early = car is None or now_s - car.began_s < BEGIN_S
    else:
        early = one.ref not in state.seen and now_s - state.started_s < GRACE_S
    return max(connector.fallback_ma, offered_ma) if early else connector.max_ma


def _standing(
    plant: Plant, state: State, one: ConnectorState, car: Car | None, newest: Sample | None, now_s: float
) -> Standing:
    connector = plant.connectors[one.ref]
    draw = None if newest is None else newest.ma
    alone_ma = _alone(state, one, connector, car, newest, now_s)
    every = connector.building_phases()
    if car is None:
        return Standing(one, "idle" if one.connected else "lost", every, alone_ma, draw)
    counted_ma = books.counted(car.book, now_s, alone_ma, newest)
    told_ma = counted_ma
    if draw is None:
        counted_ma = max(counted_ma, cars_of.unseen_ma(car))
    if not one.connected:
        # Its car may have left: where nobody reads it, nothing says that it draws anything.
        return Standing(one, "lost", every, counted_ma, draw, told_ma=told_ma if draw is not None else 0)
    gone = one.status in CAR_GONE
    if gone:
        # Its stop is on the way: the next car may begin under the fallback, on every phase. What is drawn counts too.
        counted_ma = alone_ma if draw is not None else max(counted_ma, alone_ma)
    if car.disobedient:
        # Without a reading it still draws what it drew: a silent meter does not make a car obey.
        return Standing(one, "disobedient", every, max(counted_ma, car.over_ma) if draw is None else counted_ma, draw)
    if gone:
        return Standing(one, "leaving", every, counted_ma, draw)
    if books.unsteered(car.book, now_s):
        return Standing(one, "unanswered", every, counted_ma, draw)
    return Standing(one, "claim", cars_of.phases(car, connector, now_s), counted_ma, draw, told_ma=told_ma)


def _seat(plant: Plant, state: State, one: Standing, car: Car, now_s: float) -> Seat:
    """Where the car stands. One that did not answer, or leaves, is asked for the same: the plan is not made for it."""
    stays = one.role in ("unanswered", "leaving")
    grant = Grant(car.book.wanted_ma or 0, one.role) if stays else one.grant
    ref = one.state.ref
    drawn_ma = 0 if one.draw is None else max(one.draw)
    unsure_ma = _unsure_ma(plant, state, one, car, now_s)
    return Seat(plant.connectors[ref], car, plant.ways[ref][one.phases], one.counted_ma, grant, drawn_ma, unsure_ma)


def _most(one: Standing) -> PhaseMa:
    """What a connector that nobody reads is taken to draw where the house is reckoned as the rest of a total: not more
    than it was told, and nothing where its link is lost too. What it is reserved must not make the house smaller."""
    ma, on = one.counted_ma if one.told_ma is None else one.told_ma, one.phases
    return ma if 0 in on else 0, ma if 1 in on else 0, ma if 2 in on else 0


def _rooms(
    plant: Plant, state: State, standings: list[Standing], inputs: Inputs
) -> tuple[tuple[Node, ...], tuple[Room, ...]]:
    draws = {
        one.state.ref: Draw(inputs.draws.get(one.state.ref, ()), _most(one), _charging(one.state)) for one in standings
    }
    nodes: list[Node] = []
    rooms: list[Room] = []
    for index, circuit in enumerate(plant.tree.circuits):
        before = state.nodes[index] if state.nodes else Node()
        # Without a meter of its own there is nothing to take them off from.
        metered = plant.tree.below[index] if circuit.meter is not None else ()
        below = [draws[one.ref] for one in metered if one.ref in draws]
        samples = inputs.totals.get(circuit.id, ())
        node, found = room(before, circuit, plant.tree.worst_ma[index], samples, below, inputs.now_s)
        nodes.append(node)
        rooms.append(found)
    return tuple(nodes), tuple(rooms)


def _charging(one: ConnectorState) -> bool:
    """Whether an unmeasured connector is to be taken as drawing what it may."""
    return one.transaction_id is not None and not one.status.startswith("Suspended")


def _load(plant: Plant, standings: list[Standing], cars: Mapping[ConnectorRef, Car]) -> tuple[list[int], list[int]]:
    """Per link: what is reserved for connectors that are not shared out, and what all of them may draw now.

    What is measured above the limit counts too: all of it for the sum, and as a reservation. A car that may still be
    following is reserved the tolerance, since the electronics of cars and boxes are not exact. A box draws on every
    phase that it is connected to, also where its car draws nothing, and also while nobody reads its meter.
    """
    reserved = [0] * plant.tree.size
    taken = [0] * plant.tree.size
    for one in standings:
        ref = one.state.ref
        standby_ma = STANDBY_MA if one.draw is None and plant.connectors[ref].meter is not None else 0
        draw, claims = one.draw or ZERO, one.role == "claim"
        follows = ref not in cars or not cars[ref].late
        for phase, links in plant.links[ref].items():
            counted_ma = one.counted_ma if phase in one.phases else 0
            most_ma = max(counted_ma + standby_ma, draw[phase])
            if not most_ma:
                continue
            own_ma = most_ma - counted_ma if claims else most_ma
            if claims and follows and own_ma > EXCESS_MA:
                own_ma = EXCESS_MA
            for link in links:
                reserved[link] += own_ma
                taken[link] += most_ma
    return reserved, taken


def _unknown(
    plant: Plant, state: State, standings: list[Standing], cars: Mapping[ConnectorRef, Car], now_s: float
) -> list[int]:
    """Per link: what connectors may draw beyond what they count with. Nobody is reduced for it, but nothing
    rises into it either."""
    unknown = [0] * plant.tree.size
    for one in standings:
        ref = one.state.ref
        unsure_ma = _unsure_ma(plant, state, one, cars.get(ref), now_s)
        for phase in one.phases if unsure_ma else ():
            for link in plant.links[ref][phase]:
                unknown[link] += unsure_ma
    return unknown


def _unsure_ma(plant: Plant, state: State, one: Standing, car: Car | None, now_s: float) -> int:
    """What a connector may draw beyond what it counts with: again, having disobeyed a moment ago; by its fallback where
    it does not answer, as the end of its transaction would not be heard either; or by a limit of before our start, of
    which a car that draws little may use all at any moment. That ends by itself, at the latest `duration_s` after our
    start."""
    if car is not None and (again_ma := cars_of.again_ma(car)) > one.counted_ma:
        return again_ma - one.counted_ma
    if one.role == "unanswered":
        return max(0, plant.connectors[one.state.ref].fallback_ma - one.counted_ma)
    over = now_s - state.started_s >= plant.duration_s
    if over or car is None or car.book.met or car.began_s - state.started_s > OLD_S:
        return 0
    return max(0, plant.connectors[one.state.ref].max_ma - one.counted_ma)


def _granted(one: Standing, grant: Grant) -> Standing:
    return Standing(one.state, one.role, one.phases, one.counted_ma, one.draw, grant, one.told_ma)


def _without(room: tuple[int, ...], unknown: list[int]) -> tuple[int, ...]:
    return tuple(map(sub, room, unknown))


def _beside(room: tuple[int, ...], reserved: list[int]) -> tuple[int, ...]:
    """What is left of the room beside the reservations, never less than nothing."""
    return tuple([own if own > 0 else 0 for own in map(sub, room, reserved)])


def _flat(currents: list[PhaseMa]) -> tuple[int, ...]:
    return tuple(chain.from_iterable(currents))
