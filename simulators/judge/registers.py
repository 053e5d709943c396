"""I6: energy = end - begin = solar + classes, with the registers that the meters gave and the utility's calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from simulators.judge.counters import advanced_wh, shown_wh, step_wh
from simulators.judge.evidence import Evidence
from simulators.judge.records import Body, Session, interval_versions, sessions
from simulators.judge.times import QUARTER_MS, grid_class, parse_utc
from simulators.judge.verdict import Finding, Notes
from simulators.judge.wire import Exchange

BEGIN_AGE_MS = 5_000
"""The begin register is at most so old when the start is handled (design rule 12)."""

FIRST = 3
"""The end register is among the first readings that can be believed: one waits for a second that agrees (after a start
of the gateway, or another meter), one may get lost on its way."""

ASKS_MS = 10_000
"""For so long after a start or a silence the gateway may ask who answers there before it believes (site time)."""

READ_MS = 2_500
"""A meter is asked and has answered within this time (link time: two requests of 0.5 s, and others on its line)."""

LATE_MS, WIRE_MS = 10_000, 2_000
"""A stop that came later than this (site time, and link time on top) was kept by the box: it is one of the past."""

TIME_MS = 15_000
"""The session's stop lies so close to the one on the charger's wire; no reading is stated further beside its moment."""


def check(evidence: Evidence) -> Finding:
    """Recompute every session to bill."""
    notes = Notes("I6")
    newest = {k: versions[-1] for k, versions in interval_versions(evidence).items()}
    billable = [session for session in sessions(evidence) if session.billable]
    notes.expect(bool(billable) or not evidence.must_show, "the cloud holds no session to bill")
    total: Counter[str] = Counter()
    for session in billable:
        end = session.ends[0]
        notes.expect(
            end["energy_wh"] == end["end_wh"] - end["begin_wh"],
            f"{session.name}: {end['energy_wh']} Wh, the registers differ by {end['end_wh'] - end['begin_wh']}",
        )
        _register(evidence, session, end, notes)
        if notes.expect(bool(session.splits), f"{session.name} was never split"):
            _versions(session, notes)
            total += _split(evidence, session, end, newest, notes)
    apart(evidence, billable, notes)
    notes.figure("sessions", len(billable))
    notes.figure("energy", f"{sum(total.values())} Wh")
    for name, wh in sorted(total.items(), key=lambda item: (item[0] != "solar", item[0])):
        notes.figure(name, f"{wh} Wh")
    return notes.finding()


def _versions(session: Session, notes: Notes) -> None:
    """Versions count from 1 without a gap, and each states its difference to the one before."""
    ordered = sorted(session.splits, key=lambda body: int(body["version"]))
    numbers = [int(body["version"]) for body in ordered]
    notes.expect(numbers == list(range(1, len(numbers) + 1)), f"{session.name}: split versions {numbers}")
    for before, after in pairwise(ordered):
        changed = _difference(after["classes_wh"], before["classes_wh"])
        stated = Counter({name: wh for name, wh in after["delta_classes_wh"].items() if wh})
        notes.expect(
            after["delta_solar_wh"] == after["solar_wh"] - before["solar_wh"] and changed == stated,
            f"{session.name}: version {after['version']} states another difference than it makes",
        )


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    names = after.keys() | before.keys()
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    return {name: change for name, change in changes.items() if change}


def _split(evidence: Evidence, session: Session, end: Body, newest: dict[int, Body], notes: Notes) -> Counter[str]:
    """The newest split against the registers, then against the quarter hours and the calendar."""
    split = session.split
    assert split is not None
    classes = {name: wh for name, wh in split["classes_wh"].items() if wh}
    parts = split["solar_wh"] + sum(classes.values())
    notes.expect(
        parts == end["end_wh"] - end["begin_wh"] == split["energy_wh"],
        f"{session.name}: solar + classes = {parts} Wh, end - begin = {end['end_wh'] - end['begin_wh']} Wh, "
        f"the split says {split['energy_wh']} Wh",
    )
    notes.expect(
        split["solar_wh"] >= 0 and min(classes.values(), default=0) >= 0, f"{session.name}: a part is below zero"
    )
    solar: Counter[str] = Counter()
    grid: Counter[str] = Counter()
    for k, part in _parts(session.id, newest.values()):
        name = grid_class(k, evidence.place.timezone)
        solar[name] += part["solar_wh"]
        grid[name] += part["grid_wh"]
    by_calendar = {name: wh for name, wh in grid.items() if wh}
    notes.expect(
        by_calendar == classes and sum(solar.values()) == split["solar_wh"],
        f"{session.name}: by quarter hour and calendar solar {sum(solar.values())}, {by_calendar} Wh, "
        f"the split says solar {split['solar_wh']}, {classes}",
    )
    stated = {name: wh for name, wh in split["solar_by_class_wh"].items() if wh}
    notes.expect(
        stated == {name: wh for name, wh in solar.items() if wh},
        f"{session.name}: solar by class {stated} is not that of the calendar",
    )
    return Counter({"solar": split["solar_wh"], **classes})


def _parts(session: str, intervals: Iterable[Body]) -> list[tuple[int, Body]]:
    return [
        (int(interval["k"]), part)
        for interval in intervals
        for part in interval["sessions"]
        if part["session"] == session
    ]


def _register(evidence: Evidence, session: Session, end: Body, notes: Notes) -> None:
    """Begin and end registers are values that the meter gave at the right moment, and that the truth encloses."""
    key = (str(end["charger"]), int(end["transaction_id"]))
    start = evidence.traffic.starts.get(key)
    stop = evidence.traffic.stops.get(key)
    if start is None or stop is None or not end["meter"]:
        notes.expect(False, f"{session.name}: its start, its stop or its meter is not known outside the gateway")
        return
    if not notes.expect(bool(start.results), f"{session.name}: its start was never answered"):
        return
    true_ms = {which: parse_utc(end[which]) for which in ("begin", "end")}
    for which, given in (("begin", _at_start(evidence, end, start)), ("end", _at_stop(evidence, end, stop))):
        if end[f"{which}_provenance"] != "meter":
            notes.expect(False, f"{session.name}: the {which} register is the {end[f'{which}_provenance']}'s")
            continue
        fits = [reading for reading in given if reading.wh == end[f"{which}_wh"]]
        if notes.expect(
            bool(fits),
            f"{session.name}: meter {end['meter']} gave no {end[f'{which}_wh']} Wh at the {which} "
            f"({len(given)} answers there)",
        ):
            beside, true_ms[which] = min(
                (reading.beside(true_ms[which] - off_ms), true_ms[which] - off_ms)
                for reading in fits
                for off_ms in evidence.shown_ms(reading.at_ms)
            )
            notes.expect(
                beside <= _near_ms(evidence), f"{session.name}: its {which} is {beside / 1000:.1f} s beside the wire's"
            )
    said_ms = _said_ms(stop)
    until_ms = max(said_ms, _handled(stop)[-1])
    stated = [parse_utc(end["stop"]) - off_ms for off_ms in evidence.shown_ms(until_ms)]
    beside = min(max(0, said_ms - stated_ms, stated_ms - until_ms) for stated_ms in stated)
    notes.expect(
        beside <= TIME_MS + evidence.stated_ms, f"{session.name}: its stop is {beside / 1000:.1f} s beside the wire's"
    )
    _enclosed(evidence, session, (true_ms["begin"], true_ms["end"]), notes)


@dataclass(frozen=True, slots=True)
class Given:
    """A register that a meter gave where a session's begin or end may lie; `at_ms` to `until_ms` may be stated."""

    wh: int
    at_ms: int
    until_ms: int

    def beside(self, stated_ms: int) -> int:
        """How far a stated time lies beside it."""
        return max(0, self.at_ms - stated_ms, stated_ms - self.until_ms)


