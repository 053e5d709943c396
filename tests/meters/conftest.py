"""Meters on real wires for the tests: a pty or a TCP port, site time sixty times fast."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gateway.clock import Scale, ScaledClock
from gateway.meters.meters import Meters
from gateway.model import Event, Reading
from gateway.site import Bus, Circuit, Meter, Site, Tariff
from simulators.meter_image import Model, Physical, registers
from simulators.modbus_slave import Answer, PtySlave, TcpSlave, Units

SPEED = 60
HALF_PAST_ELEVEN = 1781343000000
"""2026-06-13T09:30:00Z."""


class Building:
    """Meters by unit, each with what flows through it. Energy grows with the site's time."""

    def __init__(self, clock: ScaledClock) -> None:
        self.clock = clock
        self.models: dict[int, Model] = {}
        self.start_wh: dict[int, float] = {}
        self.power_w: dict[int, float] = {}
        self.serials: dict[int, int] = {}
        self.absent: set[int] = set()

    def add(self, unit: int, model: Model, *, wh: float = 10_000, power_w: float = 3600, serial: int = 0) -> None:
        self.models[unit] = model
        self.start_wh[unit], self.power_w[unit] = wh, power_w
        self.serials[unit] = serial or 1000 + unit

    def true_wh(self, unit: int, at_ms: int) -> float:
        return self.start_wh[unit] + self.power_w[unit] * (at_ms - HALF_PAST_ELEVEN) / 3_600_000

    def physical(self, unit: int) -> Physical:
        phase = self.power_w[unit] / 3
        return Physical(
            import_wh=self.true_wh(unit, self.clock.utc_ms()),
            power_w=(phase, phase, phase),
            current_a=(phase / 230, phase / 230, phase / 230),
            serial=self.serials[unit],
        )

    def read(self, unit: int, table: str, address: int, count: int) -> Answer:
        if unit not in self.models:
            return None
        return registers(self.models[unit], self.physical(unit), table, address, count)  # type: ignore[arg-type]


@dataclass
class Running:
    """The gateway's meters at work, what they told and read."""

    meters: Meters
    events: list[Event]
    readings: list[Reading] = field(default_factory=list)

    def of(self, meter: str) -> list[Reading]:
        return [reading for reading in self.readings if reading.meter == meter]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - a condition of another task, polled
                await asyncio.sleep(0.002)


def site_of(buses: tuple[Bus, ...], meters: tuple[Meter, ...]) -> Site:
    house = Circuit(id="house", parent=None, fuse_a=40, fuse="gG", limit_ma=40_000, house_worst_ma=0, safe_ma=0)
    return Site(
        id="s",
        name="s",
        timezone="Europe/Zurich",
        circuits=(house,),
        buses=buses,
        meters=meters,
        tariff=Tariff(id="t", default="HT", windows=()),
    )


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(Scale(HALF_PAST_ELEVEN, time.monotonic(), SPEED))


@pytest.fixture
def building(clock: ScaledClock) -> Building:
    return Building(clock)


@pytest.fixture
def units(building: Building) -> Units:
    return Units(building.read)


@pytest.fixture
async def pty(units: Units) -> AsyncIterator[PtySlave]:
    slave = PtySlave(units)
    slave.start()
    yield slave
    slave.close()


@pytest.fixture
async def tcp(units: Units) -> AsyncIterator[tuple[TcpSlave, int]]:
    slave = TcpSlave(units)
    port = await slave.start()
    yield slave, port
    await slave.close()


@pytest.fixture
def run_meters(clock: ScaledClock) -> Callable[..., object]:
    """`async with run_meters(buses, meters) as running`."""

    @asynccontextmanager
    async def start(buses: tuple[Bus, ...], meters: tuple[Meter, ...]) -> AsyncIterator[Running]:
        events: list[Event] = []
        port = Meters(site_of(buses, meters), clock, events.append)
        running = Running(port, events)
        port.subscribe(running.readings.append)
        task = asyncio.create_task(port.run())
        try:
            yield running
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return start


@pytest.fixture
def site_with() -> Callable[[tuple[Bus, ...], tuple[Meter, ...]], Site]:
    return site_of
