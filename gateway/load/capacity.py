"""Pure: what a circuit has left for our chargers, per phase, from its meter or from what is stated without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.load.foreign import OLD_S, SILENT_S, ZERO, Draw, Sample, foreign
from gateway.model import PhaseMa
from gateway.site import Circuit

WINDOW_S = 15.0
"""Room counts for a rise only after it lasted this long."""
SHORT_S = 3.0
"""A shortage must last this long before it stops a car, which then pauses for minutes; reductions do not wait."""
STUBBORN_S = 8.0
"""A circuit above its limit for this long: what cannot be read counts as the house's, and may stop a car."""
URGENT_PERCENT = 125
"""Above this much of the limit nothing waits."""
RISE_S = 3.0
RISE_MA = 300
"""A house that rises by at least this in each of two spans of `RISE_S` goes on rising: a cloud, not a kettle ..."""
LEAD_S = 8.0
"""... and cars follow a reduction only this much later (reading, link, 5 s of IEC 61851, the car), so it is lower by
what the house will have gained until then ..."""
LEAD_MOST_MA = 4000
"""... at most by this."""
MARGIN_MA = 500
"""Left free beside a measured house, so that the noise of the meters takes nothing back."""


class Sight(StrEnum):
    """How well the rest of the house on a circuit is known."""

    UNMETERED = "unmetered"
    FRESH = "fresh"
    OLD = "old"
    SILENT = "silent"


class Node(NamedTuple):
    """What is remembered of a circuit: the estimates of the last seconds, oldest first, and since when it carries more
    than its limit, and much more."""

    sight: Sight = Sight.SILENT
    window: tuple[Sample, ...] = ()
    over_since_s: float | None = None
    high_since_s: float | None = None


class Room(NamedTuple):
    """Current for our chargers in sum, mA per phase, their reservations not yet taken off.

    `keep`: by the likeliest estimate of the house, its lowest of the last 3 s, for cars that charge. `fill`: by its
    largest value of the last seconds, less a margin, for everything that rises or begins. `booked`: what the sum of the
    limits must not exceed now, a steady rise of the house ahead; where the circuit's meter shows more than the limit,
    whatever is not yet read counts as the house's.
    """

    keep: PhaseMa
    fill: PhaseMa
    booked: PhaseMa
    house: PhaseMa | None
    load: PhaseMa | None
    age_s: float | None


def room(
    node: Node, circuit: Circuit, worst_ma: int, samples: Sequence[Sample], draws: Sequence[Draw], now_s: float
) -> tuple[Node, Room]:
    """Judge a circuit now. A silent meter ends in the stated worst case, then in `safe_ma`, never in no house."""
    most = circuit.limit_ma
    if circuit.meter is None:
        left = _same(max(0, most - worst_ma))
        return Node(Sight.UNMETERED), Room(left, left, left, None, None, None)
    age_s = now_s - samples[-1].at_s if samples else None
    if age_s is None or age_s > SILENT_S:
        left = _same(max(0, min(circuit.safe_ma, most - worst_ma)))
        seen = _remember(node, Sight.SILENT, _same(worst_ma), now_s)
        return seen, Room(left, left, left, None, None, age_s)
    if age_s > OLD_S:
        last = node.window[-1].ma if node.window else ZERO
        house = _three([max(worst_ma, value) for value in last])
        seen = _remember(node, Sight.OLD, house, now_s)
        left = _left(most, house)
        return seen, Room(left, left, left, None, None, age_s)
    return _measured(node, most, samples, draws, now_s)


def _measured(
    node: Node, most: int, samples: Sequence[Sample], draws: Sequence[Draw], now_s: float
) -> tuple[Node, Room]:
    rest = foreign(samples, draws, now_s)
    load = samples[-1].ma
    since_s = None if max(load) <= most else now_s if node.over_since_s is None else node.over_since_s
    seen = _remember(node, Sight.FRESH, rest.likely, now_s, since_s)
    over = [value > most for value in load]
    now = rest.likely
    if since_s is not None:
        now = _three([rest.highest[phase] if over[phase] else rest.likely[phase] for phase in range(3)])
    soon = _three([value + lead_ma for value, lead_ma in zip(now, _lead_ma(seen.window, now_s), strict=True)])
    careful = _each(max, [*[sample.ma for sample in seen.window], soon])
    short = 0.0 if max(load) * 100 > most * URGENT_PERCENT else SHORT_S
    keep = _left(most, _each(min, [sample.ma for sample in seen.window if now_s - sample.at_s <= short]))
    if since_s is not None and now_s - since_s >= STUBBORN_S:
        stubborn = _left(most, now)
        keep = _three([stubborn[phase] if over[phase] else keep[phase] for phase in range(3)])
    found = Room(
        keep=keep,
        fill=_left(most - MARGIN_MA, careful),
        booked=_left(most, soon),
        house=rest.likely,
        load=load,
        age_s=now_s - samples[-1].at_s,
    )
    return seen, found


def _each(choose: Callable[[tuple[int, ...]], int], currents: Sequence[PhaseMa]) -> PhaseMa:
    """The largest or smallest of each phase."""
    first, second, third = map(choose, zip(*currents, strict=True))
    return first, second, third


def _left(most: int, house: PhaseMa) -> PhaseMa:
    """What the house leaves, never less than nothing."""
    first, second, third = house
    return max(0, most - first), max(0, most - second), max(0, most - third)


def _lead_ma(window: Sequence[Sample], now_s: float) -> PhaseMa:
    """Per phase what a steady rise of the house adds until a reduction is felt; 0 for a step, which is over when it is
    seen."""
    newest, before, first = (_past(window, now_s - spans * RISE_S) for spans in (0, 1, 2))
    if newest is None or before is None or first is None:
        return ZERO
    leads = [0, 0, 0]
    for phase in range(3):
        rise_ma = min(newest[phase] - before[phase], before[phase] - first[phase])
        if rise_ma >= RISE_MA:
            leads[phase] = min(LEAD_MOST_MA, round(rise_ma * LEAD_S / RISE_S))
    return _three(leads)


def _past(window: Sequence[Sample], at_s: float) -> PhaseMa | None:
    """The newest estimate that is not later than `at_s`; None where the window does not reach back so far."""
    for sample in reversed(window):
        if sample.at_s <= at_s:
            return sample.ma
    return None


def _remember(node: Node, sight: Sight, house: PhaseMa, now_s: float, over_since_s: float | None = None) -> Node:
    old = 0
    while old < len(node.window) and now_s - node.window[old].at_s >= WINDOW_S:
        old += 1
    return Node(sight, (*node.window[old:], Sample(now_s, house)), over_since_s, node.high_since_s)


def _same(ma: int) -> PhaseMa:
    return ma, ma, ma


def _three(values: Sequence[int]) -> PhaseMa:
    return values[0], values[1], values[2]
