"""The OCPP side of the site: every charger, its CSMS, and the port through which the load manager sets limits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from gateway.model import ConnectorRef, ConnectorState, LimitOutcome, MeterPort, Tell, World
from gateway.ocpp import actions as act
from gateway.ocpp.charger_server import ChargerServer, bound_port
from gateway.ocpp.csms_client import CsmsClient
from gateway.ocpp.dialect_files import load_dialect
from gateway.ocpp.link import ChargerLink, Parts
from gateway.ocpp.relay import Relay, Setting
from gateway.ocpp.storing import Storing, load
from gateway.ocpp.trace import TraceLog
from gateway.ocpp.v16 import V16
from gateway.site import Charger, Site
from gateway.store.database import Database
from gateway.store.outbox import Identity


class OcppSide:
    """Implements `model.ChargerPort`. `ready` is set when boxes can connect; `port` is then the real one."""

    def __init__(
        self,
        site: Site,
        world: World,
        db: Database,
        who: Identity,
        meters: MeterPort,
        tell: Tell,
        secrets: Callable[[str], bytes | None],
        on_journal: Callable[[], None],
    ) -> None:
        self.ready = asyncio.Event()
        self.port = site.ocpp.port
        self.trace = TraceLog()
        self._site = site
        self._world = world
        self._db = db
        self._who = who
        self._tell = tell
        self._secrets = secrets
        self._parts = Parts(db, world.clock, meters, tell, self.trace, on_journal)
        self._links: dict[str, ChargerLink] = {}
        self._server = ChargerServer(site.ocpp, self._links, world.clock, tell, secrets)

    async def run(self) -> None:
        """Serve until cancelled; then every connection is closed with 1001. OSError where the port is not to be had."""
        for charger in self._site.chargers:
            self._links[charger.id] = await self._link(charger)
        try:
            async with self._server.listen() as server, asyncio.TaskGroup() as tasks:
                for link in self._links.values():
                    self._start(link, tasks)
                self.port = bound_port(server)
                self.ready.set()
        finally:
            self.ready.clear()

    def _start(self, link: ChargerLink, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(link.run(), name=f"charger {link.id}")
        upstream = link.setting.upstream
        if upstream is not None:
            client = CsmsClient(link, upstream, V16.subprotocol, self._world, self._secrets, self._tell)
            tasks.create_task(client.run(), name=f"csms {link.id}")

    async def _link(self, charger: Charger) -> ChargerLink:
        upstream = next((one for one in self._site.upstreams if one.id == charger.upstream), None)
        setting = Setting(
            charger=charger,
            upstream=upstream,
            ocpp=self._site.ocpp,
            dialect=load_dialect(charger.dialect),
            tokens=self._site.tokens,
        )
        snapshot = await self._db.run(lambda db: load(db, charger.id, has_upstream=upstream is not None))
        now = act.Now(self._world.clock.utc_ms(), self._world.clock.monotonic())
        relay = Relay(setting, V16(), snapshot, self._new_id, now)
        return ChargerLink(setting, relay, Storing(charger.id, self._who, self._new_id), self._parts)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._world.random.getrandbits(128), version=4))

    # Port of the load manager

    def connectors(self) -> Sequence[ConnectorState]:
        """Every configured connector, connected or not."""
        loaded = {state.ref: state for link in self._links.values() for state in link.connectors()}
        refs = [one.ref for one in self._site.connectors()]
        return [loaded.get(ref) or ConnectorState(ref, connected=False, status="Unknown") for ref in refs]

    async def set_limit(self, ref: ConnectorRef, limit_ma: int, *, duration_s: int, raising: bool) -> LimitOutcome:
        """See `model.ChargerPort`."""
        link = self._links.get(ref.charger)
        if link is None:
            return LimitOutcome.ABSENT
        return await link.set_limit(ref, limit_ma, duration_s=duration_s, raising=raising)

    # Status

    def status(self) -> dict[str, Any]:
        """The OCPP part of `zev-gateway status --json`; keys only grow."""
        return {
            "listen": [f"ws://{self._site.ocpp.host}:{self.port}/CHARGER-ID"],
            "connectors": [self._connector(state) for state in self.connectors()],
            "upstreams": [self._upstream(link) for link in self._links.values() if link.setting.upstream is not None],
            "refused": list(self._server.refused.values()),
        }

    def _connector(self, state: ConnectorState) -> dict[str, Any]:
        configured = self._site.connector(state.ref)
        return {
            "id": str(state.ref),
            "connected": state.connected,
            "status": state.status,
            "transaction": state.transaction_id,
            "fallback_a": configured.fallback_ma / 1000 if configured else None,
            "fallback_proven": state.fallback_proven,
        }

    def _upstream(self, link: ChargerLink) -> dict[str, Any]:
        oldest_ms = link.queue.oldest_ms
        return {
            "charger": link.id,
            "upstream": link.setting.charger.upstream,
            "connected": link.csms_open.is_set(),
            "accepted": link.csms_ready,
            "queue": link.queue.queue,
            "parked": link.queue.parked,
            "oldest_s": None if oldest_ms is None else (self._world.clock.utc_ms() - oldest_ms) // 1000,
        }
