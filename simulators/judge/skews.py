"""I7 against the truth: how late each boundary register was served, and how far a quarter hour may be off for it.

|Wh of a participant - the simulator's Wh| <= one register step + 1 Wh + its largest power x (skew at start + at end);
the common rest within the sum of these bounds. The skew is the judge's own, from the log of what the meters served.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from simulators.judge.counters import step_wh
from simulators.judge.evidence import Evidence
from simulators.judge.exchanges import unmetered_ms
from simulators.judge.place import Place
from simulators.judge.records import Body
from simulators.judge.times import QUARTER_MS, local_clock
from simulators.judge.verdict import Notes

LARGEST_SKEW_MS, LARGEST_SKEW_FAST_MS = 2_500, 6_000
"""In the seeded building, where site time is link time; and in the demonstration, where 100 real ms are 6 s."""

AT_A_START_MS = 10_000
"""Where there was no gateway at the quarter hour, or the meter gave nothing just then, its first reading within this
time is still the boundary's (design rule 4)."""

ASKS_MS = 1_400
"""For each meter of a line, from a start on: who it is and its energy, both of them twice, one meter after the other at
9600 baud. A line with more than seven takes longer than 10 s."""

REPLIED_MS = 600
"""Link time: a request of the last instant has been answered or had its time-out of 0.5 s, and the row is written."""

MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Known:
    """One register in one quarter hour: true Wh, how far what is stated may lie beside it, and how much more it may
    lack where another meter was put in."""

    true: Fraction
    bound: Fraction
    lost: Fraction


def compare_with_truth(evidence: Evidence, bodies: list[Body], log: ServedLog, notes: Notes) -> None:
    """Every share, and the house, within the bound that the judge's own skews allow."""
    compared = 0
    furthest = Fraction(0)
    for body in bodies:
        for name, wh, parts in _quantities(evidence.place, body, log, notes):
            true = sum((sign * part.true for sign, part in parts), Fraction(0))
            bound = sum((part.bound for _, part in parts), Fraction(0))
            low = bound + sum((part.lost for sign, part in parts if sign > 0), Fraction(0))
            high = bound + sum((part.lost for sign, part in parts if sign < 0), Fraction(0))
            off = wh - true
            compared += 1
            furthest = max(furthest, off / high, -off / low)
            clock = local_clock(body["k"] * QUARTER_MS, evidence.place.timezone)[:5]
            notes.expect(
                -low <= off <= high,
                f"quarter hour {clock}, {name}: {wh} Wh, true are {float(true):.1f}; "
                f"that is off by {float(off):.1f} Wh, allowed are {-float(low):.1f} to {float(high):.1f}",
            )
    # A watch may have killed the gateway at every second boundary: then no quarter hour has both its registers.
    occasion = evidence.must_show or _whole(evidence)
    notes.expect(compared > 0 or not occasion, "no quarter hour could be compared with the truth")
    notes.figure("compared with the truth", compared)
    notes.figure("largest part of the bound", f"{float(furthest) * 100:.0f} %")
    notes.figure("largest skew", f"{log.largest_ms / 1000:.2f} s")


def written_ms(evidence: Evidence) -> int:
    """So long after a quarter hour its registers are on disk at the latest, whichever meters give none."""
    return AT_A_START_MS + round(REPLIED_MS * evidence.speed) + evidence.widen_ms


def _whole(evidence: Evidence) -> bool:
    """Whether the gateway lived at both ends of some quarter hour."""

    def lived(k: int) -> bool:
        until_ms = k * QUARTER_MS + written_ms(evidence)
        return any(since <= k * QUARTER_MS and until_ms <= until for since, until in evidence.lives)

    first, last = evidence.lives[0][0] // QUARTER_MS, evidence.end_ms // QUARTER_MS
    return any(lived(k) and lived(k + 1) for k in range(first, last + 1))


Quantity = tuple[str, int, list[tuple[int, Known]]]


