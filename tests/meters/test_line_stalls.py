"""The guard against late replies on a machine that stands still at any moment: on one seed, in virtual time."""

import asyncio
from collections import Counter
from random import Random

import pytest
from pymodbus.transport import serialtransport

from gateway.clock import ScaledClock
from gateway.meters.answer import Outcome
from gateway.meters.line import Line
from gateway.meters.meter_model import Span
from gateway.site import Bus
from tests.meters.stalls import SlowMeter, SocketPort, StallingLoop

TIMEOUT_S = 0.3
READS = 150
SERIAL = Bus(id="b", device="/dev/ttyUSB0", timeout_s=TIMEOUT_S, pause_s=0.01)
OVER_TCP = Bus(id="b", host="converter", rtu_over_tcp=True, timeout_s=TIMEOUT_S, pause_s=0.01)
EQUAL = (Span("input", 0, 6), Span("input", 70, 6))
"""Blocks of one length: nothing but the silence tells their replies apart."""


def played(
    bus: Bus, seed: int, monkeypatch: pytest.MonkeyPatch, clock: ScaledClock, *, stall_share: float, late: float = 0.3
) -> tuple[Counter[Outcome], int]:
    """Outcomes, and how many values were not those that this very request asked for."""
    random = Random(seed)
    meter = SlowMeter(random, worst_s=2 * TIMEOUT_S, late_share=late)
    loop = StallingLoop(random, meter, longest_stall_s=1.5 * TIMEOUT_S)
    monkeypatch.setattr(serialtransport.serial, "serial_for_url", lambda *_, **__: SocketPort(loop, meter))

    async def play() -> tuple[Counter[Outcome], int]:
        line = Line(bus, clock)
        assert await line.connect() is None
        loop.stall_share = stall_share
        outcomes: Counter[Outcome] = Counter()
        wrong = 0
        for i in range(READS):
            span = EQUAL[i % 2]
            answer = await line.read(1, span)
            outcomes[answer.outcome] += 1
            own = (meter.requests, *range(span.address + 1, span.end))
            wrong += answer.outcome is Outcome.GOOD and answer.words != own
        line.close()
        return outcomes, wrong

    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(play())
    finally:
        meter.close()


@pytest.mark.parametrize("bus", [SERIAL, OVER_TCP], ids=["serial", "over TCP"])
@pytest.mark.parametrize("seed", range(25))
def test_no_late_reply_is_believed_however_the_machine_stands_still(
    bus: Bus, seed: int, monkeypatch: pytest.MonkeyPatch, clock: ScaledClock
) -> None:
    """A third of the replies up to two time-outs late, stalls of up to one and a half: 0 wrong, not all is lost."""
    outcomes, wrong = played(bus, seed, monkeypatch, clock, stall_share=0.05)
    assert wrong == 0
    assert outcomes[Outcome.SILENT] > 10
    assert outcomes[Outcome.GOOD] > READS // 3


@pytest.mark.parametrize("bus", [SERIAL, OVER_TCP], ids=["serial", "over TCP"])
def test_the_guard_loses_nothing_on_a_line_in_order(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, clock: ScaledClock
) -> None:
    outcomes, wrong = played(bus, 1, monkeypatch, clock, stall_share=0.0, late=0.0)
    assert (outcomes, wrong) == ({Outcome.GOOD: READS}, 0)
