"""Pure: the canonical bytes of our own signed records: OCMF 1.3, ASCII, every reading complete.

OCMF-en.md of SAFE-eV/OCMF-Open-Charge-Metering-Format; FV 1.3 because Transparenzsoftware 1.4.1 refuses "1.4". What
stands between the first and the second `|` is signed byte for byte; nobody may parse and print it again.

The marks are honest: GI is our own, the time letter is I (clock synchronised) or U, never S; IL is HEARSAY; the vendor
fields say what the signature is worth (ZN), whether the site is a simulation (ZS), that the key was changed since the
begin (ZK), and that nobody had confirmed yet that this database is no old copy (ZU, contract 5.4).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from gateway.model import Reading, TimeQuality

FORMAT_VERSION = "1.3"
GATEWAY = "ZEV gateway"
SERIAL = "ZGW-"
"""How the serial of the signing component (GS) begins; the id of its key follows, by which its pages count."""

NOTE = "gateway integrity signature, not a type-examined instrument"
SIMULATION = "simulation: no real energy"
UNCONFIRMED = "unconfirmed_epoch"
ALGORITHM = "ECDSA-secp256r1-SHA256"

TOTAL_IMPORT = "1-0:1.8.0*255"
"""OBIS of the register: active energy, import, total (billing-relevant for Transparenzsoftware)."""

Transaction = Literal["B", "E", "L", "R", "A", "P"]

_END_LETTERS: dict[str, Transaction] = {
    "Local": "L",
    "Remote": "R",
    "PowerLoss": "P",
    "DeAuthorized": "A",
    "EmergencyStop": "A",
    "HardReset": "A",
    "SoftReset": "A",
    "Reboot": "A",
}
"""OCPP 1.6 Reason -> TX of the end reading (OCMF table 7: L local, R remote, A abort, P power failure, E end)."""


def end_letter(reason: str | None) -> Transaction:
    """TX of an end reading."""
    return _END_LETTERS.get(reason or "", "E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one record says: this register of this meter, at this time, for this card at this charge point.

    `begin` is the begin reading once more, where the key `begin_key` signed it and another one signs the end: whoever
    checks a session takes one key for both. `unconfirmed`: the cloud has not said yet that this database is no copy.
    """

    transaction: Transaction
    reading: Reading
    session: str
    charger: str
    connector: int
    id_tag: str
    id_type: Literal["ISO14443", "UNDEFINED"]
    authorised_by: Literal["csms", "gateway"]
    pagination: int
    key_id: str
    version: str
    prev: str
    simulation: bool
    meter_serial: str | None = None
    begin: Reading | None = None
    begin_key: str = ""
    unconfirmed: bool = False

    def serial(self) -> str:
        """The serial that the meter gave, else the one that the site's configuration states, else the meter's name."""
        return self.reading.serial or self.meter_serial or f"unread ({self.reading.meter})"


def payload(statement: Statement) -> str:
    """The JSON between the two pipes. ValueError where a reading has no register."""
    reading = statement.reading
    lines = [_line(reading, statement.transaction)]
    if statement.begin is not None:
        lines.insert(0, _line(statement.begin, "B"))
    changed = f"begin signed by {SERIAL}{statement.begin_key}, key changed in this session"
    vendor = {
        "ZN": NOTE,
        **({"ZS": SIMULATION} if statement.simulation else {}),
        **({"ZU": UNCONFIRMED} if statement.unconfirmed else {}),
        **({"ZK": changed} if statement.begin is not None else {}),
        "ZI": statement.session,
        "ZP": statement.prev,
        "ZQ": reading.quality.value,
        "ZR": reading.raw,
        "ZV": reading.map_version,
    }
    text = f'{_dump(_head(statement))[:-1]},"RD":[{",".join(lines)}],{_dump(vendor)[1:]}'
    if "|" in text:  # OCMF knows no escape for its separator; JSON does
        text = text.replace("|", "\\u007c")
    return text


def _head(statement: Statement) -> dict[str, object]:
    return {
        "FV": FORMAT_VERSION,
        "GI": GATEWAY,
        "GS": f"{SERIAL}{statement.key_id}",
        "GV": statement.version,
        "PG": f"T{statement.pagination}",
        "MM": statement.reading.model,
        "MS": statement.serial(),
        "IS": True,
        "IL": "HEARSAY",
        "IF": ["RFID_PLAIN", "OCPP_AUTH" if statement.authorised_by == "csms" else "OCPP_WHITELIST"],
        "IT": statement.id_type,
        "ID": statement.id_tag,
        "CT": "CBIDC",
        "CI": f"{statement.charger} {statement.connector}",
    }


def _line(reading: Reading, transaction: Transaction) -> str:
    """One reading, complete. Written out by hand for its number: a float would not keep three decimals."""
    if reading.import_wh is None:
        raise ValueError(f"meter {reading.meter}: a reading without a register cannot be signed")
    return (
        f'{{"TM":"{time_text(reading.requested_ms, reading.quality)}","TX":"{transaction}",'
        f'"RV":{kwh_text(reading.import_wh)},"RI":"{TOTAL_IMPORT}","RU":"kWh","RT":"AC","EF":"","ST":"G"}}'
    )


def record_text(signed: str, signature_der: bytes) -> str:
    """The whole record: `OCMF|payload|signature`."""
    return f'OCMF|{signed}|{{"SA":"{ALGORITHM}","SD":"{signature_der.hex().upper()}"}}'


def kwh_text(wh: int) -> str:
    """Whole Wh as kWh with three decimals, digit by digit."""
    return f"{wh // 1000}.{wh % 1000:03d}"


def time_text(utc_ms: int, quality: TimeQuality) -> str:
    """`2026-06-13T09:30:00,000+0000 U`: UTC and the state of the clock (I informative when synchronised, else U)."""
    seconds, ms = divmod(utc_ms, 1000)
    letter = "I" if quality is TimeQuality.NTP else "U"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f",{ms:03d}+0000 {letter}"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
