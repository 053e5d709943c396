"""Settles quarter hours from what is kept, in order, each in one transaction; versions, carry and tanks.

A first version is settled at once with what is known. A correction uses the carry and the tanks that the first version
received; the difference of the carry it hands on is added to the newest interval not yet settled, by name. Intervals
settled in between stay as they are (design, walk "quarter hour closed"). Every version of an interval follows the rules
that were in force when it began, whatever the configuration says today.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gateway.clock import iso
from gateway.energy.battery import Tanks
from gateway.energy.intervals import Known, Measured, begun, boundary_of, exchange, goes_on, interpolated, measured
from gateway.energy.quarter import Quarter, SessionCut, settle, with_community
from gateway.energy.tariff import class_of, in_force
from gateway.model import Connection, Event, Reading, Stamp, TimeQuality
from gateway.records.bodies import Interval
from gateway.sessions import cuts, splits
from gateway.sessions.bodies import interval_body
from gateway.sessions.quarter_news import State, late_event, name_of, news, same
from gateway.sessions.rules import Rules, load, of_site
from gateway.sessions.writing import append
from gateway.site import Site
from gateway.store import imported, intervals, readings
from gateway.store import rules as kept_rules
from gateway.store.intervals import IntervalRow, ShareRow
from gateway.store.outbox import Identity


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


LEG = "leg/"
"""How the rounding rest of the community's stage is named among those of the participants."""


