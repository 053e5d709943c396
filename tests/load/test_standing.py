"""What a tick remembers of the one before never decides: whoever judges everything anew comes to the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from gateway.load import books, standing
from gateway.load import car as cars_of
from gateway.load.allocate import Grant
from gateway.load.books import Answer, Book
from gateway.load.car import Car
from gateway.load.decide import Outcome, step
from gateway.load.foreign import Sample
from gateway.load.notices import notices
from gateway.load.pacing import Bounds, Command, Seat, pace, rests
from gateway.load.plant import Plant, plant_of
from gateway.load.state import Inputs, State
from gateway.model import ConnectorRef, ConnectorState, LimitOutcome, PhaseMa
from tests.load.building import circuit, connector, site_of

STATUSES = ("Charging",) * 20 + ("SuspendedEV", "Finishing", "Available")
OUTCOMES = (LimitOutcome.CONFIRMED,) * 12 + (LimitOutcome.SILENT, LimitOutcome.REFUSED)
LIKES_MA = (0, 4000, 7000, 7000, *(16_000,) * 6, 19_000)
SECONDS = 900


def plant() -> Plant:
    circuits = [
        circuit(limit_a=80, meter="grid"),
        circuit("garage", 50, parent="house", house_worst_ma=0, imbalance_ma=16_000),
    ]
    boxes = [
        connector(
            f"b{number}",
            "garage" if number % 3 else "house",
            phases=(3, 3, 1, 2)[number % 4],
            rotation=((0, 1, 2), (1, 2, 0))[number % 2],
            fallback_ma=(0, 6000)[number % 2],
            meter=None if number == 5 else f"m{number}",
        )
        for number in range(7)
    ]
    return plant_of(site_of(circuits, boxes))


@dataclass
class Box:
    """A box and its car, told by chance. They follow limits mostly, and late."""

    state: ConnectorState
    samples: tuple[Sample, ...] = ()
    told: tuple[tuple[float, int], ...] = ()
    likes_ma: int = 16_000
    phases: tuple[int, ...] = (0, 1, 2)

    def live(self, random: Random, now_s: float) -> None:
        """What happens to it in a second: mostly nothing."""
        if random.random() < 0.005:
            running = random.choice((None, *[random.randrange(1, 5)] * 3))
            self.state = self.state._replace(transaction_id=running)
            self.likes_ma = random.choice(LIKES_MA)
            self.phases = random.choice(((0, 1, 2), (0, 1), (1,)))
        if random.random() < 0.005:
            self.state = self.state._replace(
                connected=random.random() < 0.95,
                status=random.choice(STATUSES),
                csms_limit_ma=random.choice((None, None, 0, 9000)),
                fallback_proven=random.random() < 0.9,
            )
        if random.random() < 0.005:
            self.likes_ma = random.choice(LIKES_MA)

    def read(self, random: Random, now_s: float) -> None:
        """Its meter answers; now and then for a minute it does not."""
        offer_ma = next((ma for at_s, ma in reversed(self.told) if now_s - at_s > 6), 0)
        draws_ma = min(self.likes_ma, offer_ma) if self.likes_ma < 19_000 else self.likes_ma
        if self.state.transaction_id is None or not draws_ma:
            draws_ma = random.choice((0, 30))
        ma = [draws_ma + random.choice((0, 0, 300)) if phase in self.phases else 0 for phase in range(3)]
        current: PhaseMa = ma[0], ma[1], ma[2]
        self.samples = (*self.samples[-19:], Sample(now_s, current))


class House:
    """Seconds told by chance; both ticks are given the same."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self.random = Random(seed)
        self.boxes = {
            ref: Box(
                ConnectorState(ref, self.random.random() < 0.8, "Charging", None, None, self.random.random() < 0.8)
            )
            for ref in plant.spots
        }
        self.total: tuple[Sample, ...] = ()
        self.silent_until: dict[object, float] = {}
        self.flying: list[tuple[float, Answer]] = []

    def second(self, now_s: float) -> Inputs:
        random = self.random
        for number, box in enumerate(self.boxes.values()):
            box.live(random, now_s)
            if self._is_read(number, now_s) and round(now_s) % 7 == number % 7 and number != 5:
                box.read(random, now_s - random.choice((0.0, 0.4)))
        if self._is_read("grid", now_s):
            base_ma = 15_000 + 9000 * (round(now_s) // 40 % 3)
            one, two, three = (base_ma + random.randrange(0, 400) for _ in range(3))
            self.total = (*self.total[-19:], Sample(now_s, (one, two, three)))
        due = tuple(answer for at_s, answer in self.flying if at_s <= now_s)
        self.flying = [(at_s, answer) for at_s, answer in self.flying if at_s > now_s]
        return Inputs(
            now_s,
            tuple(box.state for box in self.boxes.values()),
            {ref: box.samples for ref, box in self.boxes.items() if box.samples},
            {"house": self.total} if self.total else {},
            due,
        )

    def _is_read(self, meter: object, now_s: float) -> bool:
        if self.random.random() < 0.002:
            self.silent_until[meter] = now_s + self.random.choice((15.0, 45.0, 80.0))
        return now_s >= self.silent_until.get(meter, 0.0)

    def send(self, commands: tuple[Command, ...], now_s: float) -> None:
        for command in commands:
            outcome, takes_s = self.random.choice(OUTCOMES), self.random.choice((0.5, 1.5, 1.5, 1.5, 1.5, 25.0))
            answered_s = now_s + takes_s
            answer = Answer(command.ref, command.transaction, command.limit_ma, now_s, answered_s, outcome)
            self.flying.append((answered_s, answer))
            if outcome is LimitOutcome.CONFIRMED:
                self.boxes[command.ref].told += ((answered_s, command.limit_ma),)


def forgetful(state: State) -> State:
    """Without what is only remembered so that it need not be worked out again."""
    return replace(state, standings={}, plan=None)


@pytest.mark.parametrize("seed", range(6))
def test_a_tick_that_remembers_decides_what_one_decides_that_judges_everything_anew(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = plant()
    house = House(site, seed)
    quick = slow = State(1000.0)
    sent = 0
    for second in range(SECONDS):
        inputs = house.second(1000.0 + second)
        remembered = step(site, quick, inputs)
        with monkeypatch.context() as patch:
            patch.setattr("gateway.load.decide.rests", lambda *_: False)
            anew = step(site, forgetful(slow), inputs)
        assert remembered.commands == anew.commands, second
        assert seen(remembered) == seen(anew), second
        (quick, told), (slow, told_anew) = (notices(site, one.state, inputs.now_s) for one in (remembered, anew))
        assert told == told_anew
        house.send(remembered.commands, inputs.now_s)
        sent += len(remembered.commands)
    assert sent > 40, "cars were steered"


def seen(outcome: Outcome) -> object:
    """All that the next tick and the status may look at."""
    state = outcome.state
    standings = [one._replace(until_s=0.0) for one in state.standings.values()]
    return (standings, state.cars, state.nodes, state.rooms, state.raised, state.plan and dict(state.plan.grants))


def test_most_connectors_are_not_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares a tick with itself."""
    site = plant()
    house = House(site, 1)
    judged: list[ConnectorRef] = []
    judge = standing._counts

    def counted(state: State, one: ConnectorState, *more: object) -> object:
        judged.append(one.ref)
        return judge(state, one, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(standing, "_counts", counted)
    state = State(1000.0)
    for second in range(SECONDS):
        inputs = house.second(1000.0 + second)
        outcome = step(site, state, inputs)
        state = outcome.state
        house.send(outcome.commands, inputs.now_s)
    assert SECONDS < len(judged) < SECONDS * len(site.spots) * 0.6


def test_a_box_that_never_came_counts_with_its_maximum_once_all_had_time_to_come_back() -> None:
    """Nothing new is told of it, and only the time of the rule is over."""
    site = plant()
    states = tuple(ConnectorState(ref, connected=False, status="Unknown") for ref in site.spots)
    state, counted = State(1000.0), []
    for second in range(125):
        state = step(site, state, Inputs(1000.0 + second, states, {}, {})).state
        counted.append([one.counted_ma for one in state.standings.values()])
    fallbacks = [one.connector.fallback_ma for one in site.spots.values()]
    assert counted == [fallbacks] * 120 + [[16_000] * len(fallbacks)] * 5


def some_book(random: Random) -> Book:
    over_s = random.choice((90.0, 130.0, 130.0))
    sent = books.Sent(random.choice((0, 6000, 9000)), over_s, over_s + random.choice((5.0, 15.0)))
    return Book(
        1,
        wanted_ma=random.choice((None, 0, 6000, 9000)),
        sent_s=random.choice((20.0, 60.0, 99.0)),
        confirmed=random.choice((None, sent, sent, sent)),
        flying=random.choice((None, None, None, books.Flying(6000, 99.0))),
        doubtful=random.choice(((), (), (replace(sent, limit_ma=16_000),))),
        past=random.choice(((), (), ((9000, 95.0),))),
        trouble=random.choice((None, None, LimitOutcome.REFUSED, LimitOutcome.SILENT)),
        not_before_s=random.choice((0.0, 0.0, 110.0)),
    )


def test_a_settled_limit_is_what_counts_and_its_box_is_steered() -> None:
    random, settled = Random(1), 0
    for _ in range(3000):
        book, sample = some_book(random), random.choice((None, Sample(99.0, (12_000, 0, 0))))
        ma = books.settled(book, 100.0)
        if ma is not None:
            settled += 1
            assert books.counted(book, 100.0, random.choice((0, 32_000)), sample) == ma
            assert not books.unsteered(book, 100.0)
    assert settled > 200


def test_who_rests_would_be_told_nothing_and_makes_nobody_wait() -> None:
    random, resting = Random(1), 0
    box = connector("a")
    for _ in range(5000):
        room_s = random.choice((None, None, 80.0))
        car = Car(some_book(random), on=True, since_s=0.0, room_s=room_s)
        counted_ma, target_ma = random.choice((0, 5000, 6000, 9000)), random.choice((0, 6000, 6500, 8000, 9000, 11_000))
        if not rests(car, box, counted_ma, target_ma, 100.0, 120.0):
            continue
        resting += 1
        seat = Seat(box, car, (0, 1, 2), counted_ma, Grant(target_ma, random.choice(("full", "csms", "waiting"))))
        full = Bounds((99_000,) * 3, (40_000,) * 3, (random.choice((0, 99_000)),) * 3)
        paced = pace([seat], full, (), 100.0, 120.0)
        assert (paced.commands, paced.cars, paced.raised) == ((), {box.ref: car}, ())
        other = Seat(connector("b"), Car(Book(1, wanted_ma=9000), True, 0.0), (0, 1, 2), 9000, Grant(8500, "fuse"))
        assert pace([seat, other], full, (), 100.0, 120.0).commands == pace([other], full, (), 100.0, 120.0).commands
    assert resting > 30


def test_a_car_is_calm_until_the_first_of_its_times_is_over() -> None:
    sent = books.Sent(6000, 500.0, 510.0)
    car = Car(Book(1, confirmed=sent), on=True, since_s=-1000.0)
    assert cars_of.calm_until_s(car, 100.0) == 500.0
    assert cars_of.calm_until_s(replace(car, under_s=90.0), 100.0) == 135.0
    assert cars_of.calm_until_s(replace(car, charging_s=90.0), 100.0) == 150.0
    assert cars_of.calm_until_s(replace(car, charging_s=10.0), 100.0) == 500.0


def test_a_connector_may_draw_at_least_what_it_draws() -> None:
    one = ConnectorRef("a", 1)
    plant = plant_of(site_of([circuit(meter="grid")], [connector("a", fallback_ma=0, meter="m")]))
    states = (ConnectorState(one, True, "Available", fallback_proven=True),)
    known = standing.look(plant, State(0.0), Inputs(100.0, states, {one: (Sample(99.0, (3000, 0, 0)),)}, {}))[one].known
    assert known.most == (3000, 0, 0)
