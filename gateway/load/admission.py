"""Pure: whose minimum fits - who charges and who waits, in a fair rotation.

There is nothing between 0 and the minimum of 6 A (IEC 61851-1), so when the minima do not all fit somebody waits.
Order: who charges and is within the dwell; then those who wait, longest first; then who charges and has had the dwell.
Nobody overtakes: a waiting car whose minimum does not fit has it held free on its links against those who came later.
So among n cars over links that hold k minima each nobody waits longer than dwell x ceil(n/k) (invariant I9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter, sub
from typing import NamedTuple

from gateway.model import ConnectorRef

DWELL_S = 900.0
OFF_S = 300.0
LONGEST_WAIT_S = 4 * 3600.0
SLEEPY_S = 120.0
"""A car that takes nothing of what it is offered for this long has no claim to its dwell while others wait."""


class Claim(NamedTuple):
    """A car that wants to charge. `since_s`: since when it charges (`on`) or waits; link numbers as in circuits.

    `ready` says that a pause has lasted long enough (a car that has not charged yet is ready). `one_sided`: on fewer
    than three phases, so the imbalance rule is about it. `weight` is the speed of its share above the minimum.
    """

    ref: ConnectorRef
    links: tuple[int, ...]
    min_ma: int
    max_ma: int
    why_max: str = "full"
    weight: int = 1
    on: bool = False
    since_s: float = 0.0
    ready: bool = True
    asleep: bool = False
    one_sided: bool = False


class Place(NamedTuple):
    """A place in the queue, from 1, and in how many seconds the turn is expected (None: not to be said)."""

    position: int
    wait_s: float | None


class Admission(NamedTuple):
    """Who gets a minimum, who waits where, and the dwell in force."""

    admitted: frozenset[ConnectorRef]
    queue: Mapping[ConnectorRef, Place]
    dwell_s: float


class _Minima:
    """The minima given so far, and what is left on each link. `unsure` is how much less the careful estimate leaves."""

    def __init__(self, keep: Sequence[int], fill: Sequence[int], tilt: Sequence[tuple[tuple[int, ...], int]]) -> None:
        self.room = list(keep)
        self.unsure = list(map(sub, keep, fill))
        self.tilt = tilt
        self.one_sided = [0] * len(self.room)
        self.admitted: set[ConnectorRef] = set()

    def fits(self, claim: Claim, *held: Sequence[int]) -> bool:
        """Whether the minimum fits every link beside what is `held` there, and tilts no circuit beyond its imbalance
        limit."""
        room, min_ma = self.room, claim.min_ma
        for link in claim.links:
            if room[link] - sum([one[link] for one in held]) < min_ma:
                return False
        return self.level(claim)

    def level(self, claim: Claim) -> bool:
        """Whether the minimum keeps every circuit within its imbalance limit; a three-phase car always does."""
        if not claim.one_sided:
            return True
        own = set(claim.links)
        for phases, most_ma in self.tilt:
            if own.isdisjoint(phases):
                continue
            loads = [self.one_sided[link] + (claim.min_ma if link in own else 0) for link in phases]
            if max(loads) - min(loads) > most_ma:
                return False
        return True

    def admit(self, claim: Claim) -> None:
        """Give it its minimum."""
        room, min_ma = self.room, claim.min_ma
        self.admitted.add(claim.ref)
        for link in claim.links:
            room[link] -= min_ma
        if claim.one_sided:
            for link in claim.links:
                self.one_sided[link] += min_ma

    def begin(self, claim: Claim) -> None:
        """Give its minimum to one that has not charged: from now on the careful estimate holds on its links, also for
        those that charge already, else it could not begin while they go on."""
        self.admit(claim)
        for link in claim.links:
            self.room[link] -= self.unsure[link]
            self.unsure[link] = 0

    def admit_in_turn(self, claims: Sequence[Claim]) -> None:
        """Those that fit beside the ones before; where all of them fit together, that is everybody."""
        if self.tilt or not self._admit_together(claims):
            for claim in claims:
                if self.fits(claim):
                    self.admit(claim)

    def _admit_together(self, claims: Sequence[Claim]) -> bool:
        needed: dict[tuple[int, ...], int] = {}
        for claim in claims:
            needed[claim.links] = needed.get(claim.links, 0) + claim.min_ma
        room = list(self.room)
        for links, ma in needed.items():
            for link in links:
                room[link] -= ma
                if room[link] < 0:
                    return False
        self.room = room
        self.admitted.update([claim.ref for claim in claims])
        return True


def admit(
    claims: Sequence[Claim],
    keep: Sequence[int],
    fill: Sequence[int],
    tilt: Sequence[tuple[tuple[int, ...], int]],
    now_s: float,
) -> Admission:
    """Admit minima. `keep` is the capacity for cars that charge already, `fill` (at most `keep`) for those that begin.

    `claims` are in the order of their names. `tilt` holds, per circuit with an imbalance limit, its links and that
    limit. Shortage ends a dwell early: the fuse comes first, and who has charged longest gives way.
    """
    wanting = [claim for claim in claims if claim.max_ma >= claim.min_ma]
    # Both sorts leave those of one instant in the order of their names.
    waiting = sorted([claim for claim in wanting if not claim.on], key=attrgetter("since_s"))
    running = sorted([claim for claim in wanting if claim.on], key=attrgetter("since_s"), reverse=True)
    dwell_s = _dwell(wanting, fill) if waiting else DWELL_S
    kept: list[Claim] = []
    spent: list[Claim] = []
    for claim in running:
        (kept if not claim.asleep and now_s - claim.since_s < dwell_s else spent).append(claim)
    spent.sort(key=attrgetter("asleep"))

    minima = _Minima(keep, fill, tilt)
    minima.admit_in_turn(kept)
    _admit_waiting(waiting, minima)
    minima.admit_in_turn(spent)
    pausing = _pausing(waiting, minima)
    return Admission(frozenset(minima.admitted), _queue(wanting, minima.admitted, pausing, dwell_s, now_s), dwell_s)


def _admit_waiting(waiting: Sequence[Claim], minima: _Minima) -> None:
    if not waiting:
        return
    held = [0] * len(minima.room)
    held_one_sided = [*held]
    for claim in waiting:
        if not claim.ready:
            continue
        if minima.fits(claim, held_one_sided if claim.one_sided else held, minima.unsure):
            minima.begin(claim)
            continue
        for link in claim.links:
            held_one_sided[link] += claim.min_ma
            if minima.level(claim):  # what only the imbalance rule refuses never stops a three-phase car
                held[link] += claim.min_ma


def _pausing(waiting: Sequence[Claim], minima: _Minima) -> set[ConnectorRef]:
    """Who would fit, and only waits for the end of the pause."""
    resting = [claim for claim in waiting if not claim.ready]
    if not resting:
        return set()
    return {claim.ref for claim in resting if minima.fits(claim, minima.unsure)}


def _dwell(claims: Sequence[Claim], capacity: Sequence[int]) -> float:
    """The dwell, shortened where the longest wait dwell x ceil(n/k) would exceed four hours."""
    slots = len(claims)
    largest: dict[int, int] = {}
    for links, min_ma in {(claim.links, claim.min_ma) for claim in claims}:  # many stand on the same links
        for link in links:
            if min_ma > largest.get(link, 0):
                largest[link] = min_ma
    for link, min_ma in largest.items():
        if (held := max(0, capacity[link]) // min_ma) >= 1:
            slots = min(slots, held)
    rounds = -(-len(claims) // max(1, slots))
    return min(DWELL_S, LONGEST_WAIT_S / max(1, rounds))


def _queue(
    claims: Sequence[Claim], admitted: set[ConnectorRef], pausing: set[ConnectorRef], dwell_s: float, now_s: float
) -> dict[ConnectorRef, Place]:
    """Places of everybody who got nothing; each expects the turn when enough of those who charge have had theirs.

    `pausing` would fit, and only wait for the end of their pause.
    """
    out = sorted(
        [claim for claim in claims if claim.ref not in admitted],
        key=lambda claim: (now_s if claim.on else claim.since_s, claim.ref),
    )
    if not out:
        return {}
    ends = sorted(
        max(0.0, dwell_s - (now_s - claim.since_s)) if claim.on else dwell_s
        for claim in claims
        if claim.ref in admitted
    )
    places = {}
    for number, claim in enumerate(out):
        pause_s = OFF_S if claim.on else 0.0 if claim.ready else max(0.0, OFF_S - (now_s - claim.since_s))
        wait_s = None
        if claim.ref in pausing:
            wait_s = pause_s
        elif ends:
            rounds, turn = divmod(number, len(ends))
            wait_s = max(ends[turn] + rounds * dwell_s, pause_s)
        places[claim.ref] = Place(number + 1, wait_s)
    return places
