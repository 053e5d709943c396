"""Pure: a settled quarter hour as the body that the cloud gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gateway.clock import iso
from gateway.energy.intervals import boundary_of
from gateway.energy.quarter import Quarter
from gateway.energy.tariff import in_force
from gateway.model import Reading, TimeQuality
from gateway.records.bodies import Interval, OutsideSession, ParticipantShare, RegisterValue, SessionPart
from gateway.sessions.rules import Rules, owner_of
from gateway.site import Site

_WORST_FIRST = (
    TimeQuality.GUESSED, TimeQuality.RTC, TimeQuality.HOLDOVER, TimeQuality.NTP, TimeQuality.SIMULATED,
)  # fmt: skip


def register_value(reading: Reading | None) -> RegisterValue | None:
    """A boundary reading as it goes out; None stays None: missing is missing."""
    if reading is None:
        return None
    return RegisterValue(
        import_wh=reading.import_wh,
        export_wh=reading.export_wh,
        requested_ms=reading.requested_ms,
        replied_ms=reading.replied_ms,
        serial=reading.serial,
        model=reading.model,
        map_version=reading.map_version,
        raw=reading.raw,
    )


def worst_quality(boundaries: Mapping[str, Reading | None], *more: Mapping[str, Reading | None]) -> str:
    """The worst time quality among boundary readings; `guessed` where there is none."""
    found = {reading.quality for row in (boundaries, *more) for reading in row.values() if reading is not None}
    return next((quality.value for quality in _WORST_FIRST if quality in found), TimeQuality.GUESSED.value)


def interval_body(
    site: Site,
    rules: Rules,
    k: int,
    *,
    tariff_class: str,
    version: int,
    state: Literal["provisional", "final", "corrected", "closed"],
    quarter: Quarter,
    at_start: Mapping[str, Reading | None],
    at_end: Mapping[str, Reading | None],
    adjustment: Mapping[str, int],
) -> Interval:
    """The body of interval `k`, by the rules that are in force for it; `site` says who lives where."""
    start_ms, flows = boundary_of(k), quarter.flows
    return Interval(
        k=k,
        start=iso(start_ms),
        end=iso(boundary_of(k + 1)),
        version=version,
        state=state,
        balance=rules.house.balance,
        key=rules.house.key.kind,
        tariff=in_force(rules.tariff, rules.timezone, k).id,
        tariff_class=tariff_class,
        quality=worst_quality(at_start, at_end),
        at_start={meter: register_value(reading) for meter, reading in at_start.items()},
        at_end={meter: register_value(reading) for meter, reading in at_end.items()},
        begins={meter: value for meter, one in quarter.begins.items() if (value := register_value(one)) is not None},
        import_wh=flows.import_wh if flows else None,
        export_wh=flows.export_wh if flows else None,
        production_wh=flows.production_wh if flows else None,
        battery_charge_wh=flows.charge_wh if flows else 0,
        battery_discharge_wh=flows.discharge_wh if flows else 0,
        battery_loss_wh=quarter.battery_loss_wh,
        consumption_wh=quarter.consumption_wh,
        solar_wh=quarter.solar_wh,
        unallocated_wh=quarter.unallocated_wh,
        imbalance_wh=quarter.imbalance_wh,
        leg_wh=quarter.community.given_wh if quarter.community else None,
        leg_unallocated_wh=quarter.community.unallocated_wh if quarter.community else 0,
        shares=[_share(quarter, who, adjustment) for who in quarter.shares],
        sessions=[
            SessionPart(
                session=part.session,
                participant=part.participant,
                wh=part.wh,
                solar_wh=part.solar_wh,
                grid_wh=part.wh - part.solar_wh,
                leg_wh=part.leg_wh,
            )
            for part in quarter.parts
        ],
        outside=[
            OutsideSession(
                meter=piece.meter,
                participant=piece.participant,
                wh=piece.wh,
                name=piece.name,
                owner=owner_of(site, piece.participant, start_ms),
                solar_wh=piece.solar_wh,
            )
            for piece in quarter.outside
        ],
        missing=list(quarter.missing),
    )


def _share(quarter: Quarter, who: str, adjustment: Mapping[str, int]) -> ParticipantShare:
    share = quarter.shares[who]
    community = quarter.community.shares.get(who) if quarter.community else None
    return ParticipantShare(
        participant=who,
        wh=share.wh,
        solar_wh=share.solar_wh,
        grid_wh=share.grid_wh,
        carry_before_nano_wh=share.carry_before,
        carry_after_nano_wh=share.carry_after,
        adjustment_nano_wh=adjustment.get(who, 0),
        estimated=who in quarter.estimated,
        leg_wh=community.wh if community else 0,
        leg_carry_before_nano_wh=community.carry_before if community else 0,
        leg_carry_after_nano_wh=community.carry_after if community else 0,
    )
