"""An exchange that nobody can see: the meter tells no serial number, and the register goes on by what a fuse lets pass.

From outside it is one meter that counted on. What the gateway books of it is what the register says, and its manual
says so; where the register fell, or rose by more than the fuse carries, the exchange must be seen.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

from simulators.judge.counters import advanced_wh
from simulators.judge.times import parse_utc

if TYPE_CHECKING:
    from simulators.judge.evidence import Evidence, Occurrence

CARRIES = 1.6
"""What a fuse carries for an hour, of its rating (reference/load.md 2), and with that what may flow at all."""

VOLTS, PHASES, UNKNOWN_FUSE_A = 230, 3, 125
MS_PER_HOUR = 3_600_000

LIVE_SHARE, LIVE_SPARE_WH = 1.1, 3
"""The instants of two readings and the steps of the register are known so well while the meter is being read."""

HELD_MS = 60_000
"""A new level of a meter that tells no serial number is believed only when it has held for a minute (operations.md). A
gateway that dies before has kept nothing of it."""

TOLD_MS = 2 * HELD_MS
"""So soon a new level is told; while no gateway is there it is not."""

SAVED_MS, START_SPARE_WH = 70_000, 200
"""A gateway that was away knows the register of at most so long before its death, and has this to spare."""


def is_hidden(evidence: Evidence, told: Occurrence) -> bool:
    """Whether what the meter served before and after this exchange could as well be one meter."""
    meter = str(told.data["meter"])
    if all(one.data.get("named", True) for one in evidence.told("meter_counts") if one.data["meter"] == meter):
        return False
    sql = "SELECT at_ms, import_wh FROM served WHERE meter = ? AND import_wh IS NOT NULL AND at_ms"
    before = evidence.rows("truth.db", f"{sql} <= ? ORDER BY at_ms DESC LIMIT 1", (meter, told.at_ms))
    after = evidence.rows("truth.db", f"{sql} > ? ORDER BY at_ms LIMIT 1", (meter, told.at_ms))
    if not before or not after:
        return False
    (since_ms, low_wh), (until_ms, high_wh) = before[0], after[0]
    there = any(since <= since_ms and until_ms <= until for since, until in evidence.lives)
    died_ms = min((until for _, until in evidence.lives if until >= told.at_ms), default=evidence.end_ms)
    starts = [since for since, _ in evidence.lives if since > died_ms]
    if _was_told(evidence, meter, told.at_ms):
        return False
    if there and starts and died_ms < told.at_ms + HELD_MS:
        again = evidence.rows("truth.db", f"{sql} >= ? ORDER BY at_ms LIMIT 1", (meter, starts[0]))
        (until_ms, high_wh), there = (again or after)[0], False
    away_ms, share, spare_wh = (0, LIVE_SHARE, LIVE_SPARE_WH) if there else (SAVED_MS, 1.0, START_SPARE_WH)
    may_wh = _carries_w(evidence, meter) * share * (until_ms - since_ms + away_ms) / MS_PER_HOUR + spare_wh
    return bool(0 <= advanced_wh(evidence, meter, int(high_wh) - int(low_wh)) <= may_wh)


def _was_told(evidence: Evidence, meter: str, at_ms: int) -> bool:
    """Whether the gateway says that it has seen another level there, soon after: then it is held to that."""
    for (body,) in evidence.rows("cloud.db", "SELECT body FROM record WHERE schema = 'notice.v1'"):
        notice = json.loads(body)
        if notice["kind"] == "meter_rebased" and notice["subject"] == f"meter {meter}":
            away_ms = sum(back - death for (_, death), (back, _) in pairwise(evidence.lives) if back > at_ms)
            if at_ms <= parse_utc(notice["at"]) <= at_ms + TOLD_MS + away_ms:
                return True
    return False


def _carries_w(evidence: Evidence, meter: str) -> float:
    """The most that can flow through a meter: what the fuse of its box lets pass."""
    place = evidence.place
    circuits = {circuit for box in place.boxes.values() if meter in box.meters.values() for circuit in box.circuits}
    fuse_a = max((place.fuses_a[circuit] for circuit in circuits if circuit in place.fuses_a), default=UNKNOWN_FUSE_A)
    return PHASES * VOLTS * fuse_a * CARRIES


def moved_on_wh(evidence: Evidence, told: Occurrence) -> float:
    """By how much the shown register moved on beside the true one, whole ranges left out."""
    jump_wh = float(told.data["jump_wh"])
    ranges = [one.data["range_wh"] for one in evidence.told("meter_counts") if one.data["meter"] == told.data["meter"]]
    range_wh = next((float(one) for one in ranges if one), None)
    return jump_wh - round(jump_wh / range_wh) * range_wh if range_wh else jump_wh
