"""Pure: what a tick is given, and what it hands to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.load.admission import Claim
from gateway.load.allocate import Plan
from gateway.load.books import Answer
from gateway.load.capacity import Node, Room
from gateway.load.car import Car
from gateway.load.foreign import Draw, Sample
from gateway.load.pacing import Raised
from gateway.load.plant import Spot
from gateway.model import ConnectorRef, ConnectorState, PhaseMa


class Inputs(NamedTuple):
    """What the edge gathered: samples oldest first, on the building's phases, times site-monotonic. A connector that
    the plant does not know is left out."""

    now_s: float
    connectors: tuple[ConnectorState, ...]
    draws: Mapping[ConnectorRef, tuple[Sample, ...]]
    totals: Mapping[str, tuple[Sample, ...]]
    answers: tuple[Answer, ...] = ()


class Standing(NamedTuple):
    """How one connector counts now. `role`: idle, leaving, lost, claim, disobedient, unanswered.

    `draw`: what it was last seen to draw, None = not known; `known`: that and more, as the house is reckoned with it;
    `reserved` and `taken`: what is kept for it beside the plan, and what it may draw now, on the building's phases;
    `car`: what was learned of its car, None without a transaction; `claim`: what it asks of the plan, if it is a claim.
    `until_s`: the same holds at each look before that instant, while nothing new is told of the connector and its car.
    """

    state: ConnectorState
    spot: Spot
    role: str
    phases: tuple[int, ...]
    counted_ma: int
    draw: PhaseMa | None
    known: Draw
    reserved: PhaseMa
    taken: PhaseMa
    car: Car | None
    claim: Claim | None
    until_s: float


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
    standings: Mapping[ConnectorRef, Standing] = field(default_factory=dict)
    rooms: tuple[Room, ...] = ()
    plan: Plan | None = None
    """What was granted in this tick; None while nobody is judged yet."""
