"""A person says that what a restored copy lacks was checked: who, when and why, in the chain of events."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from gateway.clock import iso
from gateway.cloud.standing import RESTORED, new_rid
from gateway.model import Connection, Event, Stamp, Tell, World
from gateway.records.bodies import Notice
from gateway.sessions.asked import person, words
from gateway.store import meta, outbox
from gateway.store.database import Database
from gateway.store.outbox import Identity

CHECKED = "restored_checked"
"""Key of `meta`: the newest `Checked`, as JSON; also the kind of its event."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One act. `restored` is when the cloud found the copy, `at` when it was checked; both ISO."""

    restored: str
    epoch: str
    at: str
    actor: str
    reason: str


def waiting_since(db: Connection) -> str | None:
    """When this database was found to be an old copy, while nobody has said that it was checked."""
    return meta.get(db, RESTORED) or None


def newest_check(db: Connection) -> dict[str, Any] | None:
    """What a person said of the newest copy that was restored; None where nobody ever did."""
    text = meta.get(db, CHECKED)
    return json.loads(text) if text else None


def confirm(db: Connection, who: Identity, rid: str, now: Stamp, actor: str, reason: str) -> tuple[Checked, Event]:
    """Keep the act and tell the cloud of it, inside one transaction. ValueError where nothing waits for it.

    It says that a person looked. What was signed before the cloud had answered stays marked as it is.
    """
    since = waiting_since(db)
    if since is None:
        raise ValueError(
            "there is nothing to confirm: this database was not found to be an old copy, or it was checked"
        )
    done = Checked(since, outbox.current_epoch(db, who), iso(now.utc_ms), actor, reason)
    cause = f"{actor} has checked what the copy lacks that was found at {since}: {reason}"
    notice = Notice(
        kind=CHECKED, subject=who.gw, cause=cause, next_step="", severity="info", at=done.at, data=asdict(done)
    )  # fmt: skip
    outbox.append(db, who, lane="event", schema="notice.v1", body=notice.model_dump_json(), stamp=now, rid=rid)
    meta.put(db, CHECKED, json.dumps(asdict(done)))
    meta.put(db, RESTORED, "")
    return done, Event(CHECKED, who.gw, cause, data=asdict(done))


def confirm_operation(
    db: Database, who: Identity, world: World, tell: Tell, on_outbox: Callable[[], None]
) -> Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]]:
    """The operation `epoch.confirm` {reason, actor?} -> who, when, why. ValueError."""

    async def execute(args: dict[str, Any], caller: str) -> dict[str, Any]:
        actor, reason = person(args, caller), words(args, "reason")
        rid, now = new_rid(world.random), world.clock.now()
        done, event = await db.run(lambda connection: confirm(connection, who, rid, now, actor, reason))
        tell(event)
        on_outbox()
        return {"v": 1, **asdict(done)}

    return execute
