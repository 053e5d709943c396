"""Requests and their replies over one connection of pymodbus, one at a time, each with its deadline.

The library builds the frame, sends it, and hands over the first reply that bears the request's unit and transaction
number. Its own `execute` does the same behind a lock, in a task-aware wait, with repeats and a count of silent requests
of any unit after which it closes the connection. A line has one owner that asks one thing at a time, and a dead unit
must not cost the others: what is left is a future and a timer, some ten times a second for years.
"""

from __future__ import annotations

import asyncio

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer import FramerRTU
from pymodbus.pdu import ModbusPDU

from gateway.meters.framing import REPLIES, SerialFraming
from gateway.meters.on_the_line import OnTheLine


class Transactions:
    """The requests of one connection. One timer looks after all of them: nearly every request is answered before."""

    def __init__(
        self, client: AsyncModbusTcpClient | AsyncModbusSerialClient, on_the_line: OnTheLine, timeout_s: float
    ) -> None:
        """`timeout_s` is link time."""
        for reply in REPLIES.values():
            client.register(reply)
        if isinstance(client.ctx.framer, FramerRTU):
            client.ctx.framer = SerialFraming(client.ctx.framer.decoder)
        self._manager, self._on_the_line, self._timeout_s = client.ctx, on_the_line, timeout_s
        self._reply: asyncio.Future[ModbusPDU | None] | None = None
        self._until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def reply(self, request: ModbusPDU) -> ModbusPDU | None:
        """The reply to `request`; None where none has come after the time-out, also on a lost connection."""
        loop, manager = asyncio.get_running_loop(), self._manager
        self._reply = manager.response_future = loop.create_future()
        request.transaction_id = manager.getNextTID()
        manager.recv_buffer = b""
        manager.pdu_send(request)
        self._on_the_line.handed_over()
        self._until_s = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_at(self._until_s, self._look, self._until_s)
        return await self._reply

    def _look(self, at_s: float) -> None:
        """The time of a request is over: of the one that waits now, or of one before it."""
        self._timer = None
        if self._reply is None or self._reply.done():
            return
        if self._until_s <= at_s:
            self._reply.set_result(None)
        else:
            self._timer = asyncio.get_running_loop().call_at(self._until_s, self._look, self._until_s)
