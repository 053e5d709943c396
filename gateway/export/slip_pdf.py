"""A slip as a PDF of one or two pages (fpdf2, extra `export`).

The core fonts of PDF know Latin-1 only; the four languages fit in, and any other character becomes a question mark: a
name with one is still readable, the signed text is ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.export.extras import need
from gateway.export.slip import Slip

LEFT_MM, LABEL_MM, LINE_MM, QR_MM = 18.0, 62.0, 5.5, 42.0


def slip_pdf(slip: Slip, squares: Sequence[Sequence[bool]] | None, made_ms: int) -> bytes:
    """The file. `made_ms` is written as its date: the same slip gives the same bytes. NotInstalledError."""
    page: Any = need("fpdf", "fpdf2").FPDF(format="A4")
    page.set_creation_date(datetime.fromtimestamp(made_ms // 1000, UTC))
    page.set_title(_latin(slip.title))
    page.set_lang(slip.language)
    page.set_margins(LEFT_MM, LEFT_MM)
    page.add_page()
    page.set_font("Helvetica", "B", 18)
    page.cell(0, 10, _latin(slip.title), new_x="LMARGIN", new_y="NEXT")
    page.set_font("Helvetica", "B", 10)
    for note in slip.notes:
        page.multi_cell(0, LINE_MM, _latin(note), border=1, new_x="LMARGIN", new_y="NEXT")
    _rows(page, slip.facts)
    _rows(page, [(label, f"{value}    ({time})") for label, value, time in slip.registers], mono=True)
    _rows(page, slip.energy, mono=True)
    _rows(page, slip.proof)
    page.set_font("Helvetica", "", 9)
    if slip.key:
        page.multi_cell(0, LINE_MM, _latin(slip.key_help), new_x="LMARGIN", new_y="NEXT")
        _small(page, slip.key)
        if squares:
            _draw(page, squares)
    for text in slip.texts:
        _small(page, text)
    return bytes(page.output())


def _rows(page: Any, rows: Sequence[Sequence[str]], *, mono: bool = False) -> None:
    page.ln(2)
    for label, value in rows:
        page.set_font("Helvetica", "", 10)
        page.cell(LABEL_MM, LINE_MM, _latin(label))
        page.set_font("Courier" if mono else "Helvetica", "", 10)
        page.multi_cell(0, LINE_MM, _latin(value), new_x="LMARGIN", new_y="NEXT")


def _small(page: Any, text: str) -> None:
    page.set_font("Courier", "", 7)
    page.multi_cell(0, 3.2, _latin(text), wrapmode="CHAR", new_x="LMARGIN", new_y="NEXT")
    page.ln(2)


def _draw(page: Any, squares: Sequence[Sequence[bool]]) -> None:
    """The QR code square by square, with its quiet zone; on the next page where it would be cut."""
    side = QR_MM / (len(squares) + 8)
    if page.get_y() + QR_MM > page.h - LEFT_MM:
        page.add_page()
    top = page.get_y()
    page.set_fill_color(0, 0, 0)
    for row, line in enumerate(squares):
        for column, dark in enumerate(line):
            if dark:
                page.rect(LEFT_MM + (column + 4) * side, top + (row + 4) * side, side, side, style="F")
    page.set_y(top + QR_MM)


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
