"""`verify`: one changed byte of the store names its record; files of every kind are judged; exit codes 0, 1, 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.cli import main
from gateway.command.session_list import open_state
from gateway.command.verification import Verification, verify_store
from gateway.store.second_copy import SecondCopy, rows_after
from gateway.store.sqlite import connect

Capture = pytest.CaptureFixture[str]


def look(state: Path, **more: Any) -> Verification:
    db = open_state(state)
    try:
        return verify_store(db, state, **more)
    finally:
        db.close()


def change(state: Path, sql: str, *parameters: Any) -> None:
    db = connect(state / "billing.db")
    db.execute(sql, parameters)
    db.close()


def test_what_was_written_is_in_order_and_the_progress_is_told(state: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = look(state, progress=lambda done, total: steps.append((done, total)))
    assert (found.records, found.problems) == (5, [])
    assert steps == [(5, 5)]


@pytest.mark.parametrize("record", [1, 2, 3, 4, 5])
def test_any_changed_character_of_a_text_names_its_record(state: Path, record: int) -> None:
    """Each character in turn has its lowest bit flipped; whatever it hits, the record is named and no other."""
    db = open_state(state)
    ((text,),) = db.execute("SELECT text FROM record WHERE id = ?", (record,)).fetchall()
    db.close()
    for place in range(0, len(text), 23):
        flipped = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        change(state, "UPDATE record SET text = ? WHERE id = ?", flipped, record)
        assert {name for name, _ in look(state).problems} == {f"record {record}"}
    change(state, "UPDATE record SET text = ? WHERE id = ?", text, record)
    assert look(state).problems == []


@pytest.mark.parametrize(
    "column", ["session", "kind", "signed_by", "key_id", "charge_point", "pagination", "reading", "prev", "sha256"]
)
def test_a_changed_column_names_the_record(state: Path, column: str) -> None:
    """One bit of what stands beside a text of ours."""
    db = open_state(state)
    ((value,),) = db.execute(f"SELECT {column} FROM record WHERE id = 4").fetchall()
    db.close()
    if column == "reading":
        changed: Any = value.replace('"import_wh":2935602', '"import_wh":2935603')
        assert changed != value
    else:
        changed = value ^ 4 if isinstance(value, int) else value[:-1] + chr(ord(value[-1]) ^ 1)
    change(state, f"UPDATE record SET {column} = ? WHERE id = 4", changed)
    assert "record 4" in {name for name, _ in look(state).problems}


@pytest.mark.parametrize(
    ("damage", "record"),
    [
        ("UPDATE charger_text SET spki_hex = replace(spki_hex, '3059', '3058')", "record 3"),
        ("UPDATE charger_text SET verdict = 'invalid'", "record 3"),
        ("UPDATE charger_text SET text_sha256 = replace(text_sha256, substr(text_sha256, 1, 1), 'x')", "record 3"),
        ("DELETE FROM record WHERE id = 2", "record 3"),
        ("DELETE FROM record WHERE id = 5", "the end of the records"),
        ("UPDATE pagination SET next = next + 1", "the end of the records"),
        ("UPDATE record SET id = 6 WHERE id = 5", "the end of the records"),
        ("UPDATE outbox SET body = replace(body, '1', '2') WHERE seq = 2", "billing 2"),
        ("UPDATE outbox SET ts_q = 'rtc' WHERE seq = 3", "billing 3"),
        ("DELETE FROM outbox WHERE seq = 2", "billing 3"),
        ("UPDATE outbox SET prev = replace(prev, '0', '1') WHERE seq = 1", "billing 1"),
        ("UPDATE signing_key SET spki_hex = replace(spki_hex, '3059', '3058')", "key "),
    ],
)
def test_what_stands_beside_the_records(state: Path, damage: str, record: str) -> None:
    change(state, damage)
    assert any(name.startswith(record) for name, _ in look(state).problems)


def test_one_flipped_bit_of_the_file_is_found(state: Path, tmp_path: Path) -> None:
    """In the bytes of the database itself, where the texts lie."""
    path = state / "billing.db"
    data = path.read_bytes()
    place = data.rindex(b"OCMF|") + 40
    path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
    assert look(state).problems


def test_a_lost_list_of_keys_is_made_good_by_the_database(state: Path) -> None:
    (state / "keys" / "keys.json").unlink()
    assert look(state).problems == []


def test_a_database_of_an_older_gateway_can_be_verified(state: Path) -> None:
    """Before its tables for chargers' texts."""
    for table in ("charger_text", "charger_stream", "charger_key", "signing_key"):
        change(state, f"DROP TABLE {table}")
    assert look(state).problems == []


