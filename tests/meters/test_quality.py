"""Garbage is never booked, and the way back is automatic (cases of metering in the field)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meters.quality import (
    CONFIRM_S,
    UNNAMED_S,
    Limits,
    Reason,
    Sample,
    Trust,
    Verdict,
    all_equal,
    another_level,
    judge,
    unseen,
)

LIMITS = Limits(possible_w=48_000, step_wh=1)


def sample(at_s: float, wh: int, *, export: int | None = 0, power: int = 0, serial: str = "1") -> Sample:
    return Sample(at_s, at_s + 0.1, wh, export, power, serial)


def run(*samples: Sample, trust: Trust | None = None) -> tuple[Trust, list[Reason | None]]:
    trust = trust or Trust()
    reasons = []
    for one in samples:
        trust, verdict = judge(trust, one, LIMITS)
        reasons.append(verdict.reason)
    return trust, reasons


def settled(wh: int = 16_400) -> Trust:
    trust, reasons = run(sample(0, wh), sample(5, wh))
    assert reasons == [Reason.UNCONFIRMED, None]
    return trust


def test_the_first_reading_counts_when_a_second_one_agrees() -> None:
    _, reasons = run(sample(0, 9_113_000), sample(5, 1000), sample(10, 1001), sample(15, 1002))
    assert reasons == [Reason.UNCONFIRMED, Reason.UNCONFIRMED, None, None]


def test_the_first_level_waits_until_the_serial_number_has_been_told_after_it() -> None:
    """Seed 10055: two meters were swapped between the serial number and the first reading after a start."""
    first, second = (sample(at_s, 9_000)._replace(named_s=0.5) for at_s in (1, 2))
    told, silent = sample(3, 9_000)._replace(named_s=2.5), sample(22, 9_000)._replace(named_s=0.5)
    assert run(first, second, told)[1] == [Reason.UNCONFIRMED, Reason.UNCONFIRMED, None]
    assert run(first, second, silent)[1] == [Reason.UNCONFIRMED, Reason.UNCONFIRMED, None]
    assert run(first, second)[0].unnamed(0.5)
    assert not run(first, second)[0].unnamed(2.5)
    assert not run(sample(1, 9_000))[0].unnamed(None)


def test_zeros_after_a_start_are_not_believed_before_they_have_held_for_five_minutes() -> None:
    """Seed 268: started while a meter answered zeros; a boundary of 0 Wh was kept for ever, a session got 1.4 kWh."""
    _, reasons = run(sample(0, 0), sample(5, 0), sample(290, 0), sample(295, 16_500), sample(300, 16_501))
    assert reasons == [Reason.UNCONFIRMED] * 4 + [None]
    _, reasons = run(*(sample(5.0 * i, 0) for i in range(62)), sample(310, 1))
    assert reasons == [Reason.UNCONFIRMED] * 60 + [None] * 3


def test_zeros_for_a_while_are_not_booked_and_the_next_good_reading_is() -> None:
    """idm-heatpump #322, solaredge-modbus #126: zero for some reads, then the whole counter booked as consumption."""
    zeros = [sample(10 + 5 * i, 0) for i in range(200)]
    _, reasons = run(*zeros, sample(1010, 16_500), trust=settled())
    assert reasons == [Reason.FALL] * 200 + [None]


def test_a_value_of_another_register_is_not_booked() -> None:
    """home-assistant/core #138077: an SDM630 booked 9113 kWh within minutes."""
    _, reasons = run(sample(10, 9_129_000), sample(15, 16_401), trust=settled())
    assert reasons == [Reason.JUMP, None]


def test_a_jump_that_the_fuse_allows_after_a_gap_is_believed() -> None:
    _, reasons = run(sample(3605, 16_400 + 40_000), trust=settled())
    assert reasons == [None]
    _, reasons = run(sample(3605, 16_400 + 60_000), trust=settled())
    assert reasons == [Reason.JUMP]


def test_a_new_level_is_believed_when_it_has_held_and_is_told_with_the_old_register() -> None:
    trust = settled(99_999_990)
    verdicts = []
    for at_s in range(10, 10 + int(CONFIRM_S) + 10, 5):
        trust, verdict = judge(trust, sample(at_s, 20 + at_s), LIMITS)
        verdicts.append(verdict)
    good = [verdict for verdict in verdicts if verdict.reason is None]
    assert [verdict.reason for verdict in verdicts[:12]] == [Reason.FALL] * 12
    assert good[0].rebased is not None
    assert good[0].rebased.import_wh == 99_999_990
    assert good[1:] == [Verdict(None)] * (len(good) - 1)


