"""An MQTT client on the event loop, without a thread: paho's external-loop hooks, manual PUBACK, own reconnecting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

CONNECT_TIMEOUT_S = 5.0
RETRY_S = 0.3
KEEPALIVE_S = 20


class _Client(paho.Client):
    handed: socket.socket

    def _create_socket_connection(self) -> socket.socket:
        return self.handed


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and the connection on which it came: only there can it be confirmed."""

    topic: str
    payload: bytes
    mid: int
    client: paho.Client


class Wire:
    """Stays connected while `run` runs; a persistent session, so that nothing is lost while it is away."""

    def __init__(
        self, host: str, port: int, client_id: str, topics: list[str], on_message: Callable[[Delivery], None],
        *, username: str | None = None, password: str | None = None,
    ) -> None:  # fmt: skip
        self._host, self._port, self._client_id, self._topics = host, port, client_id, topics
        self._on_message, self._username, self._password = on_message, username, password
        self._client: _Client | None = None
        self._subscribed = asyncio.Event()
        self._lost = asyncio.Event()
        self.ready = asyncio.Event()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send with QoS 1 if connected; else it is lost, as any message may be."""
        if self._client is not None and self.ready.is_set():
            self._client.publish(topic, payload, qos=1)

    def confirm(self, message: Delivery) -> None:
        """PUBACK; nothing where the connection it came on has gone (the broker sends it again)."""
        if message.client is self._client:
            message.client.ack(message.mid, 1)

    async def run(self) -> None:
        """Connect, stay, connect again, until cancelled."""
        while True:
            try:
                await self._connected()
            except OSError:
                self.ready.clear()
            await asyncio.sleep(RETRY_S)

    async def _connected(self) -> None:
        loop = asyncio.get_running_loop()
        connection = socket.socket()
        connection.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(connection, (self._host, self._port))
        except BaseException:
            connection.close()
            raise
        client = self._client = self._make(connection)
        self._lost, self._subscribed = asyncio.Event(), asyncio.Event()
        try:
            client.connect("broker", 1, KEEPALIVE_S)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._first(self._subscribed)
            if self._subscribed.is_set():
                self.ready.set()
            while not self._lost.is_set():
                client.loop_misc()
                try:
                    async with asyncio.timeout(1.0):
                        await self._lost.wait()
                except TimeoutError:
                    continue
        finally:
            self.ready.clear()
            self._client = None
            client._sock_close()

    async def _first(self, event: asyncio.Event) -> None:
        tasks = {asyncio.create_task(event.wait()), asyncio.create_task(self._lost.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _make(self, connection: socket.socket) -> _Client:
        loop = asyncio.get_running_loop()
        client = _Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311, manual_ack=True, reconnect_on_failure=False,
        )  # fmt: skip
        client.handed = connection
        client.max_inflight_messages_set(0)
        if self._username is not None:
            client.username_pw_set(self._username, self._password)

        def on_socket_close(_c: Any, _u: Any, sock: Any) -> None:
            loop.remove_reader(sock)
            loop.remove_writer(sock)

        def on_socket_open(_c: Any, _u: Any, sock: Any) -> None:
            loop.add_reader(sock, client.loop_read)

        def on_register_write(_c: Any, _u: Any, sock: Any) -> None:
            loop.add_writer(sock, client.loop_write)

        def on_unregister_write(_c: Any, _u: Any, sock: Any) -> None:
            loop.remove_writer(sock)

        def on_connect(_c: Any, _u: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if not reason.is_failure:
                client.subscribe([(topic, 1) for topic in self._topics])

        def on_message(_c: Any, _u: Any, message: paho.MQTTMessage) -> None:
            self._on_message(Delivery(message.topic, bytes(message.payload), message.mid, client))

        client.on_socket_open = on_socket_open
        client.on_socket_close = on_socket_close
        client.on_socket_register_write = on_register_write
        client.on_socket_unregister_write = on_unregister_write
        client.on_connect = on_connect
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = on_message
        client.on_disconnect = lambda *_: self._lost.set()
        return client