def test_the_second_copy_is_compared_where_there_is_one(state: Path) -> None:
    """Whole: nothing to say. A record that was changed in the database together with its chain: the copy disagrees."""
    db = open_state(state)
    payloads = [payload for _, payload in rows_after(db, 0)]
    db.close()
    copy = SecondCopy(state)
    copy.open({})
    copy.append(payloads)
    found = look(state)
    assert (found.problems, found.notes) == ([], [])
    change(state, "UPDATE record SET session = 's9' WHERE id = 3")
    assert ("record 3", "is another one in the second copy") in look(state).problems


def test_what_a_daemon_writes_meanwhile_is_no_fault(state: Path) -> None:
    """A page is drawn, and a record stands in the copy, that this look does not see yet."""
    change(state, "PRAGMA journal_mode=WAL")
    copy = SecondCopy(state)
    copy.open({})

    def write(done: int, total: int) -> None:
        change(state, "UPDATE pagination SET next = next + 1")
        change(state, "INSERT INTO record SELECT 6, session, kind, signed_by, key_id, charge_point, 5, text, reading, "
                      "prev, sha256 FROM record WHERE id = 5")  # fmt: skip
        db = open_state(state)
        copy.append([payload for _, payload in rows_after(db, 0)])
        db.close()

    found = look(state, progress=write)
    assert (found.records, found.problems) == (5, [])
    assert look(state).problems


# Files


def xml(*texts: str, key: str = "") -> str:
    escaped = [text.replace("&", "&amp;").replace("<", "&lt;") for text in texts]
    values = "".join(
        f'<value transactionId="1" context="Transaction.End"><signedData format="OCMF">\n {text}\n</signedData>'
        f"<publicKey>{key}</publicKey></value>"
        for text in escaped
    )
    return f"\ufeff<?xml version='1.0' encoding='UTF-8'?><values>{values}</values>"


@pytest.fixture
def texts(state: Path) -> list[str]:
    db = open_state(state)
    rows = db.execute("SELECT text FROM record ORDER BY id").fetchall()
    db.close()
    return [row[0] for row in rows]