def test_a_jump_that_no_fuse_lets_pass_is_another_level_also_when_time_has_passed() -> None:
    """Seed 20058: 218 Wh in 5 s, then 4.6 kW. 15 s later the fuse would have let them pass, and they were billed."""
    later = [sample(10.0 + 5 * n, 16_618 + 6 * n, power=4_600) for n in range(14)]
    trust, verdicts = settled(), []
    for one in later:
        trust, verdict = judge(trust, one, LIMITS)
        verdicts.append(verdict)
    assert [verdict.reason for verdict in verdicts[:12]] == [Reason.JUMP] * 12
    assert [verdict.rebased is not None for verdict in verdicts] == [False] * 12 + [True, False]


def test_a_register_that_stood_still_and_goes_on_is_no_other_level_where_its_name_is_the_same() -> None:
    """Seed 21008: the gateway started while a register was frozen; 155 Wh were booked to nobody at the thaw."""
    trust = run(named(5, 16_400, 1.0, power=9_700), trust=settled())[0]
    thaw = [named(10, 16_524, 1.0, power=9_700), named(15.5, 16_538, 15.3, power=9_700)]
    assert run(*thaw, trust=trust)[1] == [Reason.JUMP, None]
    assert run(*(one._replace(named_s=None) for one in thaw), trust=trust)[1] == [Reason.JUMP, Reason.JUMP]


def test_a_meter_that_shows_no_power_has_another_level_too_and_an_old_wrong_value_explains_nothing() -> None:
    jump = [sample(10.0 + 5 * n, 17_000 + n)._replace(power_w=None) for n in range(14)]
    assert run(*jump, trust=settled())[1] == [Reason.JUMP] * 12 + [None] * 2
    assert run(sample(10, 17_000), sample(3610, 40_000, power=10_000), trust=settled())[1] == [Reason.JUMP, None]


def test_a_value_of_another_register_does_not_delay_what_follows_the_good_one() -> None:
    """The wrong value was only a little above or below what the register then says."""
    assert run(sample(10, 16_700), sample(15, 16_401), trust=settled())[1] == [Reason.JUMP, None]
    for power in (0, None):  # requests that cross
        crossed = [sample(at_s, wh)._replace(power_w=power) for at_s, wh in ((10, 16_399), (11, 16_401))]
        assert run(*crossed, trust=settled())[1] == [Reason.FALL, None]


def test_another_serial_with_another_level_is_believed_at_the_second_reading_even_at_zero() -> None:
    _, reasons = run(sample(10, 0, serial="2"), sample(15, 0, serial="2"), trust=settled())
    assert reasons == [Reason.FALL, None]


def test_of_another_meter_the_first_reading_counts_though_its_name_was_asked_for_only_after_it() -> None:
    """Seed 10055: an exchange 2 s before a quarter hour cost the boundary 6 s, a third reading one cycle later."""
    _, reasons = run(sample(10, 700), sample(10.4, 700, serial="2"), trust=settled())
    assert reasons == [Reason.FALL, None]
    _, reasons = run(sample(10, 700, serial="3"), sample(10.4, 700, serial="2"), trust=settled())
    assert reasons == [Reason.FALL, Reason.FALL]


def test_random_garbage_never_becomes_a_level() -> None:
    garbage = [sample(10 + 5 * i, 10**8 * (1 + i % 3)) for i in range(60)]
    _, reasons = run(*garbage, sample(400, 16_410), trust=settled())
    assert reasons == [Reason.JUMP] * 60 + [None]


def test_a_frozen_meter_is_seen_within_two_minutes_and_its_thaw_is_no_jump() -> None:
    """EVerest PR #2673: a meter that repeats its last answer. 3.7 kW flow, the register stands."""
    trust, reasons = run(*[sample(5 * i, 1000, power=3700) for i in range(2, 26)], trust=settled(1000))
    assert Reason.FROZEN in reasons
    assert reasons.index(Reason.FROZEN) * 5 < 120
    assert set(reasons[reasons.index(Reason.FROZEN) :]) == {Reason.FROZEN}
    _, after = run(sample(200, 1180, power=3700), trust=trust)
    assert after == [None]


