"""`keys rotate` and `keys pin` on a state directory that no daemon uses, and what they leave behind."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.cli import main
from gateway.command.session_list import open_state
from gateway.command.verification import verify_store
from gateway.store import meta
from gateway.store.sqlite import connect

Capture = pytest.CaptureFixture[str]

OTHER = ec.derive_private_key(815, ec.SECP256R1()).public_key()
POINT = OTHER.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)[1:].hex()
SPKI = OTHER.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()


def run(capsys: Capture, *words: str) -> Any:
    capsys.readouterr()
    code = main([*words, "--json"])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out)


def query(state: Path, sql: str) -> list[tuple[Any, ...]]:
    db = open_state(state)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def test_a_rotation_lists_both_keys_and_old_records_stay_right(state: Path, capsys: Capture) -> None:
    answer = run(capsys, "keys", "rotate", "--state", str(state))
    old, new = run(capsys, "keys", "--state", str(state))["keys"]
    assert (old["key_id"], new["key_id"]) == (answer["before"], answer["key_id"])
    assert old["valid_to"] == new["valid_from"]
    assert main(["verify", "--all", "--state", str(state)]) == 0


def test_a_key_in_hardware_is_not_replaced_by_a_file(state: Path, capsys: Capture) -> None:
    """Without a daemon the database says where this site signs."""
    db = connect(state / "billing.db")
    meta.put(db, "signer", "tpm")
    db.close()
    before = (state / "keys" / "gateway.pem").read_bytes()
    assert main(["keys", "rotate", "--state", str(state)]) == 2
    assert "signs with its tpm" in capsys.readouterr().err
    assert (state / "keys" / "gateway.pem").read_bytes() == before


def test_a_pinned_key_takes_the_place_of_the_old_one_which_stays(state: Path, tmp_path: Path, capsys: Capture) -> None:
    """Entered as 128 hex digits; kept as SPKI with the form it came in, who, why, and a chained event."""
    file = tmp_path / "key.txt"
    file.write_text(POINT + "\n")
    words = ["keys", "pin", str(file), "--charger", "box1", "--serial", "EMH1", "--why", "meter exchanged"]
    answer = run(capsys, *words, "--state", str(state))
    pinned = answer["pinned"]
    assert (pinned["spki_hex"], pinned["received"], pinned["form"]) == (SPKI, POINT, "hex 128 (x y)")
    states = query(state, "SELECT state, why, to_ms IS NULL FROM charger_key ORDER BY id")
    assert states == [("replaced", "", 0), ("pinned", "meter exchanged", 1)]
    ((body,),) = query(state, "SELECT body FROM outbox WHERE lane = 'event'")
    assert json.loads(body)["kind"] == "meter_key_pinned"
    assert json.loads(body)["data"]["why"] == "meter exchanged"
    db = open_state(state)
    assert verify_store(db, state).problems == []
    db.close()
    listed = run(capsys, "keys", "meters", "--state", str(state))
    assert [key["state"] for key in listed["keys"]] == ["replaced", "pinned"]
    assert main(["keys", "meters", "--state", str(state)]) == 0
    assert "EMH1" in capsys.readouterr().out


def test_pinning_the_same_key_again_changes_nothing(state: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "key.txt"
    file.write_text(POINT)
    for _ in range(2):
        run(capsys, "keys", "pin", str(file), "--charger", "box1", "--serial", "EMH1", "--state", str(state))
    assert query(state, "SELECT count(*) FROM charger_key") == [(2,)]


@pytest.mark.parametrize("content", ["", "no key", "04" * 64, "ff" * 9000])
def test_what_is_no_key_is_refused_in_one_sentence(state: Path, tmp_path: Path, capsys: Capture, content: str) -> None:
    file = tmp_path / "key.txt"
    file.write_text(content)
    assert main(["keys", "pin", str(file), "--charger", "box1", "--state", str(state)]) == 2
    assert "no public key" in capsys.readouterr().err
    assert query(state, "SELECT count(*) FROM charger_key") == [(1,)]


def test_while_a_daemon_runs_it_is_asked(state: Path, tmp_path: Path, capsys: Capture) -> None:
    """Its lock is taken and its socket does not answer: nothing is changed behind its back."""
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        words = ["keys", "rotate", "--state", str(state), "--run", str(tmp_path)]
        assert main(words) == 1
    assert "no gateway answers" in capsys.readouterr().err
    assert len(run(capsys, "keys", "--state", str(state))["keys"]) == 1


def test_a_missing_state_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    assert main(["keys", "rotate", "--state", str(tmp_path / "nowhere")]) == 2
    assert "no state directory" in capsys.readouterr().err
