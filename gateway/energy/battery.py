"""Pure: where the energy of a house with a battery came from, in one interval; integers that close exactly.

The order is a named policy, `PV_FIRST`: the sun serves the load, then the battery, then the grid; the grid serves what
is left. The battery's content is kept in two tanks, by origin; what leaves it leaves in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.energy.split import Flows, largest_remainder

PV_FIRST = "pv-first.v1"


@dataclass(frozen=True, slots=True)
class Tanks:
    """What the battery holds by origin, Wh."""

    solar_wh: int = 0
    grid_wh: int = 0

    def drawn(self, wh: int) -> tuple[int, int]:
        """How `wh` leaves the tanks (solar, grid). More than they hold has no known origin and counts as grid."""
        held = self.solar_wh + self.grid_wh
        if held == 0:
            return 0, wh
        share, _ = largest_remainder(min(wh, held), {"grid": self.grid_wh, "solar": self.solar_wh}, {})
        return share["solar"], wh - share["solar"]

    def fitting(self, capacity_wh: int | None) -> tuple[Tanks, int]:
        """What is left where the battery cannot hold it all, and what was therefore lost: a battery gives back less
        than it takes, and its meter tells of no loss."""
        held = self.solar_wh + self.grid_wh
        if capacity_wh is None or held <= capacity_wh:
            return self, 0
        return self.shrunk(held - capacity_wh), held - capacity_wh

    def shrunk(self, loss_wh: int) -> Tanks:
        """After losses, which shrink both tanks in proportion."""
        solar, grid = self.drawn(loss_wh)
        return Tanks(self.solar_wh - solar, max(0, self.grid_wh - grid))


@dataclass(frozen=True, slots=True)
class Parts:
    """Every flow of the house by origin and use, Wh; see `parts_of`.

    load = pv_load + battery_load + grid_load; production = pv_load + pv_battery + pv_export;
    discharge = battery_load + battery_export + round_trip; charge = pv_battery + grid_battery + round_trip.
    """

    pv_load: int
    pv_battery: int
    pv_export: int
    battery_load: int
    battery_export: int
    grid_load: int
    grid_battery: int
    round_trip: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What the load was served with, and what the battery then holds."""

    solar_wh: int
    pool_wh: int
    tanks: Tanks


def parts_of(flows: Flows) -> Parts:
    """Take the flows apart by the policy PV_FIRST. Negative rests, from meters read a moment apart, count as 0."""
    load = max(0, flows.consumption_wh)
    battery_export = min(
        flows.discharge_wh, max(0, flows.export_wh - (flows.production_wh - min(flows.production_wh, load)))
    )
    pv_export = min(flows.production_wh, flows.export_wh - battery_export)
    pv_use = flows.production_wh - pv_export
    pv_load = min(pv_use, load)
    pv_battery = min(pv_use - pv_load, flows.charge_wh)
    grid_battery = min(flows.import_wh, flows.charge_wh - pv_battery)
    round_trip = min(flows.charge_wh - pv_battery - grid_battery, flows.discharge_wh - battery_export)
    battery_load = min(flows.discharge_wh - battery_export - round_trip, load - pv_load)
    return Parts(
        pv_load=pv_load,
        pv_battery=pv_battery,
        pv_export=pv_export,
        battery_load=battery_load,
        battery_export=battery_export,
        grid_load=load - pv_load - battery_load,
        grid_battery=grid_battery,
        round_trip=round_trip,
    )


def origin_of(flows: Flows, tanks: Tanks) -> Origin:
    """The solar part of the load. `pool_wh` is the solar energy there was to share, the exported included.

    A house without a battery: solar = C - I, which import and export in one interval do not disturb.
    """
    parts = parts_of(flows)
    before = Tanks(tanks.solar_wh + parts.pv_battery, tanks.grid_wh + parts.grid_battery)
    out = parts.battery_load + parts.battery_export
    solar_out, grid_out = before.drawn(out)
    solar_load = (
        largest_remainder(parts.battery_load, {"grid": grid_out, "solar": solar_out}, {})[0]["solar"] if out else 0
    )
    return Origin(
        solar_wh=parts.pv_load + solar_load,
        pool_wh=parts.pv_load + parts.pv_export + solar_load,
        tanks=Tanks(before.solar_wh - solar_out, max(0, before.grid_wh - grid_out)),
    )
