"""Meters behind Modbus TCP, RTU over TCP, and RTU on a pseudo terminal: many units on one line, each with its faults.

What a meter answers comes from a callable; what goes wrong on the way comes from `slave.faults[unit]`. pymodbus's own
server cannot play a dead, late or garbling unit (it answers an exception in place of silence), hence this one.
"""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from simulators.modbus_frames import (
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    LARGEST_READ,
    Request,
    Table,
    exception_pdu,
    parse_rtu,
    parse_tcp,
    reply_pdu,
    rtu_frame,
    tcp_frame,
)

Answer = list[int] | int | None
"""Registers, an exception code, or None: silence."""

Read = Callable[[int, Table, int, int], Answer]
"""(unit, table, address, count) -> answer. Called once for each request, when it has arrived."""

BITS_PER_CHARACTER = 11
FaultKind = Literal[
    "silent", "late", "bad_crc", "garbled", "truncated", "echo", "stray", "frozen", "exception", "equal", "chunked"
]


@dataclass(slots=True)
class Fault:
    """What is wrong with a unit.

    `every` = n lets every n-th request be hit (1: all). `seconds` (real) is the delay of "late", the gap of "chunked"
    and the time from "echo" to answer; `code` the exception of "exception" and the register value of "equal".
    """

    kind: FaultKind
    seconds: float = 0.0
    every: int = 1
    code: int = 4
    seen: int = 0

    def strikes(self) -> bool:
        """Count a request; is this one hit?"""
        self.seen += 1
        return self.seen % self.every == 0


@dataclass(frozen=True, slots=True)
class Served:
    """Registers that a unit gave to the line; what the judge later calls the truth of a register."""

    unit: int
    table: Table
    address: int
    registers: tuple[int, ...]


class Units:
    """All units of one line: from a request to the bytes that the line carries back, and after how long."""

    def __init__(
        self,
        read: Read,
        *,
        served: Callable[[Served], None] | None = None,
        baud: int | None = None,
        turnaround_s: Mapping[int, float] | float = 0.0,
    ) -> None:
        """`baud` makes the line as slow as a real one (11 bits a character); None answers at once.

        `turnaround_s` is how long every unit, or each one by its number, thinks before it answers.
        """
        self.faults: dict[int, Fault] = {}
        self.requests = 0
        self._read = read
        self._served = served
        self._baud = baud
        self._turnaround_s = turnaround_s
        self._frozen: dict[tuple[int, Table, int, int], Answer] = {}

    def answer(self, request: Request, *, rtu: bool) -> list[tuple[float, bytes]]:
        """The pieces to write: (seconds from now, bytes). Empty: silence."""
        self.requests += 1
        fault = self.faults.get(request.unit)
        kind = fault.kind if fault is not None and fault.strikes() else None
        if kind == "silent":
            return []
        pdu = self._pdu(request, kind, fault)
        if pdu is None:
            return []
        frame = rtu_frame(request.unit, pdu) if rtu else tcp_frame(request, pdu)
        late_s = fault.seconds if fault is not None and kind == "late" else 0.0
        delay_s = self._wire_s(request.unit, len(frame)) + late_s
        return _damaged(frame, request, delay_s, kind, fault, rtu=rtu)

    def _pdu(self, request: Request, kind: FaultKind | None, fault: Fault | None) -> bytes | None:
        table = request.table
        if fault is not None and kind == "exception":
            return exception_pdu(request, fault.code)
        if table is None:
            return exception_pdu(request, ILLEGAL_FUNCTION)
        if not 1 <= request.count <= LARGEST_READ:
            return exception_pdu(request, ILLEGAL_VALUE)
        answer = self._registers(request, table, kind, fault)
        if answer is None:
            return None
        if isinstance(answer, int):
            return exception_pdu(request, answer)
        if self._served is not None:
            self._served(Served(request.unit, table, request.address, tuple(answer)))
        return reply_pdu(request, answer)

    def _registers(self, request: Request, table: Table, kind: FaultKind | None, fault: Fault | None) -> Answer:
        if fault is not None and kind == "equal":
            return [fault.code] * request.count
        key = (request.unit, table, request.address, request.count)
        if kind == "frozen" and key in self._frozen:
            return self._frozen[key]
        answer = self._read(*key)
        if kind == "frozen":
            self._frozen[key] = answer
        return answer

    def _wire_s(self, unit: int, reply_bytes: int) -> float:
        thinks = self._turnaround_s
        thinks_s = thinks.get(unit, 0.0) if isinstance(thinks, Mapping) else thinks
        if self._baud is None:
            return thinks_s
        return (8 + reply_bytes) * BITS_PER_CHARACTER / self._baud + thinks_s


