"""What waited for days goes out in order and in measure, and nobody who is there now waits for it.

Whether all of it arrives, once, in order and with the right ids, I3, I4, I5 and I8 say. Here: it is gone when the watch
ends; a box's messages go to the central system one at a time; the cloud is never sent more at once than it has given
credit for; and while it goes, each message of a box, and each command of the cloud, has its answer in time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulators.judge.evidence import Evidence
from simulators.judge.verdict import Finding, Notes
from simulators.judge.wire import CALL, ERROR, RESULT, Exchange, Frame, is_transactional

INITIAL_CREDIT = 20
"""Before the cloud has said anything."""

ANSWER_MS = 2000
"""Beside the CALL timeout, after which the gateway answers for the central system."""

RECORDS_A_SECOND = 32
"""Nineteen thousand in ten minutes of a line with half a second there and back (reference/ops.md); not counted are the
seconds in which none comes, when the line is down or nothing waits."""

COMMAND_MS = 20_000
SETTLING_S = 30
"""So many seconds hold few records: the first and last of a connection, each event of now."""

SETTLED_MS = 30_000
"""So long after a start everybody is connected again."""


@dataclass
class Credit:
    """How many records are on their way to the cloud at once: seen at the broker, where they come and go."""

    allowed: int = INITIAL_CREDIT
    most: int = 0
    violations: list[str] = field(default_factory=list)
    _open: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    def up(self, topic: str, payload: bytes) -> None:
        """The gateway says something. A hello begins a connection: what was on the old one is no longer on its way."""
        kind = topic.rsplit("/", 1)[-1]
        if kind == "hello":
            self._open.clear()
        elif kind in ("billing", "event"):
            record = json.loads(payload)
            there = self._open.setdefault((record["epoch"], kind), set())
            there.add(int(record["seq"]))
            self.most = max(self.most, len(there))
            if len(there) > self.allowed:
                self.violations.append(f"{len(there)} records of {kind} on their way, {self.allowed} are allowed")

    def down(self, topic: str, payload: bytes) -> None:
        """The cloud says something: an acknowledgement takes records off the way, and renews the credit."""
        said = json.loads(payload)
        if topic.endswith("/down/ack") and "credit" in said:
            self.allowed = max(INITIAL_CREDIT, int(said["credit"]))
            there = self._open.get((said["epoch"], said["lane"]), set())
            there -= {seq for seq in there if seq <= int(said["upto"])}


def finding(credit: Credit, evidence: Evidence) -> Finding:
    """The finding on the drain."""
    notes = Notes("drain")
    back_ms = evidence.told("ends_back")[0].at_ms
    notes.violations += credit.violations
    exchanges = evidence.traffic.exchanges.values()
    before = {(one.charger, one.message_id) for one in exchanges if one.sent[0].at_ms < back_ms and one.transactional}
    until = [_messages(evidence, before, back_ms, notes), _records(evidence, back_ms, notes)]
    notes.expect(all(until), "nothing had waited: nothing is shown")
    at_once = one_at_a_time(evidence.traffic.at_csms, _breaks(evidence), evidence.place.call_timeout_s * 1000)
    notes.violations += at_once
    drained_ms = max(until, default=back_ms)
    live = [one for one in exchanges if back_ms <= one.sent[0].at_ms < drained_ms]
    waits = list(_waits(evidence, live, notes))
    notes.figure("live messages meanwhile", len(live))
    notes.figure("longest wait", f"{max(waits, default=0) / 1000:.1f} s")
    notes.figure("commands meanwhile", _commands(evidence, back_ms, drained_ms, notes))
    notes.figure("records at once", f"{credit.most} of {credit.allowed}")
    return notes.finding()


def _messages(evidence: Evidence, before: set[tuple[str, str]], back_ms: int, notes: Notes) -> int:
    """When the last message of the days before arrived at the central system."""
    rows = evidence.rows("csms.db", "SELECT charger, message_id, received_ms FROM message WHERE received_ms >= ?",
                         (back_ms,))  # fmt: skip
    arrived = [int(at_ms) for charger, message_id, at_ms in rows if (charger, message_id) in before]
    notes.figure("messages that had waited", len(arrived))
    notes.figure("sent in", f"{(max(arrived, default=back_ms) - back_ms) / 1000:.0f} s")
    return max(arrived, default=0)


def _records(evidence: Evidence, back_ms: int, notes: Notes) -> int:
    rows = evidence.rows("cloud.db", "SELECT ts, received_ms FROM record WHERE received_ms >= ?", (back_ms,))
    arrived = [int(at_ms) for ts, at_ms in rows if datetime.fromisoformat(ts).timestamp() * 1000 < back_ms]
    notes.figure("records that had waited", len(arrived))
    notes.figure("stored in", f"{(max(arrived, default=back_ms) - back_ms) / 1000:.0f} s")
    busy_s = len({at_ms // 1000 for at_ms in arrived})
    notes.figure("in seconds with records", busy_s)
    enough_s = len(arrived) / RECORDS_A_SECOND + SETTLING_S
    notes.expect(busy_s <= enough_s, f"{len(arrived)} records came over {busy_s} s, {enough_s:.0f} s are enough")
    return max(arrived, default=0)


def _breaks(evidence: Evidence) -> list[tuple[int, str]]:
    """When a line ended, and whose ("": everybody's); a box that goes takes its line to the central system with it."""
    kinds = ("uplink_cut", "gateway_killed", "gateway_ready", "charger_cut", "charger_lost", "charger_back")
    return [(told.at_ms, str(told.data.get("charger", ""))) for told in evidence.told(*kinds)]


def one_at_a_time(
    at_csms: Iterable[Frame], breaks: Sequence[tuple[int, str]], timeout_ms: float
) -> list[str]:  # fmt: skip
    """Whatever of a box's transactions goes to the central system waits for the answer to what went before."""
    found = []
    open_: dict[str, Frame] = {}
    for seen in at_csms:
        waits = open_.get(seen.charger)
        if seen.kind in (RESULT, ERROR) and not seen.up and waits is not None and waits.message_id == seen.message_id:
            del open_[seen.charger]
        elif seen.up and seen.kind == CALL and is_transactional(seen.action, seen.payload):
            excused = waits is None or seen.at_ms - waits.at_ms >= timeout_ms - ANSWER_MS or any(
                waits.at_ms - ANSWER_MS <= at_ms <= seen.at_ms and whose in ("", seen.charger)
                for at_ms, whose in breaks
            )  # fmt: skip
            if not excused and waits is not None:
                found.append(
                    f"{seen.charger}: {seen.action} {seen.message_id} came {seen.at_ms - waits.at_ms} ms after "
                    f"{waits.action} {waits.message_id}, which had no answer yet"
                )
            open_[seen.charger] = seen
    return found


def _waits(evidence: Evidence, live: Sequence[Exchange], notes: Notes) -> Iterable[int]:
    """How long each box waited for its answer, where nothing was wrong with its line and the gateway was there."""
    timeout_ms = round(evidence.place.call_timeout_s * 1000)
    breaks = _breaks(evidence)
    slow = evidence.spans("charger_lost", "charger_back", "charger")
    full = evidence.spans("disk_full", "disk_mended", "")
    for one in live:
        sent_ms = one.sent[0].at_ms
        # On a line on which nobody answers it waits for the one before it to be given up, then for itself.
        silent = any(since - timeout_ms <= sent_ms <= until + timeout_ms for since, until in _silences(evidence))
        due_ms = sent_ms + timeout_ms * (2 if silent else 1) + ANSWER_MS
        answered_ms = min((answer.at_ms for answer in one.answers), default=None)
        if answered_ms is not None and answered_ms <= due_ms:
            yield answered_ms - sent_ms
            continue
        there = any(since + SETTLED_MS <= sent_ms and due_ms <= until for since, until in evidence.lives)
        troubled = any(sent_ms - ANSWER_MS <= at_ms <= due_ms and whose == one.charger for at_ms, whose in breaks)
        troubled |= any(who == one.charger and since <= due_ms and sent_ms <= end for who, since, end in slow)
        troubled |= any(since <= due_ms and sent_ms <= end for _, since, end in full)
        troubled |= _breaks_its_line(evidence, one, live)
        if there and not troubled:
            said = "was never answered" if answered_ms is None else f"waited {(answered_ms - sent_ms) / 1000:.1f} s"
            notes.expect(False, f"{one.charger}: {one.action} {one.message_id} {said} while what had waited went out")


def _breaks_its_line(evidence: Evidence, one: Exchange, live: Iterable[Exchange]) -> bool:
    """It is the first frame on a line that was torn: with that both ends notice (`net.py`)."""
    sent_ms = one.sent[0].at_ms
    torn = [fault.at_ms for fault in evidence.told("fault") if fault.data["kind"] == "box_link_torn"
            and fault.data["target"] == one.charger and fault.at_ms <= sent_ms]  # fmt: skip
    return bool(torn) and not any(
        other.charger == one.charger and torn[-1] <= other.sent[0].at_ms < sent_ms for other in live
    )


def _silences(evidence: Evidence) -> list[tuple[int, int]]:
    """From when to when the central system may have been silent on a line that was up."""
    return [
        (fault.at_ms, fault.at_ms + round(float(fault.data["lasts_s"]) * 1000))
        for fault in evidence.told("fault")
        if str(fault.data["kind"]) in ("csms_half_open", "csms_late", "csms_slow")
    ]


def _commands(evidence: Evidence, back_ms: int, drained_ms: int, notes: Notes) -> int:
    """How many commands of the cloud were given meanwhile; each is done soon, where broker and gateway were there."""
    done = {cid: int(at_ms) for cid, at_ms in evidence.rows(
        "cloud.db", "SELECT cid, min(received_ms) FROM reply WHERE state = 'done' GROUP BY cid")}  # fmt: skip
    asked = [told for told in evidence.told("asked") if back_ms <= told.at_ms < drained_ms]
    for one in asked:
        due_ms = one.at_ms + COMMAND_MS
        there = any(since + SETTLED_MS <= one.at_ms and due_ms <= until for since, until in evidence.lives)
        if there and not _cloud_troubled(evidence, one.at_ms, due_ms):
            notes.expect(
                done.get(str(one.data["cid"]), due_ms + 1) <= due_ms,
                f"the command {one.data['cid']} was not done within {COMMAND_MS / 1000:.0f} s",
            )
    return len(asked)


def _cloud_troubled(evidence: Evidence, from_ms: int, to_ms: int) -> bool:
    return any(
        fault.at_ms <= to_ms and from_ms <= fault.at_ms + _over_ms(fault.data)
        for fault in evidence.told("fault")
        if str(fault.data["kind"]) in ("broker_away", "broker_half_open", "broker_forgets", "disk_full")
    )


def _over_ms(fault: dict[str, Any]) -> int:
    """How long a fault of the broker is felt: until the next attempt to connect has come about."""
    return round(float(fault["lasts_s"]) * 1000) * 2 + 120_000
