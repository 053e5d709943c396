"""The OCPP side of the site: every charger, its CSMS, and the port through which the load manager sets limits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from gateway.model import ConnectorRef, ConnectorState, Event, LimitOutcome, MeterPort, StoreError, Tell, World
from gateway.ocpp import actions as act
from gateway.ocpp.charger_server import ChargerServer, bound_port
from gateway.ocpp.csms_client import CsmsClient
from gateway.ocpp.dialect_files import load_dialect
from gateway.ocpp.link import ChargerLink, Parts
from gateway.ocpp.relay import Relay, Setting
from gateway.ocpp.storing import Storing, load, refuse_orphans
from gateway.ocpp.trace import TraceLog
from gateway.ocpp.v16 import V16
from gateway.site import Charger, Site
from gateway.site_time import UNSURE
from gateway.store import journal
from gateway.store.database import Database
from gateway.store.outbox import Identity

FINISH_S = 5.0
"""Link seconds that a clean end leaves to CALLs that are open."""

KEEP_VALUES = 400_000
"""Unsigned MeterValues that stay in the journal once everybody has got them: a kilobyte each with their rows in the
indexes, less than the journal's 500 MB, and more than a month of 20 chargers without a CSMS (I12)."""

PRUNE_STEP = 500
PRUNE_EVERY_S = 3600.0


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
        self._relays: dict[str, Relay] = {}
        self._unloaded = {
            charger.id: [ConnectorState(one.ref, connected=False, status="Unknown") for one in charger.connectors]
            for charger in site.chargers
        }
        self._server = ChargerServer(site.ocpp, self._links, world.clock, tell, secrets)

    async def run(self) -> None:
        """Serve until cancelled; then every connection is closed with 1001. OSError where the port is not to be had."""
        await self._refuse_orphans()
        for charger in self._site.chargers:
            self._links[charger.id] = await self._link(charger)
        async with self._server.listen() as server, asyncio.TaskGroup() as tasks:
            for link in self._links.values():
                self._start(link, tasks)
            tasks.create_task(self._prune(), name="journal")
            self.port = bound_port(server)
            self.ready.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.ready.clear()
                await self._finish()

    async def _finish(self) -> None:
        """Take no new CALLs, and give the open ones their time (rule R49)."""
        self._server.stopping = True
        waiting = [asyncio.create_task(link.finish()) for link in self._links.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=FINISH_S)
            for task in late:
                task.cancel()

    def _start(self, link: ChargerLink, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(link.run(), name=f"charger {link.id}")
        upstream = link.setting.upstream
        if upstream is not None:
            client = CsmsClient(link, upstream, V16.subprotocol, self._world, self._secrets, self._tell)
            tasks.create_task(client.run(), name=f"csms {link.id}")

    async def _refuse_orphans(self) -> None:
        stamp, known = self._world.clock.now(), {charger.id for charger in self._site.chargers}
        await self._db.run(lambda db: refuse_orphans(db, self._storing, known, V16(), stamp))

    def _storing(self, charger: str) -> Storing:
        return Storing(charger, self._who, self._new_id)

    async def _prune(self) -> None:
        """Keep the journal in its budget, a little at a time (I12)."""
        while True:
            gone = 0
            try:
                while some := await self._db.run(lambda db: journal.prune(db, KEEP_VALUES, PRUNE_STEP)):
                    gone += some
            except StoreError as error:
                self._tell(Event("journal_not_pruned", "journal", str(error), "it is tried again in an hour"))
            if gone:
                self._tell(Event("journal_pruned", "journal", f"{gone} old MeterValues went, to keep to its budget"))
            await self._world.clock.sleep(PRUNE_EVERY_S)

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
        relay = Relay(setting, V16(), snapshot, self._new_id, self._now())
        self._relays[charger.id] = relay
        return ChargerLink(setting, relay, self._storing(charger.id), self._parts)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._world.random.getrandbits(128), version=4))

    # Port of the load manager

    def connectors(self) -> Sequence[ConnectorState]:
        """Every configured connector, connected or not."""
        now, states = self._now(), list[ConnectorState]()
        for charger, unloaded in self._unloaded.items():
            relay = self._relays.get(charger)
            states += unloaded if relay is None else relay.told or relay.connectors(now)
        return states

    def _now(self) -> act.Now:
        stamp = self._world.clock.now()
        return act.Now(stamp.utc_ms, self._world.clock.monotonic(), stamp.quality not in UNSURE)

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
