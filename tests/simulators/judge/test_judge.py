"""The judge passes a run in which everything is right, and names the one invariant that each spoilt run breaks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from simulators.judge import judge, print_verdict
from tests.simulators.judge import spoilt
from tests.simulators.judge.builder import Run
from tests.simulators.judge.good_run import good_run


def test_a_run_in_which_everything_is_right_holds_with_figures(tmp_path: Path) -> None:
    verdict = judge(good_run().write(tmp_path / "run"))
    assert {finding.invariant: finding.first_violation for finding in verdict.findings} == dict.fromkeys(
        ("story", "I1p", "I3", "I4", "I5", "I6", "I7", "I8", "I10"), ""
    )
    assert verdict.exit_code == 0
    assert all(finding.figures for finding in verdict.findings)
    assert [(line.tenant, line.good) for line in verdict.sessions] == [("T-1", True), ("T-2", True)]
    classes = verdict.sessions[0].classes_wh
    assert set(classes) == {"HT", "NT"}
    assert verdict.sessions[0].energy_wh == (verdict.sessions[0].solar_wh or 0) + sum(classes.values())


@pytest.mark.parametrize("case", spoilt.CASES, ids=lambda case: case.name)
def test_a_spoilt_run_breaks_its_invariant_and_no_other(case: spoilt.Case, tmp_path: Path) -> None:
    run = good_run()
    case.spoil(run)
    verdict = judge(run.write(tmp_path / "run"))
    broken = {finding.invariant: finding.first_violation for finding in verdict.findings if not finding.holds}
    assert set(broken) == set(case.breaks), broken
    assert case.says in broken[case.breaks[0]]
    assert verdict.exit_code == 1


@pytest.mark.parametrize("case", spoilt.ALLOWED, ids=lambda case: case.name)
def test_what_the_contracts_allow_is_no_violation(case: spoilt.Case, tmp_path: Path) -> None:
    run = good_run()
    case.spoil(run)
    verdict = judge(run.write(tmp_path / "run"))
    assert {finding.invariant: finding.first_violation for finding in verdict.findings if not finding.holds} == {}


def _empty(table: str) -> Callable[[Run], None]:
    return lambda run: getattr(run, table).clear()


@pytest.mark.parametrize(
    ("table", "invariants"),
    [
        ("charger_wire", {"I1p", "I3", "I4", "I6", "I10"}),
        ("csms_wire", {"I3", "I4", "I10"}),
        ("messages", {"I3", "I4"}),
        ("story", {"story", "I1p", "I7"}),
        ("bodies", {"story", "I3", "I5", "I6", "I7", "I8"}),
        ("served", {"I6", "I7"}),
        ("boundary", {"I7"}),
        ("fuse", {"I1p"}),
        ("draw", {"I1p"}),
        ("keys", {"I5"}),
    ],
)
def test_without_evidence_a_check_fails(table: str, invariants: set[str], tmp_path: Path) -> None:
    run = good_run()
    _empty(table)(run)
    verdict = judge(run.write(tmp_path / "run"))
    assert invariants <= {finding.invariant for finding in verdict.findings if not finding.holds}


@pytest.mark.parametrize(
    "name",
    [
        "site.toml", "scale.json", "evidence/events.jsonl", "evidence/charger_wire.jsonl", "evidence/csms_wire.jsonl",
        "evidence/csms.db", "evidence/cloud.db", "evidence/truth.db", "evidence/public_keys.json", "evidence/beat.json",
    ],
)  # fmt: skip
def test_a_missing_file_fails_and_is_named(name: str, tmp_path: Path) -> None:
    folder = good_run().write(tmp_path / "run")
    (folder / name).unlink()
    verdict = judge(folder)
    assert verdict.exit_code == 1
    assert any(f"{name} is missing" in finding.first_violation for finding in verdict.findings)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    verdict = judge(tmp_path)
    assert verdict.exit_code == 1
    assert not any(finding.holds for finding in verdict.findings)


def test_a_damaged_file_fails_without_a_traceback(tmp_path: Path) -> None:
    folder = good_run().write(tmp_path / "run")
    (folder / "evidence/cloud.db").write_bytes(b"not a database" * 100)
    (folder / "evidence/events.jsonl").write_text('{"t": "yesterday"}\n')
    verdict = judge(folder)
    assert any("cannot be read" in finding.first_violation for finding in verdict.findings)
    assert verdict.exit_code == 1


def test_a_machine_that_stalls_too_long_is_no_verdict(tmp_path: Path) -> None:
    run = good_run()
    run.stall_ms = 251.0
    verdict = judge(run.write(tmp_path / "run"))
    assert verdict.exit_code == 3
    assert "machine too slow" in _printed(verdict)


def test_time_bounds_are_widened_by_speed_times_stall(tmp_path: Path) -> None:
    """29 s above the limit: too long on a smooth machine, within 25 s + 60 x 100 ms on one that stalled."""
    run = good_run()
    run.fuse.append(("house", 1, run.story[0]["t"] + 60_000, "over_100", 29.0, 1.2))
    assert judge(run.write(tmp_path / "smooth")).exit_code == 1
    run.stall_ms = 100.0
    verdict = judge(run.write(tmp_path / "stalled"))
    assert verdict.exit_code == 0
    assert "widened by 6.00 s" in _printed(verdict)


def test_what_is_broken_is_printed_with_its_first_place(tmp_path: Path) -> None:
    run = good_run()
    spoilt.end_register_up(run)
    verdict = judge(run.write(tmp_path / "run"))
    plain, table = _printed(verdict), _printed(verdict, terminal=True)
    assert "I6    BROKEN" in plain
    assert "broken: " in plain
    assert "NO" in table
    assert "The judge" in table


def test_the_module_judges_a_kept_folder(tmp_path: Path) -> None:
    folder = good_run().write(tmp_path / "run")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "simulators.judge", str(folder)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all invariants hold" in done.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "simulators.judge", str(folder / "nowhere")],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2


def test_judging_twice_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    folder = good_run().write(tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert _printed(judge(folder)) == _printed(judge(folder))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def _printed(verdict: object, terminal: bool = False) -> str:
    out = io.StringIO()
    print_verdict(verdict, Console(file=out, force_terminal=terminal, width=200))  # type: ignore[arg-type]
    return out.getvalue()


def test_the_evidence_of_the_good_run_is_json_lines(tmp_path: Path) -> None:
    """The builder writes what simulators/README.md describes: a guard against tests that judge something else."""
    folder = good_run().write(tmp_path / "run")
    for name in ("charger_wire", "csms_wire"):
        lines = (folder / "evidence" / f"{name}.jsonl").read_text().splitlines()
        assert all(set(json.loads(line)) == {"t", "charger", "dir", "frame"} for line in lines)
