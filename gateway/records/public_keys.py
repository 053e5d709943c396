"""Pure: public keys in every spelling that chargers and files use, normalised once to DER SubjectPublicKeyInfo.

Seen in the field: SubjectPublicKeyInfo as hex or base64 (with blanks or without), PEM, the bare point `04 X Y`, `X Y`
without the 04 (96 hex characters are the 48 bytes of an EDL40 meter), the compressed point (ALFEN), and the form of the
Open Charge Alliance, `oca:base16:asn1:<SPKI hex>`, plain or base64. A bare point does not name its curve: it is the
one of the seven curves on which it lies, or the one that a signature names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.records.ecdsa_curves import CURVES, Curve, Point, decompress, on_curve

MAX_TEXT = 8192
"""A key text is at most some hundred characters; what is longer is none."""

_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")
"""DER of the OID id-ecPublicKey (RFC 5480)."""

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)
_OCA = re.compile(r"oca:(base16|base64):asn1:(.+)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key: its curve, its point, the one form that is compared and exported (`spki`), and how it came (`form`)."""

    curve: Curve
    point: Point
    form: str

    @property
    def spki(self) -> bytes:
        """DER SubjectPublicKeyInfo with the uncompressed point (RFC 5480), the only form Transparenzsoftware takes."""
        return spki_of(self.curve, self.point)

    @property
    def key_id(self) -> str:
        """The short name: the first 16 hex digits of the SHA-256 of the SPKI, as for our own keys."""
        return hashlib.sha256(self.spki).hexdigest()[:16]


def read_key(text: str, curve: Curve | None = None) -> PublicKey | None:
    """A key in any spelling; None where it is none. `curve` is the one a signature names, for bare points.

    It never raises: the text may come from anywhere.
    """
    if len(text) > MAX_TEXT:
        return None
    pem = _PEM.search(text)
    if pem is not None:
        data = _base64(pem[1])
        return _from_der(data, "PEM") if data is not None else None
    return _read_compact(re.sub(r"\s", "", text), curve)


def _read_compact(text: str, curve: Curve | None) -> PublicKey | None:
    named = _oca(text)
    if named is not None:
        return _from_der(named, "oca")
    digits = re.sub(r"[:-]", "", text)
    if re.fullmatch(r"([0-9A-Fa-f]{2})+", digits):
        found = read_bytes(bytes.fromhex(digits), curve)
        return PublicKey(found.curve, found.point, f"hex {len(digits)} ({found.form})") if found else None
    data = _base64(text)
    if data is None:
        return None
    named = _oca(data.decode("ascii", "replace"))
    if named is not None:
        return _from_der(named, "oca base64")
    found = read_bytes(data, curve)
    return PublicKey(found.curve, found.point, f"base64 ({found.form})") if found else None


def read_bytes(data: bytes, curve: Curve | None = None) -> PublicKey | None:
    """A key as bytes: SubjectPublicKeyInfo, a point with its first byte, or the bare coordinates."""
    if data[:1] == b"\x30":
        found = _from_der(data, "spki")
        if found is not None:
            return found
    for candidate in (curve,) if curve is not None else CURVES:
        point = _point(candidate, data)
        if point is not None:
            form = "x y" if len(data) == 2 * candidate.size else "compressed" if data[0] != 4 else "point"
            return PublicKey(candidate, point, form)
    return None


@lru_cache(maxsize=256)
def read_spki(data: bytes) -> PublicKey | None:
    """A key as DER SubjectPublicKeyInfo with a named curve; None where it is none, or its point is not on it."""
    return _from_der(data, "spki")


def spki_of(curve: Curve, point: Point) -> bytes:
    """DER SubjectPublicKeyInfo of a point (RFC 5480)."""
    bits = b"\x00\x04" + b"".join(number.to_bytes(curve.size) for number in point)
    algorithm = _EC_PUBLIC_KEY + curve.oid
    return _der(0x30, _der(0x30, algorithm) + _der(0x03, bits))


def _oca(text: str) -> bytes | None:
    match = _OCA.fullmatch(text.strip())
    if match is None:
        return None
    body = re.sub(r"\s", "", match[2])
    if match[1].lower() == "base64":
        return _base64(body)
    return bytes.fromhex(body) if re.fullmatch(r"([0-9A-Fa-f]{2})+", body) else None


def _base64(text: str) -> bytes | None:
    compact = re.sub(r"\s", "", text).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _from_der(data: bytes, form: str) -> PublicKey | None:
    """SEQUENCE { SEQUENCE { ecPublicKey, curve }, BIT STRING point }, and nothing behind it."""
    outer = _read_der(data, 0x30)
    inner = _read_der(outer[0], 0x30) if outer is not None and not outer[1] else None
    if inner is None or not inner[0].startswith(_EC_PUBLIC_KEY):
        return None
    curve = next((known for known in CURVES if inner[0] == _EC_PUBLIC_KEY + known.oid), None)
    bits = _read_der(inner[1], 0x03)
    if curve is None or bits is None or bits[1] or bits[0][:1] != b"\x00" or bits[0][1:2] not in (b"\2", b"\3", b"\4"):
        return None
    point = _point(curve, bits[0][1:])
    return PublicKey(curve, point, form) if point is not None else None


def _point(curve: Curve, data: bytes) -> Point | None:
    size = curve.size
    if len(data) == size + 1 and data[0] in (2, 3):
        return decompress(curve, int.from_bytes(data[1:]), data[0] & 1)
    if len(data) == 2 * size + 1 and data[0] == 4:
        data = data[1:]
    if len(data) != 2 * size:
        return None
    point = int.from_bytes(data[:size]), int.from_bytes(data[size:])
    return point if on_curve(curve, point) else None


def _der(tag: int, body: bytes) -> bytes:
    length = len(body)
    return bytes([tag, length] if length < 0x80 else [tag, 0x81, length]) + body


def _read_der(data: bytes, tag: int) -> tuple[bytes, bytes] | None:
    """The content of the element at the front, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        return None
    start, length = (2, data[1]) if data[1] < 0x80 else (3, data[2] if len(data) > 2 else 0)
    if data[1] > 0x81 or data[1] == 0x80 or len(data) < start + length:
        return None
    return data[start : start + length], data[start + length :]
