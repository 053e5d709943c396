"""What can go wrong in the seeded house, each kind a few lines: `Faults.strike(fault)`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from simulators.modbus_slave import Fault as SlaveFault

from .hostile import HOSTILE
from .plan import Fault, wrong_by_ms

if TYPE_CHECKING:
    from .boxes import SeededCharger
    from .house import House

FRESH_REGISTER_WH = 250.0
SLOW_BOX_S = 2.5
SLOW_CSMS_S = 4.0
OFF_S = 20.0
NAMED_AGAIN_S = 10.0
"""So soon the gateway knows by the serial number that the right meter answers again."""


class Faults:
    """Makes the faults of a plan happen, and tells the story of each (simulators/README.md)."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._swapped: set[str] = set()

    async def strike(self, fault: Fault) -> None:
        """Wait for its time, let it happen, mend it."""
        await asyncio.sleep(fault.at_s)
        self._house.trace(f"fault {fault}")
        self._tell("fault", kind=fault.kind, target=fault.target, lasts_s=fault.lasts_s)
        if fault.kind in HOSTILE:
            await HOSTILE[fault.kind](self._house, fault)
            self._house.take_stock()
        else:
            await getattr(self, f"_{fault.kind}")(fault)

    def _tell(self, what: str, **keys: Any) -> None:
        self._house.events.event(what, **keys)

    # Central system and cloud

    async def _csms_away(self, fault: Fault) -> None:
        self._tell("uplink_cut", link="csms")
        await self._away("csms:80", fault.lasts_s)

    async def _broker_away(self, fault: Fault) -> None:
        await self._away("broker:1883", fault.lasts_s)

    async def _away(self, name: str, lasts_s: float) -> None:
        network = self._house.network
        network.refuse(name, +1)
        network.cut(name)
        await asyncio.sleep(lasts_s)
        network.refuse(name, -1)

    async def _csms_slow(self, fault: Fault) -> None:
        self._tell("uplink_slow", link="csms", ms=round(SLOW_CSMS_S * 1000))
        await self._slow("csms:80", fault, SLOW_CSMS_S)
        self._tell("uplink_fast", link="csms", ms=round(SLOW_CSMS_S * 1000))

    async def _slow(self, name: str, fault: Fault, latency_s: float) -> None:
        link = self._house.network.link(name)
        link.latency_s += latency_s
        await asyncio.sleep(fault.lasts_s)
        link.latency_s -= latency_s

    async def _csms_half_open(self, fault: Fault) -> None:
        self._tell("uplink_cut", link="csms")
        self._tell("uplink_half_open", link="csms")
        await self._half_open("csms:80", fault)
        self._tell("uplink_whole", link="csms")
        self._tell("uplink_cut", link="csms")

    async def _broker_half_open(self, fault: Fault) -> None:
        await self._half_open("broker:1883", fault)

    async def _half_open(self, name: str, fault: Fault) -> None:
        link = self._house.network.link(name)
        link.half_open += 1
        await asyncio.sleep(fault.lasts_s)
        link.half_open -= 1
        self._house.network.cut(name)

    async def _csms_late(self, fault: Fault) -> None:
        await self._mischief(fault)

    async def _csms_twice(self, fault: Fault) -> None:
        await self._mischief(fault)

    async def _csms_error(self, fault: Fault) -> None:
        await self._mischief(fault)

    async def _csms_unknown_id(self, fault: Fault) -> None:
        await self._mischief(fault)

    async def _csms_repeats_id(self, fault: Fault) -> None:
        await self._mischief(fault)

    async def _mischief(self, fault: Fault) -> None:
        kinds = self._house.mischief.kinds
        kinds.add(fault.kind)
        await asyncio.sleep(fault.lasts_s)
        kinds.discard(fault.kind)

    async def _broker_forgets(self, fault: Fault) -> None:
        self._house.broker.forget = True
        await asyncio.sleep(fault.lasts_s)
        self._house.broker.forget = False

    async def _cloud_loses_acks(self, fault: Fault) -> None:
        self._house.ingestor.faults.lose_acks += 3

    # Wallboxes

    async def _box_link_cut(self, fault: Fault) -> None:
        self._cut(fault)

    async def _box_link_torn(self, fault: Fault) -> None:
        """The next frame ends in its middle."""
        self._house.network.link(_link(fault)).tear = True
        self._tell("charger_cut", charger=fault.target)

    def _cut(self, fault: Fault) -> None:
        self._tell("charger_cut", charger=fault.target)
        self._house.network.cut(_link(fault))

    async def _box_link_away(self, fault: Fault) -> None:
        self._tell("charger_cut", charger=fault.target)
        await self._lost(fault, self._away(_link(fault), fault.lasts_s))

    async def _box_link_half_open(self, fault: Fault) -> None:
        self._tell("charger_cut", charger=fault.target)
        await self._lost(fault, self._half_open(_link(fault), fault))
        self._tell("charger_cut", charger=fault.target)

    async def _box_link_slow(self, fault: Fault) -> None:
        self._tell("charger_slow", charger=fault.target, ms=round(SLOW_BOX_S * 1000))
        await self._lost(fault, self._slow(_link(fault), fault, SLOW_BOX_S))
        self._tell("charger_fast", charger=fault.target, ms=round(SLOW_BOX_S * 1000))

    async def _lost(self, fault: Fault, happening: Any) -> None:
        self._tell("charger_lost", charger=fault.target, disobeys=False)
        await happening
        self._tell("charger_back", charger=fault.target, disobeys=False)

    async def _box_link_split(self, fault: Fault) -> None:
        link = self._house.network.link(_link(fault))
        link.split = 0.5
        await asyncio.sleep(fault.lasts_s)
        link.split = 0.0

    async def _box_reboot(self, fault: Fault) -> None:
        self._house.chargers[fault.target].reboot()
        self._cut(fault)

    async def _box_repeats(self, fault: Fault) -> None:
        await self._house.chargers[fault.target].repeat_last()

    async def _box_ignores(self, fault: Fault) -> None:
        charger = self._house.chargers[fault.target]
        if charger.ignores_ma is not None:
            return
        charger.ignores_ma = charger.offer_ma(self._house.clock.utc_ms()) or 0
        self._tell("charger_lost", charger=fault.target, disobeys=True)
        await asyncio.sleep(fault.lasts_s)
        charger.ignores_ma = None
        self._tell("charger_back", charger=fault.target, disobeys=True)

    async def _box_reorders(self, fault: Fault) -> None:
        """Without its link a transaction ends; afterwards its stop comes first, then what was metered before."""
        charger = self._house.chargers[fault.target]
        self._tell("charger_cut", charger=fault.target)
        self._tell("charger_reorders", charger=fault.target)
        charger.reorders = True
        async with asyncio.TaskGroup() as both:
            both.create_task(self._lost(fault, self._away(_link(fault), fault.lasts_s)))
            both.create_task(self._stopped_after(fault.lasts_s / 2, charger))

    async def _stopped_after(self, seconds: float, charger: SeededCharger) -> None:
        await asyncio.sleep(seconds)
        if charger.transaction is not None:
            await charger.stop("Local", charger.transaction.card)

    # Meters

    async def _meters_swapped(self, fault: Fault) -> None:
        """Two meters whose serial numbers stand in the site file exchange their addresses, and get them back."""
        named = [box for box in self._house.plan.boxes if box.named]
        first = named[int(fault.size * len(named))] if named else None
        others = [box for box in named if first is not None and box.line == first.line and box is not first]
        if first is None or not others or self._swapped & {first.meter, *(box.meter for box in others)}:
            return
        second = others[int(fault.size * 1000) % len(others)]
        self._swapped |= {first.meter, second.meter}
        units, one, other = self._house.banks[first.meter]._units, first.unit, second.unit
        units[one], units[other] = units[other], units[one]
        for box in (first, second):
            self._tell("meter_silent", meter=box.meter, how="swapped")
        await asyncio.sleep(fault.lasts_s)
        units[one], units[other] = units[other], units[one]
        await asyncio.sleep(NAMED_AGAIN_S)
        for box in (first, second):
            self._tell("meter_back", meter=box.meter)
        self._swapped -= {first.meter, second.meter}

    async def _meter_silent(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("silent"))

    async def _meter_late(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("late", seconds=0.9, every=3))

    async def _meter_garbled(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("garbled", every=2))

    async def _meter_zero(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("equal", code=0))

    async def _meter_frozen(self, fault: Fault) -> None:
        """Its registers stand still while power flows; the powers go on."""
        bank = self._house.banks[fault.target]
        if fault.target in bank.frozen:
            return
        bank.freeze(fault.target)
        self._tell("meter_lies", meter=fault.target)
        self._tell("meter_silent", meter=fault.target, how="frozen")
        await asyncio.sleep(fault.lasts_s)
        bank.frozen.pop(fault.target, None)
        self._tell("meter_back", meter=fault.target)
        await asyncio.sleep(5)
        self._tell("meter_honest", meter=fault.target)

    async def _meter_fault(self, fault: Fault, what: SlaveFault) -> None:
        slave, unit = self._house.slaves[fault.target], self._house.units[fault.target]
        faults: dict[int, Any] = slave.units.faults
        if unit not in faults:  # a newer fault takes the place of an older one: both are one trouble, which ends once
            self._tell("meter_silent", meter=fault.target, how=what.kind)
        faults[unit] = what
        await asyncio.sleep(fault.lasts_s)
        if faults.get(unit) is what:
            del faults[unit]
            self._tell("meter_back", meter=fault.target)

    async def _meter_exchanged(self, fault: Fault) -> None:
        """Another meter hangs there: another serial number, other registers.

        Not where the site file names the serial number: that exchange begins with an entry there and a restart.
        """
        house = self._house
        if any(box.meter == fault.target and box.named for box in house.plan.boxes):
            return
        bank, unit = house.banks[fault.target], house.units[fault.target]
        old = bank._units[unit]
        house.building.advance(house.clock.utc_ms())
        truth = house.building.meters[fault.target]
        truth.pass_to(house.clock.utc_ms())
        before_wh, truth.import_wh = truth.import_wh, FRESH_REGISTER_WH + fault.size * 1000
        house.jumped_wh[fault.target] = house.jumped_wh.get(fault.target, 0.0) + truth.import_wh - before_wh
        bank._units[unit] = replace(old, serial=old.serial + 1_000_000)
        self._tell("meter_exchanged", meter=fault.target, jump_wh=truth.import_wh - before_wh)
        self._tell("meter_silent", meter=fault.target, how="exchanged")
        await asyncio.sleep(5)
        self._tell("meter_back", meter=fault.target)

    # The gateway's machine

    async def _disk_full(self, fault: Fault) -> None:
        machine = self._house.machine
        if machine is None or machine.disk.full:
            return
        machine.disk.full = True
        self._tell("disk_full")
        await asyncio.sleep(fault.lasts_s)
        machine.disk.full = False
        self._tell("disk_mended")

    async def _clock_step(self, fault: Fault) -> None:
        """The wall clock is set by up to 1.5 s, and set right again."""
        machine = self._house.machine
        if machine is None:
            return
        step_ms = round((fault.size - 0.5) * 3000)
        machine.clock.step(step_ms)
        await asyncio.sleep(fault.lasts_s)
        machine.clock.step(-step_ms)

    async def _clock_wrong(self, fault: Fault) -> None:
        """The power fails; the machine starts with the time of a bad clock, and a time server answers later.

        At second 0 it is the first start of all.
        """
        house = self._house
        if fault.at_s:
            if house.wall_off_ms:
                return
            house.kill_gateway(power=True)
            house.wall_off_ms = wrong_by_ms(fault.size)  # whichever fault switches it on again
        self._tell("clock_wrong", off_ms=house.wall_off_ms)
        if fault.at_s:
            await asyncio.sleep(OFF_S)
            house.switch_on()
        await asyncio.sleep(fault.lasts_s)
        house.set_clock_right()
        self._tell("clock_right")

    async def _kill(self, fault: Fault) -> None:
        self._house.kill_gateway(power=False)
        await self._switch_on(fault)

    async def _power_cut(self, fault: Fault) -> None:
        self._house.kill_gateway(power=True)
        await self._switch_on(fault)

    async def _kill_at_await(self, fault: Fault) -> None:
        """Between two steps of its tasks, whichever they are."""
        house, machine = self._house, self._house.machine
        if machine is None:
            return
        died = asyncio.Event()

        def die() -> None:
            if house.machine is machine:
                house.kill_gateway(power=False)
            died.set()

        house.loop.after_callbacks(machine.node, 1 + round(fault.size * 3000), die)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await died.wait()
        if not died.is_set():
            house.loop.disarm()
            return
        await self._switch_on(fault)

    async def _power_cut_at_write(self, fault: Fault) -> None:
        """In the middle of what the database writes."""
        house, machine = self._house, self._house.machine
        if machine is None:
            return
        left = 1 + round(fault.size * 60)
        died = asyncio.Event()

        def on_write(_number: int) -> None:
            nonlocal left
            left -= 1
            if left == 0 and house.machine is machine:
                house.pull_plug()
                house.loop.call_soon(died.set, context=house.context)

        machine.disk.on_write = on_write
        try:
            async with asyncio.timeout(120):
                await died.wait()
        except TimeoutError:
            machine.disk.on_write = None
            return
        await self._switch_on(fault)

    async def _switch_on(self, fault: Fault) -> None:
        await asyncio.sleep(fault.lasts_s)
        self._house.switch_on()


def _link(fault: Fault) -> str:
    return f"gw-{fault.target}:9000"


def source(seed: int, name: str) -> Random:
    """A random source of its own for each part: what one draws does not shift another's."""
    return Random(f"{seed}/{name}")
