"""What the audit checks beside the split itself: classes, periods, the community's share, the sums of the sessions.

An implementation of its own, from the kept rules and series: nothing of `gateway.energy` is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from gateway.export.audit_script import share
from gateway.model import INTERVAL_S, Connection

SUNDAY = 6
LEG = "leg/"
"""How a participant's rounding rest of the community's energy is named."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not what the registers say. `where` is a quarter hour (UTC) or a session."""

    where: str
    what: str
    stated: Any
    recomputed: Any


def start_of(k: int) -> str:
    """The begin of a quarter hour, UTC."""
    return datetime.fromtimestamp(k * INTERVAL_S, UTC).strftime("%Y-%m-%dT%H:%MZ")


def check_quarters(db: Connection, first: int, last: int) -> Iterator[list[Difference]]:
    """Quarter hour by quarter hour: what is wrong beside the split."""
    rules = {number: json.loads(body) for number, body in db.execute("SELECT id, body FROM rules").fetchall()}
    rows = db.execute(
        "SELECT k, result, handed, rules FROM interval WHERE version > 0 AND k BETWEEN ? AND ? ORDER BY k",
        (first, last),
    )
    for k, result, handed, number in rows:
        body, carry = json.loads(result), json.loads(handed)["carry_before"]
        found = list(_kept_shares(db, k, body))
        if body["consumption_wh"] is None:
            found += _without_balance(k, body)
        if number in rules:
            found += _by_the_rules(db, k, body, carry, rules[number])
        yield found


def _by_the_rules(
    db: Connection, k: int, body: Mapping[str, Any], carry: Mapping[str, int], rules: Mapping[str, Any]
) -> Iterator[Difference]:
    local = datetime.fromtimestamp(k * INTERVAL_S, ZoneInfo(rules["timezone"]))
    expected = _class(db, k, rules["tariff"], local)
    if body["tariff_class"] != expected:
        yield Difference(start_of(k), "class", body["tariff_class"], expected)
    carried = {who: nano for who, nano in carry.items() if nano}
    if carried and _begins_period(rules["period"], local):
        yield Difference(start_of(k), "carry at the begin of a period", carried, {})
    if rules["community"] and body["leg_wh"] is not None and body["consumption_wh"] is not None:
        yield from _community(db, k, body, carry)


def _kept_shares(db: Connection, k: int, body: Mapping[str, Any]) -> Iterator[Difference]:
    """The shares as the sessions have them are those of the quarter hour, each in its class."""
    rows = db.execute("SELECT session, energy_wh, solar_wh, grid_wh, class FROM session_share WHERE k = ?", (k,))
    kept = {row[0]: list(row[1:]) for row in rows}
    told = {
        one["session"]: [one["wh"], one["solar_wh"], one["grid_wh"], body["tariff_class"]] for one in body["sessions"]
    }
    if kept != told:
        yield Difference(start_of(k), "shares of the sessions", kept, told)
    for one in (*body["shares"], *body["sessions"]):
        if one["solar_wh"] + one["grid_wh"] != one["wh"]:
            who = one.get("session") or one["participant"]
            yield Difference(start_of(k), f"sun and grid of {who}", one["solar_wh"] + one["grid_wh"], one["wh"])


def _without_balance(k: int, body: Mapping[str, Any]) -> Iterator[Difference]:
    """Without a balance nobody may be given the sun."""
    given = sum(one["solar_wh"] for one in (*body["shares"], *body["sessions"], *body["outside"]))
    if given:
        yield Difference(start_of(k), "sun without a balance", given, 0)


def _class(db: Connection, k: int, tariff: Mapping[str, Any], local: datetime) -> str:
    """The class at a local time: of the price series where the tariff has one, else of its calendar."""
    today = local.date().isoformat()
    begun = [one for one in tariff["successors"] if one["valid_from"] is not None and one["valid_from"] <= today]
    valid = max(begun, key=lambda one: str(one["valid_from"])) if begun else tariff
    if valid["dynamic"]:
        row = db.execute("SELECT value FROM imported WHERE series = 'price' AND k = ?", (k,)).fetchone()
        if row:
            return str(row[0])
    weekday = SUNDAY if today in valid["holidays"] else local.weekday()
    quarter, date = local.hour * 4 + local.minute // 15, local.month * 100 + local.day
    for window in valid["windows"]:
        in_time = window["start_quarter"] <= quarter < window["end_quarter"] and weekday in window["weekdays"]
        if in_time and _in_season(window["season"], date):
            return str(window["name"])
    return str(valid["default"])


