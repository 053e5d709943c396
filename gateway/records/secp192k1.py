"""Pure: checking a signature on secp192k1, the one OCMF curve that `cryptography` does not know (SEC 2, section 2.2).

Checking needs no secret, so plain integers that are not constant in time will do; nothing is ever signed with this.
"""

from __future__ import annotations

import hashlib

P = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFEE37
N = 0xFFFFFFFFFFFFFFFFFFFFFFFE26F2FC170F69466A74DEFD8D
B = 3
G = (0xDB4FF10EC057E9AE26B07D0280B7F4341DA5D1B1EAE06C7D, 0x9B2F2F6D9C5628A7844163D015BE86344082AA88D95E2F9D)

SPKI_HEAD = bytes.fromhex("3046301006072a8648ce3d020106052b8104001f03320004")
"""DER SubjectPublicKeyInfo of an uncompressed point on this curve; 48 bytes follow."""

Point = tuple[int, int] | None


def public_point(spki: bytes) -> tuple[int, int] | None:
    """The point of a SubjectPublicKeyInfo; None where it is no point of this curve."""
    if len(spki) != len(SPKI_HEAD) + 48 or not spki.startswith(SPKI_HEAD):
        return None
    x, y = int.from_bytes(spki[-48:-24]), int.from_bytes(spki[-24:])
    return (x, y) if x < P and y < P and (y * y - x * x * x - B) % P == 0 else None


def verifies(point: tuple[int, int], signed: bytes, r: int, s: int) -> bool:
    """Whether (r, s) is a signature over the SHA-256 of `signed` (SEC 1, section 4.1.4)."""
    if not (0 < r < N and 0 < s < N):
        return False
    e = int.from_bytes(hashlib.sha256(signed).digest()[:24])  # the leftmost 192 bits
    inverse = pow(s, -1, N)
    found = _add(_multiply(e * inverse % N, G), _multiply(r * inverse % N, point))
    return found is not None and found[0] % N == r


def _add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % P == 0:
            return None
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, P) % P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, P) % P
    x = (slope * slope - one[0] - other[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P


def _multiply(times: int, point: Point) -> Point:
    total: Point = None
    while times:
        if times & 1:
            total = _add(total, point)
        point, times = _add(point, point), times >> 1
    return total
