"""The journal: every transaction message of every charger, before it is answered or forwarded (design rule 1).

An entry is written once and then only its answer and its way to the CSMS change. States: `local` (nobody to tell),
`pending` (the CSMS must still get it), `sent` (it was sent at least once and is not answered: a resend is ambiguous),
`done` (the CSMS answered), `parked` (the CSMS refused it for good; it is shown and never deleted).

Who reads it in order (the sessions) uses `after`: a start appears only once it has its answer, and with it the
transaction id that all later messages of the transaction carry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.model import Connection

State = Literal["local", "pending", "sent", "done", "parked"]
AnsweredBy = Literal["csms", "gateway"]

START = "StartTransaction"
MAX_ENTRY = 2**63 - 1
AT_ONCE = 500
"""Entries in memory at a time while their times are moved."""

OPEN = "('pending', 'sent')"
WAITING = f"SELECT count(*), min(entry) FROM journal WHERE charger = ? AND state IN {OPEN}"
"""Read from the index alone: it is asked every second while a long queue drains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """One entry. `frame` and `answer` are texts as they were on the wire (frame: whole CALL; answer: the payload).

    `transaction_id` is the id toward the charger, resolved (a MeterValues that says 0 has its connector's transaction);
    None only where the message belongs to none that we know. `reading` is the JSON of the Reading that was taken when a
    start was handled, None where there was none. `content_key` is equal for two messages that say the same (rule R35).
    """

    entry: int
    charger: str
    at_ms: int
    ts_q: str
    boot: int
    action: str
    connector: int | None
    transaction_id: int | None
    message_id: str
    frame: str
    content_key: str | None
    reading: str | None
    answer: str | None
    answered_by: str | None
    state: str
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """What is known of a message when it is written."""

    charger: str
    at_ms: int
    ts_q: str
    boot: int
    action: str
    connector: int | None
    transaction_id: int | None
    message_id: str
    frame: str
    content_key: str | None = None
    reading: str | None = None
    answer: str | None = None
    answered_by: AnsweredBy | None = None
    state: State = "pending"
    signed: bool = False
    """Meter values that carry a signed text: they are never pruned."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much of one charger the CSMS has not got; `oldest_ms` is None where nothing waits."""

    queue: int
    parked: int
    oldest_ms: int | None


_COLUMNS = (
    "entry, charger, at_ms, ts_q, boot, action, connector, transaction_id, message_id, frame, content_key, reading, "
    "answer, answered_by, state, attempts, error"
)
_NAMES = tuple(_COLUMNS.split(", "))


