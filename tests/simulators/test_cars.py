"""A car follows its offer late, starts a little greedy, slows down when nearly full, and never draws below 6 A."""

from __future__ import annotations

from simulators.cars import Car


def drive(car: Car, offers: dict[int, int | None], seconds: int) -> list[int]:
    """The draw in each second, with the offer changed at some of them."""
    offer: int | None = None
    drawn = []
    for second in range(seconds):
        offer = offers.get(second, offer)
        drawn.append(car.draw_ma(offer, second * 1000))
    return drawn


def test_it_starts_after_a_moment_and_draws_above_the_offer_for_two_seconds():
    drawn = drive(Car("a", 3, 16_000, 10_000.0), {0: 10_000}, 8)
    assert drawn == [0, 0, 0, 11_500, 11_500, 10_000, 10_000, 10_000]


def test_it_never_draws_more_than_it_can():
    assert max(drive(Car("a", 3, 16_000, 10_000.0), {0: 32_000}, 20)) == 16_000


def test_it_follows_a_lower_and_a_higher_offer_after_its_delay():
    drawn = drive(Car("a", 3, 16_000, 10_000.0, delay_ms=5000), {0: 10_000, 20: 7_000, 30: 9_000}, 40)
    assert drawn[24] == 10_000
    assert drawn[25] == 7_000
    assert drawn[34] == 7_000
    assert drawn[35] == 9_000


def test_an_open_contactor_ends_the_draw_at_once_and_a_pause_after_the_delay():
    drawn = drive(Car("a", 3, 16_000, 10_000.0, delay_ms=5000), {0: 10_000, 10: 0, 30: 10_000, 50: None}, 52)
    assert drawn[14] == 10_000
    assert drawn[15] == 0
    assert drawn[36] == 11_500
    assert drawn[50] == 0


def test_below_six_ampere_it_draws_nothing():
    assert set(drive(Car("a", 3, 16_000, 10_000.0), {0: 5_900}, 10)) == {0}


def test_it_takes_less_and_less_when_nearly_full_and_nothing_when_full():
    car = Car("a", 3, 16_000, 1000.0)
    draws = []
    for taken in (900.0, 950.0, 999.0, 1000.0):
        car.taken_wh = taken
        draws.append(drive(car, {0: 16_000}, 10)[-1])
    assert draws[0] == 16_000
    assert draws[0] > draws[1] > draws[2] > 0
    assert draws[3] == 0
