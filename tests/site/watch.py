"""What is looked at in every simulated second, from outside: I1 and I2 (I1p is the building's own record of its fuses).

I1: on every circuit and phase the sum of what the boxes may draw, as their own profiles say, fits beside the rest of the
house. Where the rest of the house moves or a box is lost or disobeys, the gateway has the time that I1p allows.
I2: each limit that a box is given is 0 or between its minimum and its maximum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulators.building import Building
from simulators.clock import SiteClock

from .boxes import SeededCharger
from .plan import Box, Plan

MIN_MA, MAX_MA = 6000, 16_000
GRACE_S = {"": 25, "silent": 35, "lost": 45, "dead": 10**9}
"""How long the sum may be too large where something outside has changed (design I1p); a dead gateway has no limits."""

ADJACENT_S = {"silent": 30.0, "lost": 150.0, "dead": 60.0}
"""A trouble explains what happens for so long after it is over."""

TOLERANCE_MA = 200


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

    def __init__(
        self, plan: Plan, building: Building, chargers: Mapping[str, SeededCharger], clock: SiteClock
    ) -> None:
        self.violations: list[Violation] = []
        self.trouble: dict[str, str] = {"gateway": "dead"}
        """What is wrong now or was a moment ago, by who: "silent", "lost" or "dead"."""
        self._over: dict[str, float] = {}
        self._plan, self._building, self._chargers, self._clock = plan, building, chargers, clock
        self._over_s: dict[tuple[str, int], int] = {}
        self._told: set[tuple[str, str, int]] = set()
        self._may: dict[str, int] = {}
        self.limits_seen = 0
        self.seconds = 0
        for charger in chargers.values():
            self._listen(charger)

    def _listen(self, charger: SeededCharger) -> None:
        install = charger.install

        def installed(connector: int, text: dict[str, Any]) -> str | None:
            why = install(connector, text)
            if why is None and text.get("chargingProfilePurpose") == "TxProfile":
                self._limit(charger, text)
                self._sums(within=True)
            return why

        charger.install = installed  # type: ignore[method-assign]

    def _limit(self, charger: SeededCharger, text: Mapping[str, Any]) -> None:
        self.limits_seen += 1
        for period in text["chargingSchedule"]["chargingSchedulePeriod"]:
            limit_ma = round(float(period["limit"]) * 1000)
            if limit_ma and not MIN_MA <= limit_ma <= MAX_MA:
                self._violated("I2", f"{charger.name} was given {limit_ma / 1000:.1f} A")

    def hear(self, what: str, data: Mapping[str, Any]) -> None:
        """The story as it happens (simulators/README.md)."""
        if what == "charger_lost":
            self._begin(str(data["charger"]), "lost")
        elif what == "meter_silent" and data["meter"] == "grid":
            self._begin("grid", "silent")
        elif what in ("gateway_killed", "gateway_stopped"):
            self._begin("gateway", "dead")
        elif what in ("charger_back", "meter_back", "gateway_ready"):
            who = str(data.get("charger") or data.get("meter") or "gateway")
            if who in self.trouble:
                self._over[who] = self._clock.utc_ms() / 1000 + ADJACENT_S[self.trouble[who]]

    def _begin(self, who: str, kind: str) -> None:
        self.trouble[who] = kind
        self._over.pop(who, None)

    def second(self, now_ms: int) -> None:
        """One second has passed."""
        self.seconds += 1
        for who in [who for who, until_s in self._over.items() if until_s <= now_ms / 1000]:
            del self._over[who], self.trouble[who]
        self._sums(within=False)

    def _sums(self, *, within: bool) -> None:
        """`within` a second: only circuits without a house behind them, where no time is allowed."""
        now_ms = self._clock.utc_ms()
        boxes = [(box, self._chargers[box.name]) for box in self._plan.boxes]
        if any(not charger.profiles for _, charger in boxes):
            return  # a box that was never connected since it was new: nobody could tell it anything
        grace_s = self._grace_s()
        may_ma = [0, 0, 0]
        self._may.clear()
        for box, charger in boxes:
            self._may[box.name] = _may_ma(charger, now_ms)
            for phase in _phases(box, charger):
                may_ma[phase] += self._may[box.name]
        for phase in range(3):
            self._judge("garage", phase, may_ma[phase], 0, self._plan.garage_fuse_a * 1000, grace_s, within)
            if not within:
                self._judge(
                    "house", phase, may_ma[phase], self._rest_ma(phase), self._plan.house_fuse_a * 1000, grace_s, within
                )

    def _judge(
        self, circuit: str, phase: int, may_ma: int, rest_ma: int, limit_ma: int, grace_s: int, within: bool
    ) -> None:
        key = (circuit, phase)
        if may_ma + rest_ma <= limit_ma + TOLERANCE_MA:
            self._over_s.pop(key, None)
            return
        if not within:
            self._over_s[key] = self._over_s.get(key, 0) + 1
        strict = circuit == "garage" and not self.trouble
        if strict or self._over_s.get(key, 0) > max(grace_s, GRACE_S[""]):
            self._violated(
                "I1",
                f"{circuit} L{phase + 1}: the boxes may draw {may_ma / 1000:.1f} A beside {rest_ma / 1000:.1f} A, "
                f"its limit is {limit_ma / 1000:.0f} A, for {self._over_s.get(key, 0)} s ({self._each(phase)})",
                key,
            )

    def _each(self, phase: int) -> str:
        """What each box on a phase may draw."""
        there = [box.name for box in self._plan.boxes if phase in _phases(box, self._chargers[box.name])]
        return ", ".join(f"{name} {self._may[name] / 1000:g}" for name in there)

    def _rest_ma(self, phase: int) -> int:
        """What flows in the house beside the boxes; sun counts as far as it is there."""
        boxes_ma = sum(outlet.current_ma[phase] for outlet in self._building.outlets.values())
        return round(self._building.load_ma("house")[phase] - boxes_ma)

    def _grace_s(self) -> int:
        return max((GRACE_S[kind] for kind in self.trouble.values()), default=GRACE_S[""])

    def _violated(self, invariant: str, text: str, key: tuple[str, int] = ("", 0)) -> None:
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
