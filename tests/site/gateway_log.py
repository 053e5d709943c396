"""What the gateway said: its log, line by line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from simulators.judge.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Line:
    """One event as the gateway logged it. `at_ms` is true time, `node` the machine's life."""

    at_ms: int
    node: str
    kind: str
    subject: str
    cause: str
    next_step: str
    level: str


class Log:
    """What the gateway said, in order of time."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = sorted(lines, key=lambda line: line.at_ms)

    @cached_property
    def by_kind(self) -> dict[str, list[Line]]:
        """The lines of each kind."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.kind, []).append(line)
        return found

    def of(self, kinds: Sequence[str], subject: str, from_ms: int, to_ms: int) -> list[Line]:
        """The lines of these kinds about a subject ("": any), in order of time."""
        found = (line for kind in kinds for line in self.by_kind.get(kind, ()))
        fitting = (one for one in found if from_ms <= one.at_ms <= to_ms and subject in ("", one.subject))
        return sorted(fitting, key=lambda line: line.at_ms)


def read_log(evidence: Evidence) -> Log:
    """The gateway's log."""
    text = (evidence.folder / "gateway.log").read_text(encoding="utf-8")
    return Log([_line(json.loads(line)) for line in text.splitlines() if line.startswith("{")])


def _line(said: dict[str, object]) -> Line:
    words = {key: str(said.get(key, "")) for key in ("node", "subject", "cause", "next_step", "level")}
    return Line(at_ms=int(str(said["t"])), kind=str(said["event"]), **words)
