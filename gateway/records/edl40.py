"""Pure: the signatures of EDL40 meters: SML files, the bare 320 bytes, Mennekes' XML, Isabellenhuette's variant.

What is signed is not the text but 320 bytes rebuilt from its fields: FNN "Lastenheft EDL" page 48 for EDL40, with the
extension of EMH; the layout of ISA-EDL-40P; both as Transparenzsoftware 1.4.1 has them (Apache-2.0,
verification/format/sml). The 24 leftmost bytes of their SHA-256 are signed on secp192r1, all 32 on secp256r1;
r and s stand side by side, the last two bytes of a 50 or 66 byte signature are the index of the log book.
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import datetime

from gateway.records import signatures
from gateway.records.ecdsa_curves import SECP192R1, SECP256R1, Curve
from gateway.records.public_keys import PublicKey
from gateway.records.sml import Entry, SmlError, ValueList, read_value_list, seconds_index

LENGTH = 320
CONTRACT_LENGTH = 128
WATT_HOURS = 30
"""Unit code of the Wh in DLMS."""

_CONTRACT = bytes.fromhex("8182815401ff")
_PAGINATION = bytes.fromhex("8180817101ff")
_SECONDS_INDEX = bytes.fromhex("810060080001")
_VALUE = bytes.fromhex("0100011100ff")
_HISTORICAL = bytes.fromhex("010001110064")
_COMPENSATED = bytes.fromhex("0100011100c8")
_RESISTANCE = bytes.fromhex("00af6c6c72ff")
_STOPWATCH = bytes.fromhex("00af647572ff")
_PRICE = bytes.fromhex("00af707263ff")

_ISA_START = bytes.fromhex("010001080080")
_ISA_ACTUAL = bytes.fromhex("0100010800ff")
_ISA_PAGINATION = bytes.fromhex("8180c7f040ff")
_ISA_ESTH = bytes.fromhex("8180816101ff")

_STATUS_BITS_256 = {0: 17, 3: 31, 4: 16, 5: 11, 6: 9, 7: 8}
"""Bit of the signed status byte -> bit of the status word, for meters that sign on secp256r1 (EMH eMOC)."""


class Edl40Error(ValueError):
    """A field is missing or of another kind; the text says which."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The 320 bytes, the signature over them, the curve, and what they state: server id (hex), page, Wh."""

    data: bytes
    signature: bytes
    curve: Curve
    server: str
    page: int
    register_wh_text: str

    def verifies(self, key: PublicKey) -> bool:
        """Whether the key signed these bytes."""
        size = 2 * self.curve.size
        numbers = signatures.read_raw(self.signature[:size])
        if numbers is None or len(self.signature) not in (size, size + 2):
            return False
        digest = hashlib.sha256(self.data).digest()[: self.curve.size]
        return signatures.verifies(self.curve, key.point, digest, *numbers)


def is_isa(values: ValueList) -> bool:
    """Whether it is Isabellenhuette's variant."""
    return _ISA_START in values.entries or _ISA_PAGINATION in values.entries


def of_sml(data: bytes) -> tuple[Signed, bool]:
    """The signed bytes of an SML file, and whether it is Isabellenhuette's. SmlError, Edl40Error."""
    values = read_value_list(data)
    return (_of_isa(values), True) if is_isa(values) else (_of_edl40(values), False)


def _of_edl40(values: ValueList) -> Signed:
    row = _row(values, _VALUE)
    wide = len(values.signature) in (64, 66)
    if len(values.server) != 10 or row.unit != WATT_HOURS or len(values.signature) < 48:
        raise Edl40Error("the server id, the unit or the signature is not of EDL40")
    status = row.status or 0
    contract_row = _row(values, _CONTRACT)
    index = seconds_index(_row(values, _SECONDS_INDEX).value)
    if row.time is None or contract_row.time is None or index is None:
        raise Edl40Error("a time is missing")
    register, page = _number(row), _number(_row(values, _PAGINATION))
    data = _layout(
        server=values.server,
        time=row.time,
        status=_status_256(status) if wide else status & 0xFF,
        seconds=index,
        page=page,
        obis=_VALUE,
        scaler=row.scaler,
        register=register,
        log=values.signature[-2:],
        contract=contract_row.value if isinstance(contract_row.value, bytes) else b"",
        contract_time=contract_row.time,
    )
    _extend(data, values)
    return Signed(
        bytes(data), values.signature, SECP256R1 if wide else SECP192R1, values.server.hex(), page,
        _scaled(register, row.scaler),
    )  # fmt: skip


