"""Pure: what happens to the relay of one charger (events), and what it wants done (actions).

The edge (`link.py`) performs actions in order. A store action is one transaction of the database; when it is on disk it
comes back as `Stored`. A timeout is a `Wake` that comes back as `Woke`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.model import Event, LimitOutcome, Reading
from gateway.ocpp.frames import Frame
from gateway.ocpp.meaning import ListUpdate, Tag
from gateway.records.doctor import Setting

Side = Literal["charger", "csms"]
Scale = Literal["link", "site"]


@dataclass(frozen=True, slots=True)
class Now:
    """Site time: the wall clock, and the monotonic clock in seconds. `sure`: the wall clock is no guess."""

    utc_ms: int
    monotonic_s: float
    sure: bool = True


# Events


@dataclass(frozen=True, slots=True)
class Opened:
    """A side is connected. A charger that connects again replaces its older connection (rule R19)."""

    side: Side


@dataclass(frozen=True, slots=True)
class Closed:
    """A side is gone."""

    side: Side
    why: str


@dataclass(frozen=True, slots=True)
class Received:
    """A text from a side."""

    side: Side
    text: str


@dataclass(frozen=True, slots=True)
class Woke:
    """A timer has run out."""

    key: str


@dataclass(frozen=True, slots=True)
class ReadingTaken:
    """The connector's meter was read for a start, or could not be."""

    reading: Reading | None


@dataclass(frozen=True, slots=True)
class SetLimit:
    """The load manager wants a limit in force; `ticket` comes back in LimitDone."""

    ticket: int
    connector: int
    limit_ma: int
    duration_s: int
    raising: bool


# Actions at the sides


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text. `rule` says what was done to it, for the trace (I10)."""

    side: Side
    text: str
    rule: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close a side."""

    side: Side
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Be connected to the CSMS, now and until `Close`; `wanted` False: stay away until the next Dial."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class Wake:
    """Come back with `Woke(key)`; a second one with the same key replaces the first."""

    key: str
    seconds: float
    scale: Scale


@dataclass(frozen=True, slots=True)
class Unwake:
    """Forget the timer."""

    key: str


@dataclass(frozen=True, slots=True)
class TakeReading:
    """Read the connector's meter (design rule 12)."""

    connector: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the operator."""

    event: Event


@dataclass(frozen=True, slots=True)
class Trace:
    """A frame that ended here, and why."""

    side: Side
    text: str
    rule: str


@dataclass(frozen=True, slots=True)
class LimitDone:
    """What became of a SetLimit."""

    ticket: int
    outcome: LimitOutcome


@dataclass(frozen=True, slots=True)
class Hurry:
    """Somebody waits behind a patient Append: it gets a commit of its own."""


# Actions on the database


@dataclass(frozen=True, slots=True)
class Append:
    """Journal a transaction message. `told` False: there is no CSMS to tell. `thin`: count it, keep one a quarter hour.

    `patient`: it may share the commit of others (design rule 1). Stored with an Appended.
    """

    action: str
    connector: int | None
    transaction_id: int | None
    message_id: str
    frame: str
    content_key: str | None
    reading: Reading | None
    at_ms: int
    for_csms: bool
    sent: bool = False
    stops: int | None = None
    answer: str | None = None
    thin: bool = False
    always_keep: bool = False
    signed: bool = False
    close_quarters: bool = False
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Appended:
    """The journal entry of an Append: None where it was thinned. A repeated message has its first entry and answer."""

    entry: int | None
    repeated: bool = False
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerStart:
    """Give a start its transaction id and its answer. `by_csms`: and take it out of the queue.

    `accepted`: whether the answer lets a car charge. `ends`: if the charger was told otherwise before, it is to end the
    transaction (rule R43). `most_wh`: the charger's register at which it is to end. Stored with a Transaction.
    """

    entry: int
    connector: int
    id_tag: str
    before: str
    after: str
    csms_id: int | None
    accepted: bool
    by_csms: bool
    ends: bool = False
    most_wh: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerEntry:
    """Keep the answer that the charger is about to get; `done`: the CSMS gave it, and the queue is rid of the entry."""

    entry: int
    answer: str
    by_csms: bool
    done: bool


@dataclass(frozen=True, slots=True)
class Fail:
    """The CSMS could not process an entry; `park`: it is not tried again. Stored with True where it is parked now."""

    entry: int
    error: str
    is_start: bool
    park: bool = False


@dataclass(frozen=True, slots=True)
class TakeNext:
    """The oldest entry for the CSMS, marked as sent. Stored with an Entry, or None where the queue is empty."""


@dataclass(frozen=True, slots=True)
class SaveBoot:
    """Keep the newest BootNotification."""

    payload: str
    at_ms: int
    told: bool


@dataclass(frozen=True, slots=True)
class SaveBootTold:
    """The CSMS knows the newest boot."""


@dataclass(frozen=True, slots=True)
class SaveAccepted:
    """The identity was accepted."""

    by: str
    at_ms: int
    heartbeat_s: int | None


@dataclass(frozen=True, slots=True)
class SaveStatus:
    """Keep a connector's newest status. `at_ms` is when it came."""

    connector: int
    payload: str
    at_ms: int
    told: bool


