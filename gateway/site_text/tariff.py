"""Pure: a tariff table (of a file of its own, or in the site file) -> the calendar of grid classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from gateway.site import Tariff, TariffWindow
from gateway.site_text.grammar import CalendarTable
from gateway.site_text.problems import Findings
from gateway.site_text.toml_places import Path

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
QUARTERS_OF_A_DAY = 96
WHOLE_YEAR = (101, 1231)


def build_tariff(table: CalendarTable, name: str, path: Path, findings: Findings) -> Tariff | None:
    """The calendar of `table`; None where something is wrong, which `findings` then holds."""
    windows: list[TariffWindow] = []
    before = len(findings.problems)
    for position, window in enumerate(table.windows):
        here = (*path, "windows", position)
        days = _weekdays(window.days, (*here, "days"), findings)
        start = _quarter(window.from_, (*here, "from"), findings)
        end = _quarter(window.to, (*here, "to"), findings)
        season = _season(window.season, (*here, "season"), findings)
        if days is None or start is None or end is None or season is None:
            continue
        if not start < end:
            findings.add((*here, "to"), "must be later than from", "write two windows for one that crosses midnight")
            continue
        built = TariffWindow(
            name=window.class_, weekdays=days, start_quarter=start, end_quarter=end,
            season=None if season == WHOLE_YEAR else season,
        )  # fmt: skip
        if any(_contradict(built, other) for other in windows):
            findings.add(here, "overlaps an earlier window of another class")
        windows.append(built)
    if len(findings.problems) > before:
        return None
    return Tariff(
        id=table.id or name,
        default=table.default,
        windows=tuple(windows),
        holidays=frozenset(day.isoformat() for day in table.holidays),
        dynamic=table.dynamic,
        vat_included=table.vat_included,
        valid_from=table.valid_from.isoformat() if table.valid_from else None,
    )


def followed(tariff: Tariff, then: Sequence[Tariff], path: Path, findings: Findings) -> Tariff:
    """The tariff with those that follow it, in order of the days from which they are valid."""
    day = tariff.valid_from or ""
    for position, follower in enumerate(then):
        here = (*path, position)
        if follower.valid_from is None:
            findings.add(here, f'"{follower.id}" needs valid_from in its file: the day from which it counts')
        elif follower.valid_from <= day:
            findings.add(here, f'"{follower.id}" is valid from {follower.valid_from}, not later than the one before it')
        else:
            day = follower.valid_from
    return replace(tariff, successors=tuple(then))


def _contradict(one: TariffWindow, other: TariffWindow) -> bool:
    return (
        one.name != other.name
        and bool(one.weekdays & other.weekdays)
        and _seasons_meet(one.season or WHOLE_YEAR, other.season or WHOLE_YEAR)
        and one.start_quarter < other.end_quarter
        and other.start_quarter < one.end_quarter
    )


def _seasons_meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return _inside(one, other[0]) or _inside(other, one[0])


def _inside(season: tuple[int, int], day: int) -> bool:
    first, last = season
    return first <= day <= last if first <= last else day >= first or day <= last


def _season(text: str | None, path: Path, findings: Findings) -> tuple[int, int] | None:
    """`10-01..03-31`: the first and the last day that count; it may go over the turn of the year."""
    if text is None:
        return WHOLE_YEAR
    match = re.fullmatch(r"(\d\d)-(\d\d)\.\.(\d\d)-(\d\d)", text)
    try:
        days = [date(2024, int(match[n]), int(match[n + 1])) for n in (1, 3)] if match else []  # a leap year
    except ValueError:
        days = []
    if not days:
        findings.add(path, f'must be the first and the last day, such as "10-01..03-31", not "{text}"')
        return None
    return days[0].month * 100 + days[0].day, days[1].month * 100 + days[1].day


def _weekdays(text: str, path: Path, findings: Findings) -> frozenset[int] | None:
    """`Mon-Fri`, `Sat`, `Mon,Wed,Fri`, `Mon-Fri,Sun`."""
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last or first) not in DAYS or DAYS.index(first) > DAYS.index(last or first):
            findings.add(path, f'must be days such as "Mon-Fri" or "Sat,Sun", not "{text}"', f"days: {' '.join(DAYS)}")
            return None
        days.update(range(DAYS.index(first), DAYS.index(last or first) + 1))
    return frozenset(days)


def _quarter(text: str, path: Path, findings: Findings) -> int | None:
    """`07:00` -> 28; the day ends at `24:00`."""
    match = re.fullmatch(r"([01]\d|2[0-4]):([0-5]\d)", text)
    if match is None or (text > "24:00"):
        findings.add(path, f'must be a local time such as "07:00", not "{text}"')
        return None
    minutes = int(match[1]) * 60 + int(match[2])
    if minutes % 15:
        findings.add(path, f'must be a full quarter of an hour, not "{text}"', "energy is split by quarter hours")
        return None
    return minutes // 15
