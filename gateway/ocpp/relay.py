"""Pure: the relay of one charger - events in, actions out. It knows no OCPP version by name (`meaning.Version` does).

The parts: `intake` (transaction messages of the charger), `replay` (the journal's way to the CSMS), `registration`
(boot, acceptance, statuses, cards), `commands` (what the CSMS asks), `limits` (what we ask), `lines` (one open CALL a
side). This file says who hears of what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.model import ConnectorRef, ConnectorState, Severity
from gateway.ocpp import frames
from gateway.ocpp.actions import (
    Action,
    AnswerEntry,
    AnswerStart,
    Append,
    Close,
    Closed,
    Dial,
    Entry,
    Examined,
    Fail,
    Now,
    Opened,
    ReadingTaken,
    Received,
    RelayEvent,
    RemoveProfiles,
    SaveAccepted,
    SaveProfile,
    Send,
    SetLimit,
    Side,
    Stored,
    StoredProfile,
    StoreFailed,
    TakeConfiguration,
    TakeNext,
    Transaction,
    Unwake,
    Wake,
    Woke,
)
from gateway.ocpp.asking import Asking
from gateway.ocpp.commands import Commands
from gateway.ocpp.core import Core
from gateway.ocpp.dialect import Dialect
from gateway.ocpp.frames import RemoteProtocolError
from gateway.ocpp.intake import Intake
from gateway.ocpp.limits import Limits
from gateway.ocpp.lines import Loss, Priority
from gateway.ocpp.meaning import TRANSACTION_KINDS, Kind, Version
from gateway.ocpp.offline import Cards, KnownCard
from gateway.ocpp.profiles import Profiles
from gateway.ocpp.registration import Known, Registration, Status
from gateway.ocpp.replay import SILENCES
from gateway.site import Charger, Ocpp, Token, Upstream

STAY_S = 60
"""Site seconds that the CSMS sees a charger as connected after it went; then its connection closes too."""

DEAF_AFTER = 3
"""CALLs in a row that a charger leaves unanswered before its connection is made anew (quirk 11)."""

_LEAVE = "leave"
_ASK_BOOT = "ask boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the database knows of one charger when the gateway starts (rule R48)."""

    known: Known = field(default_factory=Known)
    statuses: Sequence[Status] = ()
    transactions: Sequence[Transaction] = ()
    profiles: Sequence[StoredProfile] = ()
    cards: Sequence[KnownCard] = ()
    list_version: int = 0
    fallbacks: dict[int, str] = field(default_factory=dict)
    configuration: dict[str, tuple[str, str]] = field(default_factory=dict)
    unanswered: Sequence[Entry] = ()
    waiting: bool = False
    oldest_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the configuration says of one charger."""

    charger: Charger
    upstream: Upstream | None
    ocpp: Ocpp
    dialect: Dialect
    tokens: Sequence[Token] = ()


class Relay:
    """One charger between its box and its CSMS. `on` is the only way in; it never waits and never fails."""

    def __init__(
        self, setting: Setting, version: Version, snapshot: Snapshot, new_id: Callable[[], str], now: Now
    ) -> None:
        cards = Cards(setting.charger, setting.tokens, snapshot.cards, snapshot.list_version)
        self._core = core = Core(
            setting.charger, setting.upstream, setting.ocpp, version, setting.dialect, cards, new_id, now
        )
        core.away_since_s = _away_since_s(snapshot.oldest_ms, now)
        core.remember(snapshot.transactions)
        self._profiles = Profiles(snapshot.profiles)
        self._limits = Limits(core, dict(snapshot.fallbacks), dict(snapshot.configuration), self._settled)
        self._commands = Commands(core, self._profiles, self._limits)
        self._intake = Intake(core, snapshot.waiting, self._limits.stop_refused)
        self._registration = Registration(
            core, snapshot.known, snapshot.statuses, self._intake.replay.pump, self._charger_accepted
        )
        self._asking = Asking(core, lambda connector: self._status(connector) is not None)
        self._unanswered = list(snapshot.unanswered)
        self._states: Sequence[ConnectorState] = ()
        self.told: Sequence[ConnectorState] = ()
        """What the load manager was told last, while it must hold; empty where an event has come since, and where
        profiles of the CSMS limit, by the time alone."""

        self._bad_frames = 0

    def start(self, now: Now) -> list[Action]:
        """What to do first: be connected to the CSMS where something waits for it."""
        self._core.now, self.told = now, ()
        self._intake.resume(self._unanswered)
        if self._core.upstream is not None and not self._intake.replay.idle:
            self._core.do(Dial(True))
        return self.take_actions()

    def on(self, event: RelayEvent, now: Now) -> list[Action]:
        """Decide what one event causes."""
        self._core.now, self.told = now, ()
        if isinstance(event, Received):
            self._received(event)
        elif isinstance(event, Stored):
            self._stored(event)
        elif isinstance(event, StoreFailed):
            self._store_failed(event)
        elif isinstance(event, Woke):
            self._woke(event.key)
        elif isinstance(event, Opened):
            self._charger_opened() if event.side == "charger" else self._csms_opened()
        elif isinstance(event, Closed):
            self._charger_closed() if event.side == "charger" else self._csms_closed(event.why)
        elif isinstance(event, ReadingTaken):
            self._intake.reading_taken(event.reading)
        else:
            self._limits.set_limit(event)
        return self.take_actions()

    def stop(self) -> None:
        """The gateway stops: what is open is finished, nothing new is taken (rule R49)."""
        self._core.stopping = True

    @property
    def stopping(self) -> bool:
        """`stop` was called."""
        return self._core.stopping

    @property
    def busy(self) -> bool:
        """A CALL waits for its answer, on either side."""
        return self._core.to_charger.busy or self._core.to_csms.busy or self._intake.busy

    def take_actions(self) -> list[Action]:
        """What is decided and not yet handed out."""
        actions, self._core.actions = self._core.actions, []
        return actions

    # What the site may know

    @property
    def csms_ready(self) -> bool:
        """The CSMS answers for this charger."""
        return self._core.csms_ready

    def connectors(self, now: Now) -> Sequence[ConnectorState]:
        """Every configured connector as the load manager sees it: the same objects while nothing of it has changed."""
        if not self.told:
            states = [self._connector(one.ref, now) for one in self._core.charger.connectors]
            if states != self._states:
                self._states = states
            self.told = () if len(self._profiles) else self._states
        return self._states

    def _connector(self, ref: ConnectorRef, now: Now) -> ConnectorState:
        running = self._core.charging(ref.connector)
        status = self._status(ref.connector)
        begin_ms = running.start_ms if running else None
        return ConnectorState(
            ref=ref,
            connected=self._core.to_charger.connected,
            status=status.status if status else "Unknown",
            transaction_id=running.local_id if running else None,
            csms_limit_ma=self._profiles.limit_ma(ref.connector, now.utc_ms, begin_ms),
            fallback_proven=self._limits.proven(ref.connector),
        )

    def _status(self, connector: int) -> Status | None:
        """Its newest status. What it told before the transaction that runs says nothing of it: what came after may have
        been lost with our power, or with the link."""
        status, running = self._registration.statuses.get(connector), self._core.charging(connector)
        return None if status is not None and running is not None and status.at_ms < running.start_ms else status

    # Frames

    def _received(self, event: Received) -> None:
        try:
            frame = frames.parse(event.text)
        except RemoteProtocolError as error:
            self._bad_frame(event, error)
            return
        if frame.kind == frames.CALL and self._core.stopping:
            self._core.drop(event.side, event.text, "the gateway stops; it is asked again after its start")
        elif frame.kind == frames.CALL:
            self._from_charger(frame) if event.side == "charger" else self._from_csms(frame)
        elif event.side == "charger":
            if not self._core.to_charger.resolve(frame):
                self._core.drop("charger", event.text, "no open call has this id")
        elif not self._core.to_csms.resolve(frame) and not self._intake.replay.late(frame):
            self._core.drop("csms", event.text, "no open call has this id, and no entry waits for it")

    def _bad_frame(self, event: Received, error: RemoteProtocolError) -> None:
        """Dropped, or answered where it has an id; the connection stays (rule R8)."""
        self._core.drop(event.side, event.text, str(error))
        if error.message_id is not None:
            self._core.do(Send(event.side, frames.error(error.message_id, error.code, str(error)), "answered: no OCPP"))
        self._bad_frames += 1
        if self._bad_frames == 1:
            self._core.tell(
                "bad_frame",
                f"the {event.side} sent what is no OCPP: {error}",
                "look at the trace; further ones of this connection are not told",
                Severity.WARNING,
            )

    def _from_charger(self, frame: frames.Frame) -> None:
        message = self._core.version.read(frame)
        self._core.box_clock.heard(message.said_ms, self._core.now)
        if message.kind not in TRANSACTION_KINDS:
            self._core.floods.chatter(self._core.now.monotonic_s)
        if message.kind is Kind.BOOT:
            self._core.box_clock.forget()
            self._core.do(Unwake(_ASK_BOOT))
            self._registration.boot(message)
        elif self._must_boot_first(message.kind):
            self._core.refuse(self._core.asked(message), "SecurityError", "this charger has not been accepted yet")
        elif message.kind in TRANSACTION_KINDS:
            self._intake.take(message)
        elif message.kind is Kind.STATUS:
            self._registration.status(message)
        else:
            self._registration.relay(message)

    def _must_boot_first(self, kind: Kind) -> bool:
        """Only an identity never accepted is kept out (rule R22); its stops are kept all the same (rule R40)."""
        if self._core.upstream is None or self._registration.accepted or kind is Kind.STOP:
            return False
        return not self._registration.pending or kind in TRANSACTION_KINDS

    def _from_csms(self, frame: frames.Frame) -> None:
        self._commands.take(frame, pending=self._registration.pending)

    # Sides

    def _charger_opened(self) -> None:
        core = self._core
        if core.to_charger.connected:
            core.to_charger.closed()
        core.generation += 1
        core.box_clock.forget()
        self._bad_frames = 0
        core.to_charger.opened(accepted=True)
        core.do(Unwake(_LEAVE))
        if core.upstream is not None:
            core.do(Dial(True))
        if self._registration.accepted:
            self._limits.charger_ready(booted=False)
        else:
            core.do(Wake(_ASK_BOOT, core.dialect.ask_boot_s, "link"))

    def _charger_accepted(self, booted: bool) -> None:
        self._limits.charger_ready(booted=booted)

    def _settled(self) -> None:
        self._asking.settled()

    def _charger_closed(self) -> None:
        core = self._core
        core.to_charger.closed()
        core.generation += 1
        if core.charger.offline == "spec-close":
            self._leave()
        elif core.upstream is not None:
            core.do(Wake(_LEAVE, STAY_S, "site"))

    def _leave(self) -> None:
        self._core.do(Dial(False))
        self._close_csms("the charger is gone")

    def _close_csms(self, why: str) -> None:
        self._core.closing_csms = True
        self._core.do(Close("csms", 1001, why))

    def _csms_opened(self) -> None:
        self._core.csms_generation += 1
        self._core.closing_csms = False
        self._registration.csms_opened()
        if not self._core.to_charger.connected:
            self._core.do(Wake(_LEAVE, STAY_S, "site"))

    def _csms_closed(self, why: str) -> None:
        core = self._core
        was_connected = core.to_csms.connected
        self._registration.csms_closed()
        core.to_csms.closed()
        self._intake.replay.csms_closed()
        self._intake.csms_gone()
        if was_connected and core.charger.offline == "spec-close" and core.to_charger.connected:
            core.tell("charger_closed", f"the CSMS is away ({why}); this charger is set to spec-close")
            core.do(Close("charger", 1001, "the CSMS is away"))

    # Timers

    def _woke(self, key: str) -> None:
        core = self._core
        if key == _ASK_BOOT:
            self._ask_boot()
        elif key == _LEAVE:
            self._leave_or_stay()
        elif core.to_charger.woke(key):
            if core.to_charger.silent >= DEAF_AFTER:
                core.to_charger.silent = 0
                core.tell(
                    "charger_deaf", f"{DEAF_AFTER} commands in a row had no answer", "its connection is made anew"
                )
                core.do(Close("charger", 1001, "no answers"))
        elif core.to_csms.woke(key):
            if core.to_csms.silent >= SILENCES:
                core.to_csms.silent = 0
                core.tell("csms_silent", f"{SILENCES} messages in a row had no answer", "its connection is made anew")
                self._close_csms("no answers")
        else:
            parts = (
                self._intake, self._intake.replay, self._registration, self._limits, self._asking, core.refused_cards,
            )  # fmt: skip
            any(part.woke(key) for part in parts)

    def _ask_boot(self) -> None:
        """A charger that has booted long ago, toward somebody else, says nothing on its own (quirk 20)."""

        def unanswered(_loss: Loss) -> None:
            self._core.tell(
                "charger_not_booted", "this charger has not booted and does not do so when asked", "restart the charger"
            )

        if not self._registration.accepted:
            core = self._core
            core.call(core.to_charger, core.version.trigger_boot(), Priority.OWN, lambda answer: None, unanswered)

    def _leave_or_stay(self) -> None:
        if self._core.to_charger.connected:
            return
        if self._intake.replay.idle or not self._core.to_csms.connected:
            self._leave()
            if not self._intake.replay.idle:
                self._core.do(Dial(True))
        else:
            self._core.do(Wake(_LEAVE, STAY_S, "site"))

    # Database

    def _stored(self, event: Stored) -> None:
        self._core.failed_writes.written(self._core.now.monotonic_s)
        action = event.action
        if isinstance(action, Append):
            self._intake.appended(event)
            self._end_profiles(action)
        elif isinstance(action, AnswerStart):
            self._intake.start_answered(event)
            if action.by_csms:
                self._intake.replay.stored(event)
        elif isinstance(action, AnswerEntry):
            if action.done:
                self._intake.replay.stored(event)
            else:
                self._intake.entry_answered(event)
        elif isinstance(action, TakeNext | Fail):
            self._intake.replay.stored(event)
        elif isinstance(action, SaveAccepted):
            self._registration.kept()
        elif isinstance(event.result, Examined):
            self._asking.examined(event.result)
        else:
            self._commands.stored(event)

    def _end_profiles(self, action: Append) -> None:
        """A transaction's own profiles of the CSMS end with it (OCPP 1.6 section 3.13.1)."""
        if action.stops is not None and action.connector is not None:
            ids = self._profiles.of_transactions(action.connector)
            if ids:
                self._profiles.remove(ids)
                self._core.do(RemoveProfiles(None, ids))

    def _store_failed(self, event: StoreFailed) -> None:
        action = event.action
        self._core.failed_writes.failed(type(action).__name__, event.error, self._core.now.monotonic_s)
        self._intake.store_failed(event)
        if isinstance(action, TakeNext | Fail) or (isinstance(action, AnswerStart | AnswerEntry) and action.by_csms):
            self._intake.replay.store_failed(event)
        elif isinstance(action, SaveAccepted):
            self._registration.kept()
        elif isinstance(action, TakeConfiguration):
            self._asking.not_examined()
        elif isinstance(action, SaveProfile | RemoveProfiles):
            self._commands.store_failed(event)


def _away_since_s(oldest_ms: int | None, now: Now) -> float:
    """Since when the CSMS may have been away, on the monotonic clock: what waits longest for it tells how long.

    Where our time is a guess nobody knows how long ago that was: it counts from now.
    """
    known_ms = now.utc_ms - oldest_ms if oldest_ms is not None and now.sure else 0
    return now.monotonic_s - max(0, known_ms) / 1000


__all__ = ["Relay", "SetLimit", "Setting", "Side", "Snapshot"]
