"""What the plain audit script passes by: gaps and swapped meters, batteries, fixed keys, virtual balance.

An implementation of its own, like the script: nothing of `gateway.energy` is used here, so that one mistake cannot
hide in both. Energy is Wh, the formulas stand in docs/split.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from gateway.export.audit_script import share
from gateway.model import Connection

MILLION = 1_000_000
QUARTER_MS = 900_000
FULL_PERCENT = 99
"""A register may begin again at 0 from this percentage of its range on."""
MOST_W = 100_000
"""More cannot have flowed since the reading before a register began again: it is a reset or another meter."""
REACH = 28 * 96 + 1
"""A gap is bridged over four weeks at most (quarter hours)."""

UNREAD_MS = 1 << 62
"""Of a meter that has not been read yet."""
SPREAD_MS = 60_000
"""The first readings of grid, sun and battery lie at most so long after the first of all; else there is no balance."""

Row = Mapping[str, Any]
"""One reading as the database holds it."""
Count = tuple[int, int | None, list[tuple[str | None, int, int]]]


class Registers:
    """Reads what is kept of a meter around one quarter hour, also where a boundary was missed or the meter swapped."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._gaps: dict[str, tuple[Row, Row]] = {}

    def count(self, k: int, meter: str, low: Row | None, high: Row | None) -> Count | None:
        """Wh in, Wh out, pieces of the register in interval `k`; None where it cannot be known."""
        first, last = low or self._estimated(meter, k), high or self._estimated(meter, k + 1)
        if first is None and self.begins_ms(k, meter, low, high) == UNREAD_MS:
            return 0, 0, []
        first = first or self._first_ever(meter, k, last)
        if first is None or last is None:
            return None
        between = self._between(meter, first["requested_ms"], last["requested_ms"]) if first is not last else []
        chain = [first, *between, last]
        pairs = [(a, b) for a, b in pairwise(chain) if _one_meter(a, b)]
        taken = [_advance(a, b, "import_wh") for a, b in pairs]
        both = all(one.get("export_wh") is not None for one in chain)
        given = [_advance(a, b, "export_wh") for a, b in pairs] if both else []
        if None in taken or None in given:
            return None
        pieces = [piece for a, b in pairs for piece in _pieces(a, b)]
        return sum(filter(None, taken)), sum(filter(None, given)) if both else None, pieces

    def begins_ms(self, k: int, meter: str, low: Row | None, high: Row | None) -> int | None:
        """When a meter was read for the first time ever, where that was in `k`; UNREAD_MS where it had not been yet."""
        if low is not None or self._nearest(meter, k, "<", "DESC") is not None:
            return None
        first = self._first_ever(meter, k, high or self._estimated(meter, k + 1))
        return int(first["requested_ms"]) if first is not None else UNREAD_MS

    def _first_ever(self, meter: str, k: int, last: Row | None) -> Row | None:
        """The first reading of `k`, of a meter that was never read before it."""
        if self._nearest(meter, k, "<", "DESC") is not None:
            return None
        until_ms = last["requested_ms"] if last is not None else (k + 1) * QUARTER_MS
        return next(iter(self._between(meter, k * QUARTER_MS, until_ms)), last)

    def _between(self, meter: str, from_ms: int, to_ms: int) -> list[Row]:
        rows = self._db.execute(
            "SELECT reading FROM kept_reading WHERE meter = ? AND requested_ms >= ? AND requested_ms < ? "
            "ORDER BY requested_ms, id",
            (meter, from_ms, to_ms),
        )
        return [json.loads(row[0]) for row in rows]

    def _estimated(self, meter: str, k: int) -> Row | None:
        """The boundary that was missed, on the straight line between the readings on both sides."""
        at_ms = k * QUARTER_MS
        gap = self._around(meter, k)
        if gap is None or not _one_meter(*gap):
            return None
        before, after = gap
        span_ms = after["requested_ms"] - before["requested_ms"]
        if span_ms <= 0:
            return None
        estimate = {"requested_ms": at_ms, **{name: before.get(name) for name in ("serial", "range_wh")}}
        for name in ("import_wh", "export_wh"):
            one, other = before.get(name), after.get(name)
            if one is None:
                continue
            flowed = _advance(before, after, name) if other is not None else None
            if other is None or flowed is None:
                return None
            value = one + flowed * (at_ms - before["requested_ms"]) // span_ms
            estimate[name] = value % before["range_wh"] if other < one else value
        return estimate

    def _around(self, meter: str, k: int) -> tuple[Row, Row] | None:
        """The readings on both sides of a missed boundary; those of a long gap are asked for once."""
        known = self._gaps.get(meter)
        if known and known[0]["requested_ms"] < k * QUARTER_MS <= known[1]["requested_ms"]:
            return known
        before, after = self._nearest(meter, k, "<", "DESC"), self._nearest(meter, k, ">=", "ASC")
        if before is None or after is None:
            return None
        self._gaps[meter] = (before, after)
        return before, after

    def _nearest(self, meter: str, k: int, compare: str, order: str) -> Row | None:
        kept = self._db.execute(
            f"SELECT reading FROM kept_reading WHERE meter = ? AND requested_ms {compare} ? "
            f"ORDER BY requested_ms {order}, id {order} LIMIT 1",
            (meter, k * QUARTER_MS),
        ).fetchone()
        path = f'$."{meter}"'
        boundary = self._db.execute(
            "SELECT json_extract(boundary, ?) FROM interval WHERE json_extract(boundary, ?) IS NOT NULL "
            f"AND k {compare} ? AND k BETWEEN ? AND ? ORDER BY k {order} LIMIT 1",
            (path, path, k, k - REACH, k + REACH),
        ).fetchone()
        rows: list[Row] = [json.loads(row[0]) for row in (kept, boundary) if row]
        nearest = max if order == "DESC" else min
        return nearest(rows, key=lambda row: int(row["requested_ms"]), default=None)


