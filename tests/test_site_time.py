"""A clock that is wrong at the start, or set back: time goes on, is believed when it may be, and never stands still."""

from __future__ import annotations

import pytest

from gateway.clock import RealClock
from gateway.model import Stamp, TimeQuality
from gateway.site_time import STANDS_STILL_MS, Look, SiteTime

GUESSED, RTC, NTP = TimeQuality.GUESSED, TimeQuality.RTC, TimeQuality.NTP
NOW = 1_781_343_000_000
DAY = 86_400_000


class Machine:
    """A wall clock that can be set, and a monotonic one."""

    def __init__(self, wall_ms: int, quality: TimeQuality) -> None:
        self.wall_ms, self.up_ms, self.quality = wall_ms, 5_000, quality

    def __call__(self) -> Look:
        return Look(self.wall_ms, self.up_ms, self.quality)

    def run(self, ms: int) -> None:
        self.wall_ms += ms
        self.up_ms += ms


def started(wall_ms: int, quality: TimeQuality, newest_ms: int = NOW) -> tuple[Machine, RealClock]:
    machine = Machine(wall_ms, quality)
    clock = RealClock(machine)
    clock.start_no_earlier_than(newest_ms)
    return machine, clock


@pytest.mark.parametrize("behind_ms", [60_000, 30 * DAY, 20 * 365 * DAY])
@pytest.mark.parametrize("quality", [GUESSED, RTC])
def test_time_goes_on_from_the_newest_on_disk_while_the_wall_clock_is_behind_it(
    behind_ms: int, quality: TimeQuality
) -> None:
    """It used to stand still until the wall clock had caught up: for years, with every meter reading for ever fresh."""
    machine, clock = started(NOW - behind_ms, quality)
    assert clock.now() == Stamp(NOW, GUESSED)
    machine.run(3_600_000)
    assert clock.now() == Stamp(NOW + 3_600_000, GUESSED)
    machine.wall_ms, machine.quality = NOW + 5 * DAY, NTP
    assert clock.now() == Stamp(NOW + 3_600_000, GUESSED), "nothing that runs sees it jump"
    assert (clock.off_ms(), clock.right()) == (3_600_000 - 5 * DAY, Stamp(NOW + 5 * DAY, NTP))
    clock.put_right()
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + 5 * DAY, NTP), 0)


def test_a_battery_clock_is_believed_over_an_absence_of_days_but_not_of_weeks() -> None:
    assert started(NOW + 2 * DAY, RTC)[1].now() == Stamp(NOW + 2 * DAY, RTC)
    assert started(NOW + 30 * DAY, RTC)[1].now() == Stamp(NOW, GUESSED)
    assert started(NOW + 30 * DAY, NTP)[1].now() == Stamp(NOW + 30 * DAY, NTP)


def test_a_first_start_has_nothing_to_compare_with() -> None:
    assert started(NOW - 9_000 * DAY, RTC, newest_ms=0)[1].now() == Stamp(NOW - 9_000 * DAY, RTC)


def test_a_clock_that_is_set_while_the_gateway_runs_is_believed() -> None:
    """By hand, or by a time service that systemd does not know of."""
    machine, clock = started(NOW - 300 * DAY, RTC)
    machine.run(60_000)
    machine.wall_ms = NOW + 3 * DAY
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + 60_000, GUESSED), 60_000 - 3 * DAY)
    clock.put_right()
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + 3 * DAY, RTC), 0)


def test_a_guess_that_was_right_to_seconds_is_followed_at_once() -> None:
    machine, clock = started(NOW - 300 * DAY, GUESSED)
    machine.run(60_000)
    machine.wall_ms, machine.quality = NOW + 60_000 + STANDS_STILL_MS, NTP
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + 70_000, NTP), 0)


def test_a_battery_clock_that_was_believed_and_was_behind_is_put_right_between_two_lives() -> None:
    machine, clock = started(NOW + DAY, RTC)
    assert clock.now() == Stamp(NOW + DAY, RTC)
    machine.wall_ms, machine.quality = NOW + 2 * DAY, NTP
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + DAY, GUESSED), -DAY)


def test_a_clock_that_was_sure_is_followed_forwards_at_once() -> None:
    """The machine slept: what was written before was right."""
    machine, clock = started(NOW, NTP)
    machine.wall_ms += 3_600_000
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + 3_600_000, NTP), 0)


def test_a_small_correction_backwards_is_waited_for() -> None:
    machine, clock = started(NOW, NTP)
    machine.wall_ms -= 1_500
    assert clock.now() == Stamp(NOW, NTP)
    machine.run(1_000)
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW, NTP), 0)
    machine.run(1_000)
    assert clock.now() == Stamp(NOW + 500, NTP)


def test_a_large_correction_backwards_neither_goes_back_nor_freezes_until_the_parts_have_ended() -> None:
    machine, clock = started(NOW, RTC)
    machine.wall_ms, machine.quality = NOW - 21 * DAY, NTP
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW, GUESSED), 21 * DAY)
    machine.run(10_000)
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW + 10_000, GUESSED), 21 * DAY)
    clock.put_right()
    assert (clock.now(), clock.off_ms()) == (Stamp(NOW - 21 * DAY + 10_000, NTP), 0)


def test_no_sequence_of_settings_makes_time_go_backwards_or_stand_still_for_long() -> None:
    machine = Machine(NOW, RTC)
    time = SiteTime(machine())
    last_ms = NOW
    for step_ms in (-1_000, 5_000, -9_000, -40_000, 90_000, -3 * DAY, 4 * DAY, -20 * DAY):
        machine.wall_ms += step_ms
        for _ in range(12):
            machine.run(1_000)
            now_ms = time.now(machine()).utc_ms
            assert now_ms >= last_ms
            last_ms = now_ms
        machine.run(STANDS_STILL_MS)
        assert time.now(machine()).utc_ms > last_ms
