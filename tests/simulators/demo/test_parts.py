"""The meters on the line, the process of the gateway, the view and the command line of the demonstration."""

from __future__ import annotations

import asyncio
import io
import random
import struct
import time
from pathlib import Path

import pytest
from rich.console import Console, ConsoleDimensions

from simulators.__main__ import main
from simulators.cars import Car
from simulators.clock import SiteClock
from simulators.demo import brokers, plan
from simulators.demo.gateway_process import GatewayError, GatewayProcess
from simulators.demo.house import House, _building
from simulators.demo.meters import MeterBank, Unit
from simulators.evidence import TruthLog
from simulators.view import Story, picture

LARGE = ConsoleDimensions(140, 40)
CLOCK = SiteClock(plan.EPOCH_MS, time.monotonic(), 60.0)


class Served(TruthLog):
    """Keeps what the meters gave."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.given: list[tuple[str, int | None, int | None]] = []

    def served(self, meter: str, at_ms: int, import_wh: int | None, export_wh: int | None) -> None:
        self.given.append((meter, import_wh, export_wh))


@pytest.fixture
def bank(tmp_path: Path):  # type: ignore[no-untyped-def]
    truth = Served(tmp_path / "truth.db")
    building = _building(random.Random(1), CLOCK.utc_ms() // 1000 * 1000, truth)
    units = {1: Unit("grid", "abb_b23", 1), 11: Unit("m1", "iem3155", 2), 15: Unit("m5", "sdm630", 3)}
    yield MeterBank(building, CLOCK, units), truth, building
    truth.close()


def test_an_answer_with_an_energy_register_is_noted_with_the_wh_that_it_says(bank):  # type: ignore[no-untyped-def]
    meters, truth, building = bank
    words = meters.read(11, "holding", 0x0C83, 4)
    value = int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")
    assert truth.given == [("m1", value, None)]
    assert 0 <= building.meters["m1"].import_wh - value < 1.1


def test_a_coarse_meter_is_noted_with_what_it_shows_and_a_power_read_is_not_noted(bank):  # type: ignore[no-untyped-def]
    meters, truth, _ = bank
    assert isinstance(meters.read(1, "holding", 0x5B14, 8), list)
    assert truth.given == []
    meters.read(1, "holding", 0x5000, 8)
    (given,) = truth.given
    assert given[0] == "grid"
    assert given[1] % 10 == given[2] % 10 == 0


def test_a_box_meter_is_wired_as_its_box(bank):  # type: ignore[no-untyped-def]
    _, truth, building = bank
    building.outlets["box5"].car = Car("car", 1, 16_000, 9000.0, over_ma=0)
    building.outlets["box5"].offer = lambda _now_ms: 9000
    building.advance(CLOCK.utc_ms() + 60_000)
    line = MeterBank(building, CLOCK, {15: Unit("m5", "iem3155", 3, rotation=(1, 2, 0))})
    words = line.read(15, "holding", 0x0BB7, 6)
    raw = b"".join(word.to_bytes(2, "big") for word in words)
    assert struct.unpack(">3f", raw) == pytest.approx((9.02, 0.0, 0.0))
    assert truth.given == []


def test_a_meter_that_is_asked_again_tells_what_has_changed_meanwhile(bank):  # type: ignore[no-untyped-def]
    """Its energy, its current, and who it is: an answer is never an older one's."""
    _, truth, building = bank
    line = MeterBank(building, CLOCK, {15: Unit("m5", "iem3155", 3)})

    def told() -> list[list[int]]:
        asked = ((0x0BB7, 6), (0x0BED, 8), (0x0C83, 8), (0x0081, 2))
        return [line.read(15, "holding", address, count) for address, count in asked]  # type: ignore[misc]

    standing, again = told(), told()
    assert standing == again
    building.outlets["box5"].car = Car("car", 1, 16_000, 9000.0, over_ma=0)
    building.outlets["box5"].offer = lambda _now_ms: 9000
    building.advance(CLOCK.utc_ms() + 60_000)
    flowing = told()
    building.meters["m5"].import_wh += 1
    counted = told()
    line._units[15] = Unit("m5", "iem3155", 4)
    exchanged = told()
    assert [a != b for a, b in zip(standing, flowing, strict=True)] == [True, True, True, False]
    assert [a != b for a, b in zip(flowing, counted, strict=True)] == [False, False, True, False]
    assert [a != b for a, b in zip(counted, exchanged, strict=True)] == [False, False, False, True]
    assert len(truth.given) == 5


def test_a_unit_that_is_not_on_the_line_is_silent(bank):  # type: ignore[no-untyped-def]
    assert bank[0].read(99, "holding", 0x0C83, 4) is None


async def test_a_gateway_that_ends_at_its_start_is_named_with_its_last_words(tmp_path: Path):
    process = GatewayProcess(tmp_path, CLOCK, ("this_module_is_not_there",))
    await process.start()
    with pytest.raises(GatewayError, match="No module named"):
        await process.ready()
    process.close()


async def test_a_gateway_that_was_killed_does_not_answer_and_leaves_no_process(tmp_path: Path):
    process = GatewayProcess(tmp_path, CLOCK, ("timeit", "-n", "1", "import time; time.sleep(60)"))
    await process.start()
    assert process.alive
    await process.kill()
    assert not process.alive
    assert await process.status() is None
    process.close()


