"""I11: what goes wrong is visible: for each trouble of the story an event of the gateway, with cause and next step.

The story says when what went wrong, the gateway's log what it said and when. A trouble is looked at where the gateway
lived long enough before and after it, and where there was something to lose: a box that was connected, a meter that
answered. Whatever is a warning or an error names its cause and what to do next, in the log and at the cloud.

Nothing is demanded for what costs nobody anything: an answer that comes late, twice or for nobody, a line that is slow
or sends in pieces, a broker that forgets, a clock that is 1.5 s off. What a box's starts and errors of the central
system come to is the business of the central system, which sees them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from simulators.judge.evidence import Evidence
from simulators.judge.verdict import Finding, Notes

from .gateway_log import Log, read_log
from .troubles import BOX, PROMPT_S, Trouble, troubles

SETTLED_MS = 90_000
"""So long after its start everybody is connected again, and what is lost was there before."""


def check(evidence: Evidence) -> Finding:
    """The finding on I11."""
    notes = Notes("I11")
    log = read_log(evidence)
    _words(log, evidence, notes)
    seen = sum(_told(trouble, log, evidence, notes) for trouble in troubles(evidence))
    seen += _starts(log, evidence, notes) + _strangers(log, evidence, notes)
    notes.figure("faults that had to be told", seen)
    notes.figure("events", len(log.lines))
    return notes.finding()


def _words(log: Log, evidence: Evidence, notes: Notes) -> None:
    """Each warning and error has a cause and a next step, here and at the cloud."""
    for line in log.lines:
        if line.level in ("warning", "error"):
            notes.expect(
                bool(line.cause and line.next_step), f"{line.kind} of {line.subject} names no cause or no next step"
            )
    told = 0
    for (body,) in evidence.rows("cloud.db", "SELECT body FROM record WHERE schema = 'notice.v1'"):
        notice = json.loads(body)
        told += 1
        if notice["severity"] != "info":
            notes.expect(
                bool(notice["cause"] and notice["next_step"]),
                f"{notice['kind']} of {notice['subject']} names no cause or no next step at the cloud",
            )
    notes.figure("events at the cloud", told)


def _told(trouble: Trouble, log: Log, evidence: Evidence, notes: Notes) -> bool:
    """Whether the trouble called for an event."""
    expected = trouble.expected
    if trouble.lasts_s < expected.least_s:
        return False
    from_ms = trouble.at_ms
    until_ms = from_ms + round(1000 * (expected.within_s + (0.0 if expected.at_once else trouble.lasts_s)))
    since_ms = _life_since(evidence, from_ms - SETTLED_MS, until_ms)
    if since_ms is None:
        return False
    if log.of([*expected.begins], trouble.subject, from_ms - round(1000 * expected.lately_s), from_ms - 1):
        return False
    states = list(_states(trouble, log, since_ms))
    if any(stands for stands, _ in states) or (expected.had_to_begin and not any(begun for _, begun in states)):
        return False
    if trouble.box and not _stays(trouble.box, log, since_ms, from_ms, until_ms):
        return False  # the gateway itself ends the line of a box that is away
    return (
        notes.expect(
            bool(log.of([*expected.begins], trouble.subject, from_ms, until_ms)),
            f"{trouble.what} at {_seconds(from_ms, evidence)} s: "
            f"no {' or '.join(expected.begins)} of {trouble.subject or 'it'} within {expected.within_s:.0f} s",
        )
        or True
    )


def _states(trouble: Trouble, log: Log, since_ms: int) -> Iterator[tuple[bool, bool]]:
    """For each event that is expected: whether it stands told already, and whether it or its end was ever told."""
    for begins, ends in trouble.expected.begins.items():
        said = log.of([begins, ends], trouble.subject, since_ms, trouble.at_ms - 1)
        yield bool(ends and said) and said[-1].kind == begins, bool(said)


def _stays(box: str, log: Log, since_ms: int, from_ms: int, to_ms: int) -> bool:
    """Whether a box was connected before and all the time."""
    ((gone, back),) = BOX.begins.items()
    said = log.of([gone, back], box, since_ms, to_ms)
    before = [line for line in said if line.at_ms < from_ms]
    return bool(before) and before[-1].kind == back and before[-1] is said[-1]


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