def test_a_register_that_stands_while_next_to_nothing_flows_is_not_frozen() -> None:
    _, reasons = run(*[sample(60 * i, 1000, power=60) for i in range(1, 200)], trust=settled(1000))
    assert set(reasons) == {None}


def test_a_coarse_register_may_stand_for_its_step() -> None:
    """100 Wh a count at 500 W moves every 12 minutes."""
    coarse = Limits(possible_w=48_000, step_wh=100)
    trust = settled(1000)
    for i in range(2, 140):
        trust, verdict = judge(trust, sample(5 * i, 1000, power=500), coarse)
        assert verdict.reason is None


def test_a_reading_without_energy_says_nothing_about_energy() -> None:
    trust = settled()
    assert judge(trust, Sample(9, 9.1, None, None, 500, "1"), LIMITS) == (trust, Verdict(None))


def test_equal_registers_are_seen_zeros_are_not_meant() -> None:
    assert all_equal((236,) * 8)
    assert not all_equal((0,) * 8)
    assert not all_equal((236, 236))
    assert not all_equal((236, 236, 236, 237))


@given(st.lists(st.tuples(st.floats(0.5, 600), st.floats(0, 1)), max_size=40))
def test_an_honest_meter_is_never_doubted(steps: list[tuple[float, float]]) -> None:
    """Any consumption below the fuse, at any rhythm."""
    at_s, wh = 5.0, 16_400.0
    trust = settled()
    for seconds, share in steps:
        power = share * LIMITS.possible_w
        at_s, wh = at_s + seconds, wh + power * seconds / 3600
        trust, verdict = judge(trust, sample(at_s, int(wh), power=int(power)), LIMITS)
        assert verdict.reason is None


@given(st.lists(st.integers(0, 10**10), max_size=30))
def test_what_is_accepted_never_falls_but_with_a_told_new_level(values: list[int]) -> None:
    trust, last = Trust(), None
    for i, wh in enumerate(values):
        trust, verdict = judge(trust, sample(5.0 * i, wh), LIMITS)
        if verdict.reason is None:
            assert last is None or wh >= last or verdict.rebased is not None
            last = wh


def test_a_new_level_waits_until_the_serial_number_has_been_read_again() -> None:
    """Seed 159: the first Wh of a new meter were booked under the serial number that was read from the old one."""
    trust, before = settled(), sample(5, 16_400)._replace(named_s=4.0)
    trust, _ = judge(trust, before, LIMITS)
    reasons = []
    for at_s in range(10, 90, 5):
        trust, verdict = judge(trust, sample(at_s, 700)._replace(named_s=4.0), LIMITS)
        reasons.append(verdict.reason)
    assert reasons == [Reason.FALL] * len(reasons)
    assert trust.unnamed(4.0)
    _, verdict = judge(trust, sample(90, 700)._replace(named_s=88.0), LIMITS)
    assert verdict.rebased is not None
    assert verdict.rebased.import_wh == 16_400


def test_a_new_level_of_a_meter_that_has_stopped_telling_its_serial_number_is_believed_in_the_end() -> None:
    trust, verdict = settled(), Verdict(Reason.FALL)
    at_s = 10.0
    while verdict.reason is not None:
        trust, verdict = judge(trust, sample(at_s, 700)._replace(named_s=4.0), LIMITS)
        at_s += 5
    assert UNNAMED_S <= at_s - 10 <= UNNAMED_S + 10


def named(at_s: float, wh: int, named_s: float | None, *, power: int | None = 0, serial: str = "1") -> Sample:
    return sample(at_s, wh, serial=serial)._replace(power_w=power, named_s=named_s)


def test_a_jump_that_the_power_does_not_explain_waits_for_the_serial_number_and_no_longer() -> None:
    """60 Wh in 5 s with nothing flowing: the fuse would let them pass. The name is asked at once, then it counts."""
    trust, reasons = run(named(10, 16_460, 4.0), trust=run(named(5, 16_400, 4.0), trust=settled())[0])
    assert reasons == [Reason.UNNAMED]
    assert trust.unnamed(4.0)
    _, reasons = run(named(10.5, 16_460, 10.3), trust=trust)
    assert reasons == [None]


