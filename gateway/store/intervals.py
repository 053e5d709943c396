"""Quarter hours: the boundary readings, the split in force, the shares of sessions, carry and tanks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Connection, Reading
from gateway.store.readings import of_plain, plain


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One quarter hour. `boundary` are the readings at its START; a meter that was not read is None."""

    k: int
    state: str
    version: int
    dirty: bool
    boundary: Mapping[str, Reading | None]
    result: str | None
    handed: str | None


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One session in one interval, Wh, newest version."""

    session: str
    k: int
    version: int
    energy_wh: int
    solar_wh: int
    grid_wh: int
    grid_class: str
    state: str


_COLUMNS = "k, state, version, dirty, boundary, result, handed"


def _row(values: tuple[object, ...]) -> IntervalRow:
    k, state, version, dirty, boundary, result, handed = values
    readings = {meter: of_plain(value) if value else None for meter, value in json.loads(str(boundary)).items()}
    assert isinstance(k, int)
    assert isinstance(version, int)
    return IntervalRow(k, str(state), version, bool(dirty), readings, _text(result), _text(handed))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def add_boundary(db: Connection, k: int, boundary: Mapping[str, Reading | None]) -> None:
    """The readings at the start of interval `k`; what stands there already stays."""
    packed = json.dumps(
        {meter: plain(reading) if reading else None for meter, reading in sorted(boundary.items())},
        separators=(",", ":"),
    )
    db.execute(
        "INSERT INTO interval (k, state, version, dirty, boundary) VALUES (?, 'provisional', 0, 0, ?) "
        "ON CONFLICT (k) DO NOTHING",
        (k, packed),
    )


def get(db: Connection, k: int) -> IntervalRow | None:
    """One quarter hour, None where its start passed unseen."""
    row = db.execute(f"SELECT {_COLUMNS} FROM interval WHERE k = ?", (k,)).fetchone()
    return _row(row) if row else None


def newest(db: Connection) -> int | None:
    """The newest interval whose start is on disk."""
    row = db.execute("SELECT max(k) FROM interval").fetchone()
    return row[0] if row else None


def newest_settled(db: Connection) -> int | None:
    """The newest interval that has a split."""
    row = db.execute("SELECT k FROM interval WHERE version > 0 ORDER BY k DESC LIMIT 1").fetchone()
    return int(row[0]) if row else None


def unsettled(db: Connection) -> list[int]:
    """Intervals that have no split yet and whose end is on disk, in order."""
    rows = db.execute(
        "SELECT k FROM interval AS i WHERE version = 0 AND EXISTS (SELECT 1 FROM interval WHERE k = i.k + 1) ORDER BY k"
    )
    return [row[0] for row in rows]


def dirty(db: Connection) -> list[int]:
    """Settled intervals that must be looked at again, in order."""
    rows = db.execute("SELECT k FROM interval WHERE dirty = 1 AND version > 0 AND state <> 'closed' ORDER BY k")
    return [row[0] for row in rows]


def mark_dirty(db: Connection, from_k: int, to_k: int) -> None:
    """Something that the split of these intervals rests on has changed."""
    db.execute(
        "UPDATE interval SET dirty = 1 WHERE k >= ? AND k <= ? AND version > 0 AND state <> 'closed'", (from_k, to_k)
    )


def clean(db: Connection, k: int) -> None:
    """It was looked at, and nothing changed."""
    db.execute("UPDATE interval SET dirty = 0 WHERE k = ?", (k,))


def settle(db: Connection, k: int, *, state: str, version: int, result: str, handed: str) -> None:
    """The split in force of one interval."""
    db.execute(
        "UPDATE interval SET state = ?, version = ?, dirty = 0, result = ?, handed = ? WHERE k = ?",
        (state, version, result, handed, k),
    )


def count_provisional(db: Connection) -> int:
    """How many settled intervals are provisional."""
    row = db.execute("SELECT count(*) FROM interval WHERE state = 'provisional' AND version > 0").fetchone()
    return int(row[0]) if row else 0


MAX_GAP_INTERVALS = 28 * 96
"""A gap is bridged over four weeks at most; a longer one needs a person."""


def boundary_before(db: Connection, meter: str, k: int) -> Reading | None:
    """The meter's newest boundary reading at or before the start of `k`."""
    return _nearest(db, meter, "k <= ? AND k >= ? ORDER BY k DESC", k, k - MAX_GAP_INTERVALS)


