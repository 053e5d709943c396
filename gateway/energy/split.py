"""Pure: one interval's flows and consumptions in, solar and grid shares out; integer Wh, closing exactly.

The house is balanced by its grid meter (or by its participants alone, "virtual"), the solar energy is shared by a key,
the last watt-hours by the largest remainder, and what rounding left over is carried to the next interval in nano-Wh, so
that after any number of years nobody is more than about one Wh off.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

NANO = 1_000_000_000
"""Nano-Wh in one Wh: the carry is kept in these, because exact fractions grow without end."""

MILLION = 1_000_000
"""Static keys are millionths."""


@dataclass(frozen=True, slots=True)
class Flows:
    """What the meters of the house say of one interval, Wh: grid, production, battery."""

    import_wh: int
    export_wh: int
    production_wh: int = 0
    charge_wh: int = 0
    discharge_wh: int = 0

    @property
    def consumption_wh(self) -> int:
        """C = I + P + D - X - B. Meters that are read a moment apart can make it a little negative."""
        return self.import_wh + self.production_wh + self.discharge_wh - self.export_wh - self.charge_wh


def virtual_flows(participants_wh: int, production_wh: int) -> Flows:
    """The flows as if only the participants were behind the grid meter (balance "virtual": DE GGV, CH Praxismodell)."""
    return Flows(
        import_wh=max(0, participants_wh - production_wh),
        export_wh=max(0, production_wh - participants_wh),
        production_wh=production_wh,
    )


def largest_remainder(
    total_wh: int, weights: Mapping[str, int], carry: Mapping[str, int], *, capped: bool = True
) -> tuple[dict[str, int], dict[str, int]]:
    """Share `total_wh` in proportion to `weights`; returns (share in Wh, new carry in nano-Wh) by name.

    x_i = total * w_i / sum(w) + carry_i; everybody gets floor(x_i) within [0, w_i] and the rest goes 1 Wh at a time to
    the largest x_i - share_i (too much is taken 1 Wh at a time from the smallest); ties fall to the smallest name. With
    `capped` nobody gets more than their weight, which then must be their consumption: total_wh <= sum(w). Who has the
    weight 0 keeps their carry.
    """
    weight = sum(weights.values())
    if weight == 0 or total_wh < 0 or (capped and total_wh > weight):
        if total_wh == 0:
            return dict.fromkeys(weights, 0), {name: carry.get(name, 0) for name in weights}
        raise ValueError(f"{total_wh} Wh cannot be shared over weights that sum to {weight}")
    exact = {name: total_wh * part * NANO // weight + carry.get(name, 0) for name, part in weights.items()}
    cap = weights if capped else {name: total_wh if part else 0 for name, part in weights.items()}
    share = {name: min(max(exact[name] // NANO, 0), cap[name]) for name in weights}
    missing = total_wh - sum(share.values())
    step = 1 if missing > 0 else -1
    # Sorted by how much more (or less) somebody has coming, then by name.
    queue = [
        (-step * (exact[name] - share[name] * NANO), name)
        for name in weights
        if (share[name] < cap[name] if missing > 0 else share[name] > 0)
    ]
    heapq.heapify(queue)
    for _ in range(abs(missing)):
        claim, name = heapq.heappop(queue)
        share[name] += step
        if share[name] < cap[name] if step > 0 else share[name] > 0:
            heapq.heappush(queue, (claim + NANO, name))
    return share, {name: exact[name] - share[name] * NANO for name in weights}


@dataclass(frozen=True, slots=True)
class Key:
    """How the sun is shared. `parts` are the millionths of a static key by participant."""

    kind: Literal["dynamic", "static", "equal"] = "dynamic"
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Share:
    """One participant in one interval. `carry_before`, `carry_after` in nano-Wh."""

    wh: int
    solar_wh: int
    carry_before: int
    carry_after: int

    @property
    def grid_wh(self) -> int:
        return self.wh - self.solar_wh


@dataclass(frozen=True, slots=True)
class Allocation:
    """The shares of one interval; sum of solar = solar_wh - unallocated_wh."""

    solar_wh: int
    unallocated_wh: int
    shares: dict[str, Share]


def allocate(
    solar_wh: int, pool_wh: int, consumption: Mapping[str, int], carry: Mapping[str, int], key: Key
) -> Allocation:
    """Share `solar_wh`, the own solar energy that the house used, among the participants that consumed.

    `pool_wh` is the solar energy that there was to share, exported energy included: a static key gives everybody their
    part of it, used or not; what they cannot use is exported and stated as unallocated.
    """
    if key.kind == "dynamic":
        used = min(solar_wh, sum(consumption.values()))
        shared, after = largest_remainder(used, consumption, carry)
    else:
        parts = key.parts if key.kind == "static" else dict.fromkeys(consumption, 1)
        weights = {name: parts.get(name, 0) for name in consumption}
        if key.kind == "static":  # what the key gives to nobody is exported
            weights[""] = max(0, MILLION - sum(weights.values()))
        entitled, after = largest_remainder(max(pool_wh, solar_wh), weights, carry, capped=False)
        shared = {name: min(entitled[name], wh) for name, wh in consumption.items()}
        if sum(shared.values()) > solar_wh:  # import and export in one interval: less was used than entitlements say
            shared, _ = largest_remainder(solar_wh, shared, {})
    shares = {
        name: Share(wh, shared[name], carry.get(name, 0), after[name]) for name, wh in sorted(consumption.items())
    }
    return Allocation(solar_wh, solar_wh - sum(shared.values()), shares)


def share_within(solar_wh: int, pieces: Mapping[str, int]) -> dict[str, int]:
    """Share what one participant got among the pieces of their consumption (sessions, standby), Wh, without carry."""
    return largest_remainder(solar_wh, pieces, {})[0]
