"""The command line: answers, exit codes, and one clear sentence for everything that is wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.command.addresses import charger_urls, local_addresses, url_of
from gateway.control import ControlSocket
from gateway.operations import Operations
from gateway.records.signing import FileSigner
from gateway.store.database import migrate
from gateway.store.sqlite import connect

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config" / "site.example.toml"
GENESIS = "0" * 64

Capture = pytest.CaptureFixture[str]


def one_sentence(capsys: Capture) -> str:
    """What was told on standard error: exactly one line, and nothing of Python's."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("zev-gateway: ")
    assert "Traceback" not in captured.err
    return lines[0]


# Words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("bogus", "No such command"),
        ("check", "--config"),
        ("check --confg x", "--confg"),
        ("run", "--config"),
        ("run --config a --speed 3", "--speed"),
        ("verify", "either a FILE or --all"),
        ("sessions --from yesterday --state {state}", "must be a day"),
        ("sessions --timezone Mars/Base --state {state}", "no time zone"),
        ("sessions --state {empty}", "no database"),
        ("verify --all --state {empty}", "no database"),
        ("verify {empty}/none --state {state}", "cannot be read"),
        ("keys --state {empty}", "no keys"),
        ("status --run {long}", "107"),
        ("run --config {example} --run {long}", "107"),
        ("check --config {empty}/none.toml", ""),
        ("run --config {empty}/none.toml", "cannot be read"),
        ("run --config {example} --clock fast", "expected scaled:"),
        ("run --config {example} --clock scaled:2026-06-13T09:30:00Z,0,60", "simulation = true"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words: str, told: str, state: Path, capsys: Capture) -> None:
    """No traceback, no usage text of three lines."""
    empty = state.parent / "empty"
    empty.mkdir()
    texts = {"state": state, "empty": empty, "long": state / ("x" * 120), "example": EXAMPLE}
    assert main(words.format(**texts).split()) == 2
    if words.startswith("check --config"):
        assert "cannot be read" in capsys.readouterr().out
    else:
        assert told in one_sentence(capsys)


def test_help_is_no_error(capsys: Capture) -> None:
    """Every command of the contract stands there."""
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for command in ("run", "check", "status", "sessions", "verify", "keys", "health"):
        assert f"  {command} " in told
        (line,) = (line for line in told.splitlines() if line.startswith(f"  {command} "))
        assert not line.endswith("..."), "a sentence that is cut off helps nobody"
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("Usage: zev-gateway ")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("zev-gateway 0.")
    assert main(["run", "--help"]) == 0
    assert "--clock" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["", "keys", "export", "person", "session", "period", "epoch"])
