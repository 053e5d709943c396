"""Pure: `allocate(snapshot) -> Plan`: who may draw how much now, per phase over the whole tree, and why.

Layers, in this order: minima (admission), filling above them, the imbalance rule. A surplus mode (charge only what the
sun leaves over) would be one more upper bound on `Claim.max_ma`, computed before `allocate`; solar power comes first
without it, since what the roof gives is simply not drawn from the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from gateway.load.admission import Admission, Claim, admit
from gateway.load.filling import STEP_MA, Share, fill
from gateway.model import ConnectorRef

_IMBALANCE_PASSES = 3


class Snapshot(NamedTuple):
    """What is to be shared. Capacities are per link, mA, already less the rest of the house and all reservations.

    `keep` holds for cars that charge already, `fill` (at most `keep`: the careful estimate) for all that rises or
    begins. `tilt`: the links of each circuit with an imbalance limit, and that limit.
    """

    now_s: float
    claims: tuple[Claim, ...]
    keep: tuple[int, ...]
    fill: tuple[int, ...]
    tilt: tuple[tuple[tuple[int, ...], int], ...] = ()


class Grant(NamedTuple):
    """The limit of one connector and its reason.

    `reason` is stable: full, demand, csms, start (as the claim's `why_max`), fuse, imbalance, waiting, csms_zero.
    `link` is the full link behind `fuse`. `position` and `wait_s` are set for those who wait.
    """

    limit_ma: int
    reason: str
    link: int | None = None
    position: int | None = None
    wait_s: float | None = None


class _Asked(NamedTuple):
    """All that decides how the current is filled: who may charge, in the order of their names, and the room."""

    chosen: tuple[Claim, ...]
    fill: tuple[int, ...]
    tilt: tuple[tuple[tuple[int, ...], int], ...]


class Plan(NamedTuple):
    """A grant for every claim, and the dwell in force. `given` is what those who may charge get, for what was
    `asked`."""

    grants: Mapping[ConnectorRef, Grant]
    dwell_s: float
    asked: _Asked
    given: Mapping[ConnectorRef, Grant]


def allocate(snapshot: Snapshot, before: Plan | None = None) -> Plan:
    """Share the current. Every limit is 0 or between the claim's minimum and maximum (I2), in steps of 0.1 A.

    The sum on each link fits `keep`, and fits `fill` except for the minima of cars that charge already. In most seconds
    the same is asked as in the plan `before`, and its answer is taken.
    """
    claims = sorted(snapshot.claims, key=attrgetter("ref"))
    admission = admit(claims, snapshot.keep, snapshot.fill, snapshot.tilt, snapshot.now_s)
    chosen = tuple([claim for claim in claims if claim.ref in admission.admitted])
    asked = _Asked(chosen, snapshot.fill, snapshot.tilt)
    given = before.given if before is not None and before.asked == asked else _given(asked)
    grants = dict(given)
    if len(chosen) < len(claims):
        grants |= {claim.ref: _refused(claim, admission) for claim in claims if claim.ref not in given}
    return Plan(grants, admission.dwell_s, asked, given)


def _given(asked: _Asked) -> dict[ConnectorRef, Grant]:
    ma, stopped_by = _filled(asked)
    return {
        claim.ref: _grant(claim, value, link, len(asked.fill))
        for claim, value, link in zip(asked.chosen, ma, stopped_by, strict=True)
    }


def _grant(claim: Claim, ma: int, link: int | None, links: int) -> Grant:
    if link is None:
        return Grant(ma, claim.why_max)
    if link >= links:
        return Grant(ma, "imbalance")
    return Grant(ma, "fuse", link)


def _refused(claim: Claim, admission: Admission) -> Grant:
    place = admission.queue.get(claim.ref)
    if place is None:
        return Grant(0, "csms_zero")
    return Grant(0, "waiting", None, place.position, place.wait_s)


def _filled(asked: _Asked) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """Fill; where a circuit has an imbalance limit, with one more link per phase for the one-sided loads alone.

    |Ia - Ib| <= U is no packing constraint, so the caps start where they must hold (the smallest phase of the minima
    plus U) and are raised while the result stays within U: always feasible, in a few passes close to the best.
    """
    chosen, room, tilt = asked
    plain = fill(_shares(chosen, {}), room)
    if _tilted(chosen, plain.ma, tilt) is None:
        return plain.ma, plain.stopped_by
    base = [claim.min_ma for claim in chosen]
    best = None
    for _ in range(_IMBALANCE_PASSES):
        caps = _caps(chosen, base, tilt)
        numbers = {link: len(room) + place for place, link in enumerate(sorted(caps))}
        capacity = [*room, *(caps[link] for link in sorted(caps))]
        result = fill(_shares(chosen, numbers), capacity)
        if best is not None and _tilted(chosen, result.ma, tilt) is not None:
            break
        best, base = result, list(result.ma)
    assert best is not None
    return best.ma, best.stopped_by


def _shares(chosen: Sequence[Claim], extra: Mapping[int, int]) -> list[Share]:
    shares = []
    for claim in chosen:
        links = claim.links
        if claim.one_sided:
            links += tuple(extra[link] for link in claim.links if link in extra)
        top_ma = max(claim.min_ma, claim.max_ma - claim.max_ma % STEP_MA)
        shares.append(Share(links, claim.min_ma, top_ma, claim.weight))
    return shares


def _one_sided(chosen: Sequence[Claim], ma: Sequence[int], links: Sequence[int]) -> list[int]:
    pairs = [(claim, value) for claim, value in zip(chosen, ma, strict=True) if claim.one_sided]
    return [sum(value for claim, value in pairs if link in claim.links) for link in links]


def _tilted(
    chosen: Sequence[Claim], ma: Sequence[int], tilt: Sequence[tuple[tuple[int, ...], int]]
) -> tuple[int, ...] | None:
    """The links of the first circuit beyond its imbalance limit."""
    for links, most_ma in tilt:
        loads = _one_sided(chosen, ma, links)
        if max(loads) - min(loads) > most_ma:
            return links
    return None


def _caps(chosen: Sequence[Claim], ma: Sequence[int], tilt: Sequence[tuple[tuple[int, ...], int]]) -> dict[int, int]:
    return {link: min(_one_sided(chosen, ma, links)) + most_ma for links, most_ma in tilt for link in links}
