"""Pure: what is in force for the split at a time: balance, key, participants and their meters, tariff, time zone.

It is kept as text beside every quarter hour, so that a correction is computed by what was in force then. Who lives
where (occupancy) is no part of it: that is dated data, and a person who enters a move late says what was true.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.energy.quarter import COMMON, House
from gateway.energy.split import Key
from gateway.energy.tariff import period_of
from gateway.site import Site, Tariff, TariffWindow


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything of the configuration that a split rests on. `community`: what a LEG gave is waited for."""

    timezone: str
    period: str
    community: bool
    tariff: Tariff
    house: House

    def dump(self) -> str:
        """One line of JSON; equal rules give equal texts."""
        return json.dumps(asdict(self), default=sorted, sort_keys=True, separators=(",", ":"))

    def period_of(self, k: int) -> str:
        """The billing period that interval `k` lies in."""
        return period_of(self.timezone, k, self.period)


def load(text: str) -> Rules:
    """The rules that `dump` wrote."""
    values: dict[str, Any] = json.loads(text)
    house = dict(values["house"])
    house |= {
        "production": tuple(house["production"]),
        "battery": tuple(house["battery"]),
        "metered": {who: tuple(meters) for who, meters in house["metered"].items()},
        "charger_meters": frozenset(house["charger_meters"]),
        "key": Key(**house["key"]),
    }
    return Rules(values["timezone"], values["period"], values["community"], _tariff(values["tariff"]), House(**house))


def _tariff(values: Mapping[str, Any]) -> Tariff:
    windows = tuple(
        TariffWindow(
            name=window["name"],
            weekdays=frozenset(window["weekdays"]),
            start_quarter=window["start_quarter"],
            end_quarter=window["end_quarter"],
            season=(window["season"][0], window["season"][1]) if window["season"] else None,
        )
        for window in values["windows"]
    )
    changes = {
        "windows": windows,
        "holidays": frozenset(values["holidays"]),
        "successors": tuple(_tariff(one) for one in values["successors"]),
    }
    return Tariff(**{**values, **changes})


def of_site(site: Site) -> Rules:
    """What the configuration says now."""
    return Rules(site.timezone, site.split.period, site.split.community, site.tariff, house_of(site))


def house_of(site: Site) -> House:
    """Which meter plays which part."""
    grid = site.grid_meter()
    metered: dict[str, dict[str, None]] = {
        participant.id: {participant.meter: None} if participant.meter else {}
        for participant in site.participants
    }  # fmt: skip
    charger_meters: set[str] = set()
    for connector in site.connectors():
        if connector.meter is not None:
            metered.setdefault(connector.participant, {})[connector.meter] = None
            charger_meters.add(connector.meter)
    ceiling_w = site.split.common_ceiling_w
    return House(
        grid=grid.id if grid else None,
        production=tuple(meter.id for meter in site.meters if meter.role == "production"),
        battery=tuple(meter.id for meter in site.meters if meter.role == "battery"),
        metered={who: tuple(meters) for who, meters in metered.items() if meters},
        charger_meters=frozenset(charger_meters),
        common=next((one.id for one in site.participants if one.kind == "common"), COMMON),
        balance=site.split.balance,
        key=Key(site.split.key, site.split.keys),
        common_ceiling_wh=ceiling_w // 4 if ceiling_w is not None else None,
        battery_capacity_wh=site.split.battery_capacity_wh,
    )


def owner_of(site: Site, participant: str, at_ms: int) -> str:
    """Who lives there (or owns the charger) at this time; the participant itself where nobody does."""
    for occupancy in site.occupancies:
        over = occupancy.to_ms is not None and occupancy.to_ms <= at_ms
        if occupancy.participant == participant and occupancy.from_ms <= at_ms and not over:
            return occupancy.tenant
    return participant
