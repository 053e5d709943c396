"""One WebSocket of either side: texts in, a bounded queue of texts out, and a close that does not wait for the peer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed

MAX_OUT = 256
"""Texts that wait for a peer that does not read; beyond it the connection is given up, never the memory (I12)."""

MAX_MESSAGE = 1 << 18
"""Bytes of one frame; signed meter data has some thousand. A hundred of them may wait on one charger (I12)."""

quiet = logging.getLogger("gateway.ocpp.websockets")
"""Half-open handshakes are noise (quirk 9); what matters is told as an Event."""
quiet.addHandler(logging.NullHandler())
quiet.propagate = False


class Wire:
    """`send` and `close` never wait; `run` ends when the connection does and says why."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._out: asyncio.Queue[str | tuple[int, str]] = asyncio.Queue(MAX_OUT)

    def send(self, text: str) -> None:
        """Send a text after those before it; a peer that has stopped reading loses the connection."""
        try:
            self._out.put_nowait(text)
        except asyncio.QueueFull:
            self._connection.transport.abort()

    def close(self, code: int, reason: str) -> None:
        """Close once everything before it is sent."""
        try:
            self._out.put_nowait((code, reason))
        except asyncio.QueueFull:
            self._connection.transport.abort()

    async def run(self, on_text: Callable[[str], None]) -> str:
        """Read until the end, which is returned in words. Cancelled, it closes with 1001."""
        writer = asyncio.create_task(self._write())
        try:
            while True:
                data = await self._connection.recv(decode=False)
                on_text(_text(data))
        except ConnectionClosed as closed:
            return _why(closed)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await self._connection.close(1001, "the gateway stops")

    async def _write(self) -> None:
        while True:
            item = await self._out.get()
            if isinstance(item, tuple):
                await self._connection.close(*item)
                return
            try:
                await self._connection.send(item)
            except ConnectionClosed:
                return


def _text(data: bytes) -> str:
    """The text of a message. Bytes that are none stay visible in the trace and parse as no frame (rule R8)."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"no UTF-8: {data[:100]!r}"


def _why(closed: ConnectionClosed) -> str:
    frame = closed.rcvd or closed.sent
    if frame is None:
        return "the connection broke"
    return f"closed with {frame.code} {frame.reason}".rstrip()
