"""A car that has had nothing of its turn yet goes on waiting for the careful room."""

from __future__ import annotations

from gateway.load.books import Answer
from gateway.load.decide import step
from gateway.load.foreign import Sample
from gateway.load.plant import plant_of
from gateway.load.state import Inputs, State
from gateway.model import ConnectorRef, ConnectorState, LimitOutcome
from tests.load.building import circuit, connector, site_of

FIRST, SECOND = ConnectorRef("first", 1), ConnectorRef("second", 1)


def test_a_house_that_rises_while_room_is_made_does_not_keep_a_car_from_its_turn_for_ever() -> None:
    """One car charges alone; a second comes at 307. While the first comes down the house rises by 1.5 A, beside a hob
    that pulses 2 s in 10: both minima fit the likely room (15 A), the careful one (11.5 A) holds one."""
    boxes = [connector(one.charger, fallback_ma=0, meter=one.charger) for one in (FIRST, SECOND)]
    plant = plant_of(site_of([circuit(limit_a=32, meter="grid")], boxes))
    state, flying, told = State(0.0), list[Answer](), list[Answer]()
    total: tuple[Sample, ...] = ()
    draws: dict[ConnectorRef, tuple[Sample, ...]] = {FIRST: (), SECOND: ()}
    charged: set[ConnectorRef] = set()
    for second in range(1, 1000):
        now_s = float(second)
        load_ma = (17_000 if second >= 309 else 15_500) + (3000 if second % 10 < 2 else 0)
        for ref in draws:
            ma = next((one.limit_ma for one in reversed(told) if one.ref == ref and now_s - one.answered_s >= 5), 0)
            draws[ref] = (*draws[ref][-19:], Sample(now_s, (ma, ma, ma)))
            load_ma += ma
            charged |= {ref} if ma and second > 307 else set()
        total = (*total[-19:], Sample(now_s, (load_ma,) * 3))
        due = tuple(one for one in flying if one.answered_s <= now_s)
        flying, told = [one for one in flying if one.answered_s > now_s], [*told, *due]
        states = (
            ConnectorState(FIRST, True, "Charging", 1, None, True),
            ConnectorState(SECOND, True, "Charging", 2 if second > 306 else None, None, True),
        )
        outcome = step(plant, state, Inputs(now_s, states, dict(draws), {"house": total}, due))
        state = outcome.state
        flying += [
            Answer(one.ref, one.transaction, one.limit_ma, now_s, now_s + 1, LimitOutcome.CONFIRMED)
            for one in outcome.commands
        ]
    assert charged == {FIRST, SECOND}
