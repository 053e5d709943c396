"""Pure: what the tables of a site file call one another: names that are unique, that exist, and a tree of fuses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gateway.site_text.problems import Findings, nearest
from gateway.site_text.toml_places import Path

Raw = Mapping[str, Any]

NAMED = ("upstream", "circuit", "bus", "meter", "charger", "participant", "token")
"""The arrays of tables whose entries have an id."""

REFERENCES = (
    ("circuit", "parent", "circuit"),
    ("circuit", "meter", "meter"),
    ("meter", "bus", "bus"),
    ("charger", "circuit", "circuit"),
    ("charger", "meter", "meter"),
    ("charger", "participant", "participant"),
    ("charger", "upstreams", "upstream"),
    ("participant", "meter", "meter"),
    ("occupancy", "participant", "participant"),
)
"""(table, key, table that it names); the keys of connectors are checked like those of their charger."""


def check_names(raw: Raw, findings: Findings) -> None:
    """Ids that stand twice, and names of nothing. It reads the raw tables, so a fault in one hides none in another."""
    for table in NAMED:
        _check_unique(raw, table, findings)
    for number, charger in entries(raw, "charger"):
        _check_connector_numbers(number, charger, findings)
    for table, key, named in REFERENCES:
        known = ids(raw, named)
        for path, entry in _with_connectors(raw, table):
            _check_reference(path, entry, key, named, known, findings)


def check_known(raw: Raw, table: str, key: str, known: Collection[str], what: str, findings: Findings) -> None:
    """A name of something that comes with the gateway: a meter model, a dialect."""
    for number, entry in entries(raw, table):
        name = entry.get(key)
        if isinstance(name, str) and name not in known:
            findings.add((table, number, key), f'there is no {what} "{name}"', nearest(name, known))


def check_tree(raw: Raw, findings: Findings) -> None:
    """Every circuit hangs, over however many others, on one without a parent."""
    parents = {
        entry["id"]: (number, entry.get("parent"))
        for number, entry in entries(raw, "circuit")
        if isinstance(entry.get("id"), str)
    }
    reported: set[str] = set()
    for start in parents:
        walk: list[str] = []
        name: Any = start
        while isinstance(name, str) and name in parents and name not in walk:
            walk.append(name)
            name = parents[name][1]
        if name == start and start not in reported:
            reported.update(walk)
            circle = " -> ".join([*walk, start])
            findings.add(
                ("circuit", parents[start][0], "parent"),
                f"the circuits hang in a circle: {circle}",
                "the circuit at the house connection has no parent",
            )


def entries(raw: Raw, table: str) -> Iterator[tuple[int, Raw]]:
    """The tables of an array of tables, with their positions; what is no table is reported elsewhere."""
    array = raw.get(table)
    if isinstance(array, list):
        yield from ((number, entry) for number, entry in enumerate(array) if isinstance(entry, dict))


def ids(raw: Raw, table: str) -> list[str]:
    """The ids that stand in an array of tables, also those of entries that are wrong otherwise."""
    return [entry["id"] for _, entry in entries(raw, table) if isinstance(entry.get("id"), str)]


def _check_unique(raw: Raw, table: str, findings: Findings) -> None:
    first: dict[str, Path] = {}
    for number, entry in entries(raw, table):
        name = entry.get("id")
        if not isinstance(name, str):
            continue
        # OCPP's idTag is a CiString: its case does not count.
        key = name.lower() if table == "token" else name
        path = (table, number, "id")
        if key in first:
            findings.add(
                path,
                f'there are two {table}s with the id "{name}"',
                f"the first is in line {findings.line(first[key])}",
            )
        else:
            first[key] = path


def _check_connector_numbers(number: int, charger: Raw, findings: Findings) -> None:
    seen: set[int] = set()
    for position, connector in entries(charger, "connector"):
        name = connector.get("id")
        if isinstance(name, int) and name in seen:
            findings.add(
                ("charger", number, "connector", position, "id"), f"there are two connectors with the id {name}"
            )
        elif isinstance(name, int):
            seen.add(name)


def _with_connectors(raw: Raw, table: str) -> Iterator[tuple[Path, Raw]]:
    for number, entry in entries(raw, table):
        yield (table, number), entry
        if table == "charger":
            for position, connector in entries(entry, "connector"):
                yield (table, number, "connector", position), connector


def _check_reference(path: Path, entry: Raw, key: str, named: str, known: Collection[str], findings: Findings) -> None:
    value = entry.get(key)
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and name not in known:
            hint = nearest(name, known) or f"add a [[{named}]] with this id"
            findings.add((*path, key), f'there is no {named} with the id "{name}"', hint)
