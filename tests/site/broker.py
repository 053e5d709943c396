"""A small MQTT 3.1.1 broker on the simulated network: QoS 0 and 1, retained, last will, persistent sessions.

It can be told to forget what it has acknowledged: a PUBACK is not a receipt.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


@dataclass
class Session:
    """What the broker keeps of one client id."""

    filters: list[str] = field(default_factory=list)
    waiting: list[tuple[str, bytes]] = field(default_factory=list)
    connection: _Connection | None = None
    next_id: int = 0


class Broker:
    """Routes by topic filter; `local` subscribers are plain functions."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, bytes] = {}
        self.local: list[tuple[str, Callable[[str, bytes], None]]] = []
        self.forget = False
        """Acknowledge what is published and lose it."""

    async def listen(self, host: str, port: int) -> None:
        await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)

    def subscribe(self, pattern: str, callback: Callable[[str, bytes], None]) -> None:
        self.local.append((pattern, callback))

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        if self.forget:
            return
        if retain:
            self.retained[topic] = payload
        for pattern, callback in self.local:
            if matches(pattern, topic):
                callback(topic, payload)
        for session in self.sessions.values():
            if any(matches(pattern, topic) for pattern in session.filters):
                self.deliver(session, topic, payload)

    def deliver(self, session: Session, topic: str, payload: bytes) -> None:
        if session.connection is None:
            session.waiting.append((topic, payload))
            del session.waiting[:-1000]
            return
        session.next_id = session.next_id % 65_535 + 1
        head = _text(topic) + struct.pack("!H", session.next_id)
        session.connection.send(PUBLISH, 0b0010, head + payload)


class _Connection(asyncio.Protocol):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._buffer = bytearray()
        self._transport: Any = None
        self._session: Session | None = None
        self._will: tuple[str, bytes, bool] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._session is not None and self._session.connection is self:
            self._session.connection = None
        if self._will is not None:
            self._broker.publish(*self._will)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (packet := self._next_packet()) is not None:
            self._handle(*packet)

    def send(self, kind: int, flags: int, body: bytes) -> None:
        self._transport.write(bytes([kind << 4 | flags]) + _length(len(body)) + body)

    def _next_packet(self) -> tuple[int, int, bytes] | None:
        size, shift, at = 0, 0, 1
        while True:
            if len(self._buffer) <= at:
                return None
            size |= (self._buffer[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not self._buffer[at - 1] & 0x80:
                break
        if len(self._buffer) < at + size:
            return None
        first, body = self._buffer[0], bytes(self._buffer[at : at + size])
        del self._buffer[: at + size]
        return first >> 4, first & 0x0F, body

    def _handle(self, kind: int, flags: int, body: bytes) -> None:
        if kind == CONNECT:
            self._connect(body)
        elif kind == PUBLISH:
            self._publish(flags, body)
        elif kind == SUBSCRIBE:
            self._subscribe(body)
        elif kind == PINGREQ:
            self.send(PINGRESP, 0, b"")
        elif kind == DISCONNECT:
            self._will = None
            self._transport.close()

    def _connect(self, body: bytes) -> None:
        _, at = _read(body, 0)
        flags = body[at + 1]
        client_id, at = _read(body, at + 4)
        if flags & 0x04:
            topic, at = _read(body, at)
            payload, at = _read(body, at)
            self._will = (topic.decode(), payload, bool(flags & 0x20))
        name = client_id.decode()
        known = name in self._broker.sessions and not flags & 0x02
        session = self._broker.sessions[name] if known else Session()
        self._broker.sessions[name] = session
        session.connection, self._session = self, session
        self.send(CONNACK, 0, bytes([1 if known else 0, 0]))
        waiting, session.waiting = session.waiting, []
        for topic_text, content in waiting:
            self._broker.deliver(session, topic_text, content)

    def _publish(self, flags: int, body: bytes) -> None:
        topic, at = _read(body, 0)
        if flags & 0x06:
            self.send(PUBACK, 0, body[at : at + 2])
            at += 2
        self._broker.publish(topic.decode(), body[at:], bool(flags & 0x01))

    def _subscribe(self, body: bytes) -> None:
        assert self._session is not None
        at, answers = 2, bytearray(body[:2])
        while at < len(body):
            pattern, at = _read(body, at)
            at += 1
            if pattern.decode() not in self._session.filters:
                self._session.filters.append(pattern.decode())
            answers.append(1)
        self.send(SUBACK, 0, bytes(answers))
        for topic, payload in sorted(self._broker.retained.items()):
            if any(matches(pattern, topic) for pattern in self._session.filters):
                self._broker.deliver(self._session, topic, payload)


def matches(pattern: str, topic: str) -> bool:
    """MQTT topic filters (3.1.1, section 4.7)."""
    wanted, given = pattern.split("/"), topic.split("/")
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(given) or part not in ("+", given[index]):
            return False
    return len(wanted) == len(given)


def _read(body: bytes, at: int) -> tuple[bytes, int]:
    size = struct.unpack_from("!H", body, at)[0]
    return body[at + 2 : at + 2 + size], at + 2 + size


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, digit = divmod(size, 128)
        out.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(out)
