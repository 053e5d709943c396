"""Pure: what the operator is told: each condition once when it begins, and once when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.load.books import TOLERANCE_MA
from gateway.load.capacity import Node, Sight
from gateway.load.circuits import amperes
from gateway.load.foreign import ZERO
from gateway.load.plant import Plant
from gateway.load.state import Standing, State
from gateway.model import ConnectorRef, Event, LimitOutcome, Severity

QUIET_S = 60.0
"""After our start meters and chargers appear one by one; nothing is called lost before this."""
STRAY_S = 30.0
"""A car without a transaction is given as long as one that has a limit."""
HIGH_S = 60.0
HIGH_PERCENT = 110


def notices(plant: Plant, state: State, now_s: float) -> tuple[State, list[Event]]:
    """The events of this tick, and the state that remembers what was told."""
    nodes = _high(plant, state, now_s)
    if nodes != state.nodes:
        state = replace(state, nodes=nodes)
    strays = _strays(state, now_s)
    if strays != state.strays:
        state = replace(state, strays=strays)
    found = dict(_conditions(plant, state, now_s))
    if found.keys() == state.told:
        return state, []
    events = [event for key, event in found.items() if key not in state.told]
    events += [_over(key) for key in sorted(state.told - found.keys())]
    return replace(state, told=frozenset(found)), events


def _high(plant: Plant, state: State, now_s: float) -> tuple[Node, ...]:
    nodes = []
    for circuit, node, room in zip(plant.tree.circuits, state.nodes, state.rooms, strict=True):
        high = room.load is not None and max(room.load) * 100 > circuit.limit_ma * HIGH_PERCENT
        since_s = None if not high else now_s if node.high_since_s is None else node.high_since_s
        nodes.append(node if since_s == node.high_since_s else node._replace(high_since_s=since_s))
    return tuple(nodes)


def _strays(state: State, now_s: float) -> dict[ConnectorRef, float]:
    return {
        one.state.ref: state.strays.get(one.state.ref, now_s)
        for one in state.standings.values()
        if one.role == "idle" and one.draw is not None and max(one.draw) > one.counted_ma + TOLERANCE_MA
    }


def _conditions(plant: Plant, state: State, now_s: float) -> Iterator[tuple[str, Event]]:
    for number, circuit in enumerate(plant.tree.circuits):
        node = state.nodes[number]
        room = state.rooms[number]
        if now_s - state.started_s >= QUIET_S and node.sight in (Sight.OLD, Sight.SILENT):
            yield f"meter_{node.sight}:{circuit.id}", _meter(plant, number, node.sight)
        if node.high_since_s is not None and now_s - node.high_since_s >= HIGH_S and room.load is not None:
            yield (
                f"circuit_high:{circuit.id}",
                Event(
                    "circuit_high",
                    circuit.id,
                    f"{amperes(max(room.load))} flow for a minute where {amperes(circuit.limit_ma)} are allowed, "
                    f"and the chargers are reduced as far as they obey",
                    "switch off other loads on this circuit, or correct its limit_a",
                    Severity.ERROR,
                    keep=True,
                ),
            )
    for one in state.standings.values():
        if one.role not in ("claim", "idle", "leaving"):
            yield from _charger(plant, state, one, now_s)
        elif state.strays and now_s - state.strays.get(one.state.ref, now_s) >= STRAY_S:
            yield _stray(one)


def _meter(plant: Plant, number: int, sight: Sight) -> Event:
    circuit = plant.tree.circuits[number]
    if sight is Sight.OLD:
        cause = (
            f'meter "{circuit.meter}" gave no current for 10 s: '
            f"the house counts with its worst case of {amperes(plant.tree.worst_ma[number])}"
        )
        return Event("meter_old", circuit.id, cause, "check the meter's line", Severity.WARNING)
    cause = (
        f'meter "{circuit.meter}" gave no current for 60 s: '
        f"all chargers together get at most {amperes(circuit.safe_ma)} per phase"
    )
    return Event(
        "meter_silent", circuit.id, cause, "check the meter, its address and its line", Severity.ERROR, keep=True
    )


def _charger(plant: Plant, state: State, one: Standing, now_s: float) -> Iterator[tuple[str, Event]]:
    ref = str(one.state.ref)
    if one.role == "disobedient":
        drawn = amperes(max(one.draw or (0, 0, 0)))
        cause = (
            f"it draws {drawn}, more than its limit and 1 A, 30 s after it confirmed the limit; that much is reserved"
        )
        step = "check the box's load management setting and its firmware"
        yield f"charger_disobedient:{ref}", Event("charger_disobedient", ref, cause, step, Severity.ERROR, keep=True)
    if one.role == "lost" and one.counted_ma > 0 and now_s - state.started_s >= QUIET_S:
        why = "" if one.state.fallback_proven else "; it has never proven that it holds its fallback"
        cause = f"without a connection {amperes(one.counted_ma)} stay reserved for it{why}"
        yield (
            f"charger_reserved:{ref}",
            Event("charger_reserved", ref, cause, "bring it back, or take it out of the site file", Severity.WARNING),
        )
    car = state.cars.get(one.state.ref)
    if car is not None and one.role == "unanswered":
        yield f"limit_unanswered:{ref}", _unanswered(ref, car.book.trouble, one.counted_ma)


def _stray(one: Standing) -> tuple[str, Event]:
    """Also a car whose start could not be written: no limit of ours can hold it."""
    ref = str(one.state.ref)
    cause = (
        f"it draws {amperes(max(one.draw or ZERO))} without a transaction, where its fallback allows "
        f"{amperes(one.counted_ma)}; that much is reserved"
    )
    step = "check that the box charges nobody without a card, and that it keeps its TxDefaultProfile"
    return f"charger_disobedient:{ref}", Event("charger_disobedient", ref, cause, step, Severity.ERROR, keep=True)


def _unanswered(ref: str, trouble: LimitOutcome | None, counted_ma: int) -> Event:
    what = "refused its limit" if trouble is LimitOutcome.REFUSED else "did not answer its limit"
    cause = f"it {what}: {amperes(counted_ma)} stay reserved, and the others make room"
    step = "check that the box supports Smart Charging, and that it is switched on"
    return Event("limit_unanswered", ref, cause, step, Severity.WARNING, keep=True)


_ENDED = {
    "meter_old": "the circuit's meter gives current again, or is judged anew",
    "meter_silent": "the circuit's meter gives current again",
    "circuit_high": "the current is within the limit again",
    "charger_disobedient": "it draws what it is told again",
    "charger_reserved": "it is back, or nothing is reserved for it any more",
    "limit_unanswered": "it takes its limits again",
}


def _over(key: str) -> Event:
    kind, _, subject = key.partition(":")
    return Event(f"{kind}_over", subject, _ENDED[kind], keep=kind != "meter_old" and kind != "charger_reserved")
