"""Pure: which grid class an interval belongs to, by the calendar of the tariff and the local clock.

A class is evaluated at the START of the interval, in the site's time zone. In the hour that is repeated in autumn both
copies get the same class, because both show the same local time; the hour that is left out in spring has none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.model import INTERVAL_MS, INTERVAL_S
from gateway.site import Tariff, TariffWindow

QUARTERS_OF_A_DAY = 96
SUNDAY = 6


class TariffError(ValueError):
    """A calendar that cannot be used; the text says what is wrong with it."""


def check(tariff: Tariff) -> None:
    """TariffError where a window is empty or outside the day, or two windows give one quarter hour two classes."""
    for window in tariff.windows:
        if not 0 <= window.start_quarter < window.end_quarter <= QUARTERS_OF_A_DAY:
            raise TariffError(f"tariff {tariff.id}: window {window.name} must begin before it ends, within one day")
    for number, one in enumerate(tariff.windows):
        for other in tariff.windows[:number]:
            if one.name != other.name and _overlap(one, other):
                raise TariffError(f"tariff {tariff.id}: windows {other.name} and {one.name} overlap")


def _overlap(one: TariffWindow, other: TariffWindow) -> bool:
    same_day = bool(one.weekdays & other.weekdays)
    return same_day and one.start_quarter < other.end_quarter and other.start_quarter < one.end_quarter


def class_of(tariff: Tariff, timezone: str, k: int) -> str:
    """The class of interval `k` (= floor(unix / 900)), whose start decides."""
    local = local_start(timezone, k)
    quarter = local.hour * 4 + local.minute // 15
    weekday = SUNDAY if local.date().isoformat() in tariff.holidays else local.weekday()
    for window in tariff.windows:
        if weekday in window.weekdays and window.start_quarter <= quarter < window.end_quarter:
            return window.name
    return tariff.default


def local_start(timezone: str, k: int) -> datetime:
    """The start of interval `k` on the local clock."""
    return datetime.fromtimestamp(k * INTERVAL_S, UTC).astimezone(ZoneInfo(timezone))


def period_of(timezone: str, k: int, length: str) -> str:
    """The billing period that interval `k` lies in: `2026-06`, `2026-Q2` or `2026`; periods begin at local midnight."""
    local = local_start(timezone, k)
    if length == "month":
        return f"{local.year:04d}-{local.month:02d}"
    if length == "quarter":
        return f"{local.year:04d}-Q{(local.month + 2) // 3}"
    return f"{local.year:04d}"


def interval_of(utc_ms: int) -> int:
    """The number of the interval that holds an instant."""
    return utc_ms // INTERVAL_MS