def _near_ms(evidence: Evidence) -> int:
    """How far a stated time of a reading may lie beside the moment at which the meter composed it."""
    return min(TIME_MS, round(READ_MS * evidence.speed)) + evidence.stated_ms


def _handled(message: Exchange) -> list[int]:
    """When the gateway may have taken a message: each time it was sent, until it was answered; what comes later is
    answered from the journal."""
    answered_ms = min((answer.at_ms for answer in message.results), default=None)
    return [sent.at_ms for sent in message.sent if answered_ms is None or sent.at_ms <= answered_ms]


def _said_ms(stop: Exchange) -> int:
    """When it stopped, as the box says: earlier than it was sent where the box had no connection."""
    return min(_handled(stop)[0], parse_utc(str(stop.payload["timestamp"])))


def _served(evidence: Evidence, meter: str, since_ms: int, until_ms: int) -> list[Given]:
    rows = evidence.rows(
        "truth.db",
        "SELECT import_wh, at_ms FROM served WHERE meter = ? AND import_wh IS NOT NULL AND at_ms BETWEEN ? AND ? "
        "ORDER BY at_ms",
        (meter, since_ms, until_ms),
    )
    return [Given(int(wh), int(at_ms), int(at_ms)) for wh, at_ms in rows]


def _at_start(evidence: Evidence, end: Body, start: Exchange) -> list[Given]:
    """Readings at most 5 s old when the start was handled, or taken for it before it was answered (rule 12)."""
    answered_ms = start.results[0].at_ms
    wide = evidence.stated_ms
    return [
        reading
        for handled_ms in _handled(start)
        for reading in _served(evidence, end["meter"], handled_ms - BEGIN_AGE_MS - wide, answered_ms + wide)
        if reading.at_ms <= handled_ms + round(READ_MS * evidence.speed) + wide
    ]


