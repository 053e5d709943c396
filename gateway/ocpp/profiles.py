"""Pure: charging profiles of OCPP 1.6 - the CSMS's, kept in the gateway, and the few of our own (rules R50-R54).

The CSMS's profiles never reach the charger: their composite is a limit among others, so the charger needs no more than
one profile of ours, and a ClearChargingProfile cannot remove what keeps the building safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard

from gateway.ocpp.actions import StoredProfile
from gateway.ocpp.dialect import Dialect
from gateway.ocpp.frames import compact
from gateway.ocpp.times import parse_utc, utc_text

MAX_PURPOSE = "ChargePointMaxProfile"
DEFAULT_PURPOSE = "TxDefaultProfile"
TX_PURPOSE = "TxProfile"

FALLBACK_ID = 2_000_000_000
LIMIT_ID = 2_000_001_000
"""Ids of our own profiles: these plus the connector. Only ours are in the charger."""

MAX_PROFILES = 100
MAX_PERIODS = 700
"""A week of quarter hours; the load manager reads every profile once a tick (I12)."""

VOLTAGE_V = 230
_RECURRENCE_S = {"Daily": 86_400, "Weekly": 604_800}


class BadProfileError(ValueError):
    """The CSMS's profile is not usable; one sentence."""


# Our own


def fallback_profile(connector: int, limit_ma: int, phases: int, dialect: Dialect) -> str:
    """The TxDefaultProfile that governs while the gateway is away: no end, from the start of every transaction."""
    return compact(
        {
            "chargingProfileId": FALLBACK_ID + connector,
            "stackLevel": dialect.stack_level,
            "chargingProfilePurpose": DEFAULT_PURPOSE,
            "chargingProfileKind": "Relative",
            "chargingSchedule": _schedule(limit_ma, phases, dialect),
        }
    )


