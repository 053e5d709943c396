"""The check of I11 finds what was not told, and asks for nothing that need not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulators.cloud.database import CloudDatabase
from simulators.judge.evidence import Evidence

from .plan import make_plan
from .site_file import site_text
from .visible import check

READY_MS = 1_000_000
CUT_MS = READY_MS + 200_000
GONE = {
    "event": "charger_gone",
    "subject": "box1",
    "cause": "the connection broke",
    "next_step": "wait",
    "level": "info",
}
HERE = {"event": "charger_connected", "subject": "box1", "cause": "", "next_step": "", "level": "info"}


def _folder(tmp_path: Path, log: list[tuple[int, dict[str, str]]], **fault: Any) -> Evidence:
    """A watch with one fault at `CUT_MS` and a log."""
    evidence = tmp_path / "evidence"
    evidence.mkdir(exist_ok=True)
    (tmp_path / "site.toml").write_text(site_text(make_plan(1, 1.0, 2, 0)), encoding="utf-8")
    story = [
        {"t": READY_MS, "what": "gateway_ready", "node": "gateway-1"},
        {"t": CUT_MS, "what": "fault", "lasts_s": 0.0, "target": "box1", **fault},
        {"t": CUT_MS + 900_000, "what": "story_end"},
    ]
    (evidence / "events.jsonl").write_text("\n".join(map(json.dumps, story)), encoding="utf-8")
    lines = [json.dumps({"t": at_ms, "node": "gateway-1", **line}) for at_ms, line in log]
    (tmp_path / "gateway.log").write_text("\n".join(lines), encoding="utf-8")
    CloudDatabase(evidence / "cloud.db", durable=False).close()
    return Evidence(tmp_path)


def test_a_cut_that_is_told_holds_and_one_that_is_not_is_found(tmp_path: Path) -> None:
    """The event must be the box's own, and come in time."""
    connected = (READY_MS + 1000, HERE)
    assert check(_folder(tmp_path, [connected, (CUT_MS + 5, GONE)], kind="box_link_cut")).holds
    late = check(_folder(tmp_path, [connected, (CUT_MS + 60_000, GONE)], kind="box_link_cut"))
    assert "no charger_gone of box1" in late.first_violation
    other = check(_folder(tmp_path, [connected, (CUT_MS + 5, GONE | {"subject": "box2"})], kind="box_link_cut"))
    assert not other.holds


@pytest.mark.parametrize(
    "log", [[], [(READY_MS + 1000, HERE), (READY_MS + 5000, GONE)]], ids=["never connected", "gone already"]
)
def test_what_was_not_there_need_not_be_told_again(tmp_path: Path, log: list[tuple[int, dict[str, str]]]) -> None:
    """A box that is away is not lost a second time."""
    finding = check(_folder(tmp_path, log, kind="box_link_cut"))
    assert finding.holds
    assert finding.figures["faults that had to be told"] == "0"


def test_a_silent_meter_is_told_once_for_as_long_as_it_is_lost(tmp_path: Path) -> None:
    """A second fault of a meter that is told to be lost needs no second event; a short one none at all."""
    lost = {"event": "meter_lost", "subject": "meter m1", "cause": "no answer", "next_step": "look", "level": "warning"}
    fault = {"kind": "meter_silent", "target": "m1"}
    assert not check(_folder(tmp_path, [], **fault, lasts_s=100.0)).holds
    assert check(_folder(tmp_path, [], **fault, lasts_s=10.0)).holds
    assert check(_folder(tmp_path, [(CUT_MS - 50_000, lost)], **fault, lasts_s=100.0)).holds


def test_a_warning_without_a_next_step_is_found(tmp_path: Path) -> None:
    """Whatever it is about."""
    bare = {"event": "bus_full", "subject": "bus lan", "cause": "too much", "next_step": "", "level": "warning"}
    finding = check(_folder(tmp_path, [(READY_MS, bare)], kind="clock_step"))
    assert "bus_full of bus lan names no cause or no next step" in finding.first_violation
