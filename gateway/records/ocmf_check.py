"""Pure: is an OCMF text what its key signed?

An OCMF text is taken apart at its pipes only: the signed bytes are exactly what stands between the first and the
second. What a real charger wrote is judged, never repaired: the JSON is parsed to find the signature, nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.records import signatures
from gateway.records.ecdsa_curves import Curve, curve_named
from gateway.records.public_keys import PublicKey, read_spki


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


class Unreadable:
    """A key text that is there and is no key: what it should prove is not proven."""


UNREADABLE = Unreadable()

FindKey = Callable[[Curve], PublicKey | Unreadable | None]
"""Asked with the curve that a signature names; None where no key is known."""


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


def verify_ocmf(text: str, key_spki: bytes | None) -> Finding:
    """Check one OCMF text with a DER SubjectPublicKeyInfo key; never raises."""
    return check_ocmf(text, lambda _: None if key_spki is None else (read_spki(key_spki) or UNREADABLE))


def check_ocmf(text: str, find_key: FindKey) -> Finding:
    """Check one OCMF text. `find_key` is asked for the key, with the curve that the text names (SA); never raises."""
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
        return Finding(Verdict.UNSUPPORTED, f"algorithm {str(algorithm)[:60]}", payload)
    der = _signature_bytes(signature)
    if der is None:
        return Finding(Verdict.INVALID, "the signature is neither hex nor base64", payload)
    key = find_key(curve)
    if key is None:
        return Finding(Verdict.KEY_UNKNOWN, "no public key is known for it", payload)
    verdict, reason = _check(key, curve, der, ocmf.signed)
    return Finding(verdict, reason, payload)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _curve_of(algorithm: object) -> Curve | None:
    parts = str(algorithm).split("-")
    if len(parts) != 3 or parts[0].upper() != "ECDSA" or parts[2].upper() != "SHA256":
        return None
    return curve_named(parts[1])


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


def _check(key: PublicKey | Unreadable, curve: Curve, der: bytes, signed: str) -> tuple[Verdict, str]:
    if isinstance(key, Unreadable):
        return Verdict.INVALID, f"the public key cannot be read, or is no point of {curve.name}"
    if key.curve is not curve:
        return Verdict.INVALID, f"the key is on {key.curve.name}, the signature on {curve.name}"
    numbers = signatures.read_der(der)
    if numbers is None and len(der) == 2 * curve.size:
        raw = signatures.read_raw(der)  # Isabellenhuette writes r and s side by side
        numbers = (*raw, False) if raw is not None else None
    if numbers is None:
        return Verdict.INVALID, "the signature is not DER"
    r, s, strict = numbers
    digest = hashlib.sha256(signed.encode("utf-8", "surrogatepass")).digest()
    if not signatures.verifies(curve, key.point, digest, r, s):
        return Verdict.INVALID, "the signature does not match"
    if not strict:
        return Verdict.VALID_NOT_STRICT_DER, "the numbers match, their DER encoding is not strict"
    return Verdict.VALID, ""
