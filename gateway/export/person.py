"""What the database holds about one tenant: all of it for that person, or forgotten as far as the law of proof allows.

The site's file alone knows who a tenant is. The database holds the tenant's id in the session rows and in the owner of
energy outside sessions; there it is replaced by a pseudonym. What is signed or chained by hash - records, and the rows
that went to the cloud - is never touched: it proves bills, and holds the id (and the card's), never a name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.clock import iso
from gateway.export.dialects import utc_text
from gateway.export.facts import ended_sessions
from gateway.model import Connection, World
from gateway.records.bodies import Notice
from gateway.store import intervals, outbox
from gateway.store.database import Database
from gateway.store.outbox import Identity

STEP = 200
"""Quarter hours in one transaction: the writer serves everybody else in between."""


class ForgetError(ValueError):
    """It cannot be forgotten now; the text is one sentence with its remedy."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was done. `quarter_hours` is how many intervals named the tenant as an owner."""

    pseudonym: str
    sessions: int
    quarter_hours: int


def person_export(db: Connection, tenant: str) -> dict[str, Any]:
    """Everything that is kept about a tenant, for that person to read. LookupError where there is nothing."""
    sessions = [one for one in ended_sessions(db) if one.tenant == tenant]
    running = db.execute(
        "SELECT id, charger, connector, begin_ms, id_tag FROM session WHERE tenant = ? AND state <> 'ended'", (tenant,)
    ).fetchall()
    outside = _outside(db, tenant)
    if not sessions and not running and not outside:
        raise LookupError(f"nothing is kept about {tenant}: zev-gateway sessions lists the tenants")
    cards = sorted({one.id_tag for one in sessions} | {row[4] for row in running})
    return {
        "v": 1,
        "tenant": tenant,
        "cards": cards,
        "sessions": [
            {
                "id": one.id,
                "charging_point": one.place,
                "card": one.id_tag,
                "begin": utc_text(one.begin_ms),
                "end": utc_text(one.end_ms),
                "begin_wh": one.begin_wh,
                "end_wh": one.end_wh,
                "energy_wh": one.energy_wh,
                "solar_wh": one.solar_wh,
                "classes_wh": dict(one.classes_wh),
                "quality": one.quality,
                "meter_serial": one.meter_serial,
                "signed_texts": [record.text for record in one.records],
                "quarter_hours": [
                    {"k": share.k, "wh": share.energy_wh, "solar_wh": share.solar_wh, "class": share.grid_class}
                    for share in intervals.shares_of(db, one.id)
                ],
            }
            for one in sessions
        ],
        "running": [
            {"id": row[0], "charging_point": f"{row[1]}/{row[2]}", "begin": utc_text(row[3])} for row in running
        ],
        "outside_sessions": outside,
        "cards_known_to_the_operator": _cards(db, cards),
        "also_kept": "signed records and rows sent to the cloud, with the same ids, while bills must be proven",
    }


def _outside(db: Connection, tenant: str) -> list[dict[str, Any]]:
    """Energy of the tenant's charging points outside sessions, by meter and name."""
    rows = db.execute(
        "SELECT json_extract(o.value, '$.meter'), json_extract(o.value, '$.name'), count(*), min(i.k), max(i.k), "
        "sum(json_extract(o.value, '$.wh')) FROM interval AS i, json_each(i.result, '$.outside') AS o "
        "WHERE i.result IS NOT NULL AND json_extract(o.value, '$.owner') = ? GROUP BY 1, 2 ORDER BY 1, 2",
        (tenant,),
    )
    names = ("meter", "name", "quarter_hours", "first_k", "last_k", "wh")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _cards(db: Connection, cards: Sequence[str]) -> list[dict[str, Any]]:
    """What the operator's backend said of these cards (its list, our cache of its answers)."""
    names = ("charger", "source", "card", "status")
    found: list[dict[str, Any]] = []
    for card in cards:
        rows = db.execute(
            "SELECT charger, source, id_tag, status FROM id_tag WHERE id_tag = ? ORDER BY charger, source", (card,)
        )
        found += [dict(zip(names, row, strict=True)) for row in rows]
    return found


def pseudonym_of(db: Connection, tenant: str) -> str:
    """`forgotten-` and 12 hex digits, the same for all rows of the tenant. ForgetError where nothing can be forgotten.

    It is drawn from the random id of the tenant's first session: from the tenant's id alone nobody can compute it, so
    guessing through all ids of a house finds nobody.
    """
    if tenant.startswith(PREFIX):
        raise ForgetError(f"{tenant} is a pseudonym already")
    row = db.execute("SELECT id FROM session WHERE tenant = ? ORDER BY begin_ms, id LIMIT 1", (tenant,)).fetchone()
    if row is None:
        raise ForgetError(
            f"no session names {tenant}: there is nothing to forget; zev-gateway sessions lists the tenants"
        )
    if db.execute("SELECT 1 FROM session WHERE tenant = ? AND state <> 'ended' LIMIT 1", (tenant,)).fetchone():
        raise ForgetError(f"{tenant} is charging now: forget again when the session has ended")
    return PREFIX + hashlib.sha256(str(row[0]).encode()).hexdigest()[:12]


