"""Pure: the sums of a billing period, by participant and by who lived there; a move cuts the bill at local midnight.

Every quarter hour has its boundary registers, so whatever midnight a tenant moves at, the bill begins and ends at kept
registers. What is summed are the splits in force, as they stand in the interval records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.clock import iso
from gateway.energy.intervals import BOUNDARY_WAIT_MS, boundary_of
from gateway.records.bodies import PeriodRegister, PeriodShare
from gateway.sessions.rules import house_of, owner_of
from gateway.site import Site

TOTALS = ("import_wh", "export_wh", "production_wh", "consumption_wh", "solar_wh", "unallocated_wh", "imbalance_wh")
MAX_RUNS = 1000
"""Runs of intervals that one record names: it must fit into one message."""


@dataclass
class _Tenancy:
    """One participant while one tenant lives there."""

    participant: str
    tenant: str
    first_k: int
    last_k: int
    at_start: Mapping[str, Any]
    at_end: Mapping[str, Any]
    wh: int = 0
    solar: dict[str, int] = field(default_factory=dict)
    grid: dict[str, int] = field(default_factory=dict)
    leg: dict[str, int] = field(default_factory=dict)


@dataclass
class PeriodSum:
    """Sums up the intervals of a period, given in order as parsed interval records."""

    site: Site
    intervals: int = 0
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOTALS, 0))
    provisional: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    _open: dict[str, _Tenancy] = field(default_factory=dict)
    _over: list[_Tenancy] = field(default_factory=list)

    def add(self, body: Mapping[str, Any]) -> None:
        """The next interval."""
        self.intervals += 1
        if body["state"] == "provisional":
            self.provisional.append(body["k"])
        if body["consumption_wh"] is None:
            self.unknown.append(body["k"])
            return
        for name in TOTALS:
            self.totals[name] += body[name] or 0
        for share in body["shares"]:
            self._share(body, share)

    def _share(self, body: Mapping[str, Any], share: Mapping[str, Any]) -> None:
        who, k, grid_class = share["participant"], body["k"], body["tariff_class"]
        tenant = owner_of(self.site, who, boundary_of(k))
        going_on = self._open.get(who)
        if going_on is not None and going_on.tenant != tenant:
            self._over.append(self._open.pop(who))
            going_on = None
        if going_on is None:
            going_on = self._open[who] = _Tenancy(who, tenant, k, k, _first_registers(body), body["at_end"])
        going_on.last_k, going_on.at_end = k, body["at_end"]
        going_on.wh += share["wh"]
        _count(going_on.solar, grid_class, share["solar_wh"])
        _count(going_on.grid, grid_class, share["grid_wh"])
        if share.get("leg_wh"):
            _count(going_on.leg, grid_class, share["leg_wh"])

    def shares(self) -> list[PeriodShare]:
        """Everybody's sums, by participant and time."""
        metered = house_of(self.site).metered
        parts = sorted([*self._over, *self._open.values()], key=lambda part: (part.participant, part.first_k))
        return [
            PeriodShare(
                participant=part.participant,
                tenant=part.tenant,
                begin=iso(_begin_ms(part, metered.get(part.participant, ()))),
                end=iso(boundary_of(part.last_k + 1)),
                wh=part.wh,
                solar_wh=sum(part.solar.values()),
                classes_wh=part.grid,
                solar_by_class_wh=part.solar,
                leg_by_class_wh=part.leg,
                registers=[
                    _registers(meter, part.at_start.get(meter), part.at_end.get(meter))
                    for meter in metered.get(part.participant, ())
                ],
            )
            for part in parts
        ]


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers in order as runs [first, last], the first MAX_RUNS of them."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found[:MAX_RUNS]


def _first_registers(body: Mapping[str, Any]) -> dict[str, Any]:
    """The registers with which an interval begins: at its start, or the first ever of a meter that is new in it."""
    return {**body["at_start"], **body.get("begins", {})}


def _count(sums: dict[str, int], name: str, wh: int) -> None:
    sums[name] = sums.get(name, 0) + wh


def _begin_ms(part: _Tenancy, meters: Iterable[str]) -> int:
    """When the bill begins: with an interval, or where a meter is new in it, with its first register."""
    start_ms = boundary_of(part.first_k)
    own = [register for meter in meters if (register := part.at_start.get(meter)) is not None]
    late_ms = [int(register["requested_ms"]) for register in own]
    return max((at_ms for at_ms in late_ms if at_ms >= start_ms + BOUNDARY_WAIT_MS), default=start_ms)


def _registers(meter: str, begin: Mapping[str, Any] | None, end: Mapping[str, Any] | None) -> PeriodRegister:
    """The register alone: what it was decoded from stands in the interval records of these boundaries."""
    return PeriodRegister(
        meter=meter,
        begin_wh=begin["import_wh"] if begin else None,
        begin_serial=begin["serial"] if begin else None,
        end_wh=end["import_wh"] if end else None,
        end_serial=end["serial"] if end else None,
    )
