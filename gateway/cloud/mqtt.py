"""One connection to an MQTT broker: a thin adapter over paho without its thread, used once and thrown away.

paho is driven by its external-loop hooks; the socket comes connected from the world (name look-up, connect and TLS
handshake may block). Reconnecting, resending and queueing are not paho's: a fresh client per connection has an empty
queue, and the session for `down/#` lives at the broker. Keepalive and the waits in here are link time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.cloud.envelope import MAX_MESSAGE_BYTES

KEEPALIVE_S = 30
"""Link seconds; a dead link is noticed after 30 to 60."""

ANSWER_S = 10.0
"""Link seconds that a broker has for each of its answers."""

PUBACK_S = 60.0
"""Link seconds after which a broker that answers pings but no messages is left: it may have lost this session."""

SESSION_EXPIRY_S = 30 * 86_400
"""How long the broker keeps our session for `down/#` (MQTT 5)."""

MAX_UNCONFIRMED = 100
"""Messages without a PUBACK on one connection, where the broker names no lower receive maximum: as many as the largest
public brokers take. With twenty a line with half a second there and back would carry forty records a second."""

MAX_UNCONFIRMED_BYTES = 128 * 1024
"""Their payloads, where there is more than one: at 2.5 kB a second they are confirmed before PUBACK_S is over."""

MAX_PACKET_BYTES = MAX_MESSAGE_BYTES + 1024
"""A message and its topic; a broker that sends more is cut off (I12)."""

Mqtt = Literal["5", "3.1.1"]


class CloudError(Exception):
    """The link cannot be made, and a person can do something about it: `next_step` says what."""

    def __init__(self, cause: str, next_step: str) -> None:
        super().__init__(cause)
        self.next_step = next_step


class BrokerRefusedError(CloudError):
    """The broker is there and says no, or hangs up before it has said yes."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the broker, to be confirmed with `Connection.confirm` once it is dealt with."""

    topic: str
    payload: bytes
    mid: int
    qos: int


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says in our place when the link dies; retained."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Unconfirmed:
    """A message without its PUBACK: since when, its bytes, whom to tell."""

    since: float
    size: int
    taken: Callable[[], None]


class _Client(paho.Client):
    """paho with a socket that is handed in."""

    handed: socket.socket

    def _create_socket_connection(self) -> socket.socket:
        return self.handed


