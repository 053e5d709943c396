"""The simulated meters: frames checked with pymodbus, which is not ours, and each fault for what it is."""

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.framer.rtu import FramerRTU

from simulators.meter_image import Model, Physical, registers, shown_wh
from simulators.modbus_frames import Request, crc16, parse_rtu, parse_tcp, reply_pdu, rtu_frame
from simulators.modbus_slave import Fault, PtySlave, Served, TcpSlave, Units

REQUEST = Request(unit=7, function=4, address=72, count=4)
WIRE = bytes((7, 4, 0, 72, 0, 4))


def read(unit: int, table: str, address: int, count: int) -> list[int] | int | None:
    """Unit 5 does not exist, unit 6 refuses; the others answer the address, plus 1000 for holding registers."""
    if unit == 5:
        return None
    if unit == 6:
        return 2
    return [address + i + (1000 if table == "holding" else 0) for i in range(count)]


@pytest.fixture
async def line() -> AsyncIterator[PtySlave]:
    slave = PtySlave(Units(read))
    slave.start()
    yield slave
    slave.close()


@given(st.binary(max_size=300))
def test_the_crc_is_that_of_pymodbus(data: bytes) -> None:
    assert crc16(data) == FramerRTU.compute_CRC(data).to_bytes(2, "big")


@given(st.binary(max_size=7), st.integers(0, 8))
def test_a_request_is_found_behind_noise_and_in_pieces(noise: bytes, cut: int) -> None:
    frame = WIRE + crc16(WIRE)
    request, used = parse_rtu(noise + frame[:cut])
    rest = (noise + frame[:cut])[used:]
    if request is None:
        request, used = parse_rtu(rest + frame[cut:])
    assert request == REQUEST


def test_endless_noise_does_not_fill_the_memory() -> None:
    request, used = parse_rtu(bytes(range(1, 251)) * 4)
    assert request is None
    assert used >= 1000 - 256


def test_a_tcp_frame_is_complete_or_waited_for_or_no_modbus() -> None:
    frame = struct.pack(">HHHB", 9, 0, 6, 7) + WIRE[1:]
    assert parse_tcp(frame[:11]) == (None, 0)
    assert parse_tcp(frame + b"more") == (Request(7, 4, 72, 4, 9), 12)
    with pytest.raises(ValueError, match="not a Modbus TCP header"):
        parse_tcp(b"GET / HTTP/1.1\r\n")


async def test_pymodbus_reads_all_units_over_tcp() -> None:
    served: list[Served] = []
    slave = TcpSlave(Units(read, served=served.append))
    port = await slave.start()
    client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=0.1, retries=0, reconnect_delay=0)
    await client.connect()
    assert (await client.read_input_registers(72, count=4, device_id=7)).registers == [72, 73, 74, 75]
    assert (await client.read_holding_registers(0, count=2, device_id=8)).registers == [1000, 1001]
    assert (await client.read_input_registers(0, count=2, device_id=6)).exception_code == 2
    assert (await client.write_register(0, 1, device_id=7)).exception_code == 1
    assert served == [Served(7, "input", 72, (72, 73, 74, 75)), Served(8, "holding", 0, (1000, 1001))]
    client.close()
    await slave.close()


async def test_pymodbus_reads_all_units_over_a_serial_line(line: PtySlave) -> None:
    client = AsyncModbusSerialClient(line.path, baudrate=9600, timeout=0.1, retries=0, reconnect_delay=0)
    await client.connect()
    assert (await client.read_input_registers(72, count=4, device_id=7)).registers == [72, 73, 74, 75]
    assert (await client.read_holding_registers(0, count=2, device_id=6)).exception_code == 2
    client.close()


async def test_the_line_outlives_the_process_that_read_it(line: PtySlave) -> None:
    """A gateway that is killed opens the same path again."""
    for _ in range(2):
        client = AsyncModbusSerialClient(line.path, baudrate=576_000, timeout=0.1, retries=0, reconnect_delay=0)
        assert await client.connect()
        assert not (await client.read_input_registers(1, count=1, device_id=1)).isError()
        client.close()


async def test_replies_that_nobody_reads_are_lost_not_kept(line: PtySlave) -> None:
    """As long as the gateway is dead, the line swallows what is sent; nothing blocks, the next one reads its own."""
    for _ in range(200):
        line._write(rtu_frame(7, reply_pdu(REQUEST, [1] * 125)))
    client = AsyncModbusSerialClient(line.path, baudrate=9600, timeout=0.1, retries=0, reconnect_delay=0)
    await client.connect()
    assert (await client.read_input_registers(72, count=4, device_id=7)).registers == [72, 73, 74, 75]
    client.close()


def pieces(fault: Fault, *, times: int = 1, units: Units | None = None) -> list[list[tuple[float, bytes]]]:
    units = units or Units(read)
    units.faults[7] = fault
    return [units.answer(REQUEST, rtu=True) for _ in range(times)]


GOOD = rtu_frame(7, reply_pdu(REQUEST, [72, 73, 74, 75]))


def test_a_healthy_unit_answers_at_once_and_a_missing_one_never() -> None:
    units = Units(read)
    assert units.answer(REQUEST, rtu=True) == [(0.0, GOOD)]
    assert units.answer(Request(5, 4, 0, 1), rtu=True) == []
    assert units.requests == 2


