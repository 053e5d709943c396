"""The short way beside the library's framing gives what the library gives, whatever comes."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pymodbus import ModbusException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
)

from gateway.meters.framing import REPLIES, SerialFraming
from simulators.modbus_frames import rtu_frame

UNIT = 7

Taken = tuple[int, tuple[int, int, list[int], int] | None] | type[Exception]
"""The bytes that are used up, and of a reply its unit, function, registers and exception code; or what was raised."""


def taken(framer: FramerRTU, data: bytes) -> Taken:
    try:
        used, pdu = framer.handleFrame(data, UNIT, 0)
    except ModbusException as error:
        return type(error)
    if pdu is None:
        return used, None
    return used, (pdu.dev_id, pdu.function_code, list(pdu.registers), pdu.exception_code)


def own() -> SerialFraming:
    decoder = DecodePDU(is_server=False)
    for reply in REPLIES.values():
        decoder.register(reply)
    return SerialFraming(decoder)


def reply(function: int, words: list[int], unit: int = UNIT) -> bytes:
    return rtu_frame(unit, bytes((function, 2 * len(words))) + struct.pack(f">{len(words)}H", *words))


frames = st.builds(
    reply, st.sampled_from([3, 4]), st.lists(st.integers(0, 0xFFFF), max_size=125), st.sampled_from([UNIT, UNIT, 8])
)
refusals = st.builds(lambda code: rtu_frame(UNIT, bytes((0x83, code))), st.integers(1, 11))
odd = st.builds(lambda size: rtu_frame(UNIT, bytes((3, size, *range(size)))), st.integers(0, 250))
pieces = st.one_of(frames, frames, refusals, odd, st.binary(max_size=12))


@given(st.lists(pieces, max_size=3).map(b"".join))
@example(reply(3, [1, 2])[:-1])
@example(reply(3, [1, 2])[:-1] + b"\0")
@example(b"\0" + reply(4, [1, 2]))
@example(reply(4, [1, 2]) + b"\0")
@example(rtu_frame(UNIT, bytes((3, 3, 0, 1, 2))))
def test_what_comes_is_taken_apart_as_the_library_does_it(data: bytes) -> None:
    """Whole replies, several at once, those of another unit, refusals, odd lengths, noise before, behind and alone."""
    assert taken(own(), data) == taken(FramerRTU(DecodePDU(is_server=False)), data)


@given(frames, st.data())
def test_no_damaged_reply_is_read(frame: bytes, data: st.DataObject) -> None:
    """One wrong byte anywhere."""
    place = data.draw(st.integers(0, len(frame) - 1))
    wrong = frame[:place] + bytes((frame[place] ^ data.draw(st.integers(1, 255)),)) + frame[place + 1 :]
    found = taken(own(), wrong)
    assert isinstance(found, type) or found[1] is None


@given(st.integers(1, 247), st.integers(0, 0xFFFF), st.integers(1, 125))
def test_a_request_has_the_bytes_that_the_library_gives_it(unit: int, address: int, count: int) -> None:
    theirs = FramerRTU(DecodePDU(is_server=False))
    for kind in (ReadHoldingRegistersRequest, ReadInputRegistersRequest):
        request = kind(address=address, count=count, dev_id=unit)
        assert own().buildFrame(request) == theirs.buildFrame(request)


@given(st.binary(max_size=260))
def test_the_registers_of_a_reply_are_those_that_the_library_finds(data: bytes) -> None:
    """Also in one that is too short, and one of an odd length."""
    for kind in REPLIES.values():
        ours, theirs = kind(), ReadHoldingRegistersResponse()
        try:
            theirs.decode(data)
        except (ModbusException, IndexError) as error:
            with pytest.raises(type(error)):
                ours.decode(data)
        else:
            ours.decode(data)
            assert list(ours.registers) == list(theirs.registers)