def limit_profile(
    connector: int, transaction_id: int, limit_ma: int, phases: int, dialect: Dialect, now_ms: int, duration_s: int
) -> str:
    """A TxProfile that ends by itself `duration_s` from now, and leaves the fallback in force."""
    schedule = _schedule(limit_ma, phases, dialect)
    profile: dict[str, Any] = {
        "chargingProfileId": LIMIT_ID + connector,
        "transactionId": transaction_id,
        "stackLevel": dialect.stack_level,
        "chargingProfilePurpose": TX_PURPOSE,
        "chargingProfileKind": dialect.profile_kind,
        "chargingSchedule": schedule,
    }
    if dialect.profile_kind == "Absolute":
        begin_ms = (now_ms // 1000 - dialect.start_margin_s) * 1000
        schedule["startSchedule"] = utc_text(begin_ms)
        schedule["duration"] = dialect.start_margin_s + duration_s
    else:
        profile["validTo"] = utc_text(now_ms + duration_s * 1000)
    return compact(profile)


def _schedule(limit_ma: int, phases: int, dialect: Dialect) -> dict[str, Any]:
    tenths = limit_ma // 100
    period: dict[str, Any] = {"startPeriod": 0, "limit": tenths / 10 if tenths % 10 else tenths // 10}
    if dialect.number_phases:
        period["numberPhases"] = phases
    return {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]}


# The CSMS's


def read_profile(connector: int, profile: Any, received_ms: int) -> StoredProfile:
    """csChargingProfiles of a SetChargingProfile. BadProfileError."""
    if not isinstance(profile, dict):
        raise BadProfileError("csChargingProfiles is no object")
    profile_id, level = profile.get("chargingProfileId"), profile.get("stackLevel")
    purpose, schedule = profile.get("chargingProfilePurpose"), profile.get("chargingSchedule")
    if not _whole(profile_id) or not _whole(level) or level < 0:
        raise BadProfileError("chargingProfileId and stackLevel are integers")
    if purpose not in (MAX_PURPOSE, DEFAULT_PURPOSE, TX_PURPOSE):
        raise BadProfileError(f"unknown purpose {purpose!r}")
    if (purpose == MAX_PURPOSE and connector != 0) or (purpose == TX_PURPOSE and connector == 0):
        raise BadProfileError(f"{purpose} does not fit connector {connector}")
    if profile.get("chargingProfileKind") not in ("Absolute", "Recurring", "Relative"):
        raise BadProfileError("chargingProfileKind is Absolute, Recurring or Relative")
    if not isinstance(schedule, dict) or schedule.get("chargingRateUnit") not in ("A", "W"):
        raise BadProfileError("chargingSchedule has a chargingRateUnit, A or W")
    periods = schedule.get("chargingSchedulePeriod")
    if not isinstance(periods, list) or not periods or not all(_is_period(period) for period in periods):
        raise BadProfileError("chargingSchedulePeriod has periods with startPeriod and limit")
    if len(periods) > MAX_PERIODS:
        raise BadProfileError(f"chargingSchedulePeriod has more than {MAX_PERIODS} periods")
    return StoredProfile(connector, profile_id, purpose, level, compact(profile), received_ms)


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_period(period: Any) -> bool:
    if not isinstance(period, dict) or not _whole(period.get("startPeriod")):
        return False
    limit = period.get("limit")
    return isinstance(limit, int | float) and not isinstance(limit, bool) and 0 <= limit < 1e9


class Profiles:
    """The CSMS's profiles of one charger."""

    def __init__(self, stored: Iterable[StoredProfile]) -> None:
        self._profiles: dict[int, tuple[StoredProfile, dict[str, Any]]] = {}
        for profile in stored:
            self.put(profile)

    def __len__(self) -> int:
        return len(self._profiles)

    def put(self, profile: StoredProfile, replaced: Iterable[int] = ()) -> None:
        """Keep a profile in place of others."""
        self.remove(replaced)
        self._profiles[profile.profile_id] = (profile, json.loads(profile.text))

    def remove(self, ids: Iterable[int]) -> None:
        """Forget profiles."""
        for profile_id in ids:
            self._profiles.pop(profile_id, None)

    def replaced_by(self, new: StoredProfile) -> tuple[int, ...]:
        """Same id, or same purpose and level at the same connector (OCPP 1.6 section 3.13.2)."""
        return tuple(
            old.profile_id
            for old, _ in self._profiles.values()
            if old.profile_id == new.profile_id
            or (old.connector, old.purpose, old.stack_level) == (new.connector, new.purpose, new.stack_level)
        )

    def matching(self, request: Any) -> tuple[int, ...]:
        """What a ClearChargingProfile means: its id alone, else every filter that it names (1.6 section 5.3)."""
        asked = request if isinstance(request, dict) else {}
        if asked.get("id") is not None:
            return tuple(one for one in self._profiles if one == asked["id"])
        wanted = (asked.get("connectorId"), asked.get("chargingProfilePurpose"), asked.get("stackLevel"))
        return tuple(
            old.profile_id
            for old, _ in self._profiles.values()
            if all(
                w is None or w == h for w, h in zip(wanted, (old.connector, old.purpose, old.stack_level), strict=True)
            )
        )

    def of_transactions(self, connector: int) -> tuple[int, ...]:
        """TxProfiles of a connector: they end with their transaction."""
        return tuple(
            old.profile_id
            for old, _ in self._profiles.values()
            if old.purpose == TX_PURPOSE and old.connector == connector
        )

    def limit_ma(self, connector: int, at_ms: int, begin_ms: int | None) -> int | None:
        """The composite at an instant in mA per phase; None where no profile limits. `begin_ms`: of the transaction."""
        if not self._profiles:
            return None
        tx = self._leading(TX_PURPOSE, (connector,), at_ms, begin_ms) if begin_ms is not None else None
        if tx is None:
            tx = self._leading(DEFAULT_PURPOSE, (connector, 0), at_ms, begin_ms)
        limits = [limit for limit in (tx, self._leading(MAX_PURPOSE, (0,), at_ms, begin_ms)) if limit is not None]
        return min(limits, default=None)

    def _leading(self, purpose: str, connectors: tuple[int, ...], at_ms: int, begin_ms: int | None) -> int | None:
        best: tuple[int, int, int] | None = None
        for stored, profile in self._profiles.values():
            if stored.purpose != purpose or stored.connector not in connectors:
                continue
            limit = _limit_at(profile, at_ms, stored.received_ms if begin_ms is None else begin_ms)
            if limit is None:
                continue
            # The highest valid level leads; of two the one of the connector itself, then the lower limit.
            key = (stored.stack_level, -connectors.index(stored.connector), -limit)
            best = max(best, key) if best is not None else key
        return -best[2] if best is not None else None

    def composite(
        self, connector: int, from_ms: int, duration_s: int, begin_ms: int | None, own_ma: int
    ) -> Iterator[tuple[int, int]]:
        """(offset in s, mA) of what really holds: the lower of the CSMS's profiles and our own limit (rule R53)."""
        last: int | None = None
        for offset_s in sorted({0, *self._changes(from_ms, duration_s, begin_ms)}):
            limit = self.limit_ma(connector, from_ms + offset_s * 1000, begin_ms)
            now_ma = own_ma if limit is None else min(own_ma, limit)
            if now_ma != last:
                yield offset_s, now_ma
            last = now_ma

    def _changes(self, from_ms: int, duration_s: int, begin_ms: int | None) -> Iterator[int]:
        for stored, profile in self._profiles.values():
            for at_ms in _edges(profile, stored.received_ms if begin_ms is None else begin_ms, from_ms, duration_s):
                offset_s = -(-(at_ms - from_ms) // 1000)
                if 0 < offset_s < duration_s:
                    yield offset_s


def _limit_at(profile: dict[str, Any], at_ms: int, begin_ms: int) -> int | None:
    """The limit of one profile at an instant, None where it is not valid or its schedule is over."""
    valid_from, valid_to = parse_utc(profile.get("validFrom")), parse_utc(profile.get("validTo"))
    if (valid_from is not None and at_ms < valid_from) or (valid_to is not None and at_ms >= valid_to):
        return None
    schedule = profile["chargingSchedule"]
    elapsed_s = (at_ms - _start(profile, begin_ms)) / 1000
    if profile["chargingProfileKind"] == "Recurring":
        elapsed_s %= _RECURRENCE_S.get(profile.get("recurrencyKind", "Daily"), 86_400)
    duration = schedule.get("duration")
    if elapsed_s < 0 or (_whole(duration) and elapsed_s >= duration):
        return None
    current: dict[str, Any] | None = None
    for period in sorted(schedule["chargingSchedulePeriod"], key=lambda one: int(one["startPeriod"])):
        if period["startPeriod"] <= elapsed_s:
            current = period
    return None if current is None else _period_ma(current, schedule["chargingRateUnit"])


def _start(profile: dict[str, Any], begin_ms: int) -> int:
    if profile["chargingProfileKind"] == "Relative":
        return begin_ms
    start = parse_utc(profile["chargingSchedule"].get("startSchedule"))
    return begin_ms if start is None else start


def _period_ma(period: dict[str, Any], unit: str) -> int:
    """mA per phase. W is the sum of all phases; without numberPhases there are three (1.6 section 7.14)."""
    if unit == "A":
        return round(float(period["limit"]) * 1000)
    phases = period.get("numberPhases")
    count = phases if _whole(phases) and phases in (1, 2, 3) else 3
    return int(period["limit"] * 1000 / (VOLTAGE_V * count))


def _edges(profile: dict[str, Any], begin_ms: int, from_ms: int, duration_s: int) -> Iterator[int]:
    """Instants at which one profile may change."""
    for bound in (parse_utc(profile.get("validFrom")), parse_utc(profile.get("validTo"))):
        if bound is not None:
            yield bound
    schedule, start = profile["chargingSchedule"], _start(profile, begin_ms)
    offsets = [int(period["startPeriod"]) for period in schedule["chargingSchedulePeriod"]]
    if _whole(schedule.get("duration")):
        offsets.append(schedule["duration"])
    rounds = (0,)
    if profile["chargingProfileKind"] == "Recurring":
        span_ms = _RECURRENCE_S.get(profile.get("recurrencyKind", "Daily"), 86_400) * 1000
        first = (from_ms - start) // span_ms
        start += first * span_ms
        rounds = tuple(range(0, duration_s * 1000 + 2 * span_ms, span_ms))  # type: ignore[assignment]
    for round_ms in rounds:
        for offset_s in offsets:
            yield start + round_ms + offset_s * 1000
