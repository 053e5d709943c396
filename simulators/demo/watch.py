"""Binds the view to a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from simulators.demo.plan import ZONE
from simulators.demo.runner import Run
from simulators.view import Status, Story, glance, show

GLANCE_MS = 450_000
AFTER_MS = 90_000
"""A glance at 1.5 and 9 minutes past each quarter hour: the boxes at 12:39, the settled quarter at 12:46:30."""


class RunSeen:
    """A run as the view sees it."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def now_ms(self) -> int:
        """Site time."""
        return self._run.clock.utc_ms()

    async def status(self) -> Status | None:
        """What the gateway says of itself, None while it is dead."""
        return await self._run.gateway.status()

    def loads(self) -> Mapping[str, tuple[int, Sequence[float]]]:
        """Limit and currents of each circuit, mA."""
        building = self._run.house.building
        return {name: (limit, building.load_ma(name)) for name, limit in building.limits_ma().items()}

    def boxes(self) -> Sequence[Mapping[str, Any]]:
        """Each box by its own word."""
        return [self._box(name) for name in self._run.house.chargers]

    def sun_w(self) -> float:
        """What the modules give."""
        return self._run.house.building.sun_w()

    def _box(self, name: str) -> dict[str, Any]:
        charger = self._run.house.chargers[name]
        now_ms = self.now_ms()
        transaction, outlet = charger.transaction, charger.outlet
        return {
            "name": name,
            "status": charger.status(now_ms),
            "card": transaction.card if transaction else None,
            "limit_ma": charger.offer_ma(now_ms),
            "draw_ma": outlet.draw_ma,
            "phases": outlet.car.phases if outlet.car else 0,
        }


def watcher(console: Console, *, plain: bool) -> Callable[[Run], Awaitable[None]]:
    """The view of a run: live on a terminal, else one line per event."""

    async def watch(run: Run) -> None:
        story = Story(ZONE, console, plain=plain)
        run.house.events.listeners.append(lambda what, keys: story.hear(run.clock.utc_ms(), what, keys))
        seen = RunSeen(run)
        if not plain:
            await show(seen, story, console)
        while True:
            await run.clock.sleep_until((seen.now_ms() // GLANCE_MS + 1) * GLANCE_MS + AFTER_MS)
            console.print(Text(glance(seen, story, await seen.status())), soft_wrap=True)

    return watch
