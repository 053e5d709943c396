"""One meter: from the answered requests of a task to a good reading, kept for 15 minutes - or to a quarantined one.

A Reading whose `import_wh` and `export_wh` are None carries no register: power and current only. One without power and
current is an energy reading ahead of the poll plan.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter

from gateway.meters.answer import Answer
from gateway.meters.meter_model import ENERGY_NAMES, MeterModel, Span
from gateway.meters.quality import (
    NEVER_YET,
    SUSPECT_S,
    UNNAMED_S,
    Limits,
    Reason,
    Sample,
    Trust,
    all_equal,
    another_level,
    judge,
    unseen,
)
from gateway.meters.registers import Decoded, Words, decode, decode_serial, in_range, same_serial, step_wh
from gateway.meters.slices import Slices, slices
from gateway.meters.words import energy_of, shown_wh
from gateway.model import INTERVAL_MS, Clock, Event, Reading, Severity, Tell
from gateway.site import Meter
from gateway.site_time import UNSURE

Listener = Callable[[Reading], None]
_requested_ms = attrgetter("requested_ms")

BELIEVED_S = 30.0
"""After so long without a bad reading what was told of them is over."""


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
        self._foreign = False
        """Whether that is not the serial number in the site file."""

        self.latest: Reading | None = None
        self._series: deque[Reading] = deque()
        self._slices: dict[tuple[Span, ...], Slices] = {}
        self._decoded: tuple[Slices, list[tuple[int, ...]], Decoded, Reason | None] | None = None
        """The newest answers: where the values lie in them, their words, what these say, and what is wrong there."""

        self._energy = [model.registers[name] for name in ENERGY_NAMES if name in model.registers]
        self._possible_w, self._range_wh = possible_w, model.range_wh
        self.usual_w: int | None = None
        steady = not any(register.is_float for register in self._energy)
        self._steady_wh: float | None = None
        self._steady_wh = self._step_wh(0) if steady else None
        self._clock = clock
        self._tell = tell
        self._emit = emit
        self._trust = Trust()
        self._before: Reading | None = None
        self._named_s: float | None = None
        self._told: set[Reason] = set()
        self._unused = 0
        self._unused_s = self._answered_s = 0.0
        self._complete_seen = False

    @property
    def unconfirmed(self) -> bool:
        """Whether the first good reading still waits for a second one."""
        return self._trust.good is None

    @property
    def wants_name(self) -> bool:
        """Whether a changed level waits for the serial number, or a wrong one answers: until it does no more."""
        return self._foreign or self._trust.unnamed(self._last_named_s())

    @property
    def first_level_unnamed(self) -> bool:
        """Whether it is the first level after a start that waits for the serial number; a wrong one has no level."""
        return self._trust.good is None and self._trust.unnamed(self._last_named_s())

    def remember(self, before: Reading) -> None:
        """The newest reading of the run before this one: the first level of this run is held against it."""
        if self._trust.good is None:
            self._before = before

    def move(self, moved: Callable[[Reading], Reading]) -> None:
        """The right time is known: the readings bear it from now on, and their order is that of their time."""
        self._series = deque(sorted(map(moved, self._series), key=_requested_ms))
        self.latest = moved(self.latest) if self.latest is not None else None
        self._before = moved(self._before) if self._before is not None else None

    def series(self, from_ms: int, to_ms: int) -> Sequence[Reading]:
        """Good readings requested in [from_ms, to_ms], oldest first."""
        first = bisect_left(self._series, from_ms, key=_requested_ms)
        return list(islice(self._series, first, bisect_right(self._series, to_ms, key=_requested_ms)))

    def why_not(self, probe: Answer, block: Span) -> str | None:
        """Does the probe's answer come from a meter of this model? None if so, else why not."""
        proof = self.model.probe
        words = _cut(probe, block, proof.register.span)
        if words is not None and in_range(proof.register, words, proof.low, proof.high):
            return None
        shown = " ".join(f"{word:04x}" for word in words or ())
        return f"register {proof.register.span.address} holds {shown}: no {self.model.name} answers that"

    def learn_serial(self, answer: Answer, block: Span) -> None:
        """The block that holds the serial number has been read."""
        source = self.model.serial
        words = _cut(answer, block, source.span) if source is not None else None
        found = decode_serial(source, words) if source is not None and words is not None else None
        if found is not None:
            self._named_s = answer.from_s
        if found is None or found == self.serial:
            return
        before, self.serial = self.serial, found
        self._foreign = self.meter.serial is not None and not same_serial(self.meter.serial, found)
        if self._foreign:
            self._tell_swapped(f"serial {found} answers where the configuration says {self.meter.serial}")
        elif before is not None and self.meter.serial is not None:
            cause = f"serial {found} answers again, as the configuration says"
            self._tell(Event("meter_unswapped", f"meter {self.meter.id}", cause, keep=True))
        elif before is not None and not same_serial(before, found):
            self._tell_swapped(f"serial {found} answers where {before} did")

    def take(self, answers: Mapping[Span, Answer]) -> Reading | None:
        """The answered requests of one cycle or energy task. Returns the reading where it is good."""
        where, given = self._slices_of(tuple(answers)), list(answers.values())
        # They were asked one after the other.
        first, last = given[where.bracket[0]], given[where.bracket[-1]]
        decoded, reason = self._decode(where, given)
        reading = self._reading(decoded, first, last)
        self._answered_s = last.to_s
        if self._foreign:
            reason = Reason.SERIAL
        if reason is not None:
            self._quarantine(reading, reason)
            return None
        if all(value is None for value in (decoded.import_wh, decoded.export_wh, decoded.power_w, decoded.current_ma)):
            return None
        sample = Sample(
            first.from_s,
            last.to_s,
            decoded.import_wh,
            decoded.export_wh,
            decoded.power_w,
            self.serial,
            self._last_named_s(),
        )
        step_wh = self._step_wh(decoded.import_wh)
        unnamed_s = UNNAMED_S if self._told_name_before() else SUSPECT_S
        limits = Limits(self._possible_w, step_wh, self.usual_w, self._range_wh, unnamed_s)
        self._trust, verdict = judge(self._trust, sample, limits)
        if verdict.reason is not None:
            self._quarantine(reading, verdict.reason)
            return None
        new_level = verdict.rebased is not None and not verdict.rolled
        if verdict.rebased is not None:
            self._tell_rebased(verdict.rebased, reading)
        elif self._before is not None and self._trust.good is sample:
            new_level = self._begins_anew(self._before, sample, reading, limits)
        return self._keep(replace(reading, new_level=new_level) if new_level else reading)

    def _begins_anew(self, before: Reading, sample: Sample, reading: Reading, limits: Limits) -> bool:
        """Whether the first level of this run is not that of the run before; another serial number says so itself."""
        self._before = None
        named = before.serial is not None and self.serial is not None
        if named and not same_serial(before.serial or "", self.serial or ""):
            return False
        sure = before.quality not in UNSURE and reading.quality not in UNSURE
        away_s = (reading.replied_ms - before.requested_ms) / 1000 if sure else None
        stood = Sample(0.0, 0.0, before.import_wh, before.export_wh, None, before.serial)
        if away_s is not None and away_s < 0:
            return False
        if not another_level(stood, sample, limits, None if named else away_s):
            self._trust = unseen(self._trust, stood, limits, away_s or 0.0)
            return False
        self._tell_rebased(stood, reading)
        return True

    def _slices_of(self, blocks: tuple[Span, ...]) -> Slices:
        found = self._slices.get(blocks)
        if found is None:
            found = self._slices[blocks] = slices(self.model, blocks)
        return found

    def _decode(self, where: Slices, given: Sequence[Answer]) -> tuple[Decoded, Reason | None]:
        """What the answers say, and what is wrong with them whatever was read before.

        Where nothing flows, as behind most meters most of the time, that is the same again.
        """
        words = [answer.words for answer in given]
        if self._decoded is None or where is not self._decoded[0] or words != self._decoded[1]:
            decoded = decode(self.model, where.words(given))
            self._decoded = where, words, decoded, self._wrong(decoded, words)
        return self._decoded[2:]

    def _reading(self, decoded: Decoded, first: Answer, last: Answer) -> Reading:
        return Reading(
            meter=self.meter.id,
            requested_ms=first.requested_ms,
            replied_ms=last.replied_ms,
            quality=self._clock.now().quality,
            import_wh=decoded.import_wh,
            export_wh=decoded.export_wh,
            power_w=decoded.power_w,
            current_ma=decoded.current_ma,
            serial=self.serial,
            model=self.model.id,
            map_version=self.model.version,
            raw=decoded.raw,
            range_wh=self._range_wh,
        )

    def _wrong(self, decoded: Decoded, words: Sequence[tuple[int, ...]]) -> Reason | None:
        if any(map(all_equal, words)):
            return Reason.EQUAL
        if "energy_import_wh" in decoded.invalid and not self.model.sleeps:
            return Reason.INVALID
        return None

    def _step_wh(self, import_wh: int | None) -> float:
        """A whole number has the same step everywhere, a float a larger one the further it has counted."""
        if self._steady_wh is not None:
            return self._steady_wh
        return max((step_wh(register, import_wh or 0) for register in self._energy), default=0.0)

    def _last_named_s(self) -> float | None:
        """When the serial number was last read. Another meter may hang where one that has a name does not tell it:
        its first level waits."""
        has_name = self.model.serial is not None and (self.meter.serial is not None or self._told_name_before())
        if self.serial is None and self._trust.good is None and has_name:
            return NEVER_YET
        return self._named_s

    def _told_name_before(self) -> bool:
        """Whether the run before has read its serial number: it does tell it, but for a disturbance."""
        return self._before is not None and self._before.serial is not None

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
        self._unused += 1
        self._unused_s = self._answered_s
        if reason in self._told:
            return
        self._told.add(reason)
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

    def _believe(self) -> None:
        """What was told of its readings is over once all have been good for a while: bad ones may come and go."""
        if not self._told or self._answered_s - self._unused_s < BELIEVED_S:
            return
        cause = f"its readings are believed again; {self._unused} were not used"
        self._tell(Event("reading_believed", f"meter {self.meter.id}", cause, data={"unused": self._unused}, keep=True))
        self._told.clear()
        self._unused = 0

    def _keep(self, reading: Reading) -> Reading:
        self._believe()
        has_power = reading.power_w is not None or reading.current_ma is not None
        # An energy reading ahead of the plan has no current: it must not hide the newest one from the load manager.
        if has_power or not self._complete_seen:
            self.latest = reading
        self._complete_seen = self._complete_seen or has_power
        if self._series and reading.requested_ms < self._series[-1].requested_ms:
            insort(self._series, reading, key=_requested_ms)  # an energy reading came between the parts of a cycle
        else:
            self._series.append(reading)
        while self._series[0].requested_ms < reading.requested_ms - INTERVAL_MS:
            self._series.popleft()
        self._emit(reading)
        return reading


def _cut(answer: Answer, block: Span, span: Span) -> Words | None:
    """The words of `span` in the answer to `block`; None where it is not inside."""
    if not block.covers(span):
        return None
    start = span.address - block.address
    return answer.words[start : start + span.count]
