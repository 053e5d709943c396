"""The meters of a site on real wires: readings, the boundary, on demand, the dead, the swapped, the nonsense."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest

from gateway.clock import ScaledClock
from gateway.meters.meters import Meters, usual_w
from gateway.meters.model_map import ModelError
from gateway.model import ConnectorRef, Event
from gateway.site import Bus, Charger, Connector, Meter, possible_w
from simulators.modbus_slave import Fault, PtySlave, TcpSlave
from tests.pulse import Pulse, unless_it_stood_still

Run = Callable[..., AbstractAsyncContextManager[Any]]
INTERVAL_MS = 900_000
PATIENT_S = 0.3


def rtu(slave: PtySlave) -> Bus:
    return Bus(id="rtu", device=slave.path, baud=576_000, pause_s=0.001, timeout_s=0.03)


def patient(slave: PtySlave) -> Bus:
    """For tests in which no request may be lost because the machine is busy."""
    return replace(rtu(slave), timeout_s=PATIENT_S)


def box(unit: int, model: str = "iem3155", **more: object) -> Meter:
    return Meter(id=f"m{unit}", model=model, bus="rtu", unit=unit, role="charger", **more)  # type: ignore[arg-type]


async def test_three_models_on_one_serial_line_give_their_exact_registers(
    pty: PtySlave, building, run_meters: Run
) -> None:
    building.add(1, "iem3155", wh=123_456)
    building.add(2, "abb_b23", wh=123_456)
    building.add(3, "sdm630", wh=123_456)
    meters = (box(1), box(2, "abb_b23"), box(3, "sdm630"))
    async with run_meters((patient(pty),), meters) as running:
        await running.until(lambda: all(len(running.of(f"m{unit}")) >= 5 for unit in (1, 2, 3)))
    for unit in (1, 2, 3):
        for reading in running.of(f"m{unit}"):
            low = building.true_wh(unit, reading.requested_ms) - (10 if unit == 2 else 2)
            assert low <= reading.import_wh <= building.true_wh(unit, reading.replied_ms)
            assert reading.export_wh == 0
            assert reading.power_w == 3600
            assert all(abs(current - 5217) <= 10 for current in reading.current_ma)
            assert reading.serial == str(1000 + unit)
            assert reading.map_version.startswith(reading.model + "@")
            assert reading.raw
    assert running.events == []
    assert not any(status["lost"] for status in running.meters.status()["meters"])


async def test_a_fast_meter_on_tcp_is_read_every_site_second(tcp, building, run_meters: Run) -> None:
    building.add(1, "abb_b23")
    grid = Meter(id="grid", model="abb_b23", bus="tcp", unit=1, role="grid", period_s=1.0)
    bus = Bus(id="tcp", host="127.0.0.1", port=tcp[1], pause_s=0.0, timeout_s=0.2)
    async with run_meters((bus,), (grid,)) as running:
        await running.until(lambda: len(running.readings) >= 40)
    first, last = running.readings[10], running.readings[-1]
    assert (last.requested_ms - first.requested_ms) / (len(running.readings) - 11) < 1500
    assert running.meters.latest("grid") is last


async def test_the_quarter_hour_reads_the_energy_of_all_meters_at_once(
    pty: PtySlave, building, run_meters: Run, clock: ScaledClock
) -> None:
    """Seven meters within 100 real ms of the boundary, none requested before it."""
    for unit in range(1, 8):
        building.add(unit, "iem3155")

    async def scenario() -> None:
        clock._scale = replace(clock._scale, epoch_ms=clock._scale.epoch_ms + 880_000)
        boundary_ms = (clock.utc_ms() // INTERVAL_MS + 1) * INTERVAL_MS
        async with run_meters((rtu(pty),), tuple(box(unit, period_s=60.0) for unit in range(1, 8))) as running:
            await running.until(lambda: clock.utc_ms() > boundary_ms + 10_000)
            for unit in range(1, 8):
                after = running.meters.series(f"m{unit}", boundary_ms, boundary_ms + 10_000)
                assert after, f"m{unit} has no boundary reading"
                assert boundary_ms <= after[0].requested_ms
                assert after[0].replied_ms < boundary_ms + 6_000
                assert after[0].import_wh is not None

    await unless_it_stood_still(scenario, 0.01)


async def test_a_reading_on_demand_is_requested_after_it_was_asked_for(
    pty: PtySlave, building, run_meters: Run, clock: ScaledClock
) -> None:
    building.add(1, "iem3155")
    async with run_meters((rtu(pty),), (box(1, period_s=60.0),)) as running:
        await running.until(lambda: running.meters.latest("m1"))
        before = running.meters.latest("m1")
        for _ in range(5):
            asked_ms, begun = clock.utc_ms(), time.monotonic()
            async with Pulse() as pulse:
                one, two = await asyncio.gather(running.meters.read_now("m1"), running.meters.read_now("m1"))
            assert time.monotonic() - begun < 0.1 + pulse.lost_s
            assert one.requested_ms >= asked_ms
            assert two.import_wh >= building.true_wh(1, asked_ms) - 2
        # An energy reading has no current; it does not hide the newest one from the load manager.
        assert one.current_ma is None
        assert running.meters.latest("m1") is before
        assert before.current_ma is not None
        assert one in running.meters.series("m1", asked_ms, clock.utc_ms())


async def test_a_silent_meter_gives_none_within_one_timeout_and_is_told_once(
    pty: PtySlave, building, run_meters: Run
) -> None:
    building.add(1, "iem3155")
    async with run_meters((patient(pty),), (box(1, period_s=1.0),)) as running:
        await running.until(lambda: running.meters.latest("m1"))
        pty.units.faults[1] = Fault("silent")
        begun = time.monotonic()
        async with Pulse() as pulse:
            assert await running.meters.read_now("m1") is None
        assert time.monotonic() - begun < PATIENT_S + 0.05 + pulse.lost_s
        await running.until(lambda: "meter_lost" in running.kinds())
        old = running.meters.latest("m1")
        assert await running.meters.read_now("m1") is None
        status = running.meters.status()["meters"][0]
        assert status["lost"]
        assert status["timeouts"] >= 2
        assert status["import_wh"] == old.import_wh
        del pty.units.faults[1]
        await running.until(lambda: "meter_back" in running.kinds())
        await running.until(lambda: running.meters.latest("m1") is not old)
    assert [kind for kind in running.kinds() if kind.startswith("meter_")] == ["meter_lost", "meter_back"]


async def test_a_dead_meter_leaves_the_others_their_readings(pty: PtySlave, building, run_meters: Run) -> None:
    for unit in range(1, 6):
        building.add(unit, "iem3155")
    pty.units.faults[3] = Fault("silent")
    async with run_meters((rtu(pty),), tuple(box(unit) for unit in range(1, 6))) as running:
        await running.until(lambda: len(running.of("m1")) >= 20)
        counts = {unit: len(running.of(f"m{unit}")) for unit in (1, 2, 4, 5)}
        assert min(counts.values()) >= 18
        assert running.of("m3") == []
        assert running.meters.latest("m3") is None
        assert [event.subject for event in running.events if event.kind == "meter_lost"] == ["meter m3"]


async def test_a_meter_that_answers_but_not_always_is_told(pty: PtySlave, building, run_meters: Run) -> None:
    """It gives readings all the time, so nobody misses it."""
    building.add(1, "iem3155")
    async with run_meters((rtu(pty),), (box(1, period_s=1.0),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        pty.units.faults[1] = Fault("garbled", every=3)
        await running.until(lambda: {"meter_unsteady", "meter_lost"} & set(running.kinds()))
        pty.units.faults.clear()
        await running.until(lambda: {"meter_steady", "meter_back"} & set(running.kinds()))
    assert running.readings


@pytest.mark.parametrize("value", [236, 0xFFFF, 0x5555])
async def test_a_meter_that_answers_one_number_for_every_register_is_not_believed(
    pty: PtySlave, building, run_meters: Run, value: int
) -> None:
    building.add(1, "sdm630")
    async with run_meters((rtu(pty),), (box(1, "sdm630", period_s=1.0),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        pty.units.faults[1] = Fault("equal", code=value)
        known = len(running.readings)
        await running.until(lambda: {"reading_quarantined", "meter_lost"} & set(running.kinds()))
        assert len(running.readings) <= known + 1
        pty.units.faults.clear()
        await running.until(lambda: len(running.readings) >= known + 3)
    assert all(
        after.import_wh >= before.import_wh
        for before, after in zip(running.readings, running.readings[1:], strict=False)
    )
    assert sum(event.kind == "reading_quarantined" for event in running.events) <= 2


async def test_on_a_bad_line_no_reading_is_wrong_and_none_is_older_than_it_says(
    pty: PtySlave, building, run_meters: Run
) -> None:
    """Late, damaged, chopped and equal frames among good ones: what comes out lies between request and reply."""
    for unit in range(1, 7):
        building.add(unit, "iem3155", power_w=20_000)
    faults = (
        Fault("late", seconds=0.033, every=7),
        Fault("bad_crc", every=5),
        Fault("stray", every=6),
        Fault("equal", code=7, every=4),
        Fault("truncated", every=6),
        Fault("late", seconds=0.065, every=5),
    )
    pty.units.faults.update(enumerate(faults, start=1))
    async with run_meters((rtu(pty),), tuple(box(unit, period_s=2.0) for unit in range(1, 7))) as running:
        await running.until(lambda: len(running.readings) >= 60)
    for reading in running.readings:
        unit = int(reading.meter[1:])
        assert building.true_wh(unit, reading.requested_ms) - 2 <= reading.import_wh, reading
        assert reading.import_wh <= building.true_wh(unit, reading.replied_ms), reading
    counted = running.meters.status()["meters"]
    assert sum(status["timeouts"] for status in counted) > 10
    assert counted[3]["rejected"] > 0


async def test_a_meter_that_answers_nonsense_from_the_start_is_not_recognised(
    pty: PtySlave, building, run_meters: Run
) -> None:
    building.add(1, "sdm630")
    building.add(2, "iem3155")
    pty.units.faults[1] = Fault("equal", code=236)
    async with run_meters((rtu(pty),), (box(1, "sdm630"), box(2))) as running:
        await running.until(lambda: len(running.of("m2")) >= 10 and "meter_lost" in running.kinds())
    (event,) = [event for event in running.events if event.kind == "meter_not_recognised"]
    assert event.subject == "meter m1"
    assert "register 70 holds 00ec 00ec: no Eastron SDM630-Modbus answers that" in event.cause
    assert running.of("m1") == []


async def test_a_register_that_falls_to_zero_is_quarantined_with_its_raw_pattern(
    pty: PtySlave, building, run_meters: Run
) -> None:
    building.add(1, "iem3155", wh=50_000)
    async with run_meters((rtu(pty),), (box(1, period_s=1.0),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        building.start_wh[1], building.power_w[1] = 0, 0
        await running.until(lambda: "reading_quarantined" in running.kinds())
        building.start_wh[1], building.power_w[1] = 50_500, 3600
        known = len(running.readings)
        await running.until(lambda: len(running.readings) >= known + 3)
    assert min(reading.import_wh for reading in running.readings) >= 50_000
    event = next(event for event in running.events if event.kind == "reading_quarantined")
    assert event.keep
    assert event.data["raw"] == "0000000000000000/0000000000000000"
    assert event.data["reason"] == "fall"


async def test_another_meter_in_its_place_is_told_and_not_read_where_the_serial_is_configured(
    pty: PtySlave, building, run_meters: Run
) -> None:
    building.add(1, "iem3155", serial=4711)
    building.add(2, "iem3155", serial=4712)
    async with run_meters((rtu(pty),), (box(1, serial="0004711"), box(2, serial="9999"))) as running:
        await running.until(lambda: len(running.of("m1")) >= 3 and "meter_swapped" in running.kinds())
    assert running.of("m2") == []
    (event,) = [event for event in running.events if event.kind == "meter_swapped"]
    assert event.subject == "meter m2"
    assert "serial 4712 answers where the configuration says 9999" in event.cause


async def test_the_right_meter_is_read_soon_after_two_swapped_ones_are_put_right(
    pty: PtySlave, building, run_meters: Run, clock: ScaledClock
) -> None:
    """For up to 5 min, until the serial number was asked again, the right meter was taken for the wrong one."""
    building.add(1, "iem3155", wh=900_000, serial=4711)
    async with run_meters((rtu(pty),), (box(1, serial="4711", period_s=1.0),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        building.add(1, "iem3155", wh=700, serial=4712)
        await running.until(lambda: "meter_swapped" in running.kinds())
        kept = len(running.readings)
        building.add(1, "iem3155", wh=900_000, serial=4711)
        righted_ms = clock.utc_ms()
        await running.until(lambda: len(running.readings) > kept)
    assert running.readings[-1].requested_ms - righted_ms < 60_000
    assert min(one.import_wh for one in running.readings) >= 900_000
    assert "meter_unswapped" in running.kinds()


async def test_a_meter_that_was_swapped_at_the_start_is_read_as_soon_as_the_right_one_has_told_its_name(
    pty: PtySlave, building, run_meters: Run, clock: ScaledClock
) -> None:
    """Seed 20100: the wrong name had used up the one time at which a first level asks at once."""
    building.add(1, "iem3155", wh=700, serial=4712)
    async with run_meters((rtu(pty),), (box(1, serial="4711", period_s=1.0),)) as running:
        await running.until(lambda: "reading_quarantined" in running.kinds())
        building.add(1, "iem3155", wh=900_000, serial=4711)
        await running.until(lambda: "meter_unswapped" in running.kinds())
        named_ms = clock.utc_ms()
        await running.until(lambda: bool(running.readings))
    assert running.readings[0].import_wh >= 900_000
    assert running.readings[0].requested_ms - named_ms < 8_000


async def test_an_exchanged_meter_is_noticed_when_it_comes_back(pty: PtySlave, building, run_meters: Run) -> None:
    building.add(1, "iem3155", wh=900_000, serial=4711)
    async with run_meters((rtu(pty),), (box(1, period_s=1.0),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        pty.units.faults[1] = Fault("silent")
        await running.until(lambda: "meter_lost" in running.kinds())
        building.add(1, "iem3155", wh=0, power_w=0, serial=5000)
        del pty.units.faults[1]
        await running.until(lambda: running.readings[-1].serial == "5000")
    assert "meter_swapped" in running.kinds()
    assert "meter_rebased" in running.kinds()
    assert running.readings[-1].import_wh == 0


async def test_a_meter_exchanged_within_a_cycle_gives_no_reading_under_the_old_serial(
    pty: PtySlave, building, run_meters: Run, clock: ScaledClock
) -> None:
    """Seed 159: for up to 150 s the new meter's register was taken for the old one's."""
    building.add(1, "iem3155", wh=900_000, serial=4711)
    async with run_meters((rtu(pty),), (box(1, period_s=1.0),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        building.add(1, "iem3155", wh=700, serial=5000)
        exchanged_ms = clock.utc_ms()
        await running.until(lambda: running.readings[-1].serial == "5000")
    assert {one.serial for one in running.readings if (one.import_wh or 0) < 900_000} == {"5000"}
    first = next(one for one in running.readings if one.serial == "5000")
    assert first.requested_ms - exchanged_ms < 45_000
    assert "meter_swapped" in running.kinds()


async def test_a_frozen_meter_is_seen_by_its_power(pty: PtySlave, building, run_meters: Run) -> None:
    building.add(1, "iem3155", power_w=11_000)
    async with run_meters((rtu(pty),), (box(1),)) as running:
        await running.until(lambda: len(running.readings) >= 3)
        pty.units.faults[1] = Fault("frozen")
        await running.until(lambda: "reading_quarantined" in running.kinds())
    event = running.events[-1]
    assert event.data["reason"] == "frozen"


async def test_a_line_that_is_unplugged_is_told_once_and_comes_back(tcp, building, run_meters: Run) -> None:
    slave, port = tcp
    building.add(1, "abb_b23")
    bus = Bus(id="tcp", host="127.0.0.1", port=port, pause_s=0.0, timeout_s=0.1)
    async with run_meters((bus,), (Meter(id="grid", model="abb_b23", bus="tcp", unit=1, role="grid"),)) as running:
        await running.until(lambda: running.readings)
        await slave.close()
        await running.until(lambda: "bus_down" in running.kinds())
        assert await running.meters.read_now("grid") is None
        assert running.meters.status()["meters"][0]["lost"]
        again = TcpSlave(slave.units)
        await again.start(port=port)
        known = len(running.readings)
        await running.until(lambda: len(running.readings) > known + 2)
        await again.close()
    assert running.kinds()[:2] == ["bus_down", "bus_back"]


async def test_a_bus_that_cannot_be_opened_leaves_the_other_one_alone(pty: PtySlave, building, run_meters: Run) -> None:
    building.add(1, "iem3155")
    gone = Bus(id="gone", device="/dev/serial/by-id/not-there")
    other = Meter(id="x", model="em24", bus="gone", unit=1, role="participant")
    async with run_meters((rtu(pty), gone), (box(1), other)) as running:
        await running.until(lambda: len(running.of("m1")) >= 5)
    (event,) = [event for event in running.events if event.kind == "bus_down"]
    assert event.cause == "/dev/serial/by-id/not-there is not there"
    assert "em24" not in event.cause


async def test_the_series_keeps_fifteen_minutes(pty: PtySlave, building, run_meters: Run, clock: ScaledClock) -> None:
    building.add(1, "iem3155")
    async with run_meters((rtu(pty),), (box(1, period_s=60.0),)) as running:
        await running.until(lambda: running.readings)
        first = running.readings[0].requested_ms
        whole = running.meters.series("m1", 0, 1 << 60)
        assert whole[0].requested_ms == first
        station = running.meters._stations["m1"]
        station._keep(replace(whole[0], requested_ms=first + 901_000))
        assert all(reading.requested_ms >= first + 1000 for reading in running.meters.series("m1", 0, 1 << 60))
    assert running.meters.series("nobody", 0, 1) == ()
    assert running.meters.latest("nobody") is None
    assert await running.meters.read_now("nobody") is None


def test_a_site_with_an_unknown_model_is_refused_in_one_sentence(clock: ScaledClock, site_with: Callable) -> None:
    site = site_with((Bus(id="rtu", device="/dev/x"),), (box(1, "sdm999"),))
    with pytest.raises(ModelError, match="meter m1: meter model 'sdm999' is unknown; known are abb_b23"):
        Meters(site, clock, lambda event: None)


def test_what_can_flow_is_what_the_fuse_lets_pass(site_with: Callable) -> None:
    site = site_with((), (box(1),))
    assert possible_w(site, box(1)) == round(3 * 253 * 125 * 1.6)


async def test_a_bus_with_too_many_meters_says_so(clock: ScaledClock, site_with: Callable) -> None:
    events: list[Event] = []
    slow = Bus(id="rtu", device="/dev/not-there", baud=2400)
    meters = Meters(site_with((slow,), tuple(box(unit, "sdm630") for unit in range(1, 12))), clock, events.append)
    task = asyncio.create_task(meters.run())
    async with asyncio.timeout(2):
        while not events:  # noqa: ASYNC110 - another task tells it
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert events[0].kind == "bus_full"
    assert "% of its time" in events[0].cause


async def test_a_meter_that_flaps_is_told_of_once_and_its_serial_number_is_not_said_to_be_missing(
    pty: PtySlave, building, run_meters: Run
) -> None:
    """It came and went every 6 s, and each time two events said so, some that it had no serial number."""
    building.add(1, "iem3155")
    async with run_meters((rtu(pty),), (box(1, period_s=1.0),)) as running:
        await running.until(lambda: running.meters.latest("m1"))
        for round_number in range(8):
            pty.units.faults[1] = Fault("silent")
            timeouts = running.meters.status()["meters"][0]["timeouts"]
            await running.until(
                lambda timeouts=timeouts: running.meters.status()["meters"][0]["timeouts"] >= timeouts + 2
            )
            del pty.units.faults[1]
            known = len(running.readings)
            await running.until(lambda known=known: len(running.readings) > known, 10 + round_number)
        assert [kind for kind in running.kinds() if kind.startswith("meter_")] == ["meter_lost"]
        await running.until(lambda: "meter_back" in running.kinds())
    [back] = [event for event in running.events if event.kind == "meter_back"]
    assert back.data["losses"] >= 4
    [lost] = [event for event in running.events if event.kind == "meter_lost"]
    assert lost.cause.endswith("no answer")


async def test_a_meter_exchanged_to_a_plausible_higher_level_is_known_before_a_watt_hour_of_it_counts(
    pty: PtySlave, building, run_meters: Run
) -> None:
    """100 Wh above the old one, between two looks: the fuse allows it, the power does not explain it."""
    building.add(1, "iem3155", wh=10_000, power_w=0)
    async with run_meters((rtu(pty),), (box(1, period_s=10.0),)) as running:
        await running.until(lambda: len(running.of("m1")) >= 2)
        building.serials[1], building.start_wh[1] = 4711, 10_100
        await running.until(lambda: running.of("m1")[-1].import_wh == 10_100)
    assert {one.serial for one in running.of("m1") if one.import_wh == 10_100} == {"4711"}
    assert "meter_swapped" in running.kinds()


def test_what_usually_flows_is_what_the_boxes_behind_a_meter_are_rated_for(site_with: Callable) -> None:
    connector = Connector(ref=ConnectorRef("b", 1), circuit="house", max_ma=16_000, fallback_ma=0, meter="m1",
                          participant="b")  # fmt: skip
    site = replace(site_with((), (box(1),)), chargers=(Charger(id="b", connectors=(connector,)),))
    assert usual_w(site, box(1)) == 3 * 253 * 16
    assert usual_w(site, box(2)) == possible_w(site, box(2))
