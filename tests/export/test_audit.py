"""The audit: agrees with what the gateway settled, in every mode, and finds one watt-hour that is not as it was."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.export.audit import audit
from gateway.export.audit_checks import start_of
from gateway.model import Connection
from gateway.store.sqlite import connect, connect_read_only
from tests.sessions.test_random_days import random_day

SCRIPT = Path(__file__).parents[2] / "gateway" / "export" / "audit_script.py"


def test_a_plain_day_agrees(db: Connection) -> None:
    """Three quarter hours, two sessions: nothing differs, nothing is passed by."""
    found = audit(db)
    assert found.differences == []
    assert (found.sessions, found.unknown) == (2, 0)  # before the first reading nothing is metered, nor missing
    assert found.quarters == 4


async def test_the_beginning_of_a_house_agrees(house: Any) -> None:
    """Partial at the first registers, a meter that comes later, a rollover over a missed boundary: nothing differs."""
    house.meters.ranges["flat"] = 1_000_000
    async with house.running():
        house.meters.silent = {"m1"}
        house.meters.registers["flat"] = (999_600, None)
        house.meters.poll()
        await house.boundary("09:15:00", grid=(100_150, 0), pv=(0, 50_200), flat=(999_700, None))
        house.meters.silent = set()
        house.at("09:17:00")
        house.meters.poll()
        house.meters.silent = {"flat"}
        await house.boundary("09:30:00", grid=(100_500, 0), pv=(0, 50_400), m1=(7_200, None))
        house.meters.silent = set()
        await house.boundary("09:45:00", grid=(101_000, 0), pv=(0, 50_500), flat=(400, None), m1=(7_300, None))
        await house.until("SELECT count(*) FROM interval WHERE state = 'provisional' AND version > 0", 0)
    first, *after = await house.rows("SELECT state, result FROM interval WHERE version > 0 ORDER BY k")
    assert (first[0], json.loads(first[1])["solar_wh"]) == ("corrected", None)  # the box had not been read yet
    bodies = [json.loads(text) for _, text in after]
    assert [one["state"] for one in bodies] == ["corrected", "final"]
    taken = [share["wh"] for one in bodies for share in one["shares"] if share["participant"] == "flat"]
    assert sum(taken) == 700
    db = connect_read_only(house.path / "billing.db")
    found = audit(db)
    db.close()
    assert found.differences == []
    assert (found.quarters, found.unknown) == (3, 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_days_agree(house: Any, seed: int) -> None:
    """Silent meters, kills, gaps that are bridged, corrections that are handed on: the audit replays all of it."""
    await random_day(house, seed, lives=3, quarters=5)
    db = connect_read_only(house.path / "billing.db")
    found = audit(db)
    db.close()
    assert found.differences == []
    assert found.sessions > 0
    assert found.unknown <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200, 230))
async def test_many_random_days_agree(house: Any, seed: int) -> None:
    """As above, with more days."""
    await random_day(house, seed, lives=5, quarters=8)
    db = connect_read_only(house.path / "billing.db")
    assert audit(db).differences == []
    db.close()


def _shift(db: Connection, k: int, path: str, by: int) -> None:
    db.execute(
        "UPDATE interval SET result = json_set(result, ?, json_extract(result, ?) + ?) WHERE k = ?", (path, path, by, k)
    )


RESULT_FAULTS = [
    "$.import_wh", "$.export_wh", "$.production_wh", "$.consumption_wh", "$.solar_wh", "$.unallocated_wh",
    "$.imbalance_wh", "$.shares[0].wh", "$.shares[0].solar_wh", "$.shares[1].grid_wh",
    "$.shares[1].carry_after_nano_wh",
    "$.sessions[0].wh", "$.sessions[0].solar_wh", "$.sessions[0].grid_wh", "$.outside[0].wh", "$.outside[0].solar_wh",
]  # fmt: skip


@pytest.mark.parametrize("path", RESULT_FAULTS)
def test_one_watt_hour_in_a_result_is_found(day: Any, path: str) -> None:
    """Whatever number of a settled quarter hour is one too large: the audit names that quarter hour."""
    writer = connect(day.path / "billing.db")
    [k] = writer.execute(
        "SELECT k FROM interval WHERE json_extract(result, ?) IS NOT NULL AND json_extract(result, '$.solar_wh') > 0",
        (path,),
    ).fetchall()[-1]
    _shift(writer, k, path, 1)
    found = audit(writer)
    writer.close()
    assert found.differences
    assert {one.where for one in found.differences} == {start_of(k)}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE session_share SET solar_wh = solar_wh + 1, grid_wh = grid_wh - 1 WHERE rowid = 1",
        "UPDATE session_share SET energy_wh = energy_wh + 1 WHERE rowid = 1",
        "UPDATE session_share SET class = 'NT' WHERE rowid = 1",
        "UPDATE session SET end_wh = end_wh + 1 WHERE transaction_id = 1",
        "UPDATE session SET begin_wh = begin_wh - 1 WHERE transaction_id = 2",
        "UPDATE session SET split = json_set(split, '$.solar_wh', json_extract(split, '$.solar_wh') + 1)",
        "UPDATE session SET split = json_set(split, '$.classes_wh.HT', json_extract(split, '$.classes_wh.HT') - 1)",
        "UPDATE interval SET boundary = json_set(boundary, '$.m1.import_wh', 7701) WHERE boundary LIKE '%7700%'",
        "UPDATE interval SET boundary = json_set(boundary, '$.grid.export_wh', 201) "
        "WHERE json_extract(boundary, '$.grid.export_wh') = 200",
        "UPDATE interval SET result = json_set(result, '$.tariff_class', 'NT') WHERE version > 0",
        "UPDATE interval SET handed = json_set(handed, '$.carry_before.flat', 1 + json_extract(handed, "
        "'$.carry_before.flat')) WHERE json_extract(handed, '$.carry_before.flat') IS NOT NULL",
        "UPDATE interval SET handed = json_set(handed, '$.tanks_after', json('[1,0]')) WHERE version > 0",
    ],
)  # fmt: skip
def test_one_watt_hour_anywhere_else_is_found(day: Any, sql: str) -> None:
    """A register, a session, a share, a split, a class, a carry: one unit off, and the audit says so."""
    writer = connect(day.path / "billing.db")
    before = audit(writer).differences
    writer.execute(sql)
    after = audit(writer).differences
    writer.close()
    assert (before, bool(after)) == ([], True)


def test_the_whole_may_be_audited_in_pieces(day: Any, db: Connection) -> None:
    """A range of quarter hours is judged alone; a fault outside of it is not named."""
    newest = db.execute("SELECT max(k) FROM interval WHERE version > 0").fetchone()
    assert newest is not None
    k = int(newest[0])
    writer = connect(day.path / "billing.db")
    _shift(writer, k, "$.solar_wh", 1)
    writer.close()
    assert audit(db, 0, k).differences == []
    assert [one.what for one in audit(db, k).differences] == ["solar_wh"]


async def test_what_came_late_for_a_closed_period_is_named_not_blamed(house: Any) -> None:
    """The gateway says that late data would change a closed quarter hour: the audit lists it, and does not accuse."""
    await random_day(house, 5, lives=1, quarters=3)
    writer = connect(house.path / "billing.db")
    [k] = writer.execute("SELECT max(k) FROM interval WHERE version > 0").fetchone() or [0]
    writer.execute("UPDATE interval SET state = 'closed', late = 2 WHERE k = ?", (k,))
    _shift(writer, k, "$.imbalance_wh", 1)
    found = audit(writer)
    writer.close()
    assert (found.differences, len(found.late)) == ([], 1)


def test_the_plain_script_runs_alone(day: Any, tmp_path: Path) -> None:
    """A sceptic copies one file and runs it: it imports nothing of the gateway, agrees, and finds the seeded fault."""
    script = shutil.copy(SCRIPT, tmp_path / "audit.py")
    command = [sys.executable, "-I", str(script), str(day.path / "billing.db")]
    clean = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (clean.returncode, clean.stdout) == (0, "0 differences, 1 quarter hours passed by\n")
    writer = connect(day.path / "billing.db")
    _shift(writer, writer.execute("SELECT max(k) FROM interval WHERE version > 0").fetchall()[0][0], "$.solar_wh", 1)
    writer.close()
    spoilt = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert spoilt.returncode == 1
    assert "use and sun: stated" in spoilt.stdout


def test_there_is_one_script_that_can_be_read() -> None:
    """docs/audit.py is the code that `zev-gateway audit` runs, byte for byte; at most sixty lines of Python.

    Counted is every line that is neither blank nor part of a docstring or of one of the two SQL texts.
    """
    docs = Path(__file__).parents[2] / "docs" / "audit.py"
    assert docs.read_bytes() == SCRIPT.read_bytes()
    spoken = {line for node in ast.walk(ast.parse(docs.read_text())) for line in _text_lines(node)}
    lines = enumerate(docs.read_text().splitlines(), start=1)
    assert len([line for number, line in lines if line.strip() and number not in spoken]) <= 60


def _text_lines(node: ast.AST) -> range:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return range(node.lineno, (node.end_lineno or 0) + 1)
    if not isinstance(node, ast.Module | ast.FunctionDef) or ast.get_docstring(node) is None:
        return range(0)
    return range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def test_the_audit_shares_no_code_with_what_it_checks() -> None:
    """Neither the script nor the rest of the audit imports the energy functions or the sessions."""
    for name in ("audit_script", "audit_walk", "audit_special", "audit_checks", "audit"):
        text = (SCRIPT.parent / f"{name}.py").read_text(encoding="utf-8")
        assert "gateway.energy import" not in text
        assert "from gateway.energy" not in text
        assert "from gateway.sessions" not in text


def test_json_of_a_reading_with_more_fields_does_not_disturb(day: Any) -> None:
    """A later version may keep more about a reading: the audit looks at what it knows."""
    writer = connect(day.path / "billing.db")
    for k, text in writer.execute("SELECT k, boundary FROM interval").fetchall():
        boundary = {meter: reading and {**reading, "new": 1} for meter, reading in json.loads(text).items()}
        writer.execute("UPDATE interval SET boundary = ? WHERE k = ?", (json.dumps(boundary), k))
    found = audit(writer)
    writer.close()
    assert found.differences == []


async def test_a_person_decided_and_the_audit_agrees(house: Any) -> None:
    """A session whose end was lost, billed by the registers that a person stands for: split, and audited."""
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:16:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", pv=(0, 50_900), m1=(7_700, None))
    db = connect(house.path / "billing.db")
    db.execute(
        "UPDATE session SET state = 'ended', billable = 0, unbillable_reason = 'no_end_register', stop_ms = begin_ms "
        "+ 60000, end_ms = begin_ms + 600000"
    )
    db.execute(
        "INSERT INTO decision (session, version, at_ms, bill, begin_wh, end_wh, basis, body) "
        "SELECT id, 1, 0, 1, 7000, 7650, 'meter', '{}' FROM session"
    )
    db.execute("UPDATE interval SET dirty = 1 WHERE version > 0")
    assert audit(db).differences  # the quarter hour was settled with another register
    db.close()
    async with house.running():
        await house.until("SELECT count(*) FROM session WHERE split IS NOT NULL", 1)
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    db = connect(house.path / "billing.db")
    found = audit(db)
    db.close()
    assert (found.differences, found.sessions) == ([], 1)
