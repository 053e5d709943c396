"""Recomputes every quarter hour of a gateway's database from the registers of its meters, and says what differs.

    python3 audit.py billing.db HOUSE.json

Plain on purpose, and without any part of the gateway: read it, beside docs/audit.md. HOUSE.json says which meter plays
which part (`zev-gateway audit --house` prints it). What a plain house lacks - a battery, a fixed key, virtual balance, a
boundary that was not read - `zev-gateway audit` hands in; alone, this passes by. Exit: 0 agrees, 1 something differs.
"""

import json
import sqlite3
import sys
from collections import defaultdict
from itertools import pairwise

NANO, QUARTER_MS, MINUTE_MS = 10**9, 900_000, 60_000
FACTS = ("import_wh", "export_wh", "production_wh", "consumption_wh", "solar_wh", "unallocated_wh", "imbalance_wh")


def share(total, weights, carry=(), caps=None):
    """`total` Wh in proportion to the weights, by the largest remainder; what rounding leaves is carried in nano-Wh."""
    carry, caps, whole = dict(carry), caps or weights, sum(weights.values()) or 1
    exact = {who: total * weight * NANO // whole + carry.get(who, 0) for who, weight in weights.items()}
    given = {who: min(max(exact[who] // NANO, 0), caps[who]) for who in weights}
    while rest := total - sum(given.values()):
        step = 1 if rest > 0 else -1
        may = [who for who in weights if (given[who] < caps[who] if step > 0 else given[who] > 0)]
        given[min(may, key=lambda who: (step * (given[who] * NANO - exact[who]), who))] += step
    return given, {who: exact[who] - given[who] * NANO for who in weights}


def count(k, meter, low, high):
    """Wh in, Wh out and the pieces (serial, low, high) of a meter's register; None where this script passes by."""
    if not low or not high or low.get("serial") != high.get("serial") or low["import_wh"] > high["import_wh"]:
        return None
    out = high["export_wh"] - low["export_wh"] if "export_wh" in low and "export_wh" in high else None
    return high["import_wh"] - low["import_wh"], out, [(low.get("serial"), low["import_wh"], high["import_wh"])]


def balance(house, counts, tanks):
    """Import, export, production, use; the sun in the use (made and not sold) and the sun to share; the battery."""
    made = sum(counts[one][0] if counts[one][1] is None else counts[one][1] for one in house["production"])
    bought, sold = counts[house["grid"]][0], counts[house["grid"]][1] or 0
    used = bought + made - sold
    return bought, sold, made, used, min(max(0, made - sold), max(0, used)), made, tanks


def by_use(house, sun, pool, used, carry):
    """The dynamic key: in proportion to what everybody used in this quarter hour."""
    return share(min(sun, sum(used.values())), used, carry)


def settle(house, counts, sessions, said, carry, tanks, balance, key):
    """One quarter hour: everything that the gateway must have come to, by name."""
    bought, sold, made, use, sun, pool, tanks = balance(house, counts, tanks)
    used = {who: sum(counts[meter][0] for meter in meters) for who, meters in house["metered"].items()}
    rest, most = use - sum(used.values()), house["common_ceiling_wh"]
    nobody = rest if house["balance"] == "virtual" or house["common"] in used else min(0, rest)
    nobody = nobody if most is None else max(nobody, rest - most)
    used[house["common"]] = used.get(house["common"], 0) + rest - nobody
    given, after = key(house, sun, pool, used, carry)
    found = dict(zip(FACTS, (bought, sold, made, use, sun, sun - sum(given.values()), nobody), strict=True))
    found |= {f"share of {who}": [used[who], given[who], carry.get(who, 0), after[who]] for who in used}
    for who, meters in house["metered"].items():
        parts = {}
        for meter in meters:
            took = {f"meter {meter}": counts[meter][0]}
            if meter in house["charger_meters"]:
                for name, serial, begin, end in sessions[meter]:
                    pieces = [(low, high) for number, low, high in counts[meter][2] if None in (number, serial) or number == serial]
