"""A central system that answers late, twice, with an error, for nobody, or gives an id away a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from simulators.csms import TRANSACTION_ACTIONS, Csms
from simulators.ocpp_link import ERROR, RESULT, CallError, Payload

LATE_S = (2.0, 45.0)


class Mischief:
    """Stands between the central system and its sockets. `kinds` names what is wrong now."""

    def __init__(self, csms: Csms, random: Random) -> None:
        self.kinds: set[str] = set()
        self._csms, self._random = csms, random
        self._send: Callable[..., Coroutine[Any, Any, None]] = csms._send
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused: set[tuple[str, str, str]] = set()
        self._answer = csms._usual
        csms._send = self._sending  # type: ignore[method-assign]
        csms._usual = self._answering  # type: ignore[method-assign]

    async def _sending(self, charger: str, socket: Any, frame: list[Any]) -> None:
        answers = frame[0] in (RESULT, ERROR)
        if answers and "csms_late" in self.kinds and self._random.random() < 0.4:
            self._later(self._random.uniform(*LATE_S), charger, socket, frame)
            return
        await self._send(charger, socket, frame)
        if answers and "csms_twice" in self.kinds and self._random.random() < 0.5:
            await self._send(charger, socket, frame)
        if answers and "csms_unknown_id" in self.kinds and self._random.random() < 0.5:
            await self._send(charger, socket, [RESULT, f"nobody-{self._random.randrange(10**6)}", {}])

    def _later(self, after_s: float, charger: str, socket: Any, frame: list[Any]) -> None:
        async def late() -> None:
            await asyncio.sleep(after_s)
            if socket.state.name == "OPEN":
                await self._send(charger, socket, frame)

        task = asyncio.get_running_loop().create_task(late())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answering(self, charger: str, message_id: str, action: str, payload: Payload) -> Payload:
        """An error comes once for a message: its repetition is answered."""
        key = (charger, message_id, action)
        fails = "csms_error" in self.kinds and action in TRANSACTION_ACTIONS and key not in self._refused
        if fails and self._random.random() < 0.5:
            self._refused.add(key)
            raise CallError("InternalError", "try again")
        if "csms_repeats_id" in self.kinds and action == "StartTransaction":
            self._repeat_id(charger, message_id)
        return self._answer(charger, message_id, action, payload)

    def _repeat_id(self, charger: str, message_id: str) -> None:
        """The next transaction gets the id of an older, ended one of this box."""
        csms = self._csms
        if (charger, message_id) in csms._answered:
            return
        rows = csms._db.execute(
            "SELECT id FROM tx WHERE charger = ? AND stop IS NOT NULL ORDER BY id DESC LIMIT 1", (charger,)
        ).fetchall()
        if rows:
            self._highest = max(getattr(self, "_highest", 0), csms._next_transaction)
            csms._next_transaction = rows[0][0]
            asyncio.get_running_loop().call_soon(self._restore)

    def _restore(self) -> None:
        self._csms._next_transaction = self._highest
