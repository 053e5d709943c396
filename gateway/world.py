"""The real world: the wall clock, the system's randomness, two executors, sqlite3, sockets, the service manager."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from gateway.model import Clock, World
from gateway.store.sqlite import connect

CONNECT_TIMEOUT_S = 10.0


def real_world(clock: Clock) -> World:
    """A world of real parts. Call it inside the running loop: `net` becomes the loop's default executor."""
    net = ThreadPoolExecutor(max_workers=4, thread_name_prefix="net")
    loop = asyncio.get_running_loop()
    loop.set_default_executor(net)

    async def open_socket(host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
        return await loop.run_in_executor(net, partial(_connect_socket, host, port, tls))

    return World(
        clock=clock,
        random=random.SystemRandom(),
        store=ThreadPoolExecutor(max_workers=1, thread_name_prefix="store"),
        net=net,
        connect_database=connect,
        open_socket=open_socket,
        notify=sd_notify,
    )


def _connect_socket(host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """Name look-up, TCP connect and TLS handshake: all of it may block, so it runs in the `net` executor."""
    plain = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected = tls.wrap_socket(plain, server_hostname=host) if tls else plain
    except OSError:
        plain.close()
        raise
    connected.setblocking(False)
    return connected


def sd_notify(line: str) -> None:
    """One datagram to the service manager (sd_notify(3)); nothing where there is none.

    A manager that does not take it must not end the gateway: it watches us, we do not depend on it. That it misses a
    watchdog line is what the watchdog is for.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel, suppress(OSError):
        channel.setblocking(False)
        channel.sendto(line.encode(), address)
