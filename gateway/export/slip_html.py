"""Pure: a slip as one HTML page that needs nothing else: no script, no font, no picture from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gateway.export.slip import Slip

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:44em;margin:2em auto;padding:0 1em;color:#111}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}td,th{padding:.25em .5em;border-bottom:1px solid #ccc;"
    "text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".note{border:2px solid #b00;padding:.5em}code{word-break:break-all}"
    "svg{width:11em;height:11em}pre{white-space:pre-wrap;word-break:break-all;font-size:11px}"
)


def slip_html(slip: Slip, squares: Sequence[Sequence[bool]] | None) -> str:
    """The page. `squares` are those of the QR code of the key."""
    blocks = [f'<p class="note">{escape(note)}</p>' for note in slip.notes]
    blocks.append(_table((label, value) for label, value in slip.facts))
    if slip.registers:
        blocks.append(_table(slip.registers, number=1))
    blocks.append(_table(slip.energy, number=1))
    blocks.append(_table(slip.proof))
    if slip.key:
        blocks.append(f"<p>{escape(slip.key_help)}</p><p><code>{escape(slip.key)}</code></p>")
        blocks.append(_svg(squares) if squares else "")
    blocks += [f"<pre>{escape(text)}</pre>" for text in slip.texts]
    return (
        f'<!DOCTYPE html>\n<html lang="{slip.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(slip.title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(slip.title)}</h1>\n" + "\n".join(blocks) + "\n</body></html>\n"
    )


def _table(rows: Iterable[Sequence[str]], number: int | None = None) -> str:
    """Rows of cells; the column `number` is set flush right, digit under digit."""
    lines = []
    for row in rows:
        cells = (f"<td{' class=n' if place == number else ''}>{escape(cell)}</td>" for place, cell in enumerate(row))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _svg(squares: Sequence[Sequence[bool]]) -> str:
    """The QR code with the quiet zone of four squares that ISO 18004 asks for."""
    size = len(squares) + 8
    dark = "".join(
        f"M{column + 4} {row + 4}h1v1h-1z" for row, line in enumerate(squares) for column, on in enumerate(line) if on
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" aria-label="QR">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path d="{dark}"/></svg>'
    )
