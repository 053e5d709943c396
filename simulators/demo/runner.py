"""One run: start everything, play the story, drain, stop, and hand the folder to the judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.broker import free_port
from simulators.clock import SiteClock
from simulators.demo import brokers, plan
from simulators.demo.gateway_process import GatewayProcess
from simulators.demo.house import House
from simulators.demo.plan import STORY, Scene

LEAD_IN_S = 8.0
"""Real seconds before 11:30: time for the gateway to start and for the boxes to connect, on a busy machine too."""
DRAIN_S = 15.0
QUIET_S = 1.0
"""So long nothing may wait before it counts as drained: a minute of site time."""
LAST_WORDS_S = 0.5
"""How long the cloud may take to hear the gateway's last word."""
TRIES = 40
"""How often a driver shows the card again where the box says nothing, every 5 site seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    folder: Path
    seed: int
    broker: str
    speed: float
    stay: bool
    module: tuple[str, ...]


class Run:
    """The parts of one run and the story."""

    def __init__(self, options: Options) -> None:
        self._options = options
        folder = options.folder
        self.clock = SiteClock(plan.EPOCH_MS, time.monotonic() + LEAD_IN_S, options.speed)
        self.house = House(folder, self.clock, options.seed, brokers.choose(options.broker, folder), free_port())
        self.gateway = GatewayProcess(folder, self.clock, options.module)
        self._drivers: set[asyncio.Task[None]] = set()

    async def play(self, watch: Callable[[Run], Any]) -> None:
        """The whole run; `watch(run)` is the view, a coroutine that is cancelled at the end."""
        house, gateway = self.house, self.gateway
        house.write_scale(self._options.seed)
        try:
            await house.start()
            async with asyncio.TaskGroup() as group:
                living = group.create_task(house.run())
                guard = group.create_task(self._guard())
                view = group.create_task(watch(self))
                await self._start_gateway()
                await self._story()
                if self._options.stay:
                    await self._stay()
                await self._drain()
                await self._end_gateway()
                guard.cancel()
                living.cancel()
                view.cancel()
        finally:
            gateway.close()
            await house.close()

    async def _start_gateway(self) -> None:
        await self.gateway.start()
        await self.gateway.ready()
        self.tell("gateway_ready", text="the gateway listens")

    async def _guard(self) -> None:
        """Tell once that the gateway has ended by itself; the judge says the rest."""
        await self.gateway.end_by_itself()
        self.tell("gateway_ended", text="the gateway has ended by itself, see gateway.log")

    async def _story(self) -> None:
        for scene in STORY:
            await self.clock.sleep_until(scene.at_ms)
            await self._act(scene)
        await self.clock.sleep_until(plan.END_MS)
        await asyncio.gather(*self._drivers)
        self.tell("story_end", text="the last quarter hour is closed")

    async def _act(self, scene: Scene) -> None:
        if scene.do == "say":
            self.tell("said", text=scene.text)
        elif scene.do == "cut":
            assert self.house.uplink is not None
            await self.house.uplink.cut()
            self.tell("uplink_cut", text=scene.text)
        elif scene.do == "mend":
            assert self.house.uplink is not None
            await self.house.uplink.restore()
            self.tell("uplink_back", text=scene.text)
        elif scene.do == "kill":
            await self.gateway.kill()
            self.tell("gateway_killed", text=scene.text)
        elif scene.do == "restart":
            await self._start_gateway()
        else:
            driver = asyncio.create_task(self._drive(scene))
            self._drivers.add(driver)

    async def _drive(self, scene: Scene) -> None:
        """What a driver does at a box; one who gets no answer shows the card again."""
        box, card = self.house.chargers[scene.box], scene.card
        who = {"charger": box.name, "card": card, "connector": 1}
        if scene.do == "leave":
            await box.present(card)
            await box.unplug()
            self.tell("car_stopped", **who, text=scene.text)
            return
        if scene.do == "arrive":
            box.plug(plan.car(box.name, self.house.rng))
        answer = "no answer"
        for _ in range(TRIES):
            answer = await box.present(card)
            if answer != "no answer":
                break
            await self.clock.sleep(5)
        if scene.do == "arrive" and answer == "Accepted":
            self.tell("car_started", **who, text=scene.text)
        elif answer == "Accepted":
            self.tell("card_shown", **who, text=f"{scene.text}: {answer}")
        else:
            self.tell("card_refused", **who, text=f"{scene.text}: {answer}")

    async def _stay(self) -> None:
        self.tell("stays", text="stays: everything goes on until Ctrl+C")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            current = asyncio.current_task()
            assert current is not None
            current.uncancel()

    async def _drain(self) -> None:
        """Wait until the cloud and the backend have everything, at most 15 real seconds."""
        began = quiet_since = time.monotonic()
        while not self.gateway.ended_by_itself and time.monotonic() - began < DRAIN_S:
            status = await self.gateway.status()
            if status is None or not drained(status):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= QUIET_S:
                break
            await asyncio.sleep(0.1)
        self.tell("drained", text=f"drained in {time.monotonic() - began:.1f} s")

    async def _end_gateway(self) -> None:
        code = await self.gateway.stop()
        self.tell("gateway_stopped", code=code, text=f"the gateway ended with {code}")
        await asyncio.sleep(LAST_WORDS_S)
        keys = await self.gateway.public_keys()
        (self._options.folder / "evidence" / "public_keys.json").write_text(keys, encoding="utf-8")

    def tell(self, what: str, **keys: Any) -> None:
        """Something of the story has happened: evidence/events.jsonl, and the view."""
        self.house.events.event(what, **keys)


def drained(status: dict[str, Any]) -> bool:
    """Nothing waits for the cloud or the backend any more, and the last quarter hour of the story is settled."""
    last = status["split"].get("last_interval") or ""
    waiting = [*status["cloud"]["backlog"].values(), *(line["queue"] for line in status["upstreams"])]
    return not any(waiting) and last >= LAST_INTERVAL


LAST_INTERVAL = "2026-06-13T12:15"
"""The quarter hour that ends with the story, by its start in UTC."""