@dataclass(frozen=True, slots=True)
class LearnTag:
    """Cache what the CSMS said of a card."""

    id_tag: str
    tag: Tag
    at_ms: int


@dataclass(frozen=True, slots=True)
class ForgetCache:
    """ClearCache."""


@dataclass(frozen=True, slots=True)
class SaveList:
    """SendLocalList."""

    update: ListUpdate
    at_ms: int


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A charging profile of the CSMS as it is kept."""

    connector: int
    profile_id: int
    purpose: str
    stack_level: int
    text: str
    received_ms: int


@dataclass(frozen=True, slots=True)
class SaveProfile:
    """Keep a charging profile of the CSMS in place of others; then answer `frame`, where there is one."""

    frame: Frame | None
    profile: StoredProfile
    replaced: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RemoveProfiles:
    """Remove charging profiles of the CSMS; then answer `frame`, where there is one."""

    frame: Frame | None
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SaveFallbacks:
    """The TxDefaultProfiles that the charger confirmed, by connector."""

    fallbacks: dict[int, str]


@dataclass(frozen=True, slots=True)
class SaveConfiguration:
    """The configuration keys that were written, and what came of each."""

    configuration: dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class TakeConfiguration:
    """The signing doctor judges the keys that the charger reports, and pins its meters' keys. Stored with Examined."""

    settings: Mapping[str, Setting]
    connectors: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Examined:
    """What the signing doctor wants written into the charger, and told."""

    to_set: Mapping[str, str]
    events: Sequence[Event]


StoreAction = (
    Append
    | AnswerStart
    | AnswerEntry
    | Fail
    | TakeNext
    | SaveBoot
    | SaveBootTold
    | SaveAccepted
    | SaveStatus
    | LearnTag
    | ForgetCache
    | SaveList
    | SaveProfile
    | RemoveProfiles
    | SaveFallbacks
    | SaveConfiguration
    | TakeConfiguration
)
Action = Send | Close | Dial | Wake | Unwake | TakeReading | Report | Trace | LimitDone | Hurry | StoreAction


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal entry on its way to the CSMS. `csms_id`: how the CSMS knows its transaction, None where by our id."""

    entry: int
    action: str
    connector: int | None
    csms_id: int | None
    message_id: str
    frame: str
    attempts: int
    sent_before: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction of the charger; `csms_id` None until the CSMS has answered its start.

    `accepted`: the charger was told that a car may charge. `to_stop`: the charger must end it, because the
    CSMS refused it after that or it has taken its share, up to the register `most_wh` (rule R43).
    `answer`: the payload that its start has, known only when the start was answered just now.
    """

    local_id: int
    csms_id: int | None
    connector: int
    id_tag: str
    start_entry: int
    start_ms: int
    stopped: bool = False
    accepted: bool = True
    most_wh: int | None = None
    to_stop: bool = False
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A store action is on disk; `result` is what its docstring says."""

    action: StoreAction
    result: object = None


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """A store action could not be written; nothing of it happened."""

    action: StoreAction
    error: str


RelayEvent = Opened | Closed | Received | Woke | ReadingTaken | SetLimit | Stored | StoreFailed
