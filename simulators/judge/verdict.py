"""What a check says, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass, field

TOO_SLOW_MS = 250.0
"""A machine that stalls longer (real time) shows nothing about the gateway."""

EXIT_HOLDS, EXIT_BROKEN, EXIT_TOO_SLOW = 0, 1, 3

TITLES = {
    "story": "every car of the story became one session to bill, and no other",
    "I1p": "no fuse opens; overload is short; alone, every box keeps to its fallback",
    "I3": "what the gateway itself confirmed has reached the CSMS, or is counted as thinned",
    "I4": "the CSMS has each charger's messages in order, each once, with ids it knows",
    "I5": "one begin and one end record per session; they verify; no page twice",
    "I6": "energy = end - begin = solar + classes; the registers are those the meters gave",
    "I7": "every quarter hour closes, its roundings are carried on, and it fits the truth",
    "I8": "the cloud holds each record once, unbroken up to the gateway's last word",
    "I10": "relayed frames are byte-identical but for mapped transaction ids",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant: whether it holds, with figures, and the first place where it does not."""

    invariant: str
    holds: bool
    figures: dict[str, str]
    first_violation: str = ""
    violations: int = 0

    @property
    def title(self) -> str:
        """The invariant in words."""
        return TITLES.get(self.invariant, "")


@dataclass(slots=True)
class Notes:
    """What a check has seen so far."""

    invariant: str
    figures: dict[str, str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def figure(self, name: str, value: object) -> None:
        """Note a figure; it is printed as it stands."""
        self.figures[name] = f"{value:.2f}" if isinstance(value, float) else str(value)

    def expect(self, holds: bool, otherwise: str) -> bool:
        """Note `otherwise` as a violation unless it holds. Returns `holds`."""
        if not holds:
            self.violations.append(otherwise)
        return holds

    def finding(self) -> Finding:
        """The check is done."""
        first = self.violations[0] if self.violations else ""
        return Finding(self.invariant, not self.violations, self.figures, first, len(self.violations))


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A session as the cloud has it, for the table at the end; energies in Wh, times UTC."""

    session: str
    charger: str
    tenant: str
    id_tag: str
    begin: str
    end: str
    begin_wh: int | None
    end_wh: int | None
    energy_wh: int | None
    solar_wh: int | None
    classes_wh: dict[str, int]
    good: bool
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings. `widened_ms` is by how much every time bound was widened (site time): speed x longest stall."""

    findings: tuple[Finding, ...]
    sessions: tuple[SessionLine, ...]
    stall_ms: float
    speed: float

    @property
    def widened_ms(self) -> float:
        """Site milliseconds by which the time bounds were widened."""
        return self.speed * self.stall_ms

    @property
    def too_slow(self) -> bool:
        """The machine stalled for so long that nothing can be said."""
        return self.stall_ms > TOO_SLOW_MS

    @property
    def holds(self) -> bool:
        """Every invariant holds, and there were some."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 all hold, 1 something is broken or lacks evidence, 3 the machine was too slow to judge."""
        if self.too_slow:
            return EXIT_TOO_SLOW
        return EXIT_HOLDS if self.holds else EXIT_BROKEN
