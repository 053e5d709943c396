"""A building for the load manager: a clock moved by hand, meters and boxes that do what a test tells them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.load.control_loop import ControlLoop
from gateway.model import ConnectorRef, ConnectorState, Event, LimitOutcome, Reading, Stamp, TimeQuality
from gateway.site import Charger, Circuit, Connector, Meter, Ocpp, Site, Tariff

START_MS = 1_780_000_000_000


class ManualClock:
    """Site time that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> Stamp:
        return Stamp(self.utc_ms(), TimeQuality.SIMULATED)

    def utc_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)

    def monotonic(self) -> float:
        return self.now_s

    def link_s(self, site_s: float) -> float:
        return site_s

    async def sleep(self, site_s: float) -> None:
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + site_s, self._count, future))
        await future

    async def advance(self, site_s: float) -> None:
        """Move time; everybody who wakes up on the way runs until nothing more happens at that instant."""
        end_s = self.now_s + site_s
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            at_s, _, future = heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, at_s)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now_s = end_s


async def settle() -> None:
    """Let every task run that can run now."""
    for _ in range(8):
        await asyncio.sleep(0)


def ref(name: str) -> ConnectorRef:
    return ConnectorRef(name, 1)


@dataclass
class Box:
    """A box with a car: what the car would take, and how the box answers and obeys."""

    connector: Connector
    wants_ma: int = 32000
    car_phases: int | None = None
    connected: bool = True
    transaction: int | None = None
    csms_ma: int | None = None
    proven: bool = True
    obeys: bool = True
    status: str | None = None
    answer: LimitOutcome = LimitOutcome.CONFIRMED
    answer_after_s: float = 1.0
    follow_after_s: float = 6.0
    limits: list[tuple[float, int, bool]] = field(default_factory=list)
    profile: tuple[int, float] | None = None
    offers: list[tuple[float, int]] = field(default_factory=list)
    drawn_ma: int = 0
    own_ma: int = 0

    def may_ma(self, now_s: float) -> int:
        """What the box offers the car now: its profile while it lasts, else its fallback."""
        if self.profile is not None and now_s < self.profile[1]:
            return self.profile[0]
        return self.connector.fallback_ma

    def draw(self, now_s: float) -> tuple[int, int, int]:
        """The car follows each changed offer after a while; it begins at once. The box itself draws `own_ma`."""
        offer_ma = self.may_ma(now_s) if self.obeys else self.connector.max_ma
        if not self.offers or offer_ma != self.offers[-1][1]:
            self.offers.append((now_s, offer_ma))
        while len(self.offers) > 1 and now_s - self.offers[1][0] >= self.follow_after_s:
            del self.offers[0]
        if self.drawn_ma == 0:
            del self.offers[:-1]
        self.drawn_ma = min(self.offers[0][1], self.wants_ma) if self.transaction is not None else 0
        currents = [0, 0, 0]
        for phase in self.connector.rotation[: self.car_phases or self.connector.phases]:
            currents[phase] = self.drawn_ma
        currents[self.connector.building_phases()[-1]] += self.own_ma
        return currents[0], currents[1], currents[2]


