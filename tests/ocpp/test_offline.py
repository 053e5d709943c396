"""Who may charge, by authority."""

from __future__ import annotations

import pytest

from gateway.ocpp.meaning import ListUpdate, Tag
from gateway.ocpp.offline import MAX_CARDS, Cards
from gateway.site import Charger, Token

NOW = 1_000_000
ACCEPTED, BLOCKED, INVALID, EXPIRED = Tag("Accepted"), Tag("Blocked"), Tag("Invalid"), Tag("Expired")
TOKENS = (
    Token(id="anna", tenant="anna"),
    Token(id="moved-out", tenant="bob", to_ms=NOW),
    Token(id="moves-in", tenant="cem", from_ms=NOW + 1),
)


def cards(authority: str, **known: Tag) -> Cards:
    charger = Charger(id="box1", connectors=(), authority=authority)  # type: ignore[arg-type]
    return Cards(charger, TOKENS, [("cache", id_tag, tag) for id_tag, tag in known.items()], 0)


@pytest.mark.parametrize(
    ("id_tag", "status"),
    [("ANNA", "Accepted"), ("moved-out", "Expired"), ("moves-in", "Invalid"), ("nobody", "Invalid")],
)
def test_the_sites_tokens_hold_from_to_and_without_case(id_tag: str, status: str) -> None:
    """Half-open: a token that ends now is over."""
    assert cards("site").decide(id_tag, NOW).status == status


@pytest.mark.parametrize(
    ("said", "id_tag", "verdict"),
    [
        (ACCEPTED, "nobody", "Accepted"), (INVALID, "anna", "Accepted"), (INVALID, "nobody", "Invalid"),
        (BLOCKED, "anna", "Blocked"), (EXPIRED, "anna", "Expired"), (ACCEPTED, "moved-out", "Expired"),
        (Tag("ConcurrentTx"), "nobody", "ConcurrentTx"),
    ],
)  # fmt: skip
def test_both_a_veto_of_either_refuses_else_either_accepts(said: Tag, id_tag: str, verdict: str) -> None:
    """Design 5.3."""
    assert cards("both").combine(id_tag, said, NOW).status == verdict


def test_the_csmss_word_stands_alone_where_it_decides() -> None:
    """Authority csms: a site token does not overrule it, online or offline."""
    assert cards("csms").combine("anna", INVALID, NOW) == INVALID
    assert cards("csms").decide("anna", NOW) == INVALID


def test_offline_an_expired_card_is_refused_and_a_concurrent_one_is_not() -> None:
    """Past expiry is Expired (R41); ConcurrentTx was true of the moment, not of the card."""
    known = cards("csms", old=Tag("Accepted", NOW), new=Tag("Accepted", NOW + 1), busy=Tag("ConcurrentTx"))
    assert [known.decide(tag, NOW).status for tag in ("old", "new", "busy")] == ["Expired", "Accepted", "Accepted"]


def test_unknown_cards_are_refused_unless_the_site_file_says_otherwise() -> None:
    """Rule R44; a card that is listed as refused stays refused."""
    charger = Charger(id="box1", connectors=(), authority="csms", offline_unknown="accept")
    lenient = Cards(charger, (), [("list", "bad", BLOCKED)], 1)
    assert lenient.decide("new", NOW) == ACCEPTED
    assert lenient.decide("BAD", NOW) == BLOCKED


def test_a_differential_list_adds_removes_and_must_be_newer() -> None:
    """OCPP 1.6 section 5.15."""
    known = cards("csms")
    assert known.update_list(ListUpdate(2, True, [("a", ACCEPTED), ("b", ACCEPTED)]))
    assert known.update_list(ListUpdate(3, False, [("A", None), ("c", BLOCKED)]))
    assert not known.update_list(ListUpdate(3, False, [("b", None)]))
    assert [known.decide(tag, NOW).status for tag in "abc"] == ["Invalid", "Accepted", "Blocked"]


def test_the_cache_is_bounded_and_says_what_is_new() -> None:
    """I12; a known answer costs no commit."""
    known = cards("csms")
    assert known.learn("first", ACCEPTED)
    assert not known.learn("FIRST", ACCEPTED)
    for number in range(MAX_CARDS):
        known.learn(f"card-{number}", ACCEPTED)
    assert known.decide("first", NOW) == INVALID
