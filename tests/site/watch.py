"""What is looked at in every simulated second, from outside: I1 and I2 (I1p is the building's own record of its fuses).

I1: a raise fits at the moment it arrives. And on every circuit and phase the sum of what the boxes may draw, as their
own profiles say, fits beside the rest of the house; where the rest of the house moves or a box is lost or disobeys, the
gateway has the time that I1p allows.
I2: each limit that a box is given is 0 or between its minimum and its maximum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulators.building import Building
from simulators.clock import SiteClock

from .boxes import SeededCharger
from .plan import Box, Plan

MIN_MA, MAX_MA = 6000, 16_000
GRACE_S = {"": 25, "silent": 35, "lost": 45, "away": 45}
"""How long the sum may be too large where something outside has changed (design I1p). `away`: the gateway was dead a
moment ago, and every box is one that comes back."""

ADJACENT_S = {"silent": 30.0, "lost": 45.0, "away": 45.0}
"""A trouble explains what happens for so long after it is over."""

ALONE_MS = 150_000
"""So long after the gateway's death every limit has ended: the boxes keep to what they count with when alone."""

TOLERANCE_MA = 200
MAKE_ROOM_S = 8
"""A box whose transaction ends counts with its fallback on all its phases: so soon the others have made room."""

NEWS_MS = 5000
"""A raise may still leave so long after something else has taken the room it was given."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold at a site second (since the start)."""

    at_s: float
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.at_s:.1f} s  {self.invariant}  {self.text}"


