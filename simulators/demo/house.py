"""Everything of the demonstration that is not the gateway, in one process: building, meters, boxes, backend, cloud."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

from simulators.building import Building, Outlet
from simulators.charger import Charger
from simulators.clock import SiteClock
from simulators.cloud.ingestor import Ingestor
from simulators.csms import Csms
from simulators.demo import plan
from simulators.demo.brokers import Broker
from simulators.demo.meters import MeterBank, Unit
from simulators.demo.site_text import OPERATOR_PASSWORD, Addresses, secrets, site_text
from simulators.evidence import Beat, EventLog, FrameLog, TruthLog
from simulators.modbus_slave import PtySlave, TcpSlave, Units
from simulators.uplink import Uplink

LINE_BAUD = 576_000
"""9600 baud at 60 times the speed."""
FLUSH_S = 1.0


class House:
    """Built for one run in one folder; `start`, then `run` until cancelled, then `close`."""

    def __init__(self, folder: Path, clock: SiteClock, seed: int, broker: Broker, ocpp_port: int) -> None:
        self.clock, self.broker, self.folder = clock, broker, folder
        evidence = folder / "evidence"
        rng = random.Random(seed)
        self.rng = rng
        self.truth = TruthLog(evidence / "truth.db")
        self.events = EventLog(evidence / "events.jsonl", clock)
        self.beat = Beat()
        self._charger_frames = FrameLog(evidence / "charger_wire.jsonl", clock)
        self._csms_frames = FrameLog(evidence / "csms_wire.jsonl", clock)
        start_ms = clock.utc_ms() // 1000 * 1000
        self.building = _building(rng, start_ms, self.truth)
        self.csms = Csms(
            [box.name for box in plan.BOXES], plan.CARDS, clock, evidence / "csms.db", self._csms_frames,
            password=OPERATOR_PASSWORD,
        )  # fmt: skip
        self.ingestor = Ingestor(broker.host, broker.port, evidence / "cloud.db", clock.utc_ms, durable=False)
        self.ocpp_port = ocpp_port
        self.chargers = {box.name: self._charger(box, rng) for box in plan.BOXES}
        self._line = PtySlave(Units(self._bank({2: Unit("pv", "iem3155", 20000002), **_boxes()}).read, baud=LINE_BAUD))
        self._lan = TcpSlave(Units(self._bank({1: Unit("grid", "abb_b23", 20000001)}).read))
        self.uplink: Uplink | None = None

    async def start(self) -> None:
        """Listen everywhere, then write the site file."""
        csms_port = await self.csms.start()
        await asyncio.to_thread(self.broker.start)
        self.uplink = Uplink({"csms": ("127.0.0.1", csms_port), "broker": (self.broker.host, self.broker.port)})
        await self.uplink.start()
        self._write_site(
            Addresses(
                ocpp=self.ocpp_port,
                csms=self.uplink.port("csms"),
                grid_meter=await self._lan.start(),
                meter_line=self._line.start(),
                broker=self.uplink.port("broker"),
                mqtt=self.broker.mqtt,
            )
        )

    async def run(self) -> None:
        """Let the time of the building go on, and every box live, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._seconds())
            group.create_task(self.beat.run())
            group.create_task(self._flush())
            group.create_task(self.ingestor.run())
            for charger in self.chargers.values():
                group.create_task(charger.run())

    async def close(self) -> None:
        """Hang up and write what is still in memory."""
        if self.uplink is not None:
            await self.uplink.stop()
        self._line.close()
        await self._lan.close()
        await self.csms.close()
        await asyncio.to_thread(self.broker.stop)
        self.building.close()
        for log in (self.truth, self.events, self._charger_frames, self._csms_frames):
            log.close()
        self.beat.write(self.folder / "evidence" / "beat.json")

    def _charger(self, box: plan.BoxPlan, rng: random.Random) -> Charger:
        meter = self.building.meters[box.meter]
        own_wh = rng.uniform(1_000, 900_000) - meter.import_wh

        def register_wh() -> float:
            return self.building.reading(box.meter, self.clock.utc_ms())[1] + own_wh

        return Charger(
            box.charger(),
            f"ws://127.0.0.1:{self.ocpp_port}/{box.name}",
            self.building.outlets[box.name],
            register_wh,
            self.clock,
            random.Random(rng.getrandbits(64)),
            self._charger_frames,
        )

    def _bank(self, units: dict[int, Unit]) -> MeterBank:
        return MeterBank(self.building, self.clock, units)

    def _write_site(self, addresses: Addresses) -> None:
        (self.folder / "site.toml").write_text(site_text(addresses), encoding="utf-8")
        folder = self.folder / "secrets"
        folder.mkdir(mode=0o700)
        for name, secret in secrets().items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(secret, encoding="utf-8")

    async def _seconds(self) -> None:
        while True:
            now_ms = self.clock.utc_ms()
            self.building.advance(now_ms)
            await self.clock.sleep_until((now_ms // 1000 + 1) * 1000)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self._charger_frames.flush()
            self._csms_frames.flush()

    def write_scale(self, seed: int) -> None:
        """scale.json: what the judge needs to know of the time."""
        scale: dict[str, Any] = {
            "epoch": self.clock.option().removeprefix("scaled:").split(",")[0],
            "monotonic": self.clock.monotonic,
            "speed": self.clock.speed,
            "seed": seed,
        }
        (self.folder / "scale.json").write_text(json.dumps(scale) + "\n", encoding="utf-8")


def _building(rng: random.Random, start_ms: int, truth: TruthLog) -> Building:
    outlets = [Outlet(box.name, box.circuit, box.meter, box.rotation, box.phases) for box in plan.BOXES]
    registers = {
        name: (rng.uniform(100_000, 9_000_000), rng.uniform(100_000, 9_000_000) if name in ("grid", "pv") else 0.0)
        for name in ("grid", "pv", *(box.meter for box in plan.BOXES))
    }
    return Building(plan.weather(rng, start_ms), plan.CIRCUITS, outlets, registers, truth)


def _boxes() -> dict[int, Unit]:
    return {box.unit: Unit(box.meter, box.model, 30_000_000 + box.unit, box.rotation) for box in plan.BOXES}
