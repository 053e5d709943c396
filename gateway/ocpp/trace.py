"""The newest frames of all chargers with direction and the rule that touched each (I10); bounded, in memory only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from gateway.clock import iso

MAX_LINES = 500
MAX_TEXT = 2000
"""Characters kept of one frame; signed meter data may be longer, and stand whole in the journal."""


@dataclass(frozen=True, slots=True)
class Line:
    """One frame: which way it went, and what was done with it."""

    at_ms: int
    charger: str
    side: Literal["charger", "csms"]
    way: Literal["in", "out"]
    rule: str
    text: str


class TraceLog:
    """A ring of the newest frames."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=MAX_LINES)

    def add(
        self,
        at_ms: int,
        charger: str,
        side: Literal["charger", "csms"],
        way: Literal["in", "out"],
        rule: str,
        text: str,
    ) -> None:
        """Remember one frame."""
        self._lines.append(Line(at_ms, charger, side, way, rule, text[:MAX_TEXT]))

    def lines(self, charger: str | None = None) -> list[Line]:
        """Oldest first."""
        return [line for line in self._lines if charger in (None, line.charger)]

    def as_json(self, charger: str | None = None) -> list[dict[str, Any]]:
        """For `status` and for support."""
        return [
            {"at": iso(line.at_ms), "charger": line.charger, "side": line.side, "way": line.way, "rule": line.rule,
             "frame": line.text}
            for line in self.lines(charger)
        ]  # fmt: skip
