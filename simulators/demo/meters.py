"""The meters of the demonstration: what each unit on a line answers, from the building's truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulators.building import Building, MeterTruth, Phases
from simulators.clock import SiteClock
from simulators.meter_image import Model, Physical, registers, shown_wh
from simulators.modbus_frames import Table
from simulators.modbus_slave import Answer

ENERGY: dict[Model, tuple[Table, int, int, int]] = {
    "iem3155": ("holding", 0x0C83, 0x0C87, 4),
    "abb_b23": ("holding", 0x5000, 0x5004, 4),
    "sdm630": ("input", 72, 74, 2),
    "dvh4013": ("holding", 0x4000, 0x4100, 2),
}
"""Table, address of import and of export, and how many registers each has."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A meter on a line. `rotation[i]` is the building's phase on its i-th terminal."""

    meter: str
    model: Model
    serial: int
    rotation: tuple[int, int, int] = (0, 1, 2)


_Shown = tuple[Unit, Phases, int, int]
"""All that a meter's registers are made of: itself, its currents, import and export in whole Wh."""


class MeterBank:
    """Answers for all units of one line, and notes every energy register that it gives."""

    def __init__(self, building: Building, clock: SiteClock, units: Mapping[int, Unit]) -> None:
        self._building, self._clock, self._units = building, clock, dict(units)
        self._given: dict[tuple[int, Table, int, int], tuple[_Shown, list[int] | int]] = {}
        """What was answered last to a request, and what it was made of: behind most meters nothing flows."""

    def read(self, unit: int, table: Table, address: int, count: int) -> Answer:
        """The registers, an exception code, or None for a unit that is not on this line."""
        found = self._units.get(unit)
        if found is None:
            return None
        now_ms = self._clock.utc_ms()
        truth, import_wh, export_wh = self._building.reading(found.meter, now_ms)
        answer = self._answer(found, (unit, table, address, count), truth, import_wh, export_wh)
        if not isinstance(answer, int):
            self._note(found, table, address, count, now_ms, import_wh, export_wh)
        return answer

    def _answer(
        self, unit: Unit, asked: tuple[int, Table, int, int], truth: MeterTruth, import_wh: float, export_wh: float
    ) -> list[int] | int:
        """No register shows less than a whole watt-hour: with the same ones and the same currents it is the same."""
        shown = (unit, truth.current_ma, int(import_wh), int(export_wh))
        before = self._given.get(asked)
        if before is not None and before[0] == shown:
            return before[1]
        answer = registers(unit.model, _physical(truth, import_wh, export_wh, unit), *asked[1:])
        self._given[asked] = (shown, answer)
        return answer

    def _note(
        self, unit: Unit, table: Table, address: int, count: int, now_ms: int, import_wh: float, export_wh: float
    ) -> None:
        of, import_at, export_at, size = ENERGY[unit.model]
        if table != of:
            return
        last = address + count - size
        shown_import = shown_wh(unit.model, import_wh) if address <= import_at <= last else None
        shown_export = shown_wh(unit.model, export_wh) if address <= export_at <= last else None
        if shown_import is not None or shown_export is not None:
            self._building.served(unit.meter, now_ms, shown_import, shown_export)


def _physical(truth: MeterTruth, import_wh: float, export_wh: float, unit: Unit) -> Physical:
    """Real meters show currents without a sign; the direction stands in the powers."""
    first, second, third = unit.rotation
    amperes, watts = truth.current_ma, truth.phase_w
    return Physical(
        import_wh=import_wh,
        export_wh=export_wh,
        power_w=(watts[first], watts[second], watts[third]),
        current_a=(abs(amperes[first]) / 1000, abs(amperes[second]) / 1000, abs(amperes[third]) / 1000),
        serial=unit.serial,
    )
