"""Site time and its quality: the wall clock of a real site, or the scaled clock of a demonstration."""

from __future__ import annotations

import asyncio
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.model import Stamp, TimeQuality

SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches it at each successful synchronisation (systemd-timesyncd.service(8))."""

HARDWARE_CLOCK = Path("/dev/rtc0")
HOLDOVER_AFTER_S = 3 * 3600
"""timesyncd polls at most every 2048 s; after three hours without it the clock runs on its own."""


class RealClock:
    """The machine's clock. It never goes backwards, and starts no earlier than `not_before_ms` (newest persisted)."""

    def __init__(self, not_before_ms: int = 0) -> None:
        self._floor_ms = not_before_ms
        self._guessed = time.time() * 1000 < not_before_ms

    def start_no_earlier_than(self, utc_ms: int) -> None:
        """The newest time that the database holds: without a hardware clock, time goes on from there."""
        if time.time() * 1000 < utc_ms:
            self._guessed = True
        self._floor_ms = max(self._floor_ms, utc_ms)

    def now(self) -> Stamp:
        return Stamp(self.utc_ms(), self._quality())

    def utc_ms(self) -> int:
        self._floor_ms = max(self._floor_ms, time.time_ns() // 1_000_000)
        return self._floor_ms

    def monotonic(self) -> float:
        return time.monotonic()

    def link_s(self, site_s: float) -> float:
        return site_s

    async def sleep(self, site_s: float) -> None:
        await asyncio.sleep(site_s)

    def _quality(self) -> TimeQuality:
        try:
            age_s = time.time() - os.stat(SYNCHRONISED).st_mtime
        except OSError:
            if self._guessed and time.time_ns() // 1_000_000 < self._floor_ms + 1000:
                return TimeQuality.GUESSED
            return TimeQuality.RTC if HARDWARE_CLOCK.exists() else TimeQuality.GUESSED
        return TimeQuality.NTP if age_s < HOLDOVER_AFTER_S else TimeQuality.HOLDOVER


@dataclass(frozen=True, slots=True)
class Scale:
    """`scaled:EPOCH,MONOTONIC,SPEED`: at CLOCK_MONOTONIC = `monotonic` the site time was `epoch_ms`."""

    epoch_ms: int
    monotonic: float
    speed: float

    def __str__(self) -> str:
        epoch = datetime.fromtimestamp(self.epoch_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
        return f"scaled:{epoch},{self.monotonic},{self.speed:g}"


class ScaledClock:
    """Site time that runs `speed` times fast; every process of a demonstration shares the scale."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale

    def start_no_earlier_than(self, utc_ms: int) -> None:
        """The scale alone says what time it is: it survives a restart."""

    def now(self) -> Stamp:
        return Stamp(self.utc_ms(), TimeQuality.SIMULATED)

    def utc_ms(self) -> int:
        elapsed_s = (time.monotonic() - self._scale.monotonic) * self._scale.speed
        return self._scale.epoch_ms + round(elapsed_s * 1000)

    def monotonic(self) -> float:
        return (time.monotonic() - self._scale.monotonic) * self._scale.speed

    def link_s(self, site_s: float) -> float:
        return site_s / self._scale.speed

    async def sleep(self, site_s: float) -> None:
        await asyncio.sleep(site_s / self._scale.speed)


def parse_scale(text: str) -> Scale:
    """Read `scaled:EPOCH,MONOTONIC,SPEED`; ValueError says in one sentence what is wrong."""
    match = re.fullmatch(r"scaled:([^,]+),([^,]+),([^,]+)", text)
    if match is None:
        raise ValueError("--clock: expected scaled:EPOCH,MONOTONIC,SPEED, for example scaled:2026-06-13T09:30:00Z,0,60")
    epoch, monotonic, speed = match.groups()
    if not epoch.endswith("Z"):
        raise ValueError(f"--clock: EPOCH must be UTC and end in Z, not {epoch!r}")
    try:
        epoch_ms = round(datetime.fromisoformat(epoch).timestamp() * 1000)
        scale = Scale(epoch_ms, float(monotonic), float(speed))
    except ValueError as error:
        raise ValueError(f"--clock: {error}") from error
    if not scale.speed > 0:
        raise ValueError(f"--clock: SPEED must be positive, not {speed}")
    return scale


def iso(utc_ms: int) -> str:
    """UTC with milliseconds and a Z: the spelling of every timestamp we write."""
    seconds, ms = divmod(utc_ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms:03d}Z"
