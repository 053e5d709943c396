"""Pure: is a signed text what its key signed, and is a sequence of our own records complete?

An OCMF text is taken apart at its pipes only: the signed bytes are exactly what stands between the first and the
second. What a real charger wrote is judged, never repaired: the JSON is parsed to find the signature, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.records import secp192k1

GENESIS = "0" * 64
"""`prev` of the first record of a chain."""


class Verdict(StrEnum):
    """What became of checking one signed text."""

    VALID = "valid"
    INVALID = "invalid"
    KEY_UNKNOWN = "key_unknown"
    VALID_NOT_STRICT_DER = "valid_not_strict_der"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and its reason; `payload` is the parsed JSON where it could be read."""

    verdict: Verdict
    reason: str = ""
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ocmf:
    """A text taken apart at its pipes. `signed` are the characters that the signature covers."""

    signed: str
    signature: str


def split_ocmf(text: str) -> Ocmf | None:
    """Take an OCMF text apart; None where it is none. White space around the text is not part of it."""
    parts = text.strip().split("|", 2)
    if len(parts) != 3 or parts[0] != "OCMF":
        return None
    return Ocmf(parts[1], parts[2])


_CURVES = {
    "secp192k1": "secp192k1",
    "secp192r1": "secp192r1",
    "secp256k1": "secp256k1",
    "secp256r1": "secp256r1",
    "secp384r1": "secp384r1",
    "brainpool256r1": "brainpoolP256r1",
    "brainpoolp256r1": "brainpoolP256r1",
    "brainpool384r1": "brainpoolP384r1",
    "brainpoolp384r1": "brainpoolP384r1",
}
"""OCMF's names of curves, and the spellings found in the field -> the names of `cryptography`."""


def verify_ocmf(text: str, key_spki: bytes | None) -> Finding:
    """Check one OCMF text with a DER SubjectPublicKeyInfo key; never raises."""
    ocmf = split_ocmf(text)
    if ocmf is None:
        return Finding(Verdict.UNSUPPORTED, "not an OCMF text")
    payload = _json_object(ocmf.signed)
    signature = _json_object(ocmf.signature)
    if payload is None or signature is None:
        return Finding(Verdict.INVALID, "the payload or the signature is no JSON object", payload)
    algorithm = signature.get("SA", "ECDSA-secp256r1-SHA256")
    curve = _curve_of(algorithm)
    if curve is None:
        return Finding(Verdict.UNSUPPORTED, f"algorithm {algorithm}", payload)
    der = _signature_bytes(signature)
    if der is None:
        return Finding(Verdict.INVALID, "the signature is neither hex nor base64", payload)
    if key_spki is None:
        return Finding(Verdict.KEY_UNKNOWN, "no public key is known for it", payload)
    if curve == "secp192k1":
        verdict, reason = _check_192k1(key_spki, der, ocmf.signed.encode())
        return Finding(verdict, reason, payload)
    key = _public_key(key_spki)
    if isinstance(key, Finding):
        return Finding(key.verdict, key.reason, payload)
    if key.curve.name.lower() != curve.lower():
        return Finding(Verdict.INVALID, f"the key is on {key.curve.name}, the signature on {curve}", payload)
    verdict, reason = _check(key, der, ocmf.signed.encode())
    return Finding(verdict, reason, payload)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _curve_of(algorithm: object) -> str | None:
    parts = str(algorithm).split("-")
    if len(parts) != 3 or parts[0].upper() != "ECDSA" or parts[2].upper() != "SHA256":
        return None
    return _CURVES.get(parts[1].lower())


def _signature_bytes(signature: Mapping[str, Any]) -> bytes | None:
    data = signature.get("SD")
    if not isinstance(data, str):
        return None
    try:
        if signature.get("SE", "hex") == "base64":
            return base64.b64decode(data, validate=True)
        return bytes.fromhex(data)
    except (ValueError, binascii.Error):
        return None


