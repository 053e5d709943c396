"""OCMF 1.0 to 1.3, read and verified: `OCMF|payload|signature`, signed are exactly the characters of the payload."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

ENDS = frozenset("ELRAP")
"""TX letters of the reading that ends a transaction (OCMF 1.4.1, table of readings)."""


@dataclass(frozen=True, slots=True)
class SignedReading:
    """One reading of a record. `wh` is exact; `at_ms` UTC; `time_letter` U, I, S or R."""

    tx: str
    at_ms: int
    time_letter: str
    wh: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record whose signature is not yet checked."""

    signed: bytes
    signature: bytes
    algorithm: str
    pagination: str
    charge_point: str
    gateway_serial: str
    meter_serial: str
    user: str
    readings: tuple[SignedReading, ...]

    def begin(self) -> SignedReading | None:
        """The reading that begins the transaction."""
        return next((reading for reading in self.readings if reading.tx == "B"), None)

    def end(self) -> SignedReading | None:
        """The reading that ends it."""
        return next((reading for reading in self.readings if reading.tx in ENDS), None)

    def signed_by(self, keys: dict[str, str]) -> str | None:
        """The id of the key (SPKI hex) whose signature this is; None where it is none's."""
        if self.algorithm != "ECDSA-secp256r1-SHA256":
            return None
        for key_id, spki in keys.items():
            key = load_der_public_key(bytes.fromhex(spki))
            if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
                continue
            try:
                key.verify(self.signature, self.signed, ec.ECDSA(SHA256()))
            except InvalidSignature:
                continue
            return key_id
        return None


def read(text: str) -> SignedRecord:
    """Take a record apart. ValueError or KeyError where it is none."""
    parts = text.split("|")
    if len(parts) != 3 or parts[0] != "OCMF":
        raise ValueError("not an OCMF record")
    payload: dict[str, Any] = json.loads(parts[1], parse_float=Decimal, parse_int=Decimal)
    signature: dict[str, Any] = json.loads(parts[2])
    if signature.get("SE", "hex") != "hex":
        raise ValueError(f"signature encoding {signature['SE']}")
    return SignedRecord(
        signed=parts[1].encode(),
        signature=bytes.fromhex(signature["SD"]),
        algorithm=signature.get("SA", "ECDSA-secp256r1-SHA256"),
        pagination=str(payload["PG"]),
        charge_point=str(payload.get("CI", "")),
        gateway_serial=str(payload.get("GS", "")),
        meter_serial=str(payload["MS"]),
        user=str(payload.get("ID", "")),
        readings=tuple(_reading(reading) for reading in payload["RD"]),
    )


def _reading(reading: dict[str, Any]) -> SignedReading:
    stamp, _, letter = str(reading["TM"]).partition(" ")
    at = datetime.strptime(stamp.replace(",", "."), "%Y-%m-%dT%H:%M:%S.%f%z")
    value = Decimal(reading["RV"])
    return SignedReading(
        tx=str(reading["TX"]),
        at_ms=round(at.timestamp() * 1000),
        time_letter=letter,
        wh=value * {"kWh": 1000, "Wh": 1}[reading["RU"]],
        status=str(reading["ST"]),
    )
