"""What the daemon costs: start to READY, memory and CPU at rest and with 20 wallboxes that charge.

The floor is a bare interpreter that has imported the libraries and does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from simulators.building import Building, CircuitPlan, Outlet, Weather
from simulators.cars import Car
from simulators.charger import Charger, ChargerPlan
from simulators.clock import SiteClock
from simulators.csms import Csms
from simulators.demo.meters import MeterBank, Unit
from simulators.evidence import FrameLog, TruthLog
from simulators.modbus_slave import TcpSlave, Units

LIBRARIES = "asyncio, sqlite3, websockets.asyncio.server, pymodbus.client, paho.mqtt.client, pydantic, structlog, ssl"
FLOOR = (
    f"import {LIBRARIES}, cryptography.hazmat.primitives.asymmetric.ec, time; print('up', flush=True); time.sleep(60)"
)
BOXES = 20
SETTLE_S = 5.0
MEASURE_S = 20.0
REST_LIMIT_MIB = 80
LOADED_LIMIT_MIB = 100


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} has no VmRSS")


def cpu_s(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_floor() -> tuple[float, float]:
    """Seconds to import the libraries, and the memory that they take."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", FLOOR], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    took_s, memory = time.perf_counter() - began, rss_mib(process.pid)
    process.kill()
    process.wait()
    return took_s, memory


async def measure_load(pid: int) -> tuple[float, float]:
    """Memory, and the share of one core, over a while."""
    await asyncio.sleep(SETTLE_S)
    before, began = cpu_s(pid), time.perf_counter()
    await asyncio.sleep(MEASURE_S)
    return rss_mib(pid), (cpu_s(pid) - before) / (time.perf_counter() - began)


class House:
    """20 boxes, 22 meters, a CSMS: enough to make the daemon work, in real time."""

    def __init__(self, folder: Path, ocpp_port: int) -> None:
        self.clock = SiteClock(int(time.time() * 1000), time.monotonic(), 1.0)
        names = [f"box{number}" for number in range(1, BOXES + 1)]
        start_ms = self.clock.utc_ms() // 1000 * 1000
        self.truth = TruthLog(folder / "truth.db")
        self.frames = FrameLog(folder / "frames.jsonl", self.clock)
        circuits = [CircuitPlan("house", None, "gG", 250_000, 250_000)]
        outlets = [
            Outlet(name, "house", f"m-{name}", (i % 3, (i + 1) % 3, (i + 2) % 3)) for i, name in enumerate(names)
        ]
        meters = ("grid", "pv", *(f"m-{name}" for name in names))
        weather = Weather(start_ms, [(8000, 9000, 7000)] * 600, [5000.0] * 600)
        self.building = Building(weather, circuits, outlets, dict.fromkeys(meters, (1e6, 1e5)), self.truth)
        self.csms = Csms(names, {"CARD": "Accepted"}, self.clock, folder / "csms.db", self.frames)
        self.units = {1: Unit("grid", "abb_b23", 1), 2: Unit("pv", "iem3155", 2)}
        self.units |= {10 + i: Unit(f"m-{name}", "iem3155", 10 + i) for i, name in enumerate(names)}
        self.slave = TcpSlave(Units(MeterBank(self.building, self.clock, self.units).read))
        self.chargers = [
            Charger(
                ChargerPlan(name), f"ws://127.0.0.1:{ocpp_port}/{name}", self.building.outlets[name], lambda: 1e5,
                self.clock, random.Random(name), self.frames,
            )
            for name in names
        ]  # fmt: skip

    async def seconds(self) -> None:
        while True:
            self.building.advance(self.clock.utc_ms())
            await asyncio.sleep(1)

    def charge(self) -> None:
        """A car at every box."""
        for charger in self.chargers:
            charger.keys["MeterValueSampleInterval"] = "10"
            charger.plug(Car(f"car of {charger.name}", 3, 16_000, 40_000.0))
            charger.start("CARD")


