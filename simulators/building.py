"""The building: sun, flats, cars and fuses, stepped once a site second, and the true energy of every meter.

Between two steps every power is constant, so a register that is asked for in the middle of a second is exact too.
Powers are W, currents mA, energies Wh (float: finer than any register). Phases are 0, 1, 2 of the building.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from simulators.cars import Car
from simulators.clock import QUARTER_MS
from simulators.fuses import Excess, ExcessWatch, Fuse

VOLT = 230.0
STEP_MS = 1000
STANDBY_MA = 20
"""A wallbox without a car takes 4.6 W, on its first phase."""

Phases = tuple[float, float, float]
Offer = Callable[[int], int | None]
"""What a wallbox offers at a site time: mA per phase, None while its contactor is open."""


class Truth(Protocol):
    """Where the building writes what really happened (evidence/truth.db)."""

    def boundary(self, meter: str, at_ms: int, import_wh: float, export_wh: float) -> None: ...
    def served(self, meter: str, at_ms: int, import_wh: int | None, export_wh: int | None) -> None: ...
    def fuse(self, circuit: str, phase: int, at_ms: int, kind: str, seconds: float, ratio: float) -> None: ...
    def power(self, meter: str, k: int, max_w: float) -> None: ...
    def draw(self, charger: str, at_ms: int, current_ma: int, limit_ma: int) -> None: ...


@dataclass(slots=True)
class MeterTruth:
    """What a meter's registers really hold at `at_ms`, and what flows from then on (import positive)."""

    name: str
    at_ms: int
    import_wh: float = 0.0
    export_wh: float = 0.0
    current_ma: Phases = (0.0, 0.0, 0.0)
    power_w: float = 0.0
    """Active power, all phases together."""

    highest_w: float = 0.0

    @property
    def phase_w(self) -> Phases:
        """Active power per phase."""
        first, second, third = self.current_ma
        return (first * VOLT / 1000, second * VOLT / 1000, third * VOLT / 1000)

    def energy_at(self, at_ms: int) -> tuple[float, float]:
        """Import and export in Wh at a time that is not before `at_ms`; the phases are summed, then counted."""
        flowed = self.power_w * (at_ms - self.at_ms) / 3_600_000 if at_ms > self.at_ms else 0.0
        if flowed < 0:
            return self.import_wh, self.export_wh - flowed
        return self.import_wh + flowed, self.export_wh

    def pass_to(self, at_ms: int) -> None:
        """Let time go by with the power unchanged."""
        self.import_wh, self.export_wh = self.energy_at(at_ms)
        self.at_ms = at_ms

    def flow(self, current_ma: Phases) -> None:
        """From `at_ms` on this flows."""
        if current_ma != self.current_ma:
            self.current_ma = current_ma
            first, second, third = current_ma
            self.power_w = (first + second + third) * VOLT / 1000
            self.highest_w = max(self.highest_w, abs(self.power_w))


@dataclass(slots=True)
class Outlet:
    """Where a wallbox is wired: its phases in the order of the building, its offer, the car that is plugged in."""

    name: str
    circuit: str
    meter: str
    rotation: tuple[int, int, int] = (0, 1, 2)
    phases: int = 3
    offer: Offer = field(default=lambda _now_ms: None)
    car: Car | None = None
    draw_ma: int = 0
    car_ma: Phases = (0.0, 0.0, 0.0)
    current_ma: Phases = (0.0, 0.0, 0.0)
    largest_ma: int = 0
    """What flows on the largest phase of the car."""

    flows: tuple[int, int, tuple[int, ...]] | None = None
    """What these three were made of: the draw, on how many phases, and those whose fuse is open."""


@dataclass(frozen=True, slots=True)
class CircuitPlan:
    """A node of the fuse tree; `limit_ma` is what the site says it keeps to."""

    name: str
    parent: str | None
    fuse: Literal["gG", "MCB", "SLS"]
    fuse_ma: int
    limit_ma: int


