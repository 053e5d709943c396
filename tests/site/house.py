"""The whole building in one process: the real gateway, the simulators of the wire, one loop, one seed."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import itertools
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from gateway.app import Config, run
from gateway.model import World
from gateway.records.signing import list_keys
from gateway.site import Site
from gateway.site_file import load_site
from simulators.building import Building, Outlet
from simulators.cars import MIN_OFFER_MA, Car
from simulators.charger import ChargerPlan
from simulators.clock import QUARTER_MS, SiteClock, iso
from simulators.cloud.ingestor import Ingestor
from simulators.cloud.wire import Delivery
from simulators.csms import Csms
from simulators.demo.meters import Unit
from simulators.evidence import EventLog, FrameLog, TruthLog
from simulators.meter_image import NAMELESS, RANGE_WH, TURNAROUND_S, step_wh
from simulators.modbus_slave import TcpSlave, Units

from .bank import FreezingBank
from .boxes import SeededCharger, watch_sent
from .broker import Broker
from .budget import LOOK_EVERY_S, Budget
from .clock import SimClock
from .disk import Disk
from .drain import Credit
from .faults import Faults
from .loop import NODE, SimLoop
from .mischief import Mischief
from .net import Link, Network
from .past import Past, PastFigures
from .plan import Box, Plan, Visit, weather, wrong_by_ms
from .site_file import site_text
from .turns import Turns
from .watch import Watch

CLOSING_S = 25.0
"""After the last quarter hour of the story: its registers are read and told."""

BURIED_AFTER_S = 10.0
"""Its links are down by then, on both sides: closing them again reaches nobody."""

CARD_AGAIN_S = 30.0
ASK_EVERY_S = 100.0
ASK_SOON_S = 15.0
"""What has waited for days is told in minutes."""
CLOCK_OFF_MS = 1500
"""The largest step of a wall clock in this house."""


@dataclass
class Machine:
    """One life of the gateway, from its start to its death."""

    node: str
    task: asyncio.Task[None]
    disk: Disk
    clock: SimClock


class House:
    """Everything of one simulation. `run()` lives through the plan; the evidence is in `folder`."""

    def __init__(self, plan: Plan, folder: Path, loop: SimLoop, trace: Callable[[str], None]) -> None:
        self.plan, self.folder, self.loop, self._tracer = plan, folder, loop, trace
        self.context = contextvars.copy_context()
        self.network = Network(loop, plan.seed)
        self.digest = hashlib.sha256()
        self.network.log = self._note
        self.random = Random(f"{plan.seed}/house")
        evidence = folder / "evidence"
        self.clock = SiteClock(plan.start_ms, 0.0, 1.0)
        self.truth = TruthLog(evidence / "truth.db")
        self.events = EventLog(evidence / "events.jsonl", self.clock)
        self.charger_frames = FrameLog(evidence / "charger_wire.jsonl", self.clock)
        self.csms_frames = FrameLog(evidence / "csms_wire.jsonl", self.clock)
        self.jumped_wh: dict[str, float] = {}
        """By how much an exchange of meters has changed a register; the boxes' own do not notice."""
        self.building = self._building()
        cards = {box.card: "Accepted" for box in plan.boxes}
        self.csms = Csms([b.name for b in plan.boxes], cards, self.clock, evidence / "csms.db", self.csms_frames)
        self.chargers = {box.name: self._charger(box) for box in plan.boxes}
        for charger in self.chargers.values():
            watch_sent(charger)
        self.mischief = Mischief(self.csms, Random(f"{plan.seed}/mischief"))
        self.broker = Broker()
        self.ingestor = Ingestor("broker", 1883, evidence / "cloud.db", self.clock.utc_ms, durable=False)
        self.ingestor._wire = _BrokerWire(self.broker, self.ingestor)  # type: ignore[assignment]
        self.drain: Credit | None = None
        """Where the days before the watch passed without CSMS and cloud: what is on its way to the cloud."""
        self.past = PastFigures()
        self.slaves: dict[str, TcpSlave] = {}
        self.units: dict[str, int] = {}
        self.banks: dict[str, FreezingBank] = {}
        self.watch = Watch(plan, self.building, self.chargers, self.clock)
        self.budget = Budget(len(plan.boxes))
        self.turns = Turns(plan, self.building, self.chargers, self.watch.violated)
        self.events.listeners.append(self.watch.hear)
        self.site_file = folder / "site.toml"
        self.site_file.write_text(site_text(plan), encoding="utf-8")
        self.machine: Machine | None = None
        self.image: dict[str, bytes] | None = None
        first = [fault for fault in plan.faults if fault.kind == "clock_wrong" and not fault.at_s]
        self.wall_off_ms = wrong_by_ms(first[0].size) if first else 0
        """By how much the machine's clock is wrong when it starts: nobody has compared it yet."""
        self.clock_was_off = False
        self.switched_on_s: float | None = None
        """Since when the machine has had power; None: it has none."""

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
        for box in plan.boxes:
            if box.level_wh is not None:
                registers[box.meter] = (box.level_wh, 0.0)
        return Building(weather(plan, plan.seconds + 1200), plan.circuits, outlets, registers, self.truth)

    def _charger(self, box: Box) -> SeededCharger:
        meter = self.building.meters[box.meter]
        own_wh = self.random.uniform(1e3, 9e5)
        before_wh = meter.import_wh

        def register_wh() -> float:
            mid_wh = self.building.reading(box.meter, self.clock.utc_ms())[1]
            return own_wh + mid_wh - before_wh - self.jumped_wh.get(box.meter, 0.0)

        charger = SeededCharger(
            ChargerPlan(box.name, eager=box.eager),
            f"ws://gw-{box.name}:9000/{box.name}",
            self.building.outlets[box.name],
            register_wh,
            self.clock,
            Random(f"{self.plan.seed}/{box.name}"),
            self.charger_frames,
        )
        charger.quirk = box.quirk
        if box.quirk in ("no_zero", "forgets"):
            least_ma = MIN_OFFER_MA if box.quirk == "no_zero" else box.fallback_a * 1000
            self.events.event("charger_holds", charger=box.name, ma=least_ma)
        return charger

    def trace(self, line: str) -> None:
        """One line for who watches."""
        self._tracer(f"{self.loop.time() - self.plan.away_s:9.3f} {line}")

    def _write_scale(self) -> None:
        scale = {"epoch": iso(self.plan.start_ms), "monotonic": 0.0, "speed": 1, "seed": self.plan.seed, "watch": True}
        scale["way_ms"] = round(2000 * Link.latency_s)  # from the central system to the gateway, and on to a box
        if any(fault.kind == "clock_step" for fault in self.plan.faults):
            scale["clock_off_ms"] = CLOCK_OFF_MS
        (self.folder / "scale.json").write_text(json.dumps(scale))

    # Life

    async def run(self, until_s: float | None = None) -> None:
        """Live through the plan, drain, stop; with `until_s` only so far, and nothing is drained."""
        self._write_scale()
        await self._open()
        faults = Faults(self)
        ends = [self.ingestor.run(), *(charger.run() for charger in self.chargers.values())]
        tasks: list[asyncio.Task[None]] = []
        if self.plan.away_s:
            tasks, ends = self._begin(ends), []
            past = Past(self)
            self.past = past.figures
            await past.live()
            self.drain = Credit()
            self.broker.subscribe("zgw/sim/+/up/#", self.drain.up)
            self.broker.subscribe("zgw/sim/+/down/#", self.drain.down)
        story = [
            *map(self._visit, self.plan.visits),
            *map(faults.strike, self.plan.faults),
            *map(self._show, self.plan.boxes),
            *([self._ask()] if self.plan.crowded or self.drain else []),
        ]
        tasks += self._begin([self._seconds(), *ends, *story])
        self.start_gateway()
        if until_s is None:
            await asyncio.sleep(self.plan.seconds)
            await self._drain()
        else:
            await asyncio.sleep(until_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=5)
        self._close()
        if self.failed is not None:
            raise self.failed

    def _begin(self, works: Sequence[Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
        tasks = [self.loop.create_task(work) for work in works]
        for task in tasks:
            task.add_done_callback(self._ended)
        return tasks

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
            units = {b.unit: Unit(b.meter, b.model, b.serial, b.rotation) for b in self.plan.boxes if b.line == line}
            await self._line(f"line{line}", 4001, units, rtu=True)

    async def _line(self, host: str, port: int, units: dict[int, Unit], *, rtu: bool) -> None:
        bank = FreezingBank(self.building, self.clock, units)
        bank.frozen = {}
        thinks_s = {unit: TURNAROUND_S[found.model] for unit, found in units.items()}
        slave = TcpSlave(Units(bank.read, baud=9600 if rtu else None, turnaround_s=thinks_s), rtu=rtu)
        await slave.start(host, port)
        for unit, found in units.items():
            self.slaves[found.meter], self.banks[found.meter], self.units[found.meter] = slave, bank, unit
            level_wh = self.building.meters[found.meter].import_wh
            steps = {"step_wh": step_wh(found.model, level_wh), "range_wh": RANGE_WH.get(found.model)}
            steps["named"] = found.model not in NAMELESS
            self.events.event("meter_counts", meter=found.meter, model=found.model, **steps)

    async def _seconds(self) -> None:
        while True:
            now_ms = self.clock.utc_ms()
            self.building.advance(now_ms)
            self.watch.second(now_ms)
            self.turns.second(now_ms, self.watch.trouble)
            if (now_ms - self.plan.epoch_ms) // 1000 % LOOK_EVERY_S == LOOK_EVERY_S - 1:
                self.take_stock()
            await self.clock.sleep_until((now_ms // 1000 + 1) * 1000)

    def take_stock(self) -> None:
        """What the machine holds now (I12)."""
        if self.machine is not None:
            self.budget.look(self.machine.task, self.machine.disk)

    async def _drain(self) -> None:
        """Everything is mended: wait until the next quarter hour is told and the outbox has run dry, then stop."""
        self.switch_on()
        k = self.clock.utc_ms() // QUARTER_MS + 1
        await self.clock.sleep_until(k * QUARTER_MS + CLOSING_S * 1000)
        self.events.event("story_end")
        self.turns.close(self.clock.utc_ms())
        await asyncio.sleep(CLOSING_S)
        machine = self.machine
        assert machine is not None
        self.events.event("gateway_stopped", node=machine.node)
        self.take_stock()
        machine.task.cancel()
        await asyncio.wait([machine.task], timeout=30)
        self.budget.ended(machine.disk)
        if not machine.task.done():
            raise RuntimeError(f"{machine.node} does not end")
        await asyncio.sleep(1)

    def _close(self) -> None:
        self.building.close()
        for log in (self.truth, self.events, self.charger_frames, self.csms_frames):
            log.close()
        evidence = self.folder / "evidence"
        (evidence / "beat.json").write_text('{"longest_stall_ms": 0.0}\n')
        keys = list_keys(self.folder / "state" / "keys")
        (evidence / "public_keys.json").write_text(json.dumps({"v": 1, "keys": keys}))

    # The gateway

    def switch_on(self) -> None:
        """The machine starts with what its disk held, unless it runs."""
        if self.machine is None:
            self.start_gateway()

    def start_gateway(self, site: Site | None = None) -> None:
        """Start the real gateway on the disk as it is now; `site` where it is not to be that of the file."""
        self.boots += 1
        node = f"gateway-{self.boots}"
        disk = Disk(self.image)
        if self.switched_on_s is None:
            self.switched_on_s = self.loop.time()
        clock = SimClock(self.loop, self.plan.start_ms, self.wall_off_ms, self.switched_on_s, self._tell_clock)
        world = World(
            clock=clock,
            random=Random(f"{self.plan.seed}/{node}"),
            store=None,  # type: ignore[arg-type]
            net=None,  # type: ignore[arg-type]
            connect_database=disk.connect,
            open_socket=lambda host, port, tls: self.network.connect_socket(host, port),  # type: ignore[arg-type,return-value]
            notify=lambda line: self._notified(node, line),
        )
        config = Config(site=site or load_site(self.site_file), state=self.folder / "state", run_dir=None)
        context = self.context.copy()
        context.run(NODE.set, node)
        (self.folder / "state").mkdir(exist_ok=True)
        task = self.loop.create_task(run(config, world), context=context, name=node)
        task.add_done_callback(self._ended, context=self.context)
        self.machine = Machine(node, task, disk, clock)
        self.trace(f"{node} starts")

    def _notified(self, node: str, line: str) -> None:
        if line.startswith("READY=1"):
            self.events.event("gateway_ready", node=node)
            self._tell_clock()
        elif line.startswith("STOPPING=1"):
            self.events.event("gateway_parts_end", node=node)

    def _tell_clock(self) -> None:
        """By how much the gateway's time is off, where it is: what it writes now bears it."""
        machine = self.machine
        if machine is not None and (self.wall_off_ms or self.clock_was_off):
            off_ms = machine.clock.utc_ms() - machine.clock.true_ms()
            self.clock_was_off = abs(off_ms) > CLOCK_OFF_MS
            self.events.event("clock_reads", off_ms=off_ms)

    def set_clock_right(self) -> None:
        """A time server answers; a gateway that is ahead goes back when it has ended its parts."""
        wrong_by_ms, self.wall_off_ms = self.wall_off_ms, 0
        if self.machine is not None:
            self.machine.clock.set_right(wrong_by_ms)
        self._tell_clock()

    def kill_gateway(self, *, power: bool) -> None:
        """SIGKILL or power cut: from this moment nothing of the machine runs any more."""
        if power:
            self.switched_on_s = None
        machine = self.machine
        if machine is None:
            return
        self.machine = None
        self.budget.ended(machine.disk)
        self.image = machine.disk.cut_power(self.random) if power else machine.disk.stop()
        self.loop.dead.add(machine.node)
        self.network.cut_node(machine.node)
        self.loop.call_later(BURIED_AFTER_S, self._bury, machine, context=self.context)
        self.events.event("gateway_killed", node=machine.node, power=power)
        self.trace(f"{machine.node} {'loses its power' if power else 'is killed'}")

    def _bury(self, machine: Machine) -> None:
        """What it held is given back: a day has a hundred restarts."""
        self.loop.bury(machine.node)
        self.network.forget_node(machine.node)
        machine.disk.scrap()

    def pull_plug(self) -> None:
        """The power fails."""
        self.kill_gateway(power=True)

    # Drivers

    async def _show(self, box: Box) -> None:
        """Every card was here before: the gateway knows it when the central system is away."""
        await asyncio.sleep(10 + box.number)
        await self.chargers[box.name].present(box.card)

    async def _visit(self, visit: Visit) -> None:
        box = next(box for box in self.plan.boxes if box.name == visit.box)
        charger = self.chargers[visit.box]
        await asyncio.sleep(visit.at_s)
        leaves_s = self.loop.time() + visit.stays_s
        car = Car(
            f"car at {visit.box}", visit.phases, 16_000, visit.need_wh, delay_ms=visit.delay_ms,
            start_ms=round(visit.late_s * 1000), over_ms=visit.over_ms,
        )  # fmt: skip
        self.events.event("car_plugged", charger=box.name, follows_ms=visit.delay_ms)
        charger.plug(car)
        if visit.one_phase_after_s is not None:
            self.loop.call_later(visit.one_phase_after_s, setattr, car, "phases", 1)

        def mine() -> bool:
            return charger.transaction is not None and charger.transaction.card == box.card

        while not mine() and self.loop.time() < leaves_s - 60:
            answer = await charger.present(box.card)
            if not mine():
                self.trace(f"{box.name}: card {answer}")
                await asyncio.sleep(CARD_AGAIN_S)
        started = mine()  # and not that of a stranger who tries cards just then
        if started:
            self.events.event("car_started", charger=box.name, card=box.card)
        await asyncio.sleep(max(0.0, leaves_s - self.loop.time()))
        if started:
            self.events.event("car_stopped", charger=box.name, card=box.card)
        await charger.unplug()

    async def _ask(self) -> None:
        """The cloud asks for the status now and then: to show each driver the place in the queue; or, while what has
        waited for days is told, to see whether it is answered."""
        name, every_s = ("place", ASK_EVERY_S) if self.plan.crowded else ("live", ASK_SOON_S)
        for number in itertools.count():
            await asyncio.sleep(every_s)
            now_ms = self.clock.utc_ms()
            times = {"issued": iso(now_ms), "deadline": iso(now_ms + 60_000)}
            command = {"cid": f"{name}-{number}", "op": "status", "args": {}, "actor": "cloud", **times}
            self.events.event("asked", cid=command["cid"])
            self.ingestor.command(f"sim-{self.plan.seed}", command)


class _BrokerWire:
    """The ingestor's line to the simulated broker."""

    def __init__(self, broker: Broker, ingestor: Ingestor) -> None:
        self._broker = broker
        self.ready = asyncio.Event()
        for pattern in ("zgw/sim/+/up/#", "zgw/sim/+/state"):
            broker.subscribe(
                pattern,
                lambda topic, payload: ingestor._take(Delivery(topic, payload, 0, None)),  # type: ignore[arg-type]
            )

    def publish(self, topic: str, payload: bytes) -> None:
        self._broker.publish(topic, payload)

    def confirm(self, message: Delivery) -> None:
        """The broker has nothing to wait for."""

    async def run(self) -> None:
        self.ready.set()
        await asyncio.get_running_loop().create_future()
