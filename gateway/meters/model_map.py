"""Reads `models/*.toml`: pydantic at the border, one clear sentence for each problem, `MeterModel` inside."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.meters.blocks import plan_blocks
from gateway.meters.meter_model import (
    NAMES,
    WORDS,
    MeterModel,
    NumberType,
    Probe,
    Register,
    SerialSource,
    Span,
    Table,
    WordOrder,
)

MODELS = Path(__file__).parent / "models"
Address = Annotated[int, Field(ge=0, le=0xFFFF)]
Rational = int | str
"""A whole number or "numerator/denominator"; a TOML float would already be rounded."""


class ModelError(ValueError):
    """A meter model that cannot be used; the message is one sentence."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Register(_Entry):
    address: Address
    type: NumberType
    scale: Rational = 1
    table: Table | None = None
    word_order: WordOrder | None = None
    resettable: bool = False


class _Probe(_Entry):
    address: Address
    type: NumberType
    scale: Rational = 1
    table: Table | None = None
    word_order: WordOrder | None = None
    low: Rational
    high: Rational


class _Serial(_Entry):
    address: Address
    type: Literal["u32", "hex", "text"]
    words: Annotated[int, Field(ge=1, le=20)] = 2
    table: Table | None = None


class _File(_Entry):
    name: str
    table: Table
    word_order: WordOrder
    max_block: Annotated[int, Field(ge=2, le=125)]
    step: Literal[1, 2] = 1
    rest_s: Annotated[float, Field(ge=0, le=5)] = 0.0
    readable: list[Annotated[tuple[Table, Address, Address], Field(strict=False)]] = Field(default_factory=list)
    wh_per_count: Rational | Literal["float"]
    sign: Literal[1, -1] = 1
    sleeps: bool = False
    invalid: dict[NumberType, list[str]] = Field(default_factory=dict)
    probe: _Probe
    serial: _Serial | None = None
    registers: dict[str, _Register]


def known_models(folder: Path = MODELS) -> tuple[str, ...]:
    """The names that `[[meter]] model` may have."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def load_model(model: str, folder: Path = MODELS) -> MeterModel:
    """The meter model `model`; ModelError says in one sentence what is wrong."""
    known = known_models(folder)
    if model not in known:
        raise ModelError(f"meter model {model!r} is unknown; known are {', '.join(known)}")
    return parse_model(model, (folder / f"{model}.toml").read_bytes())


def parse_model(model: str, data: bytes) -> MeterModel:
    """The model in the bytes of its file; ModelError names the file's key."""
    try:
        file = _File.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"meter model {model}: not a TOML file: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"meter model {model}: {place}: {first['msg']}") from error
    result = MeterModel(
        id=model,
        name=file.name,
        version=f"{model}@{hashlib.sha256(data).hexdigest()[:12]}",
        registers={name: _register(model, file, name, entry) for name, entry in file.registers.items()},
        probe=_probe(model, file),
        serial=_serial(file),
        max_block=file.max_block,
        step=file.step,
        rest_s=file.rest_s,
        readable=tuple(Span(table, low, high - low + 1) for table, low, high in file.readable),
        wh_per_count=None if file.wh_per_count == "float" else _rational(model, "wh_per_count", file.wh_per_count),
        sign=file.sign,
        sleeps=file.sleeps,
    )
    _check(result)
    return result


def _rational(model: str, place: str, value: Rational) -> Fraction:
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise ModelError(f'meter model {model}: {place}: {value!r} is no number like 10 or "1/10"') from error


def _register(model: str, file: _File, name: str, entry: _Register | _Probe) -> Register:
    try:
        invalid = frozenset(int(pattern, 16) for pattern in file.invalid.get(entry.type, []))
    except ValueError as error:
        raise ModelError(f"meter model {model}: invalid.{entry.type}: {error}") from error
    return Register(
        name=name,
        span=Span(entry.table or file.table, entry.address, WORDS[entry.type]),
        type=entry.type,
        word_order=entry.word_order or file.word_order,
        scale=_rational(model, f"registers.{name}.scale", entry.scale),
        resettable=isinstance(entry, _Register) and entry.resettable,
        invalid=invalid,
    )


def _probe(model: str, file: _File) -> Probe:
    low = _rational(model, "probe.low", file.probe.low)
    high = _rational(model, "probe.high", file.probe.high)
    return Probe(_register(model, file, "probe", file.probe), low, high)


def _serial(file: _File) -> SerialSource | None:
    if file.serial is None:
        return None
    return SerialSource(Span(file.serial.table or file.table, file.serial.address, file.serial.words), file.serial.type)


def _check(model: MeterModel) -> None:
    """What the types cannot say. A resettable counter never becomes a bill (EM24 0x42 did, in other products)."""
    registers: Mapping[str, Register] = model.registers
    for name, register in registers.items():
        place = f"meter model {model.id}: registers.{name}"
        if name not in NAMES:
            raise ModelError(f"{place}: unknown value; known are {', '.join(NAMES)}")
        if register.scale <= 0:
            raise ModelError(f"{place}: scale must be positive (the direction of power is the key `sign`)")
        if name.startswith("energy_") and register.resettable:
            raise ModelError(
                f"{place}: register {register.span.address} (0x{register.span.address:04X}) can be reset, "
                "so it must not be an energy source; take the meter's total register"
            )
        if name.startswith("energy_") and model.wh_per_count != (None if register.is_float else register.scale):
            raise ModelError(f"{place}: wh_per_count does not agree with scale {register.scale}")
        if model.readable and not any(span.covers(register.span) for span in model.readable):
            raise ModelError(f"{place}: address {register.span.address} lies outside of `readable`")
    if not registers:
        raise ModelError(f"meter model {model.id}: registers: at least one is needed")
    plan_blocks(model, gap=0)
