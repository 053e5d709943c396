"""A look-alike of a connected socket for libraries that bring their own loop hooks (paho)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from .loop import SimLoop


class MemSocket(asyncio.Protocol):
    """A connected, non-blocking socket in memory: recv, send, fileno, and readiness for the loop."""

    def __init__(self, loop: SimLoop, end: asyncio.Transport, fd: int) -> None:
        self._loop, self._end, self._fd = loop, end, fd
        self._buffer = bytearray()
        self._ended = False
        self._reader: tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context] | None = None
        self._writer: tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context] | None = None
        self._read_scheduled = False
        loop.sockets[fd] = self

    @property
    def node(self) -> str:
        """The machine that reads and writes here."""
        return str(self._end.node)  # type: ignore[attr-defined]

    # As a protocol

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._wake_reader()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake_reader()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._wake_reader()

    # As a socket

    def fileno(self) -> int:
        return self._fd

    def recv(self, size: int) -> bytes:
        if self._buffer:
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._wake_reader()
            return data
        if self._ended:
            return b""
        raise BlockingIOError(11, "no data yet")

    def send(self, data: Any) -> int:
        if self._ended:
            raise ConnectionResetError(104, "connection reset")
        self._end.write(data)
        return len(data)

    def close(self) -> None:
        self._end.close()

    def shutdown(self, how: int) -> None:
        self._end.close()

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def settimeout(self, timeout: float | None) -> None:
        """It never blocks."""

    def getpeername(self) -> tuple[str, int]:
        return self._end.get_extra_info("peername")  # type: ignore[no-any-return]

    def pending(self) -> int:
        return len(self._buffer)

    # Readiness

    def watch_read(self, callback: Callable[..., Any] | None, args: tuple[Any, ...]) -> bool:
        had = self._reader is not None
        self._reader = (callback, args, contextvars.copy_context()) if callback else None
        self._wake_reader()
        return had

    def watch_write(self, callback: Callable[..., Any] | None, args: tuple[Any, ...]) -> bool:
        had = self._writer is not None
        self._writer = (callback, args, contextvars.copy_context()) if callback else None
        if self._writer:
            self._loop.call_soon(self._fire_writer, context=self._writer[2])
        return had

    def _wake_reader(self) -> None:
        if self._reader and (self._buffer or self._ended) and not self._read_scheduled:
            self._read_scheduled = True
            self._loop.call_soon(self._fire_reader, context=self._reader[2])

    def _fire_reader(self) -> None:
        self._read_scheduled = False
        if self._reader and (self._buffer or self._ended):
            callback, args, _ = self._reader
            callback(*args)
            if self._buffer:
                self._wake_reader()

    def _fire_writer(self) -> None:
        if self._writer:
            callback, args, context = self._writer
            callback(*args)
            if self._writer:
                self._loop.call_soon(self._fire_writer, context=context)
