"""Pure: what must fit between the tables of a site file: phases, meters and their owners, cards and tenants in time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from gateway.site_text.grammar import CircuitTable, OccupancyTable
from gateway.site_text.problems import Findings
from gateway.site_text.tables import Tables
from gateway.site_text.toml_places import Path


def check_whole(tables: Tables, findings: Findings) -> None:
    """Every rule that looks at more than one table. It assumes nothing: names of nothing are skipped here."""
    _check_phases(tables, findings)
    _check_lines(tables, findings)
    _check_meter_owners(tables, findings)
    _check_participants(tables, findings)
    _check_occupancies(tables, findings)
    _check_upstreams(tables, findings)


def connector_phases(rotation: tuple[int, ...] | None, phases: int | None) -> tuple[tuple[int, ...], int]:
    """Rotation over all three building phases, and how many of them the connector has."""
    named = rotation if rotation is not None else (0, 1, 2)
    count = phases if phases is not None else len(named)
    return (*named, *(phase for phase in (0, 1, 2) if phase not in named)), count


def _check_phases(tables: Tables, findings: Findings) -> None:
    circuits = {circuit.id: circuit for circuit in tables.circuits.values()}
    for number, circuit in tables.circuits.items():
        parent = circuits.get(circuit.parent or "")
        if parent is not None and not set(circuit.phases) <= set(parent.phases):
            findings.add(("circuit", number, "phases"), f'has phases that its parent "{parent.id}" does not have')
        if circuit.safe_a is not None and circuit.safe_a > limit_ma(circuit):
            findings.add(("circuit", number, "safe_a"), "must be at most the limit of the circuit")
    for path, _, _, connector in tables.connectors():
        carrier = circuits.get(connector.circuit)
        rotation, count = connector_phases(connector.rotation, connector.phases)
        if carrier is None:
            continue
        missing = [f"L{phase + 1}" for phase in rotation[:count] if phase not in carrier.phases]
        if missing:
            findings.add(
                (*path, "rotation"),
                f'uses {", ".join(missing)}, which "{carrier.id}" does not have',
                "say how the box is wired with rotation and phases",
            )
        if connector.min_a > limit_ma(carrier):
            findings.add(
                (*path, "min_a"), f'is above the limit of the circuit "{carrier.id}": nobody could ever charge'
            )


def limit_ma(circuit: CircuitTable) -> int:
    """The limit we keep to. An SLS trips from 1.05 In on: 0.95 In leaves its slack (VDE 0641-21)."""
    if circuit.limit_a is not None:
        return circuit.limit_a
    return circuit.fuse_a * (950 if circuit.fuse == "SLS" else 1000)


def _check_lines(tables: Tables, findings: Findings) -> None:
    """One owner per line, one meter per address."""
    lines: dict[object, str] = {}
    for number, bus in tables.buses.items():
        line = bus.device or (bus.host, bus.port or 502)
        if line in lines:
            findings.add(("bus", number), f'is the same line as the bus "{lines[line]}"', "put its meters on that bus")
        lines.setdefault(line, bus.id)
    units: dict[tuple[str, int], str] = {}
    for number, meter in tables.meters.items():
        other = units.setdefault((meter.bus, meter.unit), meter.id)
        if other != meter.id:
            findings.add(("meter", number, "unit"), f'is already the unit of the meter "{other}" on this bus')


def _check_meter_owners(tables: Tables, findings: Findings) -> None:
    """A meter that bills somebody bills one, and none measures for nobody (I6b)."""
    roles = {meter.id: meter.role for meter in tables.meters.values()}
    owners: dict[str, str] = {}
    uses: list[tuple[Path, str | None, str, str]] = [
        (path, connector.meter, "charger", f"{charger.id}/{number}")
        for path, charger, number, connector in tables.connectors()
    ]
    uses += [(("participant", n), part.meter, "participant", part.id) for n, part in tables.participants.items()]
    for path, name, role, owner in uses:
        if name is None or name not in roles:
            continue
        if roles[name] != role:
            findings.add((*path, "meter"), f'the meter "{name}" has the role "{roles[name]}", here it needs "{role}"')
        elif name in owners:
            findings.add((*path, "meter"), f'the meter "{name}" already measures {owners[name]}')
        owners.setdefault(name, owner)
    grid = [meter.id for meter in tables.meters.values() if meter.role == "grid"]
    _check_balance(tables, findings, has_grid=bool(grid))
    for number, meter in tables.meters.items():
        if meter.role == "grid" and meter.id != grid[0]:
            findings.add(("meter", number, "role"), f'there is already a grid meter, "{grid[0]}"')
        if meter.role in ("charger", "participant") and meter.id not in owners and meter.id not in tables.named_meters:
            where = "a connector" if meter.role == "charger" else "a participant"
            findings.add(("meter", number, "role"), f"measures nobody: {where} must name it as its meter")


def _check_balance(tables: Tables, findings: Findings, *, has_grid: bool) -> None:
    """Whoever splits the sun by the meters of the house needs the one at its connection."""
    if has_grid or "grid" in tables.named_roles or tables.split is None or tables.split.balance != "meter":
        return
    for number, meter in tables.meters.items():
        if meter.role in ("production", "battery"):
            findings.add(
                ("meter", number, "role"),
                'its sun cannot be split: no meter has role = "grid"',
                'add the meter at the house connection, or set balance = "virtual" in [split]',
            )
            return


def _check_participants(tables: Tables, findings: Findings) -> None:
    kinds = {part.id: part.kind for part in tables.participants.values()}
    for path, _, _, connector in tables.connectors():
        kind = kinds.get(connector.participant, "charger")
        if kind != "charger":
            findings.add(
                (*path, "participant"),
                f'"{connector.participant}" is of the kind "{kind}"',
                'a connector belongs to a participant of kind = "charger"',
            )
    rests = [number for number, part in tables.participants.items() if part.kind == "common" and part.meter is None]
    for number in rests[1:]:
        findings.add(("participant", number), "only one participant can be the common rest that no meter measures")
    if tables.split is not None:
        for name in tables.split.keys:
            if name not in kinds:
                findings.add(("split", "keys", name), "is not the id of a participant")


def _check_occupancies(tables: Tables, findings: Findings) -> None:
    by_participant: dict[str, list[tuple[int, OccupancyTable]]] = {}
    for number, occupancy in tables.occupancies.items():
        for other_number, other in by_participant.setdefault(occupancy.participant, []):
            if _overlap(occupancy, other):
                findings.add(
                    ("occupancy", number),
                    f'"{occupancy.participant}" has two tenants at once',
                    f"see line {findings.line(('occupancy', other_number))}",
                )
        by_participant[occupancy.participant].append((number, occupancy))


def _overlap(one: OccupancyTable, other: OccupancyTable) -> bool:
    return one.from_ < (other.to or date.max) and other.from_ < (one.to or date.max)


def _check_upstreams(tables: Tables, findings: Findings) -> None:
    """Two chargers must not log in at a CSMS as one."""
    for number, upstream in tables.upstreams.items():
        users = [charger.id for charger in tables.chargers.values() if upstream.id in charger.upstreams]
        if upstream.identity is not None and "{id}" not in upstream.identity and len(users) > 1:
            findings.add(("upstream", number, "identity"), f"would be the same for {_listed(users)}", "use {id} in it")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