@dataclass(frozen=True)
class Quarters:
    """Settles; a call of `settle_next` or `look_again` happens inside a transaction."""

    site: Site
    who: Identity
    random: Random
    _known: dict[int, Rules] = field(default_factory=dict)

    def settle_next(self, db: Connection, k: int, stamp: Stamp, missing: tuple[str, ...] = ()) -> Settled:
        """Settle interval `k` for the first time: all before it are settled, both its boundaries are on disk."""
        rules = self._rules(db, intervals.get(db, k))
        received = self._received(db, rules, k)
        quarter = self._settle(db, rules, k, received, missing)
        handed = _handed(received, quarter)
        for who, nano_wh in handed.carry_after.items():
            intervals.put_carry(db, who, nano_wh, 0)
        if rules.house.battery:
            intervals.put_tank(db, "solar", quarter.tanks.solar_wh)
            intervals.put_tank(db, "grid", quarter.tanks.grid_wh)
        return self._write(db, rules, k, intervals.told_before(db, k) + 1, quarter, handed, stamp)

    def look_again(self, db: Connection, k: int, stamp: Stamp) -> Settled:
        """Settle `k` once more from what is known now; a new version only where that changes something."""
        found = self._once_more(db, k)
        if found is None:
            intervals.clean(db, k)
            return Settled()
        row, rules, quarter, before = found
        handed = _handed(before, quarter)
        version = row.version + 1
        body = self._body(db, rules, k, version, _state(quarter, version), quarter, handed)
        if same(Interval.model_validate_json(row.result or ""), body):
            intervals.clean(db, k)
            outcome = Settled()
            outcome.wrote = splits.write(
                db, self.who, self.random, stamp, self._touched(db, rules, k, quarter), name_of(k, rules.timezone)
            )
            return outcome
        self._adjust(db, rules, k, before, handed)
        return self._write(db, rules, k, version, quarter, handed, stamp)

    def look_at_late(self, db: Connection, k: int) -> Event | None:
        """What came late for the closed interval `k`: named where it would change the split, and never applied."""
        found = self._once_more(db, k)
        if found is None:
            intervals.late_looked_at(db, k, differs=False)
            return None
        row, rules, quarter, before = found
        old = Interval.model_validate_json(row.result or "")
        body = self._body(db, rules, k, row.version, _state(quarter, 1), quarter, _handed(before, quarter))
        differs = not same(old, body)
        intervals.late_looked_at(db, k, differs=differs)
        return late_event(name_of(k, rules.timezone), k, rules.period_of(k), old, body) if differs else None

    def _once_more(self, db: Connection, k: int) -> tuple[IntervalRow, Rules, Quarter, Handed] | None:
        row = intervals.get(db, k)
        if row is None or row.handed is None or row.result is None:
            return None
        rules, before = self._rules(db, row), Handed.load(row.handed)
        return row, rules, self._settle(db, rules, k, before, ()), before

    def period_of(self, db: Connection, k: int) -> str:
        """The billing period of an interval, by the rules that were in force when it began."""
        return self._rules(db, intervals.get(db, k)).period_of(k)

    # What it rests on

    def _rules(self, db: Connection, row: IntervalRow | None) -> Rules:
        """What was in force when the interval began; what the configuration says where nothing was kept."""
        if row is None or row.rules is None:
            return of_site(self.site)
        if row.rules not in self._known:
            self._known[row.rules] = load(kept_rules.get(db, row.rules))
        return self._known[row.rules]

    def _received(self, db: Connection, rules: Rules, k: int) -> Handed:
        """The carry starts at 0 with a billing period; tanks go on."""
        held = intervals.tanks(db)
        tanks = Tanks(held.get("solar", 0), held.get("grid", 0))
        kept = intervals.carry(db)
        if rules.period_of(k) != rules.period_of(k - 1):
            kept = dict.fromkeys(kept, (0, 0))
        before = {who: nano_wh + adjustment for who, (nano_wh, adjustment) in kept.items()}
        return Handed(before, before, {who: adjustment for who, (_, adjustment) in kept.items()}, tanks, tanks)

    def _settle(self, db: Connection, rules: Rules, k: int, received: Handed, missing: tuple[str, ...]) -> Quarter:
        plan = rules.house
        start, end = intervals.get(db, k), intervals.get(db, k + 1)
        assert start is not None
        assert end is not None
        meters = {meter: self._measured(db, k, meter, start, end) for meter in plan.meters()}
        found: dict[str, list[SessionCut]] = {}
        waiting: list[str] = []
        for meter in sorted(plan.charger_meters):
            found[meter], still = cuts.on_meter(db, meter, boundary_of(k), boundary_of(k + 1))
            waiting += still
        given = imported.get(db, "leg", k) if rules.community else None
        if rules.community and given is None:
            waiting.append(f"{PENDING}what the community gave")
        if in_force(rules.tariff, rules.timezone, k).dynamic and imported.get(db, "price", k) is None:
            waiting.append("price: not known, the calendar's class counts")
        texts = (*missing, *waiting, *_guessed(start, end))
        quarter = settle(plan, meters, found, received.carry_before, received.tanks_before, texts)
        if given is None:
            return quarter
        carry = {who.removeprefix(LEG): nano for who, nano in received.carry_before.items() if who.startswith(LEG)}
        return with_community(quarter, int(given), carry)

    def _measured(self, db: Connection, k: int, meter: str, start: IntervalRow, end: IntervalRow) -> Measured:
        low = _known(db, meter, k, start.boundary.get(meter))
        high = _known(db, meter, k + 1, end.boundary.get(meter))
        to_ms = high.reading.requested_ms if high else boundary_of(k + 1)
        lacking = [(k + 1, "end")] if high is None else []
        if low is None and _before(db, meter, k) is None:
            chain = [*_kept_between(db, meter, boundary_of(k), to_ms), *([high] if high else [])]
            return begun(meter, chain, *(_lacking(db, meter, lacking) if chain else ((), _later(db, meter, k + 1))))
        from_ms = low.reading.requested_ms if low else boundary_of(k)
        lacking += [(k, "start")] if low is None else []
        between = _kept_between(db, meter, from_ms, to_ms)
        chain = [*([low] if low else []), *between, *([high] if high else [])]
        return measured(chain, *_lacking(db, meter, sorted(lacking)))

    # What comes of it

    def _class(self, db: Connection, rules: Rules, k: int) -> str:
        """The grid class: of the price series where the tariff is dynamic and has one, else of the calendar."""
        tariff = in_force(rules.tariff, rules.timezone, k)
        price = imported.get(db, "price", k) if tariff.dynamic else None
        return price if price is not None else class_of(rules.tariff, rules.timezone, k)

    def _body(
        self, db: Connection, rules: Rules, k: int, version: int, state: State, quarter: Quarter, handed: Handed
    ) -> Interval:
        start, end = intervals.get(db, k), intervals.get(db, k + 1)
        assert start is not None
        assert end is not None
        return interval_body(
            self.site, rules, k, tariff_class=self._class(db, rules, k), version=version, state=state, quarter=quarter,
            at_start=start.boundary, at_end=end.boundary, adjustment=handed.adjustment,
        )  # fmt: skip

    def _write(
        self, db: Connection, rules: Rules, k: int, version: int, quarter: Quarter, handed: Handed, stamp: Stamp
    ) -> Settled:
        state, name = _state(quarter, version), name_of(k, rules.timezone)
        body = self._body(db, rules, k, version, state, quarter, handed)
        touched = self._touched(db, rules, k, quarter)
        intervals.settle(db, k, state=state, version=version, result=body.model_dump_json(), handed=handed.dump())
        share_state = "provisional" if state == "provisional" else "final"
        shares = [
            ShareRow(
                part.session, k, version, part.wh, part.solar_wh, part.wh - part.solar_wh, body.tariff_class,
                share_state, part.leg_wh,
            )
            for part in quarter.parts
        ]  # fmt: skip
        intervals.put_shares(db, k, shares)
        append(db, self.who, self.random, stamp, "interval.v1", body)
        splits.write(db, self.who, self.random, stamp, touched, f"{name} version {version}")
        return Settled(news(name, k, version, state, quarter), wrote=True)

    def _touched(self, db: Connection, rules: Rules, k: int, quarter: Quarter) -> set[str]:
        ended = cuts.ended_within(db, rules.house.charger_meters, boundary_of(k), boundary_of(k + 1))
        return {*intervals.sessions_in(db, k), *(part.session for part in quarter.parts), *ended}

    def _adjust(self, db: Connection, rules: Rules, k: int, before: Handed, now: Handed) -> None:
        """Hand the difference on to the newest interval not yet settled; a new period does not take it."""
        newest = intervals.newest_settled(db)
        if newest is None:
            return
        if rules.period_of(newest + 1) == rules.period_of(k):
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


