"""Series that come from outside, by quarter hour: what the community (LEG) gave, the prices of a dynamic tariff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gateway.model import Connection

Series = Literal["leg", "price"]


def put(db: Connection, series: Series, values: Mapping[int, str], source: str, now_ms: int) -> list[int]:
    """Keep the values of these intervals; the newest one counts. Returns the intervals that changed, in order."""
    changed = sorted(k for k, value in values.items() if get(db, series, k) != value)
    db.executemany(
        "INSERT INTO imported (series, k, value, source, received_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT (series, k) "
        "DO UPDATE SET value = excluded.value, source = excluded.source, received_ms = excluded.received_ms",
        [(series, k, values[k], source, now_ms) for k in changed],
    )
    return changed


def get(db: Connection, series: Series, k: int) -> str | None:
    """The value of one interval, None where none came."""
    row = db.execute("SELECT value FROM imported WHERE series = ? AND k = ?", (series, k)).fetchone()
    return str(row[0]) if row else None
