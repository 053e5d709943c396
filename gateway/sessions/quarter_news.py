"""Pure: what is said about a settled quarter hour: whether it changed, and what the operator must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.energy.intervals import boundary_of
from gateway.energy.quarter import Quarter
from gateway.model import Event, Severity
from gateway.records.bodies import Interval

_STAYS = "nothing: nobody measured then, and it stays so; what sessions took stands as grid energy"

INCOMPLETE, UNKNOWN = "interval_provisional", "interval_unknown"
NAME = "quarter hour "

State = Literal["provisional", "final", "corrected", "closed"]

IMBALANCE_FLOOR_WH = 50
"""An imbalance beyond this and 1 % of the house is told (the registers of a house never agree to the watt-hour)."""


def same(old: Interval, new: Interval) -> bool:
    """Whether nothing changed but the version; final and corrected mean the same here."""
    exclude = {"version", "state"}
    same_state = (old.state == "provisional") == (new.state == "provisional")
    return same_state and old.model_dump(exclude=exclude) == new.model_dump(exclude=exclude)


def name_of(k: int, timezone: str) -> str:
    """A quarter hour by its local begin, with the offset that tells the repeated hour of autumn apart."""
    local = datetime.fromtimestamp(boundary_of(k) / 1000, ZoneInfo(timezone))
    return f"{NAME}{local.isoformat(sep=' ', timespec='minutes')}"


def late_event(name: str, k: int, period: str, old: Interval, now: Interval) -> Event:
    """Something came late for a closed interval: what it would change."""
    sun, grid = (now.solar_wh or 0) - (old.solar_wh or 0), (now.import_wh or 0) - (old.import_wh or 0)
    return Event(
        "late_for_closed_period", name, f"{period} is closed; the split would change, solar by {sun} Wh",
        next_step=f"nothing was changed; `period reopen {period}` applies it", severity=Severity.WARNING,
        data={"k": k, "period": period, "delta_solar_wh": sun, "delta_import_wh": grid}, keep=True,
    )  # fmt: skip


def folded(events: Sequence[Event]) -> list[Event]:
    """Quarter hours in a row that are incomplete for the same reason are one event: how many, from when to when."""
    told: list[Event] = []
    for event in events:
        if told and _goes_on(told[-1], event):
            told[-1] = _joined(told[-1], event)
        else:
            told.append(event)
    return told


def _goes_on(one: Event, other: Event) -> bool:
    return (
        one.kind == other.kind
        and one.kind in (INCOMPLETE, UNKNOWN)
        and (one.cause, one.next_step) == (other.cause, other.next_step)
        and int(one.data["k"]) + _count(one) == int(other.data["k"])
    )


def _joined(one: Event, other: Event) -> Event:
    count = _count(one) + _count(other)
    first = one.subject.removeprefix(NAME).split(" to ")[0].split(", ")[-1]
    last = other.subject.removeprefix(NAME)
    return replace(one, subject=f"{count} quarter hours, {first} to {last}", data={**one.data, "quarters": count})


def _count(event: Event) -> int:
    return int(event.data.get("quarters", 1))


def news(name: str, k: int, version: int, state: State, quarter: Quarter) -> list[Event]:
    """What the operator is told of a version: that it is provisional, that energy belongs to nobody."""
    events: list[Event] = []
    if state == "provisional" and version == 1:
        events.append(
            Event(
                INCOMPLETE, name, "; ".join(quarter.missing),
                next_step="it is corrected by itself when the data is there",
                severity=Severity.WARNING, data={"k": k}, keep=True,
            )
        )  # fmt: skip
    if state != "provisional" and quarter.flows is None:
        events.append(
            Event(
                UNKNOWN, name, "; ".join(quarter.missing), next_step=_STAYS, severity=Severity.WARNING,
                data={"k": k}, keep=True,
            )
        )  # fmt: skip
    limit_wh = IMBALANCE_FLOOR_WH + (quarter.consumption_wh or 0) // 100
    if abs(quarter.imbalance_wh) > limit_wh and not quarter.estimated:
        events.append(
            Event(
                "imbalance", name, f"{quarter.imbalance_wh} Wh of the house belong to nobody",
                next_step="check which meter is wired or assigned wrongly", severity=Severity.WARNING,
                data={"k": k, "imbalance_wh": quarter.imbalance_wh}, keep=True,
            )
        )  # fmt: skip
    return events