def newest_ms(db: Connection) -> int:
    """When the newest message arrived; 0: none has."""
    row = db.execute("SELECT at_ms FROM journal ORDER BY entry DESC LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def oldest_ms(db: Connection) -> int:
    """When the oldest message arrived; 0: none has."""
    row = db.execute("SELECT at_ms FROM journal ORDER BY entry LIMIT 1").fetchone()
    return int(row[0]) if row else 0


def _row(values: Sequence[object]) -> JournalRow:
    return JournalRow(**dict(zip(_NAMES, values, strict=True)))  # type: ignore[arg-type]


def append(db: Connection, new: NewEntry) -> int:
    """Write one entry and return its number. Call it inside a transaction of the database's writer."""
    row = db.execute(
        "INSERT INTO journal (charger, at_ms, ts_q, boot, action, connector, transaction_id, message_id, frame, "
        "content_key, reading, answer, answered_by, state, signed) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "RETURNING entry",
        (
            new.charger, new.at_ms, new.ts_q, new.boot, new.action, new.connector, new.transaction_id, new.message_id,
            new.frame, new.content_key, new.reading, new.answer, new.answered_by, new.state,
            int(new.signed),
        ),
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


def get(db: Connection, entry: int) -> JournalRow | None:
    """The entry with this number."""
    row = db.execute(f"SELECT {_COLUMNS} FROM journal WHERE entry = ?", (entry,)).fetchone()
    return _row(row) if row else None


def after(db: Connection, entry: int, limit: int) -> list[JournalRow]:
    """Entries behind `entry` in order, up to (and without) the first start that has no answer yet.

    A start is answered after at most one CALL timeout: until then nobody knows its transaction id.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE entry > ? AND entry < ifnull((SELECT min(entry) FROM journal "
        f"WHERE entry > ? AND action = 'StartTransaction' AND answer IS NULL), {MAX_ENTRY}) "
        "ORDER BY entry LIMIT ?",
        (entry, entry, limit),
    )
    return [_row(row) for row in rows]


def find_same(db: Connection, charger: str, message_id: str, frame: str, content_key: str | None) -> JournalRow | None:
    """The entry that a repeated message repeats (rule R35): the same bytes, or a start or stop with the same content.

    The message id alone proves nothing: chargers count it from 1 again after a reboot.
    """
    row = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE charger = ? AND message_id = ? AND frame = ? "
        "ORDER BY entry DESC LIMIT 1",
        (charger, message_id, frame),
    ).fetchone()
    if row is None and content_key is not None:
        row = db.execute(
            f"SELECT {_COLUMNS} FROM journal WHERE charger = ? AND content_key = ? ORDER BY entry DESC LIMIT 1",
            (charger, content_key),
        ).fetchone()
    return _row(row) if row else None


def pending(db: Connection, charger: str, limit: int = 100) -> list[JournalRow]:
    """What the CSMS must still get of this charger, oldest first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE charger = ? AND state IN {OPEN} ORDER BY entry LIMIT ?", (charger, limit)
    )
    return [_row(row) for row in rows]


def unanswered_starts(db: Connection, charger: str) -> list[JournalRow]:
    """Starts that the charger has no answer for: what a kill left behind."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE charger = ? AND action = ? AND answer IS NULL ORDER BY entry",
        (charger, START),
    )
    return [_row(row) for row in rows]


def orphaned_starts(db: Connection, chargers: Collection[str]) -> list[JournalRow]:
    """Starts without an answer of chargers other than these."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM journal WHERE action = ? AND answer IS NULL ORDER BY entry", (START,))
    return [row for row in map(_row, rows) if row.charger not in chargers]


def bounds_of(db: Connection, charger: str, transaction_id: int) -> list[JournalRow]:
    """The start and the stops of one transaction, in order.

    Its meter values are in no index of transactions: each would cost a page more when it is written.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE charger = ? AND transaction_id = ? AND action <> 'MeterValues' "
        "ORDER BY entry",
        (charger, transaction_id),
    )
    return [_row(row) for row in rows]


def meter_values_between(db: Connection, charger: str, after: int, before: int) -> list[JournalRow]:
    """The meter values of a charger between two entries, newest first. It looks at every entry in between."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE entry > ? AND entry < ? AND +charger = ? AND action = 'MeterValues' "
        "ORDER BY entry DESC",
        (after, before, charger),
    )
    return [_row(row) for row in rows]


def mark_sent(db: Connection, entry: int) -> None:
    """It is about to be sent to the CSMS: from now on a resend is ambiguous (rule R35)."""
    db.execute("UPDATE journal SET state = 'sent' WHERE entry = ? AND state = 'pending'", (entry,))


def restamp(db: Connection, from_ms: int, move: Callable[[JournalRow], tuple[int, str, str | None]]) -> None:
    """Move the times of the entries since `from_ms`, and those of the transactions that they began.

    `move` gives (at_ms, ts_q, reading). Times rise with the entries: what lies before an older one is not looked at.
    """
    for row in _newest_first(db, from_ms):
        at_ms, ts_q, reading = move(row)
        db.execute(
            "UPDATE journal SET at_ms = ?, ts_q = ?, reading = ? WHERE entry = ?", (at_ms, ts_q, reading, row.entry)
        )
        if row.action == START:
            db.execute(
                "UPDATE transaction_map SET start_ms = ? WHERE charger = ? AND start_entry = ?",
                (at_ms, row.charger, row.entry),
            )


