"""Meters that are not ours: pymodbus's own server, and the server of the npm package modbus-serial."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.site import Bus, Meter

Run = Callable[..., AbstractAsyncContextManager[Any]]
NPM_LINK_S = 60


def tcp_bus(port: int) -> Bus:
    return Bus(id="tcp", host="127.0.0.1", port=port, pause_s=0.0, timeout_s=1.0)


def grid(model: str) -> Meter:
    return Meter(id="grid", model=model, bus="tcp", unit=1, role="grid")


async def test_a_meter_behind_pymodbus_own_server(run_meters: Run) -> None:
    """An SDM630: floats in input registers, the serial in holding registers."""
    values = [
        SimData(0, count=6, values=0, datatype=DataType.REGISTERS),
        SimData(6, values=[10.5, 2.25, 0.5, 2400.4, -500.6, 100.0], datatype=DataType.FLOAT32),
        SimData(18, count=34, values=0, datatype=DataType.REGISTERS),
        SimData(52, values=1999.8, datatype=DataType.FLOAT32),
        SimData(54, count=16, values=0, datatype=DataType.REGISTERS),
        SimData(70, values=[50.0, 1551.3740234375, 2.5], datatype=DataType.FLOAT32),
        SimData(64512, values=21047715, datatype=DataType.UINT32),
    ]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = ModbusTcpServer(SimDevice(id=1, simdata=values), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        async with run_meters((tcp_bus(port),), (grid("sdm630"),)) as running:
            await running.until(lambda: len(running.readings) >= 3)
    finally:
        await server.shutdown()
    reading = running.readings[-1]
    assert (reading.import_wh, reading.export_wh, reading.power_w) == (1_551_374, 2500, 2000)
    assert reading.current_ma == (10500, -2250, 500)
    assert reading.serial == "21047715"
    assert running.events == []


@pytest.fixture
async def modbus_serial(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The port of a modbus-serial server; the package is installed once into pytest's cache."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    folder = Path(request.config.cache.mkdir("modbus-serial"))  # type: ignore[union-attr]
    if not (folder / "node_modules" / "modbus-serial").is_dir():
        command = [
            npm,
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--omit=optional",
            "--fetch-retries=0",
        ]
        install = await asyncio.create_subprocess_exec(*command, "--prefix", folder, "modbus-serial@8")
        try:
            async with asyncio.timeout(NPM_LINK_S):
                failed = await install.wait() != 0
        except TimeoutError:
            install.kill()
            failed = await install.wait() != 0
        if failed:
            pytest.skip("npm could not install modbus-serial")
    script = Path(__file__).with_name("modbus_serial_server.js")
    server = await asyncio.create_subprocess_exec(node, script, folder, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    async with asyncio.timeout(20):
        port = int(await server.stdout.readline())
    yield port
    server.kill()
    await server.wait()


async def test_a_meter_behind_the_npm_package_modbus_serial(modbus_serial: int, run_meters: Run) -> None:
    async with run_meters((tcp_bus(modbus_serial),), (grid("iem3155"),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
    reading = running.readings[-1]
    assert (reading.import_wh, reading.export_wh, reading.power_w) == (9_876_543_210, 12, 2000)
    assert reading.current_ma == (10500, -2250, 500)
    assert reading.serial == "17223344"
    assert running.events == []
