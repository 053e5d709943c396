"""The readings that a station keeps."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from gateway.clock import Scale, ScaledClock
from gateway.meters.answer import Answer, Outcome
from gateway.meters.meter_model import ENERGY_NAMES, Span
from gateway.meters.model_map import load_model
from gateway.meters.station import Station
from gateway.model import INTERVAL_MS, Event, Reading, Tell, TimeQuality
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


def knowing(before_wh: int, at_s: int, events: list[Event], quality: TimeQuality = TimeQuality.NTP) -> Station:
    """A station after a start; the run before has read `before_wh` last."""
    meter = Meter(id="m1", model="iem3155", bus="lan", unit=1, role="charger")
    one = Station(meter, MODEL, 48_000, ScaledClock(Scale(0, 0.0, 1.0)), events.append, lambda reading: None)
    one.remember(Reading("m1", at_s * 1000, at_s * 1000 + 40, quality, before_wh, 0))
    return one


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


def test_when_the_clock_is_put_right_what_was_read_bears_the_right_time() -> None:
    """A stop that a box had kept was looked up among readings of the wrong time: its end lay 129 s beside."""
    one = station()
    for at_s in (990, 1000, 1010, 1020):
        take(one, at_s, 5000)

    def moved(reading: Reading) -> Reading:
        ahead_ms = 300_000 if reading.requested_ms > 1_005_000 else 0
        return replace(reading, requested_ms=reading.requested_ms - ahead_ms, replied_ms=reading.replied_ms - ahead_ms)

    one.move(moved)
    assert [reading.requested_ms for reading in one.series(0, 10**9)] == [710_000, 720_000, 1_000_000]
    assert one.latest is not None
    assert one.latest.requested_ms == 720_000
    one.remember(Reading("m1", 0, 40, TimeQuality.NTP, 9_000, 0))
    take(one, 1030, 5000)
    assert one.latest.new_level is False, "it has its level: another life of the parts is no start of the meter"


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


@pytest.mark.parametrize(
    ("first_wh", "quality", "another"),
    [
        (5_900, TimeQuality.NTP, False),
        (6_100, TimeQuality.NTP, True),
        (4_999, TimeQuality.NTP, True),
        (6_100, TimeQuality.GUESSED, False),
        (4_999, TimeQuality.GUESSED, True),
    ],
)
def test_the_first_level_after_a_start_is_held_against_the_run_before(
    first_wh: int, quality: TimeQuality, another: bool
) -> None:
    """5 000 Wh a minute before; how long that was is not known where the time is guessed."""
    events: list[Event] = []
    one = knowing(5_000, 40, events, quality)
    take(one, 99, first_wh)
    take(one, 100, first_wh)
    take(one, 105, first_wh + 1)
    assert [reading.new_level for reading in one.series(0, 10**9)] == [another, False]
    assert [event.kind for event in events] == ["meter_rebased"] * another


def test_of_a_meter_that_tells_the_same_name_after_a_start_only_a_fall_is_another_level() -> None:
    """Its register may have stood still while the run before ended."""
    for first_wh, another in ((9_000, False), (4_999, True)):
        events: list[Event] = []
        one = knowing(5_000, 40, events)
        one.remember(Reading("m1", 40_000, 40_040, TimeQuality.NTP, 5_000, 0, serial="4711"))
        one.serial = "4711"
        take(one, 50, first_wh)
        take(one, 55, first_wh)
        assert [reading.new_level for reading in one.series(0, 10**9)] == [another]


@pytest.mark.parametrize(
    ("configured", "before", "waits_s"),
    [(None, None, 0), ("30000011", None, 20), (None, "30000011", 400), ("30000011", "30000011", 400)],
    ids=["no name is known", "a name in the site file", "the run before has read it", "both"],
)
def test_the_first_level_of_a_meter_that_has_a_name_waits_until_it_tells_it(
    configured: str | None, before: str | None, waits_s: int
) -> None:
    """Seed 60151: a line disturbed at the start gave no serial number, and for 30 s another meter's register stood as
    m1's."""
    meter = Meter(id="m1", model="iem3155", bus="lan", unit=1, role="charger", serial=configured)
    one = Station(meter, MODEL, 48_000, ScaledClock(Scale(0, 0.0, 1.0)), [].append, lambda reading: None)
    one.remember(Reading("m1", 40_000, 40_040, TimeQuality.NTP, 5_000, 0, serial=before))
    take(one, 100, 9_000)
    assert one.wants_name is bool(waits_s)
    assert one.first_level_unnamed is bool(waits_s)
    take(one, 101, 9_000)
    assert one.unconfirmed is bool(waits_s)
    take(one, 99 + waits_s, 9_000)
    assert one.unconfirmed is bool(waits_s)
    take(one, 100 + waits_s, 9_000)
    assert not one.unconfirmed, "some meters tell it never again"


def test_a_new_level_while_it_runs_is_marked_in_its_first_reading() -> None:
    events: list[Event] = []
    one = knowing(5_000, 0, events)
    for at_s in range(5, 100, 5):
        take(one, at_s, 5_000 if at_s < 20 else 5_500 + at_s)
    series = one.series(0, 10**9)
    assert [reading.import_wh for reading in series if reading.new_level] == [5_580]
    assert [event.kind for event in events] == ["reading_quarantined", "meter_rebased"]
