"""Pure: the sessions of a period summed up per user or per station; adjacent periods add up to the watt-hour.

Each ended session counts in exactly one period, so any cut of a year into periods has the same sums as the year.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.export.dialects import Cell
from gateway.export.session_facts import SessionFacts
from gateway.export.session_table import class_columns

By = Literal["user", "station"]


@dataclass
class Line:
    """The sum of one user or station, Wh. What is not billable is counted, and has no energy."""

    name: str
    sessions: int = 0
    unbillable: int = 0
    outstanding: int = 0
    energy_wh: int = 0
    solar_wh: int = 0
    classes_wh: dict[str, int] = field(default_factory=dict)

    def add(self, one: SessionFacts) -> None:
        """Take one session in. Energy whose split is outstanding stands in `outstanding`, not in sun or grid."""
        if one.energy_wh is None:
            self.unbillable += 1
            return
        self.sessions += 1
        self.energy_wh += one.energy_wh
        if one.solar_wh is None:
            self.outstanding += one.energy_wh
            return
        self.solar_wh += one.solar_wh
        for name, wh in one.classes_wh.items():
            self.classes_wh[name] = self.classes_wh.get(name, 0) + wh


def report(sessions: Iterable[SessionFacts], by: By) -> list[Line]:
    """One line per user (tenant; empty where nobody is known) or per station (connector), by name."""
    lines: dict[str, Line] = {}
    for one in sessions:
        name = (one.tenant or "") if by == "user" else one.place
        lines.setdefault(name, Line(name)).add(one)
    return [lines[name] for name in sorted(lines)]


def total(lines: Iterable[Line]) -> Line:
    """The sum of all lines."""
    whole = Line("total")
    for line in lines:
        whole.sessions += line.sessions
        whole.unbillable += line.unbillable
        whole.outstanding += line.outstanding
        whole.energy_wh += line.energy_wh
        whole.solar_wh += line.solar_wh
        for name, wh in line.classes_wh.items():
            whole.classes_wh[name] = whole.classes_wh.get(name, 0) + wh
    return whole


def report_table(lines: Sequence[Line], by: By) -> tuple[list[str], list[Sequence[Cell]]]:
    """Header and rows, without a sum line: a spreadsheet would add it twice."""
    classes = class_columns(name for line in lines for name in line.classes_wh)
    header = [by, "sessions", "energy_wh", "solar_wh", *classes.values(), "split_outstanding_wh", "unbillable_sessions"]
    rows: list[Sequence[Cell]] = [
        [
            line.name, line.sessions, line.energy_wh, line.solar_wh,
            *(line.classes_wh.get(name, 0) for name in classes), line.outstanding, line.unbillable,
        ]
        for line in lines
    ]  # fmt: skip
    return header, rows


def report_json(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """The lines as plain objects."""
    return [
        {
            "name": line.name,
            "sessions": line.sessions,
            "energy_wh": line.energy_wh,
            "solar_wh": line.solar_wh,
            "classes_wh": dict(sorted(line.classes_wh.items())),
            "split_outstanding_wh": line.outstanding,
            "unbillable_sessions": line.unbillable,
        }
        for line in lines
    ]
