"""Requests over one connection of pymodbus: each has its own time, and one timer looks after all of them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import ScaledClock
from gateway.meters.answer import Outcome
from gateway.meters.line import Line
from gateway.meters.meter_model import Span
from gateway.site import Bus
from simulators.modbus_slave import Fault, TcpSlave, Units
from tests.site.loop import SimLoop
from tests.site.net import Network

TIMEOUT_S = 0.3
SPAN = Span("input", 0, 4)


class CountingLoop(SimLoop):
    """Virtual time; remembers for when timers were set by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: list[float] = []

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        if getattr(callback, "__qualname__", "").startswith("Transactions."):
            self.deadlines.append(when)
        return super().call_at(when, callback, *args, context=context)


@pytest.fixture
def loop() -> CountingLoop:
    loop = CountingLoop()
    Network(loop, 1)
    return loop


async def _line(units: Units, clock: ScaledClock) -> Line:
    await TcpSlave(units).start("meters", 502)
    line = Line(Bus(id="b", host="meters", timeout_s=TIMEOUT_S, pause_s=0.0), clock)
    assert await line.connect() is None
    return line


def test_a_request_waits_for_its_own_time_whenever_the_one_before_was_asked(
    loop: CountingLoop, clock: ScaledClock
) -> None:
    """The timer of an answered request is still set when the next one goes out: it does not cut that one short."""
    units = Units(lambda unit, table, address, count: [7] * count, turnaround_s=0.02)

    async def scenario() -> None:
        line = await _line(units, clock)
        for _ in range(5):
            assert (await line.read(1, SPAN)).words == (7, 7, 7, 7)
        units.faults[1] = Fault("late", seconds=TIMEOUT_S - 0.05)
        assert (await line.read(1, SPAN)).outcome is Outcome.GOOD
        units.faults[1] = Fault("silent")
        asked_s = loop.time()
        assert (await line.read(1, SPAN)).outcome is Outcome.SILENT
        assert loop.time() - asked_s == pytest.approx(TIMEOUT_S)
        line.close()

    loop.run_until_complete(scenario())


def test_no_timer_is_set_for_a_request_that_is_answered_while_one_is_set(
    loop: CountingLoop, clock: ScaledClock
) -> None:
    units = Units(lambda unit, table, address, count: [7] * count, turnaround_s=0.02)

    async def scenario() -> None:
        line = await _line(units, clock)
        begun_s, reads = loop.time(), 200
        for _ in range(reads):
            await line.read(1, SPAN)
        line.close()
        assert len(loop.deadlines) <= (loop.time() - begun_s) / TIMEOUT_S * 2 + 1
        assert len(loop.deadlines) < reads / 4
        await asyncio.sleep(2 * TIMEOUT_S)  # what is still set finds nobody who waits

    loop.run_until_complete(scenario())
