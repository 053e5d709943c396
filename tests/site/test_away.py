"""Days without central system and cloud, lived through by the real gateway before a watch begins."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulators.judge.evidence import Occurrence
from simulators.judge.verdict import Notes
from simulators.judge.wire import Exchange, Frame, frame

from . import drain
from .drain import Credit, one_at_a_time
from .past import ONLINE_S, QUIET_S, past_visits
from .plan import DAY_S, make_plan

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_MS = 15_000.0


def test_two_days_without_the_internet_arrive_whole_and_in_measure() -> None:
    """Preloaded by the real gateway, drained under faults, judged like every watch."""
    command = [
        sys.executable, "-m", "tests.site", "--json", "--seed", "2", "--away", "2", "--hours", "0.3",
        "--chargers", "3", "--faults", "20",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    outcome = json.loads(done.stdout)
    assert outcome["holds"], outcome["first"]
    drain, thinned = outcome["figures"]["drain"], outcome["figures"]["I3"]
    assert int(drain["messages that had waited"]) > 50
    assert int(drain["records that had waited"]) > 192 + 20
    assert int(thinned["thinned"]) > 500
    assert int(drain["records at once"].split()[0]) > 20, "the cloud's credit is used, not only the first window"


@pytest.mark.parametrize("days", [1, 14, 30])
def test_two_cars_a_day_come_to_each_box_and_none_is_there_when_the_watch_begins(days: int) -> None:
    plan = replace(make_plan(5, 1, 8), away_s=days * DAY_S)
    for box in plan.boxes:
        visits = past_visits(plan, box)
        ends = [visit.at_s + sum(lasts_s for lasts_s, _ in visit.steps) for visit in visits]
        assert 2 * days - 2 <= len(visits) <= 2 * days + 2
        assert visits[0].at_s > ONLINE_S
        assert ends[-1] <= plan.away_s - QUIET_S + 1
        assert all(end + QUIET_S <= visit.at_s + 1 for end, visit in zip(ends[:-1], visits[1:], strict=True))


# One at a time


def _call(at_ms: int, message_id: str, charger: str = "box1") -> Frame:
    values = {"connectorId": 1, "transactionId": 7, "meterValue": []}
    return frame(at_ms, charger, True, json.dumps([2, message_id, "MeterValues", values]))


def _answer(at_ms: int, message_id: str, charger: str = "box1") -> Frame:
    return frame(at_ms, charger, False, json.dumps([3, message_id, {}]))


def _found(*frames: Frame, breaks: tuple[tuple[int, str], ...] = ()) -> int:
    return len(one_at_a_time(frames, breaks, TIMEOUT_MS))


def test_a_message_that_waits_for_the_answer_before_it_passes_and_one_that_does_not_is_found() -> None:
    assert _found(_call(0, "a"), _answer(500, "a"), _call(500, "b")) == 0
    assert _found(_call(0, "a"), _call(499, "b"), _answer(500, "a")) == 1


def test_boxes_do_not_wait_for_one_another() -> None:
    assert _found(_call(0, "a"), _call(1, "b", "box2"), _answer(2, "a"), _answer(3, "b", "box2")) == 0


def test_after_the_timeout_or_a_cut_line_the_next_may_go() -> None:
    assert _found(_call(0, "a"), _call(15_000, "b")) == 0
    assert _found(_call(0, "a"), _call(9000, "b")) == 1
    assert _found(_call(0, "a"), _call(9000, "b"), breaks=((4000, ""),)) == 0
    assert _found(_call(0, "a"), _call(9000, "b"), breaks=((4000, "box1"),)) == 0
    assert _found(_call(0, "a"), _call(9000, "b"), breaks=((4000, "box2"),)) == 1


# Credit


def _send(credit: Credit, *seqs: int, lane: str = "billing") -> None:
    for seq in seqs:
        credit.up(f"zgw/sim/x/up/{lane}", json.dumps({"epoch": "e", "seq": seq}).encode())


def _acknowledge(credit: Credit, upto: int, allowed: int) -> None:
    said = {"lane": "billing", "epoch": "e", "upto": upto, "credit": allowed}
    credit.down("zgw/sim/x/down/ack", json.dumps(said).encode())


def test_as_much_as_the_credit_may_be_on_its_way_and_no_more() -> None:
    credit = Credit()
    _send(credit, *range(1, 21))
    assert not credit.violations
    _send(credit, 20, 20)  # sent again, it is the same record
    assert not credit.violations
    _send(credit, 21)
    assert len(credit.violations) == 1


def test_what_is_acknowledged_makes_room_and_the_cloud_says_for_how_much() -> None:
    credit = Credit()
    _send(credit, *range(1, 21))
    _acknowledge(credit, 20, 30)
    _send(credit, *range(21, 51))
    assert not credit.violations
    _send(credit, 51)
    assert len(credit.violations) == 1


def test_a_new_connection_begins_with_a_hello_and_an_empty_line() -> None:
    credit = Credit()
    _send(credit, *range(1, 21))
    credit.up("zgw/sim/x/up/hello", b"{}")
    _send(credit, *range(1, 21))
    assert not credit.violations


@pytest.mark.parametrize(
    ("torn", "earlier_ms", "found"), [("", None, 1), ("box1", None, 0), ("box2", None, 1), ("box1", 7000, 1)]
)
def test_only_the_first_frame_on_a_torn_line_may_go_without_an_answer(
    torn: str, earlier_ms: int | None, found: int
) -> None:
    """With 20 boxes after 30 days: a line had been torn for 11 s when a box sent its heartbeat."""
    fault = Occurrence(5000, "fault", {"kind": "box_link_torn", "target": torn, "lasts_s": 0.0})
    evidence = SimpleNamespace(
        place=SimpleNamespace(call_timeout_s=10.0), lives=[(-100_000, 100_000)], spans=lambda *_: [],
        told=lambda *kinds: [fault] if "fault" in kinds and torn else [],
    )  # fmt: skip
    sent = [(earlier_ms, [_answer(earlier_ms + 100, "a")])] if earlier_ms is not None else []
    live = [
        Exchange("box1", "a", "Heartbeat", {}, 0, [_call(at_ms, "a")], answers)
        for at_ms, answers in [*sent, (16_000, [])]
    ]
    notes = Notes("drain")
    list(drain._waits(evidence, live, notes))  # type: ignore[arg-type]
    assert len(notes.violations) == found
