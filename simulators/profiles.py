"""Pure: which limit OCPP 1.6 charging profiles leave at a moment (1.6 section 3.13).

Within a purpose the highest stack level that is valid leads; a running transaction's TxProfile overrides
TxDefaultProfile; ChargePointMaxProfile caps both. Where no profile says anything the box gives its maximum. Times are
UTC milliseconds of site time, limits mA per phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulators.clock import parse_iso

VOLT = 230
DAY_MS = 86_400_000
SCHEDULE_PURPOSES = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")


@dataclass(frozen=True, slots=True)
class Profile:
    """A charging profile as it was received, and when."""

    connector: int
    received_ms: int
    text: Mapping[str, Any]

    @property
    def id(self) -> int:
        """chargingProfileId."""
        return int(self.text["chargingProfileId"])

    @property
    def purpose(self) -> str:
        """chargingProfilePurpose."""
        return str(self.text["chargingProfilePurpose"])

    @property
    def stack(self) -> int:
        """stackLevel."""
        return int(self.text["stackLevel"])


def refusal(connector: int, text: Mapping[str, Any], transaction: int | None) -> str | None:
    """Why a box refuses a profile, None where it accepts it."""
    purpose = text.get("chargingProfilePurpose")
    if purpose not in SCHEDULE_PURPOSES:
        return f"unknown purpose {purpose}"
    if purpose == "ChargePointMaxProfile" and connector != 0:
        return "ChargePointMaxProfile belongs to connector 0"
    if purpose == "TxProfile":
        if transaction is None:
            return "TxProfile without a transaction"
        if text.get("transactionId", transaction) != transaction:
            return f"TxProfile for transaction {text['transactionId']}, running is {transaction}"
    schedule = text.get("chargingSchedule")
    if not isinstance(schedule, Mapping) or not schedule.get("chargingSchedulePeriod"):
        return "no schedule"
    return None


def put(profiles: list[Profile], new: Profile) -> None:
    """Install a profile: it replaces the one with its id, or with its purpose, connector and stack level."""
    profiles[:] = [
        old
        for old in profiles
        if old.id != new.id and (old.purpose, old.connector, old.stack) != (new.purpose, new.connector, new.stack)
    ]
    profiles.append(new)


def clear(profiles: list[Profile], wanted: Mapping[str, Any]) -> int:
    """Remove what a ClearChargingProfile names; returns how many went."""

    def matches(profile: Profile) -> bool:
        if "id" in wanted:
            return bool(profile.id == wanted["id"])
        return (
            wanted.get("connectorId") in (None, profile.connector)
            and wanted.get("chargingProfilePurpose") in (None, profile.purpose)
            and wanted.get("stackLevel") in (None, profile.stack)
        )

    before = len(profiles)
    profiles[:] = [profile for profile in profiles if not matches(profile)]
    return before - len(profiles)


def limit_ma(profiles: Iterable[Profile], now_ms: int, *, max_ma: int, began_ms: int | None, phases: int = 3) -> int:
    """The composite limit of connector 1; `began_ms` is when its transaction began, None without one."""
    found = {
        purpose: _leading([p for p in profiles if p.purpose == purpose], now_ms, began_ms, phases)
        for purpose in SCHEDULE_PURPOSES
    }
    transaction = found["TxProfile"] if began_ms is not None else None
    inner = transaction if transaction is not None else found["TxDefaultProfile"]
    return min(limit for limit in (found["ChargePointMaxProfile"], inner, max_ma) if limit is not None)


def _leading(profiles: list[Profile], now_ms: int, began_ms: int | None, phases: int) -> int | None:
    """The limit of the highest stack level that says something now; connector 1 goes before connector 0."""
    for profile in sorted(profiles, key=lambda p: (-p.stack, -p.connector)):
        limit = _of_one(profile, now_ms, began_ms, phases)
        if limit is not None:
            return limit
    return None


def _of_one(profile: Profile, now_ms: int, began_ms: int | None, phases: int) -> int | None:
    valid_from, valid_to = profile.text.get("validFrom"), profile.text.get("validTo")
    if valid_from and now_ms < parse_iso(valid_from):
        return None
    if valid_to and now_ms >= parse_iso(valid_to):
        return None
    schedule = profile.text["chargingSchedule"]
    elapsed_s = (now_ms - _start_ms(profile, now_ms, began_ms)) / 1000
    if elapsed_s < 0 or elapsed_s >= schedule.get("duration", float("inf")):
        return None
    limit = None
    for period in schedule["chargingSchedulePeriod"]:
        if period["startPeriod"] <= elapsed_s:
            limit = period["limit"]
            phases = period.get("numberPhases", phases)
    if limit is None:
        return None
    ampere = limit / VOLT / phases if schedule["chargingRateUnit"] == "W" else limit
    return round(float(ampere) * 1000)


def _start_ms(profile: Profile, now_ms: int, began_ms: int | None) -> int:
    """Where second 0 of the schedule lies."""
    kind = profile.text["chargingProfileKind"]
    start = profile.text["chargingSchedule"].get("startSchedule")
    if kind == "Relative":
        # Relative to the start of the transaction, or to its own arrival where it came later.
        return max(began_ms or 0, profile.received_ms)
    if start is None:
        return profile.received_ms
    start_ms = parse_iso(start)
    if kind == "Recurring" and now_ms > start_ms:
        every_ms = 7 * DAY_MS if profile.text.get("recurrencyKind") == "Weekly" else DAY_MS
        return now_ms - (now_ms - start_ms) % every_ms
    return start_ms
