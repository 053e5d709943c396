"""Pure: SML, the binary language of German meters, read as far as signed values need it (BSI TR-03109-1 annex IV).

A file is `1b1b1b1b 01010101`, messages, `1b1b1b1b 1a ..`. Everything is type-length-value: octet strings become bytes,
integers int, lists tuples, a left-out element None. No checksum is checked: the signature is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass

ESCAPE = b"\x1b\x1b\x1b\x1b"
START = ESCAPE + b"\x01\x01\x01\x01"
GET_LIST_RESPONSE = 0x0701
MAX_DEPTH = 12
MAX_BYTES = 1 << 16

Element = bytes | int | bool | None | tuple["Element", ...]


class SmlError(ValueError):
    """It is no SML."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a value list. `time` is UTC seconds as the meter wrote them, local ones with their offsets added."""

    status: int | None
    time: int | None
    unit: int
    scaler: int
    value: Element
    signature: bytes | None


@dataclass(frozen=True, slots=True)
class ValueList:
    """What a meter answered to GetList: rows by their OBIS code, and the signature over them."""

    server: bytes
    name: bytes
    entries: dict[bytes, Entry]
    signature: bytes


def read_value_list(data: bytes) -> ValueList:
    """The first value list of an SML file. SmlError."""
    body = _payload(data)
    place = 0
    while place < len(body):
        if body[place] == 0x00:  # filler between messages
            place += 1
            continue
        message, place = _element(body, place, 0)
        found = _value_list(message)
        if found is not None:
            return found
    raise SmlError("there is no value list in it")


def _payload(data: bytes) -> bytes:
    """The messages of a file: without its frame, escapes undone."""
    start = data.find(START)
    if start < 0 or len(data) > MAX_BYTES:
        raise SmlError("it does not begin as SML")
    body = bytearray()
    place = start + len(START)
    while place < len(data):
        if data[place : place + 4] != ESCAPE:
            body.append(data[place])
            place += 1
            continue
        after = data[place + 4 : place + 8]
        if after == ESCAPE:
            body += ESCAPE
            place += 8
            continue
        if after[:1] == b"\x1a":
            return bytes(body)
        raise SmlError("an unknown escape stands in it")
    raise SmlError("it has no end")


def _element(data: bytes, place: int, depth: int) -> tuple[Element, int]:
    if place >= len(data) or depth > MAX_DEPTH:
        raise SmlError("it ends too early, or is too deep")
    first = data[place]
    kind, length, head = first >> 4 & 7, first & 0x0F, 1
    while data[place + head - 1] & 0x80:
        if place + head >= len(data) or head > 3:
            raise SmlError("a length is broken")
        length = length << 4 | data[place + head] & 0x0F
        head += 1
    if kind == 7:
        items: list[Element] = []
        place += head
        for _ in range(length):
            item, place = _element(data, place, depth + 1)
            items.append(item)
        return tuple(items), place
    end = place + max(length, head)
    value = data[place + head : end]
    if end > len(data):
        raise SmlError("it ends too early")
    if kind == 0:
        return value or None, end
    if kind in (5, 6):
        return int.from_bytes(value, signed=kind == 5), end
    if kind == 4:
        return value != b"\x00", end
    raise SmlError(f"type {kind} is unknown")


def _value_list(message: Element) -> ValueList | None:
    if not isinstance(message, tuple) or len(message) < 4:
        raise SmlError("a message is no list")
    body = message[3]
    if not isinstance(body, tuple) or len(body) != 2 or body[0] != GET_LIST_RESPONSE:
        return None
    response = body[1]
    if not isinstance(response, tuple) or len(response) != 7 or not isinstance(response[4], tuple):
        raise SmlError("the value list is incomplete")
    entries = {name: entry for row in response[4] for name, entry in [_entry(row)]}
    return ValueList(_bytes(response[1]), _bytes(response[2]), entries, _bytes(response[5]))


def _entry(row: Element) -> tuple[bytes, Entry]:
    if not isinstance(row, tuple) or len(row) != 7:
        raise SmlError("a row is incomplete")
    name, status, time, unit, scaler, value, signature = row
    return _bytes(name), Entry(
        status=status if isinstance(status, int) else None,
        time=_time(time),
        unit=unit if isinstance(unit, int) else 0,
        scaler=scaler if isinstance(scaler, int) else 0,
        value=value,
        signature=signature if isinstance(signature, bytes) else None,
    )


def _time(choice: Element) -> int | None:
    """SML_Time: seconds index (1), UTC (2), or local: UTC, offset and season in minutes (3)."""
    if not isinstance(choice, tuple) or len(choice) != 2:
        return None
    kind, value = choice
    if kind == 3 and isinstance(value, tuple) and len(value) == 3:
        seconds, offset, season = value
        if isinstance(seconds, int) and isinstance(offset, int) and isinstance(season, int):
            return seconds + (offset + season) * 60
        return None
    return value if isinstance(value, int) and kind == 2 else None


def seconds_index(value: Element) -> int | None:
    """The seconds index inside a row's value: SML_ListType { SML_Time { secIndex } }."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], tuple) and len(value[1]) == 2:
        inner = value[1][1]
        return inner if isinstance(inner, int) else None
    return None


def _bytes(value: Element) -> bytes:
    return value if isinstance(value, bytes) else b""
