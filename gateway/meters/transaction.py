"""One request and its reply over a connection of pymodbus, with one deadline.

The library builds the frame, sends it, and hands over the first reply that bears the request's unit and transaction
number. Its own `execute` does the same behind a lock, in a task-aware wait, with repeats and a count of silent requests
of any unit after which it closes the connection. A line has one owner that asks one thing at a time, and a dead unit
must not cost the others: what is left is a future and a timer, some ten times a second for years.
"""

from __future__ import annotations

import asyncio

from pymodbus.pdu import ModbusPDU
from pymodbus.transaction import TransactionManager


async def transact(manager: TransactionManager, request: ModbusPDU, timeout_s: float) -> ModbusPDU | None:
    """The reply to `request`; None where none has come after `timeout_s` (link time), also on a lost connection."""
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[ModbusPDU | None] = loop.create_future()
    request.transaction_id = manager.getNextTID()
    manager.recv_buffer = b""
    manager.response_future = reply
    manager.pdu_send(request)
    deadline = loop.call_later(timeout_s, _no_more, reply)
    try:
        return await reply
    finally:
        deadline.cancel()


def _no_more(reply: asyncio.Future[ModbusPDU | None]) -> None:
    if not reply.done():
        reply.set_result(None)
