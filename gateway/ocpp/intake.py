"""Pure: transaction messages of the charger - on disk before they are answered or forwarded (design rule 1).

One message at a time goes through: read the meter (starts), journal, then the CSMS or we answer. Periodic MeterValues
of a CSMS that is there are relayed without a commit, and journaled only where its answer does not come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from gateway.model import Reading, Severity
from gateway.ocpp import frames
from gateway.ocpp.actions import (
    AnswerEntry,
    AnswerStart,
    Append,
    Appended,
    Entry,
    Hurry,
    Stored,
    StoreFailed,
    TakeReading,
    Transaction,
    Unwake,
    Wake,
)
from gateway.ocpp.core import Asked, Core
from gateway.ocpp.frames import Frame
from gateway.ocpp.lines import Call, Loss, Priority
from gateway.ocpp.meaning import Kind, Message
from gateway.ocpp.offline import accepted
from gateway.ocpp.replay import RETRY_S, Replay

MAX_WAITING = 32
"""Messages that a charger may have waiting; the next one gets a CALLERROR, and the charger sends it again."""

THIN_AFTER_S = 3_600.0
QUARTER_MS = 900_000
PATIENT_AFTER_S = 2.0
"""Site seconds since its last message within which a charger is telling what it has kept: it is not held up."""

BEHIND_S = 2.0
"""Link seconds that a start with a good card waits for its turn behind what the CSMS has still to get."""


class Intake:
    """Owns what the charger waits for. `on_refused` is called when a running transaction is to end."""

    def __init__(self, core: Core, waiting: bool, on_refused: Callable[[], None]) -> None:
        self._core = core
        self._on_refused = on_refused
        self.replay = Replay(core, self._settled, waiting)
        self._queue: deque[Asked] = deque()
        self._current: Asked | None = None
        self._live: Asked | None = None
        self._timed_out = False
        self._patient = False
        """What is on its way to the disk may wait there."""
        self._idle_since_s = -PATIENT_AFTER_S
        self._waiting: dict[int, list[Asked]] = {}
        self._starts: dict[int, Message] = {}
        self._answering: set[int] = set()

    def resume(self, starts: list[Entry]) -> None:
        """Starts that a kill left without an answer: the CSMS has one CALL timeout, then we answer (rule R48)."""
        for entry in starts:
            message = self._starts[entry.entry] = self._core.version.read(frames.parse(entry.frame))
            if self._core.upstream is None or self._local_answer(message):
                self._answer_ourselves(entry.entry)
            else:
                self._core.do(Wake(_key(entry.entry), self._core.ocpp.call_timeout_s, "link"))

    def take(self, message: Message) -> None:
        """A transaction message has come."""
        asked = self._core.asked(message)
        self._watch_share(message)
        if len(self._queue) + sum(map(len, self._waiting.values())) >= MAX_WAITING:
            self._core.refuse(asked, "InternalError", "too many messages wait here; send it again")
            self._core.floods.overflow(self._core.now.monotonic_s)
            return
        self._queue.append(asked)
        if self._patient:
            self._core.do(Hurry())
        self._step()

    @property
    def busy(self) -> bool:
        """The charger waits for an answer."""
        return self._current is not None or bool(self._waiting)

    def _step(self) -> None:
        if self._current is not None or not self._queue:
            return
        asked = self._current = self._queue.popleft()
        if asked.message.kind is Kind.START:
            self._core.do(TakeReading(asked.message.connector))
        elif self._may_relay(asked.message):
            self._relay(asked)
        else:
            self._append(asked, None)

    def reading_taken(self, reading: Reading | None) -> None:
        """The register at the start is known, or is not to be had (design rule 12)."""
        if self._current is not None:
            self._append(self._current, reading)

    # Journal

    def _append(self, asked: Asked, reading: Reading | None, *, sent: bool = False) -> None:
        core, message = self._core, asked.message
        transaction = None if message.kind is Kind.START else core.transaction_of(message)
        local_id = transaction.local_id if transaction else message.transaction_id
        if message.kind is Kind.STOP and transaction is not None:
            core.ended.add(transaction.local_id)
        straight = core.csms_ready and self.replay.idle and not self._local_answer(message)
        ours = message.kind is not Kind.START and not straight
        thin = (
            message.kind is Kind.METER_VALUES
            and transaction is not None
            and core.upstream is not None
            and core.away_since_s is not None
            and core.now.monotonic_s - core.away_since_s >= THIN_AFTER_S
        )
        self._patient = ours and not sent and self._may_wait(message)
        core.do(
            Append(
                action=message.frame.action,
                connector=transaction.connector if transaction else message.connector,
                transaction_id=local_id if message.kind is not Kind.START else None,
                message_id=message.frame.message_id,
                frame=message.frame.text,
                content_key=message.content_key,
                reading=reading,
                at_ms=core.now.utc_ms,
                for_csms=core.upstream is not None,
                sent=sent or (core.csms_ready and self.replay.idle),
                stops=local_id if message.kind is Kind.STOP and transaction else None,
                answer=self._own_answer(message) if ours or sent else None,
                thin=thin,
                always_keep=message.always_keep,
                signed=message.signed,
                close_quarters=message.kind is not Kind.METER_VALUES,
                patient=self._patient,
            )
        )

    def _may_wait(self, message: Message) -> bool:
        """Whether it may share the commit of others: periodic values of a charger that sends nothing else just then."""
        periodic = message.kind is Kind.METER_VALUES and not message.always_keep and not message.signed
        alone = not self._queue and self._core.now.monotonic_s - self._idle_since_s >= PATIENT_AFTER_S
        return periodic and alone

    def _local_answer(self, message: Message) -> bool:
        """Whether the gateway answers even while the CSMS is there: the site's authority over starts."""
        return message.kind is Kind.START and not self._core.cards.asks_csms

    def _own_answer(self, message: Message) -> str:
        if message.kind is Kind.STOP:
            return self._core.version.stop_answer()
        return self._core.version.offline_answer(message) or "{}"

    def appended(self, event: Stored) -> None:
        """The message is on disk."""
        asked, self._current, self._live = self._current, None, None
        self._patient, self._idle_since_s = False, self._core.now.monotonic_s
        hold, self._timed_out = self._timed_out, False
        append, result = event.action, event.result
        assert isinstance(append, Append)
        assert isinstance(result, Appended)
        if asked is None:
            return
        if result.repeated:
            self._repeated(asked, result)
        elif result.entry is None:
            self._core.reply(asked, append.answer or "{}")
        else:
            self._kept(asked, append, result.entry, hold=hold)
        self._step()

    def _repeated(self, asked: Asked, result: Appended) -> None:
        if result.answer is not None:
            self._core.reply(asked, result.answer, "repeated: the same answer again")
        elif result.entry is not None:
            self._waiting.setdefault(result.entry, []).append(asked)
            self._core.do(Wake(_key(result.entry), self._core.ocpp.call_timeout_s, "link"))
            if not self._core.csms_ready:
                self._answer_ourselves(result.entry)

    def _kept(self, asked: Asked, append: Append, entry: int, *, hold: bool) -> None:
        core, message = self._core, asked.message
        if append.stops is not None and append.stops in core.transactions:
            core.remember([replace(core.transactions[append.stops], stopped=True)])
        if message.kind is Kind.START:
            self._starts[entry] = message
        if append.answer is not None:
            core.reply(asked, append.answer)
        else:
            self._waiting.setdefault(entry, []).append(asked)
            core.do(Wake(_key(entry), self._patience_s(append, message), "link"))
        if append.for_csms:
            self.replay.appended(self._entry(append, entry) if append.sent else None, hold=hold)
        if append.answer is None and (not core.csms_ready or self._local_answer(message)):
            self._answer_ourselves(entry)

    def _patience_s(self, append: Append, message: Message) -> float:
        """How long the CSMS has to answer (link time). Where its turn comes after others, a good card waits less: what
        was kept for days takes minutes, and a driver is there now."""
        core, now_ms, id_tag = self._core, self._core.now.utc_ms, message.id_tag or ""
        good = core.cards.vouched(id_tag, now_ms) and accepted(core.cards.decide(id_tag, now_ms))
        return BEHIND_S if not append.sent and good else core.ocpp.call_timeout_s

    def _entry(self, append: Append, entry: int) -> Entry:
        was_live = append.answer is not None and append.sent
        transaction = self._core.transactions.get(append.transaction_id) if append.transaction_id is not None else None
        csms_id = transaction.csms_id if transaction else None
        return Entry(entry, append.action, append.connector, csms_id, append.message_id, append.frame, 0, was_live)

    # Answers

    def _settled(self, entry: int, answer: Frame | None) -> None:
        """The CSMS has answered an entry, or cannot."""
        if answer is None or answer.kind == frames.CALL_ERROR:
            self._answer_ourselves(entry)
            return
        self._core.do(Unwake(_key(entry)))
        transaction = self._core.by_start(entry)
        for asked in self._waiting.pop(entry, []):
            if asked.message.kind is Kind.START:
                self._core.relay_answer(asked, answer, transaction.answer if transaction else None)
            else:
                self._core.relay_answer(asked, answer)

    def _answer_ourselves(self, entry: int) -> None:
        """The CSMS is away, silent, or cannot: the charger is never left waiting (rules R40, R47)."""
        start = self._starts.get(entry)
        if start is not None:
            if entry not in self._answering:
                self._answering.add(entry)
                self._core.do(self._start_by_us(entry, start))
            return
        for asked in self._waiting.get(entry, [])[:1]:
            self._core.do(AnswerEntry(entry, self._own_answer(asked.message), by_csms=False, done=False))

    def _start_by_us(self, entry: int, start: Message) -> AnswerStart:
        core, id_tag = self._core, start.id_tag or ""
        verdict = core.cards.decide(id_tag, core.now.utc_ms)
        if not accepted(verdict):
            core.card_refused(id_tag, verdict)
        answer = core.version.start_answer(verdict)
        return AnswerStart(
            entry, start.connector or 0, id_tag, answer.before, answer.after, None,
            accepted=accepted(verdict), by_csms=False, most_wh=self._most_wh(start),
        )  # fmt: skip

    def _most_wh(self, start: Message) -> int | None:
        """Where a card that nobody vouched for must end: `offline_max_wh` above the register at its start."""
        core, most_wh = self._core, self._core.charger.offline_max_wh
        if most_wh is None or core.cards.vouched(start.id_tag or "", core.now.utc_ms):
            return None
        return (start.register_wh or 0) + most_wh

    def _watch_share(self, message: Message) -> None:
        """The charger's register has come to where its transaction must end (rule R43)."""
        if message.kind is not Kind.METER_VALUES or message.register_wh is None:
            return
        transaction = self._core.transaction_of(message)
        if transaction is None or transaction.most_wh is None or transaction.to_stop:
            return
        if message.register_wh >= transaction.most_wh:
            self._core.remember([replace(transaction, to_stop=True)])
            self._core.tell(
                "offline_max_reached",
                f"transaction {transaction.local_id} of an unknown card has taken what it gets while the CSMS is away",
                "the charger is told to stop it until it does",
                Severity.WARNING,
                keep=True,
            )
            self._on_refused()

    def start_answered(self, event: Stored) -> None:
        """A start has its transaction id; the CSMS's answer reaches the charger through `_settled`."""
        action, transaction = event.action, event.result
        assert isinstance(action, AnswerStart)
        assert isinstance(transaction, Transaction)
        self._core.remember([transaction])
        if transaction.to_stop and not transaction.stopped:
            self._tell_refused(transaction)
            self._on_refused()
        self._answering.discard(action.entry)
        self._starts.pop(action.entry, None)
        if not action.by_csms:
            self._core.do(Unwake(_key(action.entry)))
            for asked in self._waiting.pop(action.entry, []):
                self._core.reply(asked, transaction.answer)

    def _tell_refused(self, transaction: Transaction) -> None:
        self._core.tell(
            "offline_start_refused",
            f"the CSMS refuses the card of transaction {transaction.local_id}, which began while it was away",
            "the charger is told to stop it until it does; what it took stands in the session",
            Severity.WARNING,
            keep=True,
        )

    def entry_answered(self, event: Stored) -> None:
        """Our own answer to a stop or to meter values is on disk."""
        action = event.action
        assert isinstance(action, AnswerEntry)
        if not action.by_csms:
            self._core.do(Unwake(_key(action.entry)))
            for asked in self._waiting.pop(action.entry, []):
                self._core.reply(asked, action.answer)

    def store_failed(self, event: StoreFailed) -> None:
        """The disk refuses: what is not on disk is not confirmed; the charger keeps it and sends it again."""
        if isinstance(event.action, Append):
            asked, self._current = self._current, None
            self._live, self._timed_out, self._patient = None, False, False
            if asked is not None:
                self._core.refuse(asked, "InternalError", "the gateway cannot write to its disk")
            self._step()
        elif isinstance(event.action, AnswerStart | AnswerEntry) and not event.action.by_csms:
            self._answering.discard(event.action.entry)
            for asked in self._waiting.pop(event.action.entry, []):
                self._core.refuse(asked, "InternalError", "the gateway cannot write to its disk")
            if event.action.entry in self._starts:  # the sessions of all chargers wait behind a start without an answer
                self._core.do(Wake(_key(event.action.entry), RETRY_S, "site"))

    # Relayed without a commit

    def _may_relay(self, message: Message) -> bool:
        if message.kind is not Kind.METER_VALUES or message.signed:
            return False
        transaction = self._core.transaction_of(message)
        known = transaction is None or transaction.csms_id is not None
        return self._core.csms_ready and self.replay.idle and known

    def _relay(self, asked: Asked) -> None:
        core, message = self._core, asked.message
        transaction = core.transaction_of(message)
        text, rule = core.for_csms(message, transaction.csms_id if transaction else None)
        self._live = asked
        core.to_csms.submit(
            Call(message.frame.message_id, text, rule, Priority.RELAYED, self._relayed, self._not_relayed)
        )

    def _relayed(self, answer: Frame) -> None:
        asked, self._live, self._current = self._live, None, None
        if asked is not None:
            if answer.kind == frames.CALL_ERROR:
                self._core.drop("csms", answer.text, f"the CSMS refused meter values: {answer.error}")
                self._core.reply(asked, self._own_answer(asked.message))
            else:
                self._core.relay_answer(asked, answer)
        self._step()

    def _not_relayed(self, loss: Loss) -> None:
        """No answer came: now it must be kept, as one that was perhaps received."""
        if self._live is not None:
            self._timed_out = loss is Loss.TIMEOUT
            self._append(self._live, None, sent=loss is not Loss.FULL)

    # Events

    def csms_gone(self) -> None:
        """Nobody answers any more but us."""
        for entry in list(self._waiting):
            self._answer_ourselves(entry)

    def woke(self, key: str) -> bool:
        """The CSMS had its time; True where the timer is ours."""
        if not key.startswith("answer "):
            return False
        self._answer_ourselves(int(key.removeprefix("answer ")))
        return True


def _key(entry: int) -> str:
    return f"answer {entry}"
