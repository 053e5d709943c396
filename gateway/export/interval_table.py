"""The quarter hours of a period as a table: one line per meter and direction, and one per participant without a meter.

OBIS names what the line counts (IEC 62056-61): 1-1:1.29.0 is energy taken in the interval, 1-1:2.29.0 energy given.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from gateway.export.dialects import Cell, local_text, utc_text
from gateway.model import INTERVAL_MS, Connection

HEADER = (
    "interval_start_utc", "local", "meter", "obis", "wh", "register_wh", "quality", "solar_wh", "class", "grid_wh",
)  # fmt: skip
TAKEN, GIVEN = "1-1:1.29.0", "1-1:2.29.0"


def interval_rows(
    db: Connection, zone: ZoneInfo, from_ms: int, to_ms: int, metered: Mapping[str, Sequence[str]]
) -> Iterator[Sequence[Cell]]:
    """The rows of all settled intervals that begin in [from_ms, to_ms).

    `register_wh` is the register at the start. `metered` names the meters of each participant; one that has none (the
    common rest) has a line with the meter `participant:ID`. Where a boundary was missed the energy is what the split
    estimated and says so, so that the sum over a gap is that of the registers. What is not known stays empty.
    """
    boxes = db.execute("SELECT id, meter, participant FROM session WHERE meter IS NOT NULL").fetchall()
    owners = {meter: participant for _, meter, participant in boxes if participant}
    owners |= {meter: who for who, meters in metered.items() for meter in meters}
    places = _Places({session: meter for session, meter, _ in boxes}, owners)
    rows = db.execute(
        "SELECT k, result FROM interval WHERE version > 0 AND k >= ? AND k < ? ORDER BY k",
        (-(-from_ms // INTERVAL_MS), -(-to_ms // INTERVAL_MS)),
    )
    for k, text in rows:
        yield from _interval(json.loads(text), k * INTERVAL_MS, zone, places)


@dataclass(frozen=True, slots=True)
class _Places:
    """The meter of each session, and the participant of each meter."""

    meter_of_session: Mapping[str, str]
    owners: Mapping[str, str]

    def meters_of(self, participant: str) -> list[str]:
        """The meters of a participant."""
        return [meter for meter, who in self.owners.items() if who == participant]


def _interval(body: Mapping[str, Any], start_ms: int, zone: ZoneInfo, places: _Places) -> Iterator[Sequence[Cell]]:
    times = (utc_text(start_ms), local_text(start_ms, zone))
    suns = _sun_by_meter(body, places)
    shares = {own[0]: share for share in body["shares"] if len(own := places.meters_of(share["participant"])) == 1}
    state = "provisional" if body["state"] == "provisional" else "measured"
    for meter in sorted(body["at_start"]):
        begins, high = body.get("begins", {}).get(meter), body["at_end"].get(meter)
        if begins is not None and begins == high:
            continue  # its very first reading is the one at the end: it has not counted yet
        low = body["at_start"][meter] or begins
        for obis, name in ((TAKEN, "import_wh"), (GIVEN, "export_wh")):
            first, last = (low or {}).get(name), (high or {}).get(name)
            if first is None and last is None and (name == "export_wh" or low or high):
                continue
            wh, quality = _difference(low, high, first, last, "partial" if begins else state)
            if wh is not None and any(text.startswith(f"meter {meter}: swapped") for text in body["missing"]):
                wh, quality = None, "meter swapped"
            if wh is None and obis == TAKEN and meter in shares:
                wh, quality = shares[meter]["wh"], "estimated"
            sun = suns.get(meter) if obis == TAKEN and wh is not None else None
            grid = wh - sun if wh is not None and sun is not None else None
            yield [*times, meter, obis, wh, first, quality, sun, body["tariff_class"], grid]
    for share in body["shares"]:
        if share["participant"] not in places.owners.values():
            quality = "estimated" if share["estimated"] else state
            yield [
                *times, f"participant:{share['participant']}", TAKEN, share["wh"], None, quality, share["solar_wh"],
                body["tariff_class"], share["grid_wh"],
            ]  # fmt: skip


def _difference(
    low: Mapping[str, Any] | None, high: Mapping[str, Any] | None, first: int | None, last: int | None, state: str
) -> tuple[int | None, str]:
    """Wh and its quality; nothing where a boundary is missing or the meter is another one."""
    if first is None or last is None or low is None or high is None:
        return None, "missing"
    if low.get("serial") != high.get("serial"):
        return None, "meter swapped"
    return (last - first, state) if last >= first else (None, "register went back")


def _sun_by_meter(body: Mapping[str, Any], places: _Places) -> dict[str, int]:
    """The sun of each meter: of a box its sessions' and what flowed beside, of a flat with one meter the flat's."""
    if body["solar_wh"] is None:
        return {}
    found: dict[str, int] = defaultdict(int)
    for one in body["sessions"]:
        if one["session"] in places.meter_of_session:
            found[places.meter_of_session[one["session"]]] += one["solar_wh"]
    for one in body["outside"]:
        found[one["meter"]] += one["solar_wh"]
    for share in body["shares"]:
        own = places.meters_of(share["participant"])
        if len(own) == 1:
            found[own[0]] = share["solar_wh"]
        else:
            found.update({meter: 0 for meter in own if meter not in found})
    return dict(found)
