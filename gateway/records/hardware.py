"""A signing key that cannot be copied: in a TPM or a secure element, over PKCS#11. An extra; the file is the default.

Both speak PKCS#11: a TPM 2.0 through tpm2-pkcs11, an ATECC608 through the maker's cryptoauthlib. The token is labelled
`zev-gateway` and holds one P-256 key pair of the same label, made with the maker's tool. Its PIN is the systemd
credential `pkcs11-pin`. `[site] signer` chooses it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.records.ecdsa_curves import SECP256R1
from gateway.records.public_keys import PublicKey, read_bytes
from gateway.records.signatures import read_raw
from gateway.records.signing import (
    FileSigner,
    KeyFileError,
    RotatingSigner,
    credential_path,
    is_retired,
    key_id_of,
    list_public,
    retire_key,
)

LABEL = "zev-gateway"
PIN = "pkcs11-pin"

MODULES = {
    "tpm": ("ZEV_PKCS11_MODULE", "/usr/lib/aarch64-linux-gnu/libtpm2_pkcs11.so.1", "a TPM"),
    "secure-element": ("ZEV_PKCS11_MODULE", "/usr/lib/libcryptoauth.so", "a secure element"),
}
"""Kind -> the variable that names its PKCS#11 library, where the library usually lies, and the kind in words."""

Load = Callable[[str], Any]


class TokenSigner:
    """The key of a token. Its signatures are not deterministic: the token draws its own numbers.

    A retired key stays in its token and is passed over: a file signs, until another key pair is in the token.
    """

    def __init__(
        self, public: PublicKey, sign_digest: Callable[[bytes], bytes], directory: Path, words: str, *, simulation: bool
    ) -> None:  # fmt: skip
        self._public, self._sign_digest = public, sign_digest
        self._directory, self._words, self._simulation = directory, words, simulation
        self._file: FileSigner | None = None

    @property
    def key_id(self) -> str:
        return self._file.key_id if self._file is not None else key_id_of(self._public.spki)

    def rotate(self, now_ms: int) -> str:
        """A token's key is made with its maker's tool. KeyFileError, but where a file signs in its place."""
        if self._file is not None:
            return self._file.rotate(now_ms)
        raise KeyFileError(
            f"the signing key lies in {self._words}: make a new pair named {LABEL} there with the maker's tool and "
            "restart; the old public key stays listed"
        )

    def retire(self, now_ms: int) -> str:
        """Never sign with this key again; a new one in a file signs at once. The id of the old one. KeyFileError."""
        if self._file is not None:
            return self._file.retire(now_ms)
        before = self.key_id
        fresh = FileSigner.fresh(self._directory, simulation=self._simulation, now_ms=now_ms)
        retire_key(self._directory, before)
        self._file = fresh
        return before

    def sign(self, data: bytes) -> bytes:
        if self._file is not None:
            return self._file.sign(data)
        raw = self._sign_digest(hashlib.sha256(data).digest())
        numbers = read_raw(raw) if len(raw) == 64 else None
        if numbers is None:
            raise KeyFileError(f"the token gave {len(raw)} bytes instead of a P-256 signature: look at the token")
        return encode_dss_signature(*numbers)

    def public_spki(self) -> bytes:
        return self._file.public_spki() if self._file is not None else self._public.spki


def open_signer(
    kind: str, directory: Path, *, simulation: bool, now_ms: int | None, load: Load | None = None
) -> RotatingSigner:
    """The signer of a kind: `file` (also the systemd credential), `tpm`, `secure-element`. KeyFileError.

    `load` opens a PKCS#11 library by its path; left out, the extra `pkcs11` does.
    """
    if kind == "file":
        return FileSigner.open(directory, simulation=simulation, now_ms=now_ms)
    if kind not in MODULES:
        raise KeyFileError(f"there is no signer {kind!r}: known are file, {', '.join(MODULES)}")
    variable, usual, words = MODULES[kind]
    library = os.environ.get(variable, usual)
    public, sign_digest = _open_token(load or _loader(words), library, words)
    if is_retired(directory, key_id_of(public.spki)):
        return FileSigner.open(directory, simulation=simulation, now_ms=now_ms)
    signer = TokenSigner(public, sign_digest, directory, words, simulation=simulation)
    list_public(directory, signer.public_spki(), simulation=simulation, now_ms=now_ms)
    return signer


def _loader(words: str) -> Load:
    try:
        import pkcs11
    except ImportError as error:
        raise KeyFileError(
            f"signing with {words} is not installed: pip install 'zev-gateway[pkcs11]', or leave the signer at file"
        ) from error
    return lambda library: pkcs11.lib(library)


def _open_token(load: Load, library: str, words: str) -> tuple[PublicKey, Callable[[bytes], bytes]]:
    """The public key of the token, and what signs a digest with the private one. KeyFileError."""
    pin = credential_path(PIN)
    if pin is None:
        raise KeyFileError(f"signing with {words} needs the PIN of its token: give it as the systemd credential {PIN}")
    try:
        session = load(library).get_token(token_label=LABEL).open(user_pin=pin.read_text().strip())
        keys = list(session.get_objects())
    except Exception as error:  # each PKCS#11 library has errors of its own; all mean the same here
        raise KeyFileError(
            f"{words} cannot be used ({type(error).__name__}: {error}): is {library} installed, and the token "
            f"{LABEL} set up?"
        ) from error
    private = next((one for one in keys if _is(one, "sign") and one.label == LABEL), None)
    public = next((one for one in keys if _is(one, "verify") and one.label == LABEL), None)
    key = read_bytes(_point(public), SECP256R1) if public is not None else None
    if private is None or key is None:
        raise KeyFileError(f"the token {LABEL} holds no P-256 key pair of that name: make it with the maker's tool")
    return key, lambda digest: bytes(private.sign(digest, mechanism=_ecdsa()))


def _is(key: Any, ability: str) -> bool:
    return callable(getattr(key, ability, None))


def _point(public: Any) -> bytes:
    """CKA_EC_POINT: the point as an octet string (PKCS#11 2.40, 2.3.3); some libraries leave its head away."""
    data = bytes(public[_ec_point()])
    return data[2:] if len(data) == 67 and data[:2] == b"\x04\x41" else data


def _ec_point() -> Any:
    try:
        from pkcs11 import Attribute
    except ImportError:
        return "EC_POINT"
    return Attribute.EC_POINT


def _ecdsa() -> Any:
    try:
        from pkcs11 import Mechanism
    except ImportError:
        return "ECDSA"
    return Mechanism.ECDSA
