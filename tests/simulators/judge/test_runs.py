"""Sums over runs of quarter hours, carries over gaps, and sessions side by side: what must close, and what is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.judge.carries import carried_on
from simulators.judge.evidence import Evidence
from simulators.judge.exchanges import unmetered_ms
from simulators.judge.quarters import _begin_once, _closes
from simulators.judge.records import Session, interval_versions
from simulators.judge.registers import apart, check
from simulators.judge.runs import sums_match_registers
from simulators.judge.skews import ServedLog
from simulators.judge.times import parse_utc
from simulators.judge.verdict import Notes
from tests.simulators.judge.builder import QUARTER, Body, Run, at, iso
from tests.simulators.judge.good_run import good_run

FIRST, SECOND = at("12:00") // QUARTER, at("12:15") // QUARTER


@pytest.fixture
def run() -> Run:
    return good_run()


@pytest.fixture
def evidence(tmp_path: Path, run: Run) -> Iterator[Evidence]:
    evidence = Evidence(run.write(tmp_path / "run"))
    yield evidence
    evidence.close()


def newest_with_gap(evidence: Evidence, meter: str = "m1") -> dict[int, Body]:
    """The meter was not read at 12:15; both quarter hours are estimated."""
    newest = {k: versions[-1] for k, versions in interval_versions(evidence).items()}
    newest[FIRST]["at_end"][meter] = newest[SECOND]["at_start"][meter] = None
    for k in (FIRST, SECOND):
        for share in newest[k]["shares"]:
            share["estimated"] = True
    return newest


def summed(evidence: Evidence, newest: dict[int, Body]) -> list[str]:
    notes = Notes("I7")
    sums_match_registers(evidence, newest, ServedLog(evidence), notes)
    return notes.violations


def moved(newest: dict[int, Body], k: int, wh: int) -> None:
    """An estimate gives a quarter hour of p1 more or less, with the session that it belongs to."""
    share = next(share for share in newest[k]["shares"] if share["participant"] == "p1")
    part = next(part for part in newest[k]["sessions"] if part["participant"] == "p1")
    share["wh"] += wh
    part["wh"] += wh


def test_an_estimate_may_move_energy_within_a_gap_but_neither_add_nor_lose_a_watt_hour(evidence: Evidence) -> None:
    newest = newest_with_gap(evidence)
    moved(newest, FIRST, 300)
    moved(newest, SECOND, -300)
    assert summed(evidence, newest) == []
    moved(newest, SECOND, 1)
    found = summed(evidence, newest)
    assert "its shares sum to 2001 Wh, its registers say 2000" in found[0]
    assert "sessions and the rest named sum to 2001 Wh" in found[1]


def test_what_a_charger_meter_counts_is_named_even_where_nothing_is_settled(evidence: Evidence) -> None:
    """I6b: without a grid register there are no shares, and still the box's energy is somebody's."""
    newest = newest_with_gap(evidence, "m1")
    for k in (FIRST, SECOND):
        newest[k] |= {"shares": [], "consumption_wh": None, "solar_wh": None}
        newest[k]["at_end" if k == FIRST else "at_start"]["grid"] = None
        newest[k]["at_end"]["pv"] = newest[k]["at_start"]["pv"] = None
    others = {k: body for k, body in newest.items() if k in (FIRST, SECOND)}
    assert summed(evidence, others) == []
    others[SECOND]["sessions"].clear()
    assert any("p1, 2 quarter hours" in text and "sum to" in text for text in summed(evidence, others))


def test_what_can_be_estimated_must_be_settled(evidence: Evidence) -> None:
    newest = newest_with_gap(evidence)
    newest[FIRST] |= {"consumption_wh": None, "solar_wh": None, "shares": []}
    assert any("every register can be estimated" in text for text in summed(evidence, newest))
    newest[max(newest)] |= {"consumption_wh": None, "solar_wh": None, "shares": []}
    newest[max(newest)]["at_end"]["m1"] = None  # nobody has read it since
    newest[FIRST] |= {"consumption_wh": 1, "solar_wh": 0}
    assert not any("every register" in text for text in summed(evidence, newest))


def closes(evidence: Evidence, body: Body) -> list[str]:
    notes = Notes("I7")
    _closes(evidence, body, notes)
    return notes.violations


def test_a_quarter_hour_with_an_exchange_may_stay_open_and_must_name_the_meter(run: Run, tmp_path: Path) -> None:
    run.story.append({"t": at("11:40"), "what": "meter_exchanged", "meter": "m2", "jump_wh": -5.0})
    evidence = Evidence(run.write(tmp_path / "other"))
    body = interval_versions(evidence)[at("11:30") // QUARTER][-1]
    body |= {"consumption_wh": None, "solar_wh": None, "shares": [], "missing": ["meter m2: its register went back"]}
    assert closes(evidence, body) == []
    assert any("does not say so" in text for text in closes(evidence, {**body, "missing": ["meter m1: not read"]}))
    later = interval_versions(evidence)[at("11:45") // QUARTER][-1]
    later |= {"consumption_wh": None, "solar_wh": None, "shares": [], "missing": ["meter m2: its register went back"]}
    assert any("yet it was not settled" in text for text in closes(evidence, later))
    evidence.close()


def test_only_what_lacks_a_register_is_estimated(evidence: Evidence) -> None:
    """An estimate is not held against its meter: nobody may hide behind it."""
    body = interval_versions(evidence)[FIRST][-1]
    assert closes(evidence, body) == []
    body["shares"][0]["estimated"] = True
    assert any("p1 is marked as estimated, nothing is missing" in text for text in closes(evidence, body))


@pytest.mark.parametrize(("what", "wh", "empty"), [("clock_wrong", 0, True), ("clock_wrong", 1, False), ("", 0, False)])
def test_before_its_first_registers_a_house_whose_clock_was_wrong_has_a_quarter_hour_that_holds_nothing(
    run: Run, tmp_path: Path, what: str, wh: int, empty: bool
) -> None:
    """Seed 80065: the first start was cut short, and its registers lie later by as long as the machine was off."""
    run.story += [{"t": run.story[0]["t"], "what": what, "off_ms": -7_200_000}] if what else []
    evidence = Evidence(run.write(tmp_path / "other"))
    began_k = evidence.lives[0][0] // QUARTER
    body = interval_versions(evidence)[at("11:30") // QUARTER][-1]
    unread = dict.fromkeys(body["at_start"])
    start, end = iso(began_k * QUARTER), iso((began_k + 1) * QUARTER)
    body |= {"k": began_k, "start": start, "end": end, "at_start": unread, "at_end": unread, "sessions": []}
    body |= dict.fromkeys(("import_wh", "export_wh", "production_wh", "solar_wh", "unallocated_wh", "imbalance_wh"), 0)
    body |= {"consumption_wh": wh, "outside": []}
    for share in body["shares"]:
        share |= {"wh": 0, "solar_wh": 0, "grid_wh": 0}
    assert any("nobody is marked as estimated" in text for text in closes(evidence, body)) != empty
    evidence.close()


def carries(*ks: list[list[tuple[int, int, int]] | None]) -> dict[int, list[Body]]:
    """Versions by quarter hour: (before, after, named adjustment) of one participant, None without shares."""
    return {
        FIRST + number: [
            {"k": FIRST + number, "version": version + 1, "shares": [] if share is None else [
                {"participant": "p1", "carry_before_nano_wh": share[0][0], "carry_after_nano_wh": share[0][1],
                 "adjustment_nano_wh": share[0][2]}]}
            for version, share in enumerate(versions)
        ]
        for number, versions in enumerate(ks)
    }  # fmt: skip


def carried(evidence: Evidence, versions: dict[int, list[Any]]) -> list[str]:
    notes = Notes("I7")
    carried_on(evidence, versions, notes)
    return notes.violations


def test_a_correction_of_what_had_no_shares_received_what_was_handed_on_or_was_pending(evidence: Evidence) -> None:
    corrected = [[(0, 100, 0)], [(0, 150, 0)]]
    for received in (100, 150):
        assert carried(evidence, carries(corrected, [None, [(received, 200, 0)]])) == []
    assert any("handed on were 100" in text for text in carried(evidence, carries(corrected, [None, [(160, 200, 0)]])))
    blind = carried(evidence, carries(corrected, [None], [None, [(160, 200, 0)]]))
    assert any("handed on were 100" in text for text in blind)


def test_after_a_quarter_hour_without_shares_an_adjustment_is_named_or_was_taken_in_there(evidence: Evidence) -> None:
    corrected = [[(0, 100, 0)], [(0, 150, 0)]]
    for named in (50, 0):
        assert carried(evidence, carries(corrected, [None], [[(150, 160, named)]])) == []
    found = carried(evidence, carries(corrected, [None], [[(150, 160, 30)]]))
    assert any("names an adjustment of 30, it got 50" in text for text in found)


def ended(meter: str, begin: str, end: str, begin_wh: int, end_wh: int) -> Session:
    body = {"meter": meter, "begin": iso(at(begin)), "end": iso(at(end)), "begin_wh": begin_wh, "end_wh": end_wh}
    return Session(begin, ends=[body])


def test_no_watt_hour_is_in_two_sessions(evidence: Evidence) -> None:
    def found(second_begins: int, meter: str = "m1") -> list[str]:
        notes = Notes("I6")
        apart(evidence, [ended(meter, "12:30", "12:40", second_begins, 900), ended("m1", "12:00", "12:20", 100, 500)],
              notes)  # fmt: skip
        return notes.violations

    assert found(500) == found(499, "m2") == []
    assert "it begins at 499 Wh" in found(499)[0]


def test_what_a_wrong_clock_told_is_held_against_the_truth_of_its_own_time(run: Run, tmp_path: Path) -> None:
    """Seeds 339, 345: a quarter hour ahead a session ended and was told; what has left the house is never changed."""
    ahead_ms = 900_000
    end = run.body("session.end.v1", session="s-b")
    for name in ("begin", "end", "stop"):
        end[name] = iso(parse_utc(end[name]) + ahead_ms)

    def found(folder: str) -> tuple[int, bool]:
        evidence = Evidence(run.write(tmp_path / folder))
        once = "SELECT import_wh, at_ms FROM served WHERE meter = 'm2' GROUP BY import_wh HAVING count(*) = 1"
        wh, at_ms = evidence.rows("truth.db", once)[0]
        first = {"import_wh": wh, "export_wh": None}
        first |= {"requested_ms": at_ms + ahead_ms - 50, "replied_ms": at_ms + ahead_ms + 50}
        given = check(evidence).violations, ServedLog(evidence).gave("m2", first)
        evidence.close()
        return given

    violations, gave = found("right")
    assert violations
    assert not gave
    run.story += [{"t": at("11:40"), "what": what, "off_ms": ahead_ms} for what in ("clock_wrong", "clock_reads")]
    assert found("ahead") == (0, True)


def test_sessions_are_in_the_order_of_their_starts_whatever_a_wrong_clock_stated(evidence: Evidence) -> None:
    """Seed 288: the first had been told before the clock, 21 days ahead, was put right."""
    (charger, transaction_id), start = min(evidence.traffic.starts.items(), key=lambda item: item[1].sent[0].at_ms)
    first, second = ended("m1", "23:30", "23:40", 100, 500), ended("m1", "23:00", "23:20", 500, 900)
    first.ends[0].update(charger=charger, transaction_id=transaction_id)
    notes = Notes("I6")
    apart(evidence, [first, second], notes)
    assert start.sent[0].at_ms < at("23:00")
    assert notes.violations == []


def test_a_death_beside_an_exchange_loses_what_flowed_since_the_last_kept_register(run: Run, tmp_path: Path) -> None:
    """The gateway lives at 12:20 and knows the new meter in 25 s; one that is dead from 12:05 to 12:09 has 12:00's."""
    run.story.append({"t": at("12:20"), "what": "meter_exchanged", "meter": "m1", "jump_wh": 0.0})
    run.story.append({"t": at("12:07"), "what": "meter_exchanged", "meter": "m2", "jump_wh": 0.0})
    evidence = Evidence(run.write(tmp_path / "other"))
    span = (at("12:00"), at("12:30"))
    assert unmetered_ms(evidence, "m1", *span) == 35_000
    assert unmetered_ms(evidence, "m2", *span) == (9 * 60 + 25) * 1000
    assert unmetered_ms(evidence, "m2", at("12:15"), at("12:30")) == 0
    evidence.close()


