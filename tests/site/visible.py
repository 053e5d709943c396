"""I11: what goes wrong is visible: for each fault of the story an event of the gateway, with cause and next step.

The story says when what went wrong, the gateway's log what it said and when. A fault is looked at where the gateway
lived long enough before and after it, and where there was something to lose: a box that was connected, a meter that
answered. Whatever is a warning or an error names its cause and what to do next, in the log and at the cloud.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from simulators.judge.evidence import Evidence, Occurrence
from simulators.judge.verdict import Finding, Notes

SETTLED_MS = 90_000
"""So long after its start everybody is connected again, and what is lost was there before."""

PROMPT_S = 20.0
METER_S = 45.0
"""Two answers in a row are missing; a meter may be asked only every 10 s where nothing charges."""


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


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be told: one of `begins` about the fault's target, unless it stands told already.

    `ends` are the events after which it does not. `at_once` False: seen only when the fault is over, at the latest.
    `least_s`: a shorter fault may pass unseen. `had_to_begin`: there is nothing to lose before an event of `ends`.
    """

    begins: tuple[str, ...]
    ends: tuple[str, ...]
    within_s: float = PROMPT_S
    at_once: bool = True
    least_s: float = 0.0
    had_to_begin: bool = True
    prefix: str = ""


_CSMS = Expected(("csms_away",), ("csms_connected",))
_CLOUD = Expected(("cloud_away",), ("cloud_connected",))
_BOX = Expected(("charger_gone",), ("charger_connected",))
_METER = Expected(
    ("meter_lost",), ("meter_back",), METER_S, least_s=METER_S, had_to_begin=False, prefix="meter "
)  # fmt: skip

EXPECTED: dict[str, Expected] = {
    "csms_away": _CSMS,
    "csms_half_open": Expected(_CSMS.begins, _CSMS.ends, at_once=False),
    "broker_away": _CLOUD,
    "broker_half_open": Expected(_CLOUD.begins, _CLOUD.ends, at_once=False),
    "box_link_cut": _BOX,
    "box_link_away": _BOX,
    "box_link_half_open": Expected(_BOX.begins, _BOX.ends, at_once=False),
    "box_reboot": _BOX,
    "box_giant": _BOX,
    "meter_silent": _METER,
    "meter_zero": _METER,
}


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


def check(evidence: Evidence) -> Finding:
    """The finding on I11."""
    notes = Notes("I11")
    log = read_log(evidence)
    _words(log, evidence, notes)
    seen = sum(_told(fault, log, evidence, notes) for fault in evidence.told("fault"))
    seen += _starts(log, evidence, notes) + _strangers(log, evidence, notes)
    notes.figure("faults that had to be told", seen)
    notes.figure("events", len(log.lines))
    return notes.finding()


def read_log(evidence: Evidence) -> Log:
    """The gateway's log."""
    text = (evidence.folder / "gateway.log").read_text(encoding="utf-8")
    return Log([_line(json.loads(line)) for line in text.splitlines() if line.startswith("{")])


def _line(said: dict[str, object]) -> Line:
    words = {key: str(said.get(key, "")) for key in ("node", "subject", "cause", "next_step", "level")}
    return Line(at_ms=int(str(said["t"])), kind=str(said["event"]), **words)


def _words(log: Log, evidence: Evidence, notes: Notes) -> None:
    """Each warning and error has a cause and a next step, here and at the cloud."""
    for line in log.lines:
        if line.level in ("warning", "error"):
            notes.expect(
                bool(line.cause and line.next_step), f"{line.kind} of {line.subject} names no cause or no next step"
            )
    told = 0
    for (body,) in evidence.rows("cloud.db", "SELECT body FROM record WHERE lane = 'event'"):
        notice = json.loads(body)
        told += 1
        if notice["severity"] != "info":
            notes.expect(
                bool(notice["cause"] and notice["next_step"]),
                f"{notice['kind']} of {notice['subject']} names no cause or no next step at the cloud",
            )
    notes.figure("events at the cloud", told)


