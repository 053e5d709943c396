"""Pure: when a box sends more than makes sense, and that this is told once in ten minutes (I11, I12)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model import Event, Severity
from gateway.ocpp.actions import Action, Report

FLOOD_AGAIN_S = 600.0

CHATTER = 100
CHATTER_S = 10.0
"""So many messages outside of transactions within so many site seconds are a fault of the box, also where each of them
is relayed: they cost the uplink, and a backend may close its door. What a box kept while it was away belongs to
transactions, and may come as fast as it is answered."""


class Floods:
    """Looks at one charger."""

    def __init__(self, charger: str, do: Callable[[Action], None]) -> None:
        self._charger, self._do = charger, do
        self._told_s: float | None = None
        self._since_s = 0.0
        self._count = 0

    def chatter(self, now_s: float) -> None:
        """A message has come that belongs to no transaction."""
        if now_s - self._since_s >= CHATTER_S:
            self._since_s, self._count = now_s, 0
        self._count += 1
        if self._count == CHATTER:
            self._tell(f"it sent {CHATTER} messages within {CHATTER_S:.0f} s that belong to no transaction", now_s)

    def overflow(self, now_s: float) -> None:
        """More messages at once than may wait."""
        cause = "it sends faster than it is answered: what does not fit in the queue is refused or answered here"
        self._tell(cause, now_s)

    def _tell(self, cause: str, now_s: float) -> None:
        if self._told_s is not None and now_s - self._told_s < FLOOD_AGAIN_S:
            return
        self._told_s = now_s
        step = "restart the box; if it goes on, update its firmware"
        self._do(Report(Event("charger_floods", self._charger, cause, step, Severity.WARNING, keep=True)))
