"""What is said on one connection: hello first, then records within the cloud's credit, acknowledgements, commands.

One task: it is woken by what arrives, by room on the wire, by a grown outbox, or by the next time that the pure plan
named (site time). It ends when the connection is lost; everything that must outlive it is in the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from gateway.clock import iso
from gateway.cloud import standing
from gateway.cloud.commands import Commands
from gateway.cloud.envelope import Ack, Hello, HelloAck, State, encode, first_fault, parse_ack, topic
from gateway.cloud.mqtt import CloudError, Connection, Message
from gateway.cloud.outbox import NEVER, Handshake, LaneWindow
from gateway.cloud.standing import NewKey
from gateway.model import Connection as Store
from gateway.model import Event, OutboxRow, Severity, Tell, World
from gateway.records.signing import KeyFileError
from gateway.store import commands as command_store
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.outbox import DURABLE_LANES, Identity

STATE_S = 300.0
"""How often the state is published (contract 5.4)."""

SILENT_HELLOS = 4
"""Hellos without an answer (70 s) after which a person should know that nobody listens behind the broker."""

MAX_INBOX = 500
"""Messages that wait to be dealt with; a broker that sends more is cut off and keeps them (QoS 1)."""

MAX_REPLIES = 100
"""Replies that wait for room; what falls out is read from the database at the next connect."""


@dataclass
class Shared:
    """What one conversation hands to the next."""

    windows: dict[str, LaneWindow]
    last_ack: float | None = None
    hello_silent_told: bool = False


class Conversation:
    """One connection's talk with the cloud."""

    def __init__(
        self, gw: str, world: World, db: Database, who: Identity, tell: Tell, commands: Commands, shared: Shared,
        wake: asyncio.Event, new_key: NewKey, *, simulation: bool,
    ) -> None:  # fmt: skip
        self._gw, self._world, self._db, self._who, self._tell = gw, world, db, who, tell
        self._commands, self._shared, self._wake = commands, shared, wake
        self._new_key, self._simulation = new_key, simulation
        self._clock = world.clock
        self._inbox: deque[Message] = deque()
        self._replies: deque[tuple[str, str]] = deque(maxlen=MAX_REPLIES)
        self._told: deque[tuple[str, str]] = deque(maxlen=MAX_REPLIES)
        self._state_at = -NEVER
        self._handshake = self._new_handshake()
        self._connection: Connection | None = None

    @property
    def answered(self) -> bool:
        """The cloud has answered our hello on this connection."""
        return self._handshake.answered

    def take(self, message: Message) -> None:
        """A message has arrived; called from paho's callback, so it is only kept here."""
        if len(self._inbox) >= MAX_INBOX and self._connection is not None:
            self._connection.abort(f"more than {MAX_INBOX} messages wait to be dealt with")
            return
        self._inbox.append(message)
        self._wake.set()

    def reply(self, cid: str, reply: str) -> None:
        """A command has a new reply."""
        self._replies.append((cid, reply))
        self._wake.set()

    async def run(self, connection: Connection) -> None:
        """Talk until the connection is lost. StoreError where the database refuses."""
        self._connection = connection
        for window in self._shared.windows.values():
            window.new_connection()
        self._replies.extend(await self._db.run(command_store.untold))
        while not connection.lost.is_set():
            self._wake.clear()
            again_at = await self._step(connection)
            pause_s = None if again_at == NEVER else self._clock.link_s(max(0.0, again_at - self._clock.monotonic()))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    async def farewell(self, connection: Connection) -> None:
        """The clean end: the state with the last heads, then DISCONNECT, so that the last will is dropped. OSError."""
        connection.publish(self._topic("state"), await self.state_payload(online=False), retain=True)
        await connection.close()

    async def state_payload(self, *, online: bool) -> bytes:
        """The `state` message of this moment."""
        epoch, heads = await self._db.run(self._read_heads)
        now = self._clock.now()
        ts, ts_q = iso(now.utc_ms), now.quality.value
        state = State(gw=self._gw, boot=self._who.boot, online=online, ts=ts, ts_q=ts_q, epoch=epoch, heads=heads)
        return state.model_dump_json().encode()

    async def _step(self, connection: Connection) -> float:
        """Deal with what has arrived, send what is due; when to come again."""
        while self._inbox:
            await self._handle(self._inbox[0])
            connection.confirm(self._inbox.popleft())
        await self._send_replies(connection)
        state_again = await self._send_state(connection)
        if not self._handshake.answered:
            return min(state_again, await self._send_hello(connection))
        return min([state_again, *[await self._send_lane(lane, connection) for lane in DURABLE_LANES]])

    # what arrives

    async def _handle(self, message: Message) -> None:
        kind = message.topic.rsplit("/", 1)[-1]
        if kind == "cmd":
            await self._commands.receive(message.payload)
            return
        if kind != "ack":
            self._misunderstood(message.topic, "this version of the gateway knows only ack and cmd")
            return
        try:
            ack = parse_ack(message.payload)
        except ValidationError as error:
            self._misunderstood(message.topic, first_fault(error))
            return
        except ValueError as error:
            self._misunderstood(message.topic, str(error).splitlines()[0])
            return
        if isinstance(ack, HelloAck):
            await self._on_hello_ack(ack)
        else:
            await self._on_ack(ack)

    async def _on_hello_ack(self, ack: HelloAck) -> None:
        if ack.hid != self._handshake.hid or self._handshake.answered:
            return
        new_epoch = f"{self._world.random.getrandbits(128):032x}"
        rid, now = standing.new_rid(self._world.random), self._clock.now()
        try:
            found = await self._db.run(
                lambda db: standing.settle(db, self._who, ack, new_epoch, rid, now, self._new_key)
            )  # fmt: skip
        except KeyFileError as error:
            raise CloudError(
                f"this card is an old copy, and it cannot begin anew: {error}",
                "make the keys folder writable for the service; until then nothing is sent",
            ) from error
        for event in found.events:
            self._tell(event)
        self._shared.last_ack, self._shared.hello_silent_told = self._clock.monotonic(), False
        if found.new_epoch:
            for window in self._shared.windows.values():
                window.new_connection()
            self._handshake = self._new_handshake()
            self._state_at = -NEVER
        else:
            self._handshake.answered = True

    async def _on_ack(self, ack: Ack) -> None:
        if ack.lane not in self._shared.windows:
            return
        outcome = await self._db.run(lambda db: standing.take_ack(db, self._who, ack))
        if outcome.ahead:
            self._handshake = self._new_handshake()  # believe nothing before both sides have compared their heads
            return
        if not outcome.ours:
            return
        self._shared.windows[ack.lane].acknowledged(ack, self._clock.monotonic())
        self._shared.last_ack = self._clock.monotonic()
        for row, reason in outcome.dead:
            self._tell(standing.dead_letter(row, reason))

    def _misunderstood(self, topic_name: str, cause: str) -> None:
        self._tell(
            Event(
                "cloud_message_refused", topic_name, cause, severity=Severity.WARNING,
                next_step="correct it in the cloud; docs/cloud/ holds the schemas",
            )
        )  # fmt: skip

    # what goes out

    async def _send_replies(self, connection: Connection) -> None:
        while self._told:
            cid, reply = self._told.popleft()
            await self._db.run(lambda db, cid=cid, reply=reply: command_store.mark_told(db, cid, reply))  # type: ignore[misc]
        while self._replies:
            cid, reply = self._replies[0]
            if not connection.publish(
                self._topic("up/reply"), reply.encode(), taken=lambda pair=(cid, reply): self._told.append(pair)  # type: ignore[misc]
            ):  # fmt: skip
                return
            self._replies.popleft()

    async def _send_state(self, connection: Connection) -> float:
        """When it is due next; without room on the wire it waits to be woken."""
        now = self._clock.monotonic()
        if now >= self._state_at:
            if not connection.publish(self._topic("state"), await self.state_payload(online=True), retain=True):
                return NEVER
            self._state_at = now + STATE_S
        return self._state_at

    async def _send_hello(self, connection: Connection) -> float:
        plan = self._handshake.plan(self._clock.monotonic())
        if plan.send:
            epoch, heads = await self._db.run(self._read_heads)
            hello = Hello(gw=self._gw, hid=self._handshake.hid, boot=self._who.boot, epoch=epoch, heads=heads)
            connection.publish(self._topic("up/hello"), hello.model_dump_json().encode())
            if self._handshake.sends > SILENT_HELLOS and not self._shared.hello_silent_told:
                self._shared.hello_silent_told = True
                self._tell(_nobody_answers())
        return plan.again_at

    async def _send_lane(self, lane: str, connection: Connection) -> float:
        window, now = self._shared.windows[lane], self._clock.monotonic()
        epoch, waiting = await self._db.run(lambda db: self._read_waiting(db, lane, window.look_ahead))
        plan = window.plan(waiting, now, connection.room)
        if plan.send:
            for row in await self._read_rows(lane, epoch, plan.send):
                if not connection.publish(self._topic(f"up/{lane}"), encode(self._gw, row)):
                    break
                window.sent(row.seq, now)
        return window.plan(waiting, now, 0).again_at

    async def _read_rows(self, lane: str, epoch: str, seqs: tuple[int, ...]) -> list[OutboxRow]:
        return await self._db.run(lambda db: outbox.get_rows(db, lane, epoch, seqs))

    def _read_waiting(self, db: Store, lane: str, limit: int) -> tuple[str, list[int]]:
        epoch = outbox.current_epoch(db, self._who)
        return epoch, outbox.waiting_seqs(db, lane, epoch, limit)

    def _read_heads(self, db: Store) -> tuple[str, dict[str, tuple[int, str]]]:
        epoch = outbox.current_epoch(db, self._who)
        return epoch, outbox.heads(db, epoch)

    def _new_handshake(self) -> Handshake:
        return Handshake(f"{self._world.random.getrandbits(64):016x}")

    def _topic(self, kind: str) -> str:
        return topic(self._gw, kind, simulation=self._simulation)


def _nobody_answers() -> Event:
    return Event(
        "cloud_silent",
        "cloud",
        "the broker is there, but nobody answers the hello: records stay here",
        next_step="check that the cloud's ingestor runs and may read this gateway's `up/#` topics",
        severity=Severity.WARNING,
    )