class Watch:
    """Looks at the house once a second, and at every limit as it arrives."""

    def __init__(self, plan: Plan, building: Building, chargers: Mapping[str, SeededCharger], clock: SiteClock) -> None:
        self.violations: list[Violation] = []
        self.trouble: dict[str, str] = {}
        """What is wrong now or was a moment ago, by who: "silent", "lost" or "away"."""
        self._dead_ms: int | None = clock.utc_ms()
        self._held: dict[str, int] = {}
        self._promises: dict[str, tuple[object, int, int]] = {}
        self._over: dict[str, float] = {}
        self._open: Counter[str] = Counter()
        self._plan, self._building, self._chargers, self._clock = plan, building, chargers, clock
        self._over_s: dict[tuple[str, int], int] = {}
        self._told: set[tuple[str, str, int]] = set()
        self._may: dict[str, int] = {}
        self._own: dict[str, list[int]] = {}
        self._counts: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._sum_ma = [0, 0, 0]
        self._outside_ms = [0, 0, 0]
        self._given: SeededCharger | None = None
        self._ready = False
        self.limits_seen = 0
        self.seconds = 0
        for charger in chargers.values():
            self._listen(charger)

    def _listen(self, charger: SeededCharger) -> None:
        install = charger.install

        def installed(connector: int, text: dict[str, Any]) -> str | None:
            now_ms = self._clock.utc_ms()
            before_ma = max(_may_ma(charger, now_ms), self._promised_ma(charger.name, text, now_ms))
            limit_ma = charger.limit_ma(now_ms)
            why = install(connector, text)
            if why is None and text.get("chargingProfilePurpose") == "TxProfile":
                self._limit(charger, text)
                self._promise(charger, text, now_ms)
                self._given = charger
                # Who cannot hold 0 A counts with what it draws from then on, and that may be more than its last limit.
                if charger.limit_ma(now_ms) > limit_ma:
                    self._raised(charger, before_ma)
                self._given = None
            return why

        charger.install = installed  # type: ignore[method-assign]

    def _promise(self, charger: SeededCharger, text: Mapping[str, Any], now_ms: int) -> None:
        until_ms = now_ms + 1000 * int(text["chargingSchedule"].get("duration", 0))
        self._promises[charger.name] = (text.get("transactionId"), charger.limit_ma(now_ms), until_ms)

    def _promised_ma(self, name: str, text: Mapping[str, Any], now_ms: int) -> int:
        """What the box has confirmed for this transaction and for now: to say it once more is no raise, also where the
        box has forgotten it meanwhile, which nobody but the box can know."""
        transaction, limit_ma, until_ms = self._promises.get(name, (None, 0, 0))
        return limit_ma if now_ms < until_ms and transaction == text.get("transactionId") else 0

    def _limit(self, charger: SeededCharger, text: Mapping[str, Any]) -> None:
        self.limits_seen += 1
        for period in text["chargingSchedule"]["chargingSchedulePeriod"]:
            limit_ma = round(float(period["limit"]) * 1000)
            if limit_ma and not MIN_MA <= limit_ma <= MAX_MA:
                self.violated("I2", f"{charger.name} was given {limit_ma / 1000:.1f} A")

    def hear(self, what: str, data: Mapping[str, Any]) -> None:
        """The story as it happens (simulators/README.md)."""
        if what == "charger_lost":
            self._begin(str(data["charger"]), "lost")
        elif what == "meter_silent":
            self._begin(str(data["meter"]), "silent")
        elif what in ("gateway_killed", "gateway_stopped"):
            self._died()
        elif what in ("charger_back", "meter_back", "gateway_ready"):
            who = str(data.get("charger") or data.get("meter") or "gateway")
            if what == "gateway_ready":
                self._dead_ms = None
                self._begin(who, "away")
            self._open[who] = 0 if who == "gateway" else self._open[who] - 1
            if who in self.trouble and self._open[who] <= 0:
                self._over[who] = self._clock.utc_ms() / 1000 + ADJACENT_S[self.trouble[who]]

    def _died(self) -> None:
        """From now on no limit is given: each box holds what it has confirmed, until that ends."""
        now_ms = self._dead_ms = self._clock.utc_ms()
        self._held = {name: charger.limit_ma(now_ms) for name, charger in self._chargers.items()}

    def _begin(self, who: str, kind: str) -> None:
        """Of two troubles of one box or meter at the same time each ends by itself."""
        self._open[who] += 1
        self.trouble[who] = kind
        self._over.pop(who, None)

    def second(self, now_ms: int) -> None:
        """One second has passed."""
        self.seconds += 1
        for who in [who for who, until_s in self._over.items() if until_s <= now_ms / 1000]:
            del self._over[who], self.trouble[who]
        self._count()
        self._alone(now_ms)
        self._judge(now_ms)

    def _alone(self, now_ms: int) -> None:
        """Without the gateway a box offers at most its last confirmed limit, and from 150 s on its fallback (I1p)."""
        if self._dead_ms is None:
            return
        settled = now_ms - self._dead_ms >= ALONE_MS
        for box in self._plan.boxes:
            charger = self._chargers[box.name]
            if not charger.profiles:
                continue  # it was never told a fallback: alone it counts with its maximum
            fallback_ma = box.fallback_a * 1000
            allowed_ma = fallback_ma if settled else max(self._held.get(box.name, 0), fallback_ma)
            limit_ma = charger.limit_ma(now_ms)
            if limit_ma > allowed_ma:
                self.violated(
                    "I1",
                    f"{box.name} offers {limit_ma / 1000:g} A {(now_ms - self._dead_ms) / 1000:.0f} s after the "
                    f"gateway's death, {'its fallback' if settled else 'its last limit'} is {allowed_ma / 1000:g} A",
                    (f"alone {box.name}", 0),
                )

    def _raised(self, charger: SeededCharger, before_ma: int) -> None:
        """A raise fits at the moment at which it arrives, beside whatever else the boxes may draw then."""
        self._count()
        if not self._ready or self._may[charger.name] <= before_ma:
            return
        now_ms = self._clock.utc_ms()
        box = next(box for box in self._plan.boxes if box.name == charger.name)
        limit_ma = self._plan.garage_fuse_a * 1000
        for phase in _phases(box, charger):
            sum_ma = self._sum_ma[phase] - self._unseen_ma(phase, charger)
            if sum_ma > limit_ma + TOLERANCE_MA and now_ms - self._outside_ms[phase] > NEWS_MS:
                self.violated(
                    "I1",
                    f"garage L{phase + 1}: {charger.name} was raised to {self._may[charger.name] / 1000:g} A; "
                    f"now the boxes may draw {self._sum_ma[phase] / 1000:.1f} A of {limit_ma / 1000:.0f} A "
                    f"({self._each(phase)})",
                    ("raise", phase),
                )

    def _unseen_ma(self, phase: int, given: SeededCharger | None = None) -> int:
        """What flows where 0 A was confirmed and cannot be held, while the meter is silent: nobody can see that in
        a garage without a meter of its own."""
        if "silent" not in self.trouble.values():
            return 0
        now_ms = self._clock.utc_ms()
        return sum(
            self._own[box.name][phase]
            for box in self._plan.boxes
            if self.trouble.get(box.meter) == "silent"
            and self._chargers[box.name] is not given
            and self._held_up(self._chargers[box.name], now_ms)
        )

    def _disobeyed(self) -> bool:
        return any(charger.disobeys for charger in self._chargers.values())

    def _count(self) -> None:
        """What each box may draw now; note where that grew by something else than a limit."""
        now_ms = self._clock.utc_ms()
        self._ready = all(charger.profiles for charger in self._chargers.values())
        for box in self._plan.boxes:
            charger = self._chargers[box.name]
            counts = (_may_ma(charger, now_ms), _phases(box, charger))
            if counts == self._counts.get(box.name):
                continue
            self._counts[box.name] = counts
            may_ma, phases = counts
            self._may[box.name] = may_ma
            own = [may_ma if phase in phases else 0 for phase in range(3)]
            before, self._own[box.name] = self._own.get(box.name, [0, 0, 0]), own
            for phase in range(3):
                self._sum_ma[phase] += own[phase] - before[phase]
                if own[phase] > before[phase] and charger is not self._given:
                    self._outside_ms[phase] = now_ms

    def _judge(self, now_ms: int) -> None:
        """How long each node has been too full for. What no gateway is there to reduce is not judged until 150 s."""
        if not self._ready:
            return  # a box that was never connected since it was new: nobody could tell it anything
        if self._dead_ms is not None and (now_ms - self._dead_ms < ALONE_MS or self._disobeyed()):
            self._over_s.clear()
            return
        grace_s = max((GRACE_S[kind] for kind in self.trouble.values()), default=0)
        # The design gives 45 s for one lost or disobedient box; several at once come one after the other.
        unruly = sum(kind == "lost" for kind in self.trouble.values())
        unruly += sum(self._held_up(one, now_ms) for one in self._chargers.values() if one.quirk == "no_zero")
        grace_s = max(grace_s, GRACE_S["lost"] * unruly)
        for phase in range(3):
            self._node(
                "garage", phase, -self._unseen_ma(phase), self._plan.garage_fuse_a * 1000, max(grace_s, MAKE_ROOM_S)
            )
            rest_ma = self._rest_ma(phase)
            self._node("house", phase, rest_ma, self._plan.house_limit_ma, max(grace_s, GRACE_S[""]))

    @staticmethod
    def _held_up(charger: SeededCharger, now_ms: int) -> bool:
        """It was told 0 A and cannot hold it."""
        return charger.quirk == "no_zero" and charger.outlet.draw_ma > charger.limit_ma(now_ms)

    def _node(self, circuit: str, phase: int, rest_ma: int, limit_ma: int, grace_s: int) -> None:
        key = (circuit, phase)
        if self._sum_ma[phase] + rest_ma <= limit_ma + TOLERANCE_MA:
            self._over_s.pop(key, None)
            return
        self._over_s[key] = self._over_s.get(key, 0) + 1
        if self._over_s[key] > grace_s:
            self.violated(
                "I1",
                f"{circuit} L{phase + 1}: for {self._over_s[key]} s the boxes may draw "
                f"{self._sum_ma[phase] / 1000:.1f} A beside {rest_ma / 1000:.1f} A, "
                f"its limit is {limit_ma / 1000:.0f} A ({self._each(phase)})",
                key,
            )

    def _each(self, phase: int) -> str:
        """What each box on a phase may draw."""
        there = [box.name for box in self._plan.boxes if phase in _phases(box, self._chargers[box.name])]
        return ", ".join(f"{name} {self._may[name] / 1000:g}" for name in there)

    def _rest_ma(self, phase: int) -> int:
        """What flows in the house beside the boxes; sun counts as far as it is there."""
        return round(self._building.load_ma("house")[phase] - self._building.boxes_ma("house")[phase])

    def violated(self, invariant: str, text: str, key: tuple[str, int] = ("", 0)) -> None:
        """Told once for each invariant and place."""
        if (invariant, *key) not in self._told or not key[0]:
            self._told.add((invariant, *key))
            at_s = (self._clock.utc_ms() - self._plan.epoch_ms) / 1000
            self.violations.append(Violation(at_s, invariant, text))


def _phases(box: Box, charger: SeededCharger) -> tuple[int, ...]:
    """The phases on which current may flow: those of the car that is there, else all."""
    car = charger.outlet.car
    return box.rotation[: box.phases if car is None else min(car.phases, box.phases)]


def _may_ma(charger: SeededCharger, now_ms: int) -> int:
    """A disobedient box counts with what its car draws, if that is more."""
    may_ma = charger.may_draw_ma(now_ms)
    if charger.disobeys:
        may_ma = max(may_ma, charger.outlet.draw_ma)
    return may_ma
