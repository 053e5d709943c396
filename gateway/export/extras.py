"""The two libraries of the extra `export`: segno draws the QR code, fpdf2 the PDF. Without them: one clear sentence."""

from __future__ import annotations

import importlib
from types import ModuleType


class NotInstalledError(Exception):
    """A library of an extra is missing; the text says what to install."""


def need(module: str, package: str) -> ModuleType:
    """Import a library of the extra. NotInstalledError."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotInstalledError(
            f"{package} is not installed: slips need it; install the extra, pip install 'zev-gateway[export]'"
        ) from error


def qr_squares(text: str) -> list[list[bool]]:
    """The dark squares of a QR code, row by row, without its quiet zone. NotInstalledError."""
    code = need("segno", "segno").make(text, error="m", micro=False)
    return [[bool(square) for square in row] for row in code.matrix]
