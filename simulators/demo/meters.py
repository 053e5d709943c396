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

_Given = tuple[_Shown, list[int] | int, int | None, int | None]
"""What a meter shows, its answer to a request, and the import and export in this answer."""


class MeterBank:
    """Answers for all units of one line, and notes every energy register that it gives."""

    def __init__(self, building: Building, clock: SiteClock, units: Mapping[int, Unit]) -> None:
        self._building, self._clock, self._units = building, clock, dict(units)
        self._given: dict[tuple[int, Table, int, int], _Given] = {}
        """What was answered last to a request: behind most meters nothing flows, and it is the same again."""

    def read(self, unit: int, table: Table, address: int, count: int) -> Answer:
        """The registers, an exception code, or None for a unit that is not on this line."""
        found = self._units.get(unit)
        if found is None:
            return None
        now_ms = self._clock.utc_ms()
        truth, import_wh, export_wh = self._building.reading(found.meter, now_ms)
        # No register shows less than a whole watt-hour: with the same ones and the same currents it is the same.
        shown = (found, truth.current_ma, int(import_wh), int(export_wh))
        asked = (unit, table, address, count)
        given = self._given.get(asked)
        if given is None or given[0] != shown:
            answer = registers(found.model, _physical(truth, import_wh, export_wh, found), table, address, count)
            given = (shown, answer, *shown_in(found.model, table, address, count, import_wh, export_wh))
            self._given[asked] = given
        if not isinstance(given[1], int):
            self._note(found, now_ms, *given[2:])
        return given[1]

    def _note(self, unit: Unit, now_ms: int, import_wh: int | None, export_wh: int | None) -> None:
        if import_wh is not None or export_wh is not None:
            self._building.served(unit.meter, now_ms, import_wh, export_wh)


def shown_in(
    model: Model, table: Table, address: int, count: int, import_wh: float, export_wh: float
) -> tuple[int | None, int | None]:
    """The import and the export that a read shows, in whole Wh; None where it does not hold that register."""
    of, import_at, export_at, size = ENERGY[model]
    last = address + count - size
    return (
        shown_wh(model, import_wh) if table == of and address <= import_at <= last else None,
        shown_wh(model, export_wh) if table == of and address <= export_at <= last else None,
    )


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
