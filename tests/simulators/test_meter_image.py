"""What the simulated meters' registers show: the steps of a float, and a counter that begins again at 0."""

from __future__ import annotations

import struct

import pytest

from simulators.meter_image import Physical, registers, shown_wh, step_wh

KWH = 1000.0


@pytest.mark.parametrize(
    ("level_kwh", "step"), [(8_191, 1.0), (16_383, 1.0), (16_385, 1.953125), (40_000, 3.90625), (70_000, 7.8125)]
)
def test_a_float_of_kwh_steps_as_its_level_says(level_kwh: int, step: float) -> None:
    """reference/metering.md 5: below 16,384 kWh the meter's own 1 Wh is the coarser one."""
    level_wh = level_kwh * KWH
    assert step_wh("sdm630", level_wh) == step
    if step > 1:
        shown = {shown_wh("sdm630", level_wh + wh) for wh in range(2000)}
        assert len(shown) == pytest.approx(2000 / step, abs=2)


def test_a_counter_of_32_bits_begins_again_at_0() -> None:
    assert shown_wh("dvh4013", 2.0**32 - 0.5) == 2**32 - 1
    assert shown_wh("dvh4013", 2.0**32 + 5.5) == 5
    words = registers("dvh4013", Physical(import_wh=2.0**32 + 70_000.9), "holding", 0x4000, 2)
    assert words == [70_000 >> 16, 70_000 & 0xFFFF]


def test_import_and_export_power_stand_in_two_registers_without_a_sign() -> None:
    def watts(phase_w: float) -> tuple[int, ...]:
        words = registers("dvh4013", Physical(0.0, power_w=(phase_w, 0.0, 0.0)), "holding", 0, 4)
        assert isinstance(words, list)
        return struct.unpack(">2I", struct.pack(">4H", *words))

    assert watts(1234.5) == (12_345, 0)
    assert watts(-1234.5) == (0, 12_345)
