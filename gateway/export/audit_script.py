"""Recomputes every quarter hour of a gateway's database from the registers of its meters, and says what differs.

    python3 audit.py billing.db HOUSE.json

Plain on purpose, and without any part of the gateway: read it, beside docs/audit.md. HOUSE.json says which meter plays
which part; `zev-gateway audit --house` prints it. Exit codes: 0 everything agrees, 1 something differs, 2 bad input.
"""

import json
import sqlite3
import sys
from collections import defaultdict

NANO, QUARTER_MS, STANDBY_WH = 10**9, 900_000, 25


def share(total, weights, carry=(), caps=None):
    """`total` Wh in proportion to the weights, by the largest remainder; what rounding leaves is carried in nano-Wh."""
    carry, caps, whole = dict(carry), weights if caps is None else caps, sum(weights.values()) or 1
    exact = {who: total * weight * NANO // whole + carry.get(who, 0) for who, weight in weights.items()}
    given = {who: min(max(exact[who] // NANO, 0), caps[who]) for who in weights}
    while rest := total - sum(given.values()):
        step = 1 if rest > 0 else -1
        may = [who for who in weights if (given[who] < caps[who] if step > 0 else given[who] > 0)]
        given[min(may, key=lambda who: (step * (given[who] * NANO - exact[who]), who))] += step
    return given, {who: exact[who] - given[who] * NANO for who in weights}


def counted(chain):
    """Wh in, Wh out and the pieces of the register along a meter's readings; a new serial starts anew."""
    same = [(a, b) for a, b in zip(chain, chain[1:]) if len({a.get("serial"), b.get("serial")} - {None}) < 2]
    out = sum(b["export_wh"] - a["export_wh"] for a, b in same) if all("export_wh" in one for one in chain) else None
    pieces = [(a.get("serial"), a["import_wh"], b["import_wh"]) for a, b in same]
    return sum(high - low for _, low, high in pieces), out, pieces


def sources(bought, sold, sun, filled, drawn, tanks):
    """Consumption; the sun in it; the sun there was to share; what the battery then holds (of the sun, of the grid)."""
    load = max(0, used := bought + sun + drawn - sold - filled)
    sold_battery = min(drawn, max(0, sold - (sun - min(sun, load))))
    sold_sun = min(sun, sold - sold_battery)
    sun_load = min(sun - sold_sun, load)
    sun_filled = min(sun - sold_sun - sun_load, filled)
    grid_filled = min(bought, filled - sun_filled)
    through = min(filled - sun_filled - grid_filled, drawn - sold_battery)  # in and out within one quarter hour
    battery_load = min(drawn - sold_battery - through, load - sun_load)
    tank, gone = {"solar": tanks[0] + sun_filled, "grid": tanks[1] + grid_filled}, battery_load + sold_battery
    out = share(min(gone, sum(tank.values())), tank)[0]
    battery_sun = share(battery_load, {"solar": out["solar"], "grid": gone - out["solar"]})[0]["solar"]
    left = [tank["solar"] - out["solar"], tank["grid"] - out["grid"]]
    return used, sun_load + battery_sun, sun_load + sold_sun + battery_sun, left


def give(house, sun, pool, used, carry):
    """The sun by participant (Wh), and the carry, by the key of the house."""
    if house["key"] == "dynamic":
        return share(min(sun, sum(used.values())), used, carry)
    parts = {who: house["parts"].get(who, 0) if house["key"] == "static" else 1 for who in used}
    if house["key"] == "static":
        parts[""] = max(0, 10**6 - sum(parts.values()))  # what the key gives to nobody is sold
    pool = max(pool, sun)
    entitled, after = share(pool, parts, carry, {who: pool if part else 0 for who, part in parts.items()})
    given = {who: min(entitled[who], wh) for who, wh in used.items()}
    return given if sum(given.values()) <= sun else share(sun, given)[0], {who: after[who] for who in used}


def on_meter(meter, count, sessions, estimated):
    """What the sessions on one charger meter took, and what it counted beside them, by name."""
    took = dict.fromkeys([(name, billable) for name, billable, *_ in sessions], 0)
    for name, billable, number, begin, end in sessions:
        for serial, low, high in count[2]:
            if len({number, serial} - {None}) < 2:
                till = high if end is None else min(max(end, low), high)
                took[name, billable] += max(0, till - min(max(begin, low), high))
    found = {f"session {name}": wh for (name, billable), wh in took.items() if billable and wh}
    beside = max(0, count[0] - sum(found.values()))
    free = min(beside, sum(wh for (_, billable), wh in took.items() if not billable))
    quiet = estimated or beside - free <= STANDBY_WH
    named = {"free_charging": free if quiet else beside, "gap" if estimated else "standby": beside - free if quiet else 0}
    return found | {f"outside {meter} {name}": wh for name, wh in named.items() if wh}


def settle(house, counts, estimated, sessions, carry, tanks):
    """One quarter hour: {name: value} of everything that the gateway must have come to."""
    own = {who: sum(counts[meter][0] for meter in meters) for who, meters in house["metered"].items()}
    sun = sum(counts[meter][0] if counts[meter][1] is None else counts[meter][1] for meter in house["production"])
    whole, metered = sum(own.values()), house["balance"] == "meter" and house["grid"]
    bought, sold = counts[house["grid"]][:2] if metered else (max(0, whole - sun), max(0, sun - whole))
    filled, drawn = (sum(counts[meter][way] or 0 for meter in house["battery"]) if metered else 0 for way in (0, 1))
    used, solar, pool, left = sources(bought, sold or 0, sun, filled, drawn, tanks)
    rest = used - whole if house["balance"] == "meter" and house["common"] not in own else 0
    ceiling = house["common_ceiling_wh"]
    common = min(max(0, rest), max(0, rest) if ceiling is None else ceiling)
    own[house["common"]] = own.get(house["common"], 0) + common
    given, after = give(house, solar, pool, own, carry)
    ...