def _told(fault: Occurrence, log: Log, evidence: Evidence, notes: Notes) -> int:
    """How many events the fault called for."""
    expected = EXPECTED.get(str(fault.data["kind"]))
    lasts_s = float(fault.data["lasts_s"])
    if expected is None or lasts_s < expected.least_s:
        return 0
    until_ms = fault.at_ms + round(1000 * (expected.within_s + (0.0 if expected.at_once else lasts_s)))
    since_ms = _life_since(evidence, fault.at_ms - SETTLED_MS, until_ms)
    if since_ms is None:
        return 0
    called = 0
    for subject in _subjects(fault, expected, evidence):
        before = log.of((*expected.begins, *expected.ends), subject, since_ms, fault.at_ms - 1)
        stands = bool(before) and before[-1].kind in expected.begins
        if stands or (expected.had_to_begin and not before):
            continue
        if expected.begins == _CSMS.begins and not _stays(subject, log, since_ms, fault.at_ms, until_ms):
            continue  # the gateway itself ends the line of a box that is away
        called += 1
        notes.expect(
            bool(log.of(expected.begins, subject, fault.at_ms, until_ms)),
            f"{fault.data['kind']} {fault.data['target']} at {_seconds(fault.at_ms, evidence)} s: "
            f"no {' or '.join(expected.begins)} of {subject or 'it'} within {expected.within_s:.0f} s",
        )
    return called


def _stays(box: str, log: Log, since_ms: int, from_ms: int, to_ms: int) -> bool:
    """Whether a box was connected before and all the time."""
    said = log.of((*_BOX.begins, *_BOX.ends), box, since_ms, to_ms)
    before = [line for line in said if line.at_ms < from_ms]
    return bool(before) and before[-1].kind in _BOX.ends and before[-1] is said[-1]


def _subjects(fault: Occurrence, expected: Expected, evidence: Evidence) -> Iterator[str]:
    if expected.begins == _CSMS.begins:
        yield from sorted(evidence.place.boxes)
    elif expected.begins == _CLOUD.begins:
        yield ""
    else:
        yield expected.prefix + str(fault.data["target"])


def _life_since(evidence: Evidence, from_ms: int, to_ms: int) -> int | None:
    """When the life that spans all of this began; None: no life does."""
    return next((since for since, until in evidence.lives if since <= from_ms and to_ms <= until), None)


def _starts(log: Log, evidence: Evidence, notes: Notes) -> int:
    """After each kill and power cut the next life says that the last one did not end cleanly."""
    called, killed = 0, False
    for occurrence in evidence.told("gateway_killed", "gateway_ready"):
        if occurrence.what == "gateway_killed":
            killed = True
        elif killed:
            killed, called = False, called + 1
            from_ms = occurrence.at_ms - 1000
            notes.expect(
                bool(log.of(("power",), "gateway", from_ms, occurrence.at_ms + 1000)),
                f"the start at {_seconds(occurrence.at_ms, evidence)} s says nothing of the kill before it",
            )
    return called


def _strangers(log: Log, evidence: Evidence, notes: Notes) -> int:
    """Who dials under a name that nobody knows is told, or is one of many."""
    called = 0
    for dial in evidence.told("stranger_dialled"):
        until_ms = dial.at_ms + round(PROMPT_S * 1000)
        since_ms = _life_since(evidence, dial.at_ms, until_ms)
        if since_ms is None:
            continue
        called += 1
        name = str(dial.data["identity"])[:20]
        refused = log.of(("charger_refused",), "", dial.at_ms, until_ms)
        notes.expect(
            any(line.subject.startswith(name) for line in refused)
            or bool(log.of(("many_refused",), "", since_ms, until_ms)),
            f"{name}... dialled at {_seconds(dial.at_ms, evidence)} s and was not told",
        )
    return called


def _seconds(at_ms: int, evidence: Evidence) -> float:
    return round((at_ms - evidence.story[0].at_ms) / 1000, 1)
