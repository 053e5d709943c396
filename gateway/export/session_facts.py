"""Pure: what the exports know of one ended session and its signed records. Energy is Wh, times are UTC ms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedText:
    """One kept record, byte for byte."""

    id: int
    kind: str
    signed_by: str
    key_id: str
    text: str
    prev: str
    sha256: str
    spki_hex: str | None = None
    """The key that a charger's text was checked with; our own keys are looked up by `key_id`."""

    context: str = ""
    """What the charger's message said of it: `Transaction.Begin`, `Transaction.End` ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """One ended session. `energy_wh` and what it splits into only where it is billable, by itself or by a decision.

    `classes_wh` is grid energy by class. `battery_grid_wh` is None where a battery was discharged in one of its quarter
    hours: what of that had come from the grid is then part of the classes and not known for itself.
    """

    id: str
    charger: str
    connector: int
    tenant: str | None
    participant: str | None
    id_tag: str
    begin_ms: int
    end_ms: int
    begin_wh: int | None
    end_wh: int | None
    energy_wh: int | None
    solar_wh: int | None
    classes_wh: Mapping[str, int]
    battery_grid_wh: int | None
    billable: bool
    unbillable_reason: str | None
    quality: str
    signed_by: str
    meter: str | None
    meter_serial: str | None
    stop_reason: str | None
    split_version: int
    split_state: str | None
    records: tuple[SignedText, ...] = field(default=())

    def record(self, kind: str) -> SignedText | None:
        """The newest record of a kind: `begin` or `end`; one text with both stands for either."""
        fitting = [one for one in self.records if one.kind in (kind, "begin_end")]
        return fitting[-1] if fitting else None

    @property
    def place(self) -> str:
        """Where the car stood: `box1/1`."""
        return f"{self.charger}/{self.connector}"


def mask(id_tag: str) -> str:
    """A card that nobody can use: the last four characters, fewer of a short one."""
    shown = min(4, len(id_tag) // 2)
    return "*" * 4 + id_tag[len(id_tag) - shown :]
