"""Pure: how a model of charger deviates - data, one TOML file each in `dialects/` (design rule 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The defaults are those of `dialects/default.toml`; a quirk file says what differs, with its source."""

    name: str
    missing_subprotocol: Literal["refuse", "ocpp1.6"] = "refuse"
    subprotocols: tuple[str, ...] = ("ocpp1.6",)
    ping: bool = True
    stack_level: int = 0
    profile_kind: Literal["Absolute", "Relative"] = "Absolute"
    start_margin_s: int = 30
    number_phases: bool = False
    settle_s: float = 1.0
    ask_boot_s: float = 10.0
    ask_signing: bool = True
    ask_status: bool = True
    configuration: Mapping[str, str] = field(default_factory=dict)


class DialectError(ValueError):
    """A dialect file says something that is not known; the sentence names the file and the key."""


def from_table(name: str, table: Mapping[str, Any]) -> Dialect:
    """A dialect from a parsed TOML file. DialectError."""
    types = {entry.name: entry for entry in fields(Dialect)}
    values: dict[str, Any] = {"name": name}
    for key, value in table.items():
        if key not in types or key == "name":
            raise DialectError(f"dialect {name}: unknown key {key!r}; known are {', '.join(sorted(types))}")
        default = getattr(Dialect(name=""), key)
        if key == "subprotocols":
            value = tuple(value)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif key != "configuration" and type(value) is not type(default):
            raise DialectError(f"dialect {name}: {key} must be {type(default).__name__}, not {value!r}")
        values[key] = value
    return Dialect(**values)