def test_another_meter_at_a_plausible_higher_level_books_nothing() -> None:
    """The name that comes back is another one: the withheld reading was never given out under the old."""
    trust, reasons = run(named(10, 16_460, 4.0), trust=run(named(5, 16_400, 4.0), trust=settled())[0])
    assert reasons == [Reason.UNNAMED]
    trust, verdict = judge(trust, named(10.5, 16_460, 10.3, serial="2"), LIMITS)
    assert verdict.reason is None
    assert trust.good is not None
    assert trust.good.serial == "2"


def test_what_power_or_rating_explain_waits_for_nothing() -> None:
    """11 kW for 5 s, a kettle between two looks, a reading without power behind a 16 A box."""
    before = run(named(5, 16_400, 4.0, power=11_000), trust=settled())[0]
    assert run(named(10, 16_416, 4.0, power=11_000), trust=before)[1] == [None]
    before = run(named(5, 16_400, 4.0), trust=settled())[0]
    assert run(named(10, 16_420, 4.0), trust=before)[1] == [None]
    box = LIMITS._replace(usual_w=12_000)
    assert judge(before, named(10, 16_440, 4.0, power=None), box)[1].reason is None
    assert judge(before, named(10, 16_470, 4.0, power=None), box)[1].reason is Reason.UNNAMED
    assert judge(before, named(10, 16_460, None), LIMITS)[1].reason is None  # it tells no name: nothing to wait for


def test_a_meter_that_stops_telling_its_name_is_believed_after_twenty_seconds() -> None:
    trust = run(named(5, 16_400, 4.0), trust=settled())[0]
    reasons = []
    for at_s in (10, 15, 20, 25, 30):
        trust, verdict = judge(trust, named(at_s, 16_460, 4.0), LIMITS)
        reasons.append(verdict.reason)
    assert reasons == [Reason.UNNAMED] * 4 + [None]


def test_after_a_gap_in_which_it_was_identified_it_is_believed_at_once() -> None:
    """A car charged while nobody could read: the name was told when the meter came back."""
    trust = run(named(5, 16_400, 4.0), trust=settled())[0]
    assert run(named(905, 18_400, 904.0), trust=trust)[1] == [None]


def test_a_box_that_draws_twice_its_rating_is_not_doubted() -> None:
    """22 kW behind a 16 A box, looked at once a minute, with and without power in the reading."""
    box = LIMITS._replace(usual_w=12_000)
    before = run(named(5, 16_400, 4.0, power=22_000), trust=settled())[0]
    for power in (22_000, None):
        assert judge(before, named(65, 16_400 + 366, 4.0, power=power), box)[1].reason is None


ROLLS = LIMITS._replace(range_wh=1 << 32)
FULL = ROLLS.range_wh or 0


def rolled(*samples: Sample, limits: Limits = ROLLS) -> list[Reason | None]:
    """What is said of these after a register that stands 7 Wh below its range, with 5.2 kW."""
    trust = Trust(good=sample(0, FULL - 7, power=5_200), seen_s=0.1)
    reasons = []
    for one in samples:
        trust, verdict = judge(trust, one, limits)
        reasons.append(verdict.reason)
    return reasons


def test_a_register_that_rolls_over_is_believed_at_once() -> None:
    """Seeds 10026, 10027: a quarter hour that ended within a minute after it had no register."""
    assert rolled(sample(5, 1, power=5_200), sample(10, 8, power=5_200)) == [None, None]


def test_the_exact_zero_of_a_rollover_waits_for_the_next_watt_hour() -> None:
    """Else a meter that answers zeros for a while would be taken for it, and come back with its whole register."""
    assert rolled(sample(5, 0, power=5_200), sample(10, 7, power=5_200)) == [Reason.FALL, None]
    zeros = [sample(5.0 * n, 0) for n in range(1, 30)]
    assert rolled(*zeros, sample(150, FULL - 7)) == [Reason.FALL] * 29 + [None]


