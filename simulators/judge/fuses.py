"""I1p: no fuse opens, overload is short while the gateway lives, and alone every box keeps to its fallback.

Bounds of design section 6: above 1.00 of the limit at most 25 s per event, 35 s with a silent meter, 45 s with a lost
or disobedient charger; above 1.45 at most 5 s; from 150 s after the gateway's death the fallback, before it the last
confirmed limit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import attrgetter

from simulators.judge.evidence import Evidence, NoEvidenceError, Span
from simulators.judge.place import Box
from simulators.judge.times import local_clock, parse_utc
from simulators.judge.verdict import Finding, Notes
from simulators.judge.wire import CALL, Frame

OVER_100_MS, OVER_100_SILENT_MS, OVER_100_LOST_MS, OVER_145_MS = 25_000, 35_000, 45_000, 5_000
ALONE_AFTER_MS = 150_000
CAR_STARTS_MS = 3_000
CAR_FOLLOWS_MS, SLOWEST_CAR_MS = 6_000, 12_000
"""How late a car follows what it is offered where the story does not say (`car_plugged`), and the slowest there is
(IEC 61851-1: 5 s, some cars 7 s more)."""

LOOKS_MS = 2_000
"""The building looks at the box's offer and at the car's draw once a second each: so much later both may be seen."""

NEVER_MS = 10**15
TOLERANCE_MA = 100
ABOVE_MA = 1000
"""By more than this above its limit a box is called disobedient."""
ADJACENT_MS = 150_000
"""A lost charger or a silent meter explains an overload for so long after it is back."""


def check(evidence: Evidence) -> Finding:
    """Judge the fuses, then what the boxes did when the gateway was dead."""
    notes = Notes("I1p")
    _fuses(evidence, notes)
    _alone(evidence, notes)
    return notes.finding()


def _fuses(evidence: Evidence, notes: Notes) -> None:
    rows = evidence.rows("truth.db", "SELECT circuit, phase, at_ms, kind, seconds, ratio FROM fuse ORDER BY at_ms")
    watched = [row for row in rows if row[3] == "watched"]
    for circuit in evidence.place.circuits:
        notes.expect(any(row[0] == circuit for row in watched), f"nobody watched the fuse of circuit {circuit}")
    if watched:
        worst = max(watched, key=lambda row: float(row[5]))
        notes.figure("largest load", f"{float(worst[5]):.2f} of the limit ({worst[0]} L{_phase(worst[1])})")
    longest = {"over_100": 0, "over_145": 0}
    for circuit, phase, at_ms, kind, seconds, ratio in rows:
        where = f"{circuit} L{_phase(phase)} at {_clock(at_ms, evidence)}"
        if kind == "trip":
            notes.expect(False, f"the fuse of {where} opened")
        elif kind in longest:
            lasted = _while_alive(evidence, int(at_ms), round(float(seconds) * 1000))
            longest[kind] = max(longest[kind], lasted)
            bound = OVER_145_MS if kind == "over_145" else _bound(evidence, circuit, int(at_ms), float(seconds))
            level = "1.45" if kind == "over_145" else "1.00"
            notes.expect(
                lasted <= bound + evidence.widen_ms,
                f"{where}: {lasted / 1000:.1f} s above {level} of the limit (up to {float(ratio):.2f}), "
                f"allowed are {(bound + evidence.widen_ms) / 1000:.1f} s",
            )
    notes.figure("trips", sum(row[3] == "trip" for row in rows))
    notes.figure("longest above 1.00", f"{longest['over_100'] / 1000:.1f} s")
    notes.figure("longest above 1.45", f"{longest['over_145'] / 1000:.1f} s")


def _while_alive(evidence: Evidence, at_ms: int, lasted_ms: int) -> int:
    """The longest part of an excess during which the gateway lived."""
    parts = [min(at_ms + lasted_ms, until) - max(at_ms, since) for since, until in evidence.lives]
    return max(0, *parts)


def _bound(evidence: Evidence, circuit: str, at_ms: int, seconds: float) -> int:
    """What one event may last: longer where the circuit's own meter is silent, or one of its chargers lost."""
    until = at_ms + round(seconds * 1000)

    def near(spans: Sequence[Span], whose: frozenset[str]) -> bool:
        return any(who in whose and since <= until and at_ms <= end + ADJACENT_MS for who, since, end in spans)

    place = evidence.place
    if near(evidence.spans("charger_lost", "charger_back", "charger"), place.boxes_on(circuit)):
        return OVER_100_LOST_MS
    if near(evidence.spans("meter_silent", "meter_back", "meter"), place.meters_on(circuit)):
        return OVER_100_SILENT_MS
    if until - at_ms > OVER_100_MS and _held_up(evidence, circuit, at_ms, until):
        return OVER_100_LOST_MS
    return OVER_100_MS


