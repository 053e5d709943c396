"""The dialect files of the package."""

from __future__ import annotations

import tomllib
from importlib import resources

from gateway.ocpp.dialect import Dialect, DialectError, from_table


def known_dialects() -> list[str]:
    """Names of the dialects that there are."""
    folder = resources.files("gateway.ocpp") / "dialects"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_dialect(name: str) -> Dialect:
    """One dialect on top of the default one. DialectError in one sentence."""
    known = known_dialects()
    if name not in known:
        raise DialectError(f"unknown dialect {name!r}; known are {', '.join(known)}")
    return from_table(name, {**_table("default"), **_table(name)})


def _table(name: str) -> dict[str, object]:
    return tomllib.loads((resources.files("gateway.ocpp") / "dialects" / f"{name}.toml").read_text(encoding="utf-8"))
