"""The site file: text in, a typed Site or all the problems out, each with its place (contract 5.2).

The walk: text -> lines -> `tables` (each for itself) -> `names`, `whole` (between them) -> `build`, all in `site_text`.
Whether the fallback currents fit is the load manager's knowledge; `check` adds it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.site import Site, Tariff
from gateway.site_text.build import build_site
from gateway.site_text.grammar import CalendarTable, TariffFileTable
from gateway.site_text.names import check_known, check_names, check_tree
from gateway.site_text.problems import Findings, Problem, SiteProblems, nearest
from gateway.site_text.tables import Tables, read_tables, validate
from gateway.site_text.tariff import build_tariff, followed
from gateway.site_text.toml_places import Path as TomlPath
from gateway.site_text.toml_places import Places
from gateway.site_text.whole import check_whole

__all__ = ["Problem", "SiteProblems", "load_site", "meter_models"]

PACKAGED_TARIFFS = Path(__file__).parent / "site_text" / "tariffs"
"""In a checkout a link to config/tariffs; the wheel holds the files themselves."""
MAX_BYTES = 1 << 20
"""A site of a thousand chargers has 300 kB; more is another file."""


def load_site(path: Path) -> Site:
    """Read a site file. SiteProblems with everything that is wrong in it."""
    text = _read(path, str(path))
    raw = _parse(text, str(path))
    findings = Findings(raw, Places(text))
    tables = read_tables(raw, findings)
    check_names(raw, findings)
    check_tree(raw, findings)
    check_known(raw, "meter", "model", meter_models(), "meter model", findings)
    check_known(raw, "charger", "dialect", _dialects(), "dialect", findings)
    check_whole(tables, findings)
    _check_timezone(raw, findings)
    tariff = _tariff(tables, path, findings)
    if findings.problems or tariff is None:
        raise SiteProblems(str(path), findings.problems)
    return replace(build_site(tables, tariff), source=path)


def meter_models() -> list[str]:
    """The meter models that this gateway knows: one TOML file each."""
    return _packaged("gateway.meters", "models")


def _dialects() -> list[str]:
    return ["default", *(name for name in _packaged("gateway.ocpp", "dialects") if name != "default")]


def _packaged(package: str, folder: str) -> list[str]:
    files = resources.files(package) / folder
    return sorted(entry.name.removesuffix(".toml") for entry in files.iterdir() if entry.name.endswith(".toml"))


def _read(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SiteProblems(shown, [Problem(0, "the file", f"cannot be read: {reason}")]) from error
    if len(content) > MAX_BYTES:
        raise SiteProblems(shown, [Problem(0, "the file", "is larger than 1 MiB, this cannot be a site file")])
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SiteProblems(shown, [Problem(line, "the file", "is not UTF-8 text", "save it as UTF-8")]) from error


def _parse(text: str, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
        what, line, column = match.groups() if match else (str(error), None, None)
        place = f"column {column}" if column else "the end of the file"
        number = int(line) if line else text.count("\n") + 1
        problem = Problem(
            number,
            place,
            f"is no valid TOML: {what}",
            "a text needs quotes, a table its brackets, a number a point and no comma",
        )
        raise SiteProblems(shown, [problem]) from error
    except RecursionError as error:
        raise SiteProblems(
            shown, [Problem(0, "the file", "is nested too deeply, this cannot be a site file")]
        ) from error


def _check_timezone(raw: Mapping[str, Any], findings: Findings) -> None:
    site = raw.get("site")
    name = site.get("timezone") if isinstance(site, dict) else None
    if not isinstance(name, str):
        return
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of the database, a path, an unknown name
        findings.add(("site", "timezone"), f'there is no time zone "{name}"', "such as Europe/Zurich")


def _tariff(tables: Tables, path: Path, findings: Findings) -> Tariff | None:
    if isinstance(tables.tariff, CalendarTable):
        return build_tariff(tables.tariff, "site", ("tariff",), findings)
    if isinstance(tables.tariff, TariffFileTable):
        first = _tariff_of_file(tables.tariff.file, path.parent, ("tariff", "file"), findings)
        then = [
            _tariff_of_file(name, path.parent, ("tariff", "then", position), findings)
            for position, name in enumerate(tables.tariff.then)
        ]
        known = [one for one in then if one is not None]
        return followed(first, known, ("tariff", "then"), findings) if first is not None else None
    return None


def _tariff_of_file(name: str, folder: Path, place: TomlPath, findings: Findings) -> Tariff | None:
    """A path beside the site file, or the name of a tariff that comes with the gateway."""
    candidates = [folder / name, folder / "tariffs" / f"{name}.toml", PACKAGED_TARIFFS / f"{name}.toml"]
    found = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
    if found is None:
        packaged = sorted(file.stem for file in PACKAGED_TARIFFS.glob("*.toml"))
        findings.add(
            place, f'there is no tariff "{name}", neither as a file here nor by this name', nearest(name, packaged)
        )
        return None
    try:
        text = _read(found, str(found))
        raw: Mapping[str, Any] = _parse(text, str(found))
    except SiteProblems as problems:
        inner = problems.problems
    else:
        inside = Findings(raw, Places(text))
        table = validate(CalendarTable, raw, (), inside)
        tariff = build_tariff(table, found.stem, (), inside) if table else None
        inner = tuple(inside.problems)
        if tariff is not None and not inner:
            return tariff
    for problem in inner:
        findings.add(place, f"{found.name}, {problem}")
    return None
