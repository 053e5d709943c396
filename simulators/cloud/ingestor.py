"""The reference ingestor: reads every gateway's `up` topics, stores in micro-batches, acknowledges after the commit.

A crash at any point costs a redelivery and nothing else: PUBACK and acknowledgement come after the commit, and what
comes twice is noted, not stored. What tests may do to it stands in `Faults`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.cloud.database import CloudDatabase, LaneKey
from simulators.cloud.wire import Delivery, Wire

BATCH_RECORDS = 500
BATCH_S = 0.02
"""Link seconds that a batch collects before it is committed."""


@dataclass
class Faults:
    """What a test can make the cloud do. Counters count down."""

    lose_acks: int = 0
    duplicate_acks: int = 0
    delay_acks_s: float = 0.0
    ignore_hellos: int = 0
    reject: Callable[[dict[str, Any]], str | None] = lambda envelope: None
    """The code with which to refuse a record, None to take it."""


class Ingestor:
    """One consumer for all gateways. `ready` is set when it is subscribed."""

    def __init__(
        self, host: str, port: int, database: Path, now_ms: Callable[[], int], *, root: str = "zgw/sim",
        username: str | None = None, password: str | None = None, credit: int = 50, hold_s: float = 0.0,
        durable: bool = True, client_id: str = "ingestor",
    ) -> None:  # fmt: skip
        self.credit, self.hold_s, self.faults = credit, hold_s, Faults()
        self._root, self._now_ms = root, now_ms
        self._path, self._durable = database, durable
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        topics = [f"{root}/+/up/#", f"{root}/+/state"]
        self._wire = Wire(host, port, client_id, topics, self._take, username=username, password=password)
        self.ready = self._wire.ready

    async def run(self) -> None:
        """Ingest until cancelled."""
        database = CloudDatabase(self._path, durable=self._durable)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._wire.run())
                while True:
                    await self._arrived.wait()
                    await asyncio.sleep(BATCH_S)
                    self._arrived.clear()
                    while self._waiting:
                        await self._ingest(database)
        finally:
            database.close()

    def command(self, gw: str, command: dict[str, Any]) -> None:
        """Ask a gateway for an operation."""
        self._wire.publish(f"{self._root}/{gw}/down/cmd", json.dumps(command).encode())

    def send(self, gw: str, kind: str, payload: bytes) -> None:
        """Anything on a `down` topic, for tests of the gateway's patience."""
        self._wire.publish(f"{self._root}/{gw}/down/{kind}", payload)

    def _take(self, message: Delivery) -> None:
        self._waiting.append(message)
        self._arrived.set()

    async def _ingest(self, database: CloudDatabase) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH_RECORDS, len(self._waiting)))]
        touched: dict[LaneKey, None] = {}
        hellos: list[dict[str, Any]] = []
        database.begin()
        for message in batch:
            self._store(database, message, touched, hellos)
        database.commit()
        for message in batch:
            self._wire.confirm(message)
        for hello in hellos:
            self._answer_hello(database, hello)
        for key in touched:
            await self._acknowledge(database, key)

    def _store(
        self, database: CloudDatabase, message: Delivery, touched: dict[LaneKey, None],
        hellos: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        now_ms, text = self._now_ms(), message.payload.decode("utf-8", "replace")
        gw, kind = message.topic.removeprefix(self._root + "/").split("/", 1)
        try:
            document = json.loads(text)
            self._dispatch(database, gw, kind, text, document, touched, hellos, now_ms)
        except (ValueError, KeyError, TypeError, OverflowError, sqlite3.Error) as error:
            database.note("unreadable", message.topic, text, f"{type(error).__name__}: {error}", now_ms)

    def _dispatch(
        self, database: CloudDatabase, gw: str, kind: str, text: str, document: dict[str, Any],
        touched: dict[LaneKey, None], hellos: list[dict[str, Any]], now_ms: int,
    ) -> None:  # fmt: skip
        if kind == "state":
            database.note("state", gw, text, now_ms)
        elif kind == "up/hello":
            database.note("hello", gw, text, now_ms)
            hellos.append(document)
        elif kind == "up/reply":
            database.note("reply", gw, document["cid"], document["state"], text, now_ms)
        elif document["gw"] != gw or f"up/{document['lane']}" != kind:
            raise ValueError("the envelope names another gateway or lane than its topic")
        else:
            code = self.faults.reject(document)
            key = (gw, document["epoch"], document["lane"])
            if code is not None and database.sha256_of(key, document["seq"]) is None:
                database.reject(document, code, "refused for the test", now_ms)
            else:
                database.store(document, now_ms)
            touched[key] = None

    def _answer_hello(self, database: CloudDatabase, hello: dict[str, Any]) -> None:
        if self.faults.ignore_hellos > 0:
            self.faults.ignore_hellos -= 1
            return
        lanes = {}
        for lane in ("billing", "event"):
            key = (hello["gw"], database.newest_epoch(hello["gw"], lane) or hello["epoch"], lane)
            upto = database.lane(key).upto
            lanes[lane] = {"epoch": key[1], "upto": upto, "sha256": database.sha256_of(key, upto) if upto else None}
        self._wire.publish(
            f"{self._root}/{hello['gw']}/down/ack", json.dumps({"hid": hello["hid"], "lanes": lanes}).encode()
        )

    async def _acknowledge(self, database: CloudDatabase, key: LaneKey) -> None:
        gw, epoch, lane = key
        if self.faults.lose_acks > 0:
            self.faults.lose_acks -= 1
            return
        standing = database.lane(key)
        ack = {
            "lane": lane, "epoch": epoch, "upto": standing.upto, "missing": standing.missing(),
            "rejected": database.rejections(key), "credit": self.credit, "hold_s": self.hold_s,
        }  # fmt: skip
        if self.faults.delay_acks_s:
            await asyncio.sleep(self.faults.delay_acks_s)
        copies = 1
        if self.faults.duplicate_acks > 0:
            self.faults.duplicate_acks -= 1
            copies = 3
        for _ in range(copies):
            self._wire.publish(f"{self._root}/{gw}/down/ack", json.dumps(ack).encode())
