"""What an exchange of meters leaves unmetered: from the last kept reading of the old one to the first good of the new.

Nobody can read the old meter any more, so this energy is known to nobody: the gateway says so in every quarter hour
that it touches, and books less than what flowed, never more.
"""

from __future__ import annotations

from itertools import pairwise

from simulators.judge.evidence import Evidence
from simulators.judge.hidden import HELD_MS
from simulators.judge.records import sessions
from simulators.judge.times import QUARTER_MS, parse_utc

BEFORE_MS = 10_000
"""The old meter's last reading: one cycle of 5 s before, and one for a bus that others keep busy."""

SEEN_MS = 20_000
"""So long after an exchange the new meter is known: its level contradicts, its serial is read, a reading agrees. A
gateway that dies before has not kept the old register."""

KNOWN_MS = 25_000
"""The new meter's first good reading: two cycles until its level has contradicted and its serial number is read, one
until a second reading agrees; 10 s for a bus that others keep busy. Silences and deaths come on top."""


def is_doubted(evidence: Evidence, meter: str, at_ms: int) -> bool:
    """Whether the level of a meter without a serial number, put in shortly before, was not believed yet."""
    if _is_named(evidence, meter):
        return False
    silences = [(since, back) for which, since, back in evidence.spans("meter_silent", "meter_back", "meter")
                if which == meter]  # fmt: skip
    for told in evidence.told("meter_exchanged"):
        if told.data["meter"] != meter or evidence.jump_wh(meter, told.at_ms, told.at_ms + 1) is None:
            continue
        believed_ms = max([told.at_ms, *(back for since, back in silences if since <= told.at_ms < back)]) + HELD_MS
        if told.at_ms <= at_ms <= believed_ms:
            return True
    return False


def _is_named(evidence: Evidence, meter: str) -> bool:
    counts = [told.data for told in evidence.told("meter_counts") if told.data["meter"] == meter]
    return all(data.get("named", True) for data in counts)


def unmetered_ms(evidence: Evidence, meter: str, since_ms: int, until_ms: int) -> int:
    """How much of a stretch of time lies between the readings of two meters at the same place, at most."""
    spans = [
        _span(evidence, meter, told.at_ms) for told in evidence.told("meter_exchanged") if told.data["meter"] == meter
    ]
    covered = 0
    reached_ms = since_ms
    for begin_ms, end_ms in sorted(spans):
        covered += max(0, min(end_ms, until_ms) - max(begin_ms, reached_ms))
        reached_ms = max(reached_ms, end_ms)
    return covered


def _span(evidence: Evidence, meter: str, at_ms: int) -> tuple[int, int]:
    """From when to when nothing is known of the energy, around an exchange at `at_ms`."""
    silences = [
        (since, back) for which, since, back in evidence.spans("meter_silent", "meter_back", "meter") if which == meter
    ]
    away = [(death, back) for (_, death), (back, _) in pairwise(evidence.lives)]
    there = any(since + BEFORE_MS <= at_ms and at_ms + SEEN_MS <= until for since, until in evidence.lives)
    begin_ms = at_ms - BEFORE_MS
    for since_ms, back_ms in sorted(silences, reverse=True):
        if since_ms < at_ms and back_ms >= begin_ms:
            begin_ms = min(begin_ms, since_ms - BEFORE_MS)
    if not there:
        begin_ms = _kept_ms(evidence, meter, at_ms)
    elif not any(since <= begin_ms <= until for since, until in evidence.lives):
        begin_ms = _kept_ms(evidence, meter, begin_ms)  # the silence had begun while no gateway was there
    known_ms = KNOWN_MS + (0 if _is_named(evidence, meter) else HELD_MS)
    end_ms = at_ms + known_ms
    for since_ms, back_ms in sorted(silences + away):
        if since_ms <= end_ms and back_ms > at_ms:
            end_ms = max(end_ms, back_ms + known_ms)
    return begin_ms, end_ms


def _kept_ms(evidence: Evidence, meter: str, at_ms: int) -> int:
    """When the newest register was read that survives a death: that of a quarter hour, a begin or an end."""
    kept = [at_ms // QUARTER_MS * QUARTER_MS]
    for session in sessions(evidence):
        for body, which in (*((one, "begin") for one in session.begins), *((one, "end") for one in session.ends)):
            if body.get("meter") == meter and body.get(f"{which}_wh") is not None:
                kept.append(parse_utc(body[which]))
    return max(ms for ms in kept if ms <= at_ms)
