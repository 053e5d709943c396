"""Settles quarter hours from what is kept, in order, each in one transaction; versions, carry and tanks.

A first version is settled at once with what is known. A correction uses the carry and the tanks that the first version
received; the difference of the carry it hands on is added to the newest interval not yet settled, by name. Intervals
settled in between stay as they are (design, walk "quarter hour closed").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from gateway.energy.battery import Tanks
from gateway.energy.intervals import Known, Measured, boundary_of, interpolated, measured
from gateway.energy.quarter import Quarter, SessionCut, settle
from gateway.energy.tariff import class_of, period_of
from gateway.model import Connection, Event, Reading, Severity, Stamp, TimeQuality
from gateway.records.bodies import Interval
from gateway.sessions import cuts, house, splits
from gateway.sessions.bodies import interval_body
from gateway.sessions.writing import append
from gateway.site import Site
from gateway.store import intervals, readings
from gateway.store.intervals import IntervalRow, ShareRow
from gateway.store.outbox import Identity

State = Literal["provisional", "final", "corrected", "closed"]

IMBALANCE_FLOOR_WH = 50
"""An imbalance beyond this and 1 % of the house is told (the registers of a house never agree to the watt-hour)."""


@dataclass
class Settled:
    """What the edge does after the commit."""

    events: list[Event] = field(default_factory=list)
    wrote: bool = False


@dataclass(frozen=True)
class Handed:
    """What an interval received from the one before, and what it hands on. Carry in nano-Wh by participant."""

    carry_before: Mapping[str, int]
    carry_after: Mapping[str, int]
    adjustment: Mapping[str, int]
    tanks_before: Tanks
    tanks_after: Tanks

    def dump(self) -> str:
        return json.dumps(
            {
                "carry_before": dict(self.carry_before),
                "carry_after": dict(self.carry_after),
                "adjustment": dict(self.adjustment),
                "tanks_before": [self.tanks_before.solar_wh, self.tanks_before.grid_wh],
                "tanks_after": [self.tanks_after.solar_wh, self.tanks_after.grid_wh],
            },
            separators=(",", ":"),
        )

    @staticmethod
    def load(text: str) -> Handed:
        values: dict[str, Any] = json.loads(text)
        return Handed(
            values["carry_before"], values["carry_after"], values["adjustment"],
            Tanks(*values["tanks_before"]), Tanks(*values["tanks_after"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Quarters:
    """Settles; a call of `settle_next` or `look_again` happens inside a transaction."""

    site: Site
    who: Identity
    random: Random

    def settle_next(self, db: Connection, k: int, stamp: Stamp, missing: tuple[str, ...] = ()) -> Settled:
        """Settle interval `k` for the first time: all before it are settled, both its boundaries are on disk."""
        handed = self._received(db, k)
        quarter = self._settle(db, k, handed.carry_before, handed.tanks_before, missing)
        after = dict(handed.carry_before) | {who: share.carry_after for who, share in quarter.shares.items()}
        handed = Handed(
            handed.carry_before, after, handed.adjustment, handed.tanks_before, quarter.tanks
        )  # fmt: skip
        for who, nano_wh in after.items():
            intervals.put_carry(db, who, nano_wh, 0)
        if self._has_battery():
            intervals.put_tank(db, "solar", quarter.tanks.solar_wh)
            intervals.put_tank(db, "grid", quarter.tanks.grid_wh)
        return self._write(db, k, 1, quarter, handed, stamp)

    def look_again(self, db: Connection, k: int, stamp: Stamp) -> Settled:
        """Settle `k` once more from what is known now; a new version only where that changes something."""
        row = intervals.get(db, k)
        if row is None or row.handed is None or row.result is None:
            intervals.clean(db, k)
            return Settled()
        before = Handed.load(row.handed)
        quarter = self._settle(db, k, before.carry_before, before.tanks_before, ())
        after = dict(before.carry_before) | {who: share.carry_after for who, share in quarter.shares.items()}
        handed = Handed(before.carry_before, after, before.adjustment, before.tanks_before, quarter.tanks)
        body = self._body(db, k, row.version + 1, self._state(quarter, row.version + 1), quarter, handed)
        if _same(Interval.model_validate_json(row.result), body):
            intervals.clean(db, k)
            outcome = Settled()
            outcome.wrote = splits.write(
                db, self.who, self.random, stamp, self._touched(db, k, quarter), f"interval {k}"
            )
            return outcome
        self._adjust(db, k, before, handed)
        return self._write(db, k, row.version + 1, quarter, handed, stamp)

    # What it rests on

    def _received(self, db: Connection, k: int) -> Handed:
        """The carry starts at 0 with a billing period; tanks go on."""
        held = intervals.tanks(db)
        tanks = Tanks(held.get("solar", 0), held.get("grid", 0))
        kept = intervals.carry(db)
        if self._period(k) != self._period(k - 1):
            kept = dict.fromkeys(kept, (0, 0))
        before = {who: nano_wh + adjustment for who, (nano_wh, adjustment) in kept.items()}
        return Handed(before, before, {who: adjustment for who, (_, adjustment) in kept.items()}, tanks, tanks)

    def _period(self, k: int) -> str:
        return period_of(self.site.timezone, k, self.site.split.period)

    def _has_battery(self) -> bool:
        return any(meter.role == "battery" for meter in self.site.meters)

    def _settle(
        self, db: Connection, k: int, carry: Mapping[str, int], tanks: Tanks, missing: tuple[str, ...]
    ) -> Quarter:
        plan = house.of_site(self.site)
        start, end = intervals.get(db, k), intervals.get(db, k + 1)
        assert start is not None
        assert end is not None
        meters = {meter: self._measured(db, k, meter, start, end) for meter in plan.meters()}
        found: dict[str, list[SessionCut]] = {}
        waiting: list[str] = []
        for meter in sorted(plan.charger_meters):
            found[meter], still = cuts.on_meter(db, meter, boundary_of(k), boundary_of(k + 1))
            waiting += still
        return settle(plan, meters, found, carry, tanks, (*missing, *waiting, *_guessed(start, end)))

    def _measured(self, db: Connection, k: int, meter: str, start: IntervalRow, end: IntervalRow) -> Measured:
        low = _known(db, meter, k, start.boundary.get(meter))
        high = _known(db, meter, k + 1, end.boundary.get(meter))
        problems = [
            f"meter {meter}: no reading at the {side}" for side, known in (("start", low), ("end", high)) if not known
        ]
        from_ms = low.reading.requested_ms if low else boundary_of(k)
        to_ms = high.reading.requested_ms if high else boundary_of(k + 1)
        between = [Known(reading) for reading in readings.kept_between(db, meter, from_ms, to_ms)]
        return measured([*([low] if low else []), *between, *([high] if high else [])], problems)

    # What comes of it

    def _state(self, quarter: Quarter, version: int) -> State:
        if quarter.flows is None or any(text.startswith(PENDING) for text in quarter.missing):
            return "provisional"
        return "final" if version == 1 else "corrected"

    def _body(self, db: Connection, k: int, version: int, state: State, quarter: Quarter, handed: Handed) -> Interval:
        start, end = intervals.get(db, k), intervals.get(db, k + 1)
        assert start is not None
        assert end is not None
        return interval_body(
            self.site, k, version=version, state=state, quarter=quarter, at_start=start.boundary, at_end=end.boundary,
            adjustment=handed.adjustment,
        )  # fmt: skip

    def _write(self, db: Connection, k: int, version: int, quarter: Quarter, handed: Handed, stamp: Stamp) -> Settled:
        state = self._state(quarter, version)
        body = self._body(db, k, version, state, quarter, handed)
        touched = self._touched(db, k, quarter)
        intervals.settle(db, k, state=state, version=version, result=body.model_dump_json(), handed=handed.dump())
        grid_class = class_of(self.site.tariff, self.site.timezone, k)
        share_state = "provisional" if state == "provisional" else "final"
        intervals.put_shares(
            db,
            k,
            [
                ShareRow(
                    part.session, k, version, part.wh, part.solar_wh, part.wh - part.solar_wh, grid_class, share_state
                )
                for part in quarter.parts
            ],
        )
        append(db, self.who, self.random, stamp, "interval.v1", body)
        splits.write(db, self.who, self.random, stamp, touched, f"interval {k} version {version}")
        return Settled(_events(k, version, state, quarter), wrote=True)

    def _touched(self, db: Connection, k: int, quarter: Quarter) -> set[str]:
        ended = cuts.ended_within(db, house.of_site(self.site).charger_meters, boundary_of(k), boundary_of(k + 1))
        return {*intervals.sessions_in(db, k), *(part.session for part in quarter.parts), *ended}

    def _adjust(self, db: Connection, k: int, before: Handed, now: Handed) -> None:
        """Hand the difference on to the newest interval not yet settled; a new period does not take it."""
        newest = intervals.newest_settled(db)
        if newest is None or self._period(newest + 1) != self._period(k):
            return
        kept = intervals.carry(db)
        for who in sorted({*before.carry_after, *now.carry_after}):
            difference = now.carry_after.get(who, 0) - before.carry_after.get(who, 0)
            if difference:
                nano_wh, adjustment = kept.get(who, (0, 0))
                intervals.put_carry(db, who, nano_wh, adjustment + difference)
        held = intervals.tanks(db)
        for origin, difference in (
            ("solar", now.tanks_after.solar_wh - before.tanks_after.solar_wh),
            ("grid", now.tanks_after.grid_wh - before.tanks_after.grid_wh),
        ):
            if difference:
                intervals.put_tank(db, origin, max(0, held.get(origin, 0) + difference))


PENDING = "waits: "
"""How a text begins that says why an interval is provisional although its balance stands."""


def _known(db: Connection, meter: str, k: int, reading: Reading | None) -> Known | None:
    """The boundary reading, or the estimate between the nearest readings on both sides, kept ones included."""
    if reading is not None:
        return Known(reading)
    at_ms = boundary_of(k)
    before = _nearest(intervals.boundary_before(db, meter, k - 1), readings.kept_before(db, meter, at_ms), newest=True)
    after = _nearest(intervals.boundary_after(db, meter, k + 1), readings.kept_after(db, meter, at_ms), newest=False)
    return interpolated(before, after, at_ms) if before and after else None


def _nearest(one: Reading | None, other: Reading | None, *, newest: bool) -> Reading | None:
    if one is None or other is None:
        return one or other
    first, last = sorted((one, other), key=lambda reading: reading.requested_ms)
    return last if newest else first


def _guessed(start: IntervalRow, end: IntervalRow) -> list[str]:
    used = [reading for row in (start, end) for reading in row.boundary.values() if reading is not None]
    return [f"{PENDING}the clock was guessed"] if any(one.quality is TimeQuality.GUESSED for one in used) else []


def _same(old: Interval, new: Interval) -> bool:
    """Whether nothing changed but the version; final and corrected mean the same here."""
    exclude = {"version", "state"}
    same_state = (old.state == "provisional") == (new.state == "provisional")
    return same_state and old.model_dump(exclude=exclude) == new.model_dump(exclude=exclude)


def _events(k: int, version: int, state: State, quarter: Quarter) -> list[Event]:
    events: list[Event] = []
    if state == "provisional" and version == 1:
        events.append(
            Event(
                "interval_provisional", f"interval {k}", "; ".join(quarter.missing),
                next_step="it is corrected by itself when the data is there", severity=Severity.WARNING,
                data={"k": k}, keep=True,
            )
        )  # fmt: skip
    limit_wh = IMBALANCE_FLOOR_WH + (quarter.consumption_wh or 0) // 100
    if abs(quarter.imbalance_wh) > limit_wh and not quarter.estimated:
        events.append(
            Event(
                "imbalance", f"interval {k}", f"{quarter.imbalance_wh} Wh of the house belong to nobody",
                next_step="check which meter is wired or assigned wrongly", severity=Severity.WARNING,
                data={"k": k, "imbalance_wh": quarter.imbalance_wh}, keep=True,
            )
        )  # fmt: skip
    return events
