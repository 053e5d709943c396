"""Pure: what is told of what could not be written for one charger: each kind once while it lasts, then how many."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model import Event, Severity
from gateway.ocpp.actions import Action, Report

AGAIN_S = 600.0
"""Site seconds after which a disk that still takes nothing is told again."""

SOON_S = 30.0
"""Where something was written in between it is told again so soon: a disk may have room and be full again. One that
takes every second row would else be told of forty times a second by a box at which somebody tries cards (I12)."""


class FailedWrites:
    """Remembers what was told, and counts the rest."""

    def __init__(self, charger: str, do: Callable[[Action], None]) -> None:
        self._charger, self._do = charger, do
        self._told_s: dict[str, float] = {}
        self._wait_s = AGAIN_S
        self._over_s: float | None = None
        self._untold = 0

    def failed(self, what: str, error: str, now_s: float) -> None:
        """A row of this kind was not written."""
        told_s = self._told_s.get(what)
        if told_s is not None and now_s - told_s < self._wait_s:
            self._untold += 1
            return
        self._wait_s = AGAIN_S
        self._told_s[what] = now_s
        step = "make room on the disk, or replace it"
        self._tell("store_failed", f"{what} could not be written: {error}", step, Severity.ERROR)

    def written(self, now_s: float) -> None:
        """Something was written: what fails later is another failure."""
        self._wait_s = SOON_S
        if not self._untold or (self._over_s is not None and now_s - self._over_s < SOON_S):
            return
        self._over_s = now_s
        count, self._untold = self._untold, 0
        self._tell("store_takes", f"it is written again; {count} more rows were not", "", Severity.INFO)

    def _tell(self, kind: str, cause: str, next_step: str, severity: Severity) -> None:
        self._do(Report(Event(kind, self._charger, cause, next_step, severity)))
