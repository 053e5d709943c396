"""Recomputes the split of each quarter hour from the registers, and says what differs: python3 audit.py billing.db

Plain on purpose, and without any part of the gateway: read it, beside docs/audit.md. A quarter hour that needs more (a
battery, a fixed key, virtual balance, a missed boundary, a swapped meter) is passed by and counted; `zev-gateway audit`
recomputes those too. Exit code: 0 all agrees, 1 something differs.
"""

import json
import sqlite3
import sys
from typing import Any

QUARTERS = """SELECT this.k, this.boundary, next.boundary, this.result, this.handed, body FROM interval AS this
JOIN interval AS next ON next.k = this.k + 1 JOIN rules ON rules.id = this.rules
WHERE this.result IS NOT NULL AND this.k BETWEEN ? AND ? ORDER BY this.k"""
SESSIONS = """SELECT s.id, ifnull(d.begin_wh, s.begin_wh), coalesce(d.end_wh, s.end_wh, 1 << 60) FROM session AS s
LEFT JOIN (SELECT *, max(version) FROM decision GROUP BY session) AS d ON d.session = s.id AND basis = 'meter'
WHERE s.meter = ?1 AND begin_ms <= ?2 + 960000 AND ifnull(end_ms, ?2) >= ?2 - 60000
AND (d.bill = 1 OR begin_provenance = 'meter' AND (billable = 1 OR state <> 'ended'))"""


def share(total: int, weights: Any, carry: Any = (), caps: Any = None) -> tuple[dict[str, int], dict[str, int]]:
    """`total` Wh by the largest remainder, in proportion to the weights; what rounding leaves is carried (nano-Wh)."""
    carry, caps, whole = dict(carry), caps or weights, sum(weights.values()) or 1
    exact = {who: total * weight * 10**9 // whole + carry.get(who, 0) for who, weight in weights.items()}
    given = {who: min(max(exact[who] // 10**9, 0), caps[who]) for who in weights}
    while rest := total - sum(given.values()):
        step = 1 if rest > 0 else -1
        may = [who for who in weights if (given[who] < caps[who] if step > 0 else given[who] > 0)]
        given[min(may, key=lambda who: (step * (given[who] * 10**9 - exact[who]), who))] += step
    return given, {who: exact[who] - given[who] * 10**9 for who in weights}


def recompute(db: Any, k: int, house: Any, low: Any, high: Any, said: Any, carry: Any) -> Any:
    """What the gateway says of one quarter hour, and what the registers say: {what: (stated, recomputed)}."""
    took = {meter: high[meter]["import_wh"] - low[meter]["import_wh"] for meter in low}
    gave = {meter: high[meter]["export_wh"] - low[meter]["export_wh"] for meter in low if "export_wh" in low[meter]}
    made = sum(gave.get(meter, took[meter]) for meter in house["production"])
    sold = gave.get(house["grid"], 0)
    use = took[house["grid"]] + made - sold
    sun = min(max(0, made - sold), max(0, use))  # made and not sold
    used = {who: sum(took[meter] for meter in meters) for who, meters in house["metered"].items()}
    rest = use - sum(used.values()) - said["imbalance_wh"]  # what is nobody's is stated, and below 0 or over a ceiling
    used[house["common"]] = used.get(house["common"], 0) + rest
    given, after = share(min(sun, sum(used.values())), used, carry)
    pairs = {"use and sun": ([said["consumption_wh"], said["solar_wh"]], [use, sun])}
    for one in said["shares"]:
        who, stated = one["participant"], [one["wh"], one["solar_wh"], one["carry_after_nano_wh"]]
        pairs[f"share of {who}"] = (stated, [used.get(who), given.get(who), after.get(who)])
    sessions = {f"session {one['session']}": one for one in said["sessions"]}
    for who, meters in house["metered"].items():
        parts = {meter: took[meter] for meter in meters if meter not in house["charger_meters"]}
        parts |= {f"{one['name']} at {one['meter']}": one["wh"] for one in said["outside"] if one["meter"] in meters}
        for meter in set(meters) & set(house["charger_meters"]):
            for name, begin, end in db.execute(SESSIONS, (meter, k * 900_000)):
                inside = min(end, high[meter]["import_wh"]) - max(begin, low[meter]["import_wh"])
                parts |= {f"session {name}": inside} if inside > 0 else {}
        pairs[f"meters of {who}"] = (sum(parts.values()), sum(took[meter] for meter in meters))
        suns = share(min(given[who], sum(parts.values())), parts)[0]
        for name, one in sessions.items():
            if one["participant"] == who:
                pairs[name] = ([one["wh"], one["solar_wh"]], [parts.get(name), suns.get(name)])
    return pairs


def differences(db: Any, first: int = 0, last: int = 10**9) -> Any:
    """Each (quarter hour, what, stated, recomputed) that differs; what is None where this script passes by."""
    for k, *texts in db.execute(QUARTERS, (first, last)):
        low, high, said, handed, rules = (json.loads(text) for text in texts)
        house = rules["house"]
        plain = house["key"]["kind"] == "dynamic" and house["balance"] == "meter" and house["grid"]
        for one, other in ((low[meter], high.get(meter)) for meter in low):
            plain = plain and one and other and one.get("serial") == other.get("serial") and not house["battery"]
            plain = plain and all(one.get(name, 0) <= other.get(name, 0) for name in ("import_wh", "export_wh"))
        pairs = recompute(db, k, house, low, high, said, handed["carry_before"]) if plain else {None: (0, 1)}
        yield from ((k, what, *pair) for what, pair in pairs.items() if pair[0] != pair[1])


def main(path: str) -> int:
    """Print what differs; the exit code."""
    found = list(differences(sqlite3.connect(f"file:{path}?mode=ro", uri=True)))
    wrong = [f"quarter hour {k}: {what}: stated {said}, recomputed {right}" for k, what, said, right in found if what]
    print(*wrong, f"{len(wrong)} differences, {len(found) - len(wrong)} quarter hours passed by", sep="\n")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
