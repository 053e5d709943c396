"""Pure: the raw tables of a site file -> one checked model per table; a table that is wrong hides no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from gateway.site_text.grammar import (
    BusTable,
    CalendarTable,
    ChargerTable,
    CircuitTable,
    CloudTable,
    ConnectorKeys,
    MeterTable,
    MultiBoxTable,
    OccupancyTable,
    OcppTable,
    ParticipantTable,
    SingleBoxTable,
    SiteTable,
    SplitTable,
    Table,
    TariffFileTable,
    TokenTable,
    UpstreamTable,
)
from gateway.site_text.names import Raw, entries
from gateway.site_text.problems import Findings, nearest
from gateway.site_text.toml_places import Path

M = TypeVar("M", bound=Table)

SINGLE = ("site", "ocpp", "split", "tariff", "cloud")
ARRAYS = ("upstream", "circuit", "bus", "meter", "charger", "participant", "occupancy", "token")


@dataclass
class Tables:
    """The tables that are right in themselves; arrays by their position in the file."""

    site: SiteTable | None = None
    ocpp: OcppTable | None = None
    split: SplitTable | None = None
    tariff: TariffFileTable | CalendarTable | None = None
    cloud: CloudTable | None = None
    upstreams: dict[int, UpstreamTable] = field(default_factory=dict)
    circuits: dict[int, CircuitTable] = field(default_factory=dict)
    buses: dict[int, BusTable] = field(default_factory=dict)
    meters: dict[int, MeterTable] = field(default_factory=dict)
    chargers: dict[int, SingleBoxTable | MultiBoxTable] = field(default_factory=dict)
    participants: dict[int, ParticipantTable] = field(default_factory=dict)
    occupancies: dict[int, OccupancyTable] = field(default_factory=dict)
    tokens: dict[int, TokenTable] = field(default_factory=dict)
    named_meters: frozenset[str] = frozenset()
    """Meters that a charger or participant names whose own table is wrong: they are not blamed for it."""
    named_roles: frozenset[str] = frozenset()
    """Roles that all [[meter]] tables name, also those that are wrong in something else."""

    def connectors(self) -> list[tuple[Path, ChargerTable, int, ConnectorKeys]]:
        """(path, charger, number of the connector, its keys), in the order of the file."""
        found: list[tuple[Path, ChargerTable, int, ConnectorKeys]] = []
        for number, charger in self.chargers.items():
            if isinstance(charger, SingleBoxTable):
                found.append((("charger", number), charger, 1, charger))
                continue
            for position, connector in enumerate(charger.connector):
                found.append((("charger", number, "connector", position), charger, connector.id, connector))
        return found


def read_tables(raw: Raw, findings: Findings) -> Tables:
    """Check every table for itself."""
    _check_outline(raw, findings)
    tables = Tables(
        site=_one(raw, "site", SiteTable, findings),
        ocpp=_one(raw, "ocpp", OcppTable, findings) if "ocpp" in raw else OcppTable(),
        split=_one(raw, "split", SplitTable, findings) if "split" in raw else SplitTable(),
        cloud=_one(raw, "cloud", CloudTable, findings),
        upstreams=_many(raw, "upstream", UpstreamTable, findings),
        circuits=_many(raw, "circuit", CircuitTable, findings),
        buses=_many(raw, "bus", BusTable, findings),
        meters=_many(raw, "meter", MeterTable, findings),
        participants=_many(raw, "participant", ParticipantTable, findings),
        occupancies=_many(raw, "occupancy", OccupancyTable, findings),
        tokens=_many(raw, "token", TokenTable, findings),
    )
    tariff = raw.get("tariff")
    if isinstance(tariff, dict):
        if "file" in tariff:
            for key in tariff.keys() - {"file", "then"}:
                findings.add(("tariff", key), "belongs into the file of the tariff where one is named")
            known = {key: tariff[key] for key in ("file", "then") if key in tariff}
            tables.tariff = validate(TariffFileTable, known, ("tariff",), findings)
        else:
            tables.tariff = validate(CalendarTable, tariff, ("tariff",), findings)
    for number, entry in entries(raw, "charger"):
        charger = _charger(number, entry, findings)
        if charger is not None:
            tables.chargers[number] = charger
    tables.named_roles = _texts((entry for _, entry in entries(raw, "meter")), "role")
    tables.named_meters = _texts(_owners(raw, tables), "meter")
    return tables


def _owners(raw: Raw, tables: Tables) -> Iterator[Raw]:
    """The tables that may name a meter as theirs, of those that are wrong in themselves."""
    for number, entry in entries(raw, "charger"):
        if number not in tables.chargers:
            yield entry
            yield from (connector for _, connector in entries(entry, "connector"))
    yield from (entry for number, entry in entries(raw, "participant") if number not in tables.participants)


def _texts(found: Iterable[Raw], key: str) -> frozenset[str]:
    return frozenset(value for entry in found if isinstance(value := entry.get(key), str))


def validate(model: type[M], raw: Mapping[str, Any], path: Path, findings: Findings) -> M | None:
    """One table; None where something is wrong, which `findings` then holds."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        findings.add_invalid(path, model, error)
        details = error.errors(include_url=False)
    unknown = {
        detail["loc"][0] for detail in details if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1
    }
    if len(unknown) == len(details):  # what the known keys say together is worth a look all the same
        validate(model, {key: value for key, value in raw.items() if key not in unknown}, path, findings)
    return None


def _check_outline(raw: Raw, findings: Findings) -> None:
    """Which tables there are, and that each is a table or an array of tables, as it must be."""
    for name, value in raw.items():
        if name not in SINGLE and name not in ARRAYS:
            findings.add((name,), "is not a known table", nearest(name, (*SINGLE, *ARRAYS)))
        elif name in SINGLE and not isinstance(value, dict):
            findings.add((name,), f"must be one table: write [{name}]")
        elif name in ARRAYS and not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
            findings.add((name,), f"may stand several times: write [[{name}]] with two brackets")
    for name, why in (
        ("site", "it says which site this is"),
        ("circuit", "without its fuse nothing may charge"),
        ("tariff", "without it grid energy has no class"),
    ):
        if name not in raw:
            findings.add((), f"has no [{name}]" if name in SINGLE else f"has no [[{name}]]", why)


def _one(raw: Raw, name: str, model: type[M], findings: Findings) -> M | None:
    table = raw.get(name)
    return validate(model, table, (name,), findings) if isinstance(table, dict) else None


def _many(raw: Raw, name: str, model: type[M], findings: Findings) -> dict[int, M]:
    read = {number: validate(model, entry, (name, number), findings) for number, entry in entries(raw, name)}
    return {number: table for number, table in read.items() if table is not None}


def _charger(number: int, entry: Raw, findings: Findings) -> SingleBoxTable | MultiBoxTable | None:
    path: Path = ("charger", number)
    if "connector" not in entry:
        return validate(SingleBoxTable, entry, path, findings)
    misplaced = [key for key in entry if key in ConnectorKeys.model_fields]
    for key in misplaced:
        findings.add((*path, key), "belongs into each [[charger.connector]] where there are such tables")
    own = {key: value for key, value in entry.items() if key not in misplaced}
    return validate(MultiBoxTable, own, path, findings)
