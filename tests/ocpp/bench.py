"""A relay on a bench: its database is real and in memory, its peers are lists, its timers are turned by hand."""

from __future__ import annotations

import itertools
import json
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.model import Connection, Event, LimitOutcome, Reading, Stamp, TimeQuality
from gateway.ocpp import actions as act
from gateway.ocpp.dialect_files import load_dialect
from gateway.ocpp.relay import Relay, Setting
from gateway.ocpp.storing import Storing, load
from gateway.ocpp.v16 import V16
from gateway.site import Charger, Ocpp, Token, Upstream
from gateway.store import journal
from gateway.store.database import migrate
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect
from tests.ocpp.wires import make_charger

UPSTREAM = Upstream(id="csms", url="ws://csms/{id}")
STORE = (
    act.Append, act.AnswerStart, act.AnswerEntry, act.Fail, act.TakeNext, act.SaveBoot, act.SaveBootTold,
    act.SaveAccepted, act.SaveStatus, act.LearnTag, act.ForgetCache, act.SaveList, act.SaveProfile, act.RemoveProfiles,
    act.SaveFallbacks, act.SaveConfiguration, act.TakeConfiguration,
)  # fmt: skip


class Bench:
    """One charger. Frames that the relay sends stand in `to_charger` and `to_csms` until they are taken.

    It never tells its status by itself; with `ask_status` it is asked for it, as the default dialect has it.
    """

    def __init__(
        self, charger: Charger | None = None, *, upstream: Upstream | None = UPSTREAM, tokens: tuple[Token, ...] = (),
        ask_status: bool = False,
    ) -> None:  # fmt: skip
        default = make_charger(upstream="csms", authority="csms", offline_unknown="accept")
        dialect = replace(load_dialect("default"), ask_status=ask_status)
        self.setting = Setting(
            charger=charger or default, upstream=upstream, ocpp=Ocpp(), dialect=dialect, tokens=tokens
        )
        self.db: Connection = connect(Path(":memory:"))
        migrate(self.db)
        self.utc_ms = 1_781_343_000_000
        self.off_ms, self.sure = 0, True
        """By how much the gateway's clock is wrong, and whether it is known to be right."""
        self.reading: Reading | None = None
        self.disk_full = False
        self.failing: type[act.StoreAction] | None = None
        """Only actions of this kind are refused by the disk."""

        self._ids = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        """What a kill leaves is the database."""
        self.to_charger: deque[str] = deque()
        self.to_csms: deque[str] = deque()
        self.events: list[Event] = []
        self.closed: list[str] = []
        self.rules: list[str] = []
        self.timers: dict[str, float] = {}
        self.limits: dict[int, LimitOutcome] = {}
        self.dialled = False
        self._storing = Storing("box1", Identity("gw", "e" * 32, 1), lambda: f"id-{next(self._ids)}")
        snapshot = load(self.db, "box1", has_upstream=self.setting.upstream is not None)
        self.relay = Relay(self.setting, V16(), snapshot, lambda: f"own-{next(self._ids)}", self._now())
        self._perform(self.relay.start(self._now()))

    def _now(self) -> act.Now:
        return act.Now(self.utc_ms + self.off_ms, self.utc_ms / 1000, self.sure)

    def move(self, upstream: Upstream) -> None:
        """Restart with another CSMS in the site file."""
        charger = replace(self.setting.charger, upstream=upstream.id)
        self.setting = replace(self.setting, charger=charger, upstream=upstream)
        self.restart()

    # Events

    def feed(self, event: act.RelayEvent) -> None:
        self._perform(self._on(event))

    def open(self, *sides: act.Side) -> Bench:
        for side in sides:
            self.feed(act.Opened(side))
        return self

    def close(self, side: act.Side) -> None:
        (self.to_charger if side == "charger" else self.to_csms).clear()
        self.feed(act.Closed(side, "cut"))

    def say(self, side: act.Side, frame: list[Any] | str) -> None:
        self.feed(act.Received(side, frame if isinstance(frame, str) else json.dumps(frame)))

    def later(self, seconds: float) -> None:
        """Let time go by, firing what is due in order; link and site seconds are the same here."""
        end_s = self.utc_ms / 1000 + seconds
        while due := [(at_s, key) for key, at_s in self.timers.items() if at_s <= end_s]:
            at_s, key = min(due)
            del self.timers[key]
            self.utc_ms = max(self.utc_ms, round(at_s * 1000))
            self.feed(act.Woke(key))
        self.utc_ms = round(end_s * 1000)

    # What came out

    def take(self, side: act.Side) -> list[list[Any]]:
        """The frames sent to a side since the last look."""
        queue = self.to_charger if side == "charger" else self.to_csms
        frames = [json.loads(text) for text in queue]
        queue.clear()
        return frames

    def journal(self) -> list[tuple[str, int | None, str]]:
        rows = journal.after(self.db, 0, 1000)
        return [(row.action, row.transaction_id, row.state) for row in rows]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def transactions(self) -> int:
        """How many transactions the relay has in memory."""
        return len(self.relay._core.transactions)

    # A conversation

    def accepted(self) -> Bench:
        """Connected on both sides, booted and accepted; nothing of that is left to take."""
        self.open("charger", "csms")
        self.say("charger", [2, "boot", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}])
        for frame in self.take("csms"):
            if frame[2] == "BootNotification":
                self.say("csms", [3, frame[1], {"status": "Accepted", "currentTime": "x", "interval": 300}])
        self.serve_chores()
        self.take("charger")
        return self

    def serve_chores(self) -> None:
        """Let the box accept everything that the gateway wants of it."""
        self.later(2)
        while frames := [frame for frame in self.take("charger") if frame[0] == 2]:
            for frame in frames:
                self.say("charger", [3, frame[1], {"status": "Accepted"}])

    # Actions

    def _on(self, event: act.RelayEvent) -> list[act.Action]:
        """In every conversation of these tests the load manager is told how it stands, before and after each event."""
        self._is_told_anew()
        actions = self.relay.on(event, self._now())
        self._is_told_anew()
        return actions

    def _is_told_anew(self) -> None:
        now, relay = self._now(), self.relay
        anew = [relay._connector(one.ref, now) for one in self.setting.charger.connectors]
        assert list(relay.connectors(now)) == anew

    def _perform(self, actions: list[act.Action]) -> None:
        pending = deque(actions)
        while pending:
            action = pending.popleft()
            if isinstance(action, STORE):
                pending.extend(self._on(self._store(action)))
            elif isinstance(action, act.TakeReading):
                pending.extend(self._on(act.ReadingTaken(self.reading)))
            else:
                self._do(action)

    def _store(self, action: act.StoreAction) -> act.Stored | act.StoreFailed:
        if self.disk_full or type(action) is self.failing:
            return act.StoreFailed(action, "disk full")
        stamp = Stamp(self.utc_ms, TimeQuality.NTP)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            result = self._storing.perform(self.db, action, stamp)
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")
        return act.Stored(action, result)

    def _do(self, action: act.Action) -> None:
        if isinstance(action, act.Send):
            self.rules.append(action.rule)
            (self.to_charger if action.side == "charger" else self.to_csms).append(action.text)
        elif isinstance(action, act.Wake):
            self.timers[action.key] = self.utc_ms / 1000 + action.seconds
        elif isinstance(action, act.Unwake):
            self.timers.pop(action.key, None)
        elif isinstance(action, act.Report):
            self.events.append(action.event)
        elif isinstance(action, act.Close):
            self.closed.append(action.side)
        elif isinstance(action, act.Dial):
            self.dialled = action.wanted
        elif isinstance(action, act.Trace):
            self.rules.append(action.rule)
        elif not isinstance(action, act.Hurry):  # nobody waits here
            assert isinstance(action, act.LimitDone)
            self.limits[action.ticket] = action.outcome


def start(message_id: str = "s1", tag: str = "CARD-A", wh: int = 10, at: str = "2026-06-13T09:31:00Z") -> list[Any]:
    return [
        2, message_id, "StartTransaction", {"connectorId": 1, "idTag": tag, "meterStart": wh, "timestamp": at},
    ]  # fmt: skip


def meter(message_id: str, transaction: int | None, wh: int, **sample: Any) -> list[Any]:
    head = {} if transaction is None else {"transactionId": transaction}
    value = {"timestamp": "2026-06-13T09:40:00Z", "sampledValue": [{"value": str(wh), **sample}]}
    return [2, message_id, "MeterValues", {"connectorId": 1, **head, "meterValue": [value]}]


def stop(message_id: str, transaction: int, wh: int = 900) -> list[Any]:
    payload = {"transactionId": transaction, "meterStop": wh, "timestamp": "2026-06-13T10:31:00Z"}
    return [2, message_id, "StopTransaction", payload]


def started(message_id: str, transaction: int | None, status: str = "Accepted") -> list[Any]:
    payload: dict[str, Any] = {"idTagInfo": {"status": status}}
    return [3, message_id, payload if transaction is None else {**payload, "transactionId": transaction}]
