"""The quarter-hour table that explains a session's share to the one who charged; it can be recomputed by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from gateway.export.dialects import local_text
from gateway.export.session_facts import SessionFacts
from gateway.export.words import word
from gateway.model import INTERVAL_MS, Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarterFacts:
    """One quarter hour of a session, Wh. None: the balance of the house is not known yet.

    `house_wh`, `sun_wh`: what the house used, and the own sun in it that was shared; `point_*` the participant's part
    (everything at this charging point, sessions and standby); `carry_*` its rounding rest before and after, nano-Wh.
    """

    start_ms: int
    house_wh: int | None
    sun_wh: int | None
    point_wh: int | None
    point_sun_wh: int | None
    carry_before: int | None
    carry_after: int | None
    session_wh: int
    session_sun_wh: int
    session_grid_wh: int
    grid_class: str
    state: str
    key: str


def quarters_of(db: Connection, one: SessionFacts) -> list[QuarterFacts]:
    """Every quarter hour in which the session took something, in order."""
    rows = db.execute(
        "SELECT h.k, h.energy_wh, h.solar_wh, h.grid_wh, h.class, i.result FROM session_share AS h "
        "JOIN interval AS i ON i.k = h.k WHERE h.session = ? ORDER BY h.k",
        (one.id,),
    )
    return [_quarter(one, *row) for row in rows]


def _quarter(one: SessionFacts, k: int, wh: int, sun_wh: int, grid_wh: int, grid_class: str, text: str) -> QuarterFacts:
    body = json.loads(text)
    part = next((part for part in body["sessions"] if part["session"] == one.id), None)
    who = part["participant"] if part else one.participant
    share = next((share for share in body["shares"] if share["participant"] == who), None)
    known = body["solar_wh"] is not None
    return QuarterFacts(
        start_ms=k * INTERVAL_MS,
        house_wh=sum(share["wh"] for share in body["shares"]) if known else None,
        sun_wh=body["solar_wh"] - body["unallocated_wh"] if known else None,
        point_wh=share["wh"] if share else None,
        point_sun_wh=share["solar_wh"] if share else None,
        carry_before=share["carry_before_nano_wh"] if share else None,
        carry_after=share["carry_after_nano_wh"] if share else None,
        session_wh=wh,
        session_sun_wh=sun_wh,
        session_grid_wh=grid_wh,
        grid_class=grid_class,
        state=body["state"],
        key=body["key"],
    )


COLUMNS = (
    "from_to", "house_used", "sun_gave", "point_used", "point_sun", "you_used", "you_sun", "you_grid", "class",
)  # fmt: skip


def explain_text(quarters: list[QuarterFacts], zone: ZoneInfo, language: str) -> str:
    """The table for a person, and the rule under it; Wh."""
    header = [word(name, language) for name in COLUMNS]
    rows = [
        [
            f"{local_text(one.start_ms, zone)[:16].replace('T', ' ')}-"
            f"{local_text(one.start_ms + INTERVAL_MS, zone)[11:16]}",
            *(
                "?" if value is None else str(value)
                for value in (one.house_wh, one.sun_wh, one.point_wh, one.point_sun_wh, one.session_wh,
                              one.session_sun_wh, one.session_grid_wh)
            ),
            one.grid_class + ("" if one.state != "provisional" else " *"),
        ]
        for one in quarters
    ]  # fmt: skip
    sums = [sum(getattr(one, name) for one in quarters) for name in ("session_wh", "session_sun_wh", "session_grid_wh")]
    rows.append([word("total", language), "", "", "", "", *map(str, sums), ""])
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    lines = [_aligned(row, widths) for row in (header, *rows)]
    lines.insert(1, "-" * len(lines[0]))
    lines.insert(-1, "-" * len(lines[0]))
    rule = "rule" if all(one.key == "dynamic" for one in quarters) else "rule_fixed"
    notes = [f"* {word('provisional', language)}"] if any(one.state == "provisional" for one in quarters) else []
    if any(one.house_wh is None and one.state != "provisional" for one in quarters):
        notes.append(f"? {word('unmeasured', language)}")
    return "\n".join([word("explain", language), "", *lines, "", word(rule, language), *notes])


def _aligned(row: list[str], widths: list[int]) -> str:
    first = row[0].ljust(widths[0])
    return "  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()


def explain_json(quarters: list[QuarterFacts]) -> list[dict[str, Any]]:
    """The same with names and the rounding rests, for whoever recomputes it by program."""
    return [asdict(one) for one in quarters]
