"""All meters of the site: the MeterPort that the other parts use, one task for each bus."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.meters.bus import BusTask
from gateway.meters.model_map import ModelError, load_model
from gateway.meters.station import Station
from gateway.model import Clock, Reading, Tell
from gateway.site import VOLTS, Meter, Site, possible_w


class Meters:
    """Implements MeterPort.

    `latest` is the newest good reading with power and current, so that an energy reading ahead of the plan does not
    hide them; a subscriber gets every good reading.
    """

    def __init__(self, site: Site, clock: Clock, tell: Tell) -> None:
        """ModelError where a meter's model cannot be used."""
        self._clock = clock
        self._listeners: list[Callable[[Reading], None]] = []
        self._stations: dict[str, Station] = {}
        for meter in site.meters:
            try:
                model = load_model(meter.model)
            except ModelError as error:
                raise ModelError(f"meter {meter.id}: {error}") from error
            station = Station(meter, model, possible_w(site, meter), clock, tell, self._spread)
            station.usual_w = usual_w(site, meter)
            self._stations[meter.id] = station
        self._buses = {
            bus.id: BusTask(
                bus, {name: one for name, one in self._stations.items() if one.meter.bus == bus.id}, clock, tell
            )
            for bus in site.buses
        }

    async def run(self) -> None:
        """Read all buses until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, bus in self._buses.items():
                group.create_task(bus.run(), name=f"bus {name}")

    def remember(self, newest: Mapping[str, Reading]) -> None:
        """The newest readings of the run before this one: a meter that was exchanged meanwhile shows by them."""
        for meter, reading in newest.items():
            if meter in self._stations:
                self._stations[meter].remember(reading)

    def begin_anew(self, moved: Callable[[Reading], Reading]) -> None:
        """Another life of the parts begins, at the right time: what was read before is moved to it."""
        self._listeners.clear()
        for station in self._stations.values():
            station.move(moved)

    def latest(self, meter: str) -> Reading | None:
        """The newest good reading, however old."""
        station = self._stations.get(meter)
        return station.latest if station is not None else None

    def series(self, meter: str, from_ms: int, to_ms: int) -> Sequence[Reading]:
        """Good readings with from_ms <= requested_ms <= to_ms, oldest first; the last 15 minutes are kept."""
        station = self._stations.get(meter)
        return station.series(from_ms, to_ms) if station is not None else ()

    def remembered(self) -> list[Reading]:
        """The last 15 minutes of all meters, oldest first for each."""
        return [reading for station in self._stations.values() for reading in station.series(0, sys.maxsize)]

    async def read_now(self, meter: str) -> Reading | None:
        """Read the energy register ahead of the poll plan. None after at most one Modbus timeout (link time)."""
        station = self._stations.get(meter)
        return await self._buses[station.meter.bus].read_now(meter) if station is not None else None

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        """Call `listener` with every good reading, in order of arrival."""
        self._listeners.append(listener)

    def status(self) -> dict[str, Any]:
        """`{"meters": [...]}` for the `status` command."""
        now_ms = self._clock.utc_ms()
        return {"meters": [self._status_of(station, now_ms) for station in self._stations.values()]}

    def _status_of(self, station: Station, now_ms: int) -> dict[str, Any]:
        reading = station.latest
        meter = station.meter
        return {
            "id": meter.id,
            "model": meter.model,
            "bus": meter.bus,
            "age_s": round((now_ms - reading.replied_ms) / 1000, 1) if reading is not None else None,
            "serial": station.serial,
            "import_wh": reading.import_wh if reading is not None else None,
            "export_wh": reading.export_wh if reading is not None else None,
            "power_w": reading.power_w if reading is not None else None,
            "lost": self._buses[meter.bus].lost(meter.id),
            "timeouts": station.counters.timeouts,
            "rejected": station.counters.rejected,
        }

    def _spread(self, reading: Reading) -> None:
        for listener in self._listeners:
            listener(reading)


def usual_w(site: Site, meter: Meter) -> int:
    """The most that flows through a meter whose wallboxes keep to their rating; of another one, what its fuse lets."""
    boxes = [one for one in site.connectors() if one.meter == meter.id]
    rated_w = sum(one.phases * VOLTS * one.max_ma // 1000 for one in boxes)
    return min(rated_w, possible_w(site, meter)) if boxes else possible_w(site, meter)
