"""The key file: made once, refused when others can read it or it is of the other kind of site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.records import signing
from gateway.records.signing import FileSigner, KeyFileError, key_id_of, list_keys


def test_the_first_start_makes_a_key_and_the_next_takes_it(tmp_path: Path) -> None:
    first = FileSigner.open(tmp_path / "keys", simulation=False, now_ms=0)
    again = FileSigner.open(tmp_path / "keys", simulation=False, now_ms=9)
    assert first.key_id == again.key_id == key_id_of(first.public_spki())
    assert (tmp_path / "keys" / "gateway.pem").stat().st_mode & 0o777 == 0o600
    [entry] = list_keys(tmp_path / "keys")
    assert entry == {
        "key_id": first.key_id, "algorithm": "ECDSA-secp256r1-SHA256", "spki_hex": first.public_spki().hex(),
        "valid_from": "1970-01-01T00:00:00.000Z", "simulation": False, "valid_to": "", "retired": False,
    }  # fmt: skip


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    FileSigner.open(tmp_path, simulation=False)
    (tmp_path / "gateway.pem").chmod(mode)
    with pytest.raises(KeyFileError, match=r"can be read by others .*chmod 600"):
        FileSigner.open(tmp_path, simulation=False)


@pytest.mark.parametrize("simulation", [True, False])
def test_a_simulation_never_signs_with_a_real_key_nor_the_other_way(tmp_path: Path, simulation: bool) -> None:
    FileSigner.open(tmp_path, simulation=simulation)
    with pytest.raises(KeyFileError, match="use another"):
        FileSigner.open(tmp_path, simulation=not simulation)


def test_an_old_public_key_stays_when_a_new_one_is_made(tmp_path: Path) -> None:
    """The private key is moved away, as a rotation does: records of the old one stay verifiable."""
    old = FileSigner.open(tmp_path, simulation=False)
    (tmp_path / "gateway.pem").unlink()
    new = FileSigner.open(tmp_path, simulation=False)
    assert [entry["key_id"] for entry in list_keys(tmp_path)] == [old.key_id, new.key_id]
    assert len(list(tmp_path.glob("*.pub.pem"))) == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"])
def test_a_damaged_key_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gateway.pem").write_bytes(content)
    (tmp_path / "gateway.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match="no signing key"):
        FileSigner.open(tmp_path, simulation=False)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "gateway.pem").write_bytes(pem)
    (tmp_path / "gateway.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match="no P-256 key"):
        FileSigner.open(tmp_path, simulation=False)


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"keys": [{"x": 1}]})])
def test_a_damaged_list_of_keys_is_one_sentence(tmp_path: Path, content: str) -> None:
    FileSigner.open(tmp_path, simulation=False)
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(KeyFileError, match="damaged"):
        list_keys(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(KeyFileError, match="cannot be used"):
        FileSigner.open(tmp_path / "keys", simulation=False)


# Rotation, credentials


def test_a_rotation_keeps_the_old_public_key_and_says_until_when(tmp_path: Path) -> None:
    signer = FileSigner.open(tmp_path, simulation=False, now_ms=0)
    old, text = signer.key_id, b"signed before"
    before = signer.sign(text)
    assert signer.rotate(60_000) == old
    assert signer.key_id != old
    first, second = list_keys(tmp_path)
    assert (first["key_id"], first["valid_to"]) == (old, "1970-01-01T00:01:00.000Z")
    assert (second["key_id"], second["valid_from"], second["valid_to"]) == (
        signer.key_id, "1970-01-01T00:01:00.000Z", "",
    )  # fmt: skip
    key = serialization.load_der_public_key(bytes.fromhex(first["spki_hex"]))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(before, text, ec.ECDSA(hashes.SHA256()))
    assert FileSigner.open(tmp_path, simulation=False).key_id == signer.key_id
    assert (tmp_path / "gateway.pem").stat().st_mode & 0o777 == 0o600


def test_a_power_cut_inside_a_rotation_leaves_the_old_key_signing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list already names the new key, whose private part was never written: the next start puts the list right."""
    signer = FileSigner.open(tmp_path, simulation=False, now_ms=0)
    old = signer.key_id
    write = signing._write

    def cut(path: Path, data: bytes, mode: int) -> None:
        if path.name == "gateway.pem":
            raise OSError(5, "the power failed")
        write(path, data, mode)

    monkeypatch.setattr(signing, "_write", cut)
    with pytest.raises(KeyFileError, match="cannot be written"):
        signer.rotate(60_000)
    assert signer.key_id == old
    monkeypatch.undo()
    assert FileSigner.open(tmp_path, simulation=False, now_ms=120_000).key_id == old
    assert [(entry["key_id"] == old, entry["valid_to"] == "") for entry in list_keys(tmp_path)] == [
        (True, True), (False, False),
    ]  # fmt: skip


