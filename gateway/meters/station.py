"""One meter: from the answered requests of a task to a good reading, kept for 15 minutes - or to a quarantined one.

A Reading whose `import_wh` and `export_wh` are None carries no register: power and current only. One without power and
current is an energy reading ahead of the poll plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.meters.answer import Answer
from gateway.meters.meter_model import ENERGY_NAMES, MeterModel, Span
from gateway.meters.quality import Limits, Reason, Sample, Trust, all_equal, judge
from gateway.meters.registers import Decoded, Words, decode, decode_serial, in_range, same_serial, step_wh
from gateway.meters.words import energy_of, shown_wh
from gateway.model import INTERVAL_MS, Clock, Event, Reading, Severity, Tell
from gateway.site import Meter

Listener = Callable[[Reading], None]


@dataclass(slots=True)
class Counters:
    """For `status`."""

    timeouts: int = 0
    rejected: int = 0


class Station:
    """The knowledge of one meter. It never asks anything; its bus does."""

    def __init__(
        self, meter: Meter, model: MeterModel, possible_w: int, clock: Clock, tell: Tell, emit: Listener
    ) -> None:
        self.meter = meter
        self.model = model
        self.counters = Counters()
        self.serial: str | None = None
        self.latest: Reading | None = None
        self._series: deque[Reading] = deque()
        self._possible_w = possible_w
        self.usual_w: int | None = None
        self._clock = clock
        self._tell = tell
        self._emit = emit
        self._trust = Trust()
        self._named_s: float | None = None
        self._told: Reason | None = None
        self._complete_seen = False

    @property
    def unconfirmed(self) -> bool:
        """Whether the first good reading still waits for a second one."""
        return self._trust.good is None

    @property
    def wants_name(self) -> bool:
        """Whether a changed level waits for the serial number, or a wrong one answers: until it does no more."""
        return self._foreign_serial() or self._trust.unnamed(self._named_s)

    def series(self, from_ms: int, to_ms: int) -> Sequence[Reading]:
        """Good readings requested in [from_ms, to_ms], oldest first."""
        return [reading for reading in self._series if from_ms <= reading.requested_ms <= to_ms]

    def why_not(self, probe: Answer, block: Span) -> str | None:
        """Does the probe's answer come from a meter of this model? None if so, else why not."""
        proof = self.model.probe
        words = _cut({block: probe}, proof.register.span)
        if words is not None and in_range(proof.register, words, proof.low, proof.high):
            return None
        shown = " ".join(f"{word:04x}" for word in words or ())
        return f"register {proof.register.span.address} holds {shown}: no {self.model.name} answers that"

    def learn_serial(self, answer: Answer, block: Span) -> None:
        """The block that holds the serial number has been read."""
        source = self.model.serial
        words = _cut({block: answer}, source.span) if source is not None else None
        found = decode_serial(source, words) if source is not None and words is not None else None
        if found is not None:
            self._named_s = answer.from_s
        if found is None or found == self.serial:
            return
        before, self.serial = self.serial, found
        if self._foreign_serial():
            self._tell_swapped(f"serial {found} answers where the configuration says {self.meter.serial}")
        elif before is not None and self.meter.serial is not None:
            cause = f"serial {found} answers again, as the configuration says"
            self._tell(Event("meter_unswapped", f"meter {self.meter.id}", cause, keep=True))
        elif before is not None and not same_serial(before, found):
            self._tell_swapped(f"serial {found} answers where {before} did")

    def take(self, answers: Mapping[Span, Answer]) -> Reading | None:
        """The answered requests of one cycle or energy task. Returns the reading where it is good."""
        words = {
            name: found
            for name, register in self.model.registers.items()
            if (found := _cut(answers, register.span)) is not None
        }
        bracket = self._bracket(answers)
        decoded = decode(self.model, words)
        reading = self._reading(decoded, bracket)
        reason = self._frame_reason(decoded, answers)
        if reason is not None:
            self._quarantine(reading, reason)
            return None
        if all(value is None for value in (decoded.import_wh, decoded.export_wh, decoded.power_w, decoded.current_ma)):
            return None
        sample = Sample(
            min(answer.from_s for answer in bracket),
            max(answer.to_s for answer in bracket),
            decoded.import_wh,
            decoded.export_wh,
            decoded.power_w,
            self.serial,
            self._named_s,
        )
        limits = Limits(self._possible_w, float(self._step_wh(decoded.import_wh)), self.usual_w)
        self._trust, verdict = judge(self._trust, sample, limits)
        if verdict.reason is not None:
            self._quarantine(reading, verdict.reason)
            return None
        if verdict.rebased is not None:
            self._tell_rebased(verdict.rebased, reading)
        return self._keep(reading)

    def _reading(self, decoded: Decoded, bracket: Sequence[Answer]) -> Reading:
        return Reading(
            meter=self.meter.id,
            requested_ms=min(answer.requested_ms for answer in bracket),
            replied_ms=max(answer.replied_ms for answer in bracket),
            quality=self._clock.now().quality,
            import_wh=decoded.import_wh,
            export_wh=decoded.export_wh,
            power_w=decoded.power_w,
            current_ma=decoded.current_ma,
            serial=self.serial,
            model=self.model.id,
            map_version=self.model.version,
            raw=decoded.raw,
            range_wh=self.model.range_wh,
        )

    def _frame_reason(self, decoded: Decoded, answers: Mapping[Span, Answer]) -> Reason | None:
        """What is wrong with the answers whatever was read before."""
        if self._foreign_serial():
            return Reason.SERIAL
        if any(all_equal(answer.words) for answer in answers.values()):
            return Reason.EQUAL
        if "energy_import_wh" in decoded.invalid and not self.model.sleeps:
            return Reason.INVALID
        return None

    def _bracket(self, answers: Mapping[Span, Answer]) -> list[Answer]:
        """The requests that hold the energy; all of them where there is none."""
        energy = [
            answer
            for span, answer in answers.items()
            if any(
                name in self.model.registers and span.covers(self.model.registers[name].span) for name in ENERGY_NAMES
            )
        ]
        return energy or list(answers.values())

    def _step_wh(self, import_wh: int | None) -> Fraction:
        names = [name for name in ENERGY_NAMES if name in self.model.registers]
        return max((step_wh(self.model.registers[name], import_wh or 0) for name in names), default=Fraction(0))

    def _foreign_serial(self) -> bool:
        return (
            self.meter.serial is not None
            and self.serial is not None
            and not same_serial(self.meter.serial, self.serial)
        )

    def _tell_swapped(self, cause: str) -> None:
        self._tell(
            Event(
                "meter_swapped",
                f"meter {self.meter.id}",
                cause,
                "check the wiring and the unit number; after a planned exchange enter the new serial in the site file",
                Severity.ERROR,
                {"serial": self.serial, "expected": self.meter.serial},
                keep=True,
            )
        )

    def _tell_rebased(self, before: Sample, reading: Reading) -> None:
        self._tell(
            Event(
                "meter_rebased",
                f"meter {self.meter.id}",
                f"the register went from {shown_wh(before.import_wh)} to {shown_wh(reading.import_wh)}, and stayed",
                "compare the meter's display; the difference is booked to nobody",
                Severity.ERROR,
                {"before_wh": before.import_wh, "after_wh": reading.import_wh, "raw": reading.raw},
                keep=True,
            )
        )

    def _quarantine(self, reading: Reading, reason: Reason) -> None:
        if reason in (Reason.UNCONFIRMED, Reason.UNNAMED):
            return
        self.counters.rejected += 1
        if self._told is reason:
            return
        self._told = reason
        self._tell(
            Event(
                "reading_quarantined",
                f"meter {self.meter.id}",
                f"{reason}: {energy_of(reading)}, registers {reading.raw or '-'}",
                "nothing is booked from it; if it stays so, check the meter and its wiring",
                Severity.WARNING,
                {
                    "reason": reason.name.lower(),
                    "raw": reading.raw,
                    "requested_ms": reading.requested_ms,
                    "replied_ms": reading.replied_ms,
                    "serial": reading.serial,
                    "map_version": reading.map_version,
                },
                keep=True,
            )
        )

    def _keep(self, reading: Reading) -> Reading:
        self._told = None
        has_power = reading.power_w is not None or reading.current_ma is not None
        # An energy reading ahead of the plan has no current: it must not hide the newest one from the load manager.
        if has_power or not self._complete_seen:
            self.latest = reading
        self._complete_seen = self._complete_seen or has_power
        self._series.append(reading)
        while self._series[0].requested_ms < reading.requested_ms - INTERVAL_MS:
            self._series.popleft()
        self._emit(reading)
        return reading


def _cut(answers: Mapping[Span, Answer], span: Span) -> Words | None:
    """The words of `span`, wherever they came from."""
    for block, answer in answers.items():
        if block.covers(span):
            start = span.address - block.address
            return answer.words[start : start + span.count]
    return None
