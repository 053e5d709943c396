"""When a session stopped: a message that was kept, a charger's clock that is wrong, and a clock of ours that is."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.clock import iso
from gateway.model import TimeQuality
from gateway.sessions.stopping import by_lags
from gateway.store import chargers
from gateway.store.chargers import StatusRow

from .conftest import ended, ms

MINUTES_37 = 37 * 60_000


@pytest.mark.parametrize(
    ("start_lag_s", "stop_lag_s", "expected_s"),
    [
        (0, 0, 0), (0, 9, 0), (0, 300, 300), (None, 300, 300),
        (3600, 3600, 0), (3600, 3605, 0),  # a clock that is an hour late
        (3600, 3900, 300),  # such a clock, and a stop that was kept for five minutes
        (7200, 3600, 3600),  # a whole session that was kept: the charger's own time
        (-3600, -3600, 0),  # a clock in the future says nothing of the past
    ],
)  # fmt: skip
def test_how_long_before_its_message_it_stopped(start_lag_s: int | None, stop_lag_s: int, expected_s: int) -> None:
    start_lag_ms = None if start_lag_s is None else start_lag_s * 1000
    assert by_lags(start_lag_ms, stop_lag_s * 1000, 10_000) == expected_s * 1000


def test_the_same_lag_at_start_and_stop_is_no_wrong_clock_where_the_clock_is_known_to_be_right() -> None:
    """Seed 10054: start and stop were both sent again after a minute, and the stop counted as one of now."""
    assert by_lags(60_000, 60_000, 10_000, clock_right=True) == 60_000
    assert by_lags(60_000, 0, 10_000, clock_right=True) == 0
    assert by_lags(0, 60_000, 10_000, [60_000], clock_right=True) == 60_000


def test_a_charger_that_has_not_followed_our_step_is_not_in_the_past() -> None:
    """It took the guessed time at its boot, and stops with it after ours is right."""
    lag = MINUTES_37
    assert by_lags(0, lag, 12_000) == lag
    assert by_lags(0, lag, 12_000, [lag]) == 0
    assert by_lags(0, lag + 60_000, 12_000, [lag]) == lag + 60_000


async def _read(house: Any, *readings: tuple[str, int]) -> None:
    for time, wh in readings:
        house.at(time)
        house.meters.registers["m1"] = (wh, None)
        house.meters.poll("m1")


async def test_a_stop_in_the_past_takes_the_series_where_it_is_flat(house: Any) -> None:
    """The charger was away: the register is the same on both sides of the stop, so it was that."""
    async with house.running():
        await house.start(1)
        await _read(house, ("09:15:20", 7_400), ("09:16:00", 7_600), ("09:16:10", 7_600), ("09:18:00", 7_601))
        house.at("09:20:00")
        await house.stop(1, payload={"timestamp": "2026-04-15T09:16:05Z"})
        session = await ended(house)
    assert (session["end_wh"], session["billable"], session["end_provenance"]) == (7_600, 1, "meter")
    assert session["end_ms"] == session["stop_ms"]


async def test_a_stop_in_the_past_under_load_has_only_the_chargers_own_value(house: Any) -> None:
    """The register is not the same on both sides: nothing is substituted, a person decides."""
    async with house.running():
        await house.start(1)
        await _read(house, ("09:16:00", 7_600), ("09:16:10", 7_630))
        house.at("09:20:00")
        await house.stop(1, payload={"timestamp": "2026-04-15T09:16:05Z"})
        session = await ended(house)
    assert (session["end_wh"], session["end_provenance"]) == (None, "charger")
    assert (session["charger_end_wh"], session["unbillable_reason"]) == (9_000, "end_register_only_from_charger")


async def test_a_whole_session_that_the_charger_kept_is_not_billed_with_zero(house: Any) -> None:
    """Start and stop come together, long after: no register of ours belongs to it."""
    async with house.running():
        await house.start(1, payload={"timestamp": "2026-04-15T07:00:00Z"})
        await house.stop(1, payload={"timestamp": "2026-04-15T08:00:00Z"})
        session = await ended(house)
    assert (session["billable"], session["unbillable_reason"]) == (0, "ended_before_the_gateway_saw_it_begin")


async def test_a_charger_whose_clock_is_wrong_is_not_in_the_past(house: Any) -> None:
    """The same lag at start and stop is a clock that is an hour late."""
    async with house.running():
        await house.start(1, payload={"timestamp": "2026-04-15T08:10:00"})
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:30:00")
        house.meters.registers["m1"] = (8_000, None)
        await house.stop(1, payload={"timestamp": "2026-04-15T08:30:00"})
        session = await ended(house)
    assert (session["billable"], session["end_wh"]) == (1, 8_000)


@pytest.mark.parametrize("told", ["09:15:00", "09:09:59"])
async def test_a_stop_that_was_sent_again_is_in_the_past_where_the_box_tells_the_right_time_else(
    house: Any, told: str
) -> None:
    """Seeds 10054, 10058: start and stop each came a minute late, as with a clock that is wrong. In seed 705 the status
    came 3 ms before the start."""
    async with house.running():
        await house.start(1, payload={"timestamp": "2026-04-15T09:09:00Z"})
        await _read(house, ("09:15:00", 7_400), ("09:18:50", 7_600), ("09:19:10", 7_600), ("09:19:50", 7_601))
        status = StatusRow(1, f'{{"timestamp":"2026-04-15T{told}.100Z"}}', ms(f"2026-04-15T{told}.200Z"), True)
        await house.db.run(lambda db: chargers.save_status(db, "box1", status))
        house.at("09:20:00")
        await house.stop(1, payload={"timestamp": "2026-04-15T09:19:00Z"})
        session = await ended(house)
    assert (session["stop_ms"], session["end_wh"]) == (ms("2026-04-15T09:19:00Z"), 7_600)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ("09:15:00", "09:19:00"),  # it came at once: the box's clock is right, so the stop was kept for a minute
        ("09:14:42", "09:19:18"),  # it lay behind by as much as the start: nothing shows that the clock is right
    ],
)
async def test_a_start_that_was_moved_by_a_guess_says_nothing_where_meter_values_show_the_boxs_clock(
    house: Any, measured: str, expected: str
) -> None:
    """Seed 10113: what an earlier start had stamped half a day ahead was moved by the next one's step, 18 s too late;
    that looked like a box whose clock is 18 s behind, and its stop, sent again after a minute, came out 18 s late."""
    async with house.running():
        await house.start(1, payload={"timestamp": "2026-04-15T09:09:42Z"})
        house.at("09:15:00")
        values = [{"timestamp": "2026-04-15T09:14:00Z"}, {"timestamp": f"2026-04-15T{measured}Z"}]
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": values}, tx=1, answer={})
        await _read(house, ("09:18:50", 7_600), ("09:19:10", 7_600), ("09:19:50", 7_600))
        house.at("09:20:00")
        await house.stop(1, payload={"timestamp": "2026-04-15T09:19:00Z"})
        session = await ended(house)
    assert (session["stop_ms"], session["end_wh"]) == (ms(f"2026-04-15T{expected}Z"), 7_600)


@pytest.mark.parametrize("payload", [{}, {"meterValue": []}, {"meterValue": ["?"]}, {"meterValue": [{"timestamp": 5}]}])
async def test_meter_values_without_a_time_say_nothing(house: Any, payload: dict[str, Any]) -> None:
    """And another box's say nothing of this one; the stop counts by its own time."""
    async with house.running():
        await house.start(1)
        await house.journal("MeterValues", payload, tx=1, answer={})
        await house.journal("MeterValues", {"meterValue": [{"timestamp": iso(house.clock.now_ms)}]}, charger="box2")
        await _read(house, ("09:18:50", 7_600), ("09:19:10", 7_600))
        house.at("09:20:00")
        await house.stop(1, payload={"timestamp": "2026-04-15T09:19:00Z"})
        session = await ended(house)
    assert (session["stop_ms"], session["end_wh"]) == (ms("2026-04-15T09:19:00Z"), 7_600)


