"""Pure: the fuse tree - its links, the way from a connector to the root, and what flows when the gateway is dead.

A *link* is one phase of one circuit. Links are numbered `3 * index of the circuit + phase`, so that currents per link
are plain lists. Everything is milliampere per phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.model import ConnectorRef
from gateway.site import Circuit, Connector, Site

PHASE_NAMES = ("L1", "L2", "L3")


@dataclass(frozen=True, slots=True)
class Tree:
    """The circuits of a site. `paths[id]` are the indices from circuit `id` up to the root, itself first.

    `worst_ma[i]` is the largest current of circuit i that is not ours: what its own entry says, or what one of the
    circuits below it says where that is more (a parent carries its children).
    """

    circuits: tuple[Circuit, ...]
    paths: Mapping[str, tuple[int, ...]]
    worst_ma: tuple[int, ...]
    links_of: Mapping[ConnectorRef, tuple[int, ...]]
    below: tuple[tuple[Connector, ...], ...]

    @property
    def size(self) -> int:
        """How many link numbers there are."""
        return 3 * len(self.circuits)

    def links(self, circuit: str, phases: Iterable[int]) -> tuple[int, ...]:
        """The links that a load on `phases` of `circuit` passes on its way to the root."""
        wanted = tuple(phases)
        return tuple(
            3 * index + phase
            for index in self.paths[circuit]
            for phase in wanted
            if phase in self.circuits[index].phases
        )

    def name(self, link: int) -> str:
        """`garage L2`, for texts."""
        return f"{self.circuits[link // 3].id} {PHASE_NAMES[link % 3]}"


def tree_of(site: Site) -> Tree:
    """The tree of a checked site. ValueError where a parent is missing or a circuit is its own ancestor."""
    index = {circuit.id: position for position, circuit in enumerate(site.circuits)}
    paths = {circuit.id: _path(site.circuits, index, circuit) for circuit in site.circuits}
    worst = [circuit.house_worst_ma for circuit in site.circuits]
    for circuit in site.circuits:
        for ancestor in paths[circuit.id]:
            worst[ancestor] = max(worst[ancestor], circuit.house_worst_ma)
    below: list[list[Connector]] = [[] for _ in site.circuits]
    for connector in site.connectors():
        for position in paths[connector.circuit]:
            below[position].append(connector)
    tree = Tree(site.circuits, paths, tuple(worst), {}, tuple(tuple(found) for found in below))
    links_of = {found.ref: tree.links(found.circuit, found.building_phases()) for found in site.connectors()}
    return Tree(tree.circuits, paths, tree.worst_ma, links_of, tree.below)


def _path(circuits: tuple[Circuit, ...], index: Mapping[str, int], circuit: Circuit) -> tuple[int, ...]:
    path = [index[circuit.id]]
    while (parent := circuits[path[-1]].parent) is not None:
        if parent not in index:
            raise ValueError(f'circuit "{circuits[path[-1]].id}": its parent "{parent}" does not exist')
        if index[parent] in path:
            raise ValueError(f'circuit "{circuit.id}" is its own ancestor (through "{parent}")')
        path.append(index[parent])
    return tuple(path)


def amperes(ma: int) -> str:
    """Milliampere for people: `6.0 A`."""
    return f"{ma / 1000:.1f} A"


def problems_when_alone(site: Site) -> list[str]:
    """Where the fallbacks do not fit beside the house's worst case (design rule 8); one sentence each.

    Counted per circuit and phase, with the rotation of each connector, everything below a circuit included.
    """
    tree = tree_of(site)
    return [
        problem
        for index, circuit in enumerate(tree.circuits)
        for phase in circuit.phases
        if (problem := _problem(tree, index, phase)) is not None
    ]


def _problem(tree: Tree, index: int, phase: int) -> str | None:
    circuit = tree.circuits[index]
    loads = [one for one in tree.below[index] if phase in one.building_phases() and one.fallback_ma > 0]
    chargers_ma = sum(one.fallback_ma for one in loads)
    worst_ma = tree.worst_ma[index]
    limit_ma = min(circuit.limit_ma, circuit.fuse_a * 1000)
    over_ma = chargers_ma + worst_ma - limit_ma
    if over_ma <= 0:
        return None
    where = f'circuit "{circuit.id}", {PHASE_NAMES[phase]}'
    if not loads:
        return (
            f"{where}: the rest of the house may draw {amperes(worst_ma)}, more than the limit of {amperes(limit_ma)}. "
            f"Correct house_worst_a, limit_a or fuse_a of this circuit."
        )
    names = ", ".join(f"{one.ref} {amperes(one.fallback_ma)}" for one in loads)
    return (
        f"{where}: without the gateway the chargers may draw {amperes(chargers_ma)} ({names}) beside "
        f"{amperes(worst_ma)} of the house, {amperes(chargers_ma + worst_ma)} in sum, but the limit is "
        f"{amperes(limit_ma)}. Take {amperes(over_ma)} away: set fallback_a of one or more of them to 0, "
        f"or state a smaller house_worst_a if it is too high."
    )


def alone_report(site: Site) -> list[str]:
    """Who may still charge, and with how much, when the gateway is away; then what each circuit carries at most."""
    tree = tree_of(site)
    lines = [_alone(connector) for connector in site.connectors()]
    for index, circuit in enumerate(tree.circuits):
        sums = [
            f"{PHASE_NAMES[phase]} {amperes(_fallbacks(tree, index, phase) + tree.worst_ma[index])}"
            for phase in circuit.phases
        ]
        lines.append(
            f'circuit "{circuit.id}": at most {", ".join(sums)} of {amperes(circuit.limit_ma)}, '
            f"{amperes(tree.worst_ma[index])} of it for the rest of the house"
        )
    return lines


def _fallbacks(tree: Tree, index: int, phase: int) -> int:
    return sum(one.fallback_ma for one in tree.below[index] if phase in one.building_phases())


def _alone(connector: Connector) -> str:
    if connector.fallback_ma == 0:
        return f"{connector.ref}: does not charge without the gateway (fallback_a = 0)"
    phases = " ".join(PHASE_NAMES[phase] for phase in sorted(connector.building_phases()))
    return f"{connector.ref}: charges with at most {amperes(connector.fallback_ma)} on {phases}"
