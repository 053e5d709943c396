"""A network in memory: listeners by (host, port), links with latency, and faults on them.

Each link draws from its own random source, keyed by its name, so a fault on one link leaves the others alike.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .loop import NODE, SimLoop
from .memory_socket import MemSocket

FIRST_FD = 10_000
CONNECT_S = 10
"""A connection request that nobody answers is given up after so many seconds."""

EPSILON_S = 1e-6
"""Bytes of one direction keep their order: each delivery is at least this much after the one before."""


@dataclass
class Link:
    """How one kind of connection behaves. Times in seconds."""

    latency_s: float = 0.001
    jitter_s: float = 0.001
    split: float = 0.0
    """Probability that one write arrives in two pieces."""
    refused: int = 0
    """By how many faults at once it is refused."""
    half_open: int = 0
    """Bytes vanish and nobody is told."""
    tear: bool = False
    """The next write arrives to its half, then the connection breaks."""


class Network:
    """All listeners and connections of one simulation."""

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.links: dict[str, Link] = {}
        self.log: Callable[[str, str, bytes], None] | None = None
        self._listeners: dict[tuple[str, int], _Server] = {}
        self._random: dict[str, random.Random] = {}
        self._open: dict[int, Pipe] = {}
        self._number = 0
        self._next_fd = FIRST_FD
        self._next_port = 40_000
        loop.network = self

    # Faults

    def link(self, name: str) -> Link:
        """The behaviour of every connection to `name` ("host:port")."""
        return self.links.setdefault(name, Link())

    def refuse(self, name: str, by: int) -> None:
        """One reason more (+1) or less (-1) to refuse every new connection to `name`."""
        self.link(name).refused += by

    def cut(self, name: str) -> None:
        """Break every open connection to `name`; both ends learn it, not at the same moment."""
        for pipe in sorted(self._open.values(), key=lambda pipe: pipe.number):
            if pipe.name == name:
                pipe.break_off()

    def cut_node(self, node: str) -> None:
        """The machine `node` is gone: the other end of each of its connections is reset."""
        gone = ConnectionResetError("peer is gone")
        for pipe in sorted(self._open.values(), key=lambda pipe: pipe.number):
            for end in (pipe.client, pipe.server):
                if end.node == node:
                    self.loop.call_soon(end.peer.call_lost, gone, context=end.peer.context)
        for key, server in list(self._listeners.items()):
            if server.node == node:
                del self._listeners[key]

    def forget_node(self, node: str) -> None:
        """Its connections and sockets keep nothing of a machine that is long gone."""
        for number, pipe in list(self._open.items()):
            if node in (pipe.client.node, pipe.server.node):
                del self._open[number]
                for end in (pipe.client, pipe.server):
                    if end.node == node:
                        end.forget()
        for fd, socket in list(self.loop.sockets.items()):
            if socket.node == node:
                del self.loop.sockets[fd]

    # Asyncio's side

    def listen(self, factory: Callable[[], asyncio.Protocol], host: str, port: int, tls: Any) -> _Server:
        if port == 0:
            self._next_port += 1
            port = self._next_port
        key = (host, port)
        if key in self._listeners:
            raise OSError(98, f"address {host}:{port} already in use")
        server = _Server(self, factory, host, port)
        self._listeners[key] = server
        return server

    def forget(self, server: _Server) -> None:
        self._listeners.pop((server.host, server.port), None)

    async def connect(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> Any:
        pipe = await self._open_pipe(host, port)
        protocol = factory()
        pipe.client.attach(protocol)
        return pipe.client, protocol

    async def connect_socket(self, host: str, port: int) -> MemSocket:
        """A look-alike of a connected non-blocking socket, for a library that wants one."""
        pipe = await self._open_pipe(host, port)
        self._next_fd += 1
        sock = MemSocket(self.loop, pipe.client, self._next_fd)
        pipe.client.attach(sock)
        return sock

    async def _open_pipe(self, host: str, port: int) -> Pipe:
        name = f"{host}:{port}"
        link = self.link(name)
        source = self.random(name)
        await asyncio.sleep(link.latency_s + source.random() * link.jitter_s)
        for _ in range(CONNECT_S):
            if not link.half_open:
                break
            await asyncio.sleep(1.0)
        else:
            raise TimeoutError(110, f"connection to {name} timed out")
        server = self._find(host, port)
        if server is None or link.refused or server.node in self.loop.dead:
            raise ConnectionRefusedError(111, f"connection to {name} refused")
        self._number += 1
        pipe = Pipe(self, name, self._number, NODE.get(), server.node)
        self._open[pipe.number] = pipe
        server.context.copy().run(lambda: pipe.server.attach(server.factory()))
        return pipe

    def _find(self, host: str, port: int) -> _Server | None:
        return self._listeners.get((host, port)) or self._listeners.get(("0.0.0.0", port)) if port else None

    def closed(self, pipe: Pipe) -> None:
        self._open.pop(pipe.number, None)

    def random(self, name: str) -> random.Random:
        """The random source of one link; text seeds do not depend on the hash seed."""
        if name not in self._random:
            self._random[name] = random.Random(f"{self.seed}/{name}")
        return self._random[name]


class _Server(asyncio.AbstractServer):
    def __init__(self, network: Network, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        self._network, self.factory, self.host, self.port = network, factory, host, port
        self.node = NODE.get()
        self.context = contextvars.copy_context()
        self._serving = True
        self._closed = asyncio.get_running_loop().create_future()

    @property
    def sockets(self) -> list[Any]:
        return [_ListeningSocket(self.host, self.port)] if self._serving else []

    def close(self) -> None:
        if self._serving:
            self._serving = False
            self._network.forget(self)
            self._closed.set_result(None)

    def is_serving(self) -> bool:
        return self._serving

    def get_loop(self) -> Any:
        return self._network.loop

    async def start_serving(self) -> None:
        """It serves from the beginning."""

    async def serve_forever(self) -> None:
        try:
            await asyncio.shield(self._closed)
        finally:
            self.close()

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)


@dataclass
class _ListeningSocket:
    host: str
    port: int
    family: int = 2

    def getsockname(self) -> tuple[str, int]:
        return self.host, self.port


class Pipe:
    """One connection: two ends."""

    def __init__(self, network: Network, name: str, number: int, client_node: str, server_node: str) -> None:
        self.network, self.name, self.number = network, name, number
        self.client = End(self, "client", client_node)
        self.server = End(self, "server", server_node)
        self.client.peer, self.server.peer = self.server, self.client

    def break_off(self) -> None:
        source = self.network.random(self.name)
        for end in (self.client, self.server):
            self.network.loop.call_later(
                source.random() * 0.05, end.call_lost, ConnectionResetError("connection cut"), context=end.context
            )


class End(asyncio.Transport):
    """One end of a connection, as asyncio's transport."""

    peer: End

    def __init__(self, pipe: Pipe, side: str, node: str) -> None:
        super().__init__()
        self._pipe, self.side, self.node = pipe, side, node
        self._loop = pipe.network.loop
        self._link = pipe.network.link(pipe.name)
        self._random = pipe.network.random(pipe.name)
        self._protocol: Any = None
        self._closing = False
        self._lost = False
        self._last = 0.0
        self._paused = False
        self._held: list[bytes] = []
        self._eof = False
        self.context = contextvars.copy_context()

    def attach(self, protocol: Any) -> None:
        self._protocol = protocol
        self.context = contextvars.copy_context()
        protocol.connection_made(self)

    # What libraries call

    def write(self, data: Any) -> None:
        if self._closing or self._lost or not data or self._is_dead():
            return
        link, source = self._link, self._random
        if link.half_open:
            return
        data = bytes(data)
        if self.peer._lost:  # nobody is there any more: its machine answers with a reset
            self._at(self, self.call_lost, ConnectionResetError("reset"))
            return
        if self._pipe.network.log is not None:
            self._pipe.network.log(self._pipe.name, self.side, data)
        if link.tear and len(data) > 1:
            link.tear = False
            self._deliver(data[: len(data) // 2])
            self._loop.call_later(0.01, self._pipe.break_off)
        elif link.split and len(data) > 1 and source.random() < link.split:
            at = source.randrange(1, len(data))
            self._deliver(data[:at])
            self._deliver(data[at:])
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        self._at(self.peer, self.peer.receive, data)

    def _at(self, end: End, callback: Callable[..., None], *args: Any) -> None:
        """`callback` of `end`, after the way there; never before what was sent earlier."""
        due = self._loop.time() + self._link.latency_s + self._random.random() * self._link.jitter_s
        self._last = max(self._last + EPSILON_S, due)
        self._loop.call_at(self._last, callback, *args, context=end.context)

    def close(self) -> None:
        if self._closing or self._is_dead():
            return
        self._closing = True
        if not self._link.half_open:
            self._at(self.peer, self.peer.end_of_stream)
        self._loop.call_soon(self.call_lost, None, context=self.context)

    def abort(self) -> None:
        if self._is_dead():
            return
        self._closing = True
        self._loop.call_soon(self.call_lost, None, context=self.context)
        if not self._link.half_open:
            self._loop.call_later(
                0.001, self.peer.call_lost, ConnectionResetError("reset by peer"), context=self.peer.context
            )

    def _is_dead(self) -> bool:
        """Its machine is gone, and says nothing any more."""
        return self.node in self._loop.dead

    def forget(self) -> None:
        """Nobody is there any more; whoever still holds the other end finds it lost."""
        self._lost = self._closing = True
        self._protocol = None
        self._held.clear()
        self.context = contextvars.Context()

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def write_eof(self) -> None:
        """The other end reads to the end; we may still read."""
        if not self._link.half_open and not self._is_dead():
            self._at(self.peer, self.peer.end_of_stream)

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        held, self._held = self._held, []
        for data in held:
            self._loop.call_soon(self.receive, data, context=self.context)
        if self._eof:
            self._loop.call_soon(self.end_of_stream, context=self.context)

    def is_reading(self) -> bool:
        return not self._paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bytes in flight are not bounded here."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in ("peername", "sockname"):
            return (self._pipe.name.rsplit(":", 1)[0], 40_000 + self._pipe.number)
        return default

    # What arrives

    def receive(self, data: bytes) -> None:
        if self._lost or self._closing:
            return
        if self._paused:
            self._held.append(data)
            return
        if isinstance(self._protocol, asyncio.BufferedProtocol):
            _feed_buffered(self._protocol, data)
        else:
            self._protocol.data_received(data)

    def end_of_stream(self) -> None:
        if self._lost or self._closing:
            return
        if self._paused or self._held:
            self._eof = True
            return
        if not self._protocol.eof_received():
            self.close()

    def call_lost(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._closing = True
        if self._protocol is not None:
            self._protocol.connection_lost(error)
        if self.peer._lost:
            self._pipe.network.closed(self._pipe)


def _feed_buffered(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]
