"""Pure: one tick of the load manager: `step(plant, state, inputs) -> Outcome`. All that it remembers is in `State`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain
from operator import sub
from typing import NamedTuple

from gateway.load import car as cars_of
from gateway.load.allocate import Grant, Plan, Snapshot, allocate
from gateway.load.capacity import Node, Room, room
from gateway.load.car import Car
from gateway.load.foreign import OLD_S
from gateway.load.pacing import Bounds, Command, Seat, pace, rests
from gateway.load.plant import Plant
from gateway.load.standing import look
from gateway.load.state import Inputs, Standing, State
from gateway.model import ConnectorRef, PhaseMa

STEERED = ("claim", "disobedient", "unanswered", "leaving")


class Outcome(NamedTuple):
    """The next state, and what to send, in this order."""

    state: State
    commands: tuple[Command, ...]


def step(plant: Plant, state: State, inputs: Inputs) -> Outcome:
    """One tick: learn, count, share, pace."""
    now_s = inputs.now_s
    by_ref = look(plant, state, inputs)
    standings = [*by_ref.values()]
    cars = {ref: one.car for ref, one in by_ref.items() if one.car is not None}
    nodes, rooms = _rooms(plant, state, by_ref, inputs)
    connected = frozenset([one.state.ref for one in standings if one.state.connected])
    learned = partial(
        State,
        state.started_s,
        nodes=nodes,
        connected=connected,
        seen=state.seen | connected,
        told=state.told,
        strays=state.strays,
        standings=by_ref,
        rooms=rooms,
    )
    if _awaits_meters(plant, state, standings, inputs):
        return Outcome(learned(raised=state.raised), ())
    reserved, taken = _load(plant, by_ref)
    keep, fill = _flat([one.keep for one in rooms]), _flat([one.fill for one in rooms])
    claims = tuple([one.claim for one in standings if one.claim is not None])
    plan = allocate(Snapshot(now_s, claims, _beside(keep, reserved), _beside(fill, reserved), plant.tilt), state.plan)
    for ref, grant in plan.grants.items():
        cars[ref] = cars_of.turned(cars[ref], grant, now_s)
    unsure_ma = _unsure(plant, state, standings, now_s)
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


def _rooms(
    plant: Plant, state: State, standings: Mapping[ConnectorRef, Standing], inputs: Inputs
) -> tuple[tuple[Node, ...], tuple[Room, ...]]:
    nodes: list[Node] = []
    rooms: list[Room] = []
    for index, circuit in enumerate(plant.tree.circuits):
        before = state.nodes[index] if state.nodes else Node()
        # Without a meter of its own there is nothing to take them off from.
        metered = plant.tree.below[index] if circuit.meter is not None else ()
        below = [standings[one.ref].known for one in metered if one.ref in standings]
        samples = inputs.totals.get(circuit.id, ())
        node, found = room(before, circuit, plant.tree.worst_ma[index], samples, below, inputs.now_s)
        nodes.append(node)
        rooms.append(found)
    return tuple(nodes), tuple(rooms)


def _load(plant: Plant, standings: Mapping[ConnectorRef, Standing]) -> tuple[list[int], list[int]]:
    """Per link: what is reserved for connectors beside what is shared out, and what all of them may draw now."""
    reserved = [0] * plant.tree.size
    taken = [0] * plant.tree.size
    for group in plant.groups:
        members = [standings[ref] for ref in group.refs if ref in standings]
        for total, currents in ((reserved, [one.reserved for one in members]), (taken, [one.taken for one in members])):
            for links, values in zip(group.links, zip(*currents, strict=True), strict=False):
                ma = sum(values)
                for link in links:
                    total[link] += ma
    return reserved, taken


def _unsure(plant: Plant, state: State, standings: list[Standing], now_s: float) -> dict[ConnectorRef, int]:
    """Of the cars of which that is so: what their connectors may draw beyond what they count with."""
    over = now_s - state.started_s >= plant.duration_s
    return {
        one.state.ref: ma
        for one in standings
        if one.car is not None and (ma := _unsure_ma(state, one, one.car, over=over))
    }


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
