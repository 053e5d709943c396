"""The readings that a station keeps."""

from __future__ import annotations

import struct

from gateway.clock import Scale, ScaledClock
from gateway.meters.answer import Answer, Outcome
from gateway.meters.meter_model import ENERGY_NAMES, Span
from gateway.meters.model_map import load_model
from gateway.meters.station import Station
from gateway.model import INTERVAL_MS, Event, Tell
from gateway.site import Meter

MODEL = load_model("iem3155")
BLOCK = Span(
    "holding",
    min(span.address for span in MODEL.spans(ENERGY_NAMES).values()),
    sum(span.count for span in MODEL.spans(ENERGY_NAMES).values()),
)


def told(event: Event) -> None:
    raise AssertionError(event.cause)


def station(tell: Tell = told) -> Station:
    meter = Meter(id="m1", model="iem3155", bus="lan", unit=1, role="charger")
    return Station(meter, MODEL, 50_000, ScaledClock(Scale(0, 0.0, 1.0)), tell, lambda reading: None)


def take(one: Station, at_s: int, wh: int) -> None:
    words = struct.unpack(">8H", struct.pack(">qq", wh, 0))
    one.take({BLOCK: Answer(Outcome.GOOD, at_s * 1000, at_s * 1000 + 50, at_s, at_s + 0.05, words)})


def test_the_series_is_in_the_order_of_the_requests_and_15_minutes_long() -> None:
    """A cycle that began before an energy reading ends after it."""
    one = station()
    for at_s in (0, 10, 20, 40, 30, 50):
        take(one, at_s, 5000)
    assert [reading.requested_ms for reading in one.series(0, 10**9)] == [10_000, 20_000, 30_000, 40_000, 50_000]
    assert [reading.requested_ms for reading in one.series(20_000, 40_000)] == [20_000, 30_000, 40_000]
    assert one.series(50_001, 10**9) == []
    take(one, 30 + INTERVAL_MS // 1000, 5000)
    assert next(iter(one.series(0, 10**9))).requested_ms == 30_000


def test_readings_that_are_not_used_are_told_once_and_that_they_are_good_again() -> None:
    """Bad ones may come and go: after 30 s without one it is over, and what comes then is told anew."""
    events: list[Event] = []
    one = station(events.append)
    for at_s in range(10):
        take(one, at_s, 5000)
    for at_s in range(10, 60):
        take(one, at_s, 0 if at_s % 2 else 5000)
    assert [event.kind for event in events] == ["reading_quarantined"]
    for at_s in range(60, 100):
        take(one, at_s, 5000)
    assert [event.kind for event in events] == ["reading_quarantined", "reading_believed"]
    assert events[-1].data["unused"] == 25
    assert events[-1].keep
    take(one, 100, 0)
    assert [event.kind for event in events][2:] == ["reading_quarantined"]
