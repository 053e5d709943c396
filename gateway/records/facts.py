"""Pure: what a signed text states, for checks across texts: who signed, which meter, which page, which registers.

Numbers stay the texts that were signed: 2935.600 stays 2935.600. A later OCMF reading that leaves out equal fields
takes them from the one before it (OCMF-en.md, "readings").
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from gateway.records import alfen, edl40
from gateway.records.edl40 import Edl40Error, Signed, SmlError
from gateway.records.public_keys import PublicKey, read_key
from gateway.records.recognise import Format, binary_of, json_object, local_name, read_xml, recognise

BEGIN = frozenset("B")
END = frozenset("ELRAP")
CARRIED = ("TM", "TX", "RI", "RU", "RT", "ST")


@dataclass(frozen=True, slots=True)
class Register:
    """One reading. `kind` is OCMF's TX letter, `value` as signed, `clock` the state letter of the time."""

    kind: str
    value: str
    unit: str
    obis: str
    time: str
    clock: str
    status: str = "G"

    @property
    def begins(self) -> bool:
        return self.kind in BEGIN

    @property
    def ends(self) -> bool:
        return self.kind in END

    def wh(self) -> Decimal | None:
        """The register in Wh, exact; None where it is no energy or no number."""
        factor = {"kwh": 1000, "wh": 1}.get(self.unit.lower())
        try:
            number = Decimal(self.value.strip())
        except InvalidOperation:
            return None
        return number * factor if factor is not None and number.is_finite() else None


@dataclass(frozen=True, slots=True)
class Facts:
    """What one text states. `letter` is OCMF's T or F, empty for other formats; `key` one that stands in the text."""

    format: Format
    signer: str = ""
    meter: str = ""
    letter: str = ""
    page: int | None = None
    registers: tuple[Register, ...] = ()
    key: PublicKey | None = None
    signed: tuple[Signed, ...] = ()


def facts_of(text: str) -> Facts:
    """What a text states; empty where it cannot be read. Never raises."""
    format_ = recognise(text)
    if format_ is Format.OCMF:
        return _of_ocmf(text)
    if format_ is Format.ALFEN:
        return _of_alfen(text)
    if format_ in (Format.EDL40, Format.ISA_EDL40, Format.EDL40_SIG, Format.MENNEKES):
        try:
            return _of_edl40(text, format_)
        except (SmlError, Edl40Error):
            return Facts(format_)
    return Facts(format_)


def _of_ocmf(text: str) -> Facts:
    parts = text.strip().split("|", 2)
    payload = json_object(parts[1]) if len(parts) == 3 else None
    if payload is None:
        return Facts(Format.OCMF)
    page = re.fullmatch(r"([TF])([0-9]{1,18})", _text(payload.get("PG")))
    return Facts(
        Format.OCMF,
        signer=_text(payload.get("GS")),
        meter=_text(payload.get("MS")),
        letter=page[1] if page else "",
        page=int(page[2]) if page else None,
        registers=tuple(_readings(payload.get("RD"))),
    )


def _readings(readings: object) -> Sequence[Register]:
    found: list[Register] = []
    carried: dict[str, str] = {}
    for reading in readings if isinstance(readings, list) else ():
        if not isinstance(reading, dict):
            continue
        own = {name: _text(reading[name]) for name in CARRIED if name in reading}
        carried = {**carried, **own}
        time, _, clock = carried.get("TM", "").rpartition(" ")
        found.append(
            Register(
                kind=carried.get("TX", ""),
                value=_text(reading.get("RV")),
                unit=carried.get("RU", ""),
                obis=carried.get("RI", ""),
                time=time,
                clock=clock,
                status=carried.get("ST", ""),
            )
        )
    return found


def _of_alfen(text: str) -> Facts:
    record = alfen.read(text)
    if record is None:
        return Facts(Format.ALFEN)
    count, unit, scaler = record.register
    kind = {"begin": "B", "end": "E", "between": "C"}[record.kind]
    registers: tuple[Register, ...] = ()
    if unit == edl40.WATT_HOURS and -9 <= scaler <= 9:
        registers = (Register(kind, str(Decimal(count).scaleb(scaler)), "Wh", "1-0:1.8.0", "", ""),)
    return Facts(Format.ALFEN, record.adapter, record.meter, "", record.page, registers, record.key)


def _of_edl40(text: str, format_: Format) -> Facts:
    key: PublicKey | None = None
    kinds: Sequence[str] = ("",)
    if format_ is Format.EDL40_SIG:
        signed, key = _of_signed_meter_value(text)
    elif format_ is Format.MENNEKES:
        signed, key = _of_mennekes(text)
        kinds = ("B", "E")
    else:
        signed = [edl40.of_sml(binary_of(text) or b"")[0]]
    registers = tuple(
        Register(kind, one.register_wh_text, "Wh", "1-0:1.17.0", "", "")
        for kind, one in zip(kinds, signed, strict=False)
    )
    last = signed[-1]
    return Facts(format_, last.server, last.server, "", last.page, registers, key, tuple(signed))


def _of_mennekes(text: str) -> tuple[list[Signed], PublicKey | None]:
    root = read_xml(text)
    process = (
        next((one for one in root.iter() if local_name(one) == "ChargingProcess"), None) if root is not None else None
    )
    if process is None:
        raise Edl40Error("there is no ChargingProcess in it")
    key = next((one.text for one in process if local_name(one) == "PublicKey"), None)
    return edl40.of_mennekes(process), read_key(key or "")


def _of_signed_meter_value(text: str) -> tuple[list[Signed], PublicKey | None]:
    root = read_xml(text)
    fields = {local_name(one): _encoded(one.text or "", one.get("encoding", "base64")) for one in root or ()}
    data, signature = fields.get("encodedMeterValue") or b"", fields.get("meterValueSignature") or b""
    signed = edl40.of_bare_bytes(data, signature)
    key = fields.get("publicKey") or b""
    return [signed], read_key(key.hex(), signed.curve) if key else None


def _encoded(text: str, encoding: str) -> bytes | None:
    compact = re.sub(r"\s", "", text)
    try:
        return bytes.fromhex(compact) if encoding.lower() in ("hex", "base16") else base64.b64decode(compact)
    except (ValueError, binascii.Error):
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
