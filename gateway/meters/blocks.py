"""Pure: which registers are asked for together.

Neighbours are joined where the registers between them cost less line time than another request. No two blocks of one
meter and table have the same length where that can be had: an RTU reply names neither its address nor its request, so
the length is the only mark by which a late one is seen (`tests/meters/test_line.py` shows it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.meters.meter_model import ENERGY_NAMES, FAST_NAMES, MeterModel, Span, Table
from gateway.site import Bus

TURNAROUND_S = 0.04
"""A meter's usual time to think (vendors' documents: 10 to 90 ms)."""

REQUEST_CHARACTERS = 13 + 7
"""Request (8), reply without data (5), twice the 3.5 characters of silence."""


@dataclass(frozen=True, slots=True)
class MeterBlocks:
    """The requests to one meter. `energy` holds its registers, `fast` power and current."""

    probe: Span
    serial: Span | None
    energy: tuple[Span, ...]
    fast: tuple[Span, ...]

    @property
    def cycle(self) -> tuple[Span, ...]:
        """A full cycle; energy last, so that its request and reply time bracket the reading best."""
        return self.fast + self.energy

    @property
    def longest(self) -> int:
        """The registers of the largest request of a cycle."""
        return max(span.count for span in self.cycle)


def gap_limit(bus: Bus) -> int:
    """How many useless registers may be read to save a request on this bus."""
    if bus.device is None:
        return 125
    character_s = (11 if bus.parity != "N" or bus.stop_bits == 2 else 10) / bus.baud
    overhead_s = REQUEST_CHARACTERS * character_s + TURNAROUND_S + bus.pause_s
    return int(overhead_s / (2 * character_s))


def request_s(bus: Bus, count: int) -> float:
    """How long one request for `count` registers occupies the bus (link time), roughly."""
    if bus.device is None:
        return 0.005
    character_s = (11 if bus.parity != "N" or bus.stop_bits == 2 else 10) / bus.baud
    return (REQUEST_CHARACTERS + 2 * count) * character_s + bus.pause_s


def plan_blocks(
    model: MeterModel, *, gap: int, max_block: int | None = None, absent: frozenset[str] = frozenset()
) -> MeterBlocks:
    """The blocks of a model. `max_block` is what was learnt of this very meter; `absent` values are left out."""
    limit = min(model.max_block, max_block or model.max_block)
    taken: dict[Table, set[int]] = {"holding": set(), "input": set()}

    def distinct(span: Span) -> Span:
        padded = _distinct(span, taken[span.table], model, limit)
        taken[span.table].add(padded.count)
        return padded

    # The serial number and the probe first: some meters give them alone, in exactly their own length.
    serial = distinct(model.serial.span) if model.serial is not None and "serial" not in absent else None
    probe = distinct(model.probe.register.span)
    groups = []
    for names in (ENERGY_NAMES, FAST_NAMES):
        wanted = {name: span for name, span in model.spans(names).items() if name not in absent}
        groups.append(tuple(distinct(span) for span in _joined(wanted, model, gap, limit)))
    return MeterBlocks(probe=probe, serial=serial, energy=groups[0], fast=groups[1])


def _joined(wanted: Mapping[str, Span], model: MeterModel, gap: int, limit: int) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(wanted.values(), key=lambda one: (one.table, one.address)):
        if joined:
            together = replace(joined[-1], count=max(span.end, joined[-1].end) - joined[-1].address)
            near = span.table == together.table and span.address - joined[-1].end <= gap
            if near and together.count <= limit and _readable(together, model):
                joined[-1] = together
                continue
        joined.append(span)
    return joined


def _distinct(span: Span, taken: set[int], model: MeterModel, limit: int) -> Span:
    """`span`, grown by registers nobody wants until its length is its own; unchanged where nothing fits."""
    for candidate in _grown(span, model.step, limit):
        if candidate.count not in taken and _readable(candidate, model):
            return candidate
    return span


def _grown(span: Span, step: int, limit: int) -> Iterable[Span]:
    yield span
    for surplus in range(step, limit - span.count + 1, step):
        yield replace(span, count=span.count + surplus)
        yield replace(span, address=span.address - surplus, count=span.count + surplus)


def _readable(span: Span, model: MeterModel) -> bool:
    if span.address < 0 or span.end > 0x10000:
        return False
    return not model.readable or any(area.covers(span) for area in model.readable)