def _damaged(
    frame: bytes, request: Request, delay_s: float, kind: FaultKind | None, fault: Fault | None, *, rtu: bool
) -> list[tuple[float, bytes]]:
    """The frame as the line delivers it."""
    if kind == "bad_crc":
        frame = frame[:-1] + bytes((frame[-1] ^ 0x55,))
    elif kind == "garbled":
        frame = bytes(byte ^ 0xA5 for byte in frame)
    elif kind == "truncated":
        frame = frame[: len(frame) // 2]
    elif kind == "stray":
        frame = b"\x00" + frame
    elif kind == "echo" and rtu:
        sent = bytes((request.function,)) + request.address.to_bytes(2, "big") + request.count.to_bytes(2, "big")
        return [(0.0, rtu_frame(request.unit, sent)), (delay_s + (fault.seconds if fault else 0.0), frame)]
    elif kind == "chunked" and fault is not None:
        return [(delay_s + n * fault.seconds, frame[n * 3 : n * 3 + 3]) for n in range((len(frame) + 2) // 3)]
    return [(delay_s, frame)]


Writer = Callable[[bytes], None]


def _send(pieces: list[tuple[float, bytes]], write: Writer) -> None:
    loop = asyncio.get_running_loop()
    for delay_s, data in pieces:
        if delay_s > 0:
            loop.call_later(delay_s, write, data)
        else:
            write(data)


class _Connection(asyncio.Protocol):
    def __init__(self, units: Units, *, rtu: bool) -> None:
        self._units = units
        self._rtu = rtu
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            try:
                request, used = parse_rtu(self._buffer) if self._rtu else parse_tcp(self._buffer)
            except ValueError:
                self.close()
                return
            self._buffer = self._buffer[used:]
            if request is None:
                return
            _send(self._units.answer(request, rtu=self._rtu), self._write)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


class TcpSlave:
    """The units behind a TCP port; `rtu=True` carries RTU frames, as a transparent serial converter does."""

    def __init__(self, units: Units, *, rtu: bool = False) -> None:
        self.units = units
        self._rtu = rtu
        self._server: asyncio.Server | None = None
        self._connections: list[_Connection] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    def drop(self) -> None:
        """Cut every connection, as a rebooting converter does."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        self.drop()
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self) -> _Connection:
        connection = _Connection(self.units, rtu=self._rtu)
        self._connections.append(connection)
        return connection


class PtySlave:
    """The units on a serial line. `path` is the terminal that the gateway opens; it outlives the gateway's death."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self.path, self._line, self._held = open_pty_line()
        self._buffer = b""

    def start(self) -> str:
        """Answer from now on; returns `path`."""
        asyncio.get_running_loop().add_reader(self._line, self._readable)
        return self.path

    def close(self) -> None:
        """Pull the plug."""
        if self._line < 0:
            return
        asyncio.get_running_loop().remove_reader(self._line)
        os.close(self._line)
        os.close(self._held)
        self._line = self._held = -1

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self._line, 4096)
        except BlockingIOError:
            return
        while True:
            request, used = parse_rtu(self._buffer)
            self._buffer = self._buffer[used:]
            if request is None:
                return
            _send(self.units.answer(request, rtu=True), self._write)

    def _write(self, data: bytes) -> None:
        if self._line < 0:
            return
        try:
            os.write(self._line, data)
        except BlockingIOError:
            # Nobody reads at the other end: a real line loses the bytes too.
            return


def open_pty_line() -> tuple[str, int, int]:
    """A serial line: (path for the master of the bus, our end, non-blocking, the held other end).

    The other end is held open so that the line survives when the process that reads it dies.
    """
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    return os.ttyname(theirs), ours, theirs
