"""A wallbox's OCPP-J 1.6 line: one CALL at a time, transaction messages in order until they are answered.

Link time: the CALL timeout. Site time: reconnecting and the retries of refused messages (1.6 section 3.7.1).
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.typing import Subprotocol

from simulators.clock import SiteClock
from simulators.evidence import FrameLog

CALL, RESULT, ERROR = 2, 3, 4
Payload = dict[str, Any]
RECONNECT_S = (5.0, 10.0, 20.0, 30.0)
"""Site seconds before each further attempt; the last one for ever."""
RETRY_S = 60.0
ATTEMPTS = 3


class CallError(Exception):
    """A CALLERROR: one that came, or one to answer with."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


class NoAnswerError(Exception):
    """No answer came: no connection, or none within the CALL timeout."""


@dataclass(slots=True)
class Message:
    """A transaction message in the box's own queue. `make` is asked for its payload when it is first sent."""

    action: str
    make: Callable[[], Payload]
    answered: Callable[[Payload], None]
    id: str
    text: str | None = None
    attempts: int = 0
    not_before_ms: int = 0


@dataclass(slots=True)
class _Call:
    action: str
    payload: Payload
    future: asyncio.Future[Payload] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Link:
    """The line of one wallbox to its central system."""

    def __init__(
        self,
        name: str,
        url: str,
        clock: SiteClock,
        rng: random.Random,
        frames: FrameLog,
        on_call: Callable[[str, Payload], Payload],
        on_connect: Callable[[], Awaitable[None]],
        *,
        password: str | None = None,
        call_timeout_s: float = 10.0,
    ) -> None:
        """`on_call` answers the central system; `on_connect` runs beside the line after every connect."""
        self.name = name
        self.queue: deque[Message] = deque()
        self.discarded: list[Message] = []
        self._url, self._password = url, password
        self._clock, self._rng, self._frames = clock, rng, frames
        self._on_call, self._on_connect = on_call, on_connect
        self._call_timeout_s = call_timeout_s
        self._calls: deque[_Call] = deque()
        self._wake = asyncio.Event()
        self._open: dict[str, asyncio.Future[Payload]] = {}
        self._socket: ClientConnection | None = None
        self.may_send_transactions = False

    @property
    def connected(self) -> bool:
        """A socket is open."""
        return self._socket is not None

    async def call(self, action: str, payload: Payload) -> Payload:
        """Send one CALL and wait for its answer; NoAnswerError or CallError where none comes."""
        if self._socket is None:
            raise NoAnswerError(f"{self.name}: {action}: not connected")
        call = _Call(action, payload)
        self._calls.append(call)
        self._wake.set()
        return await call.future

    def submit(self, action: str, make: Callable[[], Payload], answered: Callable[[Payload], None]) -> None:
        """Queue a transaction message; it is repeated with its id until it is answered."""
        self.queue.append(Message(action, make, answered, self._new_id()))
        self._wake.set()

    def wake(self) -> None:
        """Something may be sent now that might not before."""
        self._wake.set()

    async def close(self) -> None:
        """Hang up; `run` dials again."""
        if self._socket is not None:
            await self._socket.close()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            try:
                async with connect(
                    self._url,
                    subprotocols=[Subprotocol("ocpp1.6")],
                    compression=None,
                    ping_interval=None,
                    close_timeout=1,
                    additional_headers=self._headers(),
                    proxy=None,
                ) as socket:
                    failures = 0
                    await self._talk(socket)
            except (OSError, InvalidHandshake, WebSocketException, TimeoutError):
                failures += 1
            wait_s = RECONNECT_S[min(failures, len(RECONNECT_S) - 1)]
            await self._clock.sleep(wait_s * self._rng.uniform(0.8, 1.2))

    def _headers(self) -> dict[str, str]:
        if self._password is None:
            return {}
        pair = f"{self.name}:{self._password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}

    async def _talk(self, socket: ClientConnection) -> None:
        self._socket = socket
        for message in self.queue:
            message.not_before_ms = 0
        sender = asyncio.create_task(self._sender(socket))
        greeter = asyncio.ensure_future(self._on_connect())
        try:
            async for frame in socket:
                await self._received(socket, frame if isinstance(frame, str) else frame.decode())
        finally:
            self._socket = None
            self.may_send_transactions = False
            for task in (sender, greeter):
                task.cancel()
            ends = await asyncio.gather(sender, greeter, return_exceptions=True)
            self._fail_open()
            for end in ends:
                if isinstance(end, Exception) and not isinstance(end, NoAnswerError):
                    raise end

    def _fail_open(self) -> None:
        """The line is down: nobody waits for an answer any more; the queue keeps what it holds."""
        for future in [*self._open.values(), *(call.future for call in self._calls)]:
            if not future.done():
                future.set_exception(NoAnswerError(f"{self.name}: the line went down"))
                future.exception()
        self._open.clear()
        self._calls.clear()

    # Sending

    async def _sender(self, socket: ClientConnection) -> None:
        while True:
            if self._calls:
                await self._send_call(socket, self._calls.popleft())
            elif self._head_is_due():
                await self._send_head(socket, self.queue[0])
            else:
                self._wake.clear()
                await self._wake.wait()

    def _head_is_due(self) -> bool:
        if not self.may_send_transactions or not self.queue:
            return False
        return self.queue[0].not_before_ms <= self._clock.utc_ms()

    async def _send_call(self, socket: ClientConnection, call: _Call) -> None:
        text = json.dumps([CALL, self._new_id(), call.action, call.payload], separators=(",", ":"))
        try:
            result = await self._exchange(socket, text)
        except (NoAnswerError, CallError) as error:
            if not call.future.done():
                call.future.set_exception(error)
        else:
            if not call.future.done():
                call.future.set_result(result)

    async def _send_head(self, socket: ClientConnection, message: Message) -> None:
        if message.text is None:
            message.text = json.dumps([CALL, message.id, message.action, message.make()], separators=(",", ":"))
        try:
            result = await self._exchange(socket, message.text)
        except NoAnswerError:
            self._retry_later(message, RETRY_S)
        except CallError:
            message.attempts += 1
            if message.attempts >= ATTEMPTS:
                self.discarded.append(self.queue.popleft())
            else:
                self._retry_later(message, RETRY_S * message.attempts)
        else:
            self._complete(message, result)

    def _complete(self, message: Message, result: Payload) -> None:
        if self.queue and self.queue[0] is message:
            self.queue.popleft()
            message.answered(result)

    def _retry_later(self, message: Message, wait_s: float) -> None:
        if self._socket is None:
            return  # a new connection sends it again at once
        message.not_before_ms = self._clock.utc_ms() + round(wait_s * 1000)
        asyncio.get_running_loop().call_later(wait_s / self._clock.speed + 0.001, self._wake.set)

    async def _exchange(self, socket: ClientConnection, text: str) -> Payload:
        message_id = json.loads(text)[1]
        future: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._open[message_id] = future
        await self._send(socket, text)
        try:
            async with asyncio.timeout(self._call_timeout_s):
                return await future
        except TimeoutError as error:
            raise NoAnswerError(f"{self.name}: no answer within {self._call_timeout_s} s") from error
        finally:
            self._open.pop(message_id, None)

    async def _send(self, socket: ClientConnection, text: str) -> None:
        self._frames.frame(self.name, "out", text)
        try:
            await socket.send(text)
        except WebSocketException as error:
            raise NoAnswerError(f"{self.name}: {error}") from error

    # Receiving

    async def _received(self, socket: ClientConnection, text: str) -> None:
        self._frames.frame(self.name, "in", text)
        try:
            frame = json.loads(text)
            kind, message_id = frame[0], frame[1]
        except (ValueError, LookupError, TypeError):
            return  # 1.6: what is no message is dropped
        if kind == CALL:
            await self._answer(socket, message_id, frame[2], frame[3])
        elif kind == RESULT:
            self._answered(message_id, frame[2])
        elif kind == ERROR:
            future = self._open.get(message_id)
            if future is not None and not future.done():
                future.set_exception(CallError(frame[2], frame[3]))

    def _answered(self, message_id: str, payload: Payload) -> None:
        future = self._open.get(message_id)
        if future is not None and not future.done():
            future.set_result(payload)
        elif self.queue and self.queue[0].id == message_id:
            self._complete(self.queue[0], payload)  # late, but it is the answer

    async def _answer(self, socket: ClientConnection, message_id: str, action: str, payload: Payload) -> None:
        frame: list[Any]
        try:
            frame = [RESULT, message_id, self._on_call(action, payload)]
        except CallError as error:
            frame = [ERROR, message_id, error.code, error.description, {}]
        except (KeyError, TypeError, ValueError) as error:
            frame = [ERROR, message_id, "FormationViolation", repr(error)[:250], {}]
        try:
            await self._send(socket, json.dumps(frame, separators=(",", ":")))
        except NoAnswerError:
            return  # the line went down: the reader notices it too

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
