"""A tiny CSMS and a tiny box, both our own, and a site for them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.clock import ScaledClock
from gateway.model import ConnectorRef, Event, Reading, TimeQuality
from gateway.ocpp.side import OcppSide
from gateway.site import Charger, Circuit, Connector, Ocpp, Site, Tariff, Token, Upstream
from gateway.store import journal
from gateway.store.database import Database
from gateway.store.journal import JournalRow

SPEED = 600.0
EPOCH_MS = 1_781_343_000_000
WAIT_S = 8.0


async def until(condition: Callable[[], Any], what: str) -> None:
    """Poll until `condition` holds."""
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - what is polled belongs to several parts
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"not within {WAIT_S} s: {what}")


class FakeMeters:
    """One meter for all connectors."""

    def __init__(self, clock: ScaledClock) -> None:
        self._clock = clock
        self.import_wh = 1000

    def latest(self, meter: str) -> Reading | None:
        return None

    def series(self, meter: str, from_ms: int, to_ms: int) -> list[Reading]:
        return []

    async def read_now(self, meter: str) -> Reading | None:
        now = self._clock.utc_ms()
        return Reading(meter, now, now, TimeQuality.SIMULATED, self.import_wh)

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        return


Answer = dict[str, Any] | None


class Csms:
    """A CSMS: answers by `answers[action](payload)`; None stays silent. `received` has (action, payload, id, text)."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any], str, str]] = []
        self.results: dict[str, str] = {}
        self.connections: list[ServerConnection] = []
        self.port = 0
        self.authorization: list[str | None] = []
        self._ids = itertools.count(1)
        self._transaction = itertools.count(101)
        self.answers: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "BootNotification": lambda p: {"status": "Accepted", "currentTime": "2026-06-13T09:30:00Z", "interval": 99},
            "Heartbeat": lambda p: {"currentTime": "2026-06-13T09:30:00Z"},
            "Authorize": lambda p: {"idTagInfo": {"status": "Accepted" if p["idTag"] != "BAD" else "Invalid"}},
            "StartTransaction": lambda p: {
                "idTagInfo": {"status": "Accepted"}, "transactionId": next(self._transaction),
            },
            "StopTransaction": lambda p: {"idTagInfo": {"status": "Accepted"}},
        }  # fmt: skip

    async def _attend(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        self.authorization.append(connection.request.headers.get("Authorization") if connection.request else None)
        with suppress(ConnectionClosed):
            async for text in connection:
                await self._take(connection, str(text))

    async def _take(self, connection: ServerConnection, text: str) -> None:
        frame = json.loads(text)
        if frame[0] != 2:
            self.results[frame[1]] = text
            return
        _, message_id, action, payload = frame
        self.received.append((action, payload, message_id, text))
        answer = self.answers.get(action, lambda p: {})(payload)
        if answer is None:
            return
        if "error" in answer:
            await connection.send(json.dumps([4, message_id, answer["error"], "", {}]))
        else:
            await connection.send(json.dumps([3, message_id, answer]))

    async def order(self, action: str, payload: dict[str, Any]) -> list[Any]:
        """Send a CALL on the newest connection and wait for its answer."""
        message_id = f"order-{next(self._ids)}"
        await self.connections[-1].send(json.dumps([2, message_id, action, payload]))
        await until(lambda: message_id in self.results, f"an answer to {action}")
        return list(json.loads(self.results[message_id]))

    def actions(self) -> list[str]:
        """Actions received, without heartbeats and statuses."""
        return [one[0] for one in self.received if one[0] not in ("Heartbeat", "StatusNotification")]

    def payloads(self, action: str) -> list[dict[str, Any]]:
        return [one[1] for one in self.received if one[0] == action]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Csms]:
        """Listen, on the same port as before where there was one."""
        async with serve(self._attend, "127.0.0.1", self.port, subprotocols=["ocpp1.6"], compression=None) as server:  # type: ignore[list-item]
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self
        self.connections.clear()


