"""A serial line on virtual time, driven by a machine that stands still at any moment; the meter never does.

What a busy machine does to the gateway: between any two of its steps time passes, several timers are due at once, and
bytes wait in the kernel that nobody has read. All of it is drawn from one seed, so a failure comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import selectors
import socket
from random import Random
from typing import Any

from simulators.modbus_frames import parse_rtu, reply_pdu, rtu_frame

USUAL_S = 0.04


class SlowMeter:
    """Answers what arrives, each reply after its own time, the late ones at most `worst_s` after their request.

    Register 0 of a reply is the number of its request, every other one its own address: neither a value from elsewhere
    nor an old one can hide.
    """

    def __init__(self, random: Random, worst_s: float, late_share: float) -> None:
        self.gateway_end, self._line = socket.socketpair()
        self.gateway_end.setblocking(False)
        self._line.setblocking(False)
        self._random, self._worst_s, self._late_share = random, worst_s, late_share
        self._buffer = b""
        self._due: list[tuple[float, int, bytes]] = []
        self.requests = 0

    def close(self) -> None:
        self._line.close()
        self.gateway_end.close()

    def hear(self, now_s: float) -> None:
        """Take what the gateway has put on the line by now."""
        try:
            self._buffer += self._line.recv(4096)
        except (BlockingIOError, ConnectionError):
            return
        while True:
            request, used = parse_rtu(self._buffer)
            self._buffer = self._buffer[used:]
            if request is None:
                return
            self.requests += 1
            words = [self.requests, *range(request.address + 1, request.address + request.count)]
            late = self._random.random() < self._late_share
            delay_s = self._random.uniform(USUAL_S, self._worst_s) if late else USUAL_S
            heapq.heappush(
                self._due, (now_s + delay_s, self.requests, rtu_frame(request.unit, reply_pdu(request, words)))
            )

    def speak(self, now_s: float) -> None:
        """Put on the line what has come by now."""
        while self._due and self._due[0][0] <= now_s:
            with contextlib.suppress(ConnectionError):  # the gateway has closed its end
                self._line.send(heapq.heappop(self._due)[2])

    def next_s(self) -> float | None:
        return self._due[0][0] if self._due else None


class StallingLoop(asyncio.SelectorEventLoop):
    """Time jumps to what is next, and now and then a little or a lot further, before or after the kernel is asked."""

    def __init__(self, random: Random, meter: SlowMeter, longest_stall_s: float) -> None:
        self._now = 0.0
        self._random, self._meter = random, meter
        self.stall_share, self._longest_stall_s = 0.0, longest_stall_s
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    def stall(self) -> None:
        if self._random.random() < self.stall_share:
            self._now += self._random.uniform(0.0, self._longest_stall_s)

    def kernel(self) -> None:
        """What the meter has heard and said by now, however long ago."""
        self._meter.hear(self._now)
        self._meter.speak(self._now)

    def pass_time(self, timeout: float | None) -> None:
        instants = [self._now + max(0.0, timeout)] if timeout is not None else []
        if (reply_s := self._meter.next_s()) is not None:
            instants.append(max(self._now, reply_s))
        assert instants, "nothing can ever happen again"
        self._now = min(instants)
        self.stall()
        self._meter.speak(self._now)

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        return await super().create_connection(protocol_factory, sock=self._meter.gateway_end)


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: StallingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.kernel()
        if not (ready := super().select(0)):
            self._loop.pass_time(timeout)
            ready = super().select(0)
        self._loop.stall()
        return ready


class SocketPort:
    """As much of a pyserial port as the library uses; the machine may stand still just before it writes."""

    def __init__(self, loop: StallingLoop, meter: SlowMeter) -> None:
        self._loop, self._meter, self._end = loop, meter, meter.gateway_end
        self.timeout = self.write_timeout = 0.0

    def fileno(self) -> int:
        return self._end.fileno()

    def read(self, size: int) -> bytes:
        try:
            return self._end.recv(size)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        self._loop.stall()
        sent = self._end.send(data)
        self._meter.hear(self._loop.time())
        return sent

    def close(self) -> None:
        """The meter's end closes the pair."""
