"""The audit of any quarter hour: what the plain script recomputes, and all that it passes by; what differs, by name.

An implementation of its own, like the script: nothing of `gateway.energy` is used, so that one mistake cannot hide in
both. What a house needs beside its registers - the energy between two boundaries, the balance, the key - is handed in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from gateway.export.audit_script import share
from gateway.export.audit_special import QUARTER_MS, SPREAD_MS, UNREAD_MS, Registers, balance, key_of
from gateway.model import Connection

FACTS = ("import_wh", "export_wh", "production_wh", "consumption_wh", "solar_wh", "unallocated_wh", "imbalance_wh")
SHARE = ("wh", "solar_wh", "carry_before_nano_wh", "carry_after_nano_wh")
QUARTERS = """SELECT k, boundary, result, handed, (SELECT body FROM rules WHERE id = interval.rules) FROM interval
WHERE k BETWEEN ? AND ? ORDER BY k"""
SESSIONS = """SELECT meter, begin_ms / 900000 - 1, ifnull(end_ms, ?) / 900000 + 1, s.id, meter_serial,
ifnull(d.begin_wh, s.begin_wh), coalesce(d.end_wh, s.end_wh, 1 << 60) FROM session AS s LEFT JOIN decision AS d
ON d.session = s.id AND d.basis = 'meter' AND d.version = (SELECT max(version) FROM decision WHERE session = s.id)
WHERE d.bill = 1 OR (begin_provenance = 'meter' AND (billable = 1 OR state <> 'ended'))"""


def inside(pieces: Any, serial: str | None, begin: int, end: int) -> int:
    """What a session took of a register: as far as it lies between the session's own begin and end register."""
    mine = [(low, high) for number, low, high in pieces if None in (number, serial) or number == serial]
    return sum(max(0, min(high, end) - max(low, begin)) for low, high in mine)


def settle(house: Any, counts: Any, sessions: Any, outside: Any, carry: Any, flows: Any) -> Any:
    """One quarter hour: everything that the gateway must have come to, by name, and the carry after it."""
    *amounts, use, sun, pool, tanks = flows
    used = {who: sum(counts[meter][0] for meter in meters) for who, meters in house["metered"].items()}
    rest, most = use - sum(used.values()), house["common_ceiling_wh"]
    common = 0 if house["balance"] == "virtual" or house["common"] in used else max(0, rest)
    common = common if most is None else min(common, most)
    used[house["common"]] = used.get(house["common"], 0) + common
    given, after = key_of(house, sun, pool, used, carry)
    found: Any = dict(zip(FACTS, (*amounts, use, sun, sun - sum(given.values()), rest - common), strict=True))
    found |= {f"share of {who}": [used[who], given[who], carry.get(who, 0), after[who]] for who in used}
    for who, meters in house["metered"].items():
        parts: dict[str, int] = {}
        for meter in meters:
            took = {f"session {name}": inside(counts[meter][2], *cut) for name, *cut in sessions[meter]}
            beside = max(0, counts[meter][0] - sum(took.values()))
            named = outside[meter] if meter in house["charger_meters"] else {f"meter {meter}": beside}
            found |= {f"beside the sessions on {meter}": beside} if sum(named.values()) != beside else {}
            parts |= took | named
        sun_of = share(min(given[who], sum(parts.values())), parts)[0]
        found |= {name: [wh, sun_of[name]] for name, wh in parts.items() if wh and not name.startswith("meter ")}
    return found | {"carry handed on": {**carry, **after}, "battery handed on": list(tanks)}


def stated(said: Any, handed: Any) -> Any:
    """What the gateway says of one quarter hour, by the same names."""
    values = {name: said[name] for name in FACTS} | {"battery handed on": handed["tanks_after"]}
    values["carry handed on"] = {who: nano for who, nano in handed["carry_after"].items() if "/" not in who}
    values |= {f"share of {one['participant']}": [one[name] for name in SHARE] for one in said["shares"]}
    values |= {f"session {one['session']}": [one["wh"], one["solar_wh"]] for one in said["sessions"]}
    return values | {f"outside {one['meter']} {one['name']}": [one["wh"], one["solar_wh"]] for one in said["outside"]}


def walk(db: Connection, first: int, last: int) -> Iterator[tuple[int, str, Any, Any]]:
    """Yield (quarter hour, what, stated, recomputed) for all that differs; both None: neither knows it."""
    sessions = _sessions(db, first, last)
    registers = Registers(db)
    row: Any = (0, {}, None, {}, None)
    link: dict[str, int] = {}
    for k, *texts in db.execute(QUARTERS, (first, last + 1)):
        (then, low, said, handed, rules), row = row, (k, *(json.loads(text or "null") for text in texts))
        link, due = {}, link
        if not said or k != then + 1:
            continue
        house, values = rules["house"], stated(said, handed)
        carry = {who: nano for who, nano in handed["carry_before"].items() if "/" not in who}
        counts = {meter: registers.count(then, meter, low.get(meter), row[1].get(meter)) for meter in meters_of(house)}
        known = {meter: one for meter, one in counts.items() if one is not None}
        begins = {meter: registers.begins_ms(then, meter, low.get(meter), row[1].get(meter)) for meter in counts}
        known = known if can_begin(house, begins) else {}
        if len(known) < len(counts):
            yield then, "quarter hour", said["consumption_wh"], None
        else:
            flows = balance(house, known, handed["tanks_before"])
            found = settle(house, known, sessions.pop(then, defaultdict(list)), _outside(said), carry, flows)
            wrong = [what for what in sorted(found.keys() | values.keys()) if found.get(what) != values.get(what)]
            yield from ((then, what, values.get(what), found.get(what, "nothing")) for what in wrong)
        expected = {who: due.get(who, 0) + handed["adjustment"].get(who, 0) for who in carry} if due else carry
        if expected != carry and any(carry.values()):  # each billing period begins with 0
            yield then, "carry received", carry, expected
        link = values["carry handed on"] if said["version"] == 1 else {}  # for corrections see docs/audit.md


def can_begin(house: Any, begins: Any) -> bool:
    """Whether a balance can be drawn up where meters were read for the first time: all of them, grid and sun in time.

    None in `begins`: the meter was read before.
    """
    if UNREAD_MS not in (fresh := set(begins.values())):
        first = 0 if None in fresh else min(fresh, default=0)
        own = {meter for meters in house["metered"].values() for meter in meters}
        return all((begins[meter] or 0) - first <= SPREAD_MS for meter in begins.keys() - own)
    return fresh == {UNREAD_MS}  # before the very first reading nothing is metered, and nothing is missing


def meters_of(house: Any) -> set[str]:
    """Every meter that the split needs."""
    own = (meter for meters in house["metered"].values() for meter in meters)
    grid = {house["grid"]} if house["balance"] == "meter" and house["grid"] else set()
    return {*house["production"], *house["battery"], *own, *grid}


def _outside(said: Any) -> Any:
    """What flowed beside the sessions, by meter and name."""
    found: Any = defaultdict(dict)
    for one in said["outside"]:
        found[one["meter"]][f"outside {one['meter']} {one['name']}"] = one["wh"]
    return found


def _sessions(db: Connection, first: int, last: int) -> Any:
    """(id, serial, begin, end register) of the sessions by the quarter hours and meters that they may touch."""
    found: Any = defaultdict(lambda: defaultdict(list))
    for meter, from_k, to_k, *session in db.execute(SESSIONS, (last * QUARTER_MS,)):
        for k in range(max(from_k, first), min(to_k, last) + 1):
            found[k][meter].append(session)
    return found
