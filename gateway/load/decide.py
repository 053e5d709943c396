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
from gateway.load.admission import Claim
from gateway.load.allocate import Grant, Plan, Snapshot, allocate
from gateway.load.books import Answer
from gateway.load.capacity import Node, Room, room
from gateway.load.car import Car
from gateway.load.circuits import Tree, tree_of
from gateway.load.foreign import DRAW_KEPT_S, OLD_S, ZERO, Draw, Sample
from gateway.load.pacing import Bounds, Command, Raised, Seat, pace, rests
from gateway.model import ConnectorRef, ConnectorState, PhaseMa
from gateway.site import Connector, Site

BEGIN_S = 30.0
"""A connected charger counts with its fallback for this long while the first limit of a transaction is under way."""
GRACE_S = 120.0
"""After our start chargers come back one by one; until then they hold what we gave them before, or their fallback."""
EXCESS_MA = 1000
STANDBY_MA = 50
"""What a box whose meter is not read draws itself, on top of what it offers its car (5 to 12 W are usual)."""
STEERED = ("claim", "disobedient", "unanswered", "leaving")
CAR_GONE = ("Available", "Finishing", "Preparing")
"""A connector that says so charges no car, also while we still wait for the end of its transaction to be written or
answered."""


@dataclass(frozen=True, slots=True)
class Spot:
    """What does not change of a connector. `phases`: all building phases that it loads; `links`: each of them with the
    links of that phase; `ways`: all its links by the phases on which a car there may count.
    `standby_ma` comes on top while its meter is not read."""

    connector: Connector
    phases: tuple[int, ...]
    links: tuple[tuple[int, tuple[int, ...]], ...]
    ways: Mapping[tuple[int, ...], tuple[int, ...]]
    standby_ma: int


@dataclass(frozen=True, slots=True)
class Plant:
    """What does not change: the tree, and what stands where on it."""

    tree: Tree
    spots: Mapping[ConnectorRef, Spot]
    tilt: tuple[tuple[tuple[int, ...], int], ...]
    duration_s: float


def plant_of(site: Site) -> Plant:
    """The plant of a checked site."""
    tree = tree_of(site)
    tilt = tuple(
        (tuple(3 * index + phase for phase in circuit.phases), circuit.imbalance_ma)
        for index, circuit in enumerate(tree.circuits)
        if circuit.imbalance_ma is not None
    )
    spots = {one.ref: _spot(tree, one) for one in site.connectors()}
    return Plant(tree, spots, tilt, float(site.ocpp.limit_duration_s))


