"""The edge of the load manager: once a site second it gathers a snapshot, lets `decide.step` judge it, and sends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from gateway.load import view
from gateway.load.books import Answer
from gateway.load.decide import step
from gateway.load.foreign import Sample, circuit_current, connector_current
from gateway.load.notices import notices
from gateway.load.pacing import Command
from gateway.load.plant import plant_of
from gateway.load.state import Inputs, State
from gateway.model import (
    ChargerPort,
    Clock,
    ConnectorRef,
    Event,
    LimitOutcome,
    MeterPort,
    PhaseMa,
    Reading,
    Severity,
    Tell,
)
from gateway.site import Circuit, Connector, Site

TICK_S = 1.0
SAMPLES = 20
"""Samples kept per meter: more than the alignment of `foreign` looks back, at one reading a second."""


class ControlLoop:
    """Shares the current of one site. `beat` is the site-monotonic time of the last finished tick."""

    def __init__(self, site: Site, clock: Clock, chargers: ChargerPort, meters: MeterPort, tell: Tell) -> None:
        self._clock = clock
        self._chargers = chargers
        self._meters = meters
        self._tell = tell
        self._plant = plant_of(site)
        self._duration_s = site.ocpp.limit_duration_s
        # A reading a second and meter comes in: what it is for is looked up, not searched.
        self._circuits_of = _by_meter(site.circuits)
        self._connectors_of = _by_meter(site.connectors())
        self._totals: dict[str, tuple[Sample, ...]] = {}
        self._draws: dict[ConnectorRef, tuple[Sample, ...]] = {}
        self._answers: list[Answer] = []
        self._state = State(clock.monotonic())
        self._failing = ""
        self.beat = clock.monotonic()
        meters.subscribe(self._on_reading)

    async def run(self) -> None:
        """Tick at absolute deadlines until cancelled; ticks that were missed are left out."""
        self._state = State(self._clock.monotonic())
        for meter in sorted(self._circuits_of.keys() | self._connectors_of.keys()):
            if (reading := self._meters.latest(meter)) is not None:
                self._on_reading(reading)
        async with asyncio.TaskGroup() as senders:
            due_s = self._clock.monotonic()
            while True:
                self._guarded_tick(senders)
                now_s = self._clock.monotonic()
                due_s += TICK_S
                if due_s <= now_s:
                    due_s = now_s + TICK_S - (now_s - due_s) % TICK_S
                await self._clock.sleep(due_s - now_s)

    def status(self) -> dict[str, Any]:
        """`circuits` and the load's keys of `connectors`, JSON-able."""
        return view.status(self._plant, self._state, self._clock.utc_ms())

    def _guarded_tick(self, senders: asyncio.TaskGroup) -> None:
        """A tick that fails must not end the gateway: the limits in force run out, and the fallbacks govern."""
        try:
            commands = self._tick()
        except Exception as error:  # noqa: BLE001 - the border of a task: told, and `beat` stands still
            cause = f"{type(error).__name__}: {error}"
            if cause != self._failing:
                self._failing = cause
                step_ = "restart the gateway, and send us its log; the chargers go to their fallbacks"
                self._tell(Event("control_failed", "load", cause, step_, Severity.ERROR, keep=True))
            return
        self._failing = ""
        self.beat = self._clock.monotonic()
        for command in commands:
            senders.create_task(self._send(command))

    def _tick(self) -> Iterable[Command]:
        now_s = self._clock.monotonic()
        answers, self._answers = tuple(self._answers), []
        inputs = Inputs(
            now_s,
            tuple(self._chargers.connectors()),
            dict(self._draws),
            dict(self._totals),
            answers,
        )
        outcome = step(self._plant, self._state, inputs)
        self._state, events = notices(self._plant, outcome.state, now_s)
        for event in events:
            self._tell(event)
        return outcome.commands

    async def _send(self, command: Command) -> None:
        sent_s = self._clock.monotonic()
        try:
            outcome = await self._chargers.set_limit(
                command.ref, command.limit_ma, duration_s=self._duration_s, raising=command.raising
            )
        except Exception as error:  # noqa: BLE001 - the border of a task: counted as unanswered, and told
            outcome = LimitOutcome.SILENT
            cause = f"its limit could not be sent: {type(error).__name__}: {error}"
            self._tell(Event("limit_failed", str(command.ref), cause, "see the log", Severity.ERROR))
        self._answers.append(
            Answer(command.ref, command.transaction, command.limit_ma, sent_s, self._clock.monotonic(), outcome)
        )

    def _on_reading(self, reading: Reading) -> None:
        for circuit in self._circuits_of.get(reading.meter, ()):
            if (total := circuit_current(reading, circuit.phases)) is not None:
                self._totals[circuit.id] = self._kept(self._totals.get(circuit.id, ()), reading, total)
        for one in self._connectors_of.get(reading.meter, ()):
            if (draw := connector_current(reading, one)) is not None:
                self._draws[one.ref] = self._kept(self._draws.get(one.ref, ()), reading, draw)

    def _kept(self, samples: tuple[Sample, ...], reading: Reading, ma: PhaseMa) -> tuple[Sample, ...]:
        """The sample's age counts from the request, so what it says is never taken for newer than it is."""
        age_s = max(0, self._clock.utc_ms() - reading.requested_ms) / 1000
        at_s = self._clock.monotonic() - age_s
        if samples and at_s <= samples[-1].at_s:
            return samples
        return (*samples[1 - SAMPLES :], Sample(at_s, ma))


_Metered = TypeVar("_Metered", Circuit, Connector)


def _by_meter(metered: Iterable[_Metered]) -> dict[str, list[_Metered]]:
    found: dict[str, list[_Metered]] = {}
    for one in metered:
        if one.meter is not None:
            found.setdefault(one.meter, []).append(one)
    return found
