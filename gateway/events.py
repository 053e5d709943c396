"""What the operator can see (I11): every event is logged once, the newest stand in the status, some go to the cloud."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog

from gateway.clock import iso
from gateway.model import Connection, Event, Severity, Stamp, World
from gateway.sessions import notices
from gateway.store.database import Database
from gateway.store.outbox import Identity

KEPT_FOR_STATUS = 200
MAX_UNWRITTEN = 500
"""Events for the cloud that wait for the disk. When it is full the newest are only logged, and counted."""

_LEVELS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "error"}


class EventBook:
    """Takes events from every part, at once and without waiting."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._log = structlog.get_logger()
        self._newest: deque[tuple[int, Event]] = deque(maxlen=KEPT_FOR_STATUS)
        self._unwritten: deque[tuple[Stamp, Event]] = deque()
        self._grew = asyncio.Event()
        self._dropped = 0

    def tell(self, event: Event) -> None:
        """Log it, keep it for the status, and queue it for the event lane where `keep` says so."""
        stamp = self._world.clock.now()
        own = {"at": iso(stamp.utc_ms), "subject": event.subject, "cause": event.cause, "next_step": event.next_step}
        # The event's own keys win over what a part names alike in its data; structlog has taken `event` and `self`.
        keys = {key: value for key, value in event.data.items() if key not in ("event", "self")} | own
        getattr(self._log, _LEVELS[event.severity])(event.kind, **keys)
        self._newest.append((stamp.utc_ms, event))
        if not event.keep:
            return
        if len(self._unwritten) >= MAX_UNWRITTEN:
            self._dropped += 1
            return
        self._unwritten.append((stamp, event))
        self._grew.set()

    async def write(self, db: Database, who: Identity, on_outbox: Any) -> None:
        """Move queued events into the event lane, for ever."""
        while True:
            await self._grew.wait()
            self._grew.clear()
            batch = list(self._unwritten)
            await db.run(lambda connection, batch=batch: self._append(connection, who, batch))  # type: ignore[misc]
            for _ in batch:
                self._unwritten.popleft()
            on_outbox()

    def _append(self, connection: Connection, who: Identity, batch: list[tuple[Stamp, Event]]) -> None:
        for stamp, event in batch:
            notices.append(connection, who, self._world.random, stamp, event)

    def status(self) -> list[dict[str, Any]]:
        """The newest events, newest last."""
        return [
            {
                "at": iso(at_ms),
                "kind": event.kind,
                "subject": event.subject,
                "cause": event.cause,
                "next_step": event.next_step,
                "severity": event.severity.value,
            }
            for at_ms, event in self._newest
        ]

    @property
    def dropped(self) -> int:
        """Events that were only logged because the disk did not keep up."""
        return self._dropped