def site_text(ocpp_port: int, csms_port: int, meter_port: int) -> str:
    """The site file of the house above; there is no cloud."""
    head = f"""
[site]
id = "bench"
name = "Benchmark"
timezone = "Europe/Zurich"
[ocpp]
listen = "127.0.0.1:{ocpp_port}"
[[upstream]]
id = "operator"
url = "ws://127.0.0.1:{csms_port}/{{id}}"
[[circuit]]
id = "house"
fuse_a = 250
fuse = "gG"
house_worst_a = 60
meter = "grid"
[[bus]]
id = "lan"
host = "127.0.0.1"
port = {meter_port}
pause_s = 0.01
[[meter]]
id = "grid"
model = "abb_b23"
bus = "lan"
unit = 1
role = "grid"
period_s = 1
[[meter]]
id = "pv"
model = "iem3155"
bus = "lan"
unit = 2
role = "production"
[[participant]]
id = "rest"
name = "Rest"
kind = "common"
[tariff]
id = "flat"
default = "NT"
windows = []
"""
    boxes = [
        f"""
[[meter]]
id = "m-box{number}"
model = "iem3155"
bus = "lan"
unit = {9 + number}
role = "charger"
[[charger]]
id = "box{number}"
upstreams = ["operator"]
circuit = "house"
rotation = "L{(number - 1) % 3 + 1}L{number % 3 + 1}L{(number + 1) % 3 + 1}"
phases = 3
max_a = 16
fallback_a = 6
meter = "m-box{number}"
participant = "p{number}"
[[participant]]
id = "p{number}"
name = "Box {number}"
kind = "charger"
"""
        for number in range(1, BOXES + 1)
    ]
    return head + "".join(boxes)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(folder: Path, site: Path, notify: Path) -> subprocess.Popen[bytes]:
    """The real daemon as its own process."""
    words = ["run", "--config", site, "--state", folder / "state", "--run", folder / "run"]
    environment = {**os.environ, "NOTIFY_SOCKET": str(notify)}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "gateway", *map(str, words)], env=environment, stderr=log)


async def start_daemon(folder: Path, site: Path, notify: socket.socket) -> tuple[subprocess.Popen[bytes], float]:
    """The real daemon, and how long it took to say READY."""
    address = folder / "notify"
    notify.bind(str(address))
    notify.setblocking(False)
    began = time.perf_counter()
    process = launch(folder, site, address)
    async with asyncio.timeout(60):
        while b"READY=1" not in await asyncio.get_running_loop().sock_recv(notify, 4096):
            continue
    return process, time.perf_counter() - began


async def measure(folder: Path) -> dict[str, float]:
    """All figures of one run."""
    floor_s, floor_mib = await asyncio.to_thread(measure_floor)
    ocpp_port = free_port()
    house = House(folder, ocpp_port)
    csms_port, meter_port = await house.csms.start(), await house.slave.start()
    site = folder / "site.toml"
    site.write_text(site_text(ocpp_port, csms_port, meter_port))
    async with AsyncExitStack() as stack:
        notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        daemon, ready_s = await start_daemon(folder, site, notify)
        stack.callback(daemon.wait)
        stack.callback(daemon.terminate)
        seconds = asyncio.create_task(house.seconds())
        rest_mib, rest_cpu = await measure_load(daemon.pid)
        lives = [asyncio.create_task(charger.run()) for charger in house.chargers]
        async with asyncio.timeout(120):
            while not all(charger.accepted for charger in house.chargers):  # noqa: ASYNC110 - they have no event
                await asyncio.sleep(0.2)
        house.charge()
        loaded_mib, loaded_cpu = await measure_load(daemon.pid)
        charging = sum(charger.outlet.draw_ma > 0 for charger in house.chargers)
        for task in (seconds, *lives):
            task.cancel()
        await asyncio.gather(seconds, *lives, return_exceptions=True)
        await house.csms.close()
        await house.slave.close()
    return {
        "floor_start_s": floor_s, "ready_s": ready_s, "floor_mib": floor_mib, "rest_mib": rest_mib,
        "loaded_mib": loaded_mib, "rest_core": rest_cpu, "loaded_core": loaded_cpu, "boxes_that_charge": charging,
    }  # fmt: skip


def report(figures: dict[str, float]) -> None:
    """The figures, each beside its floor."""
    floor_s, floor_mib = figures["floor_start_s"], figures["floor_mib"]
    print(f"floor: the libraries alone take {floor_s:.2f} s to import and {floor_mib:.1f} MiB")
    print(f"start to READY  {figures['ready_s']:6.2f} s    {figures['ready_s'] / floor_s:5.2f} x the floor")
    for label, name, limit in (("at rest", "rest", REST_LIMIT_MIB), (f"{BOXES} boxes", "loaded", LOADED_LIMIT_MIB)):
        mib, core = figures[f"{name}_mib"], figures[f"{name}_core"]
        print(
            f"{label:15} {mib:6.1f} MiB  {mib / floor_mib:5.2f} x the floor, budget {limit} MiB, {core:.1%} of a core"
        )
    print(f"boxes that charge: {figures['boxes_that_charge']:.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="zev-bench-"))
    try:
        figures = asyncio.run(measure(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps(figures))
        return 0
    report(figures)
    within = figures["rest_mib"] <= REST_LIMIT_MIB and figures["loaded_mib"] <= LOADED_LIMIT_MIB
    print("within the budget" if within else "OVER THE BUDGET")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
