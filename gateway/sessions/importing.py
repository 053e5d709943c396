"""Series from outside, checked before they count: what the community (LEG) gave, the prices by quarter hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any, Literal

from gateway.model import INTERVAL_S, Connection, Stamp
from gateway.store import imported, intervals
from gateway.store.imported import Series

MAX_VALUES = 40_000
"""A year of quarter hours; more is another file."""

MAX_WH = 1_000_000
"""What a house may be given in a quarter hour: 4 MW are no house."""


class SeriesError(ValueError):
    """The series cannot be taken; one sentence with its place."""


def read_leg(values: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """`[{"start": "..Z", "wh": 120}, ...]` -> Wh by interval. SeriesError: one fault and nothing is taken."""
    found: dict[int, str] = {}
    for number, value in enumerate(_limited(values)):
        wh = value.get("wh")
        if isinstance(wh, bool) or not isinstance(wh, int) or not 0 <= wh <= MAX_WH:
            raise SeriesError(f"value {number}: wh must be whole watt-hours, not {wh!r}")
        _put(found, number, value, str(wh))
    return found


def read_prices(values: Sequence[Mapping[str, Any]], unit: str) -> dict[int, str]:
    """`[{"start": "..Z", "price": "0.2180"}, ...]` -> the class of each interval, such as `21.80 Rp`.

    The price names the class: intervals of one price are one class of the bill, and no money is computed here. Prices
    are decimal texts, because 0.1 is no binary number. SeriesError.
    """
    found: dict[int, str] = {}
    for number, value in enumerate(_limited(values)):
        price = value.get("price")
        try:
            exact = Decimal(price) if isinstance(price, str) else None
        except InvalidOperation:
            exact = None
        if exact is None or not exact.is_finite() or abs(exact) > 1000:
            raise SeriesError(f'value {number}: price must be a decimal text such as "0.2180", not {price!r}')
        _put(found, number, value, f"{exact.normalize():f} {unit}")
    return found


def _limited(values: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(values, list) or not values:
        raise SeriesError("the series holds no values")
    if len(values) > MAX_VALUES:
        raise SeriesError(f"the series holds {len(values)} values, at most {MAX_VALUES} are taken at once")
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise SeriesError(f"value {number}: must be an object with a start")
    return values


def _put(found: dict[int, str], number: int, value: Mapping[str, Any], text: str) -> None:
    k = _interval(number, value.get("start"))
    if found.setdefault(k, text) != text:
        raise SeriesError(f"value {number}: a second, other value for {value.get('start')}")


def _interval(number: int, start: object) -> int:
    """The interval that begins at `start`: UTC, on a quarter hour."""
    try:
        at = datetime.fromisoformat(start) if isinstance(start, str) else None
    except ValueError:
        at = None
    if at is None or at.utcoffset() is None:
        raise SeriesError(f"value {number}: start must be a time with its offset, such as 2026-06-13T10:45:00Z")
    k, beside = divmod(round(at.timestamp()), INTERVAL_S)
    if beside or at.microsecond:
        raise SeriesError(f"value {number}: start must lie on a quarter hour, not {start}")
    return k


def take(db: Connection, series: Series, values: Mapping[int, str], source: str, stamp: Stamp) -> dict[str, int]:
    """Keep a series inside a transaction; intervals that it changes are settled again, closed ones only named."""
    changed = imported.put(db, series, values, source, stamp.utc_ms)
    for first, last in _runs(changed):
        intervals.mark_dirty(db, first, last)
    return {"values": len(values), "changed": len(changed)}


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    groups = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [((members := [number for _, number in group])[0], members[-1]) for _, group in groups]


KINDS: Mapping[str, Literal["leg", "price"]] = {"leg": "leg", "price": "price"}
"""What can be imported, by the word that a person or the cloud says."""
