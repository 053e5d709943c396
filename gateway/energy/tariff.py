"""Pure: which grid class an interval belongs to, by the calendar of the tariff and the local clock.

A class is evaluated at the START of the interval, in the site's time zone. In the hour that is repeated in autumn both
copies get the same class, because both show the same local time; the hour that is left out in spring has none.
"""

from __future__ import annotations

import re
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
            if one.name != other.name and overlap(one, other):
                raise TariffError(f"tariff {tariff.id}: windows {other.name} and {one.name} overlap")
    for successor in tariff.successors:
        if successor.valid_from is None or successor.successors:
            raise TariffError(f"tariff {successor.id}: follows {tariff.id}, so it needs the day from which it is valid")
        check(successor)


def overlap(one: TariffWindow, other: TariffWindow) -> bool:
    """Whether two windows hold a common quarter hour."""
    same_day = bool(one.weekdays & other.weekdays) and _seasons_meet(one.season, other.season)
    return same_day and one.start_quarter < other.end_quarter and other.start_quarter < one.end_quarter


def _seasons_meet(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    if one is None or other is None:
        return True
    return in_season(one, other[0]) or in_season(other, one[0])


def in_season(season: tuple[int, int], day: int) -> bool:
    """Whether a day of the year (month * 100 + day) lies in a season, which may go over the turn of the year."""
    first, last = season
    return first <= day <= last if first <= last else day >= first or day <= last


def in_force(tariff: Tariff, timezone: str, k: int) -> Tariff:
    """The tariff that is valid at the start of interval `k`: the successor that began last, else the first one."""
    if not tariff.successors:
        return tariff
    day = local_start(timezone, k).date().isoformat()
    begun = [one for one in tariff.successors if one.valid_from is not None and one.valid_from <= day]
    return max(begun, key=lambda one: one.valid_from or "", default=tariff)


def class_of(tariff: Tariff, timezone: str, k: int) -> str:
    """The class of interval `k` (= floor(unix / 900)) by the calendar; its start decides."""
    calendar, local = in_force(tariff, timezone, k), local_start(timezone, k)
    quarter, day = local.hour * 4 + local.minute // 15, local.month * 100 + local.day
    weekday = SUNDAY if local.date().isoformat() in calendar.holidays else local.weekday()
    for window in calendar.windows:
        if window.season is not None and not in_season(window.season, day):
            continue
        if weekday in window.weekdays and window.start_quarter <= quarter < window.end_quarter:
            return window.name
    return calendar.default


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


def bounds_of(timezone: str, name: str) -> tuple[int, int]:
    """The intervals [first, end) of a billing period. TariffError where `name` is none."""
    found = re.fullmatch(r"(\d{4})(?:-(0[1-9]|1[0-2])|-Q([1-4]))?", name)
    if found is None:
        raise TariffError(f'"{name}" is no billing period: such as 2026-06, 2026-Q2 or 2026')
    year, month, quarter = int(found[1]), found[2], found[3]
    first, months = (int(month), 1) if month else (int(quarter) * 3 - 2, 3) if quarter else (1, 12)
    end_year, end_month = (year, first + months) if first + months <= 12 else (year + 1, 1)
    return _midnight(timezone, year, first), _midnight(timezone, end_year, end_month)


def _midnight(timezone: str, year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=ZoneInfo(timezone)).timestamp()) // INTERVAL_S


def interval_of(utc_ms: int) -> int:
    """The number of the interval that holds an instant."""
    return utc_ms // INTERVAL_MS
