"""Where values lie in the answers to a set of requests."""

from __future__ import annotations

from gateway.meters.answer import Answer, Outcome
from gateway.meters.meter_model import ENERGY_NAMES, FAST_NAMES, Span
from gateway.meters.model_map import load_model
from gateway.meters.slices import slices

MODEL = load_model("iem3155")
ENERGY = MODEL.spans(ENERGY_NAMES)
FAST = MODEL.spans(FAST_NAMES)


def around(spans: dict[str, Span], more: int = 0) -> Span:
    first = min(span.address for span in spans.values()) - more
    return Span("holding", first, max(span.end for span in spans.values()) + more - first)


def numbered(block: Span) -> Answer:
    """Each register holds its own address."""
    return Answer(Outcome.GOOD, 0, 0, 0.0, 0.0, tuple(range(block.address, block.end)))


def test_each_value_is_cut_from_the_request_that_holds_it() -> None:
    blocks = (around(FAST, 2), around(ENERGY))
    words = slices(MODEL, blocks).words([numbered(block) for block in blocks])
    assert words == {
        name: tuple(range(register.span.address, register.span.end)) for name, register in MODEL.registers.items()
    }


def test_a_value_that_was_not_asked_for_whole_is_left_out() -> None:
    energy = around(ENERGY)
    short = Span(energy.table, energy.address, energy.count - 1)
    (kept,) = slices(MODEL, (short,)).words([numbered(short)])
    assert MODEL.registers[kept].span.address == energy.address


def test_the_requests_with_energy_bracket_the_reading_and_all_where_none_has() -> None:
    assert slices(MODEL, (around(FAST), around(ENERGY))).bracket == (1,)
    assert slices(MODEL, (around(FAST),)).bracket == (0,)
