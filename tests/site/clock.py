"""The clock of a simulated machine, and the standard library's time and randomness put on the same rails."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable
from typing import Any

from gateway.model import Guess, Stamp, TimeQuality
from gateway.site_time import Look, SiteTime


class SimClock:
    """Site time = epoch + loop time + offset. The offset can be stepped; monotonic time does not notice."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, epoch_ms: int, wrong_by_ms: int = 0, booted_s: float = 0.0,
        started: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """The machine has been on since `booted_s` (loop time); `started` is called when it has its first time."""
        self._loop, self._epoch_ms, self._booted_ms, self._started = loop, epoch_ms, round(booted_s * 1000), started
        self._on_since = f"on since {epoch_ms + self._booted_ms}"
        self.monotonic = loop.time
        self._offset_ms = wrong_by_ms
        self._quality = TimeQuality.RTC if wrong_by_ms else TimeQuality.SIMULATED
        self._time = SiteTime(self._look())
        self._read_s = -1.0
        self._read = Stamp(0, self._quality)
        """What it said when it was read last, at loop time `_read_s`; below 0: it has been set since."""

    def true_ms(self) -> int:
        """What the world outside reads, whatever this machine believes."""
        return self._epoch_ms + round(self._loop.time() * 1000)

    def set_right(self, wrong_by_ms: int) -> None:
        """A time server has answered."""
        self._quality = TimeQuality.SIMULATED
        self.step(-wrong_by_ms)

    def step(self, by_ms: int) -> None:
        """Somebody sets the wall clock."""
        self._offset_ms += by_ms
        self._read_s = -1.0

    def now(self) -> Stamp:
        """Between two timers virtual time stands still, and the clock says the same unless somebody sets it."""
        at_s = self._loop.time()
        if at_s != self._read_s:
            self._read_s, self._read = at_s, self._time.now(self._look())
        return self._read

    def utc_ms(self) -> int:
        return self.now().utc_ms

    def off_ms(self) -> int:
        self.now()
        return self._time.off_ms

    def right(self) -> Stamp:
        look = self._look()
        return Stamp(look.wall_ms, look.quality)

    def put_right(self) -> None:
        self._read_s = -1.0
        self._time.put_right(self._look())

    def _look(self) -> Look:
        at_ms = round(self._loop.time() * 1000)
        wall_ms = self._epoch_ms + at_ms + self._offset_ms
        return Look(wall_ms, at_ms - self._booted_ms, self._quality, self._on_since)

    def link_s(self, site_s: float) -> float:
        return site_s

    def start_no_earlier_than(self, utc_ms: int, guess: Guess | None = None) -> None:
        self._read_s = -1.0
        self._time.start_no_earlier_than(utc_ms, self._look(), guess)
        self._started()

    def guess(self) -> Guess | None:
        return self._time.guess(self._look())

    async def sleep(self, site_s: float) -> None:
        await asyncio.sleep(site_s)


def put_on_rails(loop: asyncio.AbstractEventLoop, epoch_ms: int, seed: int) -> None:
    """Libraries draw ids, masks and dates: from here on they draw from the seed and read the simulated clock.

    For a process that does nothing but simulate: it is not undone.
    """
    source = random.Random(f"{seed}/libraries")

    def utc_s() -> float:
        return epoch_ms / 1000 + loop.time()

    patched: Any = os
    patched.urandom = source.randbytes
    patched = random
    patched._urandom = source.randbytes
    random.seed(f"{seed}/module")
    patched = time
    patched.time = utc_s
    patched.time_ns = lambda: round(utc_s() * 1e9)
    patched.monotonic = loop.time
    import paho.mqtt.client as paho
    from cryptography.hazmat.primitives.asymmetric import ec
    from websockets.asyncio.connection import Connection

    paho.time_func = loop.time
    # A server closes its connections in the order of a set: by their number, not by where they lie in memory.
    numbers = itertools.count(1)
    patched = Connection
    patched.__hash__ = lambda self: self.__dict__.setdefault("_number", next(numbers))
    patched = ec
    patched.generate_private_key = lambda curve, backend=None: ec.derive_private_key(source.getrandbits(255) + 1, curve)
