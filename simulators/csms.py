"""The operator's backend: an OCPP 1.6J central system that knows its boxes and its cards, and keeps what it hears."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from simulators.clock import SiteClock
from simulators.evidence import FrameLog, open_evidence
from simulators.ocpp_link import CALL, ERROR, RESULT, CallError, NoAnswerError, Payload

TABLES = """
CREATE TABLE message (n INTEGER PRIMARY KEY, charger TEXT, message_id TEXT, action TEXT, payload TEXT,
                      received_ms INTEGER);
CREATE TABLE tx (charger TEXT, id INTEGER, id_tag TEXT, connector INTEGER, meter_start INTEGER, start TEXT,
                 meter_stop INTEGER, stop TEXT, reason TEXT);
"""
FIRST_TRANSACTION = 1000
TRANSACTION_ACTIONS = frozenset({"StartTransaction", "MeterValues", "StopTransaction"})

Hook = Callable[[str, Payload], Payload | None]
"""(charger, payload) -> the answer instead of the usual one; None: no answer at all; CallError: a CALLERROR."""


class Csms:
    """Listens, answers, and remembers. `hooks` by action let a test make it misbehave."""

    def __init__(
        self,
        boxes: Collection[str],
        cards: Mapping[str, str],
        clock: SiteClock,
        database: Path,
        frames: FrameLog,
        *,
        password: str | None = None,
        heartbeat_s: int = 300,
    ) -> None:
        """`cards` gives the status of each card that is known; every other one is Invalid."""
        self.hooks: dict[str, Hook] = {}
        self.connections: dict[str, ServerConnection] = {}
        self._boxes, self._cards, self._clock = frozenset(boxes), dict(cards), clock
        self._frames, self._password, self._heartbeat_s = frames, password, heartbeat_s
        self._db = open_evidence(database, TABLES)
        self._next_transaction = FIRST_TRANSACTION
        self._answered: dict[tuple[str, str], Payload] = {}
        self._open: dict[str, asyncio.Future[Payload]] = {}
        self._server: Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port."""
        self._server = await serve(
            self._connected,
            host,
            port,
            subprotocols=[Subprotocol("ocpp1.6")],
            process_request=self._admit,
            compression=None,
            ping_interval=None,
            close_timeout=1,
        )
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def hang_up(self) -> None:
        """Hang up on everybody and listen no more; `start` with the same port comes back."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def close(self) -> None:
        """Hang up on everybody and close the database."""
        await self.hang_up()
        self._db.close()

    async def call(self, charger: str, action: str, payload: Payload, link_s: float = 10.0) -> Payload:
        """Ask a box something; NoAnswerError or CallError where no answer comes."""
        socket = self.connections.get(charger)
        if socket is None:
            raise NoAnswerError(f"{charger} is not connected")
        message_id = str(uuid.uuid4())
        future: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._open[message_id] = future
        try:
            await self._send(charger, socket, [CALL, message_id, action, payload])
            async with asyncio.timeout(link_s):
                return await future
        except TimeoutError as error:
            raise NoAnswerError(f"{charger}: no answer to {action} within {link_s} s") from error
        finally:
            self._open.pop(message_id, None)

    def messages(self, *actions: str) -> list[tuple[str, str, str]]:
        """(message id, action, payload) of what came, oldest first."""
        rows = self._db.execute("SELECT message_id, action, payload FROM message ORDER BY n").fetchall()
        return [row for row in rows if not actions or row[1] in actions]

    def transactions(self) -> list[tuple[Any, ...]]:
        """Every transaction, oldest first."""
        return self._db.execute("SELECT * FROM tx ORDER BY id").fetchall()

    # The line

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        charger = _identity(request.path)
        if charger not in self._boxes:
            return socket.respond(HTTPStatus.NOT_FOUND, f"{charger} is not one of our boxes\n")
        if self._password is not None:
            pair = f"{charger}:{self._password}".encode()
            wanted = "Basic " + base64.b64encode(pair).decode()
            if not hmac.compare_digest(request.headers.get("Authorization", ""), wanted):
                return socket.respond(HTTPStatus.UNAUTHORIZED, "wrong password\n")
        return None

    async def _connected(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        charger = _identity(request.path)
        self.connections[charger] = socket
        try:
            async for frame in socket:
                await self._received(charger, socket, frame if isinstance(frame, str) else frame.decode())
        except ConnectionClosed:
            return
        finally:
            if self.connections.get(charger) is socket:
                del self.connections[charger]

    async def _received(self, charger: str, socket: ServerConnection, text: str) -> None:
        self._frames.frame(charger, "in", text)
        frame = json.loads(text)
        if frame[0] == CALL:
            await self._answer(charger, socket, *frame[1:4])
            return
        future = self._open.get(frame[1])
        if future is None or future.done():
            return
        if frame[0] == RESULT:
            future.set_result(frame[2])
        else:
            future.set_exception(CallError(frame[2], frame[3]))

    async def _answer(
        self, charger: str, socket: ServerConnection, message_id: str, action: str, payload: Payload
    ) -> None:
        self._db.execute(
            "INSERT INTO message (charger, message_id, action, payload, received_ms) VALUES (?, ?, ?, ?, ?)",
            (charger, message_id, action, json.dumps(payload, separators=(",", ":")), self._clock.utc_ms()),
        )
        try:
            hook = self.hooks.get(action)
            answer = hook(charger, payload) if hook else self._usual(charger, message_id, action, payload)
        except CallError as error:
            await self._send(charger, socket, [ERROR, message_id, error.code, error.description, {}])
            return
        if answer is not None:
            await self._send(charger, socket, [RESULT, message_id, answer])

    async def _send(self, charger: str, socket: ServerConnection, frame: list[Any]) -> None:
        text = json.dumps(frame, separators=(",", ":"))
        self._frames.frame(charger, "out", text)
        await socket.send(text)

    # What it says

    def _usual(self, charger: str, message_id: str, action: str, payload: Payload) -> Payload:
        """The answer of a central system in good order; a repeated message gets the same one again."""
        known = self._answered.get((charger, message_id))
        if known is not None:
            return known
        answer = self._decide(charger, action, payload)
        if action in TRANSACTION_ACTIONS:
            self._answered[charger, message_id] = answer
        return answer

    def _decide(self, charger: str, action: str, payload: Payload) -> Payload:
        if action == "BootNotification":
            return {"status": "Accepted", "currentTime": self._clock.now_iso(), "interval": self._heartbeat_s}
        if action == "Heartbeat":
            return {"currentTime": self._clock.now_iso()}
        if action == "Authorize":
            return {"idTagInfo": self._tag(payload["idTag"])}
        if action == "StartTransaction":
            return self._start(charger, payload)
        if action == "StopTransaction":
            return self._stop(charger, payload)
        if action == "DataTransfer":
            return {"status": "UnknownVendorId"}
        if action in ("StatusNotification", "MeterValues", "FirmwareStatusNotification"):
            return {}
        raise CallError("NotImplemented", action)

    def _tag(self, card: str) -> Payload:
        return {"status": self._cards.get(card.upper(), "Invalid")}

    def _start(self, charger: str, payload: Payload) -> Payload:
        transaction = self._next_transaction
        self._next_transaction += 1
        self._db.execute(
            "INSERT INTO tx (charger, id, id_tag, connector, meter_start, start) VALUES (?, ?, ?, ?, ?, ?)",
            (charger, transaction, payload["idTag"], payload["connectorId"], payload["meterStart"],
             payload["timestamp"]),
        )  # fmt: skip
        return {"transactionId": transaction, "idTagInfo": self._tag(payload["idTag"])}

    def _stop(self, charger: str, payload: Payload) -> Payload:
        self._db.execute(
            "UPDATE tx SET meter_stop = ?, stop = ?, reason = ? WHERE charger = ? AND id = ?",
            (payload["meterStop"], payload["timestamp"], payload.get("reason", "Local"), charger,
             payload["transactionId"]),
        )  # fmt: skip
        return {"idTagInfo": self._tag(payload["idTag"])} if "idTag" in payload else {}


def _identity(path: str) -> str:
    """The last segment of the address that is not empty."""
    return next((part for part in reversed(path.split("?")[0].split("/")) if part), "")
