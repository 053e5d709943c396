"""The meters of the seeded house: those of the demonstration, and they can freeze."""

from __future__ import annotations

from simulators.demo.meters import MeterBank, _physical, shown_in
from simulators.meter_image import registers
from simulators.modbus_frames import Table
from simulators.modbus_slave import Answer


class FreezingBank(MeterBank):
    """`frozen[meter]` are the registers (import, export in Wh) at which a meter stands still."""

    frozen: dict[str, tuple[float, float]]

    def freeze(self, meter: str) -> None:
        """Its energy registers stand still from now on; its powers and currents stay true."""
        _, import_wh, export_wh = self._building.reading(meter, self._clock.utc_ms())
        self.frozen[meter] = (import_wh, export_wh)

    def read(self, unit: int, table: Table, address: int, count: int) -> Answer:
        """As the meter's own, but for what is frozen."""
        found = self._units.get(unit) if self.frozen else None
        if found is None or found.meter not in self.frozen:
            return super().read(unit, table, address, count)
        now_ms = self._clock.utc_ms()
        truth, _, _ = self._building.reading(found.meter, now_ms)
        import_wh, export_wh = self.frozen[found.meter]
        answer = registers(found.model, _physical(truth, import_wh, export_wh, found), table, address, count)
        if not isinstance(answer, int):
            self._note(found, now_ms, *shown_in(found.model, table, address, count, import_wh, export_wh))
        return answer
