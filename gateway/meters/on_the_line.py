"""What really goes over one line, and when: told by the library's packet trace, all in link time on the loop's clock.

The library's time-out runs from the moment a request is handed to it. On a machine that stands still in between, the
request goes out later, and its reply is due later than the time-out makes believe. And bytes that the kernel holds
reach the library only in the loop's next round, when the next request may already wait for them.
"""

from __future__ import annotations

import asyncio
from typing import Any

REST_OF_A_FRAME_S = 0.02
"""Where bytes came, more may follow: an adapter hands them on in pieces (its latency timer is 16 ms)."""


class OnTheLine:
    """The sending and hearing of one connection, over a serial port (`serial`) or a socket."""

    def __init__(self, *, serial: bool) -> None:
        self._serial = serial
        self.transport: Any = None
        self._sent_s: float | None = None
        self._heard = 0

    @property
    def stuck(self) -> bool:
        """Whether a request still waits to be written."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def trace(self, sending: bool, data: bytes) -> bytes:
        """Called by the library with every packet, just before it is written or as it came."""
        self._heard += not sending
        return data

    def handed_over(self) -> None:
        """The library has been given a request."""
        self._sent_s = None
        if self._serial:
            # The port is written to in the loop's next round, so the one after it knows; a socket at once.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._note_sent)
        else:
            self._note_sent()

    def sent_s(self, now_s: float) -> float:
        """When the last request was on the line at the latest."""
        return now_s if self._sent_s is None else self._sent_s

    async def settle(self, longest_s: float) -> None:
        """Let the library read away all that has come by now; while more comes, wait, at most `longest_s`."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + longest_s
        while True:
            heard = self._heard
            # In the first round the kernel is asked; by the second what it gave has been handed on.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self._heard == heard or loop.time() >= until_s:
                return
            await asyncio.sleep(REST_OF_A_FRAME_S)

    def _note_sent(self) -> None:
        if not self.stuck:
            self._sent_s = asyncio.get_running_loop().time()