PREFIX = "forgotten-"


def forget_owner(db: Connection, tenant: str, pseudonym: str, after_k: int) -> tuple[int, int | None]:
    """Replace the owner in up to STEP intervals after `after_k`: how many, and where to go on (None: that was all).

    Call it inside a transaction, again and again, then `forget_sessions`: a power cut in between leaves the tenant's
    sessions as they are, so that the same act finds the same pseudonym and goes on.
    """
    rows = db.execute(
        "SELECT k, result FROM interval WHERE k > ? AND result IS NOT NULL AND EXISTS (SELECT 1 FROM "
        "json_each(result, '$.outside') AS o WHERE json_extract(o.value, '$.owner') = ?) ORDER BY k LIMIT ?",
        (after_k, tenant, STEP),
    ).fetchall()
    for k, text in rows:
        body = json.loads(text)
        for piece in body["outside"]:
            if piece["owner"] == tenant:
                piece["owner"] = pseudonym
        db.execute(
            "UPDATE interval SET result = ? WHERE k = ?",
            (json.dumps(body, ensure_ascii=False, separators=(",", ":")), k),
        )
    return len(rows), rows[-1][0] if len(rows) == STEP else None


def forget_sessions(db: Connection, tenant: str, pseudonym: str) -> int:
    """Replace the tenant in the session rows, and drop what the operator said of their cards: the last step."""
    cards = [row[0] for row in db.execute("SELECT DISTINCT id_tag FROM session WHERE tenant = ?", (tenant,)).fetchall()]
    for card in cards:
        db.execute("DELETE FROM id_tag WHERE id_tag = ? AND source = 'cache'", (card,))
    rows = db.execute("UPDATE session SET tenant = ? WHERE tenant = ? RETURNING id", (pseudonym, tenant)).fetchall()
    return len(rows)


async def forget(db: Database, who: Identity, world: World, tenant: str, actor: str) -> Forgotten:
    """Forget a tenant, in steps that leave the writer free in between. ForgetError.

    The act stands in the event lane, in the transaction of its last step, with the pseudonym and never with the tenant.
    """
    pseudonym = await db.run(lambda connection: pseudonym_of(connection, tenant))
    after: int | None = -1
    quarter_hours = 0
    while after is not None:
        count, after = await db.run(
            lambda connection, after=after: forget_owner(connection, tenant, pseudonym, after)  # type: ignore[misc]
        )
        quarter_hours += count
    return await db.run(lambda connection: _finish(connection, who, world, tenant, pseudonym, quarter_hours, actor))


def _finish(
    db: Connection, who: Identity, world: World, tenant: str, pseudonym: str, quarter_hours: int, actor: str
) -> Forgotten:
    sessions = forget_sessions(db, tenant, pseudonym)
    stamp = world.clock.now()
    body = Notice(
        kind="person_forgotten",
        subject=pseudonym,
        cause=f"asked by {actor}: {sessions} sessions and the owner in {quarter_hours} quarter hours",
        next_step="take the tenant out of [[occupancy]] and [[token]] of the site file",
        severity="info",
        at=iso(stamp.utc_ms),
        data={"sessions": sessions, "quarter_hours": quarter_hours, "actor": actor},
    )
    outbox.append(
        db, who, lane="event", schema="notice.v1", body=body.model_dump_json(), stamp=stamp,
        rid=str(UUID(int=world.random.getrandbits(128), version=4)),
    )  # fmt: skip
    return Forgotten(pseudonym, sessions, quarter_hours)


def forget_operation(
    db: Database, who: Identity, world: World, on_outbox: Callable[[], None]
) -> Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]]:
    """The operation `person_forget` of a running daemon: {"tenant": ...} -> what was done. ValueError."""

    async def execute(args: dict[str, Any], actor: str) -> dict[str, Any]:
        tenant = args.get("tenant")
        if not isinstance(tenant, str) or not tenant:
            raise ForgetError("person_forget needs the tenant: their id as the site file names them")
        done = await forget(db, who, world, tenant, actor)
        on_outbox()
        return as_answer(done)

    return execute


def as_answer(done: Forgotten) -> dict[str, Any]:
    """What was done, for whoever asked."""
    return {"v": 1, "pseudonym": done.pseudonym, "sessions": done.sessions, "quarter_hours": done.quarter_hours}
