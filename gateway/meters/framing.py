"""What of pymodbus's framing is done some ten times a second for years: a short way beside the library's own.

A request to a meter is the same bytes again and again, and nearly every reply comes whole and alone. Whatever else
comes (pieces, echoes, frames of other units, damage, refusals) is taken apart by the library.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse

AROUND = 5
"""Bytes of an RTU reply beside its registers: unit, function, their number; and the CRC behind them."""


class HoldingRegisters(ReadHoldingRegistersResponse):
    """A reply as the library's own, but its registers are taken apart at once and not one by one."""

    def decode(self, data: bytes) -> None:
        """ModbusIOException where the reply holds less than it says."""
        size = data[0]
        if size >= len(data):
            raise ModbusIOException(f"{len(data) - 1} of {size} bytes came", function_code=self.function_code)
        self.registers = struct.unpack_from(f">{size // 2}H", data, 1)

    def __str__(self) -> str:
        """The library writes out each reply for its log, also where nobody reads that."""
        return f"{len(self.registers)} registers of unit {self.dev_id}"


class InputRegisters(HoldingRegisters):
    """Those of the other table."""

    function_code = 4


REPLIES: dict[int, type[HoldingRegisters]] = {one.function_code: one for one in (HoldingRegisters, InputRegisters)}


class SerialFraming(FramerRTU):
    """RTU frames."""

    def buildFrame(self, message: ModbusPDU) -> bytes:  # noqa: N802 - the library's name
        """The bytes of a request for registers."""
        return _request(message.dev_id, message.function_code, message.address, message.count)

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:  # noqa: N802
        """What `data` begins with: the bytes that are used up, and the reply, if it is one of unit `exp_devid`."""
        size = len(data) - AROUND
        if size > 0 and data[0] == exp_devid and data[1] in REPLIES and data[2] == size:
            reply = _whole(data)
            if reply is not None:
                return len(data), reply
        return super().handleFrame(data, exp_devid, exp_tid)


@lru_cache(maxsize=1024)
def _request(unit: int, function: int, address: int, count: int) -> bytes:
    frame = struct.pack(">BBHH", unit, function, address, count)
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


@lru_cache(maxsize=256)
def _whole(frame: bytes) -> HoldingRegisters | None:
    """A whole reply, None where it is damaged. Where nothing flows the same comes again and again."""
    if FramerRTU.compute_CRC(frame):  # 0 over a frame with its own behind it
        return None
    return REPLIES[frame[1]](frame[0], registers=struct.unpack_from(f">{frame[2] // 2}H", frame, 3))