def _at_stop(evidence: Evidence, end: Body, stop: Exchange) -> list[Given]:
    """The first readings after the stop was handled and before the next start there; for a stop that comes late the
    register at its own time, where the meter gave the same before and after it (rule 12).

    A gateway whose clock is wrong cannot tell by the time of a stop that the box had kept it.
    """
    said_ms = _said_ms(stop)
    wide = evidence.stated_ms
    found: list[Given] = []
    for handled_ms in _handled(stop):
        late_ms = handled_ms - said_ms
        in_time = late_ms <= LATE_MS + round(WIRE_MS * evidence.speed) + wide
        if in_time or evidence.had_wrong_time(handled_ms, handled_ms):
            until_ms = _next_start_ms(evidence, end, stop)
            readings = _served(evidence, end["meter"], handled_ms - wide, until_ms + wide)
            asked_ms = _asked_ms(evidence, end["meter"], handled_ms)
            after = sum(reading.at_ms <= asked_ms + wide for reading in readings)
            found += readings[: after + FIRST]
        if late_ms > LATE_MS - wide:
            before = _served(evidence, end["meter"], said_ms - QUARTER_MS, said_ms + wide)
            after_it = _served(evidence, end["meter"], said_ms - wide, said_ms + QUARTER_MS)
            flat = {reading.wh for reading in before[-FIRST:]} & {reading.wh for reading in after_it}
            found += [Given(wh, said_ms, said_ms) for wh in flat]
    return found


def _next_start_ms(evidence: Evidence, end: Body, stop: Exchange) -> int:
    """When the next start at the connector was answered: a reading after that belongs to the next session, too."""
    last_ms = _handled(stop)[-1]
    answered = [
        exchange.results[0].at_ms
        for exchange in evidence.traffic.answered_starts[stop.charger, int(end["connector"])]
        if exchange.results[0].at_ms > last_ms and exchange.order > stop.order
    ]
    return min(answered, default=evidence.end_ms)


