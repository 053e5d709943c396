"""How fast the simulation of `tests/site` runs, beside the same traffic with empty ends, and where the time goes.

    python -m benchmarks.simulation

20 wallboxes, 22 meters, one control tick a second, no faults. The empty ends move as many frames and registers through
the same loop, network and libraries; nobody reads, decides or stores anything.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from simulators.modbus_slave import TcpSlave, Units
from tests.site.loop import SimLoop
from tests.site.net import Network
from tests.site.run import Options, simulate

HOURS, CHARGERS = 0.5, 20
LEAST = 0.4
PARTS = (
    "gateway",
    "simulators",
    "tests/site",
    "pymodbus",
    "websockets",
    "asyncio",
    "apsw",
    "json",
    "structlog",
    "paho",
)


def main() -> int:
    """Measure both in processes of their own, then profile once; exit 1 below the share that is promised."""
    if len(sys.argv) > 1:
        return _child(sys.argv[1:])
    real = _measure("real")
    empty = _measure("empty", str(real["frames"]), str(real["requests"]), str(real["site_s"]))
    share = empty["took_s"] / real["took_s"]
    print(f"the real gateway:  {real['site_s']:.0f} s in {real['took_s']:.1f} s, {real['speed']:.0f} times real time")
    print(
        f"the empty ends:    {empty['site_s']:.0f} s in {empty['took_s']:.1f} s, {empty['speed']:.0f} times real time"
    )
    print(f"traffic: {real['frames']} OCPP frames at the wallboxes, {real['requests']} Modbus requests")
    print(f"share of the empty ends' speed: {share:.2f} (at least {LEAST})")
    print("\nwhere the time goes (own time, with the profiler's own cost):")
    for name, part in _measure("profile")["parts"]:
        print(f"  {part * 100:5.1f} %  {name}")
    return 0 if share >= LEAST else 1


def _measure(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.simulation", *arguments], capture_output=True, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _child(arguments: list[str]) -> int:
    if arguments[0] == "empty":
        print(json.dumps(_empty(int(arguments[1]), int(arguments[2]), float(arguments[3]))))
    else:
        print(json.dumps(_real(profiled=arguments[0] == "profile")))
    return 0


def _real(*, profiled: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = Counter[str]()
        answer = Units.answer

        def counted(self: Units, request: Any, *, rtu: bool) -> Any:
            requests["all"] += 1
            return answer(self, request, rtu=rtu)

        Units.answer = counted  # type: ignore[method-assign]
        profile = cProfile.Profile()
        if profiled:
            profile.enable()
        outcome = simulate(Options(hours=HOURS, chargers=CHARGERS, faults_per_hour=0.0), folder)
        profile.disable()
        frames = sum(1 for _ in (folder / "evidence" / "charger_wire.jsonl").open(encoding="utf-8"))
    return {
        "site_s": outcome.site_s,
        "took_s": outcome.real_s,
        "speed": outcome.site_s / outcome.real_s,
        "frames": frames,
        "requests": requests["all"],
        "parts": _parts(profile) if profiled else [],
    }


def _parts(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """Own time by package; the gateway's parts singly."""
    own: Counter[str] = Counter()
    for (file, _, _), (_, _, seconds, _, _) in pstats.Stats(profile, stream=io.StringIO()).stats.items():  # type: ignore[attr-defined]
        own[_part_of(file)] += seconds
    total = sum(own.values())
    return [(name, seconds / total) for name, seconds in own.most_common(16)]


def _part_of(file: str) -> str:
    path = file.replace("\\", "/")
    if "/gateway/" in path:
        return "gateway/" + path.rsplit("/gateway/", 1)[1].split("/")[0]
    return next((part for part in PARTS if f"/{part}/" in path), "built in" if file == "~" else "the rest")


def _empty(frames: int, requests: int, site_s: float) -> dict[str, Any]:
    loop = SimLoop()
    network = Network(loop, 1)
    asyncio.set_event_loop(loop)
    started = time.process_time()
    loop.run_until_complete(_traffic(frames, requests, site_s))
    took_s = time.process_time() - started
    assert network.loop is loop
    return {"site_s": loop.time(), "took_s": took_s, "speed": loop.time() / took_s}


async def _traffic(frames: int, requests: int, site_s: float) -> None:
    """Each wallbox's frame goes to the relay, on to the central system, and its answer back: four frames."""
    async with serve(_answers, "csms", 80, compression=None), serve(_relays, "gw", 9000, compression=None):
        slave = TcpSlave(Units(lambda unit, table, address, count: [0] * count))
        await slave.start("meters", 502)
        boxes = [_box(frames // 2 // CHARGERS, site_s) for _ in range(CHARGERS)]
        meters = [_meter(requests // (CHARGERS + 2), site_s) for _ in range(CHARGERS + 2)]
        await asyncio.gather(*boxes, *meters, _ticks(site_s))
        await slave.close()


async def _answers(line: ServerConnection) -> None:
    async for frame in line:
        await line.send(frame)


async def _relays(line: ServerConnection) -> None:
    async with connect("ws://csms:80/", proxy=None, compression=None) as above:
        async for frame in line:
            await above.send(frame)
            await line.send(await above.recv())


async def _box(messages: int, site_s: float) -> None:
    text = json.dumps([2, "0" * 36, "MeterValues", {"meterValue": "x" * 500}])
    async with connect("ws://gw:9000/", proxy=None, compression=None) as line:
        for _ in range(messages):
            await line.send(text)
            await line.recv()
            await asyncio.sleep(site_s / messages)


async def _meter(requests: int, site_s: float) -> None:
    client = AsyncModbusTcpClient("meters", port=502, framer=FramerType.SOCKET, retries=0)
    await client.connect()
    for _ in range(requests):
        await client.read_holding_registers(0, count=12, device_id=1)
        await asyncio.sleep(site_s / requests)
    client.close()


async def _ticks(site_s: float) -> None:
    for _ in range(round(site_s)):
        await asyncio.sleep(1)


if __name__ == "__main__":
    raise SystemExit(main())