def begun(evidence: Evidence, at_ms: int, wh: int) -> list[str]:
    """m2's first register of all, at this time, stands for the start of 11:45."""
    newest = [versions[-1] for versions in interval_versions(evidence).values()]
    for body in newest[:2]:
        body["at_start"]["m2"] = None
    newest[0]["at_end"]["m2"] = None
    newest[1]["begins"] = {
        "m2": {"import_wh": wh, "export_wh": None, "requested_ms": at_ms - 50, "replied_ms": at_ms + 50}
    }
    notes = Notes("I7")
    _begin_once(evidence, newest, ServedLog(evidence), notes)
    return notes.violations


def test_a_first_register_begins_a_quarter_hour_if_the_meter_gave_it_then_and_none_before(
    run: Run, tmp_path: Path
) -> None:
    run.served.append(("m2", at("11:50"), 98_765, None))
    evidence = Evidence(run.write(tmp_path / "other"))
    assert begun(evidence, at("11:50"), 98_765) == []
    assert "m2 gave no 98766 Wh" in begun(evidence, at("11:50"), 98_766)[0]
    assert "lies outside" in begun(evidence, at("12:15:02"), 98_765 + 334)[-1]
    newest = [versions[-1] for versions in interval_versions(evidence).values()]
    newest[1]["begins"] = {"m2": {**newest[1]["at_start"]["m2"]}}
    notes = Notes("I7")
    _begin_once(evidence, newest, ServedLog(evidence), notes)
    assert any("which was read before" in text for text in notes.violations)
    evidence.close()
