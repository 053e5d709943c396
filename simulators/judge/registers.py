"""I6: energy = end - begin = solar + classes, with the registers that the meters gave and the utility's calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from simulators.judge.counters import advanced_wh, shown_wh, step_wh
from simulators.judge.evidence import Evidence
from simulators.judge.records import Body, Session, interval_versions, sessions
from simulators.judge.times import QUARTER_MS, grid_class, parse_utc
from simulators.judge.verdict import Finding, Notes

BEGIN_AGE_MS = 5_000
"""The begin register is at most so old when the start is handled (design rule 12)."""

END_WAIT_MS = 60_000
"""The end register is read so soon after the stop."""

TIME_MS = 15_000
"""The session's begin and end lie so close to the start and stop on the charger's wire."""


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
    wide = evidence.slack_ms
    # A message that was repeated may have been lost until then: the session begins when the start is handled.
    started_ms = min((one.at_ms for one in start.sent), key=lambda at_ms: abs(at_ms - parse_utc(end["begin"])))
    stopped_ms = stop.sent[-1].at_ms
    ended_ms = _end_until(evidence, end["meter"], stopped_ms)
    said_ms = min(stopped_ms, parse_utc(str(stop.payload["timestamp"])))  # earlier where the box had no connection
    windows = {
        "begin": (started_ms - BEGIN_AGE_MS - wide, start.results[0].at_ms + wide),
        "end": (said_ms - wide, ended_ms + wide),
    }
    for which, (since, until) in windows.items():
        if end[f"{which}_provenance"] != "meter":
            notes.expect(False, f"{session.name}: the {which} register is the {end[f'{which}_provenance']}'s")
            continue
        given = evidence.rows(
            "truth.db",
            "SELECT import_wh FROM served WHERE meter = ? AND import_wh IS NOT NULL AND at_ms BETWEEN ? AND ?",
            (end["meter"], since, until),
        )
        notes.expect(
            any(row[0] == end[f"{which}_wh"] for row in given),
            f"{session.name}: meter {end['meter']} gave no {end[f'{which}_wh']} Wh at the {which} "
            f"({len(given)} answers there)",
        )
    times = (("begin", started_ms, started_ms), ("stop", said_ms, said_ms), ("end", said_ms, stopped_ms))
    for which, from_ms, to_ms in times:
        bound = (ended_ms - stopped_ms if which == "end" else TIME_MS) + wide
        stated_ms = parse_utc(end[which])
        distance = max(0, from_ms - stated_ms, stated_ms - to_ms)
        notes.expect(distance <= bound, f"{session.name}: its {which} is {distance / 1000:.1f} s beside the wire's")
    _enclosed(evidence, session, end, started_ms, stopped_ms, notes)


def _end_until(evidence: Evidence, meter: str, stopped_ms: int) -> int:
    """Until when the end register may be read: later where the meter gave nothing that could be believed just then.

    Rule 12 knows no limit but the next start; that the register is not too high is seen at the quarter hour after.
    """
    until_ms = stopped_ms + END_WAIT_MS
    for which, since_ms, back_ms in sorted(
        evidence.spans("meter_silent", "meter_back", "meter"), key=lambda one: one[1]
    ):
        if which == meter and since_ms <= until_ms and back_ms >= stopped_ms:
            until_ms = max(until_ms, back_ms + END_WAIT_MS)
    return until_ms


def _enclosed(evidence: Evidence, session: Session, end: Body, started_ms: int, stopped_ms: int, notes: Notes) -> None:
    """The true register at the quarter hour before is not above, that at the quarter hour after not below."""
    around = (started_ms // QUARTER_MS * QUARTER_MS, -(-stopped_ms // QUARTER_MS) * QUARTER_MS)
    if evidence.jump_wh(end["meter"], *around) is not None:
        return  # another meter was put in: the registers before and after say nothing
    sql = "SELECT import_wh FROM boundary WHERE meter = ? AND at_ms = ?"
    before = evidence.rows("truth.db", sql, (end["meter"], started_ms // QUARTER_MS * QUARTER_MS))
    after = evidence.rows("truth.db", sql, (end["meter"], -(-stopped_ms // QUARTER_MS) * QUARTER_MS))
    meter = end["meter"]
    step = step_wh(evidence, meter)
    if before:
        since_wh = advanced_wh(evidence, meter, end["begin_wh"] - shown_wh(evidence, meter, before[0][0]))
        notes.expect(since_wh >= -step, f"{session.name}: it begins below the true register")
    if after:
        until_wh = advanced_wh(evidence, meter, shown_wh(evidence, meter, after[0][0]) - end["end_wh"])
        notes.expect(until_wh >= -step, f"{session.name}: it ends above the true register")
