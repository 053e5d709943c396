"""Parts of a simulated building for the tests of the simulators."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from simulators.building import Outlet
from simulators.charger import Charger, ChargerPlan
from simulators.clock import SiteClock
from simulators.csms import Csms
from simulators.evidence import FrameLog

EPOCH_MS = 1_781_343_000_000
"""2026-06-13T09:30:00Z"""
SPEED = 600.0


async def until(condition: Callable[[], Any], link_s: float = 5.0) -> None:
    """Wait until a condition holds; TimeoutError after `link_s` real seconds."""
    async with asyncio.timeout(link_s):
        while not condition():  # noqa: ASYNC110 - the condition is another process's or task's state
            await asyncio.sleep(0.002)


@dataclass
class Bench:
    """A backend and boxes that are connected to it directly."""

    clock: SiteClock
    csms: Csms
    port: int
    folder: Path
    until: Callable[..., Any] = until
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    register_wh: float = 5000.9

    def box(self, name: str = "box1", *, call_timeout_s: float = 1.0, **keys: Any) -> Charger:
        """A box that lives until the test ends."""
        charger = Charger(
            ChargerPlan(name, **keys),
            f"ws://127.0.0.1:{self.port}/{name}",
            Outlet(name, "garage", "m1"),
            lambda: self.register_wh,
            self.clock,
            random.Random(1),
            FrameLog(self.folder / f"{name}.jsonl", self.clock),
            call_timeout_s=call_timeout_s,
        )
        self.tasks.append(asyncio.create_task(charger.run()))
        return charger

    def messages(self, *actions: str) -> list[tuple[Any, ...]]:
        """(message id, action, payload) as the backend got them, in order."""
        return self.csms.messages(*actions)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = SiteClock(EPOCH_MS, time.monotonic(), SPEED)
    csms = Csms(
        ["box1", "box2"],
        {"CARD-A": "Accepted", "CARD-B": "Blocked"},
        clock,
        tmp_path / "csms.db",
        FrameLog(tmp_path / "csms.jsonl", clock),
        password="right",
    )
    made = Bench(clock, csms, await csms.start(), tmp_path)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await csms.close()
