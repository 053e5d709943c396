"""Pure: the second stage of a house in a local electricity community (LEG): whose the community's energy was.

The house's own sun is shared first. What the community gave to the house in an interval comes from outside, as an
imported series; it is shared by what each participant still took from the grid, with a rounding rest of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.energy.split import largest_remainder


@dataclass(frozen=True, slots=True)
class CommunityShare:
    """What one participant got of the community's energy, Wh; the rounding rests in nano-Wh."""

    wh: int
    carry_before: int
    carry_after: int


@dataclass(frozen=True, slots=True)
class CommunityStage:
    """The second stage of one interval: sum of the shares = given_wh - unallocated_wh."""

    given_wh: int
    unallocated_wh: int
    shares: Mapping[str, CommunityShare]


def second_stage(given_wh: int, grid: Mapping[str, int], carry: Mapping[str, int]) -> CommunityStage:
    """Share `given_wh` over what each participant took from the grid. More than they took is stated, not given."""
    used = min(max(given_wh, 0), sum(grid.values()))
    shared, after = largest_remainder(used, grid, carry)
    shares = {name: CommunityShare(shared[name], carry.get(name, 0), after[name]) for name in sorted(grid)}
    return CommunityStage(given_wh, given_wh - used, shares)
