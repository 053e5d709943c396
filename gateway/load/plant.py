"""Pure: what does not change while the gateway runs: the fuse tree, and what stands where on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from gateway.load.circuits import Tree, tree_of
from gateway.model import ConnectorRef
from gateway.site import Connector, Site

STANDBY_MA = 50
"""What a box whose meter is not read draws itself, on top of what it offers its car (5 to 12 W are usual)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """What does not change of a connector. `phases`: all building phases that it loads; `ways`: its links by those on
    which a car there may count. `standby_ma` comes on top while its meter is not read."""

    connector: Connector
    phases: tuple[int, ...]
    ways: Mapping[tuple[int, ...], tuple[int, ...]]
    standby_ma: int


@dataclass(frozen=True, slots=True)
class Group:
    """The connectors of one circuit, and for each phase the links that their current passes."""

    refs: tuple[ConnectorRef, ...]
    links: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Plant:
    """What does not change: the tree, and what stands where on it."""

    tree: Tree
    spots: Mapping[ConnectorRef, Spot]
    groups: tuple[Group, ...]
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
    groups = tuple(_group(tree, site, circuit.id) for circuit in tree.circuits)
    return Plant(tree, spots, groups, tilt, float(site.ocpp.limit_duration_s))


def _group(tree: Tree, site: Site, circuit: str) -> Group:
    refs = tuple(one.ref for one in site.connectors() if one.circuit == circuit)
    return Group(refs, tuple(tree.links(circuit, (phase,)) for phase in range(3)))


def _spot(tree: Tree, connector: Connector) -> Spot:
    every = connector.building_phases()
    links = {phase: tree.links(connector.circuit, (phase,)) for phase in every}
    ways = {
        phases: tuple(link for phase in phases for link in links[phase])
        for count in range(1, len(every) + 1)
        for phases in combinations(every, count)
    }
    standby_ma = STANDBY_MA if connector.meter is not None else 0
    return Spot(connector, every, ways, standby_ma)