@pytest.fixture
def credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key as systemd hands it over."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    FileSigner.open(tmp_path / "made", simulation=False)
    path = folder / "signing-key"
    path.write_bytes((tmp_path / "made" / "gateway.pem").read_bytes())
    path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return path


def exchange(credential: Path) -> None:
    """Another key in its place."""
    key = ec.generate_private_key(ec.SECP256R1())
    credential.chmod(0o600)
    credential.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_a_systemd_credential_takes_the_place_of_the_file(tmp_path: Path, credential: Path) -> None:
    """Its public key is listed like any other; no private key is written to the state directory."""
    signer = FileSigner.open(tmp_path / "keys", simulation=False, now_ms=0)
    assert [entry["key_id"] for entry in list_keys(tmp_path / "keys")] == [signer.key_id]
    assert not (tmp_path / "keys" / "gateway.pem").exists()
    with pytest.raises(KeyFileError, match="systemd-creds"):
        signer.rotate(1)


def test_an_exchanged_credential_keeps_the_old_public_key(tmp_path: Path, credential: Path) -> None:
    old = FileSigner.open(tmp_path / "keys", simulation=False, now_ms=0).key_id
    exchange(credential)
    new = FileSigner.open(tmp_path / "keys", simulation=False, now_ms=60_000).key_id
    assert [(entry["key_id"], bool(entry["valid_to"])) for entry in list_keys(tmp_path / "keys")] == [
        (old, True), (new, False),
    ]  # fmt: skip


# A key that never signs again


def test_a_retired_key_is_replaced_and_stays_listed(tmp_path: Path) -> None:
    signer = FileSigner.open(tmp_path, simulation=False, now_ms=0)
    old = signer.key_id
    assert signer.retire(60_000) == old
    assert [(entry["key_id"] == old, entry["retired"]) for entry in list_keys(tmp_path)] == [
        (True, True),
        (False, False),
    ]
    assert FileSigner.open(tmp_path, simulation=False).key_id == signer.key_id != old


def test_a_retired_credential_is_passed_over_until_another_one_is_there(tmp_path: Path, credential: Path) -> None:
    """Nobody may be there to exchange it: the gateway goes on with a key of its own, also after a restart."""
    keys = tmp_path / "keys"
    signer = FileSigner.open(keys, simulation=False, now_ms=0)
    old = signer.key_id
    signer.retire(60_000)
    own = signer.key_id
    assert FileSigner.open(keys, simulation=False, now_ms=61_000).key_id == own != old
    assert (keys / "gateway.pem").stat().st_mode & 0o777 == 0o600
    assert signer.rotate(62_000) == own
    exchange(credential)
    new = FileSigner.open(keys, simulation=False, now_ms=63_000).key_id
    assert new not in (old, own, signer.key_id)
    assert [entry["key_id"] for entry in list_keys(keys) if not entry["valid_to"]] == [new]


def test_a_key_that_cannot_be_replaced_is_not_retired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = FileSigner.open(tmp_path, simulation=False, now_ms=0)
    old = signer.key_id

    def full(path: Path, data: bytes, mode: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(signing, "_write", full)
    with pytest.raises(KeyFileError, match="no space"):
        signer.retire(60_000)
    assert signer.key_id == old
    monkeypatch.undo()
    assert [entry["retired"] for entry in list_keys(tmp_path)] == [False]


def test_a_credential_that_others_can_read_is_refused(tmp_path: Path, credential: Path) -> None:
    credential.chmod(0o444)
    with pytest.raises(KeyFileError, match="can be read by others"):
        FileSigner.open(tmp_path / "keys", simulation=False)
