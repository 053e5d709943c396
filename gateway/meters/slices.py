"""Pure: where the values of a meter model lie in the answers to a set of requests.

A meter is asked for the same blocks again and again, so its station works this out once for each set of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.meters.answer import Answer
from gateway.meters.meter_model import ENERGY_NAMES, MeterModel, Span
from gateway.meters.registers import Words


@dataclass(frozen=True, slots=True)
class Slice:
    """The value `name` is in the answer to request number `request`, from its word `start` up to its word `end`."""

    name: str
    request: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Slices:
    """The values inside a set of requests, and the numbers of those that hold energy (of all where none does)."""

    values: tuple[Slice, ...]
    bracket: tuple[int, ...]

    def words(self, answers: Sequence[Answer]) -> dict[str, Words]:
        """The words of each value."""
        return {one.name: answers[one.request].words[one.start : one.end] for one in self.values}


def slices(model: MeterModel, blocks: Sequence[Span]) -> Slices:
    """Every value of `model` that lies inside one of `blocks`, in the order of the model."""
    values = tuple(
        found
        for name, register in model.registers.items()
        if (found := _slice(name, register.span, blocks)) is not None
    )
    energy = [model.registers[name].span for name in ENERGY_NAMES if name in model.registers]
    bracket = tuple(number for number, block in enumerate(blocks) if any(block.covers(span) for span in energy))
    return Slices(values, bracket or tuple(range(len(blocks))))


def _slice(name: str, span: Span, blocks: Sequence[Span]) -> Slice | None:
    for number, block in enumerate(blocks):
        if block.covers(span):
            start = span.address - block.address
            return Slice(name, number, start, start + span.count)
    return None
