"""I7 against the truth: how late each boundary register was served, and how far a quarter hour may be off for it.

|Wh of a participant - the simulator's Wh| <= one register step + 1 Wh + its largest power x (skew at start + at end);
the common rest within the sum of these bounds. The skew is the judge's own, from the log of what the meters served.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from simulators.judge.counters import advanced_wh, step_wh
from simulators.judge.evidence import Evidence
from simulators.judge.place import Place
from simulators.judge.records import Body
from simulators.judge.times import QUARTER_MS, local_clock
from simulators.judge.verdict import Notes

LARGEST_SKEW_MS = 6_000
AT_A_START_MS = 10_000
"""A gateway that starts just after a quarter hour still takes the register (design rule 4)."""

MS_PER_HOUR = 3_600_000
EXCHANGE_MS = 30_000
"""What flows between the last reading of an old meter and the first good one of its successor is not metered.

Two cycles of 5 s until its level has contradicted and its serial number is read, one until a second reading agrees, one
for the last of the old meter; 10 s for a bus that others keep busy. Silences of the meter come on top."""


@dataclass(frozen=True, slots=True)
class Known:
    """One register in one quarter hour: metered and true Wh, and how far they may lie apart."""

    metered: int
    true: Fraction
    bound: Fraction


def compare_with_truth(evidence: Evidence, bodies: list[Body], notes: Notes) -> None:
    """Every share, and the house, within the bound that the judge's own skews allow."""
    log = ServedLog(evidence)
    compared = 0
    furthest = Fraction(0)
    for body in bodies:
        for name, wh, parts in _quantities(evidence.place, body, log, notes):
            true = sum((sign * part.true for sign, part in parts), Fraction(0))
            bound = sum((part.bound for _, part in parts), Fraction(0))
            off = abs(wh - true)
            compared += 1
            furthest = max(furthest, off / bound)
            clock = local_clock(body["k"] * QUARTER_MS, evidence.place.timezone)[:5]
            notes.expect(
                off <= bound,
                f"quarter hour {clock}, {name}: {wh} Wh, true are {float(true):.1f}; "
                f"that is off by {float(off):.1f} Wh, allowed are {float(bound):.1f}",
            )
    # A watch may have killed the gateway at every second boundary: then no quarter hour has both its registers.
    occasion = evidence.must_show or _whole(evidence)
    notes.expect(compared > 0 or not occasion, "no quarter hour could be compared with the truth")
    notes.figure("compared with the truth", compared)
    notes.figure("largest part of the bound", f"{float(furthest) * 100:.0f} %")
    notes.figure("largest skew", f"{log.largest_ms / 1000:.2f} s")


def _whole(evidence: Evidence) -> bool:
    """Whether the gateway lived at both ends of some quarter hour."""

    def lived(k: int) -> bool:
        return any(
            since <= k * QUARTER_MS and k * QUARTER_MS + AT_A_START_MS <= until for since, until in evidence.lives
        )

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
        return max(step_wh(self._evidence, meter), Fraction(gcd(*self._served[meter, register])))

    def known(self, body: Body, meter: str, register: str, notes: Notes) -> Known | None:
        """Metered and true energy; None where a boundary register is missing (the sums have said so)."""
        before, after = body["at_start"].get(meter), body["at_end"].get(meter)
        if before is None or after is None or before[register] is None or after[register] is None:
            return None
        k = int(body["k"])
        skews = [
            self._skew(meter, register, stated, boundary * QUARTER_MS, notes)
            for stated, boundary in ((before, k), (after, k + 1))
        ]
        column = 0 if register == "import_wh" else 1
        truths = [self._true.get((meter, boundary * QUARTER_MS)) for boundary in (k, k + 1)]
        span = (k * QUARTER_MS, (k + 1) * QUARTER_MS)
        if self._evidence.lied(meter, *span):
            return None
        if None in skews or not notes.expect(
            None not in truths, f"the truth knows nothing of {meter} at its quarter hours"
        ):
            return None
        at_start, at_end = (Fraction(truth[column]) for truth in truths if truth)
        largest_w = max(self._power.get((meter, k), 0.0), self._power.get((meter, k + 1), 0.0))
        late_ms = sum(skew for skew in skews if skew is not None)
        jump_wh = self._evidence.jump_wh(meter, *span) if register == "import_wh" else None
        if jump_wh is not None:
            late_ms += EXCHANGE_MS + self._evidence.dead_ms(*span) + self._evidence.silent_ms(meter, *span)
            unmetered_ms = self._evidence.unmetered_ms(meter, *span)
            late_ms += unmetered_ms
            named = any(f"meter {meter}:" in text for text in body["missing"])
            notes.expect(
                named or not unmetered_ms, f"{meter} was exchanged unseen, and quarter hour {k} does not say so"
            )
        bound = self.step(meter, register) + 1 + Fraction(largest_w) * late_ms / MS_PER_HOUR
        moved_wh = advanced_wh(self._evidence, meter, after[register] - before[register])
        return Known(moved_wh, at_end - at_start - Fraction(jump_wh or 0), bound)

    def _skew(self, meter: str, register: str, stated: Body, boundary_ms: int, notes: Notes) -> int | None:
        """How long after the boundary the meter served this value; None where it never did."""
        clock = local_clock(boundary_ms, self._evidence.place.timezone)
        slack = self._evidence.slack_ms
        requested, replied = int(stated["requested_ms"]), int(stated["replied_ms"])
        times = self._served[meter, register].get(stated[register], [])
        fitting = [at_ms for at_ms in times if requested - slack <= at_ms <= replied + slack]
        if not notes.expect(
            bool(fitting), f"{meter} served no {stated[register]} Wh when the register of {clock} was read"
        ):
            return None
        notes.expect(requested >= boundary_ms, f"the register of {meter} for {clock} was asked for before it")
        skew = max(abs(at_ms - boundary_ms) for at_ms in fitting[:1])
        self.largest_ms = max(self.largest_ms, skew)
        there = any(since <= boundary_ms <= until for since, until in self._evidence.lives)
        allowed = (LARGEST_SKEW_MS if there else AT_A_START_MS) + self._evidence.widen_ms
        notes.expect(skew <= allowed, f"the register of {meter} for {clock} came {skew / 1000:.2f} s late")
        return skew