def _quantities(place: Place, body: Body, log: ServedLog, notes: Notes) -> list[Quantity]:
    """(name, stated Wh, the meters with their signs) of everything in a quarter hour that has its registers."""
    found: list[Quantity] = []
    taken = log.known(body, place.grid, "import_wh", notes)
    given = log.known(body, place.grid, "export_wh", notes)
    made = [log.known(body, meter, log.producing(meter), notes) for meter in place.producers]
    owners = {
        who: [log.known(body, meter, "import_wh", notes) for meter in meters] for who, meters in place.meters_of.items()
    }
    if taken and body["import_wh"] is not None:
        found.append(("import", body["import_wh"], [(1, taken)]))
    if given and body["export_wh"] is not None:
        found.append(("export", body["export_wh"], [(1, given)]))
    sums = [known for known in made if known]
    if made and len(sums) == len(made) and body["production_wh"] is not None:
        found.append(("production", body["production_wh"], [(1, known) for known in sums]))
    for share in body["shares"]:
        known = [one for one in owners.get(share["participant"], []) if one]
        if known and len(known) == len(owners[share["participant"]]) and not share["estimated"]:
            found.append((share["participant"], share["wh"], [(1, one) for one in known]))
    own = [known for meters in owners.values() for known in meters]
    rest = next((share for share in body["shares"] if not place.meters_of.get(share["participant"])), None)
    guessed = any(share["estimated"] for share in body["shares"])
    if (
        rest is not None
        and not guessed
        and taken
        and given
        and len(sums) == len(made)
        and all(own)
        and not place.batteries
    ):
        parts = [(1, taken), (-1, given), *((1, known) for known in sums), *((-1, known) for known in own if known)]
        found.append((rest["participant"], rest["wh"] + body["imbalance_wh"], parts))
    return found


