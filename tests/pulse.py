"""Tests on real time on a shared machine: a failure counts unless the machine is proven to have stood still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

BEAT_S = 0.002
ATTEMPTS = 6


class Pulse:
    """Measures the longest time that this event loop stood still, and all of it together."""

    def __init__(self) -> None:
        self.longest_s = self.lost_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(BEAT_S)
            still_s = loop.time() - before - BEAT_S
            self.lost_s += still_s
            self.longest_s = max(self.longest_s, still_s)


async def unless_it_stood_still(scenario: Callable[[], Awaitable[None]], margin_s: float) -> None:
    """Play `scenario`; play it again only where it failed while the loop stood still for more than `margin_s`."""
    for _ in range(ATTEMPTS - 1):
        async with Pulse() as pulse:
            try:
                return await scenario()
            except AssertionError:
                if pulse.longest_s < margin_s:
                    raise
    return await scenario()
