"""Pure: a line toward one peer with at most one open CALL (rule R1), a queue by priority, and an end to every wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from gateway.ocpp.actions import Action, Send, Side, Unwake, Wake
from gateway.ocpp.frames import Frame

MAX_WAITING = 64
"""Calls that wait in one class; the next one is refused at once, and whoever asked is told (I12)."""


class Priority(IntEnum):
    """The order toward a peer: first come those that keep the building safe (design rule 7)."""

    REDUCE = 0
    RAISE = 1
    RELAYED = 2
    JOURNAL = 3
    OWN = 4


class Loss(Enum):
    """Why a call has no answer."""

    TIMEOUT = auto()
    GONE = auto()
    FULL = auto()
    REPLACED = auto()


@dataclass(frozen=True, slots=True)
class Call:
    """One CALL. Exactly one of the two callbacks is called, once. `slot`: a newer one replaces this while it waits."""

    message_id: str
    text: str
    rule: str
    priority: Priority
    on_answer: Callable[[Frame], None]
    on_lost: Callable[[Loss], None]
    slot: str | None = None
    needs_acceptance: bool = True


class CallLine:
    """The line toward one side."""

    def __init__(self, side: Side, timeout_s: float, do: Callable[[Action], None]) -> None:
        self._side = side
        self._timeout_s = timeout_s
        self._do = do
        self._waiting: dict[Priority, deque[Call]] = {priority: deque() for priority in Priority}
        self._open: Call | None = None
        self._serial = 0
        self._late: set[str] = set()
        self.connected = False
        self.accepted = True
        self.silent = 0
        """CALLs in a row without an answer."""

        self.cut: Call | None = None
        """The call that was open when the peer went; those that still waited had not been sent."""

    @property
    def busy(self) -> bool:
        """A call is open or waits."""
        return self._open is not None or any(self._waiting.values())

    def submit(self, call: Call) -> None:
        """Queue a call and send what may be sent. One that is not sent within a CALL timeout is lost as well."""
        waiting = self._waiting[call.priority]
        if not self.connected:
            call.on_lost(Loss.GONE)
            return
        if call.slot is not None:
            self._replace(call.slot)
        if len(waiting) >= MAX_WAITING:
            call.on_lost(Loss.FULL)
            return
        waiting.append(call)
        self.pump()
        if call in waiting:
            self._late.add(call.message_id)
            self._do(Wake(self._wait_key(call.message_id), self._timeout_s, "link"))

    def _replace(self, slot: str) -> None:
        """In every class: an older raise must not arrive behind the reduction that takes its place."""
        for waiting in self._waiting.values():
            for other in [other for other in waiting if other.slot == slot]:
                waiting.remove(other)
                self._no_longer_late(other)
                other.on_lost(Loss.REPLACED)

    def pump(self) -> None:
        """Send the next call where none is open."""
        if self._open is not None or not self.connected:
            return
        call = self._next()
        if call is None:
            return
        self._open = call
        self._serial += 1
        self._no_longer_late(call)
        self._do(Send(self._side, call.text, call.rule))
        self._do(Wake(self._key(), self._timeout_s, "link"))

    def resolve(self, frame: Frame) -> bool:
        """An answer has come; False where no open call has its id (rule R10)."""
        call = self._open
        if call is None or call.message_id != frame.message_id:
            return False
        self._open = None
        self.silent = 0
        self._do(Unwake(self._key()))
        call.on_answer(frame)
        self.pump()
        return True

    def woke(self, key: str) -> bool:
        """A timer has run out; True where it was that of the open call."""
        if key.startswith(self._wait_key("")):
            self._waited_too_long(key.removeprefix(self._wait_key("")))
            return True
        call = self._open
        if call is None or key != self._key():
            return False
        self._open = None
        self.silent += 1
        call.on_lost(Loss.TIMEOUT)
        self.pump()
        return True

    def withdraw(self, message_id: str) -> None:
        """A call that still waits is not needed any more; its callbacks are not called."""
        for waiting in self._waiting.values():
            for call in [call for call in waiting if call.message_id == message_id]:
                waiting.remove(call)
                self._no_longer_late(call)

    def opened(self, *, accepted: bool) -> None:
        """The peer is there. Until it is `accepted` only calls go that need no acceptance (rule R20)."""
        self.connected, self.accepted, self.silent = True, accepted, 0

    def closed(self) -> None:
        """The peer is gone: everything open or waiting is lost."""
        self.connected = False
        self.cut = self._open
        lost = [] if self._open is None else [self._open]
        if lost:
            self._do(Unwake(self._key()))
        self._open = None
        for waiting in self._waiting.values():
            lost += waiting
            waiting.clear()
        for call in lost:
            self._no_longer_late(call)
            call.on_lost(Loss.GONE)

    def _next(self) -> Call | None:
        for waiting in self._waiting.values():
            for call in waiting:
                if self.accepted or not call.needs_acceptance:
                    waiting.remove(call)
                    return call
        return None

    def _waited_too_long(self, message_id: str) -> None:
        self._late.discard(message_id)
        for waiting in self._waiting.values():
            for call in [call for call in waiting if call.message_id == message_id]:
                waiting.remove(call)
                call.on_lost(Loss.TIMEOUT)

    def _no_longer_late(self, call: Call) -> None:
        if call.message_id in self._late:
            self._late.discard(call.message_id)
            self._do(Unwake(self._wait_key(call.message_id)))

    def _wait_key(self, message_id: str) -> str:
        return f"wait {self._side} {message_id}"

    def _key(self) -> str:
        return f"call {self._side} {self._serial}"
