"""A clock that is wrong at the start, or set back: time goes on, is believed when it may be, and never stands still."""

from __future__ import annotations

import pytest

from gateway.clock import RealClock
from gateway.model import Guess, Stamp, TimeQuality
from gateway.site_time import STANDS_STILL_MS, Look, SiteTime

GUESSED, RTC, NTP = TimeQuality.GUESSED, TimeQuality.RTC, TimeQuality.NTP
NOW = 1_781_343_000_000
HOUR = 3_600_000
DAY = 86_400_000


class Machine:
    """A wall clock that can be set, and a monotonic one."""

    def __init__(self, wall_ms: int, quality: TimeQuality) -> None:
        self.wall_ms, self.up_ms, self.quality = wall_ms, 5_000, quality
        self.boot = "first"

    def __call__(self) -> Look:
        return Look(self.wall_ms, self.up_ms, self.quality, self.boot)

    def off_for(self, ms: int, *, battery: bool = True) -> None:
        """The power fails; a clock with a battery goes on."""
        self.wall_ms += ms if battery else 0
        self.up_ms, self.boot = 20_000, self.boot + " and again"
        self.wall_ms += self.up_ms

    def run(self, ms: int) -> None:
        self.wall_ms += ms
        self.up_ms += ms


def again(machine: Machine, newest_ms: int, guess: Guess | None) -> RealClock:
    """The next process on this machine."""
    clock = RealClock(machine)
    clock.start_no_earlier_than(newest_ms, guess)
    return clock


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
    guess = clock.guess()
    assert guess is not None
    assert guess.since.utc_ms == NOW + 3 * DAY - 60_000, "what was moved waits for a time server too"


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


WRONG_MS = pytest.mark.parametrize("wrong_ms", [-9_000 * DAY, -200 * DAY, -40 * 60_000, 50 * 60_000, 21 * DAY])


@WRONG_MS
def test_a_guess_outlives_its_process_and_the_next_one_knows_to_the_millisecond_how_far_it_was_off(
    wrong_ms: int,
) -> None:
    """A time server answered while no gateway was there. It used to look like an absence of 200 days."""
    machine, clock = started(NOW + wrong_ms, RTC, newest_ms=0)
    began = clock.now()
    machine.run(600_000)
    newest_ms, guess = clock.now().utc_ms, clock.guess()
    assert guess is not None
    assert guess.since == began == Stamp(NOW + wrong_ms, RTC)
    machine.run(90_000)
    machine.wall_ms, machine.quality = machine.wall_ms - wrong_ms, NTP
    clock = again(machine, newest_ms, guess)
    assert clock.off_ms() == wrong_ms
    assert clock.now() == Stamp(NOW + wrong_ms + 690_000, GUESSED)
    kept = clock.guess()
    assert kept is not None
    assert (kept.since, kept.estimated) == (began, False)
    clock.put_right()
    assert (clock.now(), clock.off_ms(), clock.guess()) == (Stamp(NOW + 690_000, NTP), 0, None)


@pytest.mark.parametrize("power", [False, True])
@WRONG_MS
def test_a_guess_that_the_next_start_cannot_put_right_either_waits(wrong_ms: int, power: bool) -> None:
    """Over a power cut a clock with a battery goes on, wrong by as much as it was."""
    machine, clock = started(NOW + wrong_ms, RTC, newest_ms=0)
    began, guess = clock.now(), clock.guess()
    assert guess is not None
    guess = guess._replace(never=True)
    machine.run(600_000)
    newest_ms = clock.now().utc_ms
    machine.run(10_000)
    if power:
        machine.off_for(90_000)
    clock = again(machine, newest_ms, guess)
    assert clock.now().quality is RTC, "as far as anybody knows it is right"
    assert clock.off_ms() == 0
    machine.run(60_000)
    machine.wall_ms, machine.quality = machine.wall_ms - wrong_ms, NTP
    assert clock.off_ms() == wrong_ms
    kept = clock.guess()
    assert kept is not None
    assert (kept.since, kept.estimated) == (began, False)


def _moved_since(machine: Machine, clock: RealClock, ahead_ms: int) -> int:
    """A time server answers a minute later: what was stamped since when is moved, by `ahead_ms`."""
    machine.run(60_000)
    clock.now()
    machine.wall_ms, machine.quality = machine.wall_ms - ahead_ms, NTP
    assert clock.off_ms() == ahead_ms
    kept = clock.guess()
    assert kept is not None
    return kept.since.utc_ms


def test_one_start_with_a_wrong_clock_does_not_move_what_months_of_starts_with_a_right_one_have_stamped() -> None:
    """No internet, a good battery clock, a power cut now and then; then somebody sets it to local time."""
    machine, clock = started(NOW, RTC, newest_ms=0)
    guess = clock.guess()
    for _ in range(20):
        machine.run(5 * DAY)
        newest_ms = clock.now().utc_ms
        machine.off_for(60_000)
        clock = again(machine, newest_ms, guess)
        guess = clock.guess()
    machine.run(1000)
    newest_ms = clock.now().utc_ms
    machine.off_for(60_000)
    machine.wall_ms += 2 * HOUR
    began_ms = machine.wall_ms
    clock = again(machine, newest_ms, guess)
    assert _moved_since(machine, clock, 2 * HOUR) == began_ms


