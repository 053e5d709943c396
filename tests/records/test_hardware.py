"""Keys in hardware: clear sentences where extra, PIN or token is missing; right signatures where they are there."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from gateway.records.hardware import open_signer
from gateway.records.signing import FileSigner, KeyFileError, list_keys

KEY = ec.derive_private_key(31337, ec.SECP256R1())


class PrivateKey:
    label = "zev-gateway"

    def sign(self, digest: bytes, mechanism: object) -> bytes:
        r, s = decode_dss_signature(KEY.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32) + s.to_bytes(32)


class ShortKey(PrivateKey):
    def sign(self, digest: bytes, mechanism: object) -> bytes:
        return b"short"


class PublicKey:
    label = "zev-gateway"

    def verify(self) -> None: ...

    def __getitem__(self, name: object) -> bytes:
        point = KEY.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return b"\x04\x41" + point


class Token:
    """A PKCS#11 library with one token and one session."""

    def __init__(self, *objects: object) -> None:
        self.objects, self.pin = objects, ""

    def get_token(self, token_label: str) -> Token:
        if token_label != "zev-gateway":
            raise LookupError("no such token")
        return self

    def open(self, user_pin: str) -> Token:
        self.pin = user_pin
        return self

    def get_objects(self) -> tuple[object, ...]:
        return self.objects


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pkcs11-pin").write_text("1234\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))


def opened(kind: str, folder: Path, load: Any = None) -> Any:
    return open_signer(kind, folder, simulation=False, now_ms=0, load=load)


def test_the_default_is_the_file(tmp_path: Path) -> None:
    assert isinstance(opened("file", tmp_path), FileSigner)


@pytest.mark.parametrize("kind", ["tpm", "secure-element"])
def test_what_is_not_installed_says_so(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyFileError, match=r"is not installed: pip install 'zev-gateway\[pkcs11\]'"):
        opened(kind, tmp_path)


def test_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="known are file, tpm, secure-element"):
        opened("paper", tmp_path)


def test_without_a_pin(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="credential pkcs11-pin"):
        opened("tpm", tmp_path, lambda _: Token())


def test_a_token_signs_in_strict_der_and_its_key_is_listed(tmp_path: Path, pin: None) -> None:
    token = Token(PublicKey(), PrivateKey())
    signer = opened("tpm", tmp_path / "keys", lambda _: token)
    assert token.pin == "1234"
    signature = signer.sign(b"text")
    KEY.public_key().verify(signature, b"text", ec.ECDSA(hashes.SHA256()))
    assert encode_dss_signature(*decode_dss_signature(signature)) == signature
    assert [entry["key_id"] for entry in list_keys(tmp_path / "keys")] == [signer.key_id]
    assert signer.key_id == hashlib.sha256(signer.public_spki()).hexdigest()[:16]


def test_a_token_that_does_not_sign_is_one_sentence(tmp_path: Path, pin: None) -> None:
    with pytest.raises(KeyFileError, match="instead of a P-256 signature"):
        opened("tpm", tmp_path, lambda _: Token(PublicKey(), ShortKey())).sign(b"x")


def test_a_token_without_the_key_and_a_library_that_fails(tmp_path: Path, pin: None) -> None:
    with pytest.raises(KeyFileError, match="holds no P-256 key pair"):
        opened("tpm", tmp_path, lambda _: Token(PublicKey()))

    def broken(_: str) -> Token:
        raise OSError("libtpm2_pkcs11.so.1: cannot open")

    with pytest.raises(KeyFileError, match="a TPM cannot be used"):
        opened("tpm", tmp_path, broken)


def test_a_token_s_key_is_not_replaced_by_a_command(tmp_path: Path, pin: None) -> None:
    signer = opened("tpm", tmp_path / "keys", lambda _: Token(PublicKey(), PrivateKey()))
    with pytest.raises(KeyFileError, match="lies in a TPM: make a new pair named zev-gateway"):
        signer.rotate(1_000)


def test_a_retired_token_is_passed_over_and_a_file_signs(tmp_path: Path, pin: None) -> None:
    """A card that was restored: the token's key may have signed the same pages on a newer copy."""
    keys, token = tmp_path / "keys", Token(PublicKey(), PrivateKey())
    signer = opened("secure-element", keys, lambda _: token)
    own = signer.key_id
    assert signer.retire(1_000) == own
    fresh = signer.key_id
    assert fresh != own
    public = serialization.load_der_public_key(signer.public_spki())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signer.sign(b"text"), b"text", ec.ECDSA(hashes.SHA256()))
    listed = {entry["key_id"]: entry["retired"] for entry in list_keys(keys)}
    assert listed == {own: True, fresh: False}
    again = opened("secure-element", keys, lambda _: token)
    assert again.key_id == fresh, "also after a restart"
    assert signer.rotate(2_000) == fresh
    newest = signer.key_id
    assert signer.retire(3_000) == newest
    assert [entry["key_id"] for entry in list_keys(keys) if not entry["valid_to"]] == [signer.key_id]
