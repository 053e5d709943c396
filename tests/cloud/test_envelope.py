"""What stands on the wire: byte-exact bodies, the hash as the contract says it, sizes, patience with a newer cloud."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.cloud.envelope import MAX_MESSAGE_BYTES, Ack, Command, Envelope, HelloAck, encode, parse_ack, topic
from gateway.model import OutboxRow
from gateway.store.outbox import GENESIS, envelope_sha256

ROW = OutboxRow(
    lane="billing", epoch="e" * 32, seq=7, boot=3, rid="r", ts="2026-06-13T09:30:00.000Z", ts_q="simulated",
    schema="session.end.v1", prev=GENESIS, sha256="a" * 64, body='{"a": 1}',
)  # fmt: skip


@given(st.text())
def test_a_body_comes_out_as_it_went_in(body: str) -> None:
    """Signed texts travel as a JSON string: no byte of them changes, whatever they hold."""
    body = body.encode("utf-8", "ignore").decode()
    envelope = Envelope.model_validate_json(encode("g", replace(ROW, body=body)))
    assert envelope.body == body


def test_the_hash_is_over_the_head_lines_and_the_body() -> None:
    """Written out once by hand, so that a change of the contract cannot pass unseen."""
    head = "1\ng\nE\n3\nbilling\n7\nr\nT\nntp\ns.v1\n" + GENESIS + "\n"
    expected = hashlib.sha256((head + "Zähler").encode()).hexdigest()
    found = envelope_sha256(
        v=1, gw="g", epoch="E", boot=3, lane="billing", seq=7, rid="r", ts="T", ts_q="ntp", schema="s.v1", prev=GENESIS,
        body="Zähler",
    )  # fmt: skip
    assert found == expected


def test_a_record_that_is_too_large_goes_without_its_body() -> None:
    """At the limit with it, one byte beyond without: the number and the hash still arrive."""
    empty = len(encode("g", replace(ROW, body="")))
    fits = replace(ROW, body="x" * (MAX_MESSAGE_BYTES - empty))
    assert len(encode("g", fits)) == MAX_MESSAGE_BYTES
    document = json.loads(encode("g", replace(fits, body=fits.body + "x")))
    assert document["body"] is None
    assert (document["seq"], document["sha256"]) == (7, ROW.sha256)


def test_a_repeated_record_names_what_it_supersedes() -> None:
    """The first rows of a new epoch point at the old ones; all others have no such field."""
    named = replace(ROW, supersedes=f"{'d' * 32} 12 {'b' * 64}")
    envelope = Envelope.model_validate_json(encode("g", named))
    assert envelope.supersedes is not None
    assert (envelope.supersedes.epoch, envelope.supersedes.seq) == ("d" * 32, 12)
    assert "supersedes" not in json.loads(encode("g", ROW))


def test_an_answer_may_carry_more_than_we_know() -> None:
    """A newer cloud only adds fields."""
    ack = parse_ack(b'{"lane":"billing","epoch":"e","upto":3,"credit":5,"colour":"red"}')
    assert isinstance(ack, Ack)
    assert (ack.upto, ack.missing, ack.rejected, ack.hold_s) == (3, [], [], 0)
    hello = parse_ack(b'{"hid":"h","lanes":{"billing":{"epoch":"e","upto":0,"sha256":null,"x":1}}}')
    assert isinstance(hello, HelloAck)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"nonsense", b"[]", b"null", b'{"lane":"billing","epoch":"e","upto":-1,"credit":1}',
        b'{"lane":"attic","epoch":"e","upto":1,"credit":1}', b'{"lane":"billing","epoch":"e","upto":1}',
        b'{"hid":"h","lanes":{"billing":{"epoch":"e","upto":1,"sha256":"short"}}}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_value_error(payload: bytes) -> None:
    """Everything that is wrong with it is one class of error."""
    with pytest.raises(ValueError):
        parse_ack(payload)


def test_a_deadline_needs_its_zone() -> None:
    """A local time without a zone cannot be judged."""
    good = {
        "cid": "c",
        "op": "o",
        "issued": "2026-06-13T09:30:00Z",
        "deadline": "2026-06-13T11:30:00+02:00",
        "actor": "a",
    }
    assert Command.model_validate(good).deadline.timestamp() == Command.model_validate(good).issued.timestamp()
    with pytest.raises(ValidationError):
        Command.model_validate(good | {"deadline": "2026-06-13T11:30:00"})


def test_a_simulation_speaks_on_a_topic_of_its_own() -> None:
    """What is simulated can never be taken for real."""
    assert topic("g", "up/billing", simulation=False) == "zgw/v1/g/up/billing"
    assert topic("g", "state", simulation=True) == "zgw/sim/g/state"
