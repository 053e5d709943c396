"""Pure: which limit OCPP 1.6 charging profiles leave at a moment (1.6 section 3.13).

Within a purpose the highest stack level that is valid leads; a running transaction's TxProfile overrides
TxDefaultProfile; ChargePointMaxProfile caps both. Where no profile says anything the box gives its maximum. Times are
UTC milliseconds of site time, limits mA per phase.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from simulators.clock import parse_iso

VOLT = 230
DAY_MS = 86_400_000
SCHEDULE_PURPOSES = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")


@dataclass(frozen=True, slots=True)
class _Schedule:
    """What a profile's text says, read once: the building asks every second."""

    kind: str
    weekly: bool
    start_ms: int | None
    from_ms: int | None
    to_ms: int | None
    duration_s: float
    watts: bool
    periods: tuple[tuple[float, float, int | None], ...]
    """(start in s, limit, numberPhases)"""


@dataclass(frozen=True)
class Profile:
    """A charging profile as it was received, and when."""

    connector: int
    received_ms: int
    text: Mapping[str, Any]

    @cached_property
    def id(self) -> int:
        """chargingProfileId."""
        return int(self.text["chargingProfileId"])

    @cached_property
    def purpose(self) -> str:
        """chargingProfilePurpose."""
        return str(self.text["chargingProfilePurpose"])

    @cached_property
    def stack(self) -> int:
        """stackLevel."""
        return int(self.text["stackLevel"])

    @cached_property
    def schedule(self) -> _Schedule:
        """chargingSchedule, and when it holds."""
        text, schedule = self.text, self.text["chargingSchedule"]
        return _Schedule(
            kind=text["chargingProfileKind"],
            weekly=text.get("recurrencyKind") == "Weekly",
            start_ms=_instant(schedule.get("startSchedule")),
            from_ms=_instant(text.get("validFrom")),
            to_ms=_instant(text.get("validTo")),
            duration_s=schedule.get("duration", float("inf")),
            watts=schedule["chargingRateUnit"] == "W",
            periods=tuple(
                (period["startPeriod"], period["limit"], period.get("numberPhases"))
                for period in schedule["chargingSchedulePeriod"]
            ),
        )


def _instant(text: str | None) -> int | None:
    return parse_iso(text) if text else None


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
    return limit_until(profiles, now_ms, max_ma=max_ma, began_ms=began_ms, phases=phases)[0]


def limit_until(
    profiles: Iterable[Profile], now_ms: int, *, max_ma: int, began_ms: int | None, phases: int = 3
) -> tuple[int, float]:
    """`limit_ma`, and how long it stays so if no profile comes or goes (ms, infinity for ever)."""
    leading: dict[str, tuple[int, int, int]] = {}
    until_ms = math.inf
    for profile in profiles:
        limit, ends_ms = _of_one(profile, now_ms, began_ms, phases)
        until_ms = min(until_ms, ends_ms)
        if limit is None:
            continue
        # Of each purpose the highest stack level that says something now; connector 1 goes before connector 0.
        before = leading.get(profile.purpose)
        if before is None or (profile.stack, profile.connector) > before[:2]:
            leading[profile.purpose] = (profile.stack, profile.connector, limit)
    inner = leading.get("TxProfile") if began_ms is not None else None
    inner = inner or leading.get("TxDefaultProfile")
    most = leading.get("ChargePointMaxProfile")
    return min(max_ma, inner[2] if inner else max_ma, most[2] if most else max_ma), until_ms


def _of_one(profile: Profile, now_ms: int, began_ms: int | None, phases: int) -> tuple[int | None, float]:
    """What one profile says now (None: nothing), and until when."""
    schedule = profile.schedule
    if schedule.from_ms is not None and now_ms < schedule.from_ms:
        return None, schedule.from_ms
    if schedule.to_ms is not None and now_ms >= schedule.to_ms:
        return None, math.inf
    start_ms, again_ms = _start_ms(profile, now_ms, began_ms)
    ends_ms = start_ms + schedule.duration_s * 1000
    edges = [start_ms, ends_ms, again_ms, *(start_ms + start_s * 1000 for start_s, _, _ in schedule.periods)]
    until_ms = min((edge for edge in edges if edge > now_ms), default=math.inf)
    if schedule.to_ms is not None:
        until_ms = min(until_ms, schedule.to_ms)
    if not start_ms <= now_ms < ends_ms:
        return None, until_ms
    limit = None
    for start_s, period_limit, period_phases in schedule.periods:
        if start_ms + start_s * 1000 <= now_ms:
            limit = period_limit
            phases = period_phases or phases
    if limit is None:
        return None, until_ms
    ampere = limit / VOLT / phases if schedule.watts else limit
    return round(float(ampere) * 1000), until_ms


def _start_ms(profile: Profile, now_ms: int, began_ms: int | None) -> tuple[int, float]:
    """Where second 0 of the schedule lies, and where it lies next."""
    schedule = profile.schedule
    if schedule.kind == "Relative":
        # Relative to the start of the transaction, or to its own arrival where it came later.
        return max(began_ms or 0, profile.received_ms), math.inf
    start_ms = schedule.start_ms
    if start_ms is None:
        return profile.received_ms, math.inf
    if schedule.kind == "Recurring" and now_ms > start_ms:
        every_ms = 7 * DAY_MS if schedule.weekly else DAY_MS
        start_ms = now_ms - (now_ms - start_ms) % every_ms
        return start_ms, start_ms + every_ms
    return start_ms, math.inf