def test_a_hand_that_sets_the_clock_wrong_does_not_make_what_was_before_wrong_too() -> None:
    machine, clock = started(NOW, RTC, newest_ms=0)
    machine.run(DAY)
    clock.now()
    machine.wall_ms += 2 * HOUR
    set_ms = machine.wall_ms
    assert clock.now() == Stamp(set_ms, RTC)
    assert _moved_since(machine, clock, 2 * HOUR) == set_ms


def test_a_start_without_a_battery_goes_on_by_the_guess_of_before_where_the_machine_ran_on() -> None:
    """By the newest on disk alone it lost the time in between, and could not be put right as a whole."""
    machine, clock = started(NOW - 300 * DAY, GUESSED)
    machine.run(60_000)
    newest_ms, guess = clock.now().utc_ms, clock.guess()
    machine.run(45_000)
    clock = again(machine, newest_ms, guess)
    assert clock.now() == Stamp(NOW + 105_000, GUESSED)
    machine.wall_ms = NOW + 2 * DAY
    assert clock.off_ms() == NOW + 105_000 - (NOW + 2 * DAY), "somebody has set it"
    kept = clock.guess()
    assert kept is not None
    assert kept.since.utc_ms == NOW


def test_a_start_without_a_battery_after_a_power_cut_begins_a_guess_of_its_own() -> None:
    machine, clock = started(NOW - 300 * DAY, GUESSED)
    machine.run(60_000)
    newest_ms, guess = clock.now().utc_ms, clock.guess()
    machine.off_for(45_000, battery=False)
    clock = again(machine, newest_ms, guess)
    assert clock.now() == Stamp(NOW + 60_000, GUESSED)
    kept = clock.guess()
    assert kept is not None
    assert kept.since.utc_ms == NOW + 60_000


@pytest.mark.parametrize(
    ("wrong_ms", "never", "estimated"),
    [
        (-200 * DAY, True, True), (-200 * DAY, False, False), (-DAY // 2, True, False), (-DAY // 2, False, False),
        (DAY // 2, False, True), (50 * 60_000, True, True),
    ],
)  # fmt: skip
def test_after_a_power_cut_what_cannot_be_an_absence_lies_right_before_the_start_of_the_machine(
    wrong_ms: int, never: bool, estimated: bool
) -> None:
    """How long the power was off is known to nobody. A house that has known the time may have been off for months."""
    machine, clock = started(NOW + wrong_ms, RTC, newest_ms=0)
    guess = clock.guess()
    assert guess is not None
    guess = guess._replace(never=never)
    machine.run(600_000)
    newest_ms = clock.now().utc_ms
    machine.off_for(90_000)
    machine.wall_ms, machine.quality = machine.wall_ms - wrong_ms, NTP
    clock = again(machine, newest_ms, guess)
    if not estimated:
        assert (clock.off_ms(), clock.guess()) == (0, None)
        assert clock.now() == Stamp(machine.wall_ms, NTP)
        return
    assert clock.off_ms() == wrong_ms - 90_000, "it was off for 90 s, and then 20 s on until now"
    kept = clock.guess()
    assert kept is not None
    assert (kept.since, kept.estimated) == (guess.since, True)


def test_a_clock_that_knows_the_time_is_no_guess_and_one_that_loses_it_becomes_one() -> None:
    machine, clock = started(NOW, NTP)
    assert clock.guess() is None
    machine.run(1_000)
    machine.quality = RTC
    assert clock.now() == Stamp(NOW + 1_000, RTC)
    guess = clock.guess()
    assert guess is not None
    assert guess.since == Stamp(NOW + 1_000, RTC)
    machine.quality = NTP
    assert clock.now().quality is NTP
    assert clock.guess() is None


def test_where_nobody_knows_which_start_of_the_machine_it_is_the_newest_on_disk_counts() -> None:
    machine, clock = started(NOW - 200 * DAY, RTC, newest_ms=0)
    machine.boot = ""
    guess = clock.guess()
    assert guess is not None
    assert guess.machine_boot == ""
    machine.run(600_000)
    machine.wall_ms, machine.quality = machine.wall_ms + 200 * DAY, NTP
    clock = again(machine, NOW - 200 * DAY + 100_000, guess._replace(never=True))
    assert clock.off_ms() == -200 * DAY - 500_000


def test_a_young_house_whose_clock_jumped_by_days_over_a_power_cut_waits_for_the_right_time_as_a_whole() -> None:
    """Seed 80065: 2 days behind, then half an hour, and a time server answered the second start only."""
    machine, clock = started(NOW - 2 * DAY, RTC, newest_ms=0)
    guess = clock.guess()
    assert guess is not None
    machine.run(600_000)
    newest_ms = clock.now().utc_ms
    machine.off_for(10_000)
    machine.wall_ms += 2 * DAY - 1_800_000
    clock = again(machine, newest_ms, guess._replace(never=True))
    assert clock.off_ms() == 1_800_000 - 2 * DAY - 10_000
    clock.put_right()
    assert (clock.now(), clock.off_ms()) == (Stamp(machine.wall_ms, RTC), 0)
    machine.run(60_000)
    machine.wall_ms, machine.quality = machine.wall_ms + 1_800_000, NTP
    assert clock.off_ms() == -1_800_000
    kept = clock.guess()
    assert kept is not None
    assert (kept.since.utc_ms, kept.estimated) == (NOW - 1_800_000 + 10_000, True), "where the first start was moved to"