def _held_up(evidence: Evidence, circuit: str, at_ms: int, until_ms: int) -> bool:
    """Whether a box on the circuit that cannot hold a small current drew more than it was told: a disobedient one."""
    holds = {one.data["charger"]: int(one.data["ma"]) for one in evidence.told("charger_holds")}
    limits = confirmed_limits(evidence)
    for box in (evidence.place.boxes[name] for name in evidence.place.boxes_on(circuit) & holds.keys()):
        small = [
            one for one in in_force(box, limits.get(box.id, []), evidence.stated_ms) if one.limit_ma < holds[box.id]
        ]
        draws = evidence.rows(
            "truth.db",
            "SELECT at_ms, current_ma FROM draw WHERE charger = ? AND at_ms BETWEEN ? AND ?",
            (box.id, at_ms, until_ms),
        )
        if any(ma > one.limit_ma + ABOVE_MA and one.since_ms <= ms < one.until_ms for ms, ma in draws for one in small):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that is in force from `since` until `until` (site ms): one that the charger has confirmed, or alone."""

    since_ms: int
    until_ms: int
    limit_ma: int


def _alone(evidence: Evidence, notes: Notes) -> None:
    deaths = [death for death in evidence.told("gateway_killed") if death.at_ms < evidence.end_ms]
    if not deaths:
        notes.expect(not evidence.must_show, "the gateway was never killed: nothing shows what the boxes do alone")
        return
    limits = confirmed_limits(evidence)
    behaves = {box.id: _Behaviour.of(evidence, box, limits.get(box.id, [])) for box in evidence.place.boxes.values()}
    drew = 0
    highest = 0
    for death in deaths:
        until = min([since for since, _ in evidence.lives if since > death.at_ms] + [evidence.end_ms])
        for box in evidence.place.boxes.values():
            seen, most = _box_alone(evidence, notes, behaves[box.id], death.at_ms, until)
            drew += seen > 0
            highest = max(highest, most)
        notes.expect(
            until - death.at_ms > ALONE_AFTER_MS or not evidence.must_show,
            f"alone for only {(until - death.at_ms) / 1000:.0f} s: no fallback seen",
        )
        notes.figure("alone", f"{(until - death.at_ms) / 1000:.0f} s")
    notes.expect(drew > 0 or not evidence.must_show, "no car drew current while the gateway was dead")
    notes.figure("boxes that charged alone", drew)
    notes.figure("largest draw from 150 s on", f"{highest / 1000:.1f} A")


@dataclass(frozen=True, slots=True)
class _Behaviour:
    """What is known of a box beside what was drawn there."""

    box: Box
    offers: list[Limit]
    """In the order of their begins. A wrong clock may have told one that began long before, or ends long after."""
    ends_ms: list[int]
    """The latest end of each and those before it."""
    least_ma: int
    """Below this it cannot hold a current, whatever it was told."""
    cars: list[tuple[int, int]]
    """From when which car stands there, and how late that one follows what it is offered (ms)."""
    disobeys: list[tuple[int, int]]
    """From when to when it is broken on purpose: it ignores what it is told."""
    slack_ms: int

    @classmethod
    def of(cls, evidence: Evidence, box: Box, limits: list[Limit]) -> _Behaviour:
        told = [one for one in evidence.story if one.data.get("charger") == box.id]
        least_ma = max((int(one.data["ma"]) for one in told if one.what == "charger_holds"), default=0)
        cars = [(one.at_ms, int(one.data["follows_ms"])) for one in told if one.what == "car_plugged"]
        spans = evidence.spans("charger_lost", "charger_back", "charger", only="disobeys")
        disobeys = [(since, until) for who, since, until in spans if who == box.id]
        offers = sorted(in_force(box, limits, evidence.stated_ms), key=attrgetter("since_ms"))
        ends_ms = list(accumulate((one.until_ms for one in offers), max))
        return cls(box, offers, ends_ms, least_ma, cars, disobeys, evidence.widen_ms)

    def between(self, since_ms: int, until_ms: int) -> _Behaviour:
        """The same, without the offers that a car cannot follow in this span, nor cars that had gone."""
        from_ms = since_ms - SLOWEST_CAR_MS - LOOKS_MS - self.slack_ms
        first = bisect_left(self.ends_ms, from_ms)
        near = self.offers[first : bisect_right(self.offers, until_ms, key=attrgetter("since_ms"))]
        offers = [one for one in near if from_ms <= one.until_ms]
        gone = sum(plugged <= from_ms for plugged, _ in self.cars) - 1
        return replace(self, offers=offers, cars=self.cars[max(0, gone) :])

    def follows_ms(self, at_ms: int) -> int:
        """How late the car there follows what it is offered, with the seconds in which the building looks."""
        follows_ms = next((follows for plugged, follows in reversed(self.cars) if plugged <= at_ms), CAR_FOLLOWS_MS)
        return min(follows_ms, SLOWEST_CAR_MS) + LOOKS_MS + self.slack_ms

    def allowed_ma(self, at_ms: int) -> int:
        """The largest current that was in force while the car could still be following it: confirmed limits until they
        end or others replace them, and the fallback where there is none."""
        since_ms = at_ms - self.follows_ms(at_ms)
        return max(one.limit_ma for one in self.offers if one.since_ms <= at_ms and since_ms <= one.until_ms)

    def disobeyed(self, at_ms: int) -> bool:
        """It ignores what it was told, or did until a moment ago."""
        return any(since <= at_ms <= until + self.follows_ms(at_ms) for since, until in self.disobeys)


def _box_alone(
    evidence: Evidence, notes: Notes, behaviour: _Behaviour, death_ms: int, until_ms: int
) -> tuple[int, int]:
    """Check one box between the death and the return: (seconds with current, largest mA from 150 s on)."""
    box = behaviour.box
    behaviour = behaviour.between(death_ms, until_ms)
    rows = evidence.rows(
        "truth.db",
        "SELECT at_ms, current_ma FROM draw WHERE charger = ? AND at_ms BETWEEN ? AND ? ORDER BY at_ms",
        (box.id, death_ms - 60_000, until_ms),
    )
    alone = [row for row in rows if row[0] >= death_ms]
    if not notes.expect(bool(alone), f"nothing is known of what {box.id} drew while the gateway was dead"):
        return 0, 0
    begun_ms = -CAR_STARTS_MS - evidence.widen_ms
    before = 0
    most = 0
    for at_ms, current_ma in rows:
        if current_ma > TOLERANCE_MA >= before:
            begun_ms = at_ms
        before = current_ma
        if at_ms < death_ms or at_ms - begun_ms <= CAR_STARTS_MS + evidence.widen_ms:
            continue
        after_ms = at_ms - death_ms
        settled = after_ms >= ALONE_AFTER_MS + evidence.widen_ms
        most = max(most, current_ma) if settled else most
        what = "its fallback" if settled else "its last confirmed limit"
        allowed = box.fallback_ma if settled else behaviour.allowed_ma(at_ms)
        if behaviour.disobeyed(at_ms):
            what, allowed = "its maximum", box.max_ma
        notes.expect(
            current_ma <= max(allowed, behaviour.least_ma) + TOLERANCE_MA,
            f"{box.id} drew {current_ma / 1000:.1f} A {after_ms / 1000:.0f} s after the gateway's death, "
            f"{what} is {allowed / 1000:.1f} A",
        )
    return sum(row[1] > TOLERANCE_MA for row in alone), most


def in_force(box: Box, limits: list[Limit], slack_ms: int) -> list[Limit]:
    """What a box offers at all times: each limit until the next, the fallback before, between and after them."""
    ordered = sorted(limits, key=lambda one: one.since_ms)
    ends = [*(limit.since_ms for limit in ordered[1:]), NEVER_MS][: len(ordered)]
    found = [Limit(-NEVER_MS, ordered[0].since_ms if ordered else NEVER_MS, box.fallback_ma)]
    for limit, next_ms in zip(ordered, ends, strict=True):
        found.append(Limit(limit.since_ms, min(limit.until_ms + slack_ms, next_ms), limit.limit_ma))
        if limit.until_ms - slack_ms < next_ms:
            found.append(Limit(limit.until_ms - slack_ms, next_ms, box.fallback_ma))
    return found


def confirmed_limits(evidence: Evidence) -> dict[str, list[Limit]]:
    """The TxProfiles that each charger has accepted, as they stand on its own wire."""
    asked: dict[tuple[str, str], Frame] = {}
    limits: dict[str, list[Limit]] = {}
    for seen in evidence.traffic.at_chargers:
        key = (seen.charger, seen.message_id)
        if not seen.up and seen.kind == CALL and seen.action == "SetChargingProfile":
            asked[key] = seen
        elif seen.up and key in asked and seen.payload.get("status") == "Accepted":
            limit = _limit(evidence, asked.pop(key), seen.at_ms)
            if limit is not None:
                limits.setdefault(seen.charger, []).append(limit)
    if not limits:
        raise NoEvidenceError("no charger ever confirmed a limit")
    return limits


def _limit(evidence: Evidence, asked: Frame, at_ms: int) -> Limit | None:
    """A TxProfile ends with its duration, from its own start where it has one, and with its transaction."""
    profile = asked.payload["csChargingProfiles"]
    if profile["chargingProfilePurpose"] != "TxProfile":
        return None
    schedule = profile["chargingSchedule"]
    duration_ms = round(float(schedule.get("duration", 10**9)) * 1000)
    absolute = profile.get("chargingProfileKind") == "Absolute" and "startSchedule" in schedule
    begins_ms = parse_utc(schedule["startSchedule"]) if absolute else at_ms
    until_ms = begins_ms + duration_ms
    stop = evidence.traffic.stops.get((asked.charger, int(profile.get("transactionId", -1))))
    if stop is not None:
        until_ms = min(until_ms, parse_utc(str(stop.payload["timestamp"])))
    return Limit(at_ms, until_ms, round(float(schedule["chargingSchedulePeriod"][0]["limit"]) * 1000))


def _phase(phase: object) -> str:
    return str(phase).removeprefix("L")


def _clock(at_ms: int, evidence: Evidence) -> str:
    return local_clock(int(at_ms), evidence.place.timezone)