@dataclass(slots=True)
class _Circuit:
    plan: CircuitPlan
    fuses: list[Fuse]
    watches: list[list[ExcessWatch]]
    load_ma: Phases = (0.0, 0.0, 0.0)
    highest: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class Weather:
    """What every second brings: `flats_ma[i]` per phase and `sun_w[i]`, from `start_ms` on."""

    start_ms: int
    flats_ma: Sequence[tuple[int, int, int]]
    sun_w: Sequence[float]

    def at(self, at_ms: int) -> tuple[tuple[int, int, int], float]:
        """The flats' currents and the sun's power; the last second goes on for ever."""
        index = min(max(0, (at_ms - self.start_ms) // 1000), len(self.flats_ma) - 1)
        return self.flats_ma[index], self.sun_w[index]


class Building:
    """Everything behind the meter of the house. `advance(now)` before anything is asked of it."""

    def __init__(
        self,
        weather: Weather,
        circuits: Sequence[CircuitPlan],
        outlets: Sequence[Outlet],
        registers: Mapping[str, tuple[float, float]],
        truth: Truth,
        *,
        grid: str = "grid",
        sun: str = "pv",
    ) -> None:
        """`registers` gives each meter's import and export at the start. The first circuit is the root."""
        self._weather = weather
        self._truth = truth
        self._now_ms = weather.start_ms
        self._grid, self._sun = grid, sun
        self.root = circuits[0].name
        self._circuits = {plan.name: _circuit(plan) for plan in circuits}
        self._paths = {plan.name: self._path(plan.name) for plan in circuits}
        self._blown = self._look_at_fuses()
        self.outlets = {outlet.name: outlet for outlet in outlets}
        self._boxes_ma: dict[str, Phases] = {}
        """What the outlets below each circuit draw; empty where one of them was rewired since it was counted."""

        self.meters = {
            name: MeterTruth(name, self._now_ms, *registers[name])
            for name in (grid, sun, *(outlet.meter for outlet in outlets))
        }
        self._boundary()

    def advance(self, now_ms: int) -> None:
        """Make every step that is due; after a stall there are several."""
        while self._now_ms + STEP_MS <= now_ms:
            self._step(self._now_ms + STEP_MS)

    def reading(self, meter: str, now_ms: int) -> tuple[MeterTruth, float, float]:
        """A meter's currents and powers, and its import and export in Wh at this moment."""
        self.advance(now_ms)
        found = self.meters[meter]
        return (found, *found.energy_at(now_ms))

    def served(self, meter: str, at_ms: int, import_wh: int | None, export_wh: int | None) -> None:
        """A meter has given these registers to somebody; None for one that was not asked for."""
        self._truth.served(meter, at_ms, import_wh, export_wh)

    def load_ma(self, circuit: str) -> Phases:
        """What flows through a circuit, per phase."""
        return self._circuits[circuit].load_ma

    def boxes_ma(self, circuit: str) -> Phases:
        """What all outlets below a circuit draw together, per phase."""
        if not self._boxes_ma:
            self._boxes_ma = {name: self._outlets_ma(name) for name in self._circuits}
        return self._boxes_ma[circuit]

    def limits_ma(self) -> dict[str, int]:
        """Each circuit's limit."""
        return {name: circuit.plan.limit_ma for name, circuit in self._circuits.items()}

    def sun_w(self) -> float:
        """What the modules give now."""
        return -self.meters[self._sun].power_w

    def close(self) -> None:
        """Write what is still open: stretches above a limit, what was watched, the powers of the last quarter hour."""
        start_ms = self._weather.start_ms
        watched_s = (self._now_ms - start_ms) / 1000
        for name, circuit in self._circuits.items():
            for phase, watches in enumerate(circuit.watches):
                for watch in watches:
                    self._tell(circuit, phase, watch.end())
                self._truth.fuse(name, phase, start_ms, "watched", watched_s, circuit.highest[phase])
        self._powers(self._now_ms // QUARTER_MS)

    def _step(self, to_ms: int) -> None:
        """Let the second pass as it was, then see what everything draws from `to_ms` on."""
        for meter in self.meters.values():
            meter.pass_to(to_ms)
        for outlet in self.outlets.values():
            if outlet.car is not None:
                outlet.car.taken_wh += sum(outlet.car_ma) * VOLT * STEP_MS / 3.6e9
        self._burden(to_ms)
        self._now_ms = to_ms
        if to_ms % QUARTER_MS == 0:
            self._powers(to_ms // QUARTER_MS - 1)
            self._boundary()
        self._flow(to_ms)

    def _burden(self, to_ms: int) -> None:
        """The fuses carry what flowed in the second that has passed."""
        for circuit in self._circuits.values():
            for phase, load_ma in enumerate(circuit.load_ma):
                ratio = abs(load_ma) / circuit.plan.limit_ma
                circuit.highest[phase] = max(circuit.highest[phase], ratio)
                if circuit.fuses[phase].carry(load_ma, STEP_MS / 1000):
                    self._blown = self._look_at_fuses()
                    self._truth.fuse(circuit.plan.name, phase, to_ms, "trip", 0.0, ratio)
                for watch in circuit.watches[phase]:
                    self._tell(circuit, phase, watch.see(ratio, to_ms - STEP_MS, to_ms))

    def _tell(self, circuit: _Circuit, phase: int, excess: Excess | None) -> None:
        if excess is not None:
            self._truth.fuse(circuit.plan.name, phase, excess.at_ms, excess.kind, excess.seconds, excess.ratio)

    def _flow(self, now_ms: int) -> None:
        flats_ma, sun_w = self._weather.at(now_ms)
        for outlet in self.outlets.values():
            self._draw(outlet, now_ms, self._blown[outlet.circuit])
        for name, circuit in self._circuits.items():
            circuit.load_ma = self.boxes_ma(name)
        sun_ma = sun_w / 3 / VOLT * 1000
        root = self._circuits[self.root]
        live = [0.0 if fuse.open else 1.0 for fuse in root.fuses]
        root.load_ma = _phases([root.load_ma[phase] + live[phase] * (flats_ma[phase] - sun_ma) for phase in range(3)])
        self.meters[self._grid].flow(root.load_ma)
        self.meters[self._sun].flow(_phases([-sun_ma * on for on in live]))

    def _look_at_fuses(self) -> dict[str, tuple[int, ...]]:
        """The phases on which a fuse of a circuit, or of one above it, is open."""
        return {
            circuit: tuple(phase for name in path for phase, fuse in enumerate(self._circuits[name].fuses) if fuse.open)
            for circuit, path in self._paths.items()
        }

    def _draw(self, outlet: Outlet, now_ms: int, blown: tuple[int, ...]) -> None:
        offer = outlet.offer(now_ms)
        car = outlet.car
        outlet.draw_ma = car.draw_ma(offer, now_ms) if car is not None else 0
        flows = (outlet.draw_ma, min(car.phases, outlet.phases) if car is not None else 0, blown)
        if outlet.flows != flows:
            outlet.flows = flows
            self._rewire(outlet, [phase for phase in outlet.rotation[: flows[1]] if phase not in blown])
        self._truth.draw(outlet.name, now_ms, outlet.largest_ma, offer or 0)

    def _rewire(self, outlet: Outlet, on: Sequence[int]) -> None:
        """The outlet's draw flows on these phases from now on."""
        current = [0.0, 0.0, 0.0]
        for phase in on:
            current[phase] = float(outlet.draw_ma)
        outlet.car_ma = _phases(current)
        current[outlet.rotation[0]] += STANDBY_MA
        outlet.current_ma = _phases(current)
        outlet.largest_ma = round(max((current[phase] for phase in on), default=0.0))
        self.meters[outlet.meter].flow(outlet.current_ma)
        self._boxes_ma.clear()

    def _outlets_ma(self, circuit: str) -> Phases:
        """The sum over the outlets below a circuit."""
        total = [0.0, 0.0, 0.0]
        for outlet in self.outlets.values():
            if circuit in self._paths[outlet.circuit]:
                _add(total, outlet.current_ma)
        return _phases(total)

    def _path(self, circuit: str) -> list[str]:
        """The circuit and all above it."""
        path: list[str] = []
        name: str | None = circuit
        while name is not None:
            path.append(name)
            name = self._circuits[name].plan.parent
        return path

    def _boundary(self) -> None:
        for meter in self.meters.values():
            self._truth.boundary(meter.name, self._now_ms, meter.import_wh, meter.export_wh)

    def _powers(self, k: int) -> None:
        for meter in self.meters.values():
            self._truth.power(meter.name, k, meter.highest_w)
            meter.highest_w = abs(meter.power_w)


def _circuit(plan: CircuitPlan) -> _Circuit:
    fuses = [Fuse(plan.fuse, plan.fuse_ma) for _ in range(3)]
    watches = [[ExcessWatch("over_100", 1.0), ExcessWatch("over_145", 1.45)] for _ in range(3)]
    return _Circuit(plan, fuses, watches)


def _add(total: list[float], more: Sequence[float]) -> None:
    for phase in range(3):
        total[phase] += more[phase]


def _phases(values: Sequence[float]) -> Phases:
    return (values[0], values[1], values[2])
