"""Pure: the sessions of a period as a table, one line each; watt-hours and registers, never money."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from gateway.export.dialects import Cell, local_text, utc_text
from gateway.export.session_facts import SessionFacts, mask

TWO_PRICES = ("HT", "NT")
"""The classes of the classic tariff have columns of their own names; every other class is `class_<id>_wh`."""

BEFORE = (
    "record_id", "site", "charger", "connector", "meter_serial", "user_id", "tag_masked", "start_utc", "start_local",
    "end_utc", "end_local", "register_start_wh", "register_stop_wh", "energy_wh", "solar_wh",
)  # fmt: skip
AFTER = ("battery_grid_wh", "quality", "split_version", "ocmf_sha256", "prev_hash", "hash")


def session_table(
    site: str, zone: ZoneInfo, sessions: Iterable[SessionFacts]
) -> tuple[list[str], list[Sequence[Cell]]]:
    """Header and rows. `ocmf_sha256` is over the text of the end record; `prev_hash`, `hash`: its link."""
    listed = list(sessions)
    classes = class_columns(name for one in listed for name in one.classes_wh)
    header = [*BEFORE, *classes.values(), *AFTER]
    return header, [_row(site, zone, one, list(classes)) for one in listed]


def class_columns(names: Iterable[str]) -> dict[str, str]:
    """The column of each grid class that occurs; HT and NT together where there is no other."""
    found = set(names)
    if found <= set(TWO_PRICES):
        found = set(TWO_PRICES)
    ordered = [*(name for name in TWO_PRICES if name in found), *sorted(found - set(TWO_PRICES))]
    return {name: f"{name.lower()}_wh" if name in TWO_PRICES else f"class_{name}_wh" for name in ordered}


def _row(site: str, zone: ZoneInfo, one: SessionFacts, classes: Sequence[str]) -> list[Cell]:
    signed = one.record("end")
    split = one.solar_wh is not None
    return [
        one.id,
        site,
        one.charger,
        one.connector,
        one.meter_serial,
        one.tenant,
        mask(one.id_tag),
        utc_text(one.begin_ms),
        local_text(one.begin_ms, zone),
        utc_text(one.end_ms),
        local_text(one.end_ms, zone),
        one.begin_wh,
        one.end_wh,
        one.energy_wh,
        one.solar_wh,
        *(one.classes_wh.get(name, 0) if split else None for name in classes),
        one.battery_grid_wh,
        one.quality,
        one.split_version,
        hashlib.sha256(signed.text.encode()).hexdigest() if signed else None,
        signed.prev if signed else None,
        signed.sha256 if signed else None,
    ]


def session_json(site: str, zone: ZoneInfo, sessions: Iterable[SessionFacts]) -> list[dict[str, Any]]:
    """The same rows as plain objects, with the reason of what is not billable."""
    listed = list(sessions)
    header, rows = session_table(site, zone, listed)
    return [
        {**dict(zip(header, row, strict=True)), "billable": one.billable, "unbillable_reason": one.unbillable_reason}
        for one, row in zip(listed, rows, strict=True)
    ]
