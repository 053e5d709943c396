"""The building's uplink: a TCP proxy for several services that can be cut, and that can go half-open.

`cut` drops every connection and refuses new ones; `half_open` keeps them, but no byte comes through in either
direction and nobody is told (a router that lost its state); `restore` ends both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum

CHUNK = 65_536


class Mode(Enum):
    """What the uplink does with bytes."""

    OPEN = "open"
    CUT = "cut"
    HALF_OPEN = "half_open"


class Uplink:
    """One local port per named service."""

    def __init__(self, targets: Mapping[str, tuple[str, int]]) -> None:
        self._targets = dict(targets)
        self._servers: dict[str, asyncio.Server] = {}
        self._ports: dict[str, int] = {}
        self._pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._mode = Mode.OPEN
        self.connects: dict[str, int] = dict.fromkeys(targets, 0)

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    def port(self, name: str) -> int:
        """The local port that stands for `name`."""
        return self._ports[name]

    def retarget(self, name: str, host: str, port: int) -> None:
        """New connections to `name` go there."""
        self._targets[name] = (host, port)

    async def start(self) -> None:
        """Listen on 127.0.0.1, a port for each service."""
        for name in self._targets:
            await self._listen(name)

    async def cut(self) -> None:
        """Drop every connection, refuse new ones."""
        self._mode = Mode.CUT
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        await self._drop_all()

    def half_open(self) -> None:
        """From now on every byte vanishes, and nobody is told."""
        self._mode = Mode.HALF_OPEN

    async def restore(self) -> None:
        """Let everything through again; what was half-open is dropped, as a router that has forgotten it would."""
        if self._mode is Mode.HALF_OPEN:
            await self._drop_all()
        self._mode = Mode.OPEN
        for name in self._targets:
            if name not in self._servers:
                await self._listen(name)

    async def stop(self) -> None:
        """Close everything."""
        await self.cut()

    async def _listen(self, name: str) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # asyncio.streams of 3.11 logs a cancelled handler as an error; being cancelled is how a cut ends it.
            with suppress(asyncio.CancelledError):
                await self._carry(name, reader, writer)

        server = await asyncio.start_server(accept, "127.0.0.1", self._ports.get(name, 0))
        self._ports[name] = int(server.sockets[0].getsockname()[1])
        self._servers[name] = server

    async def _carry(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connects[name] += 1
        self._pairs[task] = (writer,)
        pumps: set[asyncio.Task[None]] = set()
        try:
            there_reader, there = await asyncio.open_connection(*self._targets[name])
            self._pairs[task] = (writer, there)
            if self._mode is Mode.CUT:  # it was cut while we connected
                return
            pumps = {
                asyncio.create_task(self._pump(reader, there)),
                asyncio.create_task(self._pump(there_reader, writer)),
            }
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            return  # the service is not there: the client sees its connection close
        finally:
            for pump in pumps:
                pump.cancel()
            for side in self._pairs.pop(task, ()):
                side.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes until one side has gone."""
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._mode is Mode.HALF_OPEN:
                    continue
                writer.write(data)
                await writer.drain()

    async def _drop_all(self) -> None:
        """Close both sides of every connection, and wait until its pumps have seen it."""
        tasks = list(self._pairs)
        for writers in self._pairs.values():
            for writer in writers:
                writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks)
