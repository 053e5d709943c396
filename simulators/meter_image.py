"""Pure: the registers of four real meters, built from what flows through them.

Written from the vendors' register lists (Schneider iEM3155 user manual, ABB B23/B24 user
manual, Eastron SDM630 Modbus protocol, DZG DVH4013 register list), independently of the gateway's own tables.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from simulators.modbus_frames import ILLEGAL_ADDRESS, Table

Model = Literal["iem3155", "abb_b23", "sdm630", "dvh4013"]
Phases = tuple[float, float, float]
RANGE_WH: dict[Model, int] = {"dvh4013": 2**32}
"""Where a register begins again at 0; the others never get there."""

NAMELESS: frozenset[Model] = frozenset({"dvh4013"})
"""They tell no serial number."""

TURNAROUND_S: dict[Model, float] = {"iem3155": 0.015, "abb_b23": 0.01, "sdm630": 0.04, "dvh4013": 0.06}
"""From the end of a request to the beginning of the answer (reference/metering.md 4)."""


class Physical(NamedTuple):
    """What flows through a meter now. Energies in Wh as they truly are; import positive."""

    import_wh: float
    export_wh: float = 0.0
    power_w: Phases = (0.0, 0.0, 0.0)
    current_a: Phases = (0.0, 0.0, 0.0)
    voltage_v: Phases = (230.0, 230.0, 230.0)
    serial: int = 10000001
    frequency_hz: float = 50.0


Piece = tuple[int, int, Callable[[Physical], bytes]]
"""Wire address, number of registers, and what they hold; made only where it is asked for."""


def registers(model: Model, physical: Physical, table: Table, address: int, count: int) -> list[int] | int:
    """The answer of `model` to a read: registers, or the exception code for an address that it does not have.

    Registers between two documented values read as zero.
    """
    inside = _inside(model, table, address, count)
    if inside is None:
        return ILLEGAL_ADDRESS
    image = bytearray(2 * count)
    for at, value in inside:
        offset, data = _clip(at, value(physical), len(image))
        image[offset : offset + len(data)] = data
    return list(struct.unpack(f">{count}H", image))


@lru_cache(maxsize=256)
def _inside(
    model: Model, table: Table, address: int, count: int
) -> tuple[tuple[int, Callable[[Physical], bytes]], ...] | None:
    """What a read touches, and from which byte of its answer on; None where it leaves what the meter has."""
    readable, pieces = _IMAGES[model]
    end = address + count
    if not any(which == table and low <= address and end - 1 <= high for which, low, high in readable):
        return None
    return tuple(
        (2 * (start - address), value) for start, size, value in pieces if start < end and start + size > address
    )


def _clip(offset: int, data: bytes, size: int) -> tuple[int, bytes]:
    """The part of `data` at `offset` that lies inside [0, size)."""
    if offset < 0:
        data, offset = data[-offset:], 0
    return offset, data[: size - offset]


def shown_wh(model: Model, true_wh: float) -> int:
    """Whole watt-hours that the register of `model` shows for a true energy (floor of its exact value)."""
    if model == "iem3155":
        return int(true_wh)
    if model == "dvh4013":
        return int(true_wh) % RANGE_WH[model]
    if model == "abb_b23":
        return int(true_wh) // 10 * 10
    (kwh,) = struct.unpack(">f", _kwh(true_wh))
    top, bottom = kwh.as_integer_ratio()  # exact, as every float is
    return int(top * 1000 // bottom)


def step_wh(model: Model, level_wh: float) -> float:
    """How much energy one step of the register is at this level."""
    if model == "sdm630":
        _, exponent = math.frexp(level_wh / 1000)
        return max(1.0, math.ldexp(1000.0, exponent - 24))
    return 10.0 if model == "abb_b23" else 1.0


def _f32(*values: float) -> bytes:
    return struct.pack(f">{len(values)}f", *values)


def _kwh(true_wh: float) -> bytes:
    """The SDM630 counts whole watt-hours and shows them as a float of kilowatt-hours."""
    return _f32(int(true_wh) / 1000)


_IEM3155: tuple[Piece, ...] = (
    (28 + 1, 20, lambda p: b"Energy Meter".ljust(40, b"\0")),
    (48 + 1, 20, lambda p: b"iEM3155".ljust(40, b"\0")),
    (0x0081, 2, lambda p: struct.pack(">I", p.serial)),
    (0x0BB7, 6, lambda p: _f32(*p.current_a)),
    (0x0BD3, 6, lambda p: _f32(*p.voltage_v)),
    (0x0BED, 8, lambda p: _f32(*_kw(p), sum(_kw(p)))),
    (0x0C25, 2, lambda p: _f32(p.frequency_hz)),
    (0x0C83, 8, lambda p: struct.pack(">qq", int(p.import_wh), int(p.export_wh))),
)
_ABB_B23: tuple[Piece, ...] = (
    (0x5000, 8, lambda p: struct.pack(">QQ", int(p.import_wh) // 10, int(p.export_wh) // 10)),
    (0x5B00, 6, lambda p: struct.pack(">3I", *(round(v * 10) for v in p.voltage_v))),
    (0x5B0C, 6, lambda p: struct.pack(">3I", *(round(a * 100) for a in p.current_a))),
    (0x5B14, 8, lambda p: struct.pack(">4i", *(round(w * 100) for w in (sum(p.power_w), *p.power_w)))),
    (0x5B2C, 1, lambda p: struct.pack(">H", round(p.frequency_hz * 100))),
    (0x8900, 2, lambda p: struct.pack(">I", p.serial)),
    (0x8960, 6, lambda p: b"B23 112-100".ljust(12, b"\0")),
)
_SDM630: tuple[Piece, ...] = (
    (0, 18, lambda p: _f32(*p.voltage_v, *p.current_a, *p.power_w)),
    (52, 2, lambda p: _f32(sum(p.power_w))),
    (70, 2, lambda p: _f32(p.frequency_hz)),
    (72, 4, lambda p: _kwh(p.import_wh) + _kwh(p.export_wh)),
    (0xFC00, 3, lambda p: struct.pack(">IH", p.serial, 0x0070)),
)


_DVH4013: tuple[Piece, ...] = (
    (0, 4, lambda p: struct.pack(">2I", round(max(0.0, sum(p.power_w)) * 10), round(max(0.0, -sum(p.power_w)) * 10))),
    (10, 6, lambda p: struct.pack(">3I", *(round(a * 1000) for a in p.current_a))),
    (18, 2, lambda p: struct.pack(">I", round(p.frequency_hz * 1000))),
    (0x4000, 2, lambda p: struct.pack(">I", shown_wh("dvh4013", p.import_wh))),
    (0x4100, 2, lambda p: struct.pack(">I", shown_wh("dvh4013", p.export_wh))),
)


def _kw(p: Physical) -> Phases:
    first, second, third = p.power_w
    return first / 1000, second / 1000, third / 1000


_IMAGES: dict[Model, tuple[tuple[tuple[Table, int, int], ...], tuple[Piece, ...]]] = {
    "iem3155": (
        (("holding", 29, 88), ("holding", 129, 130), ("holding", 2999, 3110), ("holding", 3203, 3218)),
        _IEM3155,
    ),
    "abb_b23": ((("holding", 0x1000, 0x8EFF),), _ABB_B23),
    "sdm630": ((("input", 0, 107), ("holding", 0xFC00, 0xFC02)), _SDM630),
    "dvh4013": ((("holding", 0, 60), ("holding", 0x4000, 0x4001), ("holding", 0x4100, 0x4101)), _DVH4013),
}