def _spot(tree: Tree, connector: Connector) -> Spot:
    every = connector.building_phases()
    links = {phase: tree.links(connector.circuit, (phase,)) for phase in every}
    ways = {
        phases: tuple(link for phase in phases for link in links[phase])
        for count in range(1, len(every) + 1)
        for phases in combinations(every, count)
    }
    standby_ma = STANDBY_MA if connector.meter is not None else 0
    return Spot(connector, every, tuple(links.items()), ways, standby_ma)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the edge gathered: samples oldest first, on the building's phases, times site-monotonic. A connector that
    the plant does not know is left out."""

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
    spot: Spot
    role: str
    phases: tuple[int, ...]
    counted_ma: int
    draw: PhaseMa | None
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
    plan: Plan | None = None
    """What was granted in this tick; None while nobody is judged yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The next state, and what to send, in this order."""

    state: State
    commands: tuple[Command, ...]


def step(plant: Plant, state: State, inputs: Inputs) -> Outcome:
    """One tick: learn, count, share, pace."""
    now_s = inputs.now_s
    standings, cars = _learned(plant, state, inputs)
    nodes, rooms = _rooms(plant, state, standings, inputs)
    connected = frozenset([one.state.ref for one in standings if one.state.connected])
    learned = partial(
        State,
        state.started_s,
        nodes=nodes,
        connected=connected,
        seen=state.seen | connected,
        told=state.told,
        strays=state.strays,
        standings=tuple(standings),
        rooms=rooms,
    )
    if _awaits_meters(plant, state, standings, inputs):
        return Outcome(learned(raised=state.raised), ())
    reserved, taken = _load(plant, standings, cars)
    keep, fill = _flat([one.keep for one in rooms]), _flat([one.fill for one in rooms])
    claims = tuple([_claim(one, cars[one.state.ref], now_s) for one in standings if one.role == "claim"])
    plan = allocate(Snapshot(now_s, claims, _beside(keep, reserved), _beside(fill, reserved), plant.tilt), state.plan)
    for ref, grant in plan.grants.items():
        cars[ref] = cars_of.turned(cars[ref], grant, now_s)
    unsure_ma = _unsure(plant, state, standings, cars, now_s)
    seats = [
        _seat(one, cars[one.state.ref], plan, unsure_ma.get(one.state.ref, 0))
        for one in standings
        if one.role in STEERED and not _rests(plant, one, cars[one.state.ref], plan, now_s)
    ]
    careful = _without(fill, unsure_ma, standings) if unsure_ma else fill
    bounds = Bounds(tuple(taken), _flat([one.booked for one in rooms]), careful)
    paced = pace(seats, bounds, state.raised, now_s, plant.duration_s)
    cars.update(paced.cars)
    return Outcome(learned(cars=cars, raised=paced.raised, plan=plan), paced.commands)


def _awaits_meters(plant: Plant, state: State, standings: list[Standing], inputs: Inputs) -> bool:
    """Just started, and meters not read yet: nobody is stopped for that, the boxes hold what they held.

    Who draws when we begin to look has the turn, so the cars are judged only when their meters are known.
    """
    if inputs.now_s - state.started_s >= OLD_S:
        return False
    circuits = any(one.meter is not None and not inputs.totals.get(one.id) for one in plant.tree.circuits)
    return circuits or any(
        one.state.transaction_id is not None
        and one.spot.connector.meter is not None
        and not inputs.draws.get(one.state.ref)
        for one in standings
    )


def _learned(plant: Plant, state: State, inputs: Inputs) -> tuple[list[Standing], dict[ConnectorRef, Car]]:
    """How each connector counts, and the running transactions, with the answers and the newest samples learned."""
    answers = {answer.ref: answer for answer in inputs.answers}
    now_s = inputs.now_s
    standings: list[Standing] = []
    cars: dict[ConnectorRef, Car] = {}
    for one in inputs.connectors:
        ref = one.ref
        spot = plant.spots.get(ref)
        if spot is None:
            continue
        samples = inputs.draws.get(ref)
        newest = samples[-1] if samples and now_s - samples[-1].at_s <= DRAW_KEPT_S else None
        car = None
        if one.transaction_id is not None:
            cars[ref] = car = _car(plant, state, one, one.transaction_id, newest, answers.get(ref), now_s)
        standings.append(_standing(state, one, spot, car, newest, now_s))
    return standings, cars


def _car(
    plant: Plant,
    state: State,
    one: ConnectorState,
    transaction: int,
    newest: Sample | None,
    answer: Answer | None,
    now_s: float,
) -> Car:
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


def _standing(
    state: State, one: ConnectorState, spot: Spot, car: Car | None, newest: Sample | None, now_s: float
) -> Standing:
    connector, every = spot.connector, spot.phases
    draw = None if newest is None else newest.ma
    if (
        car is not None
        and draw is not None
        and (settled_ma := books.settled(car.book, now_s)) is not None
        and one.connected
        and one.status not in CAR_GONE
        and not car.disobedient
    ):
        # As in most seconds: it holds the one limit that can be in force, and what it draws is seen.
        return Standing(one, spot, "claim", cars_of.phases(car, every, now_s), settled_ma, draw, settled_ma)
    alone_ma = _alone(state, one, connector, car, newest, now_s)
    if car is None:
        return Standing(one, spot, "idle" if one.connected else "lost", every, alone_ma, draw)
    told_ma = counted_ma = books.counted(car.book, now_s, alone_ma, newest)
    if draw is None:
        counted_ma = max(counted_ma, cars_of.unseen_ma(car))
    if not one.connected:
        # Its car may have left: where nobody reads it, nothing says that it draws anything.
        return Standing(one, spot, "lost", every, counted_ma, draw, told_ma if draw is not None else 0)
    gone = one.status in CAR_GONE
    if gone:
        # Its stop is on the way: the next car may begin under the fallback, on every phase. What is drawn counts too.
        counted_ma = alone_ma if draw is not None else max(counted_ma, alone_ma)
    if car.disobedient:
        # Without a reading it still draws what it drew: a silent meter does not make a car obey.
        counted_ma = counted_ma if draw is not None else max(counted_ma, car.over_ma)
        return Standing(one, spot, "disobedient", every, counted_ma, draw)
    if gone:
        return Standing(one, spot, "leaving", every, counted_ma, draw)
    if books.unsteered(car.book, now_s):
        return Standing(one, spot, "unanswered", every, counted_ma, draw)
    return Standing(one, spot, "claim", cars_of.phases(car, every, now_s), counted_ma, draw, told_ma)


def _claim(one: Standing, car: Car, now_s: float) -> Claim:
    links = one.spot.ways[one.phases]
    return cars_of.claim(car, one.spot.connector, links, one.state.csms_limit_ma, now_s, one_sided=len(one.phases) < 3)


def _rests(plant: Plant, one: Standing, car: Car, plan: Plan, now_s: float) -> bool:
    if one.role != "claim":
        return False
    target_ma = plan.grants[one.state.ref].limit_ma
    return rests(car, one.spot.connector, one.counted_ma, target_ma, now_s, plant.duration_s)


def _seat(one: Standing, car: Car, plan: Plan, unsure_ma: int) -> Seat:
    """Where the car stands. One that did not answer, or leaves, is asked for the same: the plan is not made for it."""
    stays = one.role in ("unanswered", "leaving")
    grant = Grant(car.book.wanted_ma or 0, one.role) if stays else plan.grants.get(one.state.ref)
    drawn_ma = 0 if one.draw is None else max(one.draw)
    return Seat(one.spot.connector, car, one.spot.ways[one.phases], one.counted_ma, grant, drawn_ma, unsure_ma)


def _most(one: Standing) -> PhaseMa:
    """What a connector that nobody reads is taken to draw where the house is reckoned as the rest of a total: not more
    than it was told, and nothing where its link is lost too. What it is reserved must not make the house smaller."""
    ma, on = one.counted_ma if one.told_ma is None else one.told_ma, one.phases
    if len(on) == 3:
        return ma, ma, ma
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
        spot, counted_ma, phases, draw, claims = one.spot, one.counted_ma, one.phases, one.draw, one.role == "claim"
        standby_ma = spot.standby_ma if draw is None else 0
        drawn = ZERO if draw is None else draw
        car = cars.get(one.state.ref)
        follows = car is None or not car.late
        for phase, links in spot.links:
            told_ma = counted_ma if phase in phases else 0
            most_ma = told_ma + standby_ma
            if drawn[phase] > most_ma:
                most_ma = drawn[phase]
            own_ma = most_ma
            if claims:
                own_ma = most_ma - told_ma
                if follows and own_ma > EXCESS_MA:
                    own_ma = EXCESS_MA
            for link in links:
                reserved[link] += own_ma
                taken[link] += most_ma
    return reserved, taken


def _unsure(
    plant: Plant, state: State, standings: list[Standing], cars: Mapping[ConnectorRef, Car], now_s: float
) -> dict[ConnectorRef, int]:
    """Of the cars of which that is so: what their connectors may draw beyond what they count with."""
    over = now_s - state.started_s >= plant.duration_s
    unsure = {}
    for one in standings:
        car = cars.get(one.state.ref)
        if car is not None and (ma := _unsure_ma(state, one, car, over=over)):
            unsure[one.state.ref] = ma
    return unsure


def _unsure_ma(state: State, one: Standing, car: Car, *, over: bool) -> int:
    """What a connector may draw beyond what it counts with: again, having disobeyed a moment ago; by its fallback where
    it does not answer, as the end of its transaction would not be heard either; or by a limit of before our start, of
    which a car that draws little may use all at any moment. That ends by itself, at the latest `duration_s` after our
    start."""
    if (again_ma := cars_of.again_ma(car)) > one.counted_ma:
        return again_ma - one.counted_ma
    if one.role == "unanswered":
        return max(0, one.spot.connector.fallback_ma - one.counted_ma)
    if over or car.book.met or car.began_s - state.started_s > OLD_S:
        return 0
    return max(0, one.spot.connector.max_ma - one.counted_ma)


def _without(
    room: tuple[int, ...], unsure_ma: Mapping[ConnectorRef, int], standings: list[Standing]
) -> tuple[int, ...]:
    """The room without what connectors may draw beyond what they count with. Nobody is reduced for it, but nothing
    rises into it either."""
    left = list(room)
    for one in standings:
        if one.state.ref in unsure_ma:
            for link in one.spot.ways[one.phases]:
                left[link] -= unsure_ma[one.state.ref]
    return tuple(left)


def _beside(room: tuple[int, ...], reserved: list[int]) -> tuple[int, ...]:
    """What is left of the room beside the reservations, never less than nothing."""
    return tuple([own if own > 0 else 0 for own in map(sub, room, reserved)])


def _flat(currents: list[PhaseMa]) -> tuple[int, ...]:
    return tuple(chain.from_iterable(currents))
