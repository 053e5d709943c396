"""A simulated building with 40 chargers, 3 inverters and a battery, with gaps and exchanged meters: everything closes.

The true house is simulated in milli-watt-hours; only floored registers reach the settlement, as in a real one. The
suite plays a few days; `make prove` plays a year.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from gateway.energy.battery import Tanks
from gateway.energy.intervals import Cut, Known, Measured, boundary_of, interpolated, measured
from gateway.energy.quarter import House, Quarter, SessionCut, settle
from gateway.energy.split import NANO, Key
from gateway.model import Reading, TimeQuality

CHARGERS, FLATS, INVERTERS = 40, 8, 3
CAPACITY_WH = 12_000
MONTH = 30 * 96
BOUND = 1.1 * NANO


@dataclass
class Register:
    """A meter: what has truly flowed (mWh), and what can be read of it."""

    name: str
    import_mwh: int
    export_mwh: int = 0
    serial: int = 1

    def read(self, k: int) -> Reading:
        return Reading(
            self.name, boundary_of(k), boundary_of(k), TimeQuality.NTP, self.import_mwh // 1000,
            self.export_mwh // 1000, serial=f"{self.name}-{self.serial}",
        )  # fmt: skip


@dataclass
class Building:
    """The truth, quarter by quarter."""

    draw: random.Random
    k: int = 2_000_000
    battery_mwh: int = 0
    registers: dict[str, Register] = field(default_factory=dict)
    swaps: dict[str, tuple[Reading, Reading]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ["grid", "bat", *(f"pv{n}" for n in range(INVERTERS)), *(f"f{n}" for n in range(FLATS)),
                 *(f"m{n}" for n in range(CHARGERS))]  # fmt: skip
        self.registers = {
            name: Register(name, self.draw.randrange(10**10), self.draw.randrange(10**9)) for name in names
        }

    def quarter(self, charging: Mapping[str, bool]) -> None:
        """Let energy flow for a quarter hour: sun, flats, chargers, the rest of the house, battery, grid."""
        hour = self.k // 4 % 24
        sun = sum(self._flow(f"pv{n}", export=self._sun(hour)) for n in range(INVERTERS))
        load = self.draw.randrange(20_000, 250_000)
        load += sum(self._flow(f"f{n}", self.draw.choice((0, self.draw.randrange(900_000)))) for n in range(FLATS))
        for name, on in charging.items():
            load += self._flow(name, self.draw.randrange(300_000, 2_750_000) if on else self.draw.choice((0, 900)))
        net = load - sun
        if net < 0:
            taken = min(-net, 2_500_000, max(0, CAPACITY_WH * 1000 - self.battery_mwh))
            self.battery_mwh += taken * 93 // 100  # the rest is lost as heat
            net += self._flow("bat", taken)
        else:
            given = min(net, 2_500_000, self.battery_mwh)
            self.battery_mwh -= given
            net -= self._flow("bat", export=given)
        if self.draw.random() < 0.1:  # a cloud: import and export in one quarter hour
            self._flow("grid", 40_000, 40_000)
        self._flow("grid", max(0, net), max(0, -net))
        self.k += 1

    def _sun(self, hour: int) -> int:
        return self.draw.randrange(2_000_000) if 6 <= hour < 20 else 0

    def _flow(self, name: str, wh: int = 0, export: int = 0) -> int:
        register = self.registers[name]
        register.import_mwh += wh
        register.export_mwh += export
        return wh or export

    def swap(self, name: str) -> None:
        """Another meter takes its place at once: both readings are kept."""
        old = self.registers[name]
        before = replace(old.read(self.k), requested_ms=boundary_of(self.k) + 1)
        old.serial, old.import_mwh, old.export_mwh = old.serial + 1, self.draw.randrange(5000), 0
        self.swaps[name] = (before, replace(old.read(self.k), requested_ms=boundary_of(self.k) + 2))


@dataclass
class Books:
    """What the settlement made of it."""

    house: House
    carry: dict[str, int] = field(default_factory=dict)
    tanks: Tanks = field(default_factory=Tanks)
    largest: int = 0
    quarters: int = 0
    sessions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    outside: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    exact: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    given: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stored: int = 0

    def settle(self, k: int, meters: Mapping[str, Measured], cuts: Mapping[str, list[SessionCut]]) -> Quarter:
        if k % MONTH == 0:
            self.carry, self.exact, self.given = {}, defaultdict(int), defaultdict(int)
        done = settle(self.house, meters, cuts, self.carry, self.tanks)
        self._check(done)
        self.carry |= {who: share.carry_after for who, share in done.shares.items()}
        self.tanks = done.tanks
        self.quarters += 1
        for part in done.parts:
            self.sessions[part.session][0] += part.solar_wh
            self.sessions[part.session][1] += part.wh - part.solar_wh
        for piece in done.outside:
            self.outside[piece.meter] += piece.wh
        return done

    def _check(self, done: Quarter) -> None:
        """I7 to the nano-watt-hour, and the tanks of the battery."""
        flows, shares = done.flows, done.shares
        assert flows is not None
        assert done.consumption_wh == flows.consumption_wh
        assert sum(one.wh for one in shares.values()) == flows.consumption_wh - done.imbalance_wh
        used = (done.solar_wh or 0) - done.unallocated_wh
        assert sum(one.solar_wh for one in shares.values()) == used
        whole = sum(one.wh for one in shares.values())
        for who, one in shares.items():
            assert 0 <= one.solar_wh <= one.wh
            exact = used * one.wh * NANO // whole if whole else 0
            assert one.solar_wh * NANO - exact == one.carry_before - one.carry_after
            self.largest = max(self.largest, abs(one.carry_after))
            self.exact[who] += exact
            self.given[who] += one.solar_wh
            assert abs(self.given[who] * NANO - self.exact[who]) <= BOUND
        pieces = [*done.parts, *done.outside]
        metered = {who for who, names in self.house.metered.items() if set(names) <= self.house.charger_meters}
        for who in metered:
            assert sum(piece.solar_wh for piece in pieces if piece.participant == who) == shares[who].solar_wh
        held = done.tanks.solar_wh + done.tanks.grid_wh
        assert min(done.tanks.solar_wh, done.tanks.grid_wh) >= 0
        moved = flows.charge_wh - flows.discharge_wh - done.battery_loss_wh
        assert held == max(0, self.tanks.solar_wh + self.tanks.grid_wh + moved)
        assert held <= CAPACITY_WH


def house_of(order: random.Random | None = None) -> House:
    """The building as configured; `order` shuffles everything that has an order."""
    metered = [(f"f{n}", (f"f{n}",)) for n in range(FLATS)] + [(f"box{n}", (f"m{n}",)) for n in range(CHARGERS)]
    production = [f"pv{n}" for n in range(INVERTERS)]
    if order is not None:
        order.shuffle(metered)
        order.shuffle(production)
    return House(
        grid="grid", production=tuple(production), battery=("bat",), metered=dict(metered), key=Key(),
        charger_meters=frozenset(f"m{n}" for n in range(CHARGERS)), battery_capacity_wh=CAPACITY_WH,
    )  # fmt: skip


@dataclass
class Played:
    """What came of some days: the books, and what the registers say."""

    books: Books
    first: dict[str, Reading]
    last: dict[str, Reading]
    moved: dict[str, int]
    billed: dict[str, tuple[str, int]]


def play(seed: int, days: int, order: random.Random | None = None) -> Played:
    """Days of the building: cars come and go, boundaries are missed, meters are exchanged."""
    draw = random.Random(seed)
    building, books, garage = Building(draw), Books(house_of(order)), Garage(draw)
    moved: dict[str, int] = defaultdict(int)
    known = {name: register.read(building.k) for name, register in building.registers.items()}
    first = dict(known)
    for _ in range(days):
        rows, swapped, present = [known], [], []
        for _ in range(96):
            building.swaps = {}
            if draw.random() < 0.004:
                building.swap(draw.choice([name for name in building.registers if name not in garage.running]))
            present.append(garage.come_and_go(building))
            building.quarter({name: name in garage.running for name in BOXES})
            swapped.append(building.swaps)
            rows.append({name: register.read(building.k) for name, register in building.registers.items()})
        known = rows[-1]
        for index in range(96):
            meters = {name: _measure(rows, index, name, swapped) for name in building.registers}
            for name, one in meters.items():
                moved[name] += one.import_wh
            books.settle(building.k - 96 + index, meters, garage.cuts(present, index))
    for name in list(garage.running):
        garage.leave(building, name)
    return Played(books, first, known, moved, garage.billed)


BOXES = [f"m{n}" for n in range(CHARGERS)]


@dataclass
class Garage:
    """Who charges where. A session begins and ends at the register of that instant."""

    draw: random.Random
    running: dict[str, str] = field(default_factory=dict)
    known: dict[str, Cut] = field(default_factory=dict)
    billed: dict[str, tuple[str, int]] = field(default_factory=dict)

    def come_and_go(self, building: Building) -> dict[str, list[str]]:
        """The sessions that are at each box around this quarter hour, those that just left included."""
        present: dict[str, list[str]] = {name: [] for name in BOXES}
        for name in BOXES:
            if name in self.running and self.draw.random() < 0.1:
                present[name].append(self.leave(building, name))
            if name not in self.running and self.draw.random() < 0.04:
                reading = building.registers[name].read(building.k)
                session = self.running[name] = f"{name}-{building.k}"
                self.known[session] = Cut(session, reading.serial, reading.import_wh or 0)
            if name in self.running:
                present[name].append(self.running[name])
        return present

    def leave(self, building: Building, name: str) -> str:
        session = self.running.pop(name)
        end_wh = building.registers[name].read(building.k).import_wh or 0
        cut = self.known[session] = replace(self.known[session], end_wh=end_wh)
        self.billed[session] = (name, end_wh - cut.begin_wh)
        return session

    def cuts(self, present: list[dict[str, list[str]]], index: int) -> dict[str, list[SessionCut]]:
        """What the settlement knows of a quarter hour: its sessions, and those beside it."""
        beside = present[max(0, index - 1) : index + 2]
        names = {name: dict.fromkeys(session for row in beside for session in row[name]) for name in BOXES}
        return {name: [SessionCut(self.known[session]) for session in found] for name, found in names.items()}


def _measure(
    rows: list[dict[str, Reading]], index: int, name: str, swapped: list[dict[str, tuple[Reading, Reading]]]
) -> Measured:
    """One meter in one quarter hour, as the settlement does it; a missed boundary is estimated from its neighbours."""
    between = [Known(reading) for reading in swapped[index].get(name, ())]
    low, high = _boundary(rows, index, name, swapped), _boundary(rows, index + 1, name, swapped)
    return measured([low, *between, high])


def _boundary(
    rows: list[dict[str, Reading]], index: int, name: str, swapped: list[dict[str, tuple[Reading, Reading]]]
) -> Known:
    """Every 37th boundary of a meter was missed, but at the turn of a day and beside an exchanged meter."""
    near_swap = any(name in swapped[at] for at in (index - 1, index) if 0 <= at < 96)
    missed = 0 < index < 96 and (index * 7 + len(name) + ord(name[-1])) % 37 == 0 and not near_swap
    if not missed:
        return Known(rows[index][name])
    estimate = interpolated(rows[index - 1][name], rows[index + 1][name], rows[index][name].requested_ms)
    assert estimate is not None
    return estimate


def everything_closes(played: Played) -> None:
    """I6, I6b and the sums over all time."""
    books = played.books
    outside_by_meter = dict(books.outside)
    sessions_of: dict[str, int] = defaultdict(int)
    for session, (meter, wh) in played.billed.items():
        solar, grid = books.sessions[session]
        assert solar + grid == wh, session  # I6
        sessions_of[meter] += wh
    for n in range(CHARGERS):
        meter = f"m{n}"
        assert played.moved[meter] == sessions_of[meter] + outside_by_meter.get(meter, 0)  # I6b
        if played.first[meter].serial == played.last[meter].serial:
            flowed = (played.last[meter].import_wh or 0) - (played.first[meter].import_wh or 0)
            assert played.moved[meter] == flowed
    assert books.largest <= BOUND


@pytest.mark.parametrize("seed", [1, 2])
def test_some_days_of_a_large_building_close_to_the_watt_hour(seed: int) -> None:
    played = play(seed, days=2)
    assert len(played.billed) > 100
    everything_closes(played)


def test_the_order_of_participants_and_inverters_changes_nothing() -> None:
    """Ties fall to the smallest name, whatever stands first in the file."""
    one, other = play(3, days=1), play(3, days=1, order=random.Random(9))
    assert one.books.carry == other.books.carry
    assert one.books.sessions == other.books.sessions
    assert one.books.tanks == other.books.tanks


@pytest.mark.slow
def test_a_year_of_a_large_building_closes_to_the_watt_hour(capsys: pytest.CaptureFixture[str]) -> None:
    played = play(2026, days=365)
    everything_closes(played)
    assert played.books.quarters == 35_040
    with capsys.disabled():
        played_text = f"{played.books.quarters} quarter hours, {len(played.billed)} sessions"
        print(f"\na year: {played_text}, largest deviation {played.books.largest / NANO:.3f} Wh")  # noqa: T201


def renamed_differs(intervals: int, seed: int) -> tuple[int, int]:
    """Random intervals with the participants renamed: (intervals that differ, largest difference of a sum, Wh)."""
    from gateway.energy.split import largest_remainder

    draw = random.Random(seed)
    names = [f"p{n:02d}" for n in range(12)]
    other = dict(zip(names, draw.sample(names, len(names)), strict=True))
    carry: dict[str, int] = {}
    carry_other: dict[str, int] = {}
    sums: dict[str, int] = defaultdict(int)
    differing = 0
    for _ in range(intervals):
        use = {name: draw.choice((0, 500, 1000, draw.randrange(3000))) for name in names}
        use["p01"] = use["p00"]  # two equal flats: whenever a single watt-hour is left, it is a tie
        solar = draw.randint(0, sum(use.values()))
        shares, after = largest_remainder(solar, use, carry)
        shares_other, after_other = largest_remainder(solar, {other[name]: wh for name, wh in use.items()}, carry_other)
        carry, carry_other = after, after_other
        differing += any(shares[name] != shares_other[other[name]] for name in names)
        for name in names:
            sums[name] += shares[name] - shares_other[other[name]]
            assert abs(sums[name]) <= 2
    return differing, max(abs(wh) for wh in sums.values())


def test_renamed_participants_get_the_same_but_for_ties() -> None:
    """A tie goes to another one then; nobody is ever more than two watt-hours off for their name."""
    differing, largest = renamed_differs(2_000, 5)
    assert 0 < differing < 1_000
    assert largest <= 2


@pytest.mark.slow
def test_renamed_participants_over_200_000_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    differing, largest = renamed_differs(200_000, 6)
    assert largest <= 2
    with capsys.disabled():
        print(f"\nrenamed: {differing} of 200000 intervals differ, by name at most {largest} Wh")  # noqa: T201
