"""The check of I11 finds what was not told, and asks for nothing that need not be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simulators.cloud.database import CloudDatabase
from simulators.evidence import TruthLog
from simulators.judge.evidence import Evidence

from .plan import make_plan
from .site_file import site_text
from .troubles import _full
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


def _folder(tmp_path: Path, log: list[tuple[int, dict[str, str]]], *more: dict[str, Any], **fault: Any) -> Evidence:
    """A watch with one fault at `CUT_MS`, `more` of its story and a log."""
    evidence = tmp_path / "evidence"
    evidence.mkdir(parents=True, exist_ok=True)
    (tmp_path / "site.toml").write_text(site_text(make_plan(1, 1.0, 2, 0)), encoding="utf-8")
    story = [
        {"t": READY_MS, "what": "gateway_ready", "node": "gateway-1"},
        {"t": CUT_MS, "what": "fault", "lasts_s": 0.0, "target": "box1", **fault},
        *more,
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


def _line(kind: str, subject: str, level: str = "warning") -> dict[str, str]:
    return {"event": kind, "subject": subject, "cause": "so it is", "next_step": "do this", "level": level}


@dataclass(frozen=True)
class Pair:
    """A fault of which `told` is enough and `not_told` is not: another's event, one that is over, or a late one."""

    fault: dict[str, Any]
    told: tuple[int, str, str]
    not_told: tuple[tuple[int, str, str], ...]
    story: tuple[dict[str, Any], ...] = ()


def _swap(what: str, at_ms: int) -> dict[str, Any]:
    return {"t": at_ms, "what": what, "meter": "m1", "how": "swapped"}


