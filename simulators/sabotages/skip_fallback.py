"""Breaks I1p: no box is told what it may draw when alone, while the load manager believes that each has proven it."""

from __future__ import annotations

from gateway.cli import main
from gateway.ocpp.actions import SaveFallbacks
from gateway.ocpp.limits import Limits


def apply() -> None:
    """Take every fallback for confirmed, and send none."""

    def write_fallbacks(self: Limits) -> None:
        if self._confirmed != self._fallbacks:
            self._confirmed = self._fallbacks
            self._core.do(SaveFallbacks(self._fallbacks))
        self._rewrite.clear()

    Limits._write_fallbacks = write_fallbacks  # type: ignore[method-assign]


if __name__ == "__main__":
    apply()
    raise SystemExit(main())
