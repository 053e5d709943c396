"""A charge point and a CSMS that are not ours: the npm package ocpp-rpc in its strict mode, on either side."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.model import ConnectorRef, LimitOutcome
from gateway.site import Token
from tests.ocpp.wires import Run, make_charger, make_site, meter_payload, start_payload, stop_payload, until

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / "build" / "npm-ocpp-rpc"
PACKAGE = "ocpp-rpc@2.2.1"
NPM_LINK_S = 60


class Peer:
    """A node process that speaks JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def having(self, key: str) -> list[Any]:
        return [line[key] for line in self.lines if key in line]

    def calls(self, method: str) -> list[dict[str, Any]]:
        return [line["params"] for line in self.lines if line.get("method") == method]

    async def first(self, key: str) -> Any:
        await until(lambda: self.having(key), f"{key} from the peer: {self.lines}")
        return self.having(key)[0]

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        before = len(self.having("answer")) + len(self.having("error"))
        self._process.stdin.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
        await until(lambda: len(self.having("answer")) + len(self.having("error")) > before, f"an answer to {method}")
        assert self.having("error") == []
        return dict(self.having("answer")[-1])


@pytest.fixture(scope="module")
def package() -> Path:
    """The folder with the package; installed once into build/."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    if not (CACHE / "node_modules" / "ocpp-rpc").is_dir():
        asyncio.run(_install())
    return CACHE


async def _install() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(CACHE), PACKAGE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(NPM_LINK_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.skip(f"npm did not install {PACKAGE} within {NPM_LINK_S} s")
    if process.returncode != 0:
        pytest.skip(f"npm cannot install {PACKAGE}: {output.decode(errors='replace').strip().splitlines()[-1:]}")


@asynccontextmanager
async def node(script: str, *arguments: str) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / script), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    peer = Peer(process)
    reader = asyncio.create_task(peer.read())
    try:
        yield peer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reader


async def test_a_strict_charge_point_without_a_csms(run_gateway: Run, package: Path) -> None:
    """Everything that the gateway says on its own fits the 1.6 schemas: answers, fallback, configuration, limits."""
    site = make_site(make_charger(), tokens=(Token(id="CARD-A", tenant="anna"),), call_timeout_s=5.0)
    async with run_gateway(site) as gateway:
        url = f"ws://127.0.0.1:{gateway.side.port}/ocpp"
        async with node("rpc_charger.js", str(package), url) as charger:
            await charger.first("connected")
            boot = {"chargePointVendor": "V", "chargePointModel": "M"}
            assert (await charger.call("BootNotification", boot))["status"] == "Accepted"
            await charger.call("Heartbeat", {})
            await charger.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"})
            assert (await charger.call("Authorize", {"idTag": "CARD-A"}))["idTagInfo"]["status"] == "Accepted"
            transaction = (await charger.call("StartTransaction", start_payload("CARD-A")))["transactionId"]
            await until(lambda: len(charger.having("order")) >= 3, "fallback, configuration and doctor")
            outcome = await gateway.side.set_limit(ConnectorRef("box1", 1), 8300, duration_s=120, raising=True)
            assert outcome is LimitOutcome.CONFIRMED
            await charger.call("MeterValues", meter_payload(transaction, 50))
            await charger.call("StopTransaction", stop_payload(transaction, 80))
            assert charger.having("invalid") == []
            orders = set(charger.having("order")) - {"TriggerMessage"}
            assert orders == {"SetChargingProfile", "ChangeConfiguration", "GetConfiguration"}


async def test_a_strict_charge_point_and_a_strict_csms_over_an_outage(run_gateway: Run, package: Path) -> None:
    """Start with the CSMS, stop without it, replay when it is back; its commands are answered or mapped."""
    async with node("rpc_csms.js", str(package)) as csms:
        port = await csms.first("port")
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=port, call_timeout_s=5.0)
        async with run_gateway(site) as gateway:
            url = f"ws://127.0.0.1:{gateway.side.port}/ocpp"
            async with node("rpc_charger.js", str(package), url) as charger:
                await charger.first("connected")
                await charger.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
                await charger.call("Authorize", {"idTag": "CARD-A"})
                first = await charger.call("StartTransaction", start_payload("CARD-A", wh=777))
                assert first["transactionId"] == 4001
                assert (await csms.first("stopped"))["status"] == "Accepted"
                assert (await csms.first("composite"))["chargingSchedule"]["chargingRateUnit"] == "A"
                assert csms.having("invalid") == []
                csms._process.kill()
                await until(lambda: not gateway.upstream()["connected"], "the CSMS is away")
                await charger.call("StopTransaction", stop_payload(4001, 900))
                second = await charger.call("StartTransaction", start_payload("CARD-A", wh=900))
                assert second == {"idTagInfo": {"status": "Accepted"}, "transactionId": 2**31 - 1}
                async with node("rpc_csms.js", str(package), str(port)) as back:
                    await until(lambda: back.calls("StartTransaction"), "the replay")
                    await charger.call("MeterValues", meter_payload(2**31 - 1, 950))
                    await until(lambda: back.calls("MeterValues"), "meter values")
                    assert back.calls("StopTransaction") == [stop_payload(4001, 900)]
                    assert back.calls("MeterValues")[0]["transactionId"] == 4001
                    assert back.having("invalid") == []
                assert charger.having("invalid") == []