@pytest.mark.parametrize("text", ["localhost", "host:", ":1883", "host:99999", "host:port"])
def test_a_broker_that_cannot_be_understood_is_one_sentence(text: str, tmp_path: Path):
    with pytest.raises(ValueError, match="--broker: expected mosquitto, embedded or HOST:PORT"):
        brokers.choose(text, tmp_path)


def test_somebody_elses_broker_is_taken_as_it_is(tmp_path: Path):
    chosen = brokers.choose("broker.example:1884", tmp_path)
    assert (chosen.host, chosen.port, chosen.process) == ("broker.example", 1884, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--broker", "nonsense"], "--broker: expected"),
        (["--speed", "0"], "--speed: must be positive"),
        (["--sabotage", "nonsense"], "--sabotage: 'nonsense' is unknown"),
        (["--judge", "/nowhere"], "--judge: /nowhere is no folder"),
    ],
)
def test_bad_arguments_are_one_sentence_and_exit_2(arguments, sentence, tmp_path, capsys):  # type: ignore[no-untyped-def]
    assert main(["demo", "--dir", str(tmp_path / "new"), *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):  # type: ignore[no-untyped-def]
    (tmp_path / "mine").write_text("precious")
    assert main(["demo", "--dir", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


class Seen:
    """A run to look at."""

    def now_ms(self) -> int:
        return plan.EPOCH_MS

    async def status(self) -> None:
        return None

    def loads(self):  # type: ignore[no-untyped-def]
        return {"house": (40_000, (41_000.0, 20_000.0, -5_000.0))}

    def boxes(self):  # type: ignore[no-untyped-def]
        return [
            {"name": "box1", "status": "Charging", "card": "CARD-A", "limit_ma": 6000, "draw_ma": 5900, "phases": 3}
        ]

    def sun_w(self) -> float:
        return 5100.0


def drawn(status, size=LARGE) -> str:  # type: ignore[no-untyped-def]
    console = Console(file=io.StringIO(), width=size.width, height=size.height)
    story = Story(plan.ZONE, console, plain=False)
    story.hear(plan.EPOCH_MS, "uplink_cut", {"text": "the uplink is cut"})
    console.print(picture(Seen(), story, status, size))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_picture_of_a_dead_gateway_shows_the_truth_of_the_building():
    text = drawn(None)
    for words in ("11:30:00", "gateway does not answer", "41.0 A", "box1", "5.9 A x 3", "alone", "the uplink is cut"):
        assert words in text


def test_the_picture_of_a_living_gateway_shows_reasons_queues_and_the_solar_share():
    status = {
        "connectors": [{"id": "box1/1", "reason": "garage L2"}],
        "upstreams": [{"queue": 3, "parked": 1, "connected": False}, {"queue": 2, "parked": 0, "connected": True}],
        "cloud": {"connected": False, "backlog": {"billing": 7, "event": 1}},
        "split": {"solar_share_pct": 42, "last_interval": "2026-06-13T09:45:00.000Z"},
    }
    text = drawn(status)
    assert "garage L2" in text
    assert "1 lines up, 5 wait, 1 parked" in text
    assert "7 billing 1 event wait" in text
    assert "42 % of the quarter from 11:45" in text


def test_the_picture_fits_a_small_terminal():
    lines = drawn(None, ConsoleDimensions(80, 24)).splitlines()
    assert len(lines) <= 24 - 6  # one circuit and one box here, two and six in the demonstration
    assert max(map(len, lines)) <= 80
    assert "41.0 A" in "".join(lines)


def test_without_a_terminal_each_event_is_one_line():
    console = Console(file=io.StringIO(), width=40)
    story = Story(plan.ZONE, console, plain=True)
    story.hear(plan.EPOCH_MS, "car_started", {"charger": "box1", "card": "CARD-A", "text": "a three-phase car comes"})
    assert console.file.getvalue() == "11:30:00  car_started      box1 CARD-A a three-phase car comes\n"  # type: ignore[attr-defined]


async def test_the_house_starts_without_a_gateway_and_leaves_its_evidence(tmp_path: Path):
    (tmp_path / "evidence").mkdir()
    house = House(tmp_path, CLOCK, 1, brokers.Broker("127.0.0.1", 1, "3.1.1"), 1)
    await house.start()
    await house.close()
    written = {path.name for path in (tmp_path / "evidence").iterdir()}
    assert {"truth.db", "csms.db", "charger_wire.jsonl", "csms_wire.jsonl", "events.jsonl", "beat.json"} <= written
    assert (tmp_path / "secrets" / "operator").stat().st_mode & 0o077 == 0


async def test_an_end_that_nobody_asked_for_is_noticed_and_a_kill_is_not_one(tmp_path: Path):
    process = GatewayProcess(tmp_path, CLOCK, ("timeit", "-n", "1", "import time; time.sleep(60)"))
    await process.start()
    noticed = asyncio.create_task(process.end_by_itself())
    await process.kill()
    process._module = ("this_module_is_not_there",)
    assert not noticed.done()
    await process.start()
    async with asyncio.timeout(10):
        await noticed
    assert process.ended_by_itself
    process.close()