def _one_meter(one: Row, other: Row) -> bool:
    same = None in (one.get("serial"), other.get("serial")) or one["serial"] == other["serial"]
    return same and not other.get("new_level", False)


def _advance(one: Row, other: Row, name: str) -> int | None:
    """What flowed between two readings, Wh; None where the register went back. One that is full begins again at 0."""
    low, high = int(one[name]), int(other[name])
    if high >= low:
        return high - low
    full = one.get("range_wh")
    if full is None or not full * FULL_PERCENT < low * 100 <= full * 100:
        return None
    flowed = (high - low) % full
    possible = MOST_W * (other["requested_ms"] - one["requested_ms"]) // 3_600_000
    return flowed if flowed <= possible else None


def _pieces(one: Row, other: Row) -> list[tuple[str | None, int, int]]:
    serial, low, high = one.get("serial"), one["import_wh"], other["import_wh"]
    if high >= low:
        return [(serial, low, high)]
    return [(serial, low, one["range_wh"]), (serial, 0, high)]


def balance(house: Mapping[str, Any], counts: Mapping[str, Count], tanks: list[int]) -> tuple[Any, ...]:
    """The balance of any house: by its grid meter with or without a battery, or by the participants alone."""
    if house["balance"] == "virtual" or house["grid"] is None:
        return _virtual(house, counts, tanks)
    return _at_the_grid(house, counts, tanks)


def _made(house: Mapping[str, Any], counts: Mapping[str, Count]) -> int:
    given = (counts[one] for one in house["production"])
    return sum(one[0] if one[1] is None else one[1] for one in given)


def _at_the_grid(house: Mapping[str, Any], counts: Mapping[str, Count], tanks: list[int]) -> tuple[Any, ...]:
    """The sun serves the load, then the battery, then the grid.

    What the battery holds is kept by origin, [of the sun, of the grid]; what leaves it leaves in proportion.
    """
    bought, sold, made = counts[house["grid"]][0], counts[house["grid"]][1] or 0, _made(house, counts)
    filled = sum(counts[one][0] for one in house["battery"])
    drawn = sum(counts[one][1] or 0 for one in house["battery"])
    used = bought + made + drawn - sold - filled
    load = max(0, used)
    sold_stored = min(drawn, max(0, sold - max(0, made - load)))
    sold_sun = min(made, sold - sold_stored)
    sun_load = min(made - sold_sun, load)
    sun_stored = min(made - sold_sun - sun_load, filled)
    grid_stored = min(bought, filled - sun_stored)
    through = min(filled - sun_stored - grid_stored, drawn - sold_stored)  # in and out within the quarter hour
    stored_load = min(drawn - sold_stored - through, load - sun_load)
    held = {"solar": tanks[0] + sun_stored, "grid": tanks[1] + grid_stored}
    leaves = stored_load + sold_stored
    out = share(min(leaves, sum(held.values())), held)[0]
    stored_sun = share(stored_load, {"solar": out["solar"], "grid": leaves - out["solar"]})[0]["solar"]
    left = [held["solar"] - out["solar"], held["grid"] - out["grid"]]
    return bought, sold, made, used, sun_load + stored_sun, sun_load + sold_sun + stored_sun, left


def _virtual(house: Mapping[str, Any], counts: Mapping[str, Count], tanks: list[int]) -> tuple[Any, ...]:
    """As if the participants alone were behind the grid meter."""
    own = sum(counts[one][0] for meters in house["metered"].values() for one in meters)
    made = _made(house, counts)
    return max(0, own - made), max(0, made - own), made, own, min(own, made), made, tanks


def key_of(
    house: Mapping[str, Any], sun: int, pool: int, used: Mapping[str, int], carry: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """The sun by any key of a house, and the carry after it."""
    if house["key"]["kind"] == "dynamic":
        return share(min(sun, sum(used.values())), used, carry)
    return _fixed_key(house["key"], sun, pool, used, carry)


def _fixed_key(
    agreed: Mapping[str, Any], sun: int, pool: int, used: Mapping[str, int], carry: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """A static or equal key: everybody's part of all the sun there was, as far as they use it; the rest is sold."""
    if agreed["kind"] == "static":
        parts = {who: agreed["parts"].get(who, 0) for who in used}
        parts[""] = max(0, MILLION - sum(parts.values()))
    else:
        parts = dict.fromkeys(used, 1)
    pool = max(pool, sun)
    entitled, after = share(pool, parts, carry, {who: pool if part else 0 for who, part in parts.items()})
    given = {who: min(entitled[who], wh) for who, wh in used.items()}
    if sum(given.values()) > sun:  # bought and sold in one quarter hour: less was used than the parts say
        given = share(sun, given)[0]
    return given, {who: after[who] for who in used}