PAIRS = {
    "a torn link": Pair(
        {"kind": "box_link_torn"}, (CUT_MS + 59_000, "charger_gone", "box1"),
        ((CUT_MS + 61_000, "charger_gone", "box1"), (CUT_MS + 5, "charger_gone", "box2")),
    ),
    "a box that is away and tells its stop first": Pair(
        {"kind": "box_reorders", "lasts_s": 200.0}, (CUT_MS + 5, "charger_gone", "box1"), (),
    ),
    "a flood": Pair(
        {"kind": "box_floods", "lasts_s": 20.0}, (CUT_MS + 5000, "charger_floods", "box1"),
        (
            (CUT_MS + 11_000, "charger_floods", "box1"), (CUT_MS + 5, "charger_floods", "box2"),
            (CUT_MS - 601_000, "charger_floods", "box1"),
        ),
        ({"t": CUT_MS, "what": "charger_flooded", "charger": "box1"},),
    ),
    "zeros": Pair(
        {"kind": "meter_zero", "target": "m1", "lasts_s": 60.0}, (CUT_MS + 5, "reading_quarantined", "meter m1"),
        ((CUT_MS + 5, "reading_quarantined", "meter m2"),),
    ),
    "damaged answers": Pair(
        {"kind": "meter_garbled", "target": "m1", "lasts_s": 60.0}, (CUT_MS + 44_000, "meter_lost", "meter m1"),
        ((CUT_MS + 46_000, "meter_lost", "meter m1"),),
    ),
    "a full disk": Pair(
        {"kind": "disk_full", "target": "", "lasts_s": 61.0}, (CUT_MS + 50_000, "store_refuses", "settlement"),
        ((CUT_MS + 61_000, "store_refuses", "settlement"),),
        ({"t": CUT_MS, "what": "disk_full"}, {"t": CUT_MS + 61_000, "what": "disk_mended"}),
    ),
    "an exchange": Pair(
        {"kind": "meter_exchanged", "target": "m1"}, (CUT_MS + 5, "meter_rebased", "meter m1"),
        ((CUT_MS - 1000, "meter_rebased", "meter m1"),),
        ({"t": CUT_MS, "what": "meter_exchanged", "meter": "m1", "jump_wh": -5.0},),
    ),
    "a swap": Pair(
        {"kind": "meters_swapped"}, (CUT_MS + 5, "meter_swapped", "meter m1"),
        ((CUT_MS + 5, "reading_quarantined", "meter m1"),),
        (_swap("meter_silent", CUT_MS), _swap("meter_back", CUT_MS + 100_000)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_what_tells_of_a_fault_is_enough_and_what_does_not_is_found(name: str, tmp_path: Path) -> None:
    """Each kind of fault is looked for; one that is too short, or not in the story, is not."""
    pair, connected = PAIRS[name], (READY_MS + 1000, HERE)
    at_ms, kind, subject = pair.told
    told = check(_folder(tmp_path, [connected, (at_ms, _line(kind, subject))], *pair.story, **pair.fault))
    assert told.holds, told.first_violation
    assert told.figures["faults that had to be told"] == "1"
    assert not check(_folder(tmp_path, [connected], *pair.story, **pair.fault)).holds
    for at_ms, kind, subject in pair.not_told:
        assert not check(_folder(tmp_path, [connected, (at_ms, _line(kind, subject))], *pair.story, **pair.fault)).holds


def test_a_flood_within_ten_minutes_of_one_that_was_told_need_not_be_told_again(tmp_path: Path) -> None:
    """The box is known to send too much."""
    log = [(READY_MS + 1000, HERE), (CUT_MS - 60_000, _line("charger_floods", "box1"))]
    flood = {"t": CUT_MS, "what": "charger_flooded", "charger": "box1"}
    finding = check(_folder(tmp_path, log, flood, kind="box_cards", lasts_s=20.0))
    assert finding.holds
    assert finding.figures["faults that had to be told"] == "0"


@pytest.mark.parametrize(("over_ms", "holds"), [(None, True), (CUT_MS - 10_000, False)])
def test_what_stands_told_need_not_be_told_again_until_it_is_over(
    over_ms: int | None, holds: bool, tmp_path: Path
) -> None:
    log = [(CUT_MS - 50_000, _line("reading_quarantined", "meter m1"))]
    log += [(over_ms, _line("reading_believed", "meter m1", "info"))] if over_ms else []
    assert check(_folder(tmp_path, log, kind="meter_zero", target="m1", lasts_s=60.0)).holds == holds


@pytest.mark.parametrize(("jump_wh", "called"), [(-(2.0**32) + 40, 0), (-(2.0**32) - 40, 1), (-5000.0, 1)])
def test_an_exchange_that_looks_like_a_rollover_can_be_known_to_nobody(
    jump_wh: float, called: int, tmp_path: Path
) -> None:
    story = (
        {"t": READY_MS, "what": "meter_counts", "meter": "m1", "step_wh": 1.0, "range_wh": 2**32},
        {"t": CUT_MS, "what": "meter_exchanged", "meter": "m1", "jump_wh": jump_wh},
    )
    finding = check(_folder(tmp_path, [], *story, kind="meter_exchanged", target="m1"))
    assert finding.figures["faults that had to be told"] == str(called)


@pytest.mark.parametrize(("answers", "called"), [(19, 0), (20, 1)])
def test_a_meter_that_is_late_again_and_again_is_told_once_that_can_be_known(
    answers: int, called: int, tmp_path: Path
) -> None:
    fault = {"kind": "meter_late", "target": "m1", "lasts_s": 100.0}
    said = (CUT_MS + 30_000, _line("meter_unsteady", "meter m1"))
    for log, holds in (([], not called), ([said], True)):
        evidence = _folder(tmp_path / str(holds) / str(len(log)), log, **fault)
        truth = TruthLog(evidence.folder / "evidence" / "truth.db")
        for number in range(answers):
            truth.served("m1", CUT_MS + 1000 * number, 5, None)
        truth.close()
        finding = check(evidence)
        assert finding.holds == holds
        assert finding.figures["faults that had to be told"] == str(called)


@pytest.mark.parametrize(("target", "called"), [("m1", 0), ("m2", 1)])
def test_a_meter_whose_lateness_gave_way_to_a_newer_fault_is_late_no_more(
    target: str, called: int, tmp_path: Path
) -> None:
    """Seed 80098: four seconds after it became late its answers came garbled, and with the end of that all was well."""
    newer = {"t": CUT_MS + 4000, "what": "fault", "kind": "meter_garbled", "target": target, "lasts_s": 5.0}
    evidence = _folder(tmp_path, [], newer, kind="meter_late", target="m1", lasts_s=100.0)
    truth = TruthLog(evidence.folder / "evidence" / "truth.db")
    for number in range(20):
        truth.served("m1", CUT_MS + 1000 * number, 5, None)
    truth.close()
    finding = check(evidence)
    assert finding.figures["faults that had to be told"] == str(called)
    assert finding.holds == (not called)


@pytest.mark.parametrize(("after_s", "called"), [(40, 0), (50, 1)])
def test_a_silence_that_gave_way_to_a_newer_fault_before_it_had_to_be_told_is_over(
    after_s: int, called: int, tmp_path: Path
) -> None:
    newer = {"t": CUT_MS + 1000 * after_s, "what": "fault", "kind": "meter_late", "target": "m1", "lasts_s": 5.0}
    evidence = _folder(tmp_path, [], newer, kind="meter_silent", target="m1", lasts_s=100.0)
    TruthLog(evidence.folder / "evidence" / "truth.db").close()
    finding = check(evidence)
    assert finding.figures["faults that had to be told"] == str(called)
    assert finding.holds == (not called)


@pytest.mark.parametrize(("current_ma", "called"), [(16_000, 1), (2000, 0)])
def test_a_register_that_stands_still_is_told_once_enough_has_flowed(
    current_ma: int, called: int, tmp_path: Path
) -> None:
    """2 A for 180 s are 23 Wh: no register shows that."""
    story = (
        {"t": READY_MS, "what": "meter_counts", "meter": "m1", "model": "iem3155", "step_wh": 1.0, "range_wh": None},
        {"t": CUT_MS, "what": "meter_lies", "meter": "m1"},
        {"t": CUT_MS, "what": "meter_silent", "meter": "m1", "how": "frozen"},
        {"t": CUT_MS + 180_000, "what": "meter_back", "meter": "m1"},
        {"t": CUT_MS + 185_000, "what": "meter_honest", "meter": "m1"},
    )
    fault = {"kind": "meter_frozen", "target": "m1", "lasts_s": 180.0}
    said = (CUT_MS + 55_000, _line("reading_quarantined", "meter m1"))
    for log, holds in (([], not called), ([said], True)):
        evidence = _folder(tmp_path / str(len(log)), log, *story, **fault)
        _draws(evidence, current_ma)
        finding = check(evidence)
        assert finding.holds == holds
        assert finding.figures["faults that had to be told"] == str(called)


@pytest.mark.parametrize(("current_ma", "called"), [(7400, 1), (7200, 0)])
def test_a_box_whose_car_draws_more_than_it_was_told_is_told(current_ma: int, called: int, tmp_path: Path) -> None:
    """It has confirmed 6 A; 1 A more is allowed to any car."""
    story = (
        {"t": CUT_MS, "what": "charger_lost", "charger": "box1", "disobeys": True},
        {"t": CUT_MS + 200_000, "what": "charger_back", "charger": "box1", "disobeys": True},
    )
    fault = {"kind": "box_ignores", "lasts_s": 200.0}
    said = (CUT_MS + 20_000, _line("charger_disobedient", "box1/1", "error"))
    connected = (READY_MS + 1000, HERE)
    for log, holds in (([], not called), ([said], True)):
        evidence = _folder(tmp_path / str(len(log)), [connected, *log], *story, **fault)
        _draws(evidence, current_ma)
        _confirms(evidence, 6.0)
        finding = check(evidence)
        assert finding.holds == holds
        assert finding.figures["faults that had to be told"] == str(called)


def _draws(evidence: Evidence, current_ma: int) -> None:
    truth = TruthLog(evidence.folder / "evidence" / "truth.db")
    for second in range(200):
        truth.draw("box1", CUT_MS + 1000 * second, current_ma, current_ma)
    truth.close()


def _confirms(evidence: Evidence, ampere: float) -> None:
    """A limit that box1 had accepted a minute before."""
    schedule = {"duration": 900, "chargingSchedulePeriod": [{"startPeriod": 0, "limit": ampere}]}
    profile = {"chargingProfilePurpose": "TxProfile", "chargingSchedule": schedule}
    frames = (
        ("in", [2, "a", "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}]),
        ("out", [3, "a", {"status": "Accepted"}]),
    )
    lines = [
        json.dumps({"t": CUT_MS - 60_000, "charger": "box1", "dir": way, "frame": json.dumps(frame)})
        for way, frame in frames
    ]
    for wire in ("charger_wire", "csms_wire"):
        (evidence.folder / "evidence" / f"{wire}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (evidence.folder / "evidence" / "beat.json").write_text('{"longest_stall_ms": 0.0}', encoding="utf-8")
    (evidence.folder / "scale.json").write_text('{"speed": 1, "watch": true}', encoding="utf-8")


def test_a_warning_without_a_next_step_is_found(tmp_path: Path) -> None:
    """Whatever it is about."""
    bare = {"event": "bus_full", "subject": "bus lan", "cause": "too much", "next_step": "", "level": "warning"}
    finding = check(_folder(tmp_path, [(READY_MS, bare)], kind="clock_step"))
    assert "bus_full of bus lan names no cause or no next step" in finding.first_violation


def test_a_disk_that_is_full_again_before_it_is_asked_has_been_full_all_the_time() -> None:
    spans = [("", 0, 50_000), ("", 52_000, 160_000), ("", 181_000, 190_000)]
    evidence = SimpleNamespace(spans=lambda *_: spans)
    assert list(_full(evidence)) == [(0, 160_000), (181_000, 190_000)]  # type: ignore[arg-type]
