"""Pure: weighted water-filling over links: the unique max-min point, in milliampere, and its rounding to steps.

Progressive filling (Bertsekas and Gallager, Data Networks, 6.5): every share rises from its minimum at the speed of its
weight until a link on its way is full or the share has what it can take. Links are packing constraints of any kind: a
phase of a circuit, or the unbalanced loads of a phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

STEP_MA = 100
"""OCPP limits are sent in 0.1 A."""

FINE = 1_000_000
"""Levels are integers of this many parts of a milliampere per unit of weight: nothing is lost before the rounding."""


class Share(NamedTuple):
    """One that takes part: from `min_ma` up to `max_ma`, over `links` (indices into the capacities)."""

    links: tuple[int, ...]
    min_ma: int
    max_ma: int
    weight: int = 1


class Filled(NamedTuple):
    """Milliampere of each share, and the link that stopped it (None: it has all that it can take)."""

    ma: tuple[int, ...]
    stopped_by: tuple[int | None, ...]


def fill(shares: Sequence[Share], capacity: Sequence[int]) -> Filled:
    """Fill from the minima; capacity below the sum of the minima gives the minima and nothing more.

    The order of `shares` decides nothing but who gets the last step among equals.
    """
    exact, stopped_by = levels(shares, capacity)
    ma = [max(share.min_ma, _floor(value)) for share, value in zip(shares, exact, strict=True)]
    _leftovers(shares, capacity, exact, ma)
    return Filled(tuple(ma), tuple(stopped_by))


def _floor(fine: int) -> int:
    ma = fine // FINE
    return ma - ma % STEP_MA


def levels(shares: Sequence[Share], capacity: Sequence[int]) -> tuple[list[int], list[int | None]]:
    """The exact filling, in `FINE` parts of a milliampere, and the link that stopped each share."""
    room = [value * FINE for value in capacity]
    weight = [0] * len(room)
    members: list[list[int]] = [[] for _ in room]
    exact = [share.min_ma * FINE for share in shares]
    top = [max(0, share.max_ma - share.min_ma) * FINE // share.weight for share in shares]
    stopped_by: list[int | None] = [None] * len(shares)
    for number, share in enumerate(shares):
        for link in share.links:
            room[link] -= share.min_ma * FINE
            weight[link] += share.weight
            members[link].append(number)
    active = {number for number in range(len(shares)) if top[number] > 0}
    for number in set(range(len(shares))) - active:
        for link in shares[number].links:
            weight[link] -= shares[number].weight
    used = [link for link in range(len(room)) if weight[link] > 0]
    while active:
        level = min(top[number] for number in active)
        tight = None
        for link in used:
            if weight[link] > 0 and (full := max(0, room[link]) // weight[link]) < level:
                level, tight = full, link
        stop = (
            [number for number in members[tight] if number in active]
            if tight is not None
            else [number for number in active if top[number] == level]
        )
        for number in stop:
            share = shares[number]
            active.discard(number)
            stopped_by[number] = tight
            exact[number] += level * share.weight
            for link in share.links:
                # `room` counts from level 0 for everyone who still rises: what is fixed now leaves it.
                room[link] -= level * share.weight
                weight[link] -= share.weight
    return exact, stopped_by


def _leftovers(shares: Sequence[Share], capacity: Sequence[int], exact: Sequence[int], ma: list[int]) -> None:
    """Give what the rounding left, a step at a time: largest remainder first, then the lowest level."""
    room = list(capacity)
    for share, value in zip(shares, ma, strict=True):
        for link in share.links:
            room[link] -= value
    rising = [number for number, share in enumerate(shares) if ma[number] + STEP_MA <= share.max_ma]
    rising.sort(key=lambda number: ma[number] * FINE - exact[number])
    while rising:
        given = []
        for number in rising:
            share = shares[number]
            if ma[number] + STEP_MA <= share.max_ma and all(room[link] >= STEP_MA for link in share.links):
                ma[number] += STEP_MA
                given.append(number)
                for link in share.links:
                    room[link] -= STEP_MA
        # Who found no room finds none later: it only gets less.
        rising = sorted(given, key=lambda number: (ma[number] - shares[number].min_ma) * FINE // shares[number].weight)
