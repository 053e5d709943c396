"""Quarter hours: the boundary readings, the split in force, the shares of sessions, carry and tanks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.model import INTERVAL_MS, Connection, Reading
from gateway.store import meta
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
    rules: int | None = None


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
    leg_wh: int = 0


_COLUMNS = "k, state, version, dirty, boundary, result, handed, rules"


def _row(values: tuple[object, ...]) -> IntervalRow:
    k, state, version, dirty, boundary, result, handed, rules = values
    readings = {meter: of_plain(value) if value else None for meter, value in json.loads(str(boundary)).items()}
    assert isinstance(k, int)
    assert isinstance(version, int)
    in_force = rules if isinstance(rules, int) else None
    return IntervalRow(k, str(state), version, bool(dirty), readings, _text(result), _text(handed), in_force)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _packed(boundary: Mapping[str, Reading | None]) -> str:
    return json.dumps(
        {meter: plain(reading) if reading else None for meter, reading in sorted(boundary.items())},
        separators=(",", ":"),
    )


def add_boundary(db: Connection, k: int, boundary: Mapping[str, Reading | None], rules: int | None = None) -> None:
    """The readings at the start of interval `k`, and what is in force then; what stands there already stays."""
    db.execute(
        "INSERT INTO interval (k, state, version, dirty, rules, boundary) VALUES (?, 'provisional', 0, 0, ?, ?) "
        "ON CONFLICT (k) DO NOTHING",
        (k, rules, _packed(boundary)),
    )


def put_boundary(db: Connection, k: int, boundary: Mapping[str, Reading | None]) -> None:
    """Other readings at the start of `k`: their instants were found to lie elsewhere."""
    db.execute("UPDATE interval SET boundary = ? WHERE k = ?", (_packed(boundary), k))


def from_k(db: Connection, k: int) -> list[IntervalRow]:
    """Every row from `k` on, in order."""
    return [_row(row) for row in db.execute(f"SELECT {_COLUMNS} FROM interval WHERE k >= ? ORDER BY k", (k,))]


def get(db: Connection, k: int) -> IntervalRow | None:
    """One quarter hour, None where its start passed unseen."""
    row = db.execute(f"SELECT {_COLUMNS} FROM interval WHERE k = ?", (k,)).fetchone()
    return _row(row) if row else None


def newest(db: Connection) -> int | None:
    """The newest interval whose start is on disk."""
    row = db.execute("SELECT max(k) FROM interval").fetchone()
    return row[0] if row else None


def oldest(db: Connection) -> int | None:
    """The interval with which the house began."""
    row = db.execute("SELECT min(k) FROM interval").fetchone()
    return row[0] if row else None


def newest_settled(db: Connection) -> int | None:
    """The newest interval that has a split."""
    row = db.execute("SELECT k FROM interval WHERE version > 0 ORDER BY k DESC LIMIT 1").fetchone()
    return int(row[0]) if row else None


def unsettled(db: Connection, most: int) -> list[int]:
    """The oldest intervals that have no split yet and whose end is on disk, in order."""
    rows = db.execute(
        "SELECT k FROM interval AS i WHERE version = 0 AND EXISTS (SELECT 1 FROM interval WHERE k = i.k + 1) "
        "ORDER BY k LIMIT ?",
        (most,),
    )
    return [row[0] for row in rows]


def dirty(db: Connection) -> list[int]:
    """Settled intervals that must be looked at again, in order."""
    rows = db.execute("SELECT k FROM interval WHERE dirty = 1 AND version > 0 AND state <> 'closed' ORDER BY k")
    return [row[0] for row in rows]


def mark_dirty(db: Connection, from_k: int, to_k: int) -> None:
    """Something that the split of these intervals rests on has changed; of closed ones that is only noted."""
    span = "k >= ? AND k <= ? AND version > 0"
    db.execute(f"UPDATE interval SET dirty = 1 WHERE {span} AND state <> 'closed'", (from_k, to_k))
    db.execute(f"UPDATE interval SET late = 1 WHERE {span} AND state = 'closed'", (from_k, to_k))


def late(db: Connection) -> list[int]:
    """Closed intervals that something came late for, and that nobody has looked at since."""
    return [row[0] for row in db.execute("SELECT k FROM interval WHERE late = 1 ORDER BY k")]


def late_looked_at(db: Connection, k: int, *, differs: bool) -> None:
    """Whether what came late would change a closed interval."""
    db.execute("UPDATE interval SET late = ? WHERE k = ?", (2 if differs else 0, k))


def named_late(db: Connection, first_k: int, end_k: int) -> list[int]:
    """Closed intervals in [first_k, end_k) that later data would change."""
    rows = db.execute("SELECT k FROM interval WHERE k >= ? AND k < ? AND late = 2 ORDER BY k", (first_k, end_k))
    return [row[0] for row in rows]


def close(db: Connection, first_k: int, end_k: int) -> None:
    """Close [first_k, end_k): nothing changes there from now on."""
    db.execute("UPDATE interval SET state = 'closed', dirty = 0 WHERE k >= ? AND k < ?", (first_k, end_k))


def reopen(db: Connection, first_k: int, end_k: int, rules: int | None) -> None:
    """Open [first_k, end_k) again: each in the state it had, all to be looked at, by `rules` where they are given."""
    db.execute(
        "UPDATE interval SET state = json_extract(result, '$.state'), dirty = 1, late = 0, rules = ifnull(?, rules) "
        "WHERE k >= ? AND k < ? AND state = 'closed'",
        (rules, first_k, end_k),
    )


def states(db: Connection, first_k: int, end_k: int) -> dict[str, int]:
    """How many intervals of [first_k, end_k) are in which state; `unsettled` where there is no split."""
    rows = db.execute(
        "SELECT CASE WHEN version = 0 THEN 'unsettled' ELSE state END, count(*) FROM interval "
        "WHERE k >= ? AND k < ? GROUP BY 1",
        (first_k, end_k),
    )
    return dict(rows.fetchall())


def results(db: Connection, first_k: int, end_k: int) -> Iterator[tuple[int, str]]:
    """(k, split in force) of [first_k, end_k), in order; rows are fetched as they are asked for."""
    yield from db.execute(
        "SELECT k, result FROM interval WHERE k >= ? AND k < ? AND result IS NOT NULL ORDER BY k", (first_k, end_k)
    )


def handed_before(db: Connection, k: int) -> Iterator[tuple[int, str]]:
    """(k, what it received and handed on) of the settled intervals before `k`, newest first, fetched as asked for."""
    yield from db.execute("SELECT k, handed FROM interval WHERE k < ? AND handed IS NOT NULL ORDER BY k DESC", (k,))


def is_closed(db: Connection, first_k: int, last_k: int) -> bool:
    """Whether one of the intervals first_k ... last_k is closed."""
    row = db.execute(
        "SELECT 1 FROM interval WHERE k >= ? AND k <= ? AND state = 'closed' LIMIT 1", (first_k, last_k)
    ).fetchone()
    return row is not None


def clean(db: Connection, k: int) -> None:
    """It was looked at, and nothing changed."""
    db.execute("UPDATE interval SET dirty = 0 WHERE k = ?", (k,))


def settle(db: Connection, k: int, *, state: str, version: int, result: str, handed: str) -> None:
    """The split in force of one interval."""
    db.execute(
        "UPDATE interval SET state = ?, version = ?, dirty = 0, result = ?, handed = ? WHERE k = ?",
        (state, version, result, handed, k),
    )


_TOLD = "told_versions"
"""In `meta`: the newest version of each quarter hour that was told before it came, by its number."""


def withdraw(db: Connection, first_k: int) -> None:
    """Take away the quarter hours from `first_k` on, as they have not come; the versions they were told in are kept."""
    told: dict[str, int] = json.loads(meta.get(db, _TOLD) or "{}")
    rows = db.execute("SELECT k, version FROM interval WHERE k >= ? AND version > 0", (first_k,)).fetchall()
    meta.put(db, _TOLD, json.dumps({**told, **{str(k): version for k, version in rows}}, separators=(",", ":")))
    db.execute("DELETE FROM session_share WHERE k >= ?", (first_k,))
    db.execute("DELETE FROM interval WHERE k >= ?", (first_k,))


def told_before(db: Connection, k: int) -> int:
    """The version in which a quarter hour was told before it came; 0: it was not."""
    told: dict[str, int] = json.loads(meta.get(db, _TOLD) or "{}")
    return told.get(str(k), 0)


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
        "SELECT json_extract(boundary, ?) FROM interval INDEXED BY interval_read "
        f"WHERE instr(boundary, ':{{') > 0 AND json_extract(boundary, ?) IS NOT NULL AND {where} LIMIT 1",
        (path, path, k, end),
    ).fetchone()
    return of_plain(json.loads(row[0])) if row else None


def gap_before(db: Connection, meter: str, k: int) -> int | None:
    """The interval at whose start the meter was last read before `k`, where it was not read at the start of k - 1.

    Where it was at no start, the one in which it was last read and that reading kept; where it was never read, the
    first one that waits for it.
    """
    before = get(db, k - 1)
    if before is None or before.boundary.get(meter) is not None or meter not in before.boundary:
        return None
    path = f'$."{meter}"'
    row = db.execute(
        "SELECT k FROM interval WHERE json_extract(boundary, ?) IS NOT NULL AND k < ? AND k >= ? "
        "ORDER BY k DESC LIMIT 1",
        (path, k, k - MAX_GAP_INTERVALS),
    ).fetchone()
    return int(row[0]) if row else _first_without(db, meter, k)


def _first_without(db: Connection, meter: str, k: int) -> int | None:
    """The first interval that waits for a meter which was read at no start before k - 1; None where it was long ago."""
    row = db.execute(
        "SELECT min(k) FROM interval WHERE json_type(boundary, ?) = 'null' AND k < ? AND k >= ?",
        (f'$."{meter}"', k, k - MAX_GAP_INTERVALS),
    ).fetchone()
    kept = db.execute(
        "SELECT max(requested_ms) FROM kept_reading WHERE meter = ? AND requested_ms < ?",
        (meter, (k - 1) * INTERVAL_MS),
    ).fetchone()
    if row is None or row[0] is None or kept is None or kept[0] is None:
        return row[0] if row is not None else None
    read_k = int(kept[0]) // INTERVAL_MS
    return read_k if read_k >= row[0] else None


_SHARE = "session, k, version, energy_wh, solar_wh, grid_wh, class, state, leg_wh"


def put_shares(db: Connection, k: int, shares: list[ShareRow]) -> None:
    """The shares of all sessions in one interval, in place of the version before."""
    db.execute("DELETE FROM session_share WHERE k = ?", (k,))
    db.executemany(
        f"INSERT INTO session_share ({_SHARE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                one.session,
                one.k,
                one.version,
                one.energy_wh,
                one.solar_wh,
                one.grid_wh,
                one.grid_class,
                one.state,
                one.leg_wh,
            )
            for one in shares
        ],
    )


def shares_of(db: Connection, session: str) -> list[ShareRow]:
    """What one session took, interval by interval."""
    rows = db.execute(
        f"SELECT {_SHARE} FROM session_share WHERE session = ? ORDER BY k",
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
