"""Which limits may be in force in a charger, whatever it answers."""

from __future__ import annotations

from gateway.load import books
from gateway.load.books import Answer, Book
from gateway.load.foreign import Sample
from gateway.model import ConnectorRef, LimitOutcome

ALONE = 6000


def told(book: Book, limit_ma: int, at_s: float, outcome: LimitOutcome, took_s: float = 1.0) -> Book:
    sent = books.send(book, limit_ma, at_s)
    answer = Answer(ConnectorRef("a", 1), book.transaction, limit_ma, at_s, at_s + took_s, outcome)
    return books.answered(sent, answer, ALONE, 120.0)


def at_16() -> Book:
    return books.pruned(told(Book(1), 16000, 0.0, LimitOutcome.CONFIRMED), 40.0)


def count(book: Book, now_s: float, drawn: tuple[float, int] | None = None) -> int:
    newest = None if drawn is None else Sample(drawn[0], (drawn[1], 0, 0))
    return books.counted(book, now_s, ALONE, newest)


def test_on_its_way_the_larger_of_old_and_new_counts() -> None:
    assert count(books.send(at_16(), 8000, 50.0), 51.0) == 16000
    assert count(books.send(Book(1), 16000, 50.0), 51.0) == 16000


def test_a_confirmed_reduction_counts_with_the_old_value_until_it_is_measured_or_15_s_passed() -> None:
    book = told(at_16(), 8000, 50.0, LimitOutcome.CONFIRMED)
    assert count(book, 60.0) == 16000
    assert count(book, 60.0, (50.5, 8000)) == 16000  # read before the answer
    assert count(book, 60.0, (58.0, 12000)) == 16000
    assert count(book, 60.0, (58.0, 8400)) == 8000
    assert count(book, 66.0) == 8000


def test_a_refused_or_unanswered_reduction_counts_with_the_old_value_until_that_has_ended() -> None:
    for outcome in (LimitOutcome.REFUSED, LimitOutcome.SILENT, LimitOutcome.ABSENT):
        book = told(at_16(), 8000, 50.0, outcome)
        assert count(book, 100.0) == 16000
        assert count(book, 120.5) == 16000  # ended counted from the sending, not from the answer
        assert count(book, 122.0) == (8000 if outcome is LimitOutcome.SILENT else ALONE)


def test_a_charger_that_refuses_may_have_no_limit_any_more() -> None:
    """It refuses every TxProfile once it has ended the transaction: then its fallback governs."""
    stopped = told(Book(1), 0, 0.0, LimitOutcome.CONFIRMED)
    assert count(told(stopped, 8000, 50.0, LimitOutcome.SILENT), 52.0) == 8000
    assert count(told(stopped, 0, 50.0, LimitOutcome.REFUSED), 52.0) == ALONE


def test_an_unanswered_raise_may_be_in_force() -> None:
    book = told(told(Book(1), 8000, 0.0, LimitOutcome.CONFIRMED), 16000, 50.0, LimitOutcome.SILENT, took_s=15.0)
    assert count(book, 70.0) == 16000
    assert books.unsteered(book, 70.0)
    book = told(book, 8000, 75.0, LimitOutcome.CONFIRMED)
    assert (count(book, 80.0), count(book, 95.0)) == (16000, 8000)
    assert not books.unsteered(book, 80.0)


def test_with_the_link_the_limit_may_be_lost_or_kept() -> None:
    book = books.lost(told(Book(1), 0, 0.0, LimitOutcome.CONFIRMED))
    assert count(book, 20.0) == ALONE
    assert count(books.lost(at_16()), 50.0) == 16000
    assert count(books.lost(at_16()), 130.0) == ALONE


def test_after_its_end_the_fallback_governs() -> None:
    book = told(Book(1), 16000, 0.0, LimitOutcome.CONFIRMED)
    assert books.in_force(book, 120.0) == 16000
    assert books.in_force(book, 121.5) is None
    assert count(book, 121.5) == ALONE


def test_an_answer_for_an_earlier_transaction_is_not_ours() -> None:
    sent = books.send(Book(2), 16000, 10.0)
    answer = Answer(ConnectorRef("a", 1), 1, 16000, 5.0, 11.0, LimitOutcome.CONFIRMED)
    assert books.answered(sent, answer, ALONE, 120.0) == sent


def test_what_was_allowed_lately_is_the_largest_of_30_seconds() -> None:
    book = told(at_16(), 8000, 50.0, LimitOutcome.CONFIRMED)
    assert books.allowed_lately(book, 80.0) == 16000
    assert books.allowed_lately(book, 81.5) == 8000
    assert books.allowed_lately(Book(1), 0.0) is None
