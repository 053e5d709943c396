"""Pure: what a meter model is once its file has been read (design rule 9: a device is data)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

Table = Literal["holding", "input"]
NumberType = Literal["u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"]
WordOrder = Literal["big", "little"]

WORDS: Mapping[str, int] = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "f32": 2, "u64": 4, "s64": 4, "f64": 4}

ENERGY_NAMES = ("energy_import_wh", "energy_export_wh")
PHASE_POWER_NAMES = ("power_l1_w", "power_l2_w", "power_l3_w")
CURRENT_NAMES = ("current_l1_ma", "current_l2_ma", "current_l3_ma")
FAST_NAMES = ("power_w", "power_export_w", *PHASE_POWER_NAMES, *CURRENT_NAMES)
NAMES = (*ENERGY_NAMES, *FAST_NAMES)
"""Everything a map may name; the unit stands in the name."""


@dataclass(frozen=True, slots=True)
class Span:
    """`count` registers of a table from wire address `address` (0-based, as in the PDU)."""

    table: Table
    address: int
    count: int

    def __hash__(self) -> int:
        """What is known of a block is looked up at every request; hardly two of a meter begin at one address."""
        return self.address

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.count

    def covers(self, other: Span) -> bool:
        """Whether `other` lies inside."""
        return (
            self.address <= other.address
            and other.address + other.count <= self.address + self.count
            and self.table == other.table
        )


@dataclass(frozen=True, slots=True)
class Register:
    """A number in a meter. Its value in the unit of its name = raw number x `scale`, exactly.

    `invalid` are bit patterns that mean "no value". A `resettable` register is never an energy source. `scale_top` and
    `scale_bottom` are the scale taken apart, once and not at every reading.
    """

    name: str
    span: Span
    type: NumberType
    word_order: WordOrder
    scale: Fraction
    resettable: bool = False
    invalid: frozenset[int] = frozenset()
    scale_top: int = field(init=False, repr=False, compare=False)
    scale_bottom: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale_top", self.scale.numerator)
        object.__setattr__(self, "scale_bottom", self.scale.denominator)

    @property
    def is_float(self) -> bool:
        """Whether the raw number is an IEEE 754 pattern."""
        return self.type in ("f32", "f64")

    @property
    def range_wh(self) -> int | None:
        """Where an energy register of at most 32 bits begins again at 0; a larger one never gets there."""
        if self.type not in ("u16", "u32"):
            return None
        size = self.scale * (1 << (16 * WORDS[self.type]))
        return int(size) if size.denominator == 1 else None


@dataclass(frozen=True, slots=True)
class Probe:
    """The register that proves the model: its number lies in [low, high]."""

    register: Register
    low: Fraction
    high: Fraction


@dataclass(frozen=True, slots=True)
class SerialSource:
    """Where the serial number stands: a number, hex digits of a number, or text."""

    span: Span
    type: Literal["u32", "hex", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterModel:
    """A meter model.

    `version` names the map (id and hash of its file) and stands beside every reading. `max_block` is the most registers
    of one request, `step` the grid of addresses and counts, `rest_s` the least time between two requests to the same
    meter (link time), `readable` the ranges outside which nothing may be asked (empty: anything). `wh_per_count` is the
    energy of one count, None for a float. `sign` is -1 where positive power means export. A model that `sleeps` answers
    "no value" at night, which is no fault.
    """

    id: str
    name: str
    version: str
    registers: Mapping[str, Register]
    probe: Probe
    serial: SerialSource | None
    max_block: int
    step: int = 1
    rest_s: float = 0.0
    readable: tuple[Span, ...] = ()
    wh_per_count: Fraction | None = None
    sign: int = 1
    sleeps: bool = False

    @property
    def range_wh(self) -> int | None:
        """Where the import register begins again at 0, None where it never gets there."""
        register = self.registers.get("energy_import_wh")
        return register.range_wh if register is not None else None

    def spans(self, names: tuple[str, ...]) -> dict[str, Span]:
        """The spans of those of `names` that the model has."""
        return {name: self.registers[name].span for name in names if name in self.registers}
