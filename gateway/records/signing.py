"""Our signing key: one interface, and behind it a PEM file that only its owner can read, or a systemd credential.

ECDSA on P-256 with SHA-256, deterministic (RFC 6979): the same record always gets the same signature. An old public key
is never deleted: records that it signed stay verifiable for years. Keys inside hardware: `hardware.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.clock import iso

ALGORITHM = "ECDSA-secp256r1-SHA256"
PRIVATE = "gateway.pem"
LIST = "keys.json"
CREDENTIAL = "signing-key"
"""Name of the systemd credential that takes the place of the file (LoadCredentialEncrypted=signing-key)."""


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


class RotatingSigner(Signer, Protocol):
    """A signer whose key can be replaced while it runs."""

    def rotate(self, now_ms: int) -> str:
        """Sign with a new key from now on; the id of the old one. KeyFileError."""
        ...

    def retire(self, now_ms: int) -> str:
        """The same, and the old one never signs again, wherever it lies. KeyFileError."""
        ...


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key that ever signed here. Times are UTC with a Z, empty where the clock was not known or the key signs.

    A retired key never signs again, also where it is still installed: its pages may have been used by a newer copy of
    this card (contract 5.4, `restored`).
    """

    key_id: str
    algorithm: str
    spki_hex: str
    valid_from: str
    simulation: bool
    valid_to: str = ""
    retired: bool = False


class FileSigner:
    """The key in the credential `signing-key`, else in `STATE/keys/gateway.pem`, made there at the first start.

    A credential whose key is retired is passed over until another one is put in its place.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, directory: Path, *, simulation: bool, fixed: bool) -> None:
        self._directory, self._simulation, self._fixed = directory, simulation, fixed
        self._take(key)

    def _take(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._spki = _spki(key)
        self._key_id = key_id_of(self._spki)

    @classmethod
    def open(cls, directory: Path, *, simulation: bool, now_ms: int | None = None) -> FileSigner:
        """Load the key, or make one. KeyFileError where others can read it, or it is of the other kind of site."""
        credential = credential_path(CREDENTIAL)
        path = credential or directory / PRIVATE
        try:
            if credential is not None and _is_retired(directory, credential):
                credential, path = None, directory / PRIVATE
            if credential is None and not path.exists():
                key = ec.generate_private_key(ec.SECP256R1())
                _install(directory, key, simulation=simulation, now_ms=now_ms)
                return cls(key, directory, simulation=simulation, fixed=False)
            _refuse_loose(path, 0o007 if credential else 0o077)  # the mask of an ACL shows as the group's rights
            key = _load(path)
            if credential is not None:
                _list_key(directory, key, simulation=simulation, now_ms=now_ms)
            else:
                _say_in_force(directory, key, now_ms)
        except OSError as error:
            raise KeyFileError(f"the signing key {path} cannot be used ({error.strerror}): check its owner") from error
        signer = cls(key, directory, simulation=simulation, fixed=credential is not None)
        _refuse_other_kind(directory, signer.key_id, simulation=simulation)
        return signer

    @classmethod
    def fresh(cls, directory: Path, *, simulation: bool, now_ms: int) -> FileSigner:
        """A new key in the file, whatever signed before. KeyFileError."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            _install(directory, key, simulation=simulation, now_ms=now_ms)
        except OSError as error:
            raise KeyFileError(f"the new key cannot be written to {directory} ({error.strerror})") from error
        return cls(key, directory, simulation=simulation, fixed=False)

    def rotate(self, now_ms: int) -> str:
        """Make a new key and sign with it from now on; the id of the old one. KeyFileError.

        The old public key stays listed, with the time until which it signed; the old private key is gone.
        """
        if self._fixed:
            raise KeyFileError(
                f"the signing key is the systemd credential {CREDENTIAL}: put a new one there (systemd-creds encrypt) "
                "and restart; the old public key stays listed"
            )
        return self._replace(now_ms)

    def retire(self, now_ms: int) -> str:
        """Never sign with this key again, make a new one and sign with that; the id of the old one. KeyFileError.

        A retired systemd credential stays where it is and is passed over: the new key is a file.
        """
        before = self._replace(now_ms)  # first: after a power cut in between the old one signs, and is retired again
        retire_key(self._directory, before)
        return before

    def _replace(self, now_ms: int) -> str:
        before, fresh = self._key_id, FileSigner.fresh(self._directory, simulation=self._simulation, now_ms=now_ms)
        self._fixed = False
        self._take(fresh._key)
        return before

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