def _public_key(spki: bytes) -> ec.EllipticCurvePublicKey | Finding:
    try:
        key = serialization.load_der_public_key(spki)
    except UnsupportedAlgorithm:
        return Finding(Verdict.UNSUPPORTED, "the key's curve is not known here")
    except ValueError as error:
        return Finding(Verdict.INVALID, f"the public key cannot be read: {error}")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return Finding(Verdict.UNSUPPORTED, "the key is not an elliptic curve key")
    return key


def _check(key: ec.EllipticCurvePublicKey, der: bytes, signed: bytes) -> tuple[Verdict, str]:
    numbers = _loose_der(der)
    if numbers is None:
        return Verdict.INVALID, "the signature is not DER"
    r, s = numbers
    try:
        strict = encode_dss_signature(r, s)
        key.verify(strict, signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return Verdict.INVALID, "the signature does not match"
    if strict != der:
        return Verdict.VALID_NOT_STRICT_DER, "the numbers match, their DER encoding is not strict"
    return Verdict.VALID, ""


def _check_192k1(spki: bytes, der: bytes, signed: bytes) -> tuple[Verdict, str]:
    point, numbers = secp192k1.public_point(spki), _loose_der(der)
    if point is None or numbers is None:
        return (
            Verdict.INVALID,
            "the public key is no point of secp192k1" if point is None else "the signature is not DER",
        )
    if not secp192k1.verifies(point, signed, *numbers):
        return Verdict.INVALID, "the signature does not match"
    if encode_dss_signature(*numbers) != der:
        return Verdict.VALID_NOT_STRICT_DER, "the numbers match, their DER encoding is not strict"
    return Verdict.VALID, ""


def _loose_der(der: bytes) -> tuple[int, int] | None:
    """r and s of a signature, also where a charger left out the zero before a set top bit (X.690 8.3 wants it)."""
    if len(der) < 8 or der[0] != 0x30:
        return None
    body = der[2:] if der[1] < 0x80 else der[3:] if der[1] == 0x81 else b""
    numbers: list[int] = []
    while body and len(numbers) < 2:
        if len(body) < 2 or body[0] != 0x02 or len(body) < 2 + body[1] or body[1] == 0:
            return None
        numbers.append(int.from_bytes(body[2 : 2 + body[1]]))
        body = body[2 + body[1] :]
    return (numbers[0], numbers[1]) if len(numbers) == 2 and not body else None


# Our own records in sequence


@dataclass(frozen=True, slots=True)
class Link:
    """One kept record, as the store holds it."""

    id: int
    key_id: str
    charge_point: str
    pagination: int | None
    text: str
    prev: str
    sha256: str
    signed_by: str


def chain_hash(prev: str, text: str) -> str:
    """What a record adds to the chain: SHA-256 over `prev LF text`, lower-case hex."""
    return hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()


def check_sequence(links: Iterable[Link], keys: Mapping[str, bytes]) -> list[tuple[int, str]]:
    """Every record that is not what it must be, by its id and why: signature, hash chain, pagination.

    `keys` are SPKI by key id. The records come in the order of their ids, from the first. A gap in the pagination is
    named as well as a repetition: both mean that a record is missing or was put in.
    """
    problems: list[tuple[int, str]] = []
    prev = GENESIS
    pages: dict[tuple[str, str], int] = {}
    for link in links:
        if link.prev != prev:
            problems.append((link.id, "the record before it is missing or was changed"))
        if chain_hash(link.prev, link.text) != link.sha256:
            problems.append((link.id, "the text is not the one that was written"))
        prev = link.sha256
        finding = verify_ocmf(link.text, keys.get(link.key_id))
        if link.signed_by == "gateway" and finding.verdict is not Verdict.VALID:
            problems.append((link.id, f"signature: {finding.verdict.value} {finding.reason}".rstrip()))
        if link.pagination is None:
            continue
        place = (link.key_id, link.charge_point)
        expected = pages.get(place, 0) + 1
        if link.pagination != expected:
            problems.append((link.id, f"pagination T{link.pagination}, expected T{expected}"))
        if link.signed_by == "gateway" and (finding.payload or {}).get("PG") != f"T{link.pagination}":
            problems.append((link.id, "the pagination of the text is not the one that was kept"))
        pages[place] = max(link.pagination, expected - 1)
    return problems
