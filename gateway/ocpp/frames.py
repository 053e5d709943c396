"""Pure: OCPP-J frames. Only the outer array and the payload's top level are located; texts stay as they came (rule R6).

A frame is `[2, id, action, payload]`, `[3, id, payload]` or `[4, id, code, description, details]`
(OCPP-J 1.6 section 4.2). What a peer got wrong is a RemoteProtocolError: it is answered or dropped, never fatal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CALL = 2
CALL_RESULT = 3
CALL_ERROR = 4

MAX_ID = 255
"""36 characters by the standard; chargers exceed it, and an id must still be answerable."""

Span = tuple[int, int]
"""Half-open character range in the text of a frame."""

_decoder = json.JSONDecoder()
_space = re.compile(r"[ \t\r\n]*")
_NOTHING: Mapping[str, Span] = {}


class RemoteProtocolError(Exception):
    """The peer's frame is no OCPP. `message_id` is set where a CALL can be answered with a CALLERROR, else None."""

    def __init__(self, reason: str, *, message_id: str | None = None, code: str = "FormationViolation") -> None:
        super().__init__(reason)
        self.message_id = message_id
        self.code = code


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: what it says, and where in `text` the replaceable parts stand.

    `spans` has the range of each top-level member's value of the payload; of a key that stands twice the last one,
    which is the one that parsers take.
    """

    text: str
    kind: int
    message_id: str
    action: str = ""
    payload: Any = None
    payload_span: Span = (0, 0)
    id_span: Span = (0, 0)
    spans: Mapping[str, Span] = field(default_factory=dict)
    error: str = ""

    def payload_text(self) -> str:
        """The payload as received."""
        return self.text[slice(*self.payload_span)]

    def member(self, name: str) -> Any:
        """A member of the payload, None where the payload is no object or has none."""
        return self.payload.get(name) if isinstance(self.payload, dict) else None


def parse(text: str) -> Frame:
    """Read one frame. RemoteProtocolError says what is wrong; of an unknown message type it has no id (rule R3)."""
    try:
        values, spans, members = _outer(text)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not a JSON array: {error}") from error
    if len(values) < 2 or not isinstance(values[0], int):
        raise RemoteProtocolError("a frame begins with its type and its id")
    kind, message_id = values[0], values[1]
    if not isinstance(message_id, str) or not message_id or len(message_id) > MAX_ID:
        raise RemoteProtocolError("the message id must be a text of 1 to 36 characters")
    if kind == CALL:
        return _call(text, message_id, values, spans, members)
    if kind == CALL_RESULT:
        if len(values) != 3:
            raise RemoteProtocolError(f"a CALLRESULT has 3 elements, not {len(values)}")
        return Frame(text, kind, message_id, "", values[2], spans[2], spans[1], members)
    if kind == CALL_ERROR:
        if len(values) < 3:
            raise RemoteProtocolError("a CALLERROR has a code")
        return Frame(text, kind, message_id, id_span=spans[1], error=_error_text(values))
    raise RemoteProtocolError(f"unknown message type {kind}")


def _call(text: str, message_id: str, values: list[Any], spans: list[Span], members: Mapping[str, Span]) -> Frame:
    if len(values) != 4:
        raise RemoteProtocolError(f"a CALL has 4 elements, not {len(values)}", message_id=message_id)
    action = values[2]
    if not isinstance(action, str) or not action:
        raise RemoteProtocolError("the action of a CALL is a text", message_id=message_id)
    return Frame(text, CALL, message_id, action, values[3], spans[3], spans[1], members)


def _error_text(values: list[Any]) -> str:
    description = values[3] if len(values) > 3 else ""
    return f"{values[2]}: {description}" if description else str(values[2])


def _outer(text: str) -> tuple[list[Any], list[Span], Mapping[str, Span]]:
    """The elements of the outer array, their ranges, and the ranges of the members of the last object among them."""
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("it does not begin with [")
    values: list[Any] = []
    spans: list[Span] = []
    members = _NOTHING
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        if text[at : at + 1] == "{":
            value, end, members = _object(text, at)
        else:
            value, end = _decoder.raw_decode(text, at)
        values.append(value)
        spans.append((at, end))
        at = _next(text, end, "]")
    if _skip(text, at + 1) != len(text):
        raise ValueError("there is text behind the array")
    return values, spans, members


def _object(text: str, at: int) -> tuple[dict[str, Any], int, Mapping[str, Span]]:
    value: dict[str, Any] = {}
    spans: dict[str, Span] = {}
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        key, at = _decoder.raw_decode(text, at)
        if not isinstance(key, str):
            raise ValueError("a member of an object has no name")
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("a member of an object has no value")
        at = _skip(text, at + 1)
        value[key], end = _decoder.raw_decode(text, at)
        spans[key] = (at, end)
        at = _next(text, end, "}")
    return value, at + 1, spans


def _next(text: str, at: int, closing: str) -> int:
    """Behind the comma, or at the closing bracket."""
    at = _skip(text, at)
    if text[at : at + 1] == closing:
        return at
    if text[at : at + 1] != ",":
        raise ValueError(f"expected , or {closing} at character {at}")
    at = _skip(text, at + 1)
    if text[at : at + 1] == closing:
        raise ValueError(f"expected a value at character {at}")
    return at


def _skip(text: str, at: int) -> int:
    match = _space.match(text, at)
    return match.end() if match else at


def replace(text: str, replacements: Sequence[tuple[Span, str]]) -> str:
    """`text` with exactly these ranges replaced; they must not overlap."""
    for (start, end), new in sorted(replacements, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def call(message_id: str, action: str, payload: str) -> str:
    """A CALL of our own; `payload` is JSON text."""
    return f"[2,{json.dumps(message_id)},{json.dumps(action)},{payload}]"


def result(message_id: str, payload: str) -> str:
    """The answer to a CALL; `payload` is JSON text."""
    return f"[3,{json.dumps(message_id)},{payload}]"


def error(message_id: str, code: str, description: str) -> str:
    """A CALLERROR (OCPP-J 1.6 table 7 lists the codes)."""
    return f"[4,{json.dumps(message_id)},{json.dumps(code)},{json.dumps(description[:255])},{{}}]"


def compact(payload: Any) -> str:
    """JSON without blanks, for what we write ourselves."""
    return json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
