"""Pure: which meter plays which part in the split, and who owns what a charger takes outside sessions."""

from __future__ import annotations

from gateway.energy.quarter import COMMON, House
from gateway.energy.split import Key
from gateway.site import Site


def of_site(site: Site) -> House:
    """The house that the configuration describes."""
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
    )


def owner_of(site: Site, participant: str, at_ms: int) -> str:
    """Who lives there (or owns the charger) at this time; the participant itself where nobody does."""
    for occupancy in site.occupancies:
        over = occupancy.to_ms is not None and occupancy.to_ms <= at_ms
        if occupancy.participant == participant and occupancy.from_ms <= at_ms and not over:
            return occupancy.tenant
    return participant