def retire_key(directory: Path, key_id: str) -> None:
    """Say in the list that this key never signs again. KeyFileError."""
    try:
        _write_list(
            directory, [replace(one, retired=one.retired or one.key_id == key_id) for one in _entries(directory)]
        )  # fmt: skip
    except OSError as error:
        raise KeyFileError(f"the old key cannot be retired in {directory} ({error.strerror})") from error


def is_retired(directory: Path, key_id: str) -> bool:
    """Whether the list says that this key never signs again. KeyFileError where the list is damaged."""
    return any(entry.retired for entry in _entries(directory) if entry.key_id == key_id)


def key_id_of(spki: bytes) -> str:
    """The short name of a public key."""
    return hashlib.sha256(spki).hexdigest()[:16]


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip


def credential_path(name: str) -> Path | None:
    """The file of a systemd credential; None where this service was given none of this name."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / name if folder else None
    return path if path is not None and path.exists() else None


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is no signing key: restore it from its backup, or move it away") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"{path} is no P-256 key: restore the gateway's own key from its backup")
    return key


def _is_retired(directory: Path, credential: Path) -> bool:
    return is_retired(directory, key_id_of(_spki(_load(credential))))


def _install(directory: Path, key: ec.EllipticCurvePrivateKey, *, simulation: bool, now_ms: int | None) -> None:
    """Put a new key into force. The list of public keys is written first: a key that nobody can look up never signs."""
    _list_key(directory, key, simulation=simulation, now_ms=now_ms)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(directory / PRIVATE, private, 0o600)


def _list_key(directory: Path, key: ec.EllipticCurvePrivateKey, *, simulation: bool, now_ms: int | None) -> None:
    list_public(directory, _spki(key), simulation=simulation, now_ms=now_ms)


def list_public(directory: Path, spki: bytes, *, simulation: bool, now_ms: int | None) -> None:
    """Add a public key to the list and say that it signs from now on; nothing where the list says so already."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    known, key_id, at = _entries(directory), key_id_of(spki), iso(now_ms) if now_ms is not None else ""
    if all(entry.key_id != key_id for entry in known):
        public = serialization.load_der_public_key(spki).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(directory / f"{key_id}.pub.pem", public, 0o644)
        known.append(KeyEntry(key_id, ALGORITHM, spki.hex(), at, simulation=simulation))
    _write_list(directory, _in_force(known, key_id, at))


def _say_in_force(directory: Path, key: ec.EllipticCurvePrivateKey, now_ms: int | None) -> None:
    """After a power cut inside a rotation the list may name a key that never came to sign."""
    known, key_id = _entries(directory), key_id_of(_spki(key))
    if any(entry.key_id == key_id for entry in known):
        _write_list(directory, _in_force(known, key_id, iso(now_ms) if now_ms is not None else ""))


def _in_force(known: list[KeyEntry], key_id: str, at: str) -> list[KeyEntry]:
    return [
        replace(entry, valid_to="" if entry.key_id == key_id else entry.valid_to or at or entry.valid_from)
        for entry in known
    ]


def _write_list(directory: Path, entries: list[KeyEntry]) -> None:
    if entries != _entries(directory):
        listed = {"v": 1, "keys": [asdict(entry) for entry in entries]}
        _write(directory / LIST, json.dumps(listed, indent=1).encode(), 0o644)


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


def _refuse_loose(path: Path, others: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & others:
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
