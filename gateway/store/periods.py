"""Billing periods: who closed and reopened them, act by act."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRow:
    """One act about the period [first_k, end_k)."""

    name: str
    version: int
    at_ms: int
    state: str
    first_k: int
    end_k: int
    body: str


_COLUMNS = "name, version, at_ms, state, first_k, end_k, body"


def append(db: Connection, row: PeriodRow) -> None:
    """Keep one act."""
    db.execute(
        f"INSERT INTO period ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.name, row.version, row.at_ms, row.state, row.first_k, row.end_k, row.body),
    )


def newest(db: Connection, name: str) -> PeriodRow | None:
    """The last act about a period, None where there was none."""
    found = db.execute(
        f"SELECT {_COLUMNS} FROM period WHERE name = ? ORDER BY version DESC LIMIT 1", (name,)
    ).fetchone()
    return PeriodRow(**dict(zip(_COLUMNS.split(", "), found, strict=True))) if found else None


def everything(db: Connection) -> list[PeriodRow]:
    """The last act about each period, in order of time."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM period AS p WHERE version = (SELECT max(version) FROM period WHERE name = p.name) "
        "ORDER BY first_k, name"
    )
    return [PeriodRow(**dict(zip(_COLUMNS.split(", "), row, strict=True))) for row in rows]


def holding(db: Connection, k: int) -> str | None:
    """The closed period that holds interval `k`."""
    return next((row.name for row in everything(db) if row.state == "closed" and row.first_k <= k < row.end_k), None)