def _in_season(season: list[int] | None, date: int) -> bool:
    if season is None:
        return True
    first, last = season
    inside = min(first, last) < date < max(first, last) or date in (first, last)
    return inside if first <= last else not inside or date in (first, last)


def _begins_period(period: str, local: datetime) -> bool:
    midnight = (local.day, local.hour, local.minute) == (1, 0, 0)
    months = {"month": range(1, 13), "quarter": (1, 4, 7, 10), "year": (1,)}[period]
    return midnight and local.month in months


def _community(db: Connection, k: int, body: Mapping[str, Any], carry: Mapping[str, int]) -> Iterator[Difference]:
    """The second stage: what the community gave, over what each still took from the grid."""
    row = db.execute("SELECT value FROM imported WHERE series = 'leg' AND k = ?", (k,)).fetchone()
    given = int(row[0]) if row else 0
    grid = {one["participant"]: one["grid_wh"] for one in body["shares"]}
    used = min(max(given, 0), sum(grid.values()))
    own = {who.removeprefix(LEG): nano for who, nano in carry.items() if who.startswith(LEG)}
    shared, after = share(used, grid, own)
    recomputed = {who: [shared[who], after[who]] for who in grid}
    stated = {one["participant"]: [one["leg_wh"], one["leg_carry_after_nano_wh"]] for one in body["shares"]}
    if [body["leg_wh"], body["leg_unallocated_wh"]] != [given, given - used]:
        totals = [body["leg_wh"], body["leg_unallocated_wh"]]
        yield Difference(start_of(k), "given by the community", totals, [given, given - used])
    if stated != recomputed:
        yield Difference(start_of(k), "shares of the community's energy", stated, recomputed)
    for who in grid:
        of_sessions = sum(one["leg_wh"] for one in body["sessions"] if one["participant"] == who)
        if of_sessions > shared[who]:
            yield Difference(start_of(k), f"community's energy of the sessions of {who}", of_sessions, shared[who])


def check_sessions(db: Connection, first: int, last: int) -> tuple[int, list[Difference]]:
    """I6: energy = end register - begin register = solar + classes = the sum of its quarter hours."""
    found: list[Difference] = []
    rows = db.execute(
        "SELECT s.id, CASE WHEN s.billable = 1 THEN s.end_wh - s.begin_wh WHEN d.bill = 1 THEN d.end_wh - d.begin_wh "
        "ELSE 0 END, s.split, (SELECT ifnull(sum(energy_wh), 0) FROM session_share WHERE session = s.id), "
        "(SELECT ifnull(sum(solar_wh), 0) FROM session_share WHERE session = s.id) "
        "FROM session AS s LEFT JOIN decision AS d ON d.session = s.id "
        "AND d.version = (SELECT max(version) FROM decision WHERE session = s.id) "
        "WHERE s.split IS NOT NULL AND s.begin_ms >= ? AND s.end_ms < ? ORDER BY s.id",
        (first * INTERVAL_S * 1000, (last + 1) * INTERVAL_S * 1000),
    ).fetchall()
    for session, energy_wh, text, quarters_wh, solar_wh in rows:
        split = json.loads(text)
        classes_wh = sum(split["classes_wh"].values())
        stated = [split["energy_wh"], split["solar_wh"], split["solar_wh"] + classes_wh, quarters_wh]
        right = [energy_wh, solar_wh, energy_wh, energy_wh]
        if stated != right:
            what = "energy, solar, solar and classes, quarter hours (Wh)"
            found.append(Difference(f"session {session}", what, stated, right))
    return len(rows), found
