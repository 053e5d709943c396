"""Our signing key: one interface, and the default behind it, a PEM file that only its owner can read.

ECDSA on P-256 with SHA-256, deterministic (RFC 6979): the same record always gets the same signature. An old public key
is never deleted: records that it signed stay verifiable for years.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.clock import iso

ALGORITHM = "ECDSA-secp256r1-SHA256"
PRIVATE = "gateway.pem"
LIST = "keys.json"


class KeyFileError(Exception):
    """The key cannot be used; the text is one sentence with its remedy."""


class Signer(Protocol):
    """Signs bytes with the key in force."""

    @property
    def key_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """A strict DER signature over the SHA-256 of `data`."""
        ...

    def public_spki(self) -> bytes:
        """The public key, DER SubjectPublicKeyInfo."""
        ...


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key that ever signed here. `valid_from` is UTC with a Z, empty where the clock was not known."""

    key_id: str
    algorithm: str
    spki_hex: str
    valid_from: str
    simulation: bool


class FileSigner:
    """The key in `STATE/keys/gateway.pem`, made at the first start."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._spki = _spki(key)
        self._key_id = key_id_of(self._spki)

    @classmethod
    def open(cls, directory: Path, *, simulation: bool, now_ms: int | None = None) -> FileSigner:
        """Load the key, or make one. KeyFileError where others can read it, or it is of the other kind of site."""
        path = directory / PRIVATE
        try:
            if not path.exists():
                return cls(_generate(directory, simulation=simulation, now_ms=now_ms))
            _refuse_loose(path)
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise KeyFileError(f"the signing key {path} cannot be used ({error.strerror}): check its owner") from error
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{path} is no signing key: restore it from its backup, or move it away") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyFileError(f"{path} is no P-256 key: restore the gateway's own key from its backup")
        signer = cls(key)
        _refuse_other_kind(directory, signer.key_id, simulation=simulation)
        return signer

    @property
    def key_id(self) -> str:
        return self._key_id

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def public_spki(self) -> bytes:
        return self._spki


def list_keys(directory: Path) -> list[dict[str, Any]]:
    """Every key that ever signed here, oldest first; what `zev-gateway keys` prints. KeyFileError if it is damaged."""
    return [asdict(entry) for entry in _entries(directory)]


def key_id_of(spki: bytes) -> str:
    """The short name of a public key."""
    return hashlib.sha256(spki).hexdigest()[:16]


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip


def _generate(directory: Path, *, simulation: bool, now_ms: int | None) -> ec.EllipticCurvePrivateKey:
    """Make the key. The list of public keys is written first: a key that nobody can look up never signs."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    spki = _spki(key)
    entry = KeyEntry(
        key_id_of(spki), ALGORITHM, spki.hex(), iso(now_ms) if now_ms is not None else "", simulation=simulation
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    _write(directory / f"{entry.key_id}.pub.pem", public, 0o644)
    listed = {"v": 1, "keys": [asdict(known) for known in (*_entries(directory), entry)]}
    _write(directory / LIST, json.dumps(listed, indent=1).encode(), 0o644)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(directory / PRIVATE, private, 0o600)
    return key


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, also across a power cut: a new file, synced, renamed, the folder synced."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _refuse_loose(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(f"the signing key {path} can be read by others (mode {mode:04o}): chmod 600 {path}")


def _refuse_other_kind(directory: Path, key_id: str, *, simulation: bool) -> None:
    entry = next((entry for entry in _entries(directory) if entry.key_id == key_id), None)
    if entry is None:
        raise KeyFileError(f"{directory / LIST} does not list the signing key {key_id}: restore it from its backup")
    if entry.simulation != simulation:
        found, site = ("simulation", "real") if entry.simulation else ("real", "simulated")
        raise KeyFileError(f"{directory} holds the key of a {found} site, this site is {site}: use another --state")


def _entries(directory: Path) -> list[KeyEntry]:
    path = directory / LIST
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return [KeyEntry(**entry) for entry in document["keys"]]
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror}): check its owner") from error
    except (ValueError, TypeError, KeyError) as error:
        raise KeyFileError(f"{path} is damaged: restore it from its backup") from error
