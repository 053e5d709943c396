"""Pure: raw registers to exact values (design rule 4).

A raw pattern is an exact rational: an integer, or k x 2^e of an IEEE 754 float. It is multiplied by the map's exact
scale and floored to whole watt-hours, once. Power and current, which are never summed to a bill, are rounded to the
nearest W and mA.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from gateway.meters.meter_model import (
    CURRENT_NAMES,
    ENERGY_NAMES,
    PHASE_POWER_NAMES,
    MeterModel,
    NumberType,
    Register,
    SerialSource,
)
from gateway.model import PhaseMa

Words = Sequence[int]
Ratio = tuple[int, int]
"""Numerator and positive denominator, not necessarily in lowest terms."""

_WORDS = {count: struct.Struct(f">{count}H") for count in (1, 2, 4)}
_NUMBERS: Mapping[NumberType, struct.Struct] = {
    "u16": struct.Struct(">H"),
    "s16": struct.Struct(">h"),
    "u32": struct.Struct(">I"),
    "s32": struct.Struct(">i"),
    "u64": struct.Struct(">Q"),
    "s64": struct.Struct(">q"),
    "f32": struct.Struct(">f"),
    "f64": struct.Struct(">d"),
}


class Decoded(NamedTuple):
    """What the registers of one cycle say. `invalid` names those that hold no value."""

    import_wh: int | None = None
    export_wh: int | None = None
    power_w: int | None = None
    current_ma: PhaseMa | None = None
    invalid: tuple[str, ...] = ()
    raw: str = ""


def exact(words: Words, register: Register) -> Ratio | None:
    """The raw number times the scale, exactly; None for NaN, infinity and the model's patterns for "no value"."""
    # In the order of significance, whatever the word order on the wire.
    data = _WORDS[len(words)].pack(*(words if register.word_order == "big" else reversed(words)))
    if register.invalid and int.from_bytes(data, "big") in register.invalid:
        return None
    (number,) = _NUMBERS[register.type].unpack(data)
    if isinstance(number, int):
        return number * register.scale_top, register.scale_bottom
    if not math.isfinite(number):
        return None
    top, bottom = number.as_integer_ratio()
    return top * register.scale_top, bottom * register.scale_bottom


def floor(ratio: Ratio) -> int:
    """The largest whole number that is not larger."""
    return ratio[0] // ratio[1]


def nearest(ratio: Ratio) -> int:
    """The nearest whole number, halves upward."""
    return (2 * ratio[0] + ratio[1]) // (2 * ratio[1])


def step_wh(register: Register, value_wh: int) -> float:
    """How much energy one step of the register is at `value_wh`: the resolution of what it says."""
    top, bottom = register.scale_top, register.scale_bottom
    if not register.is_float:
        return top / bottom
    step = math.ulp(max(value_wh, 1) * bottom / top)
    return (step if register.type == "f64" else step * (1 << 29)) * top / bottom


def decode(model: MeterModel, words: Mapping[str, Words]) -> Decoded:
    """Every value of the model whose words are there."""
    ratios = {name: exact(data, model.registers[name]) for name, data in words.items() if name in model.registers}
    invalid = [name for name, ratio in ratios.items() if ratio is None]
    energy: dict[str, int | None] = dict.fromkeys(ENERGY_NAMES)
    for name in ENERGY_NAMES:
        ratio = ratios.get(name)
        if ratio is not None and ratio[0] >= 0:
            energy[name] = floor(ratio)
        elif ratio is not None:
            invalid.append(name)
    phases = [_signed(model, ratios.get(name)) for name in PHASE_POWER_NAMES]
    return Decoded(
        import_wh=energy["energy_import_wh"],
        export_wh=energy["energy_export_wh"],
        power_w=_power(model, ratios, phases),
        current_ma=_current(model, ratios, phases),
        invalid=tuple(invalid),
        raw=_raw(words),
    )


def _signed(model: MeterModel, ratio: Ratio | None) -> int | None:
    return None if ratio is None else model.sign * nearest(ratio)


def _power(model: MeterModel, ratios: Mapping[str, Ratio | None], phases: Sequence[int | None]) -> int | None:
    """Total power in W, import positive."""
    if "power_w" in model.registers:
        power = _signed(model, ratios.get("power_w"))
        if "power_export_w" not in model.registers:
            return power
        export = _signed(model, ratios.get("power_export_w"))
        return None if power is None or export is None else power - export
    known = [phase for phase in phases if phase is not None]
    return sum(known) if known and len(known) == len(phases) else None


def _current(model: MeterModel, ratios: Mapping[str, Ratio | None], phases: Sequence[int | None]) -> PhaseMa | None:
    """Current of the three phases in mA, negative where the phase's power flows out; 0 on a phase that is not there."""
    found: list[int] = []
    for name, phase_w in zip(CURRENT_NAMES, phases, strict=True):
        if name not in model.registers:
            found.append(0)
            continue
        ratio = ratios.get(name)
        if ratio is None:
            return None
        current = nearest(ratio)
        found.append(-abs(current) if phase_w is not None and phase_w < 0 else current)
    if not any(name in model.registers for name in CURRENT_NAMES):
        return None
    return found[0], found[1], found[2]


def _raw(words: Mapping[str, Words]) -> str:
    """The energy registers as received, hex: import, then `/` and export where there is one."""
    return "/".join(_hex(words[name]) for name in ENERGY_NAMES if name in words)


def _hex(words: Words) -> str:
    return struct.pack(f">{len(words)}H", *words).hex()


def in_range(register: Register, words: Words, low: Fraction, high: Fraction) -> bool:
    """Whether a probe's number lies in [low, high]."""
    ratio = exact(words, register)
    return ratio is not None and low <= Fraction(*ratio) <= high


def decode_serial(source: SerialSource, words: Words) -> str | None:
    """The serial number as printed on the meter; None where the register is empty."""
    data = struct.pack(f">{len(words)}H", *words)
    if source.type == "text":
        text = "".join(chr(byte) for byte in data if 0x20 < byte < 0x7F)
        return text or None
    number = int.from_bytes(data[:4], "big")
    if number in (0, 0xFFFFFFFF):
        return None
    return f"{number:x}" if source.type == "hex" else str(number)


def same_serial(one: str, other: str) -> bool:
    """Whether two spellings mean one meter: blanks and leading zeros do not count."""
    return one.replace(" ", "").lstrip("0").casefold() == other.replace(" ", "").lstrip("0").casefold()
