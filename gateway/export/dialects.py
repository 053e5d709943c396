"""Pure: a table as the text of a CSV file that the reader's spreadsheet understands.

Excel of German-speaking countries wants semicolons, a byte order mark and CRLF (RFC 4180 the rest); the decimal sign
differs, so it is part of the dialect. A cell that a spreadsheet would take for a formula gets an apostrophe in front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written. `bom`: a byte order mark, without which Excel does not see UTF-8."""

    name: str
    delimiter: str
    decimal: str
    bom: bool


DIALECTS = {
    one.name: one
    for one in (
        Dialect("excel-de", ";", ",", bom=True),
        Dialect("excel-ch", ";", ".", bom=True),
        Dialect("rfc4180", ",", ".", bom=False),
    )
}

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(header: Sequence[str], rows: Iterable[Sequence[Cell]], dialect: Dialect) -> bytes:
    """The whole file; the first line holds the machine names of the columns."""
    lines = [_line(header, dialect), *(_line(row, dialect) for row in rows)]
    return (b"\xef\xbb\xbf" if dialect.bom else b"") + "".join(lines).encode()


def kwh(wh: int | None, dialect: Dialect) -> str | None:
    """Whole Wh as kWh with three decimals, digit by digit; None stays empty."""
    if wh is None:
        return None
    sign, whole = "-" if wh < 0 else "", abs(wh)
    return f"{sign}{whole // 1000}{dialect.decimal}{whole % 1000:03d}"


def _line(cells: Sequence[Cell], dialect: Dialect) -> str:
    return dialect.delimiter.join(_cell(cell, dialect) for cell in cells) + "\r\n"


def _cell(cell: Cell, dialect: Dialect) -> str:
    if cell is None:
        return ""
    if isinstance(cell, int):
        return str(cell)
    text = f"'{cell}" if cell.startswith(_FORMULA) and not _is_number(cell, dialect) else cell
    if any(sign in text for sign in (dialect.delimiter, '"', "\r", "\n")):
        return '"' + text.replace('"', '""') + '"'
    return text


def _is_number(text: str, dialect: Dialect) -> bool:
    """A negative number is no formula."""
    return text[:1] == "-" and text[1:].replace(dialect.decimal, "", 1).isdecimal()


def utc_text(utc_ms: int) -> str:
    """`2026-06-13T09:30:00Z`."""
    return datetime.fromtimestamp(utc_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_text(utc_ms: int, zone: ZoneInfo) -> str:
    """`2026-06-13T11:30:00+02:00`: with its offset, so the repeated hour in autumn has two spellings."""
    return datetime.fromtimestamp(utc_ms // 1000, zone).isoformat()
