"""Pure: what the rest of the house draws on a circuit: its meter less our chargers, both at the same instant.

The grid meter is read every second, the chargers' meters more rarely, and a car changes in between. So the difference
is taken at the newest instant at which all of them are known, and then held within what the newest reading of the
circuit allows: each car draws between its last reading and what it may draw. A house that jumps while the cars stand
still is seen at once; a car that ramps up is not mistaken for the house.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.model import PhaseMa, Reading
from gateway.site import Connector

OLD_S = 10.0
"""A circuit's reading older than this is replaced by the stated worst case of the house ..."""
SILENT_S = 60.0
"""... and one older than this ends in the circuit's safe value for all our chargers together."""
DRAW_KEPT_S = 30.0
"""A charger's reading older than this says nothing any more."""
SKEW_S = 2.0
"""Two meters show the same change up to this far apart: each averages and answers in its own time."""
MAINS_V = 230
ZERO: PhaseMa = (0, 0, 0)


class Sample(NamedTuple):
    """Current per building phase at one site-monotonic instant."""

    at_s: float
    ma: PhaseMa


class Draw(NamedTuple):
    """What is known of one connector: its samples, oldest first, and what it may draw at most on its phases; while its
    newest sample says something, at least that."""

    samples: tuple[Sample, ...]
    most: PhaseMa
    charging: bool


class Foreign(NamedTuple):
    """The rest of the house: the best estimate, and the one that blames the house for everything not yet read."""

    likely: PhaseMa
    highest: PhaseMa


def at(samples: Sequence[Sample], at_s: float) -> PhaseMa:
    """The current at an instant: between two samples in proportion, outside of them the nearest one."""
    after = samples[-1]
    if at_s >= after.at_s:
        return after.ma
    for before in reversed(samples):  # what is asked for lies near the end
        if before.at_s < at_s:
            return after.ma if before.ma == after.ma else _between(before, after, at_s)
        after = before
    return samples[0].ma


def _between(before: Sample, after: Sample, at_s: float) -> PhaseMa:
    span = max(1, round((after.at_s - before.at_s) * 1000))
    part = round((at_s - before.at_s) * 1000)
    a, b = before.ma, after.ma
    return (
        a[0] + (b[0] - a[0]) * part // span,
        a[1] + (b[1] - a[1]) * part // span,
        a[2] + (b[2] - a[2]) * part // span,
    )


def _map3(function: Callable[[int, int], int], a: PhaseMa, b: PhaseMa) -> PhaseMa:
    return function(a[0], b[0]), function(a[1], b[1]), function(a[2], b[2])


def foreign(total: Sequence[Sample], draws: Sequence[Draw], now_s: float) -> Foreign:
    """The rest of the house on one circuit from its samples (not empty) and the connectors below it. Never negative.

    A connector that nobody measures, or whose meter is silent, counts with what it may draw while it charges: the sum
    of the limits then holds as long as it does what it did, and a rise shows at the circuit's meter. In `highest` it
    counts with nothing.
    """
    newest = total[-1]
    known: list[Draw] = []
    last: list[Sample] = []
    unread: list[PhaseMa] = []
    for draw in draws:
        samples = draw.samples
        if samples and now_s - samples[-1].at_s <= DRAW_KEPT_S:
            known.append(draw)
            last.append(samples[-1])
        elif draw.charging:
            unread.append(draw.most)
    blind = _sum(unread)
    instant = min([newest.at_s, *[sample.at_s for sample in last]])
    instant = max(instant, newest.at_s - OLD_S, total[0].at_s)
    aligned = _less(_less(_lowest(total, instant), _sum([at(draw.samples, instant) for draw in known])), blind)
    read = _less(newest.ma, _sum([sample.ma for sample in last]))
    # The most that each can have drawn then: known where it was read well after, else what it may.
    after_s = newest.at_s + SKEW_S
    most = [sample.ma if sample.at_s >= after_s else draw.most for draw, sample in zip(known, last, strict=True)]
    lowest = _less(_less(newest.ma, blind), _sum(most))
    highest = _less(read, blind)
    likely = tuple(max(0, low, min(high, value)) for low, high, value in zip(lowest, highest, aligned, strict=True))
    return Foreign((likely[0], likely[1], likely[2]), _map3(max, read, ZERO))


def _lowest(total: Sequence[Sample], instant: float) -> PhaseMa:
    """The circuit's current at an instant, give or take the skew: a car that begins must not look like the house."""
    lowest = at(total, instant)
    for sample in total:
        if instant - SKEW_S <= sample.at_s < instant:
            lowest = _map3(min, lowest, sample.ma)
    return lowest


def _sum(values: Sequence[PhaseMa]) -> PhaseMa:
    one, two, three = map(sum, zip(ZERO, *values, strict=True))
    return one, two, three


def _less(a: PhaseMa, b: PhaseMa) -> PhaseMa:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def circuit_current(reading: Reading, phases: tuple[int, ...]) -> PhaseMa | None:
    """The import on the building's phases that a circuit's meter saw; None where it says nothing of current.

    Many meters give the current without a sign. Where the power says that energy leaves, a phase counts as exporting
    only if every choice of signs that agrees with the power says so. Without currents the whole power may flow
    on each phase.
    """
    if reading.current_ma is not None:
        return _placed(_signed(reading.current_ma, reading.power_w), phases)
    if reading.power_w is None:
        return None
    ma = reading.power_w * 1000 // MAINS_V
    return _placed((ma, ma, ma), phases)


def _signed(ma: PhaseMa, power_w: int | None) -> PhaseMa:
    if power_w is None or power_w >= 0 or min(ma) < 0:
        return ma
    slack_w = 200 + sum(ma) * MAINS_V // 1000 // 20
    signs = [(a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    miss_w = {
        sign: abs(sum(s * value for s, value in zip(sign, ma, strict=True)) * MAINS_V // 1000 - power_w)
        for sign in signs
    }
    closest = min(miss_w.values())
    likely = [sign for sign in signs if miss_w[sign] <= closest + slack_w]
    first, second, third = (value * max(sign[place] for sign in likely) for place, value in enumerate(ma))
    return first, second, third


def _placed(ma: PhaseMa, phases: tuple[int, ...]) -> PhaseMa:
    """From the meter's terminals to the building's phases."""
    placed = [0, 0, 0]
    for value, phase in zip(ma, phases, strict=False):
        placed[phase] = value
    return placed[0], placed[1], placed[2]


def connector_current(reading: Reading, connector: Connector) -> PhaseMa | None:
    """What a connector draws on the building's phases: its meter's L1..L3 are the connector's, turned by its rotation.

    Without currents the power spreads evenly over the phases of the connector.
    """
    if reading.current_ma is not None:
        return _placed(_map3(max, reading.current_ma, ZERO), connector.rotation)
    if reading.power_w is None:
        return None
    ma = max(0, reading.power_w) * 1000 // MAINS_V // connector.phases
    return _placed((ma, ma, ma), connector.building_phases())
