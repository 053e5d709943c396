"""The clock of a simulated machine, and the standard library's time and randomness put on the same rails."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from typing import Any

from gateway.model import Stamp, TimeQuality
from gateway.site_time import Look, SiteTime


class SimClock:
    """Site time = epoch + loop time + offset. The offset can be stepped; monotonic time does not notice."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_ms: int, wrong_by_ms: int = 0) -> None:
        self._loop, self._epoch_ms = loop, epoch_ms
        self.offset_ms = wrong_by_ms
        self.quality = TimeQuality.RTC if wrong_by_ms else TimeQuality.SIMULATED
        self._time = SiteTime(self._look())
        self._read: tuple[tuple[float, int, TimeQuality], Stamp] | None = None

    def true_ms(self) -> int:
        """What the world outside reads, whatever this machine believes."""
        return self._epoch_ms + round(self._loop.time() * 1000)

    def set_right(self, wrong_by_ms: int) -> None:
        """A time server has answered."""
        self.offset_ms -= wrong_by_ms
        self.quality = TimeQuality.SIMULATED

    def now(self) -> Stamp:
        """Between two timers virtual time stands still, and the clock says the same unless somebody sets it."""
        at = (self._loop.time(), self.offset_ms, self.quality)
        if self._read is None or at != self._read[0]:
            self._read = at, self._time.now(self._look())
        return self._read[1]

    def utc_ms(self) -> int:
        return self.now().utc_ms

    def ahead_ms(self) -> int:
        self.now()
        return self._time.ahead_ms

    def set_back(self) -> int:
        self._read = None
        return self._time.set_back(self._look())

    def _look(self) -> Look:
        up_ms = round(self._loop.time() * 1000)
        return Look(self._epoch_ms + up_ms + self.offset_ms, up_ms, self.quality)

    def monotonic(self) -> float:
        return self._loop.time()

    def link_s(self, site_s: float) -> float:
        return site_s

    def start_no_earlier_than(self, utc_ms: int) -> None:
        self._read = None
        self._time.start_no_earlier_than(utc_ms, self._look())

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
