"""I9: no driver waits longer than the stated bound, and who waits is told the place in the queue and the time.

The bound is dwell x ceil(n/k): n cars that want to charge, k minima that fit (design I9). Both change while a car
waits, so each second uses up its part of the bound in force; seconds in which not one minimum fits count for nothing.
Looked at are the boxes' own profiles. A gateway that starts again does not know who has waited: the wait begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from simulators.building import Building
from simulators.judge.evidence import Evidence
from simulators.judge.verdict import Finding, Notes

from .boxes import SeededCharger
from .plan import Box, Plan

MIN_MA, MAX_MA = 6000, 16_000
DWELL_S = 900.0
LONGEST_WAIT_S = 4 * 3600.0
CHANGE_S = 120.0
"""A turn passes by a reduction that is confirmed and a raise after it, to boxes that may be slow."""

NEAR_S = 60
"""What the house takes is known to the gateway with some delay, and counts as its most of the last minute."""

ABOVE_MA = 1000
OBEY_S = 30.0
"""A box that draws this much more than its limit for this long does not obey. Before the gateway can know that, it has
told the next car to begin; within `CHANGE_S` it must know it, and tell a place again."""

SETTLED_MS = 15_000
"""So long a box has stood still before the gateway's word on it is compared."""


class Turns:
    """Counts, second by second, how much of the bound each waiting car has used up."""

    def __init__(
        self,
        plan: Plan,
        building: Building,
        chargers: Mapping[str, SeededCharger],
        violated: Callable[[str, str], None],
    ) -> None:
        self._plan, self._building, self._chargers, self._violated = plan, building, chargers, violated
        self._trouble: Mapping[str, str] = {}
        self._used: dict[str, float] = {}
        self._since_ms: dict[str, int] = {}
        self._still_ms: dict[str, int] = {}
        self._told: set[str] = set()
        self._above_ms: dict[str, int] = {}
        self.disobeyed: list[tuple[int, int]] = []
        """(from, to), UTC ms, in which a box drew more than its limit for longer than any that obeys."""

        self.stretches: list[tuple[str, int, int]] = []
        """(box, from, to), UTC ms, in which it waited and was well connected."""

        self.none_fits: dict[str, set[int]] = {}
        """The seconds in which not one minimum fitted for a box."""

        self.waits = 0
        self.longest_s = 0
        self.most = 0.0

    def second(self, now_ms: int, trouble: Mapping[str, str]) -> None:
        """One second has passed; `trouble` as in `Watch`: who is lost or dead now, or was a moment ago."""
        if "gateway" in trouble:
            self.close(now_ms)
            return
        self._trouble = trouble
        limits_ma = {name: charger.limit_ma(now_ms) for name, charger in self._chargers.items()}
        for name, charger in self._chargers.items():
            if charger.outlet.draw_ma > limits_ma[name] + ABOVE_MA:
                self._above_ms.setdefault(name, now_ms)
            elif name in self._above_ms:
                self._obeys(name, now_ms)
        wanting = {box.name for box in self._plan.boxes if self._wants(box, now_ms)}
        room: Sequence[int] | None = None
        for box in self._plan.boxes:
            if box.name in wanting and limits_ma[box.name] < MIN_MA:
                room = room or self._room(wanting, now_ms)  # the same for all that wait in this second
                self._wait(box, len(wanting), _fit(box, room), now_ms)
            elif box.name in wanting or self._chargers[box.name].transaction is None:
                self._end(box.name, now_ms)
            else:
                self._stir(box.name, now_ms)

    def close(self, now_ms: int) -> None:
        """The story or a life of the gateway ends: so do the waits."""
        for name in list(self._used):
            self._end(name, now_ms)
        for name in list(self._above_ms):
            self._obeys(name, now_ms)

    def _obeys(self, name: str, now_ms: int) -> None:
        since_ms = self._above_ms.pop(name, now_ms)
        if now_ms - since_ms > OBEY_S * 1000:
            self.disobeyed.append((since_ms, now_ms))

    def _wants(self, box: Box, now_ms: int) -> bool:
        charger = self._chargers[box.name]
        car, running = charger.outlet.car, charger.transaction
        if not charger.link.connected or charger.disobeys or box.quirk == "no_zero" or box.name in self._trouble:
            return False
        return running is not None and running.id is not None and car is not None and not car.full()

    def _wait(self, box: Box, cars: int, fits: int, now_ms: int) -> None:
        """`cars` want to charge, and `fits` minima fit where this box is connected."""
        since_ms = self._since_ms.setdefault(box.name, now_ms)
        self._still_ms.setdefault(box.name, now_ms)
        self._used.setdefault(box.name, 0.0)
        if fits < 1:
            self.none_fits.setdefault(box.name, set()).add(now_ms // 1000)
            return
        rounds = -(-cars // fits)
        bound_s = min(DWELL_S, LONGEST_WAIT_S / rounds) * rounds
        self._used[box.name] += 1 / (bound_s + CHANGE_S)
        self.most = max(self.most, self._used[box.name])
        if self._used[box.name] > 1 and box.name not in self._told:
            self._told.add(box.name)
            self._violated(
                "I9",
                f"{box.name} has waited for {(now_ms - since_ms) / 1000:.0f} s; now {cars} cars want to "
                f"charge and {fits} fit: at most {bound_s:.0f} s",
            )

    def _room(self, wanting: set[str], now_ms: int) -> Sequence[int]:
        """What is left on each phase beside those that are not shared out, in mA."""
        room = [0, 0, 0]
        boxes_ma, load_ma = self._building.boxes_ma("house"), self._building.load_ma("house")
        for phase in range(3):
            rest_ma = max(self._plan.house_worst_a * 1000, round(load_ma[phase]) - boxes_ma[phase])
            room[phase] = min(self._plan.garage_fuse_a * 1000, self._plan.house_limit_ma - rest_ma)
        for box in self._plan.boxes:
            if box.name not in wanting:
                charger = self._chargers[box.name]
                own_ma = max(charger.may_draw_ma(now_ms), charger.outlet.draw_ma, box.fallback_a * 1000)
                for phase in box.rotation[: box.phases]:
                    room[phase] -= own_ma if charger.link.connected else MAX_MA
        return room

    def _end(self, name: str, now_ms: int) -> None:
        self._stir(name, now_ms)
        since_ms = self._since_ms.pop(name, None)
        if since_ms is not None:
            del self._used[name]
            self.waits += 1
            self.longest_s = max(self.longest_s, (now_ms - since_ms) // 1000)

    def _stir(self, name: str, now_ms: int) -> None:
        """It does not stand still any more."""
        if (since_ms := self._still_ms.pop(name, None)) is not None:
            self.stretches.append((name, since_ms, now_ms))


def _fit(box: Box, room: Sequence[int]) -> int:
    """How many minima fit on the fullest phase of this box."""
    return max(0, min(room[phase] for phase in box.rotation[: box.phases])) // MIN_MA


def finding(turns: Turns, evidence: Evidence, found: list[str]) -> Finding:
    """The finding on I9; `found` is what the seconds have shown."""
    notes = Notes("I9")
    notes.violations += found
    notes.figure("waits", turns.waits)
    notes.figure("longest", f"{turns.longest_s} s")
    notes.figure("of the bound", f"{turns.most:.0%}")
    looks = 0
    for (payload,) in evidence.rows(
        "cloud.db", "SELECT payload FROM reply WHERE state = 'done' AND cid LIKE 'place-%'"
    ):
        looks += _compare(json.loads(payload)["result"], turns, notes)
    notes.figure("places compared", looks)
    return notes.finding()


def _compare(status: dict[str, Any], turns: Turns, notes: Notes) -> int:
    """What the status says of each box that waits at that moment, before and after: a place and a time ahead.

    While not one minimum fits, nobody knows the time. Who is told to begin waits for nothing but the raise: that comes,
    or a box that should have made room does not obey, and there is a place again.
    """
    now_ms = _ms(status["now"])
    places = []
    for name, since_ms, until_ms in turns.stretches:
        if not since_ms + SETTLED_MS <= now_ms <= until_ms - SETTLED_MS:
            continue
        said = next(one for one in status["connectors"] if one["id"] == f"{name}/1")
        place, until = said["position"], said["until"]
        if said.get("reason") == "start" and (until_ms - now_ms <= CHANGE_S * 1000 or _refused(turns, now_ms)):
            continue
        places.append(place)
        notes.expect(isinstance(place, int) and place >= 1, f"{name} waits at {status['now']} and is told no place")
        if turns.none_fits.get(name, set()) & set(range(now_ms // 1000 - NEAR_S, now_ms // 1000 + NEAR_S)):
            continue
        told_ms = _ms(until) - now_ms if until else -1
        notes.expect(
            0 <= told_ms <= LONGEST_WAIT_S * 1000, f"{name} waits at {status['now']} and is told the time {until}"
        )
    notes.expect(len(set(places)) == len(places), f"at {status['now']} two have the same place: {places}")
    return len(places)


def _refused(turns: Turns, now_ms: int) -> bool:
    """Whether a box that does not obey keeps the room of who is told to begin, and has not done so for long."""
    longest_ms = round(CHANGE_S * 1000)
    return any(since_ms <= now_ms <= min(until_ms, since_ms + longest_ms) for since_ms, until_ms in turns.disobeyed)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