def _status_256(word: int) -> int:
    return sum(1 << to for to, bit in _STATUS_BITS_256.items() if word >> bit & 1)


def _extend(data: bytearray, values: ValueList) -> None:
    """EMH's extension: historical value, loss compensation, stop watch, price."""
    for name, place, size in (
        (_HISTORICAL, 173, 8), (_COMPENSATED, 181, 8), (_RESISTANCE, 189, 2), (_STOPWATCH, 191, 4),
    ):  # fmt: skip
        if name in values.entries:
            data[place : place + size] = _little(_number(values.entries[name]), size)
    if _PRICE in values.entries:
        data[195:197] = _little(_number(values.entries[_PRICE]), 2)[::-1]


def _layout(
    *, server: bytes, time: int, status: int, seconds: int, page: int, obis: bytes, scaler: int, register: int,
    log: bytes, contract: bytes, contract_time: int,
) -> bytearray:  # fmt: skip
    if len(contract) > CONTRACT_LENGTH:
        raise Edl40Error("the contract id is too long")
    data = bytearray(LENGTH)
    data[0:10] = server
    data[10:14] = _little(time, 4)
    data[14] = status
    data[15:19] = _little(seconds, 4)
    data[19:23] = _little(page, 4)
    data[23:29] = obis
    data[29] = WATT_HOURS
    data[30] = scaler & 0xFF
    data[31:39] = _little(register, 8)
    data[39:41] = log
    data[41 : 41 + len(contract)] = contract
    data[169:173] = _little(contract_time, 4)
    return data


def _of_isa(values: ValueList) -> Signed:
    actual, start = _row(values, _ISA_ACTUAL), _row(values, _ISA_START)
    contract, esth = _row(values, _CONTRACT).value, _row(values, _ISA_ESTH).value
    inner = actual.signature or b""
    if (
        len(values.server) != 10 or len(values.name) != 6 or len(values.signature) != 66 or len(inner) != 66
        or not isinstance(contract, bytes) or len(contract) > CONTRACT_LENGTH
        or not isinstance(esth, bytes) or len(esth) != 20
        or actual.time is None or start.time is None
    ):  # fmt: skip
        raise Edl40Error("a field is missing or of another length")
    page, register = _number(_row(values, _ISA_PAGINATION)), _number(actual)
    data = bytearray(LENGTH)
    data[0:10] = values.server
    data[10:14] = _little(actual.time, 4)
    data[14] = (actual.status or 0) & 0xFF
    data[15:21] = _ISA_ACTUAL
    data[21:23] = bytes([actual.unit & 0xFF, actual.scaler & 0xFF])
    data[23:31] = _little(register, 8)
    data[31:33] = values.signature[-2:]
    data[33:99] = inner
    data[99 : 99 + len(contract)] = contract
    data[227:231] = _little(start.time, 4)
    data[231:251] = esth
    data[251] = (start.status or 0) & 0xFF
    data[252:258] = _ISA_START
    data[258:260] = bytes([start.unit & 0xFF, start.scaler & 0xFF])
    data[260:268] = _little(_number(start), 8)
    data[268:274] = values.name
    data[274:278] = _little(page, 4)
    return Signed(
        bytes(data), values.signature, SECP256R1, values.server.hex(), page, _scaled(register, actual.scaler)
    )  # fmt: skip


