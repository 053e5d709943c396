"""Pure: the month of a company car: what was charged at home with this card, for the employer.

Method 2 of the practice for company cars: the meter is read by software and the file handed to the employer. It states
the card, the times, the registers and the kWh of each charge, the meter's serial and how it was measured. Since
2026-01-01 Germany knows no flat sums for charging at home any more (the former 15 to 70 EUR a month): only measured
kWh can be reimbursed, so the file has no price and no sum of money.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.export.dialects import Cell, Dialect, kwh, local_text, utc_text
from gateway.export.session_facts import SessionFacts

HEADER = (
    "rfid", "start_local", "start_utc", "end_local", "end_utc", "register_start_kwh", "register_stop_kwh", "energy_kwh",
    "register_start_wh", "register_stop_wh", "energy_wh", "meter_serial", "charger", "method", "record_id",
    "ocmf_sha256",
)  # fmt: skip
METHOD = "2: register of the meter read by software at begin and end, signed by {signer}"


@dataclass(frozen=True, slots=True)
class CarMonth:
    """The rows of a month, their sum, and the sessions that could not be measured."""

    rows: list[Sequence[Cell]]
    energy_wh: int
    sessions: int
    unmeasured: list[tuple[str, str]]


def car_month(sessions: Iterable[SessionFacts], token: str, zone: ZoneInfo, dialect: Dialect) -> CarMonth:
    """The charges of one card (without regard to case, as OCPP compares them) among the sessions of a month."""
    rows: list[Sequence[Cell]] = []
    energy_wh, unmeasured = 0, []
    for one in sessions:
        if one.id_tag.lower() != token.lower():
            continue
        if one.energy_wh is None:
            unmeasured.append((one.id, one.unbillable_reason or "not billable"))
            continue
        energy_wh += one.energy_wh
        rows.append(_row(one, zone, dialect))
    return CarMonth(rows, energy_wh, len(rows), unmeasured)


def _row(one: SessionFacts, zone: ZoneInfo, dialect: Dialect) -> list[Cell]:
    signed = one.record("end")
    return [
        one.id_tag,
        local_text(one.begin_ms, zone),
        utc_text(one.begin_ms),
        local_text(one.end_ms, zone),
        utc_text(one.end_ms),
        kwh(one.begin_wh, dialect),
        kwh(one.end_wh, dialect),
        kwh(one.energy_wh, dialect),
        one.begin_wh,
        one.end_wh,
        one.energy_wh,
        one.meter_serial,
        one.place,
        METHOD.format(signer=one.signed_by),
        one.id,
        hashlib.sha256(signed.text.encode()).hexdigest() if signed else None,
    ]
