"""Example 7: the clock was wrong until a time server answered. Totals stay exact, nothing is written twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model import Reading, Stamp, TimeQuality
from gateway.sessions.clock_watch import ClockWatch, Step, move_row
from gateway.sessions.settlement import _both_clocks

MINUTES_37 = 37 * 60_000
GUESSED, RTC, NTP = TimeQuality.GUESSED, TimeQuality.RTC, TimeQuality.NTP


def looked(*looks: tuple[int, TimeQuality, float]) -> list[Step | None]:
    """The answers of a watch to wall clock, quality and monotonic seconds."""
    (first_ms, quality, monotonic_s), *more = looks
    watch = ClockWatch(Stamp(first_ms, quality), monotonic_s)
    return [watch.look(Stamp(at_ms, quality), monotonic_s) for at_ms, quality, monotonic_s in more]


def test_a_guess_that_becomes_sure_moves_what_was_stamped_since() -> None:
    assert looked((10_000, GUESSED, 0), (15_000, GUESSED, 5), (2_240_000, NTP, 10)) == [
        None,
        Step(2_220_000, GUESSED, NTP, 10_000, 20_000),
    ]


def test_a_hardware_clock_that_was_right_moves_nothing() -> None:
    assert looked((10_000, RTC, 0), (15_100, NTP, 5)) == [None]


def test_a_guess_that_was_right_is_only_made_sure() -> None:
    """The intervals are final then."""
    assert looked((10_000, GUESSED, 0), (15_000, NTP, 5)) == [Step(0, GUESSED, NTP, 10_000, 15_000)]


def test_a_good_clock_that_steps_is_told_and_moves_nothing() -> None:
    """What it stamped before cannot be told from the truth; small corrections are no steps."""
    assert looked((10_000, NTP, 0), (15_900, NTP, 5), (80_000, NTP, 10)) == [None, Step(59_100, NTP, NTP)]


def test_a_boundary_reading_that_lies_elsewhere_leaves_the_boundary_missing() -> None:
    inside = Reading("a", 900_100, 900_150, GUESSED, 5)
    sure = Reading("b", 900_100, 900_150, NTP, 7)
    small = move_row({"a": inside, "b": sure, "c": None}, 900_000, Step(3000, GUESSED, NTP, 0, 10**9))
    assert small.boundary["a"] == Reading("a", 903_100, 903_150, NTP, 5)
    assert (small.boundary["b"], small.boundary["c"], small.elsewhere) == (sure, None, ())
    large = move_row({"a": inside, "b": sure}, 900_000, Step(60_000, GUESSED, NTP, 0, 10**9))
    assert large.boundary == {"a": None, "b": sure}
    assert large.elsewhere == (Reading("a", 960_100, 960_150, NTP, 5),)


@pytest.mark.parametrize("delta_ms", [MINUTES_37, 3 * 86_400_000 + 123_456, 0, 4_000])
async def test_what_was_stamped_with_a_guess_is_moved_and_settled_again(house: Any, delta_ms: int) -> None:
    """Sums over all intervals = registers before and after; each version once; the session found where it was."""
    house.clock.quality = GUESSED
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_500, 0), pv=(0, 50_200), flat=(20_100, None), m1=(7_400, None))
        await house.boundary("09:45:00", grid=(101_100, 0), pv=(0, 50_300), flat=(20_300, None), m1=(7_900, None))
        before = await house.bodies("interval.v1")
        assert {one["state"] for one in before} == {"provisional"}
        house.at("09:46:00")
        house.clock.step(delta_ms)
        house.clock.quality = NTP
        house.meters.poll()
        house.settlement.notify()
        await house.until("SELECT max(k) FROM interval", house.clock.now_ms // 900_000)
        k = -(-house.clock.now_ms // 900_000)
        await house.boundary(
            _iso(k * 900_000), grid=(101_400, 0), pv=(0, 50_400), flat=(20_400, None), m1=(8_100, None)
        )
        house.at(_iso(k * 900_000 + 60_000))
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary(_iso((k + 1) * 900_000), grid=(101_500, 0), flat=(20_500, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 1)
    bodies = [
        json.loads(row[0]) for row in await house.rows("SELECT result FROM interval WHERE version > 0 ORDER BY k")
    ]
    versions = [(one["k"], one["version"]) for one in await house.bodies("interval.v1")]
    assert len(set(versions)) == len(versions)
    [[first]] = await house.rows("SELECT min(requested_ms) FROM kept_reading WHERE meter = 'flat'")
    assert first >= house.clock.stepped_ms
    known = [one for one in bodies if one["shares"]]
    assert [one for one in known if one["state"] == "provisional"] == []
    taken = {who: sum(share["wh"] for one in known for share in one["shares"] if share["participant"] == who)
             for who in ("flat", "box1")}  # fmt: skip
    first_known = known[0]["at_start"]
    for who, meter, last in (("flat", "flat", 20_500), ("box1", "m1", 8_100)):
        begin = first_known[meter]
        if begin is not None:
            assert taken[who] == last - begin["import_wh"]
    [split] = await house.bodies("split.v1")
    assert split["energy_wh"] == 1_100
    [begin_ms] = (await house.rows("SELECT begin_ms FROM session"))[0]
    assert begin_ms == house.clock.stepped_ms + _ms("09:15:00")
    [told] = [event for event in house.events if event.kind in ("clock_step", "clock_sure")]
    assert told.data["delta_ms"] == delta_ms
    assert [one["data"] for one in await house.bodies("notice.v1")] == [told.data], "with the rows that it corrects"
    [begun] = await house.bodies("session.begin.v1")
    assert (begun["begin_quality"], begun["begin"]) == ("guessed", "2026-04-15T09:15:00.000Z"), "a row is never changed"
    assert told.data["sessions"] == [begun["session"]], "the event says what it moves"


async def test_without_a_time_server_intervals_stay_provisional_and_are_told(house: Any) -> None:
    house.clock.quality = GUESSED
    async with house.running():
        await house.boundary("09:15:00")
        await house.boundary("09:30:00")
    assert {one["state"] for one in await house.bodies("interval.v1")} == {"provisional"}


def _iso(utc_ms: int) -> str:
    from gateway.clock import iso

    return iso(utc_ms)


def _ms(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(f"2026-04-15T{text}Z").timestamp() * 1000)


class StallingClock:
    """A fast clock on a busy machine: it pauses for 75 ms x 60 between two looks, now and then."""

    def __init__(self, pauses: list[float]) -> None:
        self._pauses, self._now_s = pauses, 1_000.0

    def monotonic(self) -> float:
        self._now_s += self._pauses.pop(0) if self._pauses else 0.0
        return self._now_s

    def now(self) -> Stamp:
        return Stamp(round(self.monotonic() * 1000), TimeQuality.SIMULATED)


def test_a_machine_that_pauses_between_two_clocks_is_no_step() -> None:
    """The look is repeated until both clocks are read in one instant."""
    clock = StallingClock([0.0, 4.5, 0.0, 0.0, 4.5, 0.0])
    stamp, monotonic_s = _both_clocks(clock)  # type: ignore[arg-type]
    assert abs(stamp.utc_ms - monotonic_s * 1000) < 500