class ServedLog:
    """When a meter served which register, and what it should have said at the quarter hour."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._served: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for meter, at_ms, import_wh, export_wh in evidence.rows(
            "truth.db", "SELECT meter, at_ms, import_wh, export_wh FROM served ORDER BY at_ms"
        ):
            for register, value in (("import_wh", import_wh), ("export_wh", export_wh)):
                if value is not None:
                    self._served[meter, register][value].append(at_ms)
        self._true: dict[tuple[str, int], tuple[float, float]] = {
            (meter, at_ms): (import_wh, export_wh or 0.0)
            for meter, at_ms, import_wh, export_wh in evidence.rows(
                "truth.db", "SELECT meter, at_ms, import_wh, export_wh FROM boundary"
            )
        }
        self._steps: dict[tuple[str, str], Fraction] = {}
        self._power: dict[tuple[str, int], float] = {
            (meter, k): abs(max_w) for meter, k, max_w in evidence.rows("truth.db", "SELECT meter, k, max_w FROM power")
        }
        self.largest_ms = 0

    def producing(self, meter: str) -> str:
        """The register in which a meter counts production: the one that moves."""
        values = [truth for (which, _), truth in self._true.items() if which == meter]
        imported = max((value[0] for value in values), default=0) - min((value[0] for value in values), default=0)
        exported = max((value[1] for value in values), default=0) - min((value[1] for value in values), default=0)
        return "export_wh" if exported > imported else "import_wh"

    def step(self, meter: str, register: str) -> Fraction:
        """The step of a register: what all served values are multiples of, or what a float has at its level."""
        if (meter, register) not in self._steps:
            common = Fraction(gcd(*self._served[meter, register]))
            self._steps[meter, register] = max(step_wh(self._evidence, meter), common)
        return self._steps[meter, register]

    def known(self, body: Body, meter: str, register: str, notes: Notes) -> Known | None:
        """Metered and true energy; None where a boundary register is missing (the sums have said so)."""
        before, after = body["at_start"].get(meter), body["at_end"].get(meter)
        if before is None or after is None or before[register] is None or after[register] is None:
            return None
        k = int(body["k"])
        found = self.between(meter, register, (before, after), (k, k + 1), notes)
        span = (int(before["requested_ms"]), int(after["replied_ms"]))
        jump_wh = self._evidence.jump_wh(meter, *span) if register == "import_wh" else None
        if found is None or jump_wh is None:
            return found
        notes.expect(
            any(f"meter {meter}:" in text for text in body["missing"]),
            f"{meter} was exchanged, and quarter hour {k} does not say that something is not metered",
        )
        lost_ms = unmetered_ms(self._evidence, meter, *span)
        lost = self._largest_w(meter, k, k + 1) * lost_ms / MS_PER_HOUR
        return Known(found.true - Fraction(jump_wh), found.bound, lost)

    def between(
        self, meter: str, register: str, stated: tuple[Body | None, Body | None], ks: tuple[int, int], notes: Notes
    ) -> Known | None:
        """True energy from the start of one quarter hour to that of another, by the registers stated for both."""
        before, after = stated
        if before is None or after is None:
            return None
        skews = [
            self._skew(meter, register, value, boundary * QUARTER_MS, notes)
            for value, boundary in zip((before, after), ks, strict=True)
        ]
        since_ms, until_ms = self._evidence.unknowable
        if any(since_ms <= boundary * QUARTER_MS < until_ms for boundary in ks):
            return None  # the meter has served it, at another time than its gateway can know
        column = 0 if register == "import_wh" else 1
        truths = [self._true.get((meter, boundary * QUARTER_MS)) for boundary in ks]
        if None in skews or not notes.expect(
            None not in truths, f"the truth knows nothing of {meter} at its quarter hours"
        ):
            return None
        at_start, at_end = (Fraction(truth[column]) for truth in truths if truth)
        late_ms = sum(skew + lied for skew, lied in (one for one in skews if one is not None))
        first = ks[0] - 1 if skews[0] is not None and skews[0][1] else ks[0]  # it had stood still since before
        bound = self.step(meter, register) + 1 + self._largest_w(meter, first, ks[1]) * late_ms / MS_PER_HOUR
        span = (int(before["requested_ms"]), int(after["replied_ms"]))
        unseen = self._evidence.unseen_ranges_wh(meter, *span) if register == "import_wh" else 0.0
        return Known(at_end - at_start - Fraction(unseen), bound, Fraction(0))

    def _largest_w(self, meter: str, first: int, end: int) -> Fraction:
        """The largest power of a meter just after both boundaries, and in between."""
        return Fraction(max(self._power.get((meter, k), 0.0) for k in range(first, end + 1)))

    def gave(self, meter: str, stated: Body) -> bool:
        """Whether the meter served these registers when they are said to have been read."""
        slack = self._evidence.stated_ms
        since_ms, until_ms = int(stated["requested_ms"]) - slack, int(stated["replied_ms"]) + slack
        return all(
            any(
                since_ms <= at_ms + off_ms <= until_ms
                for at_ms in self._served[meter, register].get(stated[register], [])
                for off_ms in self._evidence.shown_ms(at_ms)
            )
            for register in ("import_wh", "export_wh")
            if stated[register] is not None
        )

    def _skew(self, meter: str, register: str, stated: Body, boundary_ms: int, notes: Notes) -> tuple[int, int] | None:
        """How long after the boundary the meter served this value, and for how long that had stood still (ms); None
        where it never did."""
        clock = local_clock(boundary_ms, self._evidence.place.timezone)
        slack = self._evidence.stated_ms
        requested, replied = int(stated["requested_ms"]), int(stated["replied_ms"])
        times = self._served[meter, register].get(stated[register], [])
        shown = self._evidence.shown_ms(boundary_ms)
        fitting = sorted(
            at_ms
            for off_ms in set(shown)
            for at_ms in _within(times, requested - slack - off_ms, replied + slack - off_ms)
        )
        if not notes.expect(
            bool(fitting), f"{meter} served no {stated[register]} Wh when the register of {clock} was read"
        ):
            return None
        notes.expect(requested >= boundary_ms, f"the register of {meter} for {clock} was asked for before it")
        served_ms = fitting[0]
        skew = abs(served_ms - boundary_ms)
        self.largest_ms = max(self.largest_ms, skew)
        off_ms = max(map(abs, shown)) + self._evidence.stepped_ms(boundary_ms)
        allowed = self._allowed_ms(meter, boundary_ms) + self._evidence.widen_ms + off_ms
        notes.expect(skew <= allowed, f"the register of {meter} for {clock} came {skew / 1000:.2f} s late")
        return skew, self._evidence.lied_ms(meter, served_ms)

    def _allowed_ms(self, meter: str, boundary_ms: int) -> int:
        """How late the register of a quarter hour may come."""
        largest_ms = LARGEST_SKEW_MS if self._evidence.speed <= 1 else LARGEST_SKEW_FAST_MS
        # One that died before it could ask was not there either.
        there_ms = [
            boundary_ms - since
            for since, until in self._evidence.lives
            if since <= boundary_ms and boundary_ms + largest_ms <= until
        ]
        if self._evidence.silent_at(meter, boundary_ms) or not there_ms:
            return AT_A_START_MS
        # One that has only just started still asks who answers where, and reads every meter twice; and so it asks the
        # one that has only just come back.
        asks_ms = max(AT_A_START_MS, ASKS_MS * self._evidence.place.beside(meter))
        late_ms = max(asks_ms - there_ms[0], AT_A_START_MS - self._evidence.back_ms(meter, boundary_ms))
        return min(AT_A_START_MS, max(largest_ms, late_ms))


def _within(times: Sequence[int], from_ms: int, to_ms: int) -> Sequence[int]:
    """Those of rising `times` that lie between, both ends included."""
    return times[bisect_left(times, from_ms) : bisect_right(times, to_ms)]
