"""The commands a person types: exit codes, files, one sentence for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.command.state_lock import state_lock
from gateway.store.database import APPLICATION_ID
from gateway.store.sqlite import connect

SPAN = ["--from", "2026-04-15", "--to", "2026-04-16"]


@pytest.fixture
def state(day: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name the day's state, while its writer is open."""
    return ["--state", str(day.path), "--run", str(tmp_path_factory.mktemp("run"))]


@pytest.fixture
def first_id(day: Any) -> str:
    """The id of the first session."""
    writer = connect(day.path / "billing.db")
    row = writer.execute("SELECT id FROM session WHERE transaction_id = 1").fetchone()
    writer.close()
    assert row is not None
    return str(row[0])


def test_a_file_goes_where_it_is_asked_for_whole(
    state: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a directory it gets its name: site, kind, period, version; nothing half-written stays beside it."""
    out = tmp_path / "out"
    out.mkdir()
    for kind in ("sessions", "intervals", "transparency", "bundle", "report"):
        assert main(["export", kind, *SPAN, "--out", str(out), *state]) == 0
    assert sorted(file.name for file in out.iterdir()) == [
        "zev-gw-test_bundle_2026-04-15_2026-04-16_v1.zip",
        "zev-gw-test_intervals_2026-04-15_2026-04-16_v1.csv",
        "zev-gw-test_report-by-user_2026-04-15_2026-04-16_v1.csv",
        "zev-gw-test_sessions_2026-04-15_2026-04-16_v1.csv",
        "zev-gw-test_transparency_2026-04-15_2026-04-16_v1.xml",
    ]
    before = (out / "zev-gw-test_sessions_2026-04-15_2026-04-16_v1.csv").read_bytes()
    assert main(["export", "sessions", *SPAN, "--out", str(out), *state]) == 0
    assert (out / "zev-gw-test_sessions_2026-04-15_2026-04-16_v1.csv").read_bytes() == before


def test_documents_are_json(state: list[str], first_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One document each, with its version."""
    for words in (
        ["export", "sessions", *SPAN],
        ["export", "report", *SPAN, "--by", "station"],
        ["export", "explain", first_id],
        ["export", "company-car", "--month", "2026-04", "--token", "CARD-A"],
        ["audit"],
    ):
        assert main([*words, "--json", *state]) == 0
        assert json.loads(capsys.readouterr().out)["v"] == 1


def test_a_slip_is_made(state: list[str], first_id: str, tmp_path: Path) -> None:
    """As a page and as a PDF, by the begin of the session's id."""
    assert main(["export", "slip", first_id[:6], "--out", str(tmp_path / "a.html"), *state]) == 0
    assert main(["export", "slip", first_id, "--pdf", "--lang", "it", "--out", str(tmp_path / "a.pdf"), *state]) == 0
    assert "Ladebeleg" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["export", "sessions", "--from", "2026-04-31", "--to", "2026-05-01"], "--from: must be a day"),
        (["export", "sessions", "--from", "2026-04-16", "--to", "2026-04-16"], "must be after --from"),
        (["export", "sessions", *SPAN, "--timezone", "Europe/Zuerich"], "no time zone"),
        (["export", "sessions", *SPAN, "--dialect", "excel-fr"], "excel-fr"),
        (["export", "sessions", *SPAN, "--out", "/nowhere/x.csv"], "/nowhere/x.csv cannot be written"),
        (["export", "slip", "nobody"], "there is no session nobody"),
        (["export", "slip", "nobody", "--html", "--pdf"], "either --html or --pdf"),
        (["export", "explain", "%"], "there is no session %"),
        (["export", "transparency"], "either --session, or --from and --to"),
        (["export", "company-car", "--month", "2026-13", "--token", "x"], "--month: must be a month"),
        (["audit", "--from", "2026-04-16", "--to", "2026-04-15"], "must be after --from"),
        (["person", "export", "otto"], "nothing is kept about otto"),
    ],
)
def test_bad_input_is_one_sentence(
    state: list[str], words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the place of the mistake, no traceback."""
    assert main([*words, *state]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1


def test_the_audit_tells_by_its_exit_code(state: list[str], day: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """0 where everything agrees, 1 and the place where one watt-hour does not."""
    assert main(["audit", *state]) == 0
    assert "0 differences" in capsys.readouterr().out
    writer = connect(day.path / "billing.db")
    writer.execute("UPDATE session_share SET solar_wh = solar_wh + 1, grid_wh = grid_wh - 1 WHERE rowid = 1")
    writer.close()
    assert main(["audit", *state]) == 1
    assert "shares of the sessions" in capsys.readouterr().out
    assert main(["audit", "--from", "2026-04-16", "--to", "2026-04-17", *state]) == 0


def test_the_plain_script_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Byte for byte the one in docs/."""
    assert main(["audit", "--script"]) == 0
    docs = Path(__file__).parents[2] / "docs" / "audit.py"
    assert capsys.readouterr().out == docs.read_text(encoding="utf-8")


def test_to_forget_needs_the_daemon_or_the_lock(state: list[str], day: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """While somebody else holds the lock nothing is changed; without a daemon it is done, once."""
    with state_lock(day.path):
        assert main(["person", "forget", "anna", "--yes", *state]) == 1
    assert "uses the state directory" in capsys.readouterr().err
    assert main(["person", "forget", "anna", "--yes", "--json", *state]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == 1
    assert main(["person", "forget", "anna", "--yes", *state]) == 2
    assert "there is nothing to forget" in capsys.readouterr().err


def test_a_database_of_an_older_gateway_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its tables are not those of today: the gateway brings it up to date at its next start."""
    writer = connect(tmp_path / "billing.db")
    writer.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    writer.execute("CREATE TABLE session (id TEXT PRIMARY KEY)")
    writer.execute(f"PRAGMA application_id={APPLICATION_ID}")
    writer.close()
    for words in (["export", "sessions", *SPAN], ["audit"], ["person", "export", "anna"]):
        assert main([*words, "--state", str(tmp_path)]) == 2
        assert "start the gateway once" in capsys.readouterr().err
