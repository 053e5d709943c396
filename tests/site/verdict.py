"""The verdict over a watch: the judge's checks of the wire, the cloud and the truth, and what the watch itself saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from simulators.judge.bench import CHECKS, UNREADABLE
from simulators.judge.evidence import Evidence, NoEvidenceError
from simulators.judge.records import sessions
from simulators.judge.verdict import TITLES, Finding, Notes

from . import drain, visible
from .budget import Budget
from .turns import Turns
from .turns import finding as turned
from .watch import Watch

OWN_TITLES = {
    "I1": "what the boxes may draw fits, in every second",
    "I2": "every limit is 0 or between the box's minimum and maximum",
    "I9": "who waits has a turn within the bound, and is told place and time",
    "I11": "what goes wrong is told, with cause and next step",
    "I12": "memory, disk and log stay in their budget",
    "drain": "what had waited for days goes out in measure, and nobody waits for it",
    "story": "every car is one session, to bill or with its reason",
}


OWN_CHECKS = {"I11": visible.check}
INVARIANTS = {"I1", "I2", "I9", "I12", "drain", *CHECKS, *OWN_CHECKS} - {"story"}
"""What is checked after every watch; the story is the check of the checks."""


def judge_watch(
    folder: Path, watch: Watch, budget: Budget, turns: Turns, credit: drain.Credit | None = None
) -> list[Finding]:
    """All findings, the watch's own first; `credit` where days without CSMS and cloud came before it."""
    findings = [_own("I1", watch, f"{watch.seconds} s"), _own("I2", watch, f"{watch.limits_seen} limits")]
    evidence = Evidence(folder)
    try:
        overdue = [str(violation) for violation in watch.violations if violation.invariant == "I9"]
        own = {"I9": lambda read: turned(turns, read, overdue), "I12": budget.finding, "story": _story}
        checks = {**CHECKS, **OWN_CHECKS, **own}
        if credit is not None:
            checks["drain"] = lambda read: drain.finding(credit, read)
        return [*findings, *(_run(name, check, evidence) for name, check in checks.items())]
    finally:
        evidence.close()


def report(findings: Sequence[Finding]) -> list[str]:
    """One line for each finding."""
    lines = []
    for finding in findings:
        figures = ", ".join(f"{name} {value}" for name, value in finding.figures.items())
        title = OWN_TITLES.get(finding.invariant, TITLES.get(finding.invariant, ""))
        lines.append(f"{'holds ' if finding.holds else 'BROKEN'} {finding.invariant:6} {title} ({figures})")
        if not finding.holds:
            more = f" (and {finding.violations - 1} more)" if finding.violations > 1 else ""
            lines.append(f"       {finding.first_violation}{more}")
    return lines


def _own(invariant: str, watch: Watch, seen: str) -> Finding:
    found = [violation for violation in watch.violations if violation.invariant == invariant]
    return Finding(invariant, not found, {"seen": seen}, str(found[0]) if found else "", len(found))


def _run(name: str, check: object, evidence: Evidence) -> Finding:
    try:
        return check(evidence)  # type: ignore[operator,no-any-return]
    except NoEvidenceError as error:
        return Finding(name, False, {}, f"no evidence: {error}", 1)
    except UNREADABLE as error:
        return Finding(name, False, {}, f"the evidence cannot be read: {type(error).__name__}: {error}", 1)


def _story(evidence: Evidence) -> Finding:
    """Each start that a box was told is accepted became one session; those to bill carry the tenant of their card."""
    notes = Notes("story")
    charged = Counter(str(stop.data["charger"]) for stop in evidence.told("car_stopped"))
    found = [session for session in sessions(evidence) if session.ends]
    ended = Counter(str(session.ends[0]["charger"]) for session in found)
    for charger in sorted(charged.keys() | ended.keys()):
        notes.expect(
            charged[charger] == ended[charger],
            f"{charger}: {charged[charger]} cars charged there, {ended[charger]} sessions ended",
        )
    for session in found:
        end = session.ends[0]
        if session.billable:
            tenant = evidence.place.tenants.get(end["id_tag"].upper())
            notes.expect(tenant == end["tenant"], f"{session.name}: billed to {end['tenant']}, the card is {tenant}'s")
    notes.figure("cars", sum(charged.values()))
    notes.figure("to bill", sum(session.billable for session in found))
    notes.figure("not to bill", sum(not session.billable for session in found))
    return notes.finding()
