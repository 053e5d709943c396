"""The whole building in one process: the real gateway, the simulators of the wire, one loop, one seed."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from gateway.app import Config, run
from gateway.model import World
from gateway.site_file import load_site
from simulators.building import Building, Outlet
from simulators.charger import Charger, ChargerPlan
from simulators.clock import SiteClock
from simulators.cloud.ingestor import Ingestor
from simulators.cloud.wire import Delivery
from simulators.csms import Csms
from simulators.demo.meters import MeterBank, Unit
from simulators.evidence import EventLog, FrameLog, TruthLog
from simulators.modbus_slave import Fault as SlaveFault
from simulators.modbus_slave import TcpSlave, Units

from .broker import Broker
from .clock import SimClock
from .disk import Disk
from .loop import NODE, SimLoop
from .net import Network
from .plan import Box, Fault, Plan, Visit, car, site_text, weather

EPOCH_MS = 1_781_341_200_000
"""2026-06-13 09:00 UTC, a Saturday: 11:00 in Zurich, so that the high tariff ends within a few hours."""

RESTART_AFTER_KILL_S = 3.0


@dataclass
class Machine:
    """One life of the gateway, from its start to its death."""

    node: str
    task: asyncio.Task[None]
    disk: Disk


class House:
    """Everything of one simulation. `run()` lives through the plan; the evidence is in `folder`."""

    def __init__(self, plan: Plan, folder: Path, loop: SimLoop, trace: Callable[[str], None]) -> None:
        self.plan, self.folder, self.loop, self._trace = plan, folder, loop, trace
        self.network = Network(loop, plan.seed)
        self.digest = hashlib.sha256()
        self.network.log = self._note
        self.random = Random(f"{plan.seed}/house")
        evidence = folder / "evidence"
        self.clock = SiteClock(EPOCH_MS, 0.0, 1.0)
        self.truth = TruthLog(evidence / "truth.db")
        self.events = EventLog(evidence / "events.jsonl", self.clock)
        self.charger_frames = FrameLog(evidence / "charger_wire.jsonl", self.clock)
        self.csms_frames = FrameLog(evidence / "csms_wire.jsonl", self.clock)
        self.building = self._building()
        cards = {box.card: "Accepted" for box in plan.boxes}
        self.csms = Csms([b.name for b in plan.boxes], cards, self.clock, evidence / "csms.db", self.csms_frames)
        self.chargers = {box.name: self._charger(box) for box in plan.boxes}
        self.broker = Broker()
        self.ingestor = Ingestor("broker", 1883, evidence / "cloud.db", self.clock.utc_ms, durable=False)
        self.ingestor._wire = _BrokerWire(self.broker, self.ingestor)  # type: ignore[assignment]
        self.slaves: dict[str, TcpSlave] = {}
        self.site_file = folder / "site.toml"
        self.site_file.write_text(site_text(plan), encoding="utf-8")
        self.machine: Machine | None = None
        self.graveyard: list[Machine] = []
        self.boots = 0
        self.failed: BaseException | None = None

    def _note(self, name: str, side: str, data: bytes) -> None:
        self.digest.update(f"{self.loop.time():.6f} {name} {side} {len(data)}\n".encode())

    def _building(self) -> Building:
        plan = self.plan
        outlets = [Outlet(box.name, "garage", box.meter, box.rotation, box.phases) for box in plan.boxes]
        names = ("grid", "pv", *(box.meter for box in plan.boxes))
        registers = {
            name: (self.random.uniform(1e5, 9e6), self.random.uniform(1e5, 9e6) if name in ("grid", "pv") else 0.0)
            for name in names
        }
        return Building(
            weather(plan.seed, EPOCH_MS, plan.seconds + 1200), plan.circuits, outlets, registers, self.truth
        )

    def _charger(self, box: Box) -> Charger:
        meter = self.building.meters[box.meter]
        own_wh = self.random.uniform(1e3, 9e5) - meter.import_wh
        return Charger(
            ChargerPlan(box.name, eager=box.eager),
            f"ws://gw-{box.name}:9000/{box.name}",
            self.building.outlets[box.name],
            lambda: self.building.reading(box.meter, self.clock.utc_ms())[1] + own_wh,
            self.clock,
            Random(f"{self.plan.seed}/{box.name}"),
            self.charger_frames,
        )

    # Life

    async def run(self) -> None:
        """Live through the plan, drain, stop."""
        await self._open()
        world = [self._seconds(), self.ingestor.run(), *(charger.run() for charger in self.chargers.values())]
        story = [*map(self._visit, self.plan.visits), *map(self._fault, self.plan.faults)]
        tasks = [self.loop.create_task(work) for work in (*world, *story)]
        for task in tasks:
            task.add_done_callback(self._ended)
        self.start_gateway()
        await asyncio.sleep(self.plan.seconds)
        await self._drain()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5)
        self._close()
        if self.failed is not None:
            raise self.failed

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A simulator that fails ends the run, with its error."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed = self.failed or error

    async def _open(self) -> None:
        await self.csms.start("csms", 80)
        await self.broker.listen("broker", 1883)
        lan = {1: Unit("grid", "abb_b23", 20_000_001), 2: Unit("pv", "iem3155", 20_000_002)}
        await self._line("lan", 502, lan, rtu=False)
        for line in sorted({box.line for box in self.plan.boxes}):
            units = {b.unit: Unit(b.meter, "iem3155", 30_000_000 + b.unit) for b in self.plan.boxes if b.line == line}
            await self._line(f"line{line}", 4001, units, rtu=True)

    async def _line(self, host: str, port: int, units: dict[int, Unit], *, rtu: bool) -> None:
        slave = TcpSlave(Units(MeterBank(self.building, self.clock, units).read, baud=9600 if rtu else None), rtu=rtu)
        await slave.start(host, port)
        for unit, found in units.items():
            self.slaves[found.meter] = slave
            self._units[found.meter] = unit

    @property
    def _units(self) -> dict[str, int]:
        return self.__dict__.setdefault("_unit_of", {})  # type: ignore[no-any-return]

    async def _seconds(self) -> None:
        while True:
            now_ms = self.clock.utc_ms()
            self.building.advance(now_ms)
            await self.clock.sleep_until((now_ms // 1000 + 1) * 1000)

    async def _drain(self) -> None:
        """Everything mended; wait for the next quarter hour and for the outbox to run dry."""
        if self.machine is None:
            self.start_gateway()
        k = self.clock.utc_ms() // 900_000 + 1
        await self.clock.sleep_until(k * 900_000 + 60_000)
        assert self.machine is not None
        self.machine.task.cancel()
        await asyncio.wait([self.machine.task], timeout=30)

    def _close(self) -> None:
        self.building.close()
        for log in (self.truth, self.events, self.charger_frames, self.csms_frames):
            log.close()
        (self.folder / "evidence" / "beat.json").write_text('{"longest_stall_ms": 0.0}\n')
        (self.folder / "scale.json").write_text(
            json.dumps({"epoch": "2026-06-13T09:00:00Z", "monotonic": 0.0, "speed": 1, "seed": self.plan.seed})
        )

    # The gateway

    def start_gateway(self, image: dict[str, bytes] | None = None) -> None:
        """Switch the machine on, with what its disk held."""
        self.boots += 1
        node = f"gateway-{self.boots}"
        disk = Disk(image)
        site = load_site(self.site_file)
        world = World(
            clock=SimClock(self.loop, EPOCH_MS),
            random=Random(f"{self.plan.seed}/{node}"),
            store=None,  # type: ignore[arg-type]
            net=None,  # type: ignore[arg-type]
            connect_database=disk.connect,
            open_socket=lambda host, port, tls: self.network.connect_socket(host, port),  # type: ignore[arg-type,return-value]
            notify=lambda line: self._notified(node, line),
        )
        config = Config(site=site, state=self.folder / "state", run_dir=None)
        context = contextvars.copy_context()
        context.run(NODE.set, node)
        (self.folder / "state").mkdir(exist_ok=True)
        task = self.loop.create_task(run(config, world), context=context, name=node)
        task.add_done_callback(self._gateway_ended)
        self.machine = Machine(node, task, disk)
        self._trace(f"{self.loop.time():9.3f} {node} starts")

    def _notified(self, node: str, line: str) -> None:
        if line.startswith("READY=1"):
            self.events.event("gateway_ready", node=node)

    def _gateway_ended(self, task: asyncio.Task[None]) -> None:
        self._ended(task)

    def kill_gateway(self, *, power: bool) -> dict[str, bytes] | None:
        """SIGKILL or power cut: nothing of the machine runs any more. Returns its disk."""
        machine = self.machine
        if machine is None:
            return None
        self.machine = None
        image = machine.disk.cut_power(self.random) if power else machine.disk.stop()
        self.loop.dead.add(machine.node)
        self.network.cut_node(machine.node)
        self.graveyard.append(machine)  # kept: the collector must not close its coroutines
        self.events.event("gateway_killed", node=machine.node, power=power)
        return image

    # Drivers

    async def _visit(self, visit: Visit) -> None:
        box = next(box for box in self.plan.boxes if box.name == visit.box)
        charger = self.chargers[visit.box]
        await asyncio.sleep(visit.at_s)
        charger.plug(car(visit, Random(f"{self.plan.seed}/{visit}")))
        for _ in range(20):
            answer = await charger.present(box.card)
            if charger.transaction is not None:
                self.events.event("car_started", charger=box.name, card=box.card)
                break
            self._trace(f"{self.loop.time():9.3f} {box.name}: card {answer}")
            await asyncio.sleep(30)
        await asyncio.sleep(visit.stays_s)
        if charger.transaction is not None:
            self.events.event("car_stopped", charger=box.name, card=box.card)
        await charger.unplug()

    # Faults

    async def _fault(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at_s)
        self._trace(f"{self.loop.time():9.3f} fault {fault}")
        self.events.event("fault", kind=fault.kind, target=fault.target, lasts_s=fault.lasts_s)
        await getattr(self, f"_{fault.kind}")(fault)

    async def _csms_away(self, fault: Fault) -> None:
        await self._away("csms:80", fault.lasts_s)

    async def _broker_away(self, fault: Fault) -> None:
        await self._away("broker:1883", fault.lasts_s)

    async def _away(self, name: str, lasts_s: float) -> None:
        link = self.network.link(name)
        link.refused = True
        self.network.cut(name)
        await asyncio.sleep(lasts_s)
        link.refused = False

    async def _csms_slow(self, fault: Fault) -> None:
        link = self.network.link("csms:80")
        link.latency_s, before = 4.0, link.latency_s
        await asyncio.sleep(fault.lasts_s)
        link.latency_s = min(before, 0.001)

    async def _csms_half_open(self, fault: Fault) -> None:
        link = self.network.link("csms:80")
        link.half_open = True
        await asyncio.sleep(fault.lasts_s)
        link.half_open = False
        self.network.cut("csms:80")

    async def _broker_forgets(self, fault: Fault) -> None:
        self.broker.forget = True
        await asyncio.sleep(fault.lasts_s)
        self.broker.forget = False

    async def _box_link_cut(self, fault: Fault) -> None:
        self.network.cut(f"gw-{fault.target}:9000")

    async def _box_link_away(self, fault: Fault) -> None:
        await self._away(f"gw-{fault.target}:9000", fault.lasts_s)

    async def _box_link_split(self, fault: Fault) -> None:
        link = self.network.link(f"gw-{fault.target}:9000")
        link.split = 0.5
        await asyncio.sleep(fault.lasts_s)
        link.split = 0.0

    async def _box_reboot(self, fault: Fault) -> None:
        self.chargers[fault.target].accepted = False
        self.network.cut(f"gw-{fault.target}:9000")

    async def _meter_silent(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("silent"))

    async def _meter_late(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("late", seconds=0.9, every=3))

    async def _meter_garbled(self, fault: Fault) -> None:
        await self._meter_fault(fault, SlaveFault("garbled", every=2))

    async def _meter_fault(self, fault: Fault, what: SlaveFault) -> None:
        faults: dict[int, Any] = self.slaves[fault.target].units.faults
        unit = self._units[fault.target]
        faults[unit] = what
        await asyncio.sleep(fault.lasts_s)
        if faults.get(unit) is what:
            del faults[unit]

    async def _kill(self, fault: Fault) -> None:
        await self._die(fault, power=False)

    async def _power_cut(self, fault: Fault) -> None:
        await self._die(fault, power=True)

    async def _die(self, fault: Fault, *, power: bool) -> None:
        image = self.kill_gateway(power=power)
        if image is None:
            return
        await asyncio.sleep(fault.lasts_s)
        if self.machine is None:
            self.start_gateway(image)


class _BrokerWire:
    """The ingestor's line to the simulated broker."""

    def __init__(self, broker: Broker, ingestor: Ingestor) -> None:
        self._broker = broker
        self.ready = asyncio.Event()
        for pattern in ("zgw/sim/+/up/#", "zgw/sim/+/state"):
            broker.subscribe(
                pattern, lambda topic, payload: ingestor._take(Delivery(topic, payload, 0, None))  # type: ignore[arg-type]
            )

    def publish(self, topic: str, payload: bytes) -> None:
        self._broker.publish(topic, payload)

    def confirm(self, message: Delivery) -> None:
        """The broker has nothing to wait for."""

    async def run(self) -> None:
        self.ready.set()
        await asyncio.get_running_loop().create_future()