class Building:
    """The house, its boxes and its meters; it is the ChargerPort and the MeterPort of the loop under test."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.clock = ManualClock()
        self.boxes = {one.ref: Box(one) for one in site.connectors()}
        self.house_ma = (0, 0, 0)
        self.silent: set[str] = set()
        self.charger_meter_every_s = 3
        self.events: list[Event] = []
        self.highest: dict[str, float] = {}
        self._listeners: list[Callable[[Reading], None]] = []
        self._states: dict[ConnectorRef, ConnectorState] = {}
        self.loop = ControlLoop(site, self.clock, self, self, self.events.append)
        self.over_s: dict[tuple[str, int], float] = {}
        self.longest_over_s = 0.0

    # ChargerPort

    def connectors(self) -> Sequence[ConnectorState]:
        states = [
            ConnectorState(
                ref=box.connector.ref,
                connected=box.connected,
                status=box.status or ("Charging" if box.transaction is not None else "Available"),
                transaction_id=box.transaction,
                csms_limit_ma=box.csms_ma,
                fallback_proven=box.proven,
            )
            for box in self.boxes.values()
        ]
        for state in states:
            if self._states.get(state.ref) != state:  # the same object while nothing of it has changed
                self._states[state.ref] = state
        return [*self._states.values()]

    async def set_limit(self, ref: ConnectorRef, limit_ma: int, *, duration_s: int, raising: bool) -> LimitOutcome:
        box = self.boxes[ref]
        box.limits.append((self.clock.now_s, limit_ma, raising))
        if not box.connected:
            return LimitOutcome.ABSENT
        outcome = box.answer
        await self.clock.sleep(box.answer_after_s)
        if outcome is LimitOutcome.CONFIRMED:
            box.profile = (limit_ma, self.clock.now_s + duration_s)
        return outcome

    # MeterPort

    def latest(self, meter: str) -> Reading | None:
        return None

    def series(self, meter: str, from_ms: int, to_ms: int) -> Sequence[Reading]:
        return []

    async def read_now(self, meter: str) -> Reading | None:
        return None

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        self._listeners.append(listener)

    # The world

    def start(self, name: str, transaction: int = 1) -> Box:
        box = self.boxes[ref(name)]
        box.transaction = transaction
        box.profile = None
        return box

    def stop(self, name: str) -> None:
        box = self.boxes[ref(name)]
        box.transaction = box.profile = None  # a TxProfile ends with its transaction

    def loads(self, circuit: str) -> tuple[int, int, int]:
        """The true current on a circuit now; the house counts at the root."""
        index = {one.id: one for one in self.site.circuits}
        total = list(self.house_ma if index[circuit].parent is None else (0, 0, 0))
        for box in self.boxes.values():
            above: str | None = box.connector.circuit
            while above is not None and above != circuit:
                above = index[above].parent
            if above == circuit:
                for phase, value in enumerate(box.draw(self.clock.now_s)):
                    total[phase] += value
        return total[0], total[1], total[2]

    async def run(self, seconds: int, each: Callable[[], None] = lambda: None) -> None:
        """Live for some site seconds, reading the meters on the way; `each` is called after every second."""
        for _ in range(seconds):
            await self.clock.advance(1.0)
            self._read_meters()
            self._watch()
            each()

    def _read_meters(self) -> None:
        for circuit in self.site.circuits:
            if circuit.meter is not None and circuit.meter not in self.silent:
                self._give(circuit.meter, self.loads(circuit.id))
        if round(self.clock.now_s) % self.charger_meter_every_s == 0:
            for box in self.boxes.values():
                if box.connector.meter is not None and box.connector.meter not in self.silent:
                    draw = box.draw(self.clock.now_s)
                    turned = tuple(draw[phase] for phase in box.connector.rotation)
                    self._give(box.connector.meter, (turned[0], turned[1], turned[2]))

    def _give(self, meter: str, ma: tuple[int, int, int]) -> None:
        now_ms = self.clock.utc_ms()
        reading = Reading(meter, now_ms, now_ms, TimeQuality.SIMULATED, 0, current_ma=ma, power_w=sum(ma) * 230 // 1000)
        for listener in self._listeners:
            listener(reading)

    def _watch(self) -> None:
        for circuit in self.site.circuits:
            for phase, value in enumerate(self.loads(circuit.id)):
                key = (circuit.id, phase)
                self.over_s[key] = self.over_s.get(key, 0.0) + 1.0 if value > circuit.limit_ma else 0.0
                self.longest_over_s = max(self.longest_over_s, self.over_s[key])
        status = self.loop.status()
        assert status["circuits"] is not None

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def shown(self, name: str) -> dict[str, object]:
        """What status says of a box."""
        return next(one for one in self.loop.status()["connectors"] if one["id"] == f"{name}/1")


def circuit(name: str = "house", limit_a: int = 40, **more: object) -> Circuit:
    base = Circuit(
        id=name, parent=None, fuse_a=limit_a, fuse="gG", limit_ma=limit_a * 1000, house_worst_ma=20000, safe_ma=6000
    )
    return replace(base, **more)  # type: ignore[arg-type]


def connector(name: str, where: str = "house", **more: object) -> Connector:
    base = Connector(ref=ref(name), circuit=where, max_ma=16000, fallback_ma=0, meter=f"m-{name}", participant=name)
    return replace(base, **more)  # type: ignore[arg-type]


def site_of(circuits: Sequence[Circuit], connectors: Sequence[Connector], limit_duration_s: int = 120) -> Site:
    """A checked site with nothing in it but what the load manager looks at."""
    return Site(
        id="test",
        name="Test",
        timezone="Europe/Zurich",
        ocpp=Ocpp(limit_duration_s=limit_duration_s),
        circuits=tuple(circuits),
        meters=tuple(
            Meter(id=one.meter, model="iem3155", bus="bus", unit=1, role="charger") for one in connectors if one.meter
        ),
        chargers=tuple(Charger(id=one.ref.charger, connectors=(one,)) for one in connectors),
        tariff=Tariff(id="flat", default="NT", windows=()),
    )
