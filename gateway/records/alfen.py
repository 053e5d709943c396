"""Pure: ALFEN's signed records: `AP;<type>;<version>;<key>;<data>;<signature>;`, the last three in base32.

secp192r1 and SHA-256 over the 82 data bytes; the key is a compressed point, the signature r and s of 24 bytes each. The
layout of the data is that of Transparenzsoftware 1.4.1 (verification/format/alfen).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from gateway.records import signatures
from gateway.records.ecdsa_curves import SECP192R1
from gateway.records.public_keys import PublicKey, read_bytes

DATA_LENGTH = 82
SIGNATURE_LENGTH = 48

KINDS = {"0": "begin", "1": "end", "2": "between"}


@dataclass(frozen=True, slots=True)
class Alfen:
    """One record taken apart. `register` is the meter's count, in units of 10^`scaler` Wh where `unit` is 30."""

    kind: str
    key: PublicKey | None
    data: bytes
    signature: bytes

    @property
    def meter(self) -> str:
        """The meter's id, hex."""
        return self.data[16:26].hex()

    @property
    def adapter(self) -> str:
        """The signing adapter's id, hex."""
        return self.data[0:10].hex()

    @property
    def page(self) -> int:
        """The page number, little-endian as all numbers of the record."""
        return int.from_bytes(self.data[78:82], "little")

    @property
    def register(self) -> tuple[int, int, int]:
        """Count, unit (DLMS; 30 is Wh) and scaler."""
        return (
            int.from_bytes(self.data[46:54], "little"), self.data[44], int.from_bytes(self.data[45:46], signed=True)
        )  # fmt: skip

    def verifies(self, key: PublicKey) -> bool:
        """Whether the key signed the data."""
        numbers = signatures.read_raw(self.signature)
        if numbers is None or key.curve is not SECP192R1:
            return False
        return signatures.verifies(SECP192R1, key.point, hashlib.sha256(self.data).digest(), *numbers)


def looks_like(text: str) -> bool:
    """Whether a text begins as one."""
    return text.lstrip().startswith("AP;")


def read(text: str) -> Alfen | None:
    """Take one record apart; None where it is none."""
    parts = text.strip().rstrip(";").split(";")
    if len(parts) != 6 or parts[0] != "AP" or parts[1] not in KINDS:
        return None
    key, data, signature = (_base32(part) for part in parts[3:])
    if data is None or len(data) != DATA_LENGTH or signature is None or len(signature) != SIGNATURE_LENGTH:
        return None
    return Alfen(KINDS[parts[1]], read_bytes(key, SECP192R1) if key else None, data, signature)


def _base32(text: str) -> bytes | None:
    compact = text.strip().rstrip("=")
    try:
        return base64.b32decode(compact + "=" * (-len(compact) % 8), casefold=True)
    except (binascii.Error, ValueError):
        return None
