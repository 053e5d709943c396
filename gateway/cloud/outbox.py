"""Pure: which records to send next, and when to try again, from what waits, what is in flight and what the cloud said.

Times are site-monotonic seconds. The caller reads the waiting numbers from the database, sends what `plan` says, and
hands every acknowledgement back. Only the cloud's acknowledgement takes a record out of the queue; the broker's PUBACK
means nothing here (design rule 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from gateway.cloud.envelope import Ack, LaneState

INITIAL_CREDIT = 20
"""Records in flight before the cloud has named its credit."""

MAX_CREDIT = 200
"""More in flight would only cost memory, whatever the cloud offers (I12)."""

TRICKLE_S = 60.0
"""At credit 0 one record still goes this often: a cloud that forgot to give credit again is asked again."""

RESEND_S = 60.0
"""Without an acknowledgement a record goes again after this long, then twice as long each time."""

RESEND_MAX_S = 900.0
"""The longest wait between two sends of one record."""

MISSING_GRACE_S = 5.0
"""A record that the cloud misses may still be on its way: it goes again at once only if it was sent longer ago."""

HOLD_MAX_S = 3600.0
"""No cloud can silence a site for longer with one message."""

HELLO_S = 10.0
"""Without an answer the hello goes again after this long, then twice as long each time."""

HELLO_MAX_S = 300.0

RECONNECT_FIRST_S = 1.0
RECONNECT_MAX_S = 300.0
"""Bounds of the pause before the next connect; between them it is drawn anew each time (a storm spreads out)."""

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send now, and when to plan again if nothing happens before."""

    send: tuple[int, ...] = ()
    again_at: float = NEVER


@dataclass(frozen=True, slots=True)
class _Flight:
    sent_at: float
    again_at: float
    sends: int


class LaneWindow:
    """One lane's window on one connection after the other. Bounded by MAX_CREDIT."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._flights: dict[int, _Flight] = {}
        self._last_sent = -NEVER
        self._hold_until = -NEVER
        self._credit = INITIAL_CREDIT

    @property
    def credit(self) -> int:
        """How many records may be in flight."""
        return self._credit

    @property
    def look_ahead(self) -> int:
        """How many of the oldest waiting numbers `plan` needs to see."""
        return self._credit + len(self._flights) + 1

    def new_connection(self) -> None:
        """Whatever was on the old connection is sent again once the cloud has said what it has."""
        self._flights.clear()

    def plan(self, waiting: Sequence[int], now: float, room: int) -> Plan:
        """What to send of the `waiting` numbers (oldest first); `room` is what the connection takes at most."""
        self._forget_answered(waiting)
        if not waiting:
            return Plan()
        if now < self._hold_until:
            return Plan(again_at=self._hold_until)
        due = [seq for seq in waiting if self._due(seq, now)]
        if self._credit == 0:
            return self._trickle(due[:room], now)
        in_flight = len(self._flights) - sum(seq in self._flights for seq in due)
        return Plan(tuple(due[: max(0, min(room, self._credit - in_flight))]), self._next_resend(now))

    def sent(self, seq: int, now: float) -> None:
        """`seq` has gone out."""
        before = self._flights.get(seq)
        sends = before.sends + 1 if before else 1
        pause_s = min(RESEND_S * 2 ** min(sends - 1, 10), RESEND_MAX_S) * self._random.uniform(0.8, 1.2)
        self._flights[seq] = _Flight(now, now + pause_s, sends)
        self._last_sent = now

    def acknowledged(self, ack: Ack, now: float) -> None:
        """The cloud has answered: take its credit and hold, and send again at once what it misses."""
        self._credit = min(ack.credit, MAX_CREDIT)
        self._hold_until = now + min(ack.hold_s, HOLD_MAX_S) if ack.hold_s > 0 else -NEVER
        for seq, flight in self._flights.items():
            if _within(seq, ack.missing) and now - flight.sent_at >= MISSING_GRACE_S:
                self._flights[seq] = _Flight(flight.sent_at, now, flight.sends)

    def _trickle(self, due: Sequence[int], now: float) -> Plan:
        next_at = self._last_sent + TRICKLE_S
        if now < next_at:
            return Plan(again_at=next_at)
        return Plan(tuple(due[:1]), now + TRICKLE_S if due else self._next_resend(now))

    def _forget_answered(self, waiting: Sequence[int]) -> None:
        still = set(waiting)
        for seq in [seq for seq in self._flights if seq not in still]:
            del self._flights[seq]

    def _due(self, seq: int, now: float) -> bool:
        flight = self._flights.get(seq)
        return flight is None or flight.again_at <= now

    def _next_resend(self, now: float) -> float:
        return min((flight.again_at for flight in self._flights.values() if flight.again_at > now), default=NEVER)


def _within(seq: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= seq <= last for first, last in ranges)


class Handshake:
    """The hello of one connection: repeated with back-off until its own answer comes."""

    def __init__(self, hid: str) -> None:
        self.hid = hid
        self.answered = False
        self.sends = 0
        self._again_at = -NEVER

    def plan(self, now: float) -> Plan:
        """`send` is (1,) where the hello is to go now."""
        if self.answered:
            return Plan()
        if now < self._again_at:
            return Plan(again_at=self._again_at)
        self._again_at = now + min(HELLO_S * 2 ** min(self.sends, 10), HELLO_MAX_S)
        self.sends += 1
        return Plan((1,), self._again_at)


class Backoff:
    """The pauses between two connects: decorrelated jitter, so that a fleet does not return all at once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last_s = RECONNECT_FIRST_S

    def next_s(self) -> float:
        """The next pause, site seconds."""
        self._last_s = min(RECONNECT_MAX_S, self._random.uniform(RECONNECT_FIRST_S, self._last_s * 3))
        return self._last_s

    def reset(self) -> None:
        """The connection was good for a while."""
        self._last_s = RECONNECT_FIRST_S


class Standing(Enum):
    """How what the cloud has of a lane stands to what we have."""

    SAME = "same"
    BEHIND = "behind"
    """It has forgotten rows that it had acknowledged: a cloud restored from a copy. They are sent again."""

    OTHER = "other"
    """It is ahead of us, or has another row where we have ours: this card is an old copy."""


def compare(epoch: str, acked_upto: int, ours_at_upto: str | None, theirs: LaneState | None) -> Standing:
    """How the cloud's lane stands to ours.

    `acked_upto` is the newest number that the cloud has ever acknowledged here (0: none), `ours_at_upto` the hash of
    our row at the cloud's `upto`, None where we have no such row. A cloud that has gone on with another epoch after it
    had acknowledged ours has met a newer copy of this card; one that never acknowledged ours meets it for the first
    time.
    """
    if theirs is None or theirs.upto == 0:
        return Standing.BEHIND if acked_upto > 0 else Standing.SAME
    if theirs.epoch != epoch:
        return Standing.OTHER if acked_upto > 0 else Standing.SAME
    if ours_at_upto is None or theirs.sha256 not in (None, ours_at_upto):
        return Standing.OTHER
    return Standing.BEHIND if theirs.upto < acked_upto else Standing.SAME
