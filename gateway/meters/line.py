"""One Modbus line with its guard: a request gives the registers that were asked for, or none.

An RTU reply names its unit and function, not the address; pymodbus takes whatever comes next for the answer, so a late
reply would be taken for the answer to the next request. Against it stand: function, unit and number of registers are
checked; the blocks of a meter have lengths of their own (`blocks`); after a request that failed the line stays
silent until two time-outs after that request really went out (`on_the_line`: a busy machine may send late), and what
came by then is read away before the next one; nothing outside ever cancels a request; the library neither repeats
requests nor reconnects by itself. So a reply that comes within two time-outs of its request is never another's,
however the machine stands still. TCP has transaction numbers and needs no silence. The frames, the connection and the
sorting out of frames of other units and transactions are pymodbus's; a request's time-out is ours (`transaction`), and
so is a short way for the reply that comes whole (`framing`).

Time-out, pause and silence are link time; the instants in an `Answer` are site time.
"""

from __future__ import annotations

import asyncio
import logging
import os

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from gateway.meters.answer import Answer, Outcome
from gateway.meters.meter_model import Span, Table
from gateway.meters.on_the_line import REST_OF_A_FRAME_S, OnTheLine
from gateway.meters.transaction import Transactions
from gateway.meters.words import meaning
from gateway.model import Clock
from gateway.site import Bus

REQUESTS: dict[Table, type[ReadHoldingRegistersRequest | ReadInputRegistersRequest]] = {
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}
_Found = tuple[Outcome, tuple[int, ...], int, str]
"""As in an `Answer`: the outcome, the registers, the code of a refusal, a word for the log."""

NO_ANSWER = "no answer"
WORST_REPLY = 2
"""So many time-outs after its request a meter's reply may still come."""

STOOD_STILL_S = 0.005
"""A loop that wakes up so much too late was not only busy with its own."""


class Line:
    """The connection to one bus. One request at a time: its owner is one task."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._transactions: Transactions | None = None
        self._free_at = 0.0
        self._doubtful = True
        """Whether something that nobody waits for any more may still come."""

        self._on_the_line = OnTheLine(serial=bus.device is not None)
        self._rtu = bus.device is not None or bus.rtu_over_tcp
        # The library logs every time-out as an error; we tell of a meter once.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

    @property
    def connected(self) -> bool:
        """Whether the port is open."""
        return self._client is not None and bool(self._client.connected)

    @property
    def place(self) -> str:
        """Where the line goes, for people."""
        return self._bus.device or f"{self._bus.host}:{self._bus.port}"

    async def connect(self) -> str | None:
        """Open the port. None when it is open, else the cause in words."""
        self.close()
        client = self._make_client()
        try:
            opened = await client.connect()
        except OSError as error:
            client.close()
            return f"{self.place}: {error.strerror or self._cause()}"
        except (ModbusException, ValueError):
            client.close()
            return self._cause()
        if not opened:
            client.close()
            return self._cause()
        self._client = client
        self._transactions = Transactions(client, self._on_the_line, self._bus.timeout_s)
        self._on_the_line.transport = client.ctx.transport
        self._doubtful = True
        # What the line was told before we came may still be answered (home-assistant/core #148329).
        self._free_at = asyncio.get_running_loop().time() + (WORST_REPLY * self._bus.timeout_s if self._rtu else 0.0)
        return None

    def close(self) -> None:
        """Close the port."""
        if self._client is not None:
            self._client.close()
            self._client = self._transactions = None

    async def read(self, unit: int, span: Span) -> Answer:
        """Ask `unit` for `span`. Takes at most the pause or silence due, and one time-out; two on a babbling line."""
        loop = asyncio.get_running_loop()
        wait_s = self._free_at - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            if loop.time() - self._free_at > STOOD_STILL_S:
                # So may the kernel have: what the adapter brought meanwhile is still on its way to us.
                await asyncio.sleep(REST_OF_A_FRAME_S)
        # After a good answer the pause is enough: the loop hands on what comes in it. Without one nothing has.
        if self._rtu and (self._doubtful or not self._bus.pause_s):
            await self._on_the_line.settle(self._bus.timeout_s)
        requested_ms, from_s = self._clock.utc_ms(), self._clock.monotonic()
        self._doubtful = True  # also where nobody waits for the answer to the end
        if self._transactions is None or not self.connected:
            outcome, words, code, why = self._down("not connected")
        else:
            request = REQUESTS[span.table](address=span.address, count=span.count, dev_id=unit)
            outcome, words, code, why = self._found(request, await self._transactions.reply(request))
        self._doubtful = outcome not in (Outcome.GOOD, Outcome.REFUSED)
        self._free_at = self._next_at(failed=self._doubtful)
        return Answer(outcome, requested_ms, self._clock.utc_ms(), from_s, self._clock.monotonic(), words, code, why)

    def _down(self, why: str) -> _Found:
        return Outcome.DOWN, (), 0, why

    def _found(self, request: ModbusPDU, reply: ModbusPDU | None) -> _Found:
        """What the reply to a request is."""
        if reply is None:
            if not self.connected:
                return self._down("the connection was lost")
            if self._on_the_line.stuck:
                # Or it would go out together with a later one.
                return self._down("the port takes no request")
            return Outcome.SILENT, (), 0, NO_ANSWER
        if reply.transaction_id == 0:
            # A converter that leaves the number out gives no better proof than a serial line: guard it like one.
            self._rtu = True
        if reply.dev_id != request.dev_id:
            return Outcome.WRONG, (), 0, f"unit {reply.dev_id} answered for unit {request.dev_id}"
        if reply.function_code & 0x7F != request.function_code:
            return Outcome.WRONG, (), 0, f"function {reply.function_code} answered"
        if reply.isError():
            code = int(reply.exception_code)
            return Outcome.REFUSED, (), code, f"register {request.address}: {meaning(code)}"
        if len(reply.registers) != request.count:
            return Outcome.WRONG, (), 0, f"{len(reply.registers)} registers came, {request.count} were asked for"
        return Outcome.GOOD, tuple(reply.registers), 0, ""

    def _next_at(self, *, failed: bool) -> float:
        """When the next request may go out, on the loop's clock."""
        now_s, timeout_s = asyncio.get_running_loop().time(), self._bus.timeout_s
        if not failed or not self._rtu:
            return now_s + self._bus.pause_s
        return max(now_s + timeout_s, self._on_the_line.sent_s(now_s) + WORST_REPLY * timeout_s)

    def _make_client(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        bus = self._bus
        if bus.device is not None:
            return AsyncModbusSerialClient(
                bus.device,
                framer=FramerType.RTU,
                baudrate=bus.baud,
                parity=bus.parity,
                stopbits=bus.stop_bits,
                timeout=bus.timeout_s,
                retries=0,
                reconnect_delay=0,
                trace_packet=self._on_the_line.trace,
            )
        return AsyncModbusTcpClient(
            bus.host or "",
            port=bus.port,
            framer=FramerType.RTU if bus.rtu_over_tcp else FramerType.SOCKET,
            timeout=bus.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._on_the_line.trace,
        )

    def _cause(self) -> str:
        device = self._bus.device
        if device is None:
            return f"{self.place} does not accept a connection"
        if not device.startswith("/"):
            return f"{device} cannot be opened"
        if not os.path.exists(device):
            return f"{device} is not there"
        if not os.access(device, os.R_OK | os.W_OK):
            return f"no permission to open {device}"
        return f"{device} is in use or is no serial port"
