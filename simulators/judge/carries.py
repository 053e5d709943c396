"""I7: what rounding leaves over is handed on from quarter hour to quarter hour, exactly (largest remainder with carry).

carry after = carry before + S x c / C - share, in nano-Wh. A corrected quarter hour starts from what its first version
received; what it hands on differently comes as an adjustment into a quarter hour that is settled later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, pairwise

from simulators.judge.evidence import Evidence
from simulators.judge.records import Body
from simulators.judge.times import QUARTER_MS, local_clock, period
from simulators.judge.verdict import Notes

NANO = 1_000_000_000
CARRY_BOUND = 1_100_000_000
"""No carry beyond 1.1 Wh, in nano-Wh; larger by an adjustment that is not yet worked off."""

MOST_CORRECTIONS = 6
"""So many open corrections are tried as the cause of an adjustment."""

Versions = dict[int, list[Body]]


def quarter_name(evidence: Evidence, body: Body) -> str:
    """quarter hour 12:30 (version 1)"""
    clock = local_clock(body["k"] * QUARTER_MS, evidence.place.timezone)[:5]
    return f"quarter hour {clock} (version {body['version']})"


def carry_arithmetic(body: Body, name: str, notes: Notes) -> int:
    """carry after = carry before + exact share - share, to 1 nano-Wh. Returns the largest carry."""
    if body["consumption_wh"] is None:
        return 0
    notes.expect(body["key"] == "dynamic", f"{name}: the key {body['key']} is not one that this judge knows")
    total = sum(share["wh"] for share in body["shares"])
    solar = body["solar_wh"] - body["unallocated_wh"]
    largest = 0
    for share in body["shares"]:
        exact = Fraction(solar * share["wh"], total) if total else Fraction(0)
        wanted = share["carry_before_nano_wh"] + (exact - share["solar_wh"]) * NANO
        off = abs(wanted - share["carry_after_nano_wh"])
        notes.expect(
            off <= 1,
            f"{name}, {share['participant']}: carries {share['carry_after_nano_wh']} nano-Wh on, "
            f"off by {float(off):.0f} nano-Wh",
        )
        largest = max(largest, abs(share["carry_after_nano_wh"]))
    return largest


@dataclass(slots=True)
class Carries:
    """What one participant was handed on (nano-Wh), and which later corrections of it are not yet worked in.

    `blind`: a quarter hour without shares lies in between, which may have taken an adjustment in without saying so.
    """

    handed: int = 0
    adjusted: int = 0
    blind: bool = False
    pending: list[int] = field(default_factory=list)


def carried_on(evidence: Evidence, versions: Versions, notes: Notes) -> None:
    """Each quarter hour receives what the one before handed on; later corrections come as adjustments of their size."""
    chains: dict[str, Carries] = {}
    before_k: int | None = None
    for k, ordered in versions.items():
        zone, length = evidence.place.timezone, evidence.place.period
        if before_k is not None and period(before_k, zone, length) != period(k, zone, length):
            chains = {}
        before_k = k
        present = {share["participant"] for body in ordered for share in body["shares"]}
        for who in sorted(present):
            chain = chains.setdefault(who, Carries())
            mine = [share for body in ordered for share in body["shares"] if share["participant"] == who]
            from_the_first = len(mine) == len(ordered)
            name = f"{quarter_name(evidence, ordered[0])}, {who}"
            if from_the_first:
                _receives(name, chain, mine[0], notes)
            else:
                _received_unseen(name, chain, mine[0], notes)
            _hands_on(name, chain, mine, from_the_first, notes)
            chain.blind = not from_the_first
        for who in chains.keys() - present:
            chains[who].blind = True


def _receives(name: str, chain: Carries, share: Body, notes: Notes) -> None:
    """The first version starts from what was handed on, and from corrections that it names."""
    received, named = share["carry_before_nano_wh"], share.get("adjustment_nano_wh", 0)
    gap = received - chain.handed
    used = _adjustment(gap, chain.pending)
    notes.expect(used is not None, f"{name}: receives a carry of {received} nano-Wh, handed on were {chain.handed}")
    # Of a gap that a quarter hour without shares lies in, a part may have been taken in there: that part is not named.
    unseen = chain.blind and _adjustment(gap - named, [*(used or ())]) is not None
    notes.expect(named == gap or unseen or used is None, f"{name}: names an adjustment of {named}, it got {gap}")
    _take_in(chain, used or ())
    chain.handed = received


def _received_unseen(name: str, chain: Carries, share: Body, notes: Notes) -> None:
    """A first version without shares took in what was pending without saying so; a later one shows what it was."""
    received = share["carry_before_nano_wh"]
    used = _adjustment(received - chain.handed, chain.pending)
    notes.expect(used is not None, f"{name}: received a carry of {received} nano-Wh, handed on were {chain.handed}")
    _take_in(chain, used or ())
    chain.handed = received


def _take_in(chain: Carries, used: tuple[int, ...]) -> None:
    for delta in used:
        chain.pending.remove(delta)
        chain.adjusted += abs(delta)


def _hands_on(name: str, chain: Carries, mine: list[Body], from_the_first: bool, notes: Notes) -> None:
    """Every version starts from what the first received; a first version without shares handed on just that."""
    handed = [*([] if from_the_first else [chain.handed]), *(share["carry_after_nano_wh"] for share in mine)]
    for share in mine:
        after = share["carry_after_nano_wh"]
        notes.expect(abs(after) <= CARRY_BOUND + chain.adjusted, f"{name}: carries {after / NANO:.3f} Wh on")
        notes.expect(
            share["carry_before_nano_wh"] == chain.handed,
            f"{name}: a correction starts from another carry than the first version",
        )
    chain.pending += [after - before for before, after in pairwise(handed) if after != before]
    chain.handed = handed[0]


def _adjustment(gap: int, pending: list[int]) -> tuple[int, ...] | None:
    """The corrections that explain a gap; None where nothing does."""
    if gap == 0:
        return ()
    for count in range(1, min(len(pending), MOST_CORRECTIONS) + 1):
        for chosen in combinations(pending[:MOST_CORRECTIONS], count):
            if sum(chosen) == gap:
                return chosen
    return None
