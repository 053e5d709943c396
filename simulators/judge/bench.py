"""All checks over one folder. A check without its evidence fails; none of them can stop another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from simulators.judge import fuses, lanes, ocmf, order, quarters, registers, relayed, signatures, story, thinned
from simulators.judge.evidence import Evidence, NoEvidenceError
from simulators.judge.records import Session, sessions
from simulators.judge.verdict import Finding, SessionLine, Verdict

UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, sqlite3.Error, OSError)

CHECKS: dict[str, Callable[[Evidence], Finding]] = {
    "story": story.check,
    "I1p": fuses.check,
    "I3": thinned.check,
    "I4": order.check,
    "I5": signatures.check,
    "I6": registers.check,
    "I7": quarters.check,
    "I8": lanes.check,
    "I10": relayed.check,
}


def judge(folder: Path) -> Verdict:
    """Judge a kept folder (simulators/README.md)."""
    evidence = Evidence(folder)
    try:
        findings = [_run(name, check, evidence) for name, check in CHECKS.items()]
        stall_ms, speed, missing = _beat(evidence)
        if missing:
            findings.append(Finding("beat", False, {}, missing, 1))
        return Verdict(tuple(findings), _lines(evidence), stall_ms, speed)
    finally:
        evidence.close()


def _run(name: str, check: Callable[[Evidence], Finding], evidence: Evidence) -> Finding:
    try:
        return check(evidence)
    except NoEvidenceError as error:
        return Finding(name, False, {}, f"no evidence: {error}", 1)
    except UNREADABLE as error:
        return Finding(name, False, {}, f"the evidence cannot be read: {type(error).__name__}: {error}", 1)


def _beat(evidence: Evidence) -> tuple[float, float, str]:
    try:
        return evidence.stall_ms, evidence.speed, ""
    except (NoEvidenceError, *UNREADABLE) as error:
        return 0.0, 0.0, f"no evidence of how evenly the machine ran: {error}"


def _lines(evidence: Evidence) -> tuple[SessionLine, ...]:
    try:
        return tuple(_line(session, evidence) for session in sessions(evidence) if session.ends)
    except (NoEvidenceError, *UNREADABLE):
        return ()  # the findings have said why


def _line(session: Session, evidence: Evidence) -> SessionLine:
    end = session.ends[0]
    split = session.split or {}
    why = "" if end["billable"] else f"not to bill: {end['unbillable_reason']}"
    if end["billable"]:
        parts = split.get("solar_wh", 0) + sum(split.get("classes_wh", {}).values())
        if end["energy_wh"] != end["end_wh"] - end["begin_wh"] or parts != end["energy_wh"]:
            why = "does not close"
        elif not all(_verifies(end[key], evidence) for key in ("ocmf_begin", "ocmf_end")):
            why = "signature does not verify"
    return SessionLine(
        session=session.id,
        charger=end["charger"],
        tenant=end["tenant"] or "",
        id_tag=end["id_tag"],
        begin=end["begin"],
        end=end["end"],
        begin_wh=end["begin_wh"],
        end_wh=end["end_wh"],
        energy_wh=end["energy_wh"],
        solar_wh=split.get("solar_wh"),
        classes_wh=dict(split.get("classes_wh", {})),
        good=not why,
        why=why,
    )


def _verifies(text: str | None, evidence: Evidence) -> bool:
    return bool(text) and ocmf.read(str(text)).signed_by(evidence.public_keys) is not None
