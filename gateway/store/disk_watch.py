"""Asks a disk that refused a write until it takes one again: what it refuses after that is told again."""

from __future__ import annotations

import asyncio

from gateway.model import Clock, Event, StoreError, Tell
from gateway.store import meta
from gateway.store.database import Database

ASK_EVERY_S = 20.0
"""Site seconds."""


class DiskWatch:
    """`took_s` is the site-monotonic time at which a disk that had refused was last found to take something."""

    def __init__(self, db: Database, clock: Clock, tell: Tell) -> None:
        self._db, self._clock, self._tell = db, clock, tell
        self._refused = asyncio.Event()
        self.took_s: float | None = None

    def refused(self) -> None:
        """A part of the gateway could not write."""
        self._refused.set()

    async def run(self) -> None:
        """Wait for a refusal, and then for its end."""
        while True:
            await self._refused.wait()
            await self._clock.sleep(ASK_EVERY_S)
            if await self._takes():
                self._refused.clear()
                self.took_s = self._clock.monotonic()
                self._tell(Event("store_takes", "database", "the database takes what is written again", keep=True))

    async def _takes(self) -> bool:
        try:
            await self._db.run(meta.ask)
        except StoreError:
            return False
        return True
