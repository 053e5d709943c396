"""Pure: is (r, s) what the owner of a key signed? By `cryptography` where it knows the curve, else by our own check."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from gateway.records import ecdsa_curves
from gateway.records.ecdsa_curves import Curve, Point

_LIBRARY: dict[str, ec.EllipticCurve] = {
    "secp192r1": ec.SECP192R1(),
    "secp256r1": ec.SECP256R1(),
    "secp256k1": ec.SECP256K1(),
    "secp384r1": ec.SECP384R1(),
    "brainpoolP256r1": ec.BrainpoolP256R1(),
    "brainpoolP384r1": ec.BrainpoolP384R1(),
}
"""What `cryptography` may know; whether the OpenSSL below it does is found out by asking."""


def verifies(curve: Curve, point: Point, digest: bytes, r: int, s: int) -> bool:
    """Whether (r, s) is a signature over a SHA-256 (32 bytes, or the part of it that a format signs)."""
    key = _library_key(curve, point) if len(digest) == 32 else None
    if key is None:
        return ecdsa_curves.verifies(curve, point, digest, r, s)
    if not (0 < r < curve.n and 0 < s < curve.n):
        return False
    try:
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _library_key(curve: Curve, point: Point) -> ec.EllipticCurvePublicKey | None:
    """The key in the library's form; None where the library or its OpenSSL lacks the curve. Building one is slow."""
    known = _LIBRARY.get(curve.name)
    if known is None:
        return None
    try:
        return ec.EllipticCurvePublicNumbers(*point, known).public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None


def read_der(der: bytes) -> tuple[int, int, bool] | None:
    """r, s, and whether their DER is strict; also where a charger left out the zero before a set top bit (X.690 8.3).

    None where it is no SEQUENCE of two INTEGERs. Devices that write lengths too long or too short are not read.
    """
    if len(der) < 8 or der[0] != 0x30:
        return None
    start, length = (2, der[1]) if der[1] < 0x80 else (3, der[2])
    if der[1] > 0x81 or der[1] == 0x80 or len(der) != start + length:
        return None
    body = der[start:]
    numbers: list[int] = []
    while body and len(numbers) < 2:
        if len(body) < 2 or body[0] != 0x02 or body[1] == 0 or len(body) < 2 + body[1]:
            return None
        numbers.append(int.from_bytes(body[2 : 2 + body[1]]))
        body = body[2 + body[1] :]
    if len(numbers) != 2 or body:
        return None
    return numbers[0], numbers[1], encode_dss_signature(numbers[0], numbers[1]) == der


def read_raw(data: bytes) -> tuple[int, int] | None:
    """r and s side by side, each half of the bytes (EDL40, ALFEN)."""
    half = len(data) // 2
    return (int.from_bytes(data[:half]), int.from_bytes(data[half:])) if half and len(data) % 2 == 0 else None