@dataclass
class Box:
    """A box: `call` asks and waits, orders of the gateway are accepted and kept."""

    connection: ClientConnection
    orders: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    replies: dict[str, Callable[[dict[str, Any]], Answer]] = field(default_factory=dict)
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    closed: bool = False

    async def read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.connection:
                frame = json.loads(text)
                if frame[0] != 2:
                    self.answers[frame[1]] = str(text)
                    continue
                self.orders.append((frame[2], frame[3]))
                answer = self.replies.get(frame[2], lambda p: {"status": "Accepted"})(frame[3])
                if answer is not None:
                    await self.connection.send(json.dumps([3, frame[1], answer]))
        self.closed = True

    async def send(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> str:
        message_id = message_id or f"{action}-{next(self._ids)}"
        await self.connection.send(json.dumps([2, message_id, action, payload]))
        return message_id

    async def call(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> dict[str, Any]:
        """The payload of the CALLRESULT; a CALLERROR fails the test."""
        frame = await self.ask(action, payload, message_id)
        assert frame[0] == 3, frame
        return dict(frame[2])

    async def ask(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> list[Any]:
        message_id = await self.send(action, payload, message_id)
        await until(lambda: message_id in self.answers, f"an answer to {action}")
        return list(json.loads(self.answers.pop(message_id)))

    async def boot(self) -> dict[str, Any]:
        return await self.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})

    async def start(self, tag: str = "CARD-A", connector: int = 1, wh: int = 10) -> dict[str, Any]:
        return await self.call("StartTransaction", start_payload(tag, connector, wh))

    async def meter(self, transaction: int | None, wh: int, connector: int = 1) -> dict[str, Any]:
        return await self.call("MeterValues", meter_payload(transaction, wh, connector))

    async def stop(self, transaction: int, wh: int) -> dict[str, Any]:
        return await self.call("StopTransaction", stop_payload(transaction, wh))


def start_payload(tag: str, connector: int = 1, wh: int = 10) -> dict[str, Any]:
    return {"connectorId": connector, "idTag": tag, "meterStart": wh, "timestamp": "2026-06-13T09:31:00Z"}


def stop_payload(transaction: int, wh: int) -> dict[str, Any]:
    return {"transactionId": transaction, "meterStop": wh, "timestamp": "2026-06-13T10:31:00Z", "reason": "Local"}


def meter_payload(transaction: int | None, wh: int, connector: int = 1) -> dict[str, Any]:
    sample = {"timestamp": "2026-06-13T09:40:00Z", "sampledValue": [{"value": str(wh)}]}
    head = {} if transaction is None else {"transactionId": transaction}
    return {"connectorId": connector, **head, "meterValue": [sample]}


def make_charger(charger: str = "box1", **settings: Any) -> Charger:
    connector = Connector(
        ref=ConnectorRef(charger, 1), circuit="house", max_ma=16_000, fallback_ma=6000, meter="m1", participant=charger
    )
    return Charger(id=charger, connectors=(connector,), **settings)


def make_site(*chargers: Charger, csms_port: int | None = None, tokens: tuple[Token, ...] = (), **ocpp: Any) -> Site:
    """A site of boxes; with `csms_port` each box that names the upstream "csms" has it."""
    circuit = Circuit(id="house", parent=None, fuse_a=40, fuse="gG", limit_ma=40_000, house_worst_ma=0, safe_ma=6000)
    upstreams = (Upstream(id="csms", url=f"ws://127.0.0.1:{csms_port}/ocpp/{{id}}"),) if csms_port else ()
    settings = {"host": "127.0.0.1", "port": 0, "call_timeout_s": 0.5, "ping_s": None} | ocpp
    return Site(
        id="house-1", name="House", timezone="Europe/Zurich", simulation=True, circuits=(circuit,), chargers=chargers,
        upstreams=upstreams, tokens=tokens, tariff=Tariff(id="t", default="NT", windows=()), ocpp=Ocpp(**settings),
    )  # fmt: skip


@dataclass
class Gateway:
    """A running OCPP side and its database."""

    side: OcppSide
    db: Database
    events: list[Event]
    meters: FakeMeters
    journal_calls: list[int]
    task: asyncio.Task[None]

    async def end(self) -> None:
        """What SIGTERM does."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def rows(self) -> list[JournalRow]:
        """The whole journal that the sessions may see."""
        return await self.db.run(lambda db: journal.after(db, 0, 1000))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def upstream(self) -> dict[str, Any]:
        return dict(self.side.status()["upstreams"][0])

    @asynccontextmanager
    async def box(self, charger: str = "box1", **options: Any) -> AsyncIterator[Box]:
        """A box that is connected."""
        options = {"subprotocols": ["ocpp1.6"], "compression": None, "proxy": None} | options
        async with connect(f"ws://127.0.0.1:{self.side.port}/any/{charger}", **options) as connection:
            box = Box(connection)
            reader = asyncio.create_task(box.read())
            try:
                yield box
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)


Run = Callable[..., Any]