def test_each_fault_is_what_its_name_says() -> None:
    assert pieces(Fault("silent")) == [[]]
    assert pieces(Fault("late", seconds=0.3)) == [[(0.3, GOOD)]]
    ((_, damaged),) = pieces(Fault("bad_crc"))[0]
    assert damaged[:-1] == GOOD[:-1]
    assert crc16(damaged[:-2]) != damaged[-2:]
    assert pieces(Fault("truncated")) == [[(0.0, GOOD[: len(GOOD) // 2])]]
    assert pieces(Fault("stray")) == [[(0.0, b"\0" + GOOD)]]
    assert pieces(Fault("echo", seconds=0.01)) == [[(0.0, WIRE + crc16(WIRE)), (0.01, GOOD)]]
    assert pieces(Fault("exception", code=6)) == [[(0.0, rtu_frame(7, b"\x84\x06"))]]
    assert pieces(Fault("equal", code=236)) == [[(0.0, rtu_frame(7, reply_pdu(REQUEST, [236] * 4)))]]
    assert b"".join(data for _, data in pieces(Fault("chunked", seconds=0.01))[0]) == GOOD
    ((_, garbled),) = pieces(Fault("garbled"))[0]
    assert len(garbled) == len(GOOD)
    assert garbled != GOOD


def test_every_third_request_can_be_hit() -> None:
    assert [not found for found in pieces(Fault("silent", every=3), times=6)] == [False, False, True] * 2


def test_a_frozen_unit_repeats_its_first_answer() -> None:
    clock = iter(range(100))
    units = Units(lambda unit, table, address, count: [next(clock)] * count)
    first, second = pieces(Fault("frozen"), times=2, units=units)
    assert first == second


def test_a_line_takes_the_time_that_its_baud_rate_takes() -> None:
    """8 bytes there, 13 back, 11 bits each at 9600 baud, and 40 ms to think."""
    ((seconds, _),) = Units(read, baud=9600, turnaround_s=0.04).answer(REQUEST, rtu=True)
    assert seconds == pytest.approx(21 * 11 / 9600 + 0.04)


def test_each_unit_thinks_as_long_as_its_model_does() -> None:
    times = [
        Units(read, turnaround_s={REQUEST.unit: 0.06}).answer(request, rtu=True)[0][0]
        for request in (REQUEST, replace(REQUEST, unit=REQUEST.unit + 1))
    ]
    assert times == [0.06, 0.0]


async def test_a_connection_that_speaks_no_modbus_is_closed() -> None:
    slave = TcpSlave(Units(read))
    port = await slave.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(2):
        assert await reader.read() == b""
    writer.close()
    await slave.close()


FLOWING = Physical(
    import_wh=1_234_567.9,
    export_wh=89.5,
    power_w=(1000.0, -250.0, 0.0),
    current_a=(4.35, 1.1, 0.0),
    serial=4711,
)


@pytest.mark.parametrize(
    ("model", "table", "address", "expected"),
    [
        ("iem3155", "holding", 3203, struct.pack(">qq", 1_234_567, 89)),
        ("iem3155", "holding", 3059, struct.pack(">f", 0.75)),
        ("iem3155", "holding", 129, struct.pack(">I", 4711)),
        ("abb_b23", "holding", 0x5000, struct.pack(">QQ", 123_456, 8)),
        ("abb_b23", "holding", 0x5B0C, struct.pack(">3I", 435, 110, 0)),
        ("abb_b23", "holding", 0x5B14, struct.pack(">4i", 75_000, 100_000, -25_000, 0)),
        ("sdm630", "input", 72, struct.pack(">2f", 1234.567, 0.089)),
        ("sdm630", "input", 52, struct.pack(">f", 750.0)),
        ("sdm630", "holding", 0xFC00, struct.pack(">I", 4711)),
    ],
)
def test_the_image_of_a_meter_holds_what_flows(model: Model, table: str, address: int, expected: bytes) -> None:
    count = len(expected) // 2
    found = registers(model, FLOWING, table, address, count)  # type: ignore[arg-type]
    assert struct.pack(f">{count}H", *found) == expected  # type: ignore[misc]


def test_a_block_that_begins_or_ends_inside_a_value_is_cut_there() -> None:
    whole = registers("iem3155", FLOWING, "holding", 2999, 8)
    assert registers("iem3155", FLOWING, "holding", 3000, 6) == whole[1:7]  # type: ignore[index]


def test_an_address_that_the_meter_does_not_have_is_refused() -> None:
    assert registers("sdm630", FLOWING, "holding", 72, 2) == 2
    assert registers("iem3155", FLOWING, "holding", 3211, 20) == 2


@given(st.floats(0, 2e8), st.sampled_from(["iem3155", "abb_b23", "sdm630"]))
def test_what_a_meter_shows_is_at_most_a_step_below_the_truth(true_wh: float, model: Model) -> None:
    step = {"iem3155": 1, "abb_b23": 10, "sdm630": 18}[model]
    assert true_wh - step <= shown_wh(model, true_wh) <= true_wh + (8 if model == "sdm630" else 0)
