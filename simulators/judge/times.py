"""Quarter hours, local clocks and the calendar of the grid classes: the judge's own, from the utility's sheet."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

QUARTER_MS = 900_000


def parse_utc(text: str) -> int:
    """UTC milliseconds of a timestamp that ends in Z. ValueError otherwise."""
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} does not end in Z")
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    """The local time of an instant."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def local_clock(at_ms: int, zone: ZoneInfo) -> str:
    """12:36:07"""
    return local(at_ms, zone).strftime("%H:%M:%S")


def grid_class(k: int, zone: ZoneInfo) -> str:
    """HT or NT of quarter hour k (floor(unix / 900)) at EGBB, by the local time of its start.

    EGBB: high tariff Monday to Friday 07-20 and Saturday 07-13, low tariff in all other hours.
    """
    start = local(k * QUARTER_MS, zone)
    ends = {5: 13, 6: 7}.get(start.weekday(), 20)
    return "HT" if 7 <= start.hour < ends else "NT"


def period(k: int, zone: ZoneInfo, length: str) -> tuple[int, int]:
    """The billing period (month, quarter or year) that quarter hour k lies in; the carry starts at 0 in each."""
    start = local(k * QUARTER_MS, zone)
    part = {"month": start.month, "quarter": (start.month - 1) // 3, "year": 0}[length]
    return start.year, part