HALF_A_DAY_MS = 12 * 3_600_000


@pytest.mark.parametrize(("told", "kept_s"), [(False, 0), (True, 0), (True, 300)])
async def test_while_our_clock_is_a_guess_a_stop_is_as_old_as_the_boxs_other_messages_say(
    house: Any, told: bool, kept_s: int
) -> None:
    """Half a day ahead, a stop of now looked half a day old and got the register of before a power cut (seed 187)."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
    house.clock.now_ms += HALF_A_DAY_MS
    house.clock.quality = TimeQuality.RTC
    async with house.running():
        if told:
            said = f'{{"timestamp":"{iso(house.clock.now_ms - HALF_A_DAY_MS)}"}}'
            status = StatusRow(1, said, house.clock.now_ms, told=True)
            await house.db.run(lambda db: chargers.save_status(db, "box1", status))
        for wh in (7_400, 7_600, 7_600, 7_600):
            house.clock.now_ms += 300_000
            house.meters.registers["m1"] = (wh, None)
            house.meters.poll("m1")
        stopped_ms = house.clock.now_ms - kept_s * 1000
        await house.stop(1, payload={"timestamp": iso(stopped_ms - HALF_A_DAY_MS)})
        session = await ended(house)
    assert (session["stop_ms"], session["end_wh"]) == (stopped_ms, 7_600)
    assert session["stop_arrived_ms"] == stopped_ms + kept_s * 1000


async def test_a_stop_from_before_our_guess_began_is_not_looked_up_in_the_time_of_another_clock(house: Any) -> None:
    """Seed 620: two starts in a row guessed, a minute apart, and the stop fell among the readings of the first."""
    house.clock.quality = TimeQuality.GUESSED
    async with house.running():
        await house.start(1)
        for wh in (7_400, 7_600, 7_600):
            house.clock.now_ms += 60_000
            house.meters.registers["m1"] = (wh, None)
            house.meters.poll("m1")
        await house.until("SELECT count(*) FROM session", 1)
    first_ms = house.clock.now_ms
    async with house.running():
        said = f'{{"timestamp":"{iso(first_ms + 40_000)}"}}'
        await house.db.run(lambda db: chargers.save_status(db, "box1", StatusRow(1, said, first_ms, told=True)))
        house.clock.now_ms += 30_000
        house.meters.registers["m1"] = (7_700, None)
        await house.stop(1, payload={"timestamp": iso(first_ms - 10_000)})
        session = await ended(house)
    assert (session["stop_ms"], session["end_wh"], session["end_q"]) == (first_ms + 30_000, 7_700, "guessed")
