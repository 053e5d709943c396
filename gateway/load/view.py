"""Pure: the load manager's part of `status`."""

from __future__ import annotations

from typing import Any

from gateway.clock import iso
from gateway.load.allocate import Grant
from gateway.load.circuits import amperes
from gateway.load.plant import Plant
from gateway.load.state import Standing, State
from gateway.model import PhaseMa

_ROLES = {
    "claim": "the meter of its circuit has not been read yet",
    "idle": "no car charges; its fallback is kept free",
    "leaving": "its car has gone, the end of its transaction is still on its way; its fallback is kept free",
    "lost": "not connected; this much is reserved",
    "disobedient": "draws more than it was told; that much is reserved",
    "unanswered": "did not take its limit; the larger one is reserved",
}
_REASONS = {
    "full": "all that the box may give",
    "demand": "the car takes less than it was offered",
    "csms": "the operator's backend allows no more",
    "csms_zero": "the operator's backend allows less than the minimum",
    "start": "begins with the minimum",
    "imbalance": "the phases must not differ more",
    "waiting": "waits for its turn",
}


def status(plant: Plant, state: State, utc_ms: int) -> dict[str, Any]:
    """Amperes with one decimal, per building phase; what is not known is None."""
    return {
        "circuits": [_circuit(plant, state, number) for number in range(len(plant.tree.circuits)) if state.rooms],
        "connectors": [_connector(plant, state, one, utc_ms) for one in state.standings.values()],
    }


def _circuit(plant: Plant, state: State, number: int) -> dict[str, Any]:
    circuit, room = plant.tree.circuits[number], state.rooms[number]
    load = room.load if circuit.meter is not None else _own_load(plant, state, number)
    return {
        "id": circuit.id,
        "limit_a": circuit.limit_ma / 1000,
        "house_a": _phases(room.house),
        "load_a": _phases(load),
        "age_s": None if room.age_s is None else round(room.age_s, 1),
        "over": load is not None and max(load) > circuit.limit_ma,
        "sight": str(state.nodes[number].sight),
    }


def _own_load(plant: Plant, state: State, number: int) -> PhaseMa | None:
    """Without a meter: what our chargers on the circuit draw, where each of them is known."""
    below = {one.ref for one in plant.tree.below[number]}
    draws = [one.draw for one in state.standings.values() if one.state.ref in below]
    known = [draw for draw in draws if draw is not None]
    if len(known) < len(draws):
        return None
    return sum(draw[0] for draw in known), sum(draw[1] for draw in known), sum(draw[2] for draw in known)


def _connector(plant: Plant, state: State, one: Standing, utc_ms: int) -> dict[str, Any]:
    car = state.cars.get(one.state.ref)
    confirmed = car.book.confirmed if car is not None else None
    grant = state.plan.grants.get(one.state.ref) if state.plan is not None else None
    wait_s = grant.wait_s if grant is not None else None
    return {
        "id": str(one.state.ref),
        "limit_a": None if confirmed is None else confirmed.limit_ma / 1000,
        "reserved_a": one.counted_ma / 1000,
        "draw_a": _phases(one.draw),
        "reason": grant.reason if grant is not None else "meter" if one.role == "claim" else one.role,
        "reason_text": _ROLES[one.role] if grant is None else _text(plant, grant),
        "position": None if grant is None else grant.position,
        "until": None if wait_s is None else iso(utc_ms + round(wait_s * 1000)),
    }


def _text(plant: Plant, grant: Grant) -> str:
    if grant.link is not None:
        limit_ma = plant.tree.circuits[grant.link // 3].limit_ma
        return f"{plant.tree.name(grant.link)} is full ({amperes(limit_ma)}); it is shared"
    return _REASONS[grant.reason]


def _phases(ma: PhaseMa | None) -> list[float] | None:
    return None if ma is None else [round(value / 1000, 1) for value in ma]
