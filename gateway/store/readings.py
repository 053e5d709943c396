"""Readings as JSON: in the journal, in the boundary rows, and those that are kept singly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from gateway.model import Connection, PhaseMa, Reading, TimeQuality
from gateway.store import meta

_NAMES = tuple(field.name for field in fields(Reading))


def plain(reading: Reading) -> dict[str, Any]:
    """The fields that have a value, ready for JSON."""
    values = {name: getattr(reading, name) for name in _NAMES}
    values["quality"] = reading.quality.value
    return {name: value for name, value in values.items() if value not in (None, "") and value is not False}


def of_plain(values: Mapping[str, Any]) -> Reading:
    """The reading again; fields of a later version are left out."""
    known = {name: value for name, value in values.items() if name in _NAMES}
    current: PhaseMa | None = None
    if known.get("current_ma") is not None:
        l1, l2, l3 = known["current_ma"]
        current = (l1, l2, l3)
    known.setdefault("import_wh", None)
    return Reading(**{**known, "quality": TimeQuality(known["quality"]), "current_ma": current})


def dump(reading: Reading) -> str:
    """One line of JSON."""
    return json.dumps(plain(reading), separators=(",", ":"))


def load(text: str | None) -> Reading | None:
    """The reading that `dump` wrote."""
    return of_plain(json.loads(text)) if text else None


def keep(db: Connection, reading: Reading, why: str) -> None:
    """Keep one reading singly: begin, end, before or after a gap, before or after a swap."""
    db.execute(
        "INSERT INTO kept_reading (meter, why, requested_ms, reading) VALUES (?, ?, ?, ?)",
        (reading.meter, why, reading.requested_ms, dump(reading)),
    )


def newest_kept_ms(db: Connection) -> int:
    """When the newest reading that is kept singly was asked for; 0: none is kept."""
    row = db.execute("SELECT ifnull(max(requested_ms), 0) FROM kept_reading").fetchone()
    return int(row[0]) if row else 0


def oldest_kept_ms(db: Connection) -> int:
    """When the oldest reading that is kept singly was asked for; 0: none is kept."""
    row = db.execute("SELECT ifnull(min(requested_ms), 0) FROM kept_reading").fetchone()
    return int(row[0]) if row else 0


def kept_between(db: Connection, meter: str, from_ms: int, to_ms: int) -> list[Reading]:
    """Kept readings of a meter with from_ms <= requested_ms < to_ms, oldest first."""
    rows = db.execute(
        "SELECT reading FROM kept_reading WHERE meter = ? AND requested_ms >= ? AND requested_ms < ? "
        "ORDER BY requested_ms, id",
        (meter, from_ms, to_ms),
    )
    return [of_plain(json.loads(row[0])) for row in rows]


def kept_before(db: Connection, meter: str, at_ms: int) -> Reading | None:
    """The newest kept reading requested before an instant."""
    row = db.execute(
        "SELECT reading FROM kept_reading WHERE meter = ? AND requested_ms < ? "
        "ORDER BY requested_ms DESC, id DESC LIMIT 1",
        (meter, at_ms),
    ).fetchone()
    return of_plain(json.loads(row[0])) if row else None


def kept_after(db: Connection, meter: str, at_ms: int) -> Reading | None:
    """The oldest kept reading requested at or after an instant."""
    row = db.execute(
        "SELECT reading FROM kept_reading WHERE meter = ? AND requested_ms >= ? ORDER BY requested_ms, id LIMIT 1",
        (meter, at_ms),
    ).fetchone()
    return of_plain(json.loads(row[0])) if row else None


_LAST = "last_readings"
_PACKED = (
    "requested_ms", "replied_ms", "quality", "import_wh", "export_wh", "serial", "model", "map_version", "raw",
    "range_wh",
)  # fmt: skip
_packed_values = attrgetter(*_PACKED)


def put_last(db: Connection, newest: Mapping[str, Reading]) -> None:
    """The newest reading of each meter, in place of the ones before: one packed row, as it is written every minute."""
    packed = {
        meter: [None if value == "" else value for value in _packed_values(reading)]
        for meter, reading in sorted(newest.items())
    }
    meta.put(db, _LAST, json.dumps(packed, separators=(",", ":")))


def last(db: Connection) -> dict[str, Reading]:
    """The newest reading of each meter that is on disk."""
    packed: dict[str, list[Any]] = json.loads(meta.get(db, _LAST) or "{}")
    found: dict[str, Reading] = {}
    for meter, values in packed.items():
        known = {name: value for name, value in zip(_PACKED, values, strict=False) if value is not None}
        found[meter] = of_plain({"meter": meter, **known})
    return found


def restamp(
    db: Connection, from_ms: int, moves: Callable[[Reading], bool], moved: Callable[[Reading], Reading]
) -> None:
    """Move the kept readings since `from_ms` that `moves` says; the time they bore first stays beside."""
    rows = db.execute("SELECT id, reading FROM kept_reading WHERE requested_ms >= ? ORDER BY id", (from_ms,)).fetchall()
    for number, text in rows:
        values = json.loads(text)
        reading = of_plain(values)
        if not moves(reading):
            continue
        after = moved(reading)
        values = {"stamped_ms": reading.requested_ms, **values, **plain(after)}
        db.execute(
            "UPDATE kept_reading SET requested_ms = ?, reading = ? WHERE id = ?",
            (after.requested_ms, json.dumps(values, separators=(",", ":")), number),
        )