def boundary_after(db: Connection, meter: str, k: int) -> Reading | None:
    """The meter's oldest boundary reading at or after the start of `k`."""
    return _nearest(db, meter, "k >= ? AND k <= ? ORDER BY k", k, k + MAX_GAP_INTERVALS)


def _nearest(db: Connection, meter: str, where: str, k: int, end: int) -> Reading | None:
    path = f'$."{meter}"'
    row = db.execute(
        "SELECT json_extract(boundary, ?) FROM interval WHERE json_extract(boundary, ?) IS NOT NULL "
        f"AND {where} LIMIT 1",
        (path, path, k, end),
    ).fetchone()
    return of_plain(json.loads(row[0])) if row else None


def gap_before(db: Connection, meter: str, k: int) -> int | None:
    """The interval at whose start the meter was last read before `k`, where it was not read at the start of k - 1."""
    before = get(db, k - 1)
    if before is None or before.boundary.get(meter) is not None or meter not in before.boundary:
        return None
    path = f'$."{meter}"'
    row = db.execute(
        "SELECT k FROM interval WHERE json_extract(boundary, ?) IS NOT NULL AND k < ? AND k >= ? "
        "ORDER BY k DESC LIMIT 1",
        (path, k, k - MAX_GAP_INTERVALS),
    ).fetchone()
    return int(row[0]) if row else None


def put_shares(db: Connection, k: int, shares: list[ShareRow]) -> None:
    """The shares of all sessions in one interval, in place of the version before."""
    db.execute("DELETE FROM session_share WHERE k = ?", (k,))
    db.executemany(
        "INSERT INTO session_share (session, k, version, energy_wh, solar_wh, grid_wh, class, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (one.session, one.k, one.version, one.energy_wh, one.solar_wh, one.grid_wh, one.grid_class, one.state)
            for one in shares
        ],
    )


def shares_of(db: Connection, session: str) -> list[ShareRow]:
    """What one session took, interval by interval."""
    rows = db.execute(
        "SELECT session, k, version, energy_wh, solar_wh, grid_wh, class, state FROM session_share "
        "WHERE session = ? ORDER BY k",
        (session,),
    )
    return [ShareRow(*row) for row in rows]


def sessions_in(db: Connection, k: int) -> list[str]:
    """The sessions that have a share in one interval."""
    return [row[0] for row in db.execute("SELECT session FROM session_share WHERE k = ? ORDER BY session", (k,))]


def carry(db: Connection) -> dict[str, tuple[int, int]]:
    """By participant: what the newest settled interval left, and what corrections add to it. Nano-Wh."""
    rows = db.execute("SELECT participant, nano_wh, adjustment_nano_wh FROM carry")
    return {participant: (nano_wh, adjustment) for participant, nano_wh, adjustment in rows}


def put_carry(db: Connection, participant: str, nano_wh: int, adjustment_nano_wh: int) -> None:
    """What one participant takes into the next interval."""
    db.execute(
        "INSERT INTO carry (participant, nano_wh, adjustment_nano_wh) VALUES (?, ?, ?) ON CONFLICT (participant) "
        "DO UPDATE SET nano_wh = excluded.nano_wh, adjustment_nano_wh = excluded.adjustment_nano_wh",
        (participant, nano_wh, adjustment_nano_wh),
    )


def tanks(db: Connection) -> dict[str, int]:
    """What the battery holds by origin, Wh."""
    return dict(db.execute("SELECT origin, wh FROM tank").fetchall())


def put_tank(db: Connection, origin: str, wh: int) -> None:
    """What the battery holds of one origin, Wh."""
    db.execute(
        "INSERT INTO tank (origin, wh) VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET wh = excluded.wh", (origin, wh)
    )