class Connection:
    """A connected client. `lost` is set, with `reason`, when it has ended for whatever cause.

    `wake` is called when there is room again, and when the connection is lost.
    """

    def __init__(
        self, client_id: str, mqtt: Mqtt, will: Will, on_message: Callable[[Message], None], wake: Callable[[], None]
    ) -> None:
        self._mqtt: Mqtt = mqtt
        self._on_message = on_message
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._connack: ReasonCode | None = None
        self._suback: ReasonCode | None = None
        self._unconfirmed: dict[int, _Unconfirmed] = {}  # by mid
        self._unconfirmed_bytes = 0
        self._room = MAX_UNCONFIRMED
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self.lost = asyncio.Event()
        self.reason = ""
        self._client = self._make_client(client_id, will)

    @property
    def room(self) -> int:
        """How many messages may go out now; the next ones are taken to be as long as those under way."""
        if self.lost.is_set():
            return 0
        under_way = len(self._unconfirmed)
        by_bytes = self._room
        if self._unconfirmed_bytes:
            left = MAX_UNCONFIRMED_BYTES - self._unconfirmed_bytes
            by_bytes = left * under_way // self._unconfirmed_bytes
        return max(0, min(self._room - under_way, by_bytes))

    async def open(self, sock: socket.socket, username: str | None, password: str | None) -> None:
        """CONNECT over a connected socket. BrokerRefusedError; OSError where the link breaks meanwhile."""
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.handed = sock
        try:
            self._connect()
            self._tick()
            await self._until(lambda: self._connack is not None, "CONNECT")
        except BaseException:
            self.abort("the connect was given up")
            sock.close()
            raise
        if self._connack is None:
            raise BrokerRefusedError("the broker hangs up before it has answered", self._advice(None))
        if self._connack.is_failure:
            self.abort(str(self._connack))
            raise BrokerRefusedError(f"the broker refuses the connection: {self._connack}", self._advice(self._connack))

    def _connect(self) -> None:
        if self._mqtt == "3.1.1":
            self._client.connect("broker", 1, KEEPALIVE_S)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        self._client.connect("broker", 1, KEEPALIVE_S, clean_start=False, properties=properties)

    async def subscribe(self, topic: str) -> None:
        """SUBSCRIBE with QoS 1. BrokerRefusedError; OSError where the link breaks meanwhile."""
        self._client.subscribe(topic, qos=1)
        await self._until(lambda: self._suback is not None, "SUBSCRIBE")
        if self._suback is None:
            raise OSError(f"the broker hung up: {self.reason}")
        if self._suback.is_failure:
            raise BrokerRefusedError(
                f"the broker refuses the subscription to {topic}: {self._suback}",
                "allow this user to read its own `down/#` topics at the broker",
            )

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, taken: Callable[[], None] = lambda: None
    ) -> bool:
        """Hand one message over (QoS 1); False where the connection is lost or has no room.

        `taken` is called at the broker's PUBACK, which is no receipt of the cloud.
        """
        if self.room == 0:
            return False
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._unconfirmed[info.mid] = _Unconfirmed(self._loop.time(), len(payload), taken)
        self._unconfirmed_bytes += len(payload)
        return True

    def confirm(self, message: Message) -> None:
        """PUBACK: the message is dealt with, or safe on disk."""
        if not self.lost.is_set():
            self._client.ack(message.mid, message.qos)

    async def close(self) -> None:
        """Wait for the PUBACKs that are out, then DISCONNECT: the broker drops the last will. OSError after 10 s."""
        await self._until(lambda: not self._unconfirmed, "PUBLISH")
        if not self.lost.is_set():
            self._client.disconnect()
            await self._until(lambda: False, "DISCONNECT")

    def abort(self, reason: str) -> None:
        """Close the socket without a word: the broker publishes the last will."""
        self._lost(reason)
        self._client._sock_close()  # the public way sends DISCONNECT, which drops the will

    # paho's hooks and callbacks: they only note what happened

    def _make_client(self, client_id: str, will: Will) -> _Client:
        is_v5 = self._mqtt == "5"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if is_v5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # our own `room` is the limit
        client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.on_socket_open = lambda _c, _u, sock: self._loop.add_reader(sock, self._read)
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = lambda _c, _u, sock: self._loop.add_writer(sock, self._write)
        client.on_socket_unregister_write = self._on_socket_unregister_write
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_paho_message
        client.on_disconnect = self._on_disconnect
        return client

    def _on_socket_unregister_write(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _on_socket_close(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_connect(self, _c: Any, _u: Any, _flags: Any, reason: ReasonCode, properties: Properties | None) -> None:
        self._room = min(MAX_UNCONFIRMED, getattr(properties, "ReceiveMaximum", MAX_UNCONFIRMED))
        self._connack = reason
        self._changed.set()

    def _on_subscribe(self, _c: Any, _u: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        self._suback = reasons[0]
        self._changed.set()

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        message = self._unconfirmed.pop(mid, None)
        if message is not None:
            self._unconfirmed_bytes -= message.size
        if reason.is_failure:
            self._loop.call_soon(self.abort, f"the broker refuses a message: {reason}")
        elif message is not None:
            message.taken()
        self._changed.set()
        self._wake()

    def _on_paho_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self._on_message(Message(message.topic, bytes(message.payload), message.mid, message.qos))

    def _on_disconnect(self, _c: Any, _u: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._lost(str(reason))  # paho calls it twice after a keepalive time-out

    def _lost(self, reason: str) -> None:
        if self.lost.is_set():
            return
        self.reason = reason
        self.lost.set()
        if self._timer is not None:
            self._timer.cancel()
        self._changed.set()
        self._wake()

    def _read(self) -> None:
        """Level-triggered; a TLS socket may hold more than the selector sees."""
        sock = self._client.socket()
        self._guarded(self._client.loop_read)
        while sock is not None and self._client.socket() is sock and isinstance(sock, ssl.SSLSocket) and sock.pending():
            self._guarded(self._client.loop_read)
        if self._client._in_packet["remaining_length"] > MAX_PACKET_BYTES:
            self.abort("the broker sent a message larger than the largest of the contract")

    def _write(self) -> None:
        self._guarded(self._client.loop_write)

    def _tick(self) -> None:
        self._guarded(self._client.loop_misc)
        oldest = next(iter(self._unconfirmed.values()), None)
        if oldest is not None and self._loop.time() - oldest.since > PUBACK_S:
            self.abort(f"the broker has not confirmed a message for {PUBACK_S:.0f} s")
        if not self.lost.is_set():
            self._timer = self._loop.call_later(1.0, self._tick)

    def _guarded(self, step: Callable[[], Any]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the border to paho: nonsense from the wire ends this connection only
            self.abort(f"the broker's bytes make no sense ({type(error).__name__}: {error})")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds or the connection is lost; OSError after ANSWER_S without either."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while not self.lost.is_set() and not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.abort(f"no answer to {what}")
            raise OSError(f"the broker gave no answer to {what} within {ANSWER_S:.0f} s") from None

    def _advice(self, reason: ReasonCode | None) -> str:
        other = "3.1.1" if self._mqtt == "5" else "5"
        if reason is None or "protocol" in str(reason).lower():
            return (
                f'if it speaks only MQTT {other}, set mqtt = "{other}" in [cloud]; '
                "if it wants TLS, write mqtts:// in [cloud] broker"
            )
        if str(reason) in ("Not authorized", "Bad user name or password"):
            return "set username and secret in [cloud] as the cloud operator gave them, and check the secret's file"
        return "ask the operator of the broker what this reason means there"
