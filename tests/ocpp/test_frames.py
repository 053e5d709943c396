"""Frames: what is located, what is replaced, and what is no frame."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ocpp import frames
from gateway.ocpp.frames import RemoteProtocolError, parse

BLANKS = st.text(" \t\r\n", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """JSON of `value` with blanks and escapes where a peer may put them."""
    if isinstance(value, dict):
        members = [
            draw(BLANKS) + json.dumps(key) + draw(BLANKS) + ":" + draw(BLANKS) + draw(written(one)) + draw(BLANKS)
            for key, one in value.items()
        ]
        return "{" + (",".join(members) or draw(BLANKS)) + "}"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any], str]:
    payload = draw(st.dictionaries(st.text(min_size=1, max_size=6), VALUES, max_size=4))
    payload["transactionId"] = draw(st.integers(-5, 2**31))
    items = sorted(payload.items(), key=lambda item: draw(st.integers()) if item else 0)
    payload = dict(items)
    message_id = draw(st.text(min_size=1, max_size=36))
    parts = ["2", json.dumps(message_id), '"Action"', draw(written(payload))]
    text = draw(BLANKS) + "[" + ",".join(draw(BLANKS) + part + draw(BLANKS) for part in parts) + "]" + draw(BLANKS)
    return text, payload, message_id


@given(calls(), st.integers(1, 2**31))
def test_a_replaced_transaction_id_changes_nothing_else(call: tuple[str, dict[str, Any], str], new: int) -> None:
    """I10, R6: for any order, spacing and escapes; putting the old text back gives the received frame again."""
    text, payload, message_id = call
    frame = parse(text)
    assert (frame.payload, frame.message_id, frame.action) == (payload, message_id, "Action")
    assert json.loads(frame.payload_text()) == payload
    start, end = frame.spans["transactionId"]
    assert text[start:end] == str(payload["transactionId"])
    changed = frames.replace(text, [((start, end), str(new))])
    assert parse(changed).payload == {**payload, "transactionId": new}
    assert changed[:start] == text[:start]
    assert changed[start + len(str(new)) :] == text[end:]


@given(calls(), st.text(min_size=1, max_size=36))
def test_a_message_id_can_be_replaced_in_place(call: tuple[str, dict[str, Any], str], other: str) -> None:
    """For several upstreams with equal ids (rule R5)."""
    text, payload, _ = call
    frame = parse(text)
    changed = parse(frames.replace(text, [(frame.id_span, json.dumps(other))]))
    assert (changed.message_id, changed.payload) == (other, payload)


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")) | VALUES.map(json.dumps))
def test_anything_else_is_a_remote_protocol_error_and_nothing_worse(text: str) -> None:
    """Rule R8: never fatal."""
    with suppress(RemoteProtocolError):
        assert parse(text).kind in (frames.CALL, frames.CALL_RESULT, frames.CALL_ERROR)


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        ("", None), ("{}", None), ("[", None), ("[2]", None), ('[2,"a"', None), ('[2,7,"A",{}]', None),
        ('[2,"a","A"]', "a"), ('[2,"a","A",{},1]', "a"), ('[2,"a",5,{}]', "a"), ('[5,"a",{}]', None),
        ('[3,"a"]', None), ('[3,"a",{}]x', None), ('[2,"a","A",{"x":1,}]', None), ("[" * 100_000, None),
        ('[2,"a","A",' + "[" * 100_000, None), ('[2,"a","A",{"x":' + "9" * 5000 + "}]", None), ('[4,"a"]', None),
        ('[2,"' + "a" * 300 + '","A",{}]', None), ('[2,"","A",{}]', None), ('["2","a","A",{}]', None),
    ],
)  # fmt: skip
def test_what_is_no_frame_says_whether_it_can_be_answered(text: str, message_id: str | None) -> None:
    """A CALL with a readable id is answered with a CALLERROR, the rest is dropped."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse(text)
    assert caught.value.message_id == message_id


def test_what_we_write_is_read_back() -> None:
    """CALL, CALLRESULT and CALLERROR; a description is cut to 255 characters (OCPP-J 1.6 section 4.2.3)."""
    assert parse(frames.call('i"d', "A", '{"x":1}')).payload == {"x": 1}
    assert parse(frames.result("i", "{}")).kind == frames.CALL_RESULT
    error = parse(frames.error("i", "GenericError", "x" * 400))
    assert error.error == "GenericError: " + "x" * 255
    assert parse('[4,"i","SomethingNew"]').error == "SomethingNew"


def test_of_a_member_that_stands_twice_the_last_counts() -> None:
    """So does its place: a peer's parser takes the last as well."""
    frame = parse('[2,"a","A",{"transactionId":1,"transactionId":22}]')
    assert frame.payload == {"transactionId": 22}
    assert frame.text[slice(*frame.spans["transactionId"])] == "22"