def test_what_falls_otherwise_is_no_rollover() -> None:
    """Further than the power explains, another meter's name, an export that falls, a register that has no range."""
    assert rolled(sample(5, 60, power=5_200)) == [Reason.FALL]
    assert rolled(sample(5, 1, power=5_200, serial="2")) == [Reason.FALL]
    assert rolled(sample(5, 1, power=5_200), limits=LIMITS) == [Reason.FALL]
    low, exporting = Trust(good=sample(0, 1_000)), Trust(good=sample(0, FULL - 7, export=5))
    assert judge(low, sample(5, 1), LIMITS._replace(range_wh=1_002))[1].reason is None
    assert judge(low, sample(5, 1), LIMITS._replace(range_wh=1_020))[1].reason is Reason.FALL
    assert judge(exporting, sample(5, 1, export=4), ROLLS)[1].reason is Reason.FALL


def test_a_rollover_that_was_not_seen_at_once_is_no_other_level() -> None:
    """The meter was silent for 5 min while a car charged that has left since: power does not explain it, the fuse does.

    A level that the fuse rules out is another one, however long it stays."""
    for first_s, wh, rolled in ((300, 400, True), (5, 400, False)):
        trust, verdict = Trust(good=sample(0, FULL - 7), seen_s=0.1), Verdict(Reason.FALL)
        at_s = float(first_s)
        while verdict.reason is not None:
            trust, verdict = judge(trust, sample(at_s, wh), ROLLS)
            at_s += 5
        assert (verdict.rebased is not None, verdict.rolled) == (True, rolled)


@pytest.mark.parametrize(
    ("before", "after", "away_s", "another"),
    [
        (16_400, 16_400, 60.0, False),
        (16_400, 17_400, 60.0, False),
        (16_400, 17_401, 60.0, True),
        (16_400, 900_000, None, False),
        (16_400, 16_399, 60.0, True),
        (16_400, 16_399, None, True),
        (999_600, 100, 60.0, False),
        (999_600, 2_000, 60.0, True),
        (980_000, 100, 60.0, True),
    ],
)
def test_the_first_level_after_a_start_is_another_one_where_it_cannot_have_come_of_the_last(
    before: int, after: int, away_s: float | None, another: bool
) -> None:
    """48 kW for a minute are 800 Wh, 200 are to spare. Seed 124: a meter near its range, exchanged meanwhile."""
    limits = LIMITS._replace(range_wh=1_000_000)
    assert another_level(sample(0, before), sample(0, after), limits, away_s) is another


def test_an_export_register_that_fell_is_another_level_too() -> None:
    assert another_level(sample(0, 5, export=9), sample(0, 5, export=8), LIMITS, None)
    assert another_level(sample(0, 5, export=9), sample(0, 5, export=5_000), LIMITS, 60.0)
    assert not another_level(sample(0, 5, export=9), sample(0, 5, export=9), LIMITS, 60.0)


@pytest.mark.parametrize(
    ("before_wh", "power", "jump_wh", "reason"),
    [(16_400, 3_700, 88, None), (16_400, 0, 88, Reason.JUMP), (16_399, 3_700, 88, Reason.JUMP),
     (16_400, 3_700, 700, Reason.JUMP)],
)  # fmt: skip
def test_a_register_that_stood_still_over_a_start_may_go_on_by_what_has_flowed_since(
    before_wh: int, power: int, jump_wh: int, reason: Reason | None
) -> None:
    """Seeds 10070 and 10090: it stood still when the gateway was killed and when it came back, 40 s later; 48 kW for
    40 s are 533 Wh. Where no power is shown, or the register has moved since, it is no register that stood still."""
    trust = unseen(settled(), sample(0, before_wh), LIMITS, 40.0)
    trust, reasons = run(*[sample(5.0 + 5 * n, 16_400, power=power) for n in range(3)], trust=trust)
    assert reasons == [None] * 3
    assert judge(trust, sample(20.0, 16_400 + jump_wh, power=power), LIMITS)[1].reason is reason


def test_what_may_have_flowed_before_a_start_is_forgotten_with_the_first_move() -> None:
    trust = unseen(settled(), sample(0, 16_400), LIMITS, 40.0)
    trust, _ = run(sample(10, 16_400, power=3_700), sample(15, 16_410, power=3_700), trust=trust)
    trust, reasons = run(sample(20, 16_410, power=3_700), sample(25, 16_498, power=3_700), trust=trust)
    assert reasons == [None, Reason.JUMP]
