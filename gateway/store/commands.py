"""What the cloud asked, kept by cid: stored before its PUBACK, answered the same however often it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.model import Connection

CommandState = Literal["accepted", "running", "done", "failed"]

KEPT_MS = 7 * 86_400_000
"""How long a finished command answers a repetition of its cid; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """One command. `args` is a JSON object, `deadline_ms` UTC."""

    cid: str
    op: str
    args: str
    actor: str
    deadline_ms: int


def get_reply(db: Connection, cid: str) -> str | None:
    """The newest reply to a command, None where the cid is new."""
    row = db.execute("SELECT reply FROM command WHERE cid = ?", (cid,)).fetchone()
    return str(row[0]) if row else None


def count_open(db: Connection) -> int:
    """How many commands are not finished."""
    row = db.execute("SELECT count(*) FROM command WHERE state IN ('accepted', 'running')").fetchone()
    return int(row[0]) if row else 0


def add(db: Connection, command: StoredCommand, state: CommandState, reply: str, now_ms: int) -> None:
    """Keep a new command with its first reply, and forget the finished ones of more than seven days ago."""
    db.execute("DELETE FROM command WHERE received_ms < ? AND state IN ('done', 'failed')", (now_ms - KEPT_MS,))
    db.execute(
        "INSERT INTO command (cid, op, args, actor, deadline_ms, state, reply, told, received_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)",
        (command.cid, command.op, command.args, command.actor, command.deadline_ms, state, reply, now_ms),
    )


def move(db: Connection, cid: str, state: CommandState, reply: str) -> None:
    """The command is in a new state, which nobody has been told yet."""
    db.execute("UPDATE command SET state = ?, reply = ?, told = 0 WHERE cid = ?", (state, reply, cid))


def mark_told(db: Connection, cid: str, reply: str) -> None:
    """The broker has taken `reply` over; nothing happens where a newer one has replaced it."""
    db.execute("UPDATE command SET told = 1 WHERE cid = ? AND reply = ?", (cid, reply))


def untold(db: Connection) -> list[tuple[str, str]]:
    """(cid, reply) of everything that nobody has been told yet, oldest first."""
    rows = db.execute("SELECT cid, reply FROM command WHERE told = 0 ORDER BY received_ms, cid")
    return [(cid, reply) for cid, reply in rows]


def unfinished(db: Connection, state: CommandState) -> list[StoredCommand]:
    """Commands that a start finds in `state`, oldest first."""
    rows = db.execute(
        "SELECT cid, op, args, actor, deadline_ms FROM command WHERE state = ? ORDER BY received_ms, cid", (state,)
    )
    return [StoredCommand(*row) for row in rows]
