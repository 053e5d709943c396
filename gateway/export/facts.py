"""What the exports read of the database, beside a running daemon or without one: ended sessions and their records.

A session belongs to the period in which it ended: a file of a past month never changes because a car still charged, and
adjacent periods add up. Energy is Wh, times are UTC ms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.export.session_facts import SessionFacts, SignedText
from gateway.model import Connection

FAR_MS = 1 << 62


_COLUMNS = (
    "id, charger, connector, tenant, participant, id_tag, begin_ms, ifnull(end_ms, ifnull(stop_ms, begin_ms)), "
    "begin_wh, end_wh, begin_q, end_q, begin_provenance, end_provenance, billable, unbillable_reason, meter, "
    "meter_serial, stop_reason, split_version, split"
)
_DECISION = "SELECT bill, begin_wh, end_wh, basis FROM decision WHERE session = ? ORDER BY version DESC LIMIT 1"
_END = "ifnull(end_ms, ifnull(stop_ms, begin_ms))"


def ended_sessions(db: Connection, from_ms: int = 0, to_ms: int = FAR_MS) -> Iterator[SessionFacts]:
    """Sessions that ended in [from_ms, to_ms), by the time of their end; those not billable with their reason."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM session WHERE state = 'ended' AND {_END} >= ? AND {_END} < ? ORDER BY {_END}, id",
        (from_ms, to_ms),
    )
    for row in rows:
        yield _facts(db, row)


def session(db: Connection, wanted: str) -> SessionFacts:
    """One ended session by its id or the begin of it. LookupError with one sentence."""
    escaped = wanted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = db.execute(
        f"SELECT {_COLUMNS}, state FROM session WHERE id LIKE ? ESCAPE '\\' ORDER BY id LIMIT 2", (f"{escaped}%",)
    ).fetchall()
    if not found or not wanted:
        raise LookupError(f"there is no session {wanted}: zev-gateway sessions lists them")
    if len(found) > 1:
        raise LookupError(f"more than one session begins with {wanted}: give more of its id")
    *row, state = found[0]
    if state != "ended":
        raise LookupError(f"session {row[0]} has not ended yet")
    return _facts(db, tuple(row))


def _facts(db: Connection, row: tuple[Any, ...]) -> SessionFacts:
    (
        name, charger, connector, tenant, participant, id_tag, begin_ms, end_ms, begin_wh, end_wh, begin_q, end_q,
        begin_from, end_from, billable, reason, meter, serial, stop_reason, version, text,
    ) = row  # fmt: skip
    decided = None if billable else db.execute(_DECISION, (name,)).fetchone()
    if decided and decided[0]:
        billable, begin_wh, end_wh = True, decided[1], decided[2]
        begin_from = end_from = f"decided, {decided[3]}"
    known = bool(billable) and begin_wh is not None and end_wh is not None
    split = json.loads(text) if text and known else None
    records = _records(db, name)
    return SessionFacts(
        id=name,
        charger=charger,
        connector=connector,
        tenant=tenant,
        participant=participant,
        id_tag=id_tag,
        begin_ms=begin_ms,
        end_ms=end_ms,
        begin_wh=begin_wh,
        end_wh=end_wh,
        energy_wh=end_wh - begin_wh if known else None,
        solar_wh=split["solar_wh"] if split else None,
        classes_wh=split["classes_wh"] if split else {},
        battery_grid_wh=_battery_grid(db, split["intervals"]) if split else None,
        billable=bool(billable),
        unbillable_reason=reason,
        quality=_quality(bool(billable), reason, split, (begin_q, end_q), (begin_from, end_from)),
        signed_by=_signed_by(records),
        meter=meter,
        meter_serial=serial,
        stop_reason=stop_reason,
        split_version=version,
        split_state=split["state"] if split else None,
        records=records,
    )


_TIME_WORST_FIRST = ("guessed", "rtc", "holdover", "ntp", "simulated")


def _quality(
    billable: bool,
    reason: str | None,
    split: Mapping[str, Any] | None,
    times: tuple[str | None, str | None],
    provenance: tuple[str | None, str | None],
) -> str:
    """In words: measured or why not, whether the split may still change, and the worst quality of the two times."""
    decided = next((one for one in provenance if one and one.startswith("decided")), None)
    words = [decided or ("measured" if provenance == ("meter", "meter") else "register of the charger")]
    if not billable:
        words = [f"unbillable: {reason or 'a person decides'}"]
    elif split is None:
        words.append("split outstanding")
    elif split["state"] == "provisional":
        words.append("split provisional")
    known = [time for time in times if time]
    words.append(f"time {next((time for time in _TIME_WORST_FIRST if time in known), 'guessed')}")
    return " + ".join(words)


def _signed_by(records: tuple[SignedText, ...]) -> str:
    """Who signed what the payer sees: the charger where it did, else the gateway."""
    signers = {one.signed_by for one in records}
    return next((one for one in ("meter", "charger", "gateway") if one in signers), "none")


def _records(db: Connection, session_id: str) -> tuple[SignedText, ...]:
    rows = db.execute(
        "SELECT id, kind, signed_by, key_id, text, prev, sha256, spki_hex, ifnull(context, '') FROM record "
        "LEFT JOIN charger_text ON charger_text.record = record.id WHERE session = ? ORDER BY id",
        (session_id,),
    )
    names = ("id", "kind", "signed_by", "key_id", "text", "prev", "sha256", "spki_hex", "context")
    return tuple(SignedText(**dict(zip(names, row, strict=True))) for row in rows)


def _battery_grid(db: Connection, quarters: list[int]) -> int | None:
    if not quarters:
        return 0
    row = db.execute(
        "SELECT max(ifnull(json_extract(result, '$.battery_discharge_wh'), 0)) FROM interval WHERE k BETWEEN ? AND ?",
        (min(quarters), max(quarters)),
    ).fetchone()
    return None if row and row[0] else 0


def gateway_of(db: Connection) -> tuple[str, bool]:
    """The gateway's id, and whether its site is a simulation."""
    values: dict[str, str] = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('gw', 'kind')").fetchall())
    return str(values.get("gw", "gateway")), values.get("kind") == "simulation"


def rules_of(db: Connection) -> dict[str, Any]:
    """What the newest quarter hour is settled by: time zone, tariff, which meter is whose. Empty before the first."""
    row = db.execute(
        "SELECT body FROM rules WHERE id = (SELECT rules FROM interval WHERE rules IS NOT NULL ORDER BY k DESC LIMIT 1)"
    ).fetchone()
    return dict(json.loads(row[0])) if row else {}