def of_bare_bytes(data: bytes, signature: bytes) -> Signed:
    """EDL_40_SIG: the 320 bytes themselves and their signature. Edl40Error."""
    if len(data) != LENGTH or len(signature) < 48:
        raise Edl40Error("it has not 320 bytes and a signature")
    register = int.from_bytes(data[31:39], "little")
    scaler = int.from_bytes(data[30:31], signed=True)
    page = int.from_bytes(data[19:23], "little")
    curve = SECP256R1 if len(signature) in (64, 66) else SECP192R1
    return Signed(data, signature, curve, data[:10].hex(), page, _scaled(register, scaler))


def of_mennekes(process: ET.Element) -> list[Signed]:
    """Begin and end of a ChargingProcess of Mennekes' XML. Edl40Error."""
    found = [child for name in ("MeasurementStart", "MeasurementEnd") for child in process if _local(child) == name]
    if len(found) != 2:
        raise Edl40Error("begin or end is missing")
    return [_of_measurement(process, one) for one in found]


def _of_measurement(process: ET.Element, measurement: ET.Element) -> Signed:
    try:
        signature = bytes.fromhex(_child(measurement, "Signature"))
        if len(signature) == 50:
            log = signature[-2:]
        else:
            log = (int(_child(measurement, "EventCounter")) & 0xFFFF).to_bytes(2)
        register, scaler = int(_child(measurement, "Value")), int(_child(measurement, "Scaler"))
        page = int(_child(measurement, "Pagination"))
        identified = _child(measurement, "TimestampCustomerIdent", "") or _child(process, "TimestampCustomerIdent")
        server = bytes.fromhex(_child(process, "ServerId"))
        data = _layout(
            server=server,
            time=_local_seconds(_child(measurement, "Timestamp")),
            status=int(_child(measurement, "MeterStatus")) & 0xFF,
            seconds=int(_child(measurement, "SecondIndex")),
            page=page,
            obis=_VALUE,
            scaler=scaler,
            register=register,
            log=log,
            contract=bytes.fromhex(_child(process, "CustomerIdent")),
            contract_time=_local_seconds(identified),
        )
    except (ValueError, OverflowError) as error:
        raise Edl40Error(f"a field cannot be read: {error}") from error
    if len(server) != 10 or len(data) != LENGTH:
        raise Edl40Error("a field is of another length")
    return Signed(bytes(data), signature, SECP192R1, server.hex(), page, _scaled(register, scaler))


def _child(parent: ET.Element, name: str, default: str | None = None) -> str:
    for child in parent:
        if _local(child) == name:
            return (child.text or "").strip()
    if default is None:
        raise Edl40Error(f"{name} is missing")
    return default


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _local_seconds(text: str) -> int:
    """Seconds of a time with its offset added, as the meter counts them."""
    at = datetime.fromisoformat(text)
    offset = at.utcoffset()
    if offset is None:
        raise Edl40Error(f"{text} has no offset")
    return int(at.timestamp()) + int(offset.total_seconds())


def _row(values: ValueList, name: bytes) -> Entry:
    entry = values.entries.get(name)
    if entry is None:
        raise Edl40Error(f"{name.hex()} is missing")
    return entry


def _number(entry: Entry) -> int:
    if not isinstance(entry.value, int):
        raise Edl40Error("a number is missing")
    return entry.value


def _little(number: int, size: int) -> bytes:
    return (number & (1 << 8 * size) - 1).to_bytes(size, "little")


def _scaled(register: int, scaler: int) -> str:
    """A register in Wh, digit by digit."""
    if not -9 <= scaler <= 9:
        return ""
    if scaler >= 0:
        return str(register * 10**scaler)
    text = str(abs(register)).rjust(1 - scaler, "0")
    return f"{'-' if register < 0 else ''}{text[:scaler]}.{text[scaler:]}"


__all__ = ["Edl40Error", "Signed", "SmlError", "is_isa", "of_bare_bytes", "of_mennekes", "of_sml"]