def _handed(received: Handed, quarter: Quarter) -> Handed:
    """What an interval hands on; who took no part in it keeps their carry."""
    after = dict(received.carry_before) | {who: share.carry_after for who, share in quarter.shares.items()}
    if quarter.community is not None:
        after |= {f"{LEG}{who}": share.carry_after for who, share in quarter.community.shares.items()}
    return Handed(received.carry_before, after, received.adjustment, received.tanks_before, quarter.tanks)


def _state(quarter: Quarter, version: int) -> State:
    lacks = quarter.flows is None and not quarter.lasting
    if lacks or any(text.startswith(PENDING) for text in quarter.missing):
        return "provisional"
    return "final" if version == 1 else "corrected"


def _known(db: Connection, meter: str, k: int, reading: Reading | None) -> Known | None:
    """The boundary reading, or the estimate between the nearest readings on both sides, kept ones included."""
    if reading is not None:
        return Known(reading)
    before, after = _before(db, meter, k), _after(db, meter, k)
    return interpolated(before, after, boundary_of(k)) if before and after else None


def _before(db: Connection, meter: str, k: int) -> Reading | None:
    """The newest reading before the boundary `k` that is kept; None where the meter was never read before it."""
    kept = readings.kept_before(db, meter, boundary_of(k))
    return _nearest(intervals.boundary_before(db, meter, k - 1), kept, newest=True)


def _after(db: Connection, meter: str, k: int) -> Reading | None:
    kept = readings.kept_after(db, meter, boundary_of(k))
    return _nearest(intervals.boundary_after(db, meter, k + 1), kept, newest=False)


def _nearest(one: Reading | None, other: Reading | None, *, newest: bool) -> Reading | None:
    if one is None or other is None:
        return one or other
    first, last = sorted((one, other), key=lambda reading: reading.requested_ms)
    return last if newest else first


def _kept_between(db: Connection, meter: str, from_ms: int, to_ms: int) -> list[Known]:
    return [Known(reading) for reading in readings.kept_between(db, meter, from_ms, to_ms)]


def _lacking(db: Connection, meter: str, lacking: Sequence[tuple[int, str]]) -> tuple[list[str], list[str]]:
    """Why boundaries of an interval are not known: what may still come; and what never will.

    Between two readings on both sides nothing can come any more. Where no line joins them another meter was put in, or
    the register began anew.
    """
    open_: list[str] = []
    lasting: list[str] = []
    for k, side in lacking:
        before, after = _before(db, meter, k), _after(db, meter, k)
        if before is None or after is None:
            open_.append(f"meter {meter}: no reading at the {side}")
            continue
        what = "its register began anew" if goes_on(before, after) else exchange(before, after)
        lasting.append(
            f"meter {meter}: at the {side} {what}; what was counted from {iso(before.requested_ms)} to "
            f"{iso(after.requested_ms)} is not known"
        )
    return open_, lasting


def _later(db: Connection, meter: str, k: int) -> list[str]:
    """A meter that was first read after the boundary `k`: nothing is known of it before, and never will be."""
    return [f"meter {meter}: read for the first time after this"] if _after(db, meter, k) else []


def _guessed(start: IntervalRow, end: IntervalRow) -> list[str]:
    used = [reading for row in (start, end) for reading in row.boundary.values() if reading is not None]
    return [f"{PENDING}the clock was guessed"] if any(one.quality is TimeQuality.GUESSED for one in used) else []