def test_no_command_is_described_by_half_a_sentence(
    group: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """In a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*group.split(), "--help"]) == 0
    told = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert len(told) > 1
    assert [line for line in told if line.endswith("...")] == []


def test_a_mistake_of_ours_is_one_sentence_and_keeps_the_details(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    """Exit code 1; the traceback goes into a file that the sentence names."""

    def broken(_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("gateway.command.session_list.connect_read_only", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "billing.db").touch()
    assert main(["sessions", "--state", str(tmp_path)]) == 1
    told = one_sentence(capsys)
    (kept,) = tmp_path.glob("zev-gateway-*.log")
    assert str(kept) in told
    assert "RuntimeError: a mistake" in kept.read_text()


def test_python_m_gateway_is_the_same_program() -> None:
    """As a process: exit code 2, one line, also for a file that is no site file."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", str(ROOT / "pyproject.toml")],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_the_way_to_the_daemon_loads_neither_typer_nor_rich() -> None:
    """They would cost the daemon 20 MB for its whole life."""
    program = (
        "import sys, gateway.cli, gateway.command.checkup, gateway.command.control_client\n"
        "gateway.command.checkup.check_up(__import__('pathlib').Path(sys.argv[1]))\n"
        "print([name for name in ('typer', 'rich', 'aiosqlite') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(EXAMPLE)], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


# check


def test_check_says_who_may_charge_without_the_gateway(capsys: Capture) -> None:
    """Exit code 0 for the example; each box and each circuit has its sentence."""
    assert main(["check", "--config", str(EXAMPLE)]) == 0
    told = capsys.readouterr().out
    assert "no problem; 6 chargers" in told
    assert "If the gateway dies:" in told
    assert "box6/1" in told


def test_check_refuses_fallbacks_that_do_not_fit(tmp_path: Path, capsys: Capture) -> None:
    """At the line of the circuit, and `run` refuses it with the same sentence (design rule 8)."""
    path = tmp_path / "site.toml"
    text = EXAMPLE.read_text().replace("house_worst_a = 60", "house_worst_a = 70")
    path.write_text(text)
    assert main(["check", "--config", str(path), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["v"] == 1
    (problem,) = document["problems"]
    assert problem["line"] == text[: text.index("[[circuit]]")].count("\n") + 1
    assert 'circuit "house"' in problem["sentence"]
    assert document["without_gateway"]
    assert main(["run", "--config", str(path)]) == 2
    assert 'circuit "house"' in one_sentence(capsys)


def test_check_and_run_name_a_secret_that_others_can_read(tmp_path: Path, capsys: Capture) -> None:
    """Nothing is started with a password that everybody knows."""
    path = tmp_path / "site.toml"
    path.write_text(EXAMPLE.read_text().replace("# secret = ", "secret = ", 1))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "operator-password").write_text("x")
    (tmp_path / "secrets" / "operator-password").chmod(0o644)
    assert main(["check", "--config", str(path)]) == 2
    assert "chmod 600" in capsys.readouterr().out
    assert main(["run", "--config", str(path)]) == 2
    assert "chmod 600" in one_sentence(capsys)


# sessions, verify, keys: the state directory


SPLIT = '{"version": 2, "state": "final", "solar_wh": 4345, "classes_wh": {"HT": 2000, "NT": 6000}, "reason": ""}'


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with one ended session, one open one, and two signed records."""
    folder = tmp_path / "state"
    folder.mkdir()
    db = connect(folder / "billing.db")
    db.execute("PRAGMA journal_mode=WAL").fetchall()
    migrate(db)
    columns = (
        "id, charger, connector, transaction_id, state, id_tag, tenant, participant, authorised_by, begin_ms, begin_q, "
        "begin_wh, begin_provenance, stop_ms, end_ms, end_wh, end_provenance, billable, unbillable_reason, "
        "split_version, split"
    )
    rows = [
        ("s1", "box1", 1, 7, "ended", "CARD-A", "t1", "p1", "csms", 1_781_343_000_000, "ntp", 1_000_000, "meter",
         1_781_350_000_000, 1_781_350_000_500, 1_012_345, "meter", 1, None, 2, SPLIT),
        ("s2", "box2", 1, 8, "ended", "CARD-B", "t2", "p2", "csms", 1_781_344_000_000, "ntp", None, "none",
         1_781_350_000_000, 1_781_350_000_500, 2_000, "meter", 0, "no register at the begin", 0, None),
        ("s3", "box3", 1, 9, "open", "CARD-C", "t3", "p3", "gateway", 1_781_430_000_000, "ntp", 5, "meter",
         None, None, None, None, 0, None, 0, None),
    ]  # fmt: skip
    marks = ", ".join("?" * 21)
    db.executemany(f"INSERT INTO session ({columns}) VALUES ({marks})", rows)
    db.executemany(
        "INSERT INTO session_share (session, k, version, energy_wh, solar_wh, grid_wh, class, state) "
        "VALUES ('s3', ?, 1, ?, ?, ?, ?, 'provisional')",
        [(1, 600, 400, 200, "HT"), (2, 634, 34, 600, "NT")],
    )
    signer = FileSigner.open(folder / "keys", simulation=False)
    prev = GENESIS
    for page in (1, 2):
        payload = json.dumps({"FV": "1.4", "PG": f"T{page}"})
        signature = json.dumps({"SA": "ECDSA-secp256r1-SHA256", "SD": signer.sign(payload.encode()).hex()})
        text = f"OCMF|{payload}|{signature}"
        sha256 = hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()
        db.execute(
            "INSERT INTO record (session, kind, signed_by, key_id, charge_point, pagination, text, prev, sha256) "
            "VALUES ('s1', 'begin', 'gateway', ?, 'box1', ?, ?, ?, ?)",
            (signer.key_id, page, text, prev, sha256),
        )
        prev = sha256
    db.close()
    return folder


def test_sessions_are_listed_with_registers_and_split(state: Path, capsys: Capture) -> None:
    """Energy only where it is billable; solar and classes sum to it."""
    assert main(["sessions", "--state", str(state), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    one, two, three = document["sessions"]
    assert (one["energy_wh"], one["begin"]) == (12_345, "2026-06-13T09:30:00.000Z")
    assert one["split"] == {"version": 2, "state": "final", "solar_wh": 4345, "classes_wh": {"HT": 2000, "NT": 6000}}
    assert one["split"]["solar_wh"] + sum(one["split"]["classes_wh"].values()) == one["energy_wh"]
    assert (two["energy_wh"], two["unbillable_reason"], two["decision"]) == (None, "no register at the begin", None)
    assert (three["state"], three["end"], three["energy_wh"]) == ("open", None, None)
    assert three["split"]["classes_wh"] == {"HT": 200, "NT": 600}
    assert (three["split"]["state"], three["split"]["solar_wh"]) == ("provisional", 434)


def test_sessions_for_a_person_have_local_times_and_every_class(state: Path, capsys: Capture) -> None:
    """09:30 UTC is 11:30 in Zurich; nothing is cut where there is no terminal."""
    assert main(["sessions", "--state", str(state)]) == 0
    told = capsys.readouterr().out
    for words in ("2026-06-13 11:30:00", "1012.345 kWh", "12345", "HT Wh", "not billable: no register at the begin"):
        assert words in told


def test_what_waits_for_a_person_is_listed_with_its_id_until_it_is_decided(state: Path, capsys: Capture) -> None:
    """A refused card waits for nobody; a decision shows who, when and why."""
    db = connect(state / "billing.db")
    db.execute("UPDATE session SET unbillable_reason = 'start_refused', billable = 0 WHERE id = 's1'")
    ids = ["sessions", "--undecided", "--state", str(state), "--json"]
    assert main(ids) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)["sessions"]] == ["s2"]
    body = {"version": 1, "bill": True, "basis": "charger", "begin_wh": 0, "end_wh": 900, "energy_wh": 900,
            "actor": "petra", "reason": "seen on site", "at": "2026-06-14T08:00:00.000Z"}  # fmt: skip
    db.execute(
        "INSERT INTO decision (session, version, at_ms, bill, begin_wh, end_wh, basis, body) "
        "VALUES ('s2', 1, 0, 1, 0, 900, 'charger', ?)",
        (json.dumps(body),),
    )
    db.close()
    assert main(ids) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == []
    assert main(["sessions", "--state", str(state)]) == 0
    told = capsys.readouterr().out
    for words in ("│ s2 ", " 900 ", "billed by petra: seen on site"):
        assert words in told


def test_sessions_can_be_narrowed(state: Path, capsys: Capture) -> None:
    """By tenant, by first day and by the first day that no longer counts."""
    for words, ids in (("--tenant t2", ["s2"]), ("--from 2026-06-14", ["s3"]), ("--to 2026-06-14", ["s1", "s2"])):
        assert main(["sessions", "--state", str(state), "--json", *words.split()]) == 0
        assert [row["id"] for row in json.loads(capsys.readouterr().out)["sessions"]] == ids


def test_a_database_that_is_none_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    """Bytes of another kind."""
    (tmp_path / "billing.db").write_bytes(b"no database" * 100)
    assert main(["sessions", "--state", str(tmp_path)]) == 2
    told = one_sentence(capsys)
    assert "cannot be read" in told
    assert "damaged" in told, "sudo would not help"


@pytest.mark.parametrize("command", ["sessions", "verify --all"])
def test_a_database_of_another_program_is_one_sentence(command: str, tmp_path: Path, capsys: Capture) -> None:
    """Also an empty file, such as a copy that was broken off at once."""
    (tmp_path / "billing.db").touch()
    assert main([*command.split(), "--state", str(tmp_path)]) == 2
    assert "is not the database of a gateway" in one_sentence(capsys)


def test_verify_finds_nothing_in_what_was_signed(state: Path, capsys: Capture) -> None:
    """Exit code 0, the number of records is told."""
    assert main(["verify", "--all", "--state", str(state)]) == 0
    assert "2 records, all as they were signed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE record SET text = replace(text, '1.4', '1.5') WHERE id = 1",
        "DELETE FROM record WHERE id = 1",
        "UPDATE record SET pagination = 5 WHERE id = 2",
    ],
)
def test_verify_finds_what_was_changed(state: Path, capsys: Capture, damage: str) -> None:
    """A changed text, a missing record, another pagination: exit code 1 and the record."""
    db = connect(state / "billing.db")
    db.execute(damage)
    db.close()
    assert main(["verify", "--all", "--state", str(state), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"]


def test_verify_judges_a_file_with_the_keys_of_another_machine(state: Path, tmp_path: Path, capsys: Capture) -> None:
    """What `keys --json` printed is enough to judge exported texts elsewhere; a flipped character is found."""
    assert main(["keys", "--state", str(state), "--json"]) == 0
    keys = tmp_path / "keys.json"
    keys.write_text(capsys.readouterr().out)
    db = connect(state / "billing.db")
    texts = [row[0] for row in db.execute("SELECT text FROM record ORDER BY id")]
    db.close()
    file = tmp_path / "records.ocmf"
    file.write_text("\n".join(texts) + "\n")
    words = ["verify", str(file), "--key", str(keys), "--state", str(tmp_path / "nowhere")]
    assert main(words) == 0
    file.write_text(texts[0] + "\n" + texts[1].replace("1.4", "1.5") + "\n")
    capsys.readouterr()
    assert main(words) == 1
    assert "line 2: invalid" in capsys.readouterr().out


def test_keys_are_listed_as_the_contract_says(state: Path, capsys: Capture) -> None:
    """Public parts only."""
    assert main(["keys", "--state", str(state), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["v"] == 1
    (key,) = document["keys"]
    assert set(key) >= {"key_id", "algorithm", "spki_hex", "valid_from", "valid_to", "simulation"}
    assert main(["keys", "--state", str(state)]) == 0
    assert f"{key['key_id']}: {key['spki_hex']}\n" in capsys.readouterr().out, "a key is copied as a whole"


# status, health: the running daemon

STATUS: dict[str, Any] = {
    "v": 1, "gw": "house-1", "site": "House 1", "now": "2026-06-13T09:30:00.000Z", "time_quality": "ntp",
    "simulation": True, "listen": ["ws://0.0.0.0:9000/CHARGER-ID"], "problems": [],
    "connectors": [
        {"id": "box1/1", "connected": True, "status": "Charging", "transaction": 7, "limit_a": 16.0,
         "draw_a": [15.9, 15.8, 16.0], "reason": "sun", "fallback_a": 6.0, "position": None},
    ],
    "circuits": [{"id": "house", "limit_a": 40, "house_a": [1.0, 2.0, 3.0], "load_a": None, "age_s": 2, "over": True}],
    "upstreams": [{"charger": "box1", "upstream": "csms", "connected": False, "queue": 3, "parked": 1, "oldest_s": 61}],
    "refused": [{"identity": "box9", "address": "10.0.0.9", "why": "no charger has this id", "next_step": "add it",
                 "url": "ws://10.0.0.1:9000/box9", "at": "2026-06-13T09:29:00.000Z"}],
    "meters": [{"id": "grid", "model": "abb_b23", "bus": "lan", "age_s": None, "serial": None, "import_wh": 1234,
                "power_w": None, "lost": True, "timeouts": 4, "rejected": 0}],
    "cloud": {"configured": True, "connected": False, "why": "the broker refuses the password",
              "backlog": {"billing": 12, "event": 3}, "last_ack_s": None},
    "events": [
        {"at": "2026-06-13T09:00:00.000Z", "subject": "bus lan", "cause": "the connection was lost",
         "next_step": "check the cable", "severity": "warning"},
        {"at": "2026-06-13T09:01:00.000Z", "subject": "house-1", "cause": "boot 7",
         "next_step": "", "severity": "info"},
    ],
}  # fmt: skip


async def with_daemon(run_dir: Path, results: dict[str, dict[str, Any]], ask: Callable[[], int]) -> int:
    """Serve `results` on the real control socket while `ask` runs in a thread."""
    operations = Operations()
    for name, result in results.items():

        async def answer(_: dict[str, Any], __: str, result: dict[str, Any] = result) -> dict[str, Any]:
            return result

        operations.add(name, answer)
    return await answered(operations, run_dir, ask)


async def answered(operations: Operations, run_dir: Path, ask: Callable[[], int]) -> int:
    """Serve `operations` on the real control socket while `ask` runs in a thread."""
    control = asyncio.create_task(ControlSocket(run_dir, operations.execute, lambda event: None).run())
    try:
        async with asyncio.timeout(10):
            while not (run_dir / "control.sock").exists():  # noqa: ASYNC110 - it is the file that a client waits for
                await asyncio.sleep(0)
            return await asyncio.to_thread(ask)
    finally:
        control.cancel()
        await asyncio.wait([control])


async def test_status_tells_addresses_refused_and_what_is_lost(tmp_path: Path, capsys: Capture) -> None:
    """What an installer needs on first contact, and everything that is not well."""
    assert await with_daemon(tmp_path, {"status": STATUS}, lambda: main(["status", "--run", str(tmp_path)])) == 0
    told = capsys.readouterr().out
    for words in (
        "SIMULATION", ":9000/box1", "REFUSED box9 from 10.0.0.9", "no charger has this id", "next: add it",
        "ws://10.0.0.1:9000/box9", "15.9 / 15.8 / 16.0", "LOST", "OVER", "the broker refuses the password",
        "billing 12", "the connection was lost", "next: check the cable",
    ):  # fmt: skip
        assert words in told
    assert "boot 7" not in told, "what is in order is for the log"


async def test_status_tells_what_waits_for_the_administrator(tmp_path: Path, capsys: Capture) -> None:
    """Sessions that nobody has decided about, quarter hours that lack data: seen where one looks first."""
    bills = {
        "sessions": {"open": [{"id": "s3"}], "ended": 40, "unbillable": 2},
        "split": {"last_interval": "2026-06-13T09:45:00.000Z", "solar_share_pct": 40, "provisional": 3},
    }
    words = ["status", "--run", str(tmp_path)]
    assert await with_daemon(tmp_path, {"status": STATUS | bills}, lambda: main(words)) == 0
    told = capsys.readouterr().out
    assert "1 go on, 40 have ended; 2 wait for a decision: zev-gateway sessions --undecided" in told
    assert "settled to that of 2026-06-13T09:45:00.000Z; 3 provisional" in told


async def test_status_says_in_red_what_a_restored_copy_needs_until_a_person_has_checked(
    tmp_path: Path, capsys: Capture
) -> None:
    """The command that ends it stands beside it; afterwards who checked."""
    found = {"configured": True, "connected": True, "restored": "2026-06-13T09:45:00.000Z", "restored_checked": None}
    words = ["status", "--run", str(tmp_path)]
    assert await with_daemon(tmp_path, {"status": STATUS | {"cloud": found}}, lambda: main(words)) == 0
    assert "zev-gateway epoch confirm --reason" in capsys.readouterr().out
    done = {"restored": found["restored"], "actor": "petra", "reason": "compared with the backend"}
    found |= {"restored": None, "restored_checked": done}
    assert await with_daemon(tmp_path, {"status": STATUS | {"cloud": found}}, lambda: main(words)) == 0
    told = capsys.readouterr().out
    assert "checked by petra: compared with the backend" in told
    assert "epoch confirm" not in told


async def test_one_cause_of_many_boxes_hides_no_other(tmp_path: Path, capsys: Capture) -> None:
    """What says the same is one line with its number, so that the line that is down is still seen."""
    down = {
        "at": "2026-06-13T09:00:00.000Z",
        "kind": "bus_down",
        "subject": "bus rs485",
        "cause": "is not there",
        "next_step": "check the adapter",
        "severity": "error",
    }
    reserved = [down | {"kind": "charger_reserved", "subject": f"box{n}/1", "cause": "6.0 A stay reserved"}
                for n in range(1, 21)]  # fmt: skip
    status = STATUS | {"events": [down, *reserved, *reserved], "refused": [STATUS["refused"][0] | {"identity": ""}]}
    assert await with_daemon(tmp_path, {"status": status}, lambda: main(["status", "--run", str(tmp_path)])) == 0
    told = capsys.readouterr().out
    assert "bus rs485: is not there" in told
    assert "(40 times) box1/1, box2/1" in told
    assert told.count("stay reserved") == 1
    assert "REFUSED (no name) from" in told


async def test_status_as_json_is_the_daemon_s_answer(tmp_path: Path, capsys: Capture) -> None:
    """With the addresses of this machine beside it; exit code 1 where the daemon is not well."""
    sick = STATUS | {"problems": ["the database has not moved for 1000 s"]}
    words = ["status", "--json", "--run", str(tmp_path)]
    assert await with_daemon(tmp_path, {"status": sick}, lambda: main(words)) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["addresses"]
    assert {key: document[key] for key in sick} == sick


async def test_health_is_the_watchdog_s_question(tmp_path: Path, capsys: Capture) -> None:
    """0 where all is well; 1 and the reason where it is not."""
    words = ["health", "--run", str(tmp_path)]
    assert await with_daemon(tmp_path, {"health": {"v": 1, "well": True, "problems": []}}, lambda: main(words)) == 0
    ill = {"v": 1, "well": False, "problems": ["the control loop has not moved for 20 s"]}
    assert await with_daemon(tmp_path, {"health": ill}, lambda: main(words)) == 1
    assert "the control loop has not moved" in one_sentence(capsys)


async def test_what_the_daemon_refuses_is_told(tmp_path: Path, capsys: Capture) -> None:
    """An older daemon does not know the question: exit code 2, as where no daemon runs and the words are wrong."""
    assert await with_daemon(tmp_path, {}, lambda: main(["status", "--run", str(tmp_path)])) == 2
    assert "unknown operation" in one_sentence(capsys)


async def test_a_fault_inside_the_daemon_is_no_refusal(tmp_path: Path, capsys: Capture) -> None:
    """Exit code 1: what was asked for was right."""

    async def fails(*_: object) -> dict[str, Any]:
        raise OSError("the disk is gone")

    operations = Operations()
    operations.add("status", fails)
    assert await answered(operations, tmp_path, lambda: main(["status", "--run", str(tmp_path)])) == 1
    assert "failed inside the gateway (OSError)" in one_sentence(capsys)


def test_without_a_daemon_status_says_so(tmp_path: Path, capsys: Capture) -> None:
    """Exit code 1: something is wrong, not the input."""
    assert main(["status", "--run", str(tmp_path)]) == 1
    assert "no gateway answers" in one_sentence(capsys)


def test_addresses_are_those_of_this_machine() -> None:
    """`0.0.0.0` is no address that a box could be given."""
    assert all(not address.startswith("127.") for address in local_addresses())
    assert charger_urls(["ws://0.0.0.0:9000/ID"], ["10.0.0.1", "10.1.0.1"]) == [
        "ws://10.0.0.1:9000/ID",
        "ws://10.1.0.1:9000/ID",
    ]
    assert charger_urls(["ws://10.9.9.9:9000/ID"], ["10.0.0.1"]) == ["ws://10.9.9.9:9000/ID"]
    assert url_of("ws://10.0.0.1:9000/CHARGER-ID", "CH*ABC|1") == "ws://10.0.0.1:9000/CH*ABC%7C1"
    assert charger_urls(["ws://0.0.0.0:9000/ID"], []) == ["ws://ADDRESS-OF-THIS-MACHINE:9000/ID"]


def test_the_environment_of_the_service_manager_is_used(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """$STATE_DIRECTORY may name several directories."""
    monkeypatch.setenv("STATE_DIRECTORY", f"{state}{os.pathsep}/elsewhere")
    assert main(["keys"]) == 0
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(state / "run"))
    capsys.readouterr()
    assert main(["status"]) == 1
    assert str(state / "run" / "control.sock") in one_sentence(capsys)
