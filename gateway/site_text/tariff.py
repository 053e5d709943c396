"""Pure: a tariff table (of a file of its own, or in the site file) -> the calendar of grid classes."""

from __future__ import annotations

import re

from gateway.site import Tariff, TariffWindow
from gateway.site_text.grammar import CalendarTable
from gateway.site_text.problems import Findings
from gateway.site_text.toml_places import Path

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
QUARTERS_OF_A_DAY = 96


def build_tariff(table: CalendarTable, name: str, path: Path, findings: Findings) -> Tariff | None:
    """The calendar of `table`; None where something is wrong, which `findings` then holds."""
    windows: list[TariffWindow] = []
    before = len(findings.problems)
    for position, window in enumerate(table.windows):
        here = (*path, "windows", position)
        days = _weekdays(window.days, (*here, "days"), findings)
        start = _quarter(window.from_, (*here, "from"), findings)
        end = _quarter(window.to, (*here, "to"), findings)
        if days is None or start is None or end is None:
            continue
        if not start < end:
            findings.add((*here, "to"), "must be later than from", "write two windows for one that crosses midnight")
            continue
        built = TariffWindow(name=window.class_, weekdays=days, start_quarter=start, end_quarter=end)
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
    )


def _contradict(one: TariffWindow, other: TariffWindow) -> bool:
    return (
        one.name != other.name
        and bool(one.weekdays & other.weekdays)
        and one.start_quarter < other.end_quarter
        and other.start_quarter < one.end_quarter
    )


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
