"""What the rest of the house draws: the circuit's meter less our chargers, at the same instant."""

from __future__ import annotations

from gateway.load.capacity import Node, Sight, room
from gateway.load.foreign import Draw, Foreign, Sample, at, circuit_current, connector_current, foreign
from gateway.model import PhaseMa, Reading, TimeQuality
from tests.load.building import circuit, connector


def flat(ma: int) -> PhaseMa:
    return ma, ma, ma


def series(*points: tuple[float, int]) -> tuple[Sample, ...]:
    return tuple(Sample(at_s, flat(ma)) for at_s, ma in points)


def reading(current_ma: PhaseMa | None, power_w: int | None) -> Reading:
    return Reading("m", 0, 0, TimeQuality.NTP, 0, power_w=power_w, current_ma=current_ma)


def test_between_two_samples_the_current_is_in_proportion() -> None:
    assert at(series((10, 0), (14, 8000)), 11) == flat(2000)
    assert at(series((10, 0), (14, 8000)), 99) == flat(8000)
    assert at(series((10, 500), (14, 8000)), 0) == flat(500)


def test_a_house_step_is_seen_at_once_while_the_cars_draw_their_limit() -> None:
    total = series((98, 16000), (99, 16000), (100, 32000))
    car = Draw(series((92, 11000), (97, 11000)), flat(11000), charging=True)
    assert foreign(total, [car], 100.5).likely == flat(21000)


def test_a_car_that_rises_is_not_mistaken_for_the_house() -> None:
    """Raised from 6 A to 16 A at 96 s; its meter was last read before it followed."""
    total = series((95, 11000), (97, 11000), (99, 11000), (100, 21000))
    car = Draw(series((92, 6000), (97, 6000)), flat(16000), charging=True)
    assert foreign(total, [car], 100.5) == Foreign(flat(5000), flat(15000))


def test_a_car_whose_meter_shows_the_start_a_second_late_is_not_the_house() -> None:
    total = series((97, 5000), (98, 5000), (99, 17000), (100, 17000))
    late = Draw(series((96, 0), (99, 0)), flat(12000), charging=True)
    assert foreign(total, [late], 100.5).likely == flat(5000)


def test_a_car_read_a_moment_after_the_circuit_may_show_less_than_it_drew() -> None:
    """It begins at 100 s: the circuit shows it at once, its own meter a second later."""
    total = series((96, 5000), (98, 5000), (99.9, 5000), (100, 17000))
    late = Draw(series((96, 0), (100.5, 0)), flat(12000), charging=True)
    assert foreign(total, [late], 100.6).likely == flat(5000)


def test_the_difference_is_never_negative() -> None:
    assert foreign(series((100, 2000)), [Draw(series((100, 6000)), flat(6000), charging=True)], 100.0).likely == flat(0)


def test_a_car_that_nobody_measures_counts_with_what_it_may_draw() -> None:
    blind = Draw((), flat(10000), charging=True)
    idle = Draw((), flat(6000), charging=False)
    assert foreign(series((100, 15000)), [blind, idle], 100.0) == Foreign(flat(5000), flat(15000))


def test_a_reading_of_a_charger_older_than_30_seconds_says_nothing() -> None:
    old = Draw(series((60, 2000)), flat(10000), charging=True)
    assert foreign(series((100, 15000)), [old], 100.0).likely == flat(5000)


def test_a_meter_without_sign_is_read_with_the_sign_of_its_power() -> None:
    exporting = reading((10000, 12000, 2000), -5520)
    assert circuit_current(exporting, (0, 1, 2)) == (-10000, -12000, -2000)
    assert circuit_current(reading((10000, 12000, 2000), 5000), (0, 1, 2)) == (10000, 12000, 2000)
    assert circuit_current(reading((-3000, 12000, 2000), -5000), (0, 1, 2)) == (-3000, 12000, 2000)


def test_where_the_signs_cannot_be_told_a_phase_counts_as_importing() -> None:
    """10 A and 10 A and 9 A with -2300 W: which one imports cannot be known."""
    assert circuit_current(reading((10000, 10000, 9500), -2200), (0, 1, 2)) == (10000, 10000, 9500)


def test_a_meter_with_power_alone_may_have_all_of_it_on_each_phase() -> None:
    assert circuit_current(reading(None, 4600), (0, 1, 2)) == flat(20000)
    assert circuit_current(reading(None, 4600), (1,)) == (0, 20000, 0)
    assert circuit_current(reading(None, None), (0, 1, 2)) is None


def test_a_connectors_phases_are_turned_to_the_buildings() -> None:
    turned = connector("a", rotation=(1, 2, 0))
    assert connector_current(reading((16000, 3000, 1000), 0), turned) == (1000, 16000, 3000)
    assert connector_current(reading(None, 6900), connector("a", phases=2, rotation=(2, 0, 1))) == (15000, 0, 15000)


def judged(node: Node, age_s: float, house_ma: int = 5000) -> tuple[Node, tuple[PhaseMa, PhaseMa, PhaseMa]]:
    one = circuit(limit_a=40, meter="grid", house_worst_ma=18000, safe_ma=9000)
    node, found = room(node, one, 18000, series((100, house_ma)), [], 100 + age_s)
    return node, (found.keep, found.fill, found.booked)


def test_an_old_reading_gives_the_worst_case_and_a_silent_meter_the_safe_value() -> None:
    assert judged(Node(), 10)[1] == (flat(35000), flat(34500), flat(35000))
    node, found = judged(Node(), 11)
    assert (node.sight, found) == (Sight.OLD, (flat(22000),) * 3)
    node, found = judged(Node(), 61)
    assert (node.sight, found) == (Sight.SILENT, (flat(9000),) * 3)


def test_a_house_that_was_above_its_worst_case_stays_so_while_its_meter_is_silent() -> None:
    node, _ = judged(Node(), 1, house_ma=25000)
    assert judged(node, 11)[1][0] == flat(15000)


def test_a_meter_never_read_counts_as_silent_not_as_an_empty_house() -> None:
    one = circuit(limit_a=40, meter="grid", house_worst_ma=18000, safe_ma=30000)
    node, found = room(Node(), one, 18000, (), [], 100.0)
    assert (node.sight, found.keep) == (Sight.SILENT, flat(22000))


def test_a_circuit_without_a_meter_counts_its_stated_worst_case() -> None:
    assert room(Node(), circuit(limit_a=32, house_worst_ma=2000), 2000, (), [], 0.0)[1].keep == flat(30000)


def test_room_counts_for_a_rise_only_after_it_lasted() -> None:
    one = circuit(limit_a=40, meter="grid")
    node = Node()
    fills = []
    for second in range(20):
        house_ma = 20000 if second < 2 else 4000
        node, found = room(node, one, 20000, series((second, house_ma)), [], float(second))
        fills.append(found.fill[0])
    assert fills[:2] == [19500, 19500]
    assert fills[2:16] == [19500] * 14
    assert fills[16:] == [35500] * 4


def test_what_was_read_well_after_the_circuit_is_the_most_that_was_drawn() -> None:
    car = Draw((Sample(95.0, (16_000,) * 3), Sample(103.0, (6000,) * 3)), (16_000,) * 3, charging=True)
    assert foreign([Sample(100.0, (20_000,) * 3)], [car], 103.0).likely == (14_000,) * 3
