"""Pure: which limits may be in force in a charger, given what was sent and what it answered.

The charger holds a TxProfile that ends by itself; when it ends, or is lost with the link, the charger's own fallback
governs. Until an answer says otherwise both the old and the new limit count (design rule 8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.load.foreign import Sample
from gateway.model import ConnectorRef, LimitOutcome

SETTLE_S = 15.0
"""A confirmed reduction counts with the old value until it is measured, or this long (PWM 5 s, car 6 s, box 2 s)."""
OBEY_S = 30.0
"""How long after the answer the draw must be within the limit."""
TOLERANCE_MA = 1000
RETRY_S = 5.0
REFUSED_RETRY_S = 30.0
LATE_S = 20.0
"""What is drawn above the limit so long after the answer is no reduction on its way any more: others make room for it.
Reading, link, PWM and car take 12 to 17 s together."""
SLOW_S = 20.0
"""An answer that takes longer than this makes the charger one that is reserved, not steered."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A limit on its way or there. It may have ended from `over_s` on (counted from when it left) and has surely ended
    at `until_s` (counted from the answer)."""

    limit_ma: int
    over_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Flying:
    """A limit that was sent and not yet answered."""

    limit_ma: int
    sent_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a limit that was sent for `transaction`."""

    ref: ConnectorRef
    transaction: int
    limit_ma: int
    sent_s: float
    answered_s: float
    outcome: LimitOutcome


@dataclass(frozen=True, slots=True)
class Book:
    """The limits of one transaction. `past` are (limit, replaced at) of larger limits that were in force lately; `met`
    says that the charger has confirmed one, so nothing older than this run of ours is in force."""

    transaction: int
    wanted_ma: int | None = None
    sent_s: float = 0.0
    confirmed: Sent | None = None
    flying: Flying | None = None
    doubtful: tuple[Sent, ...] = ()
    past: tuple[tuple[int, float], ...] = ()
    not_before_s: float = 0.0
    trouble: LimitOutcome | None = None
    met: bool = False


def send(book: Book, limit_ma: int, now_s: float) -> Book:
    """A limit leaves. At most one is on its way."""
    return replace(book, wanted_ma=limit_ma, sent_s=now_s, flying=Flying(limit_ma, now_s))


def answered(book: Book, answer: Answer, alone_ma: int, duration_s: float) -> Book:
    """The answer came, or will not come."""
    if book.flying is None or answer.transaction != book.transaction:
        return book
    now_s = answer.answered_s
    sent = Sent(answer.limit_ma, answer.sent_s + duration_s, now_s + duration_s)
    landed = replace(book, flying=None)
    if answer.outcome is LimitOutcome.CONFIRMED:
        before_ma = possible(landed, now_s, alone_ma)
        past = (*book.past, (before_ma, now_s)) if before_ma > sent.limit_ma else book.past
        return replace(landed, confirmed=sent, doubtful=(), past=past, not_before_s=0.0, trouble=None, met=True)
    if answer.outcome is LimitOutcome.SILENT:
        landed = replace(landed, doubtful=(*book.doubtful[-7:], sent))
    wait_s = REFUSED_RETRY_S if answer.outcome is LimitOutcome.REFUSED else RETRY_S
    return replace(landed, not_before_s=now_s + wait_s, trouble=answer.outcome)


def lost(book: Book) -> Book:
    """The link went: the charger may keep its limit until that ends, or forget it now."""
    if book.confirmed is None:
        return book
    return replace(book, confirmed=None, doubtful=(*book.doubtful[-7:], book.confirmed))


def pruned(book: Book, now_s: float) -> Book:
    """Without what can no longer be in force."""
    if not book.past and not book.doubtful:
        return book
    past = tuple(item for item in book.past if now_s - item[1] < OBEY_S)
    doubtful = tuple(sent for sent in book.doubtful if sent.until_s > now_s)
    if past == book.past and doubtful == book.doubtful:
        return book
    return replace(book, past=past, doubtful=doubtful)


def in_force(book: Book, now_s: float) -> int | None:
    """The limit that the charger confirmed and that has not ended."""
    confirmed = book.confirmed
    return confirmed.limit_ma if confirmed is not None and now_s < confirmed.until_s else None


def possible(book: Book, now_s: float, alone_ma: int) -> int:
    """The largest limit that may be in force now. `alone_ma` governs where no limit of ours surely does.

    A charger that refuses a limit may have none: it says so where it has ended the transaction.
    """
    confirmed, most_ma = book.confirmed, 0
    if confirmed is None or now_s >= confirmed.over_s or book.trouble is LimitOutcome.REFUSED:
        most_ma = alone_ma
    if confirmed is not None and now_s < confirmed.until_s:
        most_ma = max(most_ma, confirmed.limit_ma)
    if book.flying is not None:
        most_ma = max(most_ma, book.flying.limit_ma)
    return max([most_ma, *[sent.limit_ma for sent in book.doubtful if now_s < sent.until_s]])


def settled(book: Book, now_s: float) -> int | None:
    """The one limit that can be in force: confirmed, not ended, with nothing under way, in doubt or replaced lately.

    None where `counted` must be asked, and where the charger may not have taken what it was sent.
    """
    confirmed = book.confirmed
    if confirmed is None or now_s >= confirmed.over_s or book.flying is not None or book.trouble is not None:
        return None
    return None if book.doubtful or book.past else confirmed.limit_ma


def counted(book: Book, now_s: float, alone_ma: int, newest: Sample | None) -> int:
    """What the connector counts with: the largest possible limit, and a larger earlier one that may still be drawn."""
    limit_ma = possible(book, now_s, alone_ma)
    for old_ma, replaced_s in book.past:
        if old_ma <= limit_ma or now_s - replaced_s >= SETTLE_S:
            continue
        if newest is None or newest.at_s < replaced_s or max(newest.ma) > limit_ma + TOLERANCE_MA:
            limit_ma = old_ma
    return limit_ma


def allowed_lately(book: Book, now_s: float, within_s: float = OBEY_S) -> int | None:
    """The largest limit of the last `within_s`; None where the charger confirmed none that is in force."""
    if in_force(book, now_s) is None:
        return None
    return max([possible(book, now_s, 0), *(old_ma for old_ma, at_s in book.past if now_s - at_s < within_s)])


def unsteered(book: Book, now_s: float) -> bool:
    """Whether the charger did not take what it was sent: silent, refusing, or very slow."""
    slow = book.flying is not None and now_s - book.flying.sent_s >= SLOW_S
    return slow or book.trouble in (LimitOutcome.SILENT, LimitOutcome.REFUSED)
