"""Pure: the journal's way to the CSMS - one entry at a time, in order, until each is answered (rules R29-R33, R10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.model import Severity
from gateway.ocpp import frames
from gateway.ocpp.actions import AnswerEntry, AnswerStart, Entry, Fail, Stored, StoreFailed, TakeNext, Unwake, Wake
from gateway.ocpp.core import RELAYED, Core, resend_of
from gateway.ocpp.frames import Frame
from gateway.ocpp.lines import Call, Loss, Priority
from gateway.ocpp.meaning import Kind
from gateway.ocpp.offline import accepted

RETRY_S = 60
"""Site seconds before a resend, times the sends so far (OCPP 1.6 TransactionMessageRetryInterval)."""

SILENCES = 2
"""CALLs in a row without an answer after which the CSMS's connection is made anew."""

MAX_CUTS = 5
"""Connections in a row that the CSMS loses while the same entry waits for its answer, before it is a dead letter. From
the second one on the entry waits before it goes again: the connection is good for all else, and a CSMS that restarts
has time to."""

_RETRY = "retry journal"


class Replay:
    """`on_settled(entry, answer)` hears of each answer; with None the CSMS could not, or cannot now."""

    def __init__(self, core: Core, on_settled: Callable[[int, Frame | None], None], waiting: bool) -> None:
        self._core = core
        self._on_settled = on_settled
        self._head: Entry | None = None
        self._more = waiting
        self._taking = False
        self._sending = False
        self._holding = False
        self._call: Call | None = None
        self._cuts = 0
        self._parking: Fail | None = None
        self._settling: Frame | None = None
        """The answer that is being kept, or waits for the disk: the entry is not sent again."""

    @property
    def idle(self) -> bool:
        """The CSMS has everything: what comes now can go straight to it."""
        return self._head is None and not self._more and not self._taking

    def appended(self, entry: Entry | None, *, hold: bool = False) -> None:
        """The journal has grown; `entry` where it may be sent at once, being alone and marked as sent.

        `hold`: its first send has just timed out, so that the resend waits its turn (rule R10).
        """
        if entry is not None and self.idle:
            self._head = entry
            if hold:
                self._hold()
        else:
            self._more = True
        self.pump()

    def _hold(self) -> None:
        if self._head is not None and not self._sending and not self._holding:
            self._holding = True
            self._core.do(Wake(_RETRY, RETRY_S * max(1, self._head.attempts, self._cuts - 1), "site"))

    def pump(self) -> None:
        """Send the next entry where the CSMS is ready for it."""
        if not self._core.csms_ready or self._sending or self._holding or self._settling is not None:
            return
        if self._parking is not None:
            return
        if self._head is not None:
            self._send(self._head)
        elif self._more and not self._taking and not self._core.stopping:
            self._taking = True
            self._more = False
            self._core.do(TakeNext())

    def stored(self, event: Stored) -> None:
        """A TakeNext, an answer or a failure is on disk."""
        if isinstance(event.action, TakeNext):
            self._taking = False
            self._head = event.result if isinstance(event.result, Entry) else None
            self._more = self._more or self._head is not None
        elif isinstance(event.action, Fail):
            self._after_failure(event.action, parked=bool(event.result))
        elif self._head is not None and event.action.entry == self._head.entry:  # type: ignore[union-attr]
            answer, self._settling, self._head = self._settling, None, None
            self._on_settled(event.action.entry, answer)  # type: ignore[union-attr]
        self.pump()

    def store_failed(self, event: StoreFailed) -> None:
        """The disk refused: it is tried again, and an answer that could not be kept is not asked for twice."""
        if isinstance(event.action, TakeNext):
            self._taking, self._more = False, True
        self._holding = True
        self._core.do(Wake(_RETRY, RETRY_S, "site"))

    def woke(self, key: str) -> bool:
        """The wait before a resend is over."""
        if key != _RETRY:
            return False
        self._holding = False
        if self._settling is not None:
            self._answered(self._settling)
        elif self._parking is not None:
            self._core.do(self._parking)
        self.pump()
        return True

    def late(self, frame: Frame) -> bool:
        """An answer that no open call waits for: it completes the entry that is due (rule R10)."""
        head = self._head
        if (
            head is None
            or self._parking is not None
            or not head.sent_before
            or head.message_id != frame.message_id
            or self._settling is not None
        ):
            return False
        self._core.to_csms.withdraw(head.message_id)
        if self._holding:
            self._holding = False
            self._core.do(Unwake(_RETRY))
        self._answered(frame)
        return True

    def _send(self, head: Entry) -> None:
        message = self._core.version.read(frames.parse(head.frame))
        text, rule = self._core.for_csms(message, head.csms_id)
        if rule == RELAYED:
            rule = resend_of(head)
        self._sending = True
        self._head = replace(head, sent_before=True)
        self._call = Call(head.message_id, text, rule, Priority.JOURNAL, self._answered, self._lost)
        self._core.to_csms.submit(self._call)

    def _answered(self, frame: Frame) -> None:
        self._sending = False
        head = self._head
        if head is None:
            return
        self._settling, self._cuts = frame, 0
        message = self._core.version.read(frames.parse(head.frame))
        if frame.kind == frames.CALL_ERROR:
            self._core.do(Fail(head.entry, frame.error, message.kind is Kind.START))
            return
        self._core.learn(message.id_tag, frame)
        if message.kind is Kind.START:
            self._core.do(self._start_answer(head, frame, message.id_tag or ""))
        else:
            self._core.do(AnswerEntry(head.entry, frame.payload_text(), by_csms=True, done=True))

    def _start_answer(self, head: Entry, frame: Frame, id_tag: str) -> AnswerStart:
        said = self._core.version.read_tag(frame)
        cards, now_ms = self._core.cards, self._core.now.utc_ms
        verdict = cards.combine(id_tag, said, now_ms) if said else cards.decide(id_tag, now_ms)
        refused = said is not None and cards.asks_csms and not accepted(verdict)
        answer = self._core.version.read_start_answer(frame, verdict)
        if answer.csms_id is None:
            self._core.tell(
                "csms_gave_no_transaction_id",
                f"the CSMS answered start {head.message_id} without a transactionId",
                "the charger got a local id; tell the operator of the CSMS",
                Severity.WARNING,
            )
        return AnswerStart(
            head.entry, head.connector or 0, id_tag, answer.before, answer.after, answer.csms_id,
            accepted=accepted(verdict), by_csms=True, ends=refused,
        )  # fmt: skip

    def _lost(self, loss: Loss) -> None:
        self._sending = False
        head = self._head
        if head is None:
            return
        if loss is Loss.TIMEOUT:
            self._cuts = 0
            self._hold()
        elif loss is Loss.GONE and self._core.to_csms.cut is self._call:
            self._cut(head)
        self._on_settled(head.entry, None)

    def _cut(self, head: Entry) -> None:
        """The connection went while the CSMS had this entry and had not answered: its link, or the entry itself.

        Nothing else of the journal goes before it is answered, so a run of these is all about this one entry.
        """
        if self._core.closing_csms or self._core.stopping:
            return
        self._cuts += 1
        if self._cuts >= MAX_CUTS:
            is_start = self._core.version.read(frames.parse(head.frame)).kind is Kind.START
            self._parking = Fail(head.entry, f"connection lost {self._cuts} times", is_start, park=True)
            self._core.do(self._parking)
        elif self._cuts > 1:
            self._hold()

    def csms_closed(self) -> None:
        """A connection that goes without the entry on its way goes for reasons of its own: the count begins anew."""
        if self._core.to_csms.cut is None or self._core.to_csms.cut is not self._call:
            self._cuts = 0

    def _after_failure(self, failure: Fail, *, parked: bool) -> None:
        self._settling = self._parking = None
        head = self._head
        if head is None:
            return
        head = self._head = replace(head, attempts=head.attempts + 1)
        if parked:
            self._head = None
            what = f"{head.action} (journal entry {head.entry})"
            self._core.tell(
                "dead_letter",
                f"the connection to the CSMS ended {MAX_CUTS} times in a row when it got {what}, before it answered"
                if failure.park
                else f"the CSMS refused {what} {head.attempts} times: {failure.error}",
                "it is parked and shown by status; settle it with the operator of the CSMS",
                Severity.ERROR,
                keep=True,
            )
            self._cuts = 0
            if failure.is_start:
                self._give_up(head.entry)
        else:
            self._hold()
        self._on_settled(head.entry, None)

    def _give_up(self, start_entry: int) -> None:
        for transaction in list(self._core.transactions.values()):
            if transaction.start_entry == start_entry and transaction.csms_id is None:
                self._core.remember([replace(transaction, csms_id=-1)])
