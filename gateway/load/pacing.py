"""Pure: from what the plan grants to what is sent now: down at once, up only when it is safe and lasts.

Raises are given out of what no possible limit still claims, so the sum of the larger of old and new limit fits at
every moment, whatever order the chargers answer in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from gateway.load import books
from gateway.load.allocate import Grant
from gateway.load.books import Book
from gateway.load.car import Car
from gateway.load.filling import STEP_MA, Share, fill
from gateway.model import ConnectorRef
from gateway.site import Connector

CHANGE_MA = 1000
ROOM_S = 10.0
RAMP_MA = 16000
"""The sum on a circuit and phase rises by at most this ..."""
RAMP_S = 5.0
"""... in this time: after power returns all cars would else begin at once, and 8 x 16 A may trip a B40 breaker."""


class Seat(NamedTuple):
    """A connected car to be steered. No `grant`: it does not do what it is told.

    `counted_ma`: what it counts with; before its first limit at least what it draws, since what it was told before us
    is not known. `drawn_ma` is what it is seen to draw, `unsure_ma` what it may hold beyond what it counts with.
    """

    connector: Connector
    car: Car
    links: tuple[int, ...]
    counted_ma: int
    grant: Grant | None
    drawn_ma: int = 0
    unsure_ma: int = 0

    @property
    def ref(self) -> ConnectorRef:
        return self.connector.ref

    @property
    def target_ma(self) -> int:
        """What the plan wants. One that does not obey is asked for its minimum, and others make room for it."""
        if self.grant is not None:
            return self.grant.limit_ma
        return min(self.car.book.wanted_ma or 0, self.connector.min_ma)

    @property
    def current_ma(self) -> int | None:
        """What it was told and still holds; None before the first limit."""
        wanted_ma = self.car.book.wanted_ma
        return None if wanted_ma is None else min(wanted_ma, self.counted_ma)

    @property
    def held_ma(self) -> int:
        """What it is told while it may not rise. Before the first limit that is what it counts with: a box that holds
        an older limit must not go on with it because there is no room."""
        return self.counted_ma - self.counted_ma % STEP_MA if self.current_ma is None else self.current_ma


@dataclass(frozen=True, slots=True)
class Command:
    """A limit to send now, for the transaction that runs."""

    ref: ConnectorRef
    transaction: int
    limit_ma: int
    raising: bool


@dataclass(frozen=True, slots=True)
class Raised:
    """How much a raise added to its links, and when it left."""

    at_s: float
    links: tuple[int, ...]
    ma: int


class Bounds(NamedTuple):
    """Per link: what all connectors may draw now (`taken`), what they must not exceed (`most`), and what rises must
    stay under (`careful`)."""

    taken: tuple[int, ...]
    most: tuple[int, ...]
    careful: tuple[int, ...]


class Paced(NamedTuple):
    """The commands in the order in which they leave, the cars that remember them, the raises of the last seconds."""

    commands: tuple[Command, ...]
    cars: Mapping[ConnectorRef, Car]
    raised: tuple[Raised, ...]


def pace(seats: Sequence[Seat], bounds: Bounds, raised: Sequence[Raised], now_s: float, duration_s: float) -> Paced:
    """What to send now: reductions first, then renewals (at half of `duration_s`), then raises.

    A first limit may be a raise, since nobody knows what was given before us: one that is no reduction of what counts
    waits while its links carry too much. Until then the charger holds less, or just that.
    """
    wishes = [_wish(seat, now_s) for seat in seats]
    recent = tuple([item for item in raised if now_s - item.at_s < RAMP_S])
    over = frozenset([link for link, taken in enumerate(bounds.taken) if taken > bounds.most[link]])
    tight = over | _tight(wishes, bounds)
    down: list[Command] = []
    same: list[Command] = []
    rising: list[Seat] = []
    for seat, current_ma, target_ma in wishes:
        book = seat.car.book
        if book.flying is not None or now_s < book.not_before_s:
            continue
        if target_ma > (seat.counted_ma if current_ma is None else current_ma):
            if _may_rise(seat, now_s):
                rising.append(seat)
            elif current_ma is not None and _due(book, now_s, duration_s):
                same.append(_command(seat, current_ma, raising=False))
        elif current_ma is None:
            if target_ma < seat.counted_ma or (over.isdisjoint(seat.links) and _is_no_raise(seat, bounds)):
                down.append(_command(seat, target_ma, raising=False))
        elif target_ma < current_ma and _falls(seat, current_ma, tight):
            down.append(_command(seat, target_ma, raising=False))
        elif _due(book, now_s, duration_s):
            same.append(_command(seat, target_ma, raising=False))
    up, added = _raises(rising, bounds, recent, now_s)
    sent_up = {command.ref for command in up}
    same += [
        _command(seat, seat.held_ma, raising=False)
        for seat in rising
        if seat.ref not in sent_up and (seat.current_ma is None or _due(seat.car.book, now_s, duration_s))
    ]
    commands = (*down, *same, *up)
    cars = {seat.connector.ref: seat.car for seat, _, _ in wishes}
    for command in commands:
        car = cars[command.ref]
        cars[command.ref] = replace(car, book=books.send(car.book, command.limit_ma, now_s))
    return Paced(commands, cars, (*recent, *added))


def rests(car: Car, connector: Connector, counted_ma: int, target_ma: int, now_s: float, duration_s: float) -> bool:
    """Whether nothing is to be said to a car, and nothing to be remembered: it holds what is wanted of it, or a little
    less, and need not be told again yet. True for most cars in most seconds; who rests needs no seat."""
    book = car.book
    wanted_ma = book.wanted_ma
    if wanted_ma is None or wanted_ma > counted_ma or book.flying is not None or car.room_s is not None:
        return False
    if wanted_ma != target_ma and not connector.min_ma <= wanted_ma <= target_ma < wanted_ma + CHANGE_MA:
        return False
    return not _due(book, now_s, duration_s)


def _command(seat: Seat, limit_ma: int, *, raising: bool) -> Command:
    return Command(seat.ref, seat.car.book.transaction, limit_ma, raising)


class _Wish(NamedTuple):
    """A seat, what it was told and still holds, and what the plan wants."""

    seat: Seat
    current_ma: int | None
    target_ma: int


def _wish(seat: Seat, now_s: float) -> _Wish:
    """With the memory of since when there has been room for more."""
    current_ma, target_ma = seat.current_ma, seat.target_ma
    more = current_ma is not None and target_ma >= current_ma + CHANGE_MA
    if more != (seat.car.room_s is not None):
        seat = seat._replace(car=replace(seat.car, room_s=now_s if more else None))
    return _Wish(seat, current_ma, target_ma)


def _may_rise(seat: Seat, now_s: float) -> bool:
    if not seat.current_ma:
        return True
    return seat.car.room_s is not None and now_s - seat.car.room_s >= ROOM_S


def _is_no_raise(seat: Seat, bounds: Bounds) -> bool:
    """Whether a first limit of what the seat counts with raises nothing, or fits beside all that others may still hold.

    A box that was told 0 A before us counts with its fallback, and may go on with 0 A until that limit ends.
    """
    if not seat.unsure_ma or seat.drawn_ma + CHANGE_MA >= seat.target_ma:
        return True
    return all(bounds.taken[link] <= bounds.careful[link] + seat.unsure_ma for link in seat.links)


def _due(book: Book, now_s: float, duration_s: float) -> bool:
    """Whether the limit must be sent again: half of its time is over, or the charger may have lost it."""
    return book.confirmed is None or book.trouble is not None or now_s - book.sent_s >= duration_s / 2


def _falls(seat: Seat, current_ma: int, tight: frozenset[int]) -> bool:
    """Small reductions wait, unless a circuit needs them or they keep a bound that is not ours to bend."""
    target_ma = seat.target_ma
    if target_ma == 0 or current_ma - target_ma >= CHANGE_MA:
        return True
    bound = seat.grant is not None and seat.grant.reason in ("csms", "start")
    return bound or not tight.isdisjoint(seat.links)


def _tight(wishes: Sequence[_Wish], bounds: Bounds) -> frozenset[int]:
    """The links that carry too much for a minimum that is to begin."""
    taken = list(bounds.taken)
    begins: set[int] = set()
    for seat, _, target_ma in wishes:
        counted_ma = seat.counted_ma
        if target_ma <= counted_ma:
            continue
        missing_ma = min(target_ma, seat.connector.min_ma) - counted_ma
        if missing_ma > 0:
            begins.update(seat.links)
            for link in seat.links:
                taken[link] += missing_ma
    return frozenset([link for link in begins if taken[link] > bounds.careful[link]])


def _raises(
    rising: Sequence[Seat], bounds: Bounds, recent: Sequence[Raised], now_s: float
) -> tuple[list[Command], list[Raised]]:
    """Share what is free now: minima of those that begin, longest waiting first; then level by level."""
    if not rising:
        return [], []
    # Below 0 where too much is taken: then also one that already counts with its minimum, since nobody knows what it
    # holds, is not given it.
    free = [careful - taken for careful, taken in zip(bounds.careful, bounds.taken, strict=True)]
    ramp = [RAMP_MA] * len(free)
    for item in recent:
        for link in item.links:
            ramp[link] -= item.ma
    free = [min(room, max(0, rest)) for room, rest in zip(free, ramp, strict=True)]
    commands: list[Command] = []
    added: list[Raised] = []
    for seat in sorted((seat for seat in rising if not seat.current_ma), key=lambda seat: (seat.car.since_s, seat.ref)):
        missing_ma = seat.connector.min_ma - seat.counted_ma
        if all(free[link] >= missing_ma for link in seat.links):
            commands.append(_command(seat, seat.connector.min_ma, raising=True))
            _take(seat, missing_ma, free, added, now_s)
    # Who has not followed a reduction yet counts with what was before it, and is not told that again while that is too
    # much.
    more = [seat for seat in rising if seat.current_ma and all(free[link] >= 0 for link in seat.links)]
    shares = [Share(seat.links, seat.counted_ma, max(seat.counted_ma, seat.target_ma)) for seat in more]
    capacity = [max(0, room) for room in free]
    for share in shares:
        for link in share.links:
            capacity[link] += share.min_ma
    for seat, ma in zip(more, fill(shares, capacity).ma, strict=True):
        limit_ma = min(seat.target_ma, ma - ma % STEP_MA)
        if limit_ma >= (seat.current_ma or 0) + CHANGE_MA:
            commands.append(_command(seat, limit_ma, raising=True))
            _take(seat, limit_ma - seat.counted_ma, free, added, now_s)
    return commands, added


def _take(seat: Seat, ma: int, free: list[int], added: list[Raised], now_s: float) -> None:
    if ma <= 0:
        return
    added.append(Raised(now_s, seat.links, ma))
    for link in seat.links:
        free[link] -= ma
