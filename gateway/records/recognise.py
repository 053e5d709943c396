"""Pure: which of the signed formats of the field a text is. What is not known is kept raw all the same.

The names are those of Transparenzsoftware where it has one: its XML wants them as the `format` of a value.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import xml.etree.ElementTree as ET
from enum import StrEnum
from typing import Any

from gateway.records import alfen
from gateway.records.edl40 import is_isa
from gateway.records.sml import START, SmlError, read_value_list

MAX_TEXT = 1 << 20
"""Characters: a signed text of the field has some thousand, a container for XML of one session some ten thousand."""


class Format(StrEnum):
    """What a signed text is."""

    OCMF = "OCMF"
    ALFEN = "ALFEN"
    EDL40 = "EDL_40_P"
    EDL40_SIG = "EDL_40_SIG"
    ISA_EDL40 = "ISA_EDL_40_P"
    MENNEKES = "EDL_40_MENNEKES"
    PCDF = "PCDF"
    CHARGEIT = "CHARGEIT"
    """JSON with `signedMeterValues`: chargeIT, Bauer BSM."""
    SEALED = "SEALED"
    """SAFE seal: RSA around one of the others; only its addressee can look inside."""
    UNKNOWN = "UNKNOWN"


def recognise(text: str) -> Format:
    """The format of a text; it never raises, whatever the text is."""
    stripped = text.strip() if len(text) <= MAX_TEXT else ""
    if stripped.startswith("OCMF|"):
        return Format.OCMF
    if alfen.looks_like(stripped) and alfen.read(stripped) is not None:
        return Format.ALFEN
    if _PCDF.match(stripped):
        return Format.PCDF
    if stripped.startswith("<"):
        return _of_xml(stripped)
    if stripped.startswith("{"):
        value = json_object(stripped)
        return Format.CHARGEIT if isinstance((value or {}).get("signedMeterValues"), list) else Format.UNKNOWN
    data = binary_of(stripped)
    return _of_binary(data) if data is not None else Format.UNKNOWN


_PCDF = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\((ST|CT):[^)]*\).*\(SG:", re.DOTALL)


def _of_xml(text: str) -> Format:
    root = read_xml(text)
    if root is None:
        return Format.UNKNOWN
    names = {local_name(element) for element in root.iter()}
    if local_name(root) in ("ChargingProcess", "Billing"):
        return Format.MENNEKES if "MeasurementStart" in names else Format.UNKNOWN
    if local_name(root) == "signedMeterValue":
        return Format.EDL40_SIG
    return Format.SEALED if "encodedData" in names else Format.UNKNOWN


def _of_binary(data: bytes) -> Format:
    if START not in data[:64]:
        return Format.UNKNOWN
    try:
        return Format.ISA_EDL40 if is_isa(read_value_list(data)) else Format.EDL40
    except SmlError:
        return Format.UNKNOWN


def binary_of(text: str) -> bytes | None:
    """The bytes behind hex (with blanks or without) or base64; None where it is neither."""
    compact = re.sub(r"\s", "", text)
    if re.fullmatch(r"([0-9A-Fa-f]{2})+", compact):
        return bytes.fromhex(compact)
    if not re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", compact):
        return None
    compact = compact.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def read_xml(text: str) -> ET.Element | None:
    """The root of an XML text; None where it is none, or defines entities of its own (they can grow without end)."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        return ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text.removeprefix("\ufeff")))
    except (ET.ParseError, ValueError):
        return None


def local_name(element: ET.Element) -> str:
    """The name of an element without its name space; empty for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def json_object(text: str) -> dict[str, Any] | None:
    """A JSON object whose numbers stay the texts that they were; None where it is none."""
    try:
        value = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
