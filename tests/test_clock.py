"""Site time: scaled, real, and never backwards."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway import clock as clocks
from gateway.clock import RealClock, Scale, ScaledClock, iso, parse_scale
from gateway.model import TimeQuality

GUESSED = TimeQuality.GUESSED


def test_a_scale_is_read_and_written_the_same() -> None:
    """The option that one process prints is the option that another reads."""
    scale = parse_scale("scaled:2026-06-13T09:30:00Z,123.5,60")
    assert scale == Scale(1_781_343_000_000, 123.5, 60.0)
    assert parse_scale(str(scale)) == scale


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("fast", "expected scaled:"),
        ("scaled:2026-06-13T09:30:00,0,60", "must be UTC"),
        ("scaled:2026-06-13T09:30:00Z,0,0", "must be positive"),
        ("scaled:2026-06-13T09:30:00Z,zero,60", "zero"),
        ("scaled:2026-06-13T09:30:00Z,0,nan", "must be positive"),
    ],
)
def test_a_bad_scale_is_refused_in_one_sentence(text: str, word: str) -> None:
    """The sentence names the part that is wrong."""
    with pytest.raises(ValueError, match=word):
        parse_scale(text)


def test_scaled_time_runs_with_the_machine_and_survives_a_restart() -> None:
    """Two clocks with one scale agree: a killed gateway comes back to the same site time."""
    scale = Scale(1_781_343_000_000, time.monotonic(), 60.0)
    before = ScaledClock(scale).utc_ms()
    after = ScaledClock(scale).utc_ms()
    assert 0 <= after - before < 60_000
    assert ScaledClock(scale).now().quality is TimeQuality.SIMULATED
    assert ScaledClock(scale).link_s(60.0) == 1.0


def test_real_time_starts_no_earlier_than_what_is_on_disk() -> None:
    """Without a hardware clock the daemon goes on from the newest time it has written, and says that it guesses."""
    ahead_ms = round(time.time() * 1000) + 3_600_000
    clock = RealClock()
    clock.start_no_earlier_than(ahead_ms)
    assert clock.utc_ms() >= ahead_ms
    assert clock.utc_ms() >= clock.utc_ms() - 1


@pytest.mark.parametrize(
    ("says", "quality"),
    [("{now}", TimeQuality.RTC), ("{now_off}", GUESSED), ("?", GUESSED), (None, GUESSED)],
)
def test_a_clock_without_a_battery_is_a_guess(
    says: str | None, quality: TimeQuality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Raspberry Pi 5 without a cell has /dev/rtc0, which counts from 1970."""
    rtc = tmp_path / "since_epoch"
    if says is not None:
        rtc.write_text(says.format(now=round(time.time()), now_off=90) + "\n")
    monkeypatch.setattr(clocks, "HARDWARE_CLOCK", rtc)
    monkeypatch.setattr(clocks, "SYNCHRONISED", tmp_path / "never")
    clocks._goes_by_a_battery.cache_clear()
    assert clocks.look().quality is quality
    clocks._goes_by_a_battery.cache_clear()


def test_the_start_of_the_machine_is_known_also_where_the_service_manager_hides_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ProcSubset=pid hides /proc/sys; the unit hands it in."""
    monkeypatch.setattr(clocks, "MACHINE_BOOT", tmp_path / "hidden")
    for given, expected in (("5f3", "5f3"), ("", "")):
        monkeypatch.setenv("ZEV_MACHINE_BOOT", given)
        clocks._machine_boot.cache_clear()
        assert clocks.look().machine_boot == expected
    clocks._machine_boot.cache_clear()


def test_timestamps_end_in_z() -> None:
    """Some wallboxes refuse +00:00."""
    assert iso(1_781_343_000_007) == "2026-06-13T09:30:00.007Z"
