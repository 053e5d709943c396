"""Pure: what the parts of one charger's relay share - who it is, the two lines, its transactions, what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway.model import Event, Severity
from gateway.ocpp import frames
from gateway.ocpp.actions import Action, Entry, LearnTag, Now, Report, Send, Trace, Transaction
from gateway.ocpp.box_clock import BoxClock
from gateway.ocpp.dialect import Dialect
from gateway.ocpp.failed_writes import FailedWrites
from gateway.ocpp.floods import Floods
from gateway.ocpp.frames import Frame
from gateway.ocpp.lines import Call, CallLine, Loss, Priority
from gateway.ocpp.meaning import Message, Tag, Version
from gateway.ocpp.offline import Cards
from gateway.ocpp.refused_cards import RefusedCards
from gateway.site import Charger, Ocpp, Upstream

RELAYED = "relayed unchanged"
MAPPED = "transaction id mapped"
ANSWERED = "answered by the gateway"
OWN = "sent by the gateway"

MAX_ID_TAG = 255
"""20 characters by the standard, and chargers exceed it (quirk 32); a longer one is judged, but not learned (I12)."""

MAX_TRANSACTIONS = 200
"""Newest transactions in memory, beside the running ones; entries that wait carry their ids themselves (I12)."""


@dataclass(slots=True)
class Asked:
    """A CALL of the charger that waits for its answer. One of an older connection is not answered any more (R19)."""

    message: Message
    generation: int
    answered: bool = False


@dataclass
class Core:
    """Shared by the parts of a relay; every part appends to `actions`."""

    charger: Charger
    upstream: Upstream | None
    ocpp: Ocpp
    version: Version
    dialect: Dialect
    cards: Cards
    new_id: Callable[[], str]
    now: Now
    actions: list[Action] = field(default_factory=list)
    generation: int = 0
    """Counts the connections of the charger; `csms_generation` those of the CSMS."""

    csms_generation: int = 0
    transactions: dict[int, Transaction] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """Local ids of transactions whose stop has been seen, on disk or not: no current flows for them any more."""

    stopping: bool = False
    csms_ready: bool = False
    """The CSMS is connected and has accepted this charger: it answers, and the journal drains."""

    away_since_s: float | None = None
    """Since when the CSMS cannot be told: site seconds by the monotonic clock, which no step of ours moves."""

    closing_csms: bool = False
    """We are closing its connection ourselves."""

    def __post_init__(self) -> None:
        self.box_clock = BoxClock()
        self.to_charger = CallLine("charger", self.ocpp.call_timeout_s, self.do)
        self.to_csms = CallLine("csms", self.ocpp.call_timeout_s, self.do)
        self.floods = Floods(self.charger.id, self.do)
        self.refused_cards = RefusedCards(self.charger.id, self.do)
        self.failed_writes = FailedWrites(self.charger.id, self.do)

    def do(self, action: Action) -> None:
        """Have an action performed, after those before it."""
        self.actions.append(action)

    def tell(
        self, kind: str, cause: str, next_step: str = "", severity: Severity = Severity.INFO, *, keep: bool = False
    ) -> None:
        """An event about this charger (I11)."""
        self.report(Event(kind, self.charger.id, cause, next_step, severity, {}, keep))

    def report(self, event: Event) -> None:
        """An event that is made already."""
        self.do(Report(event))

    def card_refused(self, id_tag: str, verdict: Tag) -> None:
        """The gateway itself refuses a card."""
        self.refused_cards.refuse(id_tag, verdict, self.now.monotonic_s)

    # Answers to the charger

    def asked(self, message: Message) -> Asked:
        """Remember that the charger waits for an answer."""
        return Asked(message, self.generation)

    def reply(self, asked: Asked, payload: str, rule: str = ANSWERED) -> None:
        """Answer a CALL of the charger, once, and only on the connection that asked."""
        self._answer(asked, frames.result(asked.message.frame.message_id, payload), rule)

    def relay_answer(self, asked: Asked, answer: Frame, payload: str | None = None) -> None:
        """Pass the CSMS's answer on as it came; `payload` where it says something else."""
        if answer.message_id != asked.message.frame.message_id:
            self.reply(asked, answer.payload_text() if payload is None else payload, RELAYED)
        elif payload is None or payload == answer.payload_text():
            self._answer(asked, answer.text, RELAYED)
        else:
            text = frames.replace(answer.text, [(answer.payload_span, payload)])
            self._answer(asked, text, MAPPED)

    def refuse(self, asked: Asked, code: str, reason: str) -> None:
        """Answer a CALL of the charger with a CALLERROR."""
        self._answer(asked, frames.error(asked.message.frame.message_id, code, reason), ANSWERED)

    def _answer(self, asked: Asked, text: str, rule: str) -> None:
        if asked.answered:
            return
        asked.answered = True
        if asked.generation == self.generation and self.to_charger.connected:
            self.do(Send("charger", text, rule))

    def drop(self, side: str, text: str, why: str) -> None:
        """A frame ends here."""
        self.do(Trace("charger" if side == "charger" else "csms", text, f"not relayed: {why}"))

    # Calls of our own

    def call(
        self,
        line: CallLine,
        request: tuple[str, str],
        priority: Priority,
        on_answer: Callable[[Frame], None],
        on_lost: Callable[[Loss], None],
        *,
        slot: str | None = None,
        needs_acceptance: bool = True,
    ) -> None:
        """Ask a peer something of our own; ids are UUIDs, 36 characters (rule R4)."""
        message_id = self.new_id()
        text = frames.call(message_id, *request)
        line.submit(Call(message_id, text, OWN, priority, on_answer, on_lost, slot, needs_acceptance))

    def learn(self, id_tag: str | None, answer: Frame) -> None:
        """Cache what the CSMS says of a card (rule R42)."""
        tag = self.version.read_tag(answer)
        if tag is not None and id_tag and len(id_tag) <= MAX_ID_TAG and self.cards.learn(id_tag, tag):
            self.do(LearnTag(id_tag, tag, self.now.utc_ms))

    # Transactions

    def running(self, connector: int | None) -> Transaction | None:
        """The newest running transaction of a connector; of the only connector where the message names none."""
        for transaction in reversed(self.transactions.values()):
            if not transaction.stopped and transaction.accepted and connector in (None, transaction.connector):
                return transaction
        return None

    def charging(self, connector: int) -> Transaction | None:
        """The running transaction, unless its stop has been seen and only waits for the disk."""
        running = self.running(connector)
        return None if running is None or running.local_id in self.ended else running

    def transaction_of(self, message: Message) -> Transaction | None:
        """The transaction that a message belongs to: by its id, else the one running at its connector (quirk 26)."""
        if message.transaction_id is not None and message.transaction_id in self.transactions:
            return self.transactions[message.transaction_id]
        if message.transaction_id in (None, 0, -1) and message.connector is not None:
            return self.running(message.connector)
        only = len(self.charger.connectors) == 1
        return self.running(None) if message.transaction_id in (0, -1) and only else None

    def by_start(self, entry: int) -> Transaction | None:
        """The transaction that a journal entry began."""
        return next((one for one in reversed(self.transactions.values()) if one.start_entry == entry), None)

    def by_csms_id(self, csms_id: int) -> Transaction | None:
        """The transaction that the CSMS means: the newest running one with its id, else the newest."""
        matches = [one for one in self.transactions.values() if one.csms_id == csms_id]
        return next((one for one in reversed(matches) if not one.stopped), matches[-1] if matches else None)

    def remember(self, transactions: Iterable[Transaction]) -> None:
        """Take transactions as the database has them."""
        for new in transactions:
            self.transactions[new.local_id] = new
        over = len(self.transactions) - MAX_TRANSACTIONS
        if over > 0:
            running = {one: self.running(one) for one in {old.connector for old in self.transactions.values()}}
            for old in list(self.transactions.values())[:over]:
                if old is not running[old.connector]:
                    del self.transactions[old.local_id]
                    self.ended.discard(old.local_id)

    def for_csms(self, message: Message, csms_id: int | None) -> tuple[str, str]:
        """The text of a message with the id that the CSMS knows, and the rule for the trace."""
        if csms_id is None or message.transaction_span is None or message.transaction_id == csms_id:
            return message.frame.text, RELAYED
        return frames.replace(message.frame.text, [(message.transaction_span, str(csms_id))]), MAPPED


def resend_of(entry: Entry) -> str:
    """How the trace names a repeated sending: the CSMS may have processed the first one (rule R35)."""
    return "resent, ambiguous" if entry.sent_before else RELAYED
