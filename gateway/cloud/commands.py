"""Commands of the cloud: on disk before they are confirmed, carried out once, answered however often they are asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from gateway.clock import iso
from gateway.cloud.envelope import MAX_MESSAGE_BYTES, Command, Reply, first_fault
from gateway.model import Connection, Event, Severity, Tell, TimeQuality, World
from gateway.store import commands as store
from gateway.store.commands import CommandState, StoredCommand
from gateway.store.database import Database

MAX_OPEN = 20
"""Commands that may be unfinished at once; further ones are refused, so that a queue cannot grow (I12)."""

Execute = Callable[[str, dict[str, Any], str], Awaitable[dict[str, Any]]]


class Commands:
    """Takes commands in, runs them in a task each, hands every reply to `on_reply(cid, reply)`."""

    def __init__(
        self, gw: str, world: World, db: Database, tell: Tell, execute: Execute, on_reply: Callable[[str, str], None]
    ) -> None:
        self._gw, self._world, self._db, self._tell = gw, world, db, tell
        self._execute, self._on_reply = execute, on_reply
        self._arrived: asyncio.Queue[StoredCommand] = asyncio.Queue(MAX_OPEN * 2)

    async def run(self) -> None:
        """Carry out what is accepted, until cancelled; what the last run left running has failed."""
        while not self._arrived.empty():  # they stand in the database too
            self._arrived.get_nowait()
        for command in await self._db.run(lambda db: store.unfinished(db, "running")):
            await self._move(command.cid, "failed", error="the gateway restarted while it ran: ask with a new cid")
        for command in await self._db.run(lambda db: store.unfinished(db, "accepted")):
            self._arrived.put_nowait(command)
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._carry_out(await self._arrived.get()), name="cloud command")

    async def receive(self, payload: bytes) -> None:
        """Store one message of `down/cmd` and answer it; the caller confirms it afterwards. StoreError."""
        try:
            command = Command.model_validate_json(payload)
        except ValidationError as error:
            self._refused("?", first_fault(error))
            return
        now = self._world.clock.now()
        why = self._refusal(command, now.quality, now.utc_ms)
        stored = StoredCommand(
            command.cid, command.op, json.dumps(command.args), command.actor, _utc_ms(command)
        )  # fmt: skip
        known, reply = await self._db.run(lambda db: self._admit(db, stored, why, now.utc_ms))
        self._on_reply(command.cid, reply)
        if known:
            return
        if json.loads(reply)["state"] == "failed":
            self._refused(command.cid, json.loads(reply)["error"])
        else:
            self._arrived.put_nowait(stored)

    def _admit(self, db: Connection, command: StoredCommand, why: str | None, now_ms: int) -> tuple[bool, str]:
        reply = store.get_reply(db, command.cid)
        if reply is not None:
            return True, reply
        if why is None and store.count_open(db) >= MAX_OPEN:
            why = f"{MAX_OPEN} commands are not finished yet: ask again later with a new cid"
        state: CommandState = "accepted" if why is None else "failed"
        reply = self._reply(command.cid, state, error=why)
        store.add(db, command, state, reply, now_ms)
        return False, reply

    def _refusal(self, command: Command, quality: TimeQuality, now_ms: int) -> str | None:
        if quality is TimeQuality.GUESSED:
            return "the gateway does not know the time, so it cannot judge the deadline"
        if now_ms > _utc_ms(command):
            return f"its deadline {iso(_utc_ms(command))} has passed: it is {iso(now_ms)}"
        return None

    async def _carry_out(self, command: StoredCommand) -> None:
        if self._world.clock.utc_ms() > command.deadline_ms:
            await self._move(command.cid, "failed", error=f"its deadline {iso(command.deadline_ms)} has passed")
            return
        await self._move(command.cid, "running")
        try:
            result = await self._execute(command.op, json.loads(command.args), command.actor)
            if len(json.dumps(result)) > MAX_MESSAGE_BYTES - 4096:
                raise ValueError("the answer is larger than the largest message")
        except (ValueError, LookupError) as error:
            await self._move(command.cid, "failed", error=str(error.args[0] if error.args else error))
        except Exception as error:  # noqa: BLE001 - the border between a command and the link
            await self._move(command.cid, "failed", error=f"{type(error).__name__}: {error}")
            self._refused(command.cid, f"{command.op} failed: {type(error).__name__}: {error}", Severity.ERROR)
        else:
            await self._move(command.cid, "done", result=result)

    async def _move(
        self, cid: str, state: CommandState, *, result: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        reply = self._reply(cid, state, result=result, error=error)
        await self._db.run(lambda db: store.move(db, cid, state, reply))
        self._on_reply(cid, reply)

    def _reply(
        self, cid: str, state: CommandState, *, result: dict[str, Any] | None = None, error: str | None = None
    ) -> str:
        ts = iso(self._world.clock.utc_ms())
        return Reply(gw=self._gw, cid=cid, state=state, ts=ts, result=result, error=error).model_dump_json()

    def _refused(self, cid: str, cause: str, severity: Severity = Severity.WARNING) -> None:
        self._tell(
            Event(
                "command_refused", f"cloud command {cid}", cause, severity=severity,
                next_step="the sender must correct it and ask with a new cid", keep=True,
            )
        )  # fmt: skip


def _utc_ms(command: Command) -> int:
    return round(command.deadline.timestamp() * 1000)