def _newest_first(db: Connection, from_ms: int) -> Iterator[JournalRow]:
    """The entries since an instant, a few at a time."""
    sql = f"SELECT {_COLUMNS} FROM journal WHERE entry < ? ORDER BY entry DESC LIMIT {AT_ONCE}"
    before = MAX_ENTRY
    while rows := [_row(row) for row in db.execute(sql, (before,))]:
        for row in rows:
            if row.at_ms < from_ms:
                return
            yield row
        before = rows[-1].entry


def answered(db: Connection, entry: int, answer: str, by: AnsweredBy, *, transaction_id: int | None = None) -> None:
    """What the charger is about to be told; a start gets its transaction id with it. Never overwritten (rule R35)."""
    db.execute(
        "UPDATE journal SET answer = ?, answered_by = ?, transaction_id = ifnull(?, transaction_id) "
        "WHERE entry = ? AND answer IS NULL",
        (answer, by, transaction_id, entry),
    )


def done(db: Connection, entry: int) -> None:
    """The CSMS has answered: it leaves the queue, whenever the answer came (rule R10)."""
    db.execute("UPDATE journal SET state = 'done', error = NULL WHERE entry = ? AND state <> 'local'", (entry,))


def failed(db: Connection, entry: int, error: str, max_attempts: int) -> bool:
    """The CSMS could not process it; True when that was the last attempt and it is parked now (rules R32, R33)."""
    row = db.execute(
        "UPDATE journal SET attempts = attempts + 1, error = ?, state = CASE WHEN attempts + 1 >= ? THEN 'parked' "
        "ELSE state END WHERE entry = ? RETURNING state",
        (error, max_attempts, entry),
    ).fetchone()
    return row is not None and row[0] == "parked"


def queue_state(db: Connection, charger: str) -> QueueState:
    """How many entries wait for the CSMS or are parked."""
    waiting = db.execute(WAITING, (charger,)).fetchone()
    parked = db.execute("SELECT count(*) FROM journal WHERE charger = ? AND state = 'parked'", (charger,)).fetchone()
    assert waiting is not None
    assert parked is not None
    oldest = db.execute("SELECT at_ms FROM journal WHERE entry = ?", (waiting[1],)).fetchone()
    return QueueState(waiting[0], parked[0], oldest[0] if oldest else None)


_PRUNABLE = "action = 'MeterValues' AND state IN ('done', 'local') AND signed = 0"


def prune(db: Connection, most: int, limit: int) -> int:
    """Delete the oldest unsigned MeterValues beyond the newest `most`, `limit` of them at a time; how many went.

    Never what the CSMS has not got, nor what a cursor has not passed; starts, stops, signed values and dead letters
    are not touched (rule R34).
    """
    count = db.execute(f"SELECT count(*) FROM journal WHERE {_PRUNABLE}").fetchone()
    over = 0 if count is None else min(limit, count[0] - most)
    if over <= 0:
        return 0
    gone = db.execute(
        f"DELETE FROM journal WHERE entry IN (SELECT entry FROM journal WHERE {_PRUNABLE} "
        "AND entry <= (SELECT ifnull(min(entry), 0) FROM cursor) ORDER BY entry LIMIT ?) RETURNING 1",
        (over,),
    ).fetchall()
    return len(gone)


def any_sure(db: Connection, unsure: Collection[str]) -> bool:
    """Whether any entry bears a time that somebody had compared with that of the world. It looks at all of them."""
    marks = ", ".join("?" * len(unsure))
    row = db.execute(f"SELECT 1 FROM journal WHERE ts_q NOT IN ({marks}) LIMIT 1", sorted(unsure)).fetchone()
    return row is not None


def parked(db: Connection, limit: int = 100) -> list[JournalRow]:
    """The dead letters of all chargers, oldest first (rule R33)."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM journal WHERE state = 'parked' ORDER BY entry LIMIT ?", (limit,))
    return [_row(row) for row in rows]
