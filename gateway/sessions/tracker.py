"""Follows the journal and keeps the sessions: the edge that reads meters and commits; decisions stand beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.clock import iso
from gateway.model import Connection, MeterPort, Reading, Tell, World
from gateway.records.signing import Signer
from gateway.sessions import session as machine
from gateway.sessions.ending import waits_event
from gateway.sessions.intake import Intake, Outcome
from gateway.sessions.session import Reason, Session, State
from gateway.sessions.writing import Writer
from gateway.site import Site
from gateway.store import sessions
from gateway.store.database import Database
from gateway.store.outbox import Identity

LOOK_AGAIN_S = 30.0
"""The journal is looked at this often even if nobody calls: site seconds."""

WIRE_S = 2.0
"""How long a message may take on real wires before it counts as kept by the charger: link seconds."""

SERIES_MS = 15 * 60 * 1000


class Tracker:
    """Consumes the journal in order, resumes at its cursor, ends sessions when their end register is read."""

    def __init__(
        self, site: Site, world: World, db: Database, who: Identity, meters: MeterPort, signer: Signer, tell: Tell,
        on_outbox: Callable[[], None],
    ) -> None:  # fmt: skip
        self._site, self._clock, self._db, self._meters, self._tell = site, world.clock, db, meters, tell
        self._on_outbox = on_outbox
        wire_ms = WIRE_S / world.clock.link_s(1.0) * 1000
        self._intake = Intake(
            site, Writer(site, who, signer, world.random), tolerance_ms=round(machine.PAST_S * 1000 + wire_ms),
            since_ms=world.clock.utc_ms(),
        )  # fmt: skip
        self._wake = asyncio.Event()
        self._grew = True
        self._waiting: dict[str, Session] = {}
        self._asked: set[str] = set()
        self._told: set[str] = set()
        meters.subscribe(self._on_reading)

    def notify(self) -> None:
        """The journal grew, or an entry of it got its answer."""
        self._grew = True
        self._wake.set()

    async def run(self) -> None:
        """Follow the journal for ever."""
        self._asked.clear()
        self._grew = True
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                if self._grew:  # a reading alone ends sessions at once, without a look into the journal before
                    self._grew = False
                    await self._take_in()
                await self._finish()
                for session in self._waiting.values():
                    self._ask(group, session)
                await self._wait()

    async def status(self) -> dict[str, Any]:
        """The sessions that go on, and how many have ended."""
        running, (ended, unbillable) = await self._db.run(_overview)
        return {
            "open": [
                {
                    "id": session.id,
                    "connector": str(session.ref),
                    "tenant": session.tenant,
                    "begin": iso(session.begin_ms),
                    "energy_wh": self._taken_wh(session),
                    "state": session.state.value,
                }
                for session in running
            ],
            "ended": ended,
            "unbillable": unbillable,
        }

    def _taken_wh(self, session: Session) -> int | None:
        latest = self._meters.latest(session.meter) if session.meter else None
        if latest is None or latest.import_wh is None or session.begin_wh is None:
            return None
        return latest.import_wh - session.begin_wh

    async def _take_in(self) -> None:
        while True:
            outcome = await self._run(self._intake.take_in)
            if outcome.taken == 0:
                return

    async def _finish(self) -> None:
        if self._waiting:
            await self._run(self._intake.finish)
        self._tell_what_waits()

    def _tell_what_waits(self) -> None:
        """A session whose end register does not come is told once."""
        now_ms = self._clock.utc_ms()
        self._told &= self._waiting.keys()
        for session in self._waiting.values():
            known = self._meters.series(session.meter, now_ms - SERIES_MS, now_ms) if session.meter else ()
            event = waits_event(session, known, now_ms)
            if event is not None and session.id not in self._told:
                self._told.add(session.id)
                self._tell(event)

    async def _run(self, work: Callable[[Connection, dict[str, list[Reading]], Any], Outcome]) -> Outcome:
        """One transaction; its events are told, and the cloud is woken, only when it is on disk."""
        stamp = self._clock.now()
        series = self._series(stamp.utc_ms)
        outcome = await self._db.run(lambda connection: work(connection, series, stamp))
        self._waiting = {session.id: session for session in outcome.waiting}
        for event in outcome.events:
            self._tell(event)
        if outcome.wrote:
            self._on_outbox()
        return outcome

    def _series(self, now_ms: int) -> dict[str, list[Reading]]:
        meters = {connector.meter for connector in self._site.connectors() if connector.meter is not None}
        return {meter: list(self._meters.series(meter, now_ms - SERIES_MS, now_ms)) for meter in sorted(meters)}

    def _ask(self, group: asyncio.TaskGroup, session: Session) -> None:
        """Read the meter of a session that waits for its end register ahead of the plan, once at a time."""
        if session.meter is not None and session.id not in self._asked:
            self._asked.add(session.id)
            group.create_task(self._read(session.id, session.meter), name=f"end register {session.ref}")

    async def _read(self, session: str, meter: str) -> None:
        if await self._meters.read_now(meter) is not None:
            self._wake.set()
        else:
            self._asked.discard(session)  # it is asked again when the journal is looked at next

    def _on_reading(self, reading: Reading) -> None:
        if self._waiting and any(session.meter == reading.meter for session in self._waiting.values()):
            self._wake.set()

    async def _wait(self) -> None:
        self._asked &= self._waiting.keys()
        try:
            async with asyncio.timeout(self._clock.link_s(LOOK_AGAIN_S)):
                await self._wake.wait()
        except TimeoutError:
            self._grew = True


def _overview(db: Connection) -> tuple[list[Session], tuple[int, int]]:
    running = [machine.of_row(row) for row in sessions.running(db)]
    return [session for session in running if session.state is not State.ENDED], sessions.counts(
        db, Reason.REFUSED.value
    )
