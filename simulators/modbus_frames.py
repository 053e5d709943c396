"""Pure: Modbus frames as a slave sees them (Modbus application protocol V1.1b3, serial line V1.02), RTU and TCP.

Written for the simulators alone; nothing here is shared with the gateway.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Table = Literal["holding", "input"]
TABLES: dict[int, Table] = {3: "holding", 4: "input"}
ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
LARGEST_READ = 125
RTU_REQUEST_BYTES = 8
"""Unit, function, address, count, CRC: every request that a register meter gets has this length."""

LARGEST_RTU_FRAME = 256


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the PDU's function and its two words. `transaction` is 0 on a serial line."""

    unit: int
    function: int
    address: int
    count: int
    transaction: int = 0

    @property
    def table(self) -> Table | None:
        """Which table is read; None for a function that is not a register read."""
        return TABLES.get(self.function)


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> bytes:
    """The two CRC bytes of `data`, low byte first as on the line."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def parse_rtu(buffer: bytes) -> tuple[Request | None, int]:
    """The first request in `buffer` and how many bytes it used up, bytes before it included.

    A line has no frame marks: whatever does not pass its CRC is skipped byte by byte.
    """
    for start in range(len(buffer) - RTU_REQUEST_BYTES + 1):
        end = start + RTU_REQUEST_BYTES
        if crc16(buffer[start : end - 2]) == buffer[end - 2 : end]:
            unit, function, address, count = struct.unpack_from(">BBHH", buffer, start)
            return Request(unit, function, address, count), end
    surplus = len(buffer) - LARGEST_RTU_FRAME
    return None, max(surplus, 0)


def parse_tcp(buffer: bytes) -> tuple[Request | None, int]:
    """The first request in `buffer` and the bytes it used; (None, 0) while it is incomplete.

    Raises ValueError on a header that is no Modbus: the connection cannot be read on.
    """
    if len(buffer) < 8:
        return None, 0
    transaction, protocol, length, unit, function = struct.unpack_from(">HHHBB", buffer)
    if protocol != 0 or not 2 <= length <= 254:
        raise ValueError("not a Modbus TCP header")
    if len(buffer) < 6 + length:
        return None, 0
    address, count = struct.unpack_from(">HH", buffer, 8) if length >= 6 else (0, 0)
    return Request(unit, function, address, count, transaction), 6 + length


def reply_pdu(request: Request, registers: Sequence[int]) -> bytes:
    """A good answer."""
    data = struct.pack(f">{len(registers)}H", *registers)
    return bytes((request.function, len(data))) + data


def exception_pdu(request: Request, code: int) -> bytes:
    """A refusal."""
    return bytes((request.function | 0x80, code))


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """`pdu` as it goes over a serial line."""
    body = bytes((unit,)) + pdu
    return body + crc16(body)


def tcp_frame(request: Request, pdu: bytes) -> bytes:
    """`pdu` as the answer to `request` over TCP."""
    return struct.pack(">HHHB", request.transaction, 0, len(pdu) + 1, request.unit) + pdu