def _asked_ms(evidence: Evidence, meter: str, handled_ms: int) -> int:
    """Until when the gateway may have asked who answers there: longer where the meter was silent just then or a moment
    before, or no gateway there."""
    believed_ms = handled_ms
    silences = [(since, back) for which, since, back in evidence.spans("meter_silent", "meter_back", "meter")
                if which == meter]  # fmt: skip
    away = [(death, back) for (_, death), (back, _) in pairwise(evidence.lives)]
    for since_ms, back_ms in sorted(silences + away):
        if since_ms <= believed_ms + round(READ_MS * evidence.speed) and back_ms > believed_ms:
            believed_ms = back_ms
    return max([believed_ms, *(back + ASKS_MS for _, back in silences + away if back <= believed_ms)])


def _enclosed(evidence: Evidence, session: Session, span: tuple[int, int], notes: Notes) -> None:
    """The true register at the quarter hour before is not above, that at the quarter hour after not below.

    Where another meter was put in beside the session, the truth of the quarter hour is moved by as much; one that was
    put in while the session ran leaves nothing to bill. `span`: its begin and end, without what a wrong clock added.
    """
    end, (begin_ms, end_ms) = session.ends[0], span
    meter, wide = end["meter"], evidence.stated_ms
    around = (begin_ms // QUARTER_MS * QUARTER_MS, -(-end_ms // QUARTER_MS) * QUARTER_MS)
    within = evidence.jump_wh(meter, begin_ms + wide, end_ms - wide)
    notes.expect(within is None, f"{session.name}: another meter was put in while it ran, and it is billed")
    sql = "SELECT import_wh FROM boundary WHERE meter = ? AND at_ms = ?"
    step = step_wh(evidence, meter)
    before = evidence.rows("truth.db", sql, (meter, around[0]))
    after = evidence.rows("truth.db", sql, (meter, around[1]))
    if before:
        low_wh = before[0][0] + (evidence.jump_wh(meter, around[0], begin_ms) or 0.0)
        since_wh = advanced_wh(evidence, meter, end["begin_wh"] - shown_wh(evidence, meter, low_wh))
        notes.expect(since_wh >= -step, f"{session.name}: it begins below the true register")
    if after:
        high_wh = after[0][0] - (evidence.jump_wh(meter, end_ms, around[1]) or 0.0)
        until_wh = advanced_wh(evidence, meter, shown_wh(evidence, meter, high_wh) - end["end_wh"])
        notes.expect(until_wh >= -step, f"{session.name}: it ends above the true register")


def _began_ms(evidence: Evidence, session: Session) -> int:
    end = session.ends[0]
    start = evidence.traffic.starts.get((str(end.get("charger")), int(end.get("transaction_id", 0))))
    return parse_utc(end["begin"]) if start is None else _handled(start)[0]


def apart(evidence: Evidence, billable: list[Session], notes: Notes) -> None:
    """No watt-hour is in two sessions: on one meter each begins at or above the register where the one before ended.

    In the order of their starts on the wire: one that was told before a wrong clock was put right states its time.
    """
    by_meter: dict[str, list[Session]] = {}
    for session in sorted(billable, key=lambda session: _began_ms(evidence, session)):
        if session.ends[0]["meter"]:
            by_meter.setdefault(str(session.ends[0]["meter"]), []).append(session)
    for meter, there in by_meter.items():
        for before, after in pairwise(there):
            one, other = before.ends[0], after.ends[0]
            span = (parse_utc(one["end"]) - evidence.stated_ms, parse_utc(other["begin"]) + evidence.stated_ms)
            notes.expect(
                advanced_wh(evidence, meter, other["begin_wh"] - one["end_wh"]) >= 0
                or evidence.jump_wh(meter, *span) is not None,
                f"{after.name}: it begins at {other['begin_wh']} Wh, {before.name} ends at {one['end_wh']} Wh",
            )
