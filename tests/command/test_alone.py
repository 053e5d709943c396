"""What a person does to the bills while no daemon runs: the same acts, under the lock of the state directory."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.cloud.standing import RESTORED
from gateway.command import alone
from gateway.command.directories import UserError
from gateway.store import meta
from gateway.store.lock import hold
from gateway.store.sqlite import connect, connect_read_only

SITE = """
[site]
id = "gw-1"
name = "A house"

[ocpp]
listen = "127.0.0.1:9000"

[[circuit]]
id = "house"
fuse_a = 40
fuse = "gG"
house_worst_a = 20

[[charger]]
id = "box1"
circuit = "house"
max_a = 16
fallback_a = 6
participant = "p1"

[[participant]]
id = "p1"
name = "Box 1"
kind = "charger"

[tariff]
default = "NT"
windows = []
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def house(state: Path, tmp_path: Path) -> list[str]:
    """The options of a house without a daemon, whose database waits for two acts of a person."""
    (tmp_path / "site.toml").write_text(SITE)
    db = connect(state / "billing.db")
    meta.put(db, RESTORED, "2026-04-15T09:10:00.000Z")
    db.execute(
        "INSERT INTO session (id, charger, connector, transaction_id, state, id_tag, authorised_by, begin_ms, begin_q, "
        "begin_provenance, end_ms, stop_ms, billable, unbillable_reason, charger_begin_wh, charger_end_wh) VALUES "
        "('s-bare', 'box1', 1, 7, 'ended', 'CARD', 'csms', 1776244200000, 'ntp', 'none', 1776247800000, "
        "1776247800000, 0, 'no_meter', 5000, 9000)"
    )
    db.close()
    return ["--state", str(state), "--run", str(tmp_path / "run"), "--config", str(tmp_path / "site.toml")]


def rows(house: list[str], sql: str) -> list[tuple[Any, ...]]:
    db = connect_read_only(Path(house[1]) / "billing.db")
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def sentence(capsys: Capture) -> str:
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    return told


def test_a_decision_is_kept_and_waits_for_the_cloud(house: list[str], capsys: Capture) -> None:
    """The same record as through the daemon; who did it stands beside the way it came."""
    words = ["session", "decide", "s-b", "bill", "--basis", "charger", "--reason", "the box counted", "--actor", "kim"]
    assert main([*words, "--json", *house]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["session"], body["energy_wh"], body["actor"]) == ("s-bare", 4_000, "kim via command line")
    [(schema, state)] = rows(house, "SELECT schema, state FROM outbox WHERE lane = 'billing' ORDER BY seq DESC LIMIT 1")
    assert (schema, state) == ("session.decision.v1", "waiting")
    assert rows(house, "SELECT bill, end_wh FROM decision") == [(1, 9_000)]


def test_what_cannot_be_is_bad_input_in_one_sentence(house: list[str], capsys: Capture) -> None:
    assert main(["session", "decide", "nobody", "waive", "--reason", "x", *house]) == 2
    assert "there is no session nobody" in sentence(capsys)
    assert main(["period", "close", "2026-Q1", "--reason", "x", *house]) == 2
    assert "bills by the month" in sentence(capsys)
    assert main(["purge", "--before", "2025-01-01", *house]) == 2
    assert "for 4 years" in sentence(capsys)


def test_periods_are_listed_and_a_copy_is_confirmed(house: list[str], capsys: Capture) -> None:
    assert main(["period", "list", *house]) == 0
    assert "no period was ever closed" in capsys.readouterr().out
    assert main(["epoch", "confirm", "--reason", "compared", "--actor", "kim", *house]) == 0
    assert "kim via command line: compared" in capsys.readouterr().out
    [(body,)] = rows(house, "SELECT body FROM outbox WHERE lane = 'event'")
    assert json.loads(body)["kind"] == "restored_checked"


def test_a_socket_that_a_dead_daemon_left_stops_nothing(house: list[str], tmp_path: Path, capsys: Capture) -> None:
    """After a SIGKILL its file is still there; nobody answers at it."""
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "run" / "control.sock"))
    assert main(["period", "list", *house]) == 0
    assert "no period was ever closed" in capsys.readouterr().out


def test_a_daemon_that_holds_the_state_is_asked(house: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket is elsewhere: the sentence says where it was looked for, and nothing is changed."""
    with hold(Path(house[1])):
        assert main(["session", "decide", "s-bare", "waive", "--reason", "x", *house]) == 1
    assert rows(house, "SELECT count(*) FROM decision") == [(0,)]


def test_the_site_file_of_another_house_is_refused(house: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "site.toml").write_text(SITE.replace("gw-1", "gw-2"))
    assert main(["period", "list", *house]) == 2
    assert "belongs to site 'gw-1', the site file is of 'gw-2'" in sentence(capsys)
    (tmp_path / "site.toml").unlink()
    assert main(["period", "list", *house]) == 2
    assert "the site file is needed (--config)" in sentence(capsys)


def test_a_simulated_site_has_no_time_of_its_own(house: list[str], capsys: Capture) -> None:
    db = connect(Path(house[1]) / "billing.db")
    meta.put(db, "kind", "simulation")
    db.close()
    assert main(["period", "list", *house]) == 2
    assert "start it" in sentence(capsys)


def test_without_a_state_the_daemon_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no gateway answers"):
        alone.act(tmp_path / "nothing", tmp_path / "run", None, "period", act="list")
