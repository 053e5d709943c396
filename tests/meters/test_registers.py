"""Registers to values: exact, floored once, and None where there is no value."""

import itertools
import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meters.meter_model import WORDS, NumberType, Register, SerialSource, Span, WordOrder
from gateway.meters.model_map import load_model
from gateway.meters.registers import decode, decode_serial, exact, floor, nearest, same_serial, step_wh

INTEGERS: dict[NumberType, str] = {"u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "s64": "q"}


def register(kind: NumberType, scale: int | str = 1, order: WordOrder = "big", **more: frozenset[int]) -> Register:
    return Register("energy_import_wh", Span("input", 0, WORDS[kind]), kind, order, Fraction(scale), **more)


def words(form: str, value: float, order: WordOrder = "big") -> tuple[int, ...]:
    data = struct.pack(f">{form}", value)
    found = struct.unpack(f">{len(data) // 2}H", data)
    return found if order == "big" else found[::-1]


@given(st.data(), st.sampled_from(sorted(INTEGERS)), st.sampled_from(["big", "little"]), st.fractions(0, 10**6))
def test_an_integer_register_times_its_scale_is_exact(
    data: st.DataObject, kind: NumberType, order: WordOrder, scale: Fraction
) -> None:
    size = 16 * WORDS[kind]
    low, high = (-(2 ** (size - 1)), 2 ** (size - 1) - 1) if kind[0] == "s" else (0, 2**size - 1)
    value = data.draw(st.integers(low, high))
    one = Register("x", Span("input", 0, WORDS[kind]), kind, order, scale)
    ratio = exact(words(INTEGERS[kind], value, order), one)
    assert ratio is not None
    assert Fraction(*ratio) == value * scale
    assert floor(ratio) == math.floor(value * scale)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from(["big", "little"]))
def test_a_float_register_is_the_exact_rational_of_its_pattern(value: float, order: WordOrder) -> None:
    """No decimal comes in between: 0.1 kWh as a float is 100.00000149 Wh, and that is what is floored."""
    ratio = exact(words("f", value, order), register("f32", 1000, order))
    assert ratio is not None
    assert Fraction(*ratio) == Fraction(value) * 1000


@given(st.floats(width=64, allow_nan=False, allow_infinity=False))
def test_a_double_register_is_exact(value: float) -> None:
    ratio = exact(words("d", value), register("f64"))
    assert ratio is not None
    assert Fraction(*ratio) == Fraction(value)


@given(st.integers(0, 2**31 - 1), st.integers(1, 40))
def test_floored_differences_add_up_to_the_difference_of_the_ends(start: int, steps: int) -> None:
    """Whatever the float does in between, the sum over the intervals is the register difference, to the Wh."""
    kwh = [(start + 137 * i) / 1000 for i in range(steps + 1)]
    found = []
    for value in kwh:
        ratio = exact(words("f", value), register("f32", 1000))
        assert ratio is not None
        found.append(floor(ratio))
    assert sum(after - before for before, after in itertools.pairwise(found)) == found[-1] - found[0]
    assert found == sorted(found)


@pytest.mark.parametrize("pattern", [0x7FC00000, 0xFFC00000, 0x7F800000, 0xFF800000, 0x7FA00001])
def test_nan_and_infinity_are_no_value(pattern: int) -> None:
    assert exact((pattern >> 16, pattern & 0xFFFF), register("f32")) is None


def test_a_models_pattern_for_no_value_is_no_value() -> None:
    one = register("u64", 10, invalid=frozenset({2**64 - 1}))
    assert exact((0xFFFF,) * 4, one) is None
    assert exact((0, 0, 0, 7), one) == (70, 1)


@given(st.integers(-(10**9), 10**9), st.integers(1, 1000))
def test_power_is_rounded_to_the_nearest_watt(top: int, bottom: int) -> None:
    assert abs(nearest((top, bottom)) - Fraction(top, bottom)) <= Fraction(1, 2)


@given(st.floats(min_value=0.0078125, max_value=131072, width=32))
def test_the_step_of_a_float_register_is_the_distance_to_its_neighbour(kwh: float) -> None:
    one = register("f32", 1000)
    (pattern,) = struct.unpack(">I", struct.pack(">f", kwh))
    (above,) = struct.unpack(">f", struct.pack(">I", pattern + 1))
    distance = (Fraction(above) - Fraction(kwh)) * 1000
    assert distance / 2 <= step_wh(one, math.floor(kwh * 1000)) <= distance
    assert step_wh(register("u64", 10), 5) == 10


def test_a_missing_value_takes_nothing_else_with_it() -> None:
    """The basic ABB has no export register and answers all ones there; B21: no phase powers."""
    decoded = decode(
        load_model("abb_b23"),
        {
            "energy_import_wh": (0, 0, 0, 5),
            "energy_export_wh": (0xFFFF,) * 4,
            "power_w": (0, 100),
            "power_l1_w": (0x7FFF, 0xFFFF),
        },
    )
    assert (decoded.import_wh, decoded.export_wh, decoded.power_w) == (50, None, 1)
    assert set(decoded.invalid) == {"energy_export_wh", "power_l1_w"}


def test_a_negative_energy_is_no_value() -> None:
    decoded = decode(load_model("iem3155"), {"energy_import_wh": (0xFFFF,) * 4})
    assert decoded.import_wh is None
    assert decoded.invalid == ("energy_import_wh",)


def test_raw_holds_the_energy_registers_as_they_came() -> None:
    decoded = decode(load_model("sdm630"), {"energy_import_wh": (0x44C1, 0xEBF8), "energy_export_wh": (0, 1)})
    assert decoded.raw == "44c1ebf8/00000001"
    assert decoded.import_wh == 1_551_374


@pytest.mark.parametrize(
    ("source", "data", "serial"),
    [
        (SerialSource(Span("holding", 0, 2), "u32"), (0x0141, 0x2963), "21047651"),
        (SerialSource(Span("holding", 0, 2), "hex"), (0x1506, 0x0001), "15060001"),
        (SerialSource(Span("holding", 0, 3), "text"), (0x4142, 0x2043, 0x0000), "ABC"),
        (SerialSource(Span("holding", 0, 2), "text"), (0x0041, 0x0042), "AB"),
        (SerialSource(Span("holding", 0, 2), "u32"), (0, 0), None),
        (SerialSource(Span("holding", 0, 2), "u32"), (0xFFFF, 0xFFFF), None),
        (SerialSource(Span("holding", 0, 2), "text"), (0, 0), None),
    ],
)
def test_serial_numbers_read_as_printed(source: SerialSource, data: tuple[int, ...], serial: str | None) -> None:
    assert decode_serial(source, data) == serial


def test_leading_zeros_and_blanks_make_no_other_meter() -> None:
    assert same_serial("0021 047651", "21047651")
    assert not same_serial("21047651", "21047652")
