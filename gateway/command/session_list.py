"""The sessions of a database, for the command line: read beside a running daemon, or without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.clock import iso
from gateway.command.directories import UserError, look_into
from gateway.model import Connection, StoreError, StoreProblem
from gateway.sessions.session import Reason, State
from gateway.store.database import ForeignDatabaseError, check_ours
from gateway.store.sqlite import connect_read_only

_SESSION = """
SELECT id, charger, connector, transaction_id, state, id_tag, tenant, participant, begin_ms, stop_ms, end_ms,
       begin_wh, end_wh, begin_provenance, end_provenance, billable, unbillable_reason, meter, split_version, split,
       (SELECT body FROM decision WHERE session = id ORDER BY version DESC LIMIT 1) AS decided
FROM session WHERE begin_ms >= ? AND begin_ms < ? AND (? IS NULL OR tenant = ?) ORDER BY begin_ms, id
"""
_SHARES = """
SELECT session, class, sum(solar_wh), sum(grid_wh) FROM session_share
WHERE session IN (SELECT id FROM session WHERE begin_ms >= ? AND begin_ms < ?) GROUP BY session, class
"""
FAR_MS = 1 << 62


def open_state(state: Path) -> Connection:
    """The database of a state directory, for reading. UserError."""
    path = state / "billing.db"
    look_into(path, f"there is no database in {state}")
    try:
        connection = connect_read_only(path)
        check_ours(connection)
        found = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except ForeignDatabaseError as error:
        connection.close()
        raise UserError(f"{path}: {error}") from error
    except StoreError as error:
        damaged = error.problem is StoreProblem.CORRUPT
        remedy = "see docs/operations.md, 'the database is damaged'" if damaged else "use sudo"
        raise UserError(f"{path} cannot be read ({error}): {remedy}") from error
    if "session" not in found:
        connection.close()
        raise UserError(f"{path} is not the database of a gateway: say with --state where the gateway keeps its state")
    return connection


def list_sessions(
    db: Connection, from_ms: int = 0, to_ms: int = FAR_MS, tenant: str | None = None
) -> list[dict[str, Any]]:
    """Sessions that began in [from_ms, to_ms), oldest first; energy only where both registers are known."""
    shares: dict[str, list[tuple[Any, ...]]] = {}
    for row in db.execute(_SHARES, (from_ms, to_ms)):
        shares.setdefault(row[0], []).append(row)
    rows = db.execute(_SESSION, (from_ms, to_ms, tenant, tenant))
    return [_session(row, shares.get(row[0], [])) for row in rows]


def _session(row: tuple[Any, ...], shares: list[tuple[Any, ...]]) -> dict[str, Any]:
    begin_wh, end_wh, billable = row[11], row[12], bool(row[15])
    known = begin_wh is not None and end_wh is not None
    return {
        "id": row[0],
        "connector": f"{row[1]}/{row[2]}",
        "transaction_id": row[3],
        "state": row[4],
        "id_tag": row[5],
        "tenant": row[6],
        "participant": row[7],
        "begin": iso(row[8]),
        "stop": None if row[9] is None else iso(row[9]),
        "end": None if row[10] is None else iso(row[10]),
        "begin_wh": begin_wh,
        "end_wh": end_wh,
        "begin_provenance": row[13],
        "end_provenance": row[14],
        "energy_wh": end_wh - begin_wh if known and billable else None,
        "billable": billable,
        "unbillable_reason": row[16],
        "meter": row[17],
        "split": _split(row[19]) if row[19] else _so_far(row[18], shares) if shares else None,
        "decision": _decision(row[20]) if row[20] else None,
    }


def waits_for_a_person(row: Mapping[str, Any]) -> bool:
    """Whether it ended without a bill, and nobody has decided about it. A card that was refused needs no decision."""
    unbillable = row["state"] == State.ENDED and not row["billable"] and row["decision"] is None
    return unbillable and row["unbillable_reason"] != Reason.REFUSED


def _decision(stored: str) -> dict[str, Any]:
    """What a person decided last, and who, when and why."""
    document = json.loads(stored)
    names = ("version", "bill", "basis", "begin_wh", "end_wh", "energy_wh", "actor", "reason", "at")
    return {name: document.get(name) for name in names}


def _split(stored: str) -> dict[str, Any]:
    """What was told to the cloud last."""
    document = json.loads(stored)
    return {key: document[key] for key in ("version", "state", "solar_wh", "classes_wh")}


def _so_far(version: int, shares: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Solar and grid by class of the quarter hours that are settled."""
    return {
        "version": version,
        "state": "provisional",
        "solar_wh": sum(share[2] for share in shares),
        "classes_wh": {share[1]: share[3] for share in shares},
    }
