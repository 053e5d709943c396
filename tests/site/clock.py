"""The clock of a simulated machine, and the standard library's time and randomness put on the same rails."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from typing import Any

from gateway.model import Stamp, TimeQuality


class SimClock:
    """Site time = epoch + loop time + offset. The offset can be stepped; monotonic time does not notice."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_ms: int) -> None:
        self._loop, self._epoch_ms = loop, epoch_ms
        self._floor_ms = 0
        self.offset_ms = 0
        self.quality = TimeQuality.SIMULATED

    def true_ms(self) -> int:
        """What the world outside reads, whatever this machine believes."""
        return self._epoch_ms + round(self._loop.time() * 1000)

    def now(self) -> Stamp:
        return Stamp(self.utc_ms(), self.quality)

    def utc_ms(self) -> int:
        now_ms = self._epoch_ms + round(self._loop.time() * 1000) + self.offset_ms
        if now_ms > self._floor_ms:
            self._floor_ms = now_ms
        return self._floor_ms

    def monotonic(self) -> float:
        return self._loop.time()

    def link_s(self, site_s: float) -> float:
        return site_s

    def start_no_earlier_than(self, utc_ms: int) -> None:
        self._floor_ms = max(self._floor_ms, utc_ms)

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