@pytest.fixture
def verify(tmp_path: Path, capsys: Capture) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Write a file and judge it: exit code and JSON."""

    def run(content: str, *words: str) -> tuple[int, dict[str, Any]]:
        path = tmp_path / "file"
        path.write_text(content, encoding="utf-8")
        capsys.readouterr()
        code = main(["verify", str(path), "--json", *words])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_texts_of_a_state_are_valid_by_its_own_and_its_pinned_keys(
    state: Path, texts: list[str], verify: Callable[..., Any]
) -> None:
    for content in ("\n".join(texts), xml(*texts), json.dumps({"a": [{"b": text} for text in texts]})):
        code, document = verify(content, "--state", str(state))
        assert (code, document["records"], document["problems"], document["notes"]) == (0, 5, [], [])
        assert {value["verdict"] for value in document["values"]} == {"valid"}


def test_a_key_that_stands_in_the_file_is_said_to_be_no_more(
    state: Path, tmp_path: Path, texts: list[str], verify: Callable[..., Any]
) -> None:
    """On a machine that knows nothing of the charger."""
    db = open_state(state)
    ((key,),) = db.execute("SELECT spki_hex FROM charger_key").fetchall()
    db.close()
    nowhere = ["--state", str(tmp_path / "nowhere")]
    code, document = verify(xml(texts[2], key=key), *nowhere)
    assert code == 0
    assert "stands in the file" in document["notes"][0]["what"]
    code, document = verify(xml(texts[2]), *nowhere)
    assert (code, document["values"][0]["verdict"]) == (1, "key_unknown")
    code, document = verify(xml(texts[2].replace("EMH1", "EMH2"), key=key), *nowhere)
    assert (code, document["values"][0]["verdict"]) == (1, "invalid")


def test_with_a_given_key_no_other_counts(tmp_path: Path, texts: list[str], verify: Callable[..., Any]) -> None:
    """Bare hex is enough as a key file; a key in the file does not help."""
    public = ec.derive_private_key(5, ec.SECP256R1()).public_key()
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    other = tmp_path / "other.txt"
    other.write_text(point[1:].hex())
    code, document = verify(xml(texts[2], key="x"), "--key", str(other))
    assert (code, document["values"][0]["verdict"]) == (1, "invalid")


def test_public_files_get_their_verdicts_and_exit_codes(capsys: Capture, tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "vectors" / "ocmf"
    if not folder.exists():
        pytest.skip(f"no public vectors at {folder}")
    nowhere = ["--state", str(tmp_path / "nowhere")]
    for name, code in (
        ("OCMF_Test_Data_00.xml", 0), ("second_key_fail_ocmf.xml", 1), ("ACU_korrekt.metra.xml", 0),
        ("ACU_falsch.metra.xml", 1), ("edl-40-01.xml", 0), ("isa-edl-40p-ok.xml", 0), ("valid.pcdf", 1),
    ):  # fmt: skip
        assert main(["verify", str(folder / name), *nowhere]) == code, name


def ocmf(page: int, kind: str, kwh: str, meter: str = "M") -> str:
    reading = f'{{"TM":"x I","TX":"{kind}","RV":{kwh},"RI":"1-0:1.8.0","RU":"kWh","ST":"G"}}'
    signed = f'{{"FV":"1.0","GS":"C","MS":"{meter}","PG":"T{page}","RD":[{reading}]}}'
    return f'OCMF|{signed}|{{"SD":"{FILE_KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())).hex()}"}}'


FILE_KEY = ec.derive_private_key(606, ec.SECP256R1())


@pytest.mark.parametrize(
    ("texts", "code", "words"),
    [
        ([ocmf(1, "B", "1.0"), ocmf(2, "E", "2.0")], 0, ""),
        ([ocmf(1, "B", "1.0"), ocmf(9, "E", "2.0")], 0, "pages 2 to 8 are missing before T9"),
        ([ocmf(1, "B", "1.0"), ocmf(1, "E", "2.0", "OTHER")], 1, "the meter's serial changed inside the session"),
        ([ocmf(1, "B", "2.0"), ocmf(2, "E", "1.0")], 1, "went back"),
        ([ocmf(1, "B", "1.0")], 0, "no signed end"),
    ],
)
def test_what_the_reference_tool_calls_verified(
    tmp_path: Path, verify: Callable[..., Any], texts: list[str], code: int, words: str
) -> None:
    """Every signature holds; missing pages and another meter at the end are seen all the same."""
    public = FILE_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    found, document = verify(xml(*texts, key=public.hex()), "--state", str(tmp_path / "nowhere"))
    assert {value["verdict"] for value in document["values"]} == {"valid"}
    said = [one["why"] for one in document["problems"]] + [one["what"] for one in document["notes"]]
    assert found == code
    assert any(words in sentence for sentence in said)


@pytest.mark.parametrize("content", ["", "nothing signed", "<values/>", "<broken", "{}", "[[[["])
def test_a_file_without_signed_texts_is_bad_input(tmp_path: Path, capsys: Capture, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert main(["verify", str(path)]) == 2
    assert "holds no signed record" in capsys.readouterr().err


def test_a_store_that_is_cut_short_is_one_sentence(state: Path, tmp_path: Path, capsys: Capture) -> None:
    """A file whose pages are gone: exit code 1, no traceback."""
    copy = tmp_path / "copy"
    shutil.copytree(state, copy)
    data = (copy / "billing.db").read_bytes()
    (copy / "billing.db").write_bytes(data[:4096] + bytes(len(data) - 4096))
    code = main(["verify", "--all", "--state", str(copy)])
    assert code in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
