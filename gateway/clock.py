"""Site time and its quality: the wall clock of a real site, or the scaled clock of a demonstration."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from gateway.model import Guess, Stamp, TimeQuality
from gateway.site_time import Look, SiteTime

SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches it at each successful synchronisation (systemd-timesyncd.service(8))."""

HARDWARE_CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")
"""What a clock beside the processor says, UTC seconds (sysfs-class-rtc). A Raspberry Pi 5 has one also without a
battery."""

AS_SET_S = 60.0
"""The machine took its time from that clock, or set it by its own, where both show the same at our start."""

MACHINE_BOOT_NAME = "ZEV_MACHINE_BOOT"
"""The same as `MACHINE_BOOT`, handed in by a service manager that hides /proc/sys from us."""
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Another text after each start of the machine (random(4)): the monotonic clock counts from there."""

HOLDOVER_AFTER_S = 3 * 3600
"""timesyncd polls at most every 2048 s; after three hours without it the clock runs on its own."""


def look() -> Look:
    """The machine's clocks, and whether systemd-timesyncd has compared the first with a time server."""
    return Look(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000, _quality(), _machine_boot())


@cache
def _machine_boot() -> str:
    """No process lives longer than the start of the machine that it belongs to."""
    if given := os.environ.get(MACHINE_BOOT_NAME):
        return given
    try:
        return MACHINE_BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@cache
def _goes_by_a_battery() -> bool:
    """Looked at once: later the machine may have set that clock by its own."""
    try:
        return abs(int(HARDWARE_CLOCK.read_text(encoding="ascii")) - time.time()) <= AS_SET_S
    except (OSError, ValueError):
        return False


def _quality() -> TimeQuality:
    try:
        age_s = time.time() - os.stat(SYNCHRONISED).st_mtime
    except OSError:
        return TimeQuality.RTC if _goes_by_a_battery() else TimeQuality.GUESSED
    return TimeQuality.NTP if age_s < HOLDOVER_AFTER_S else TimeQuality.HOLDOVER


class RealClock:
    """The machine's clock, as far as it is believed (gateway/site_time.py)."""

    def __init__(self, machine: Callable[[], Look] = look) -> None:
        self._machine, self._time = machine, SiteTime(machine())

    def start_no_earlier_than(self, utc_ms: int, guess: Guess | None = None) -> None:
        """The newest time that the database holds: time goes on from there where the machine's is behind it."""
        self._time.start_no_earlier_than(utc_ms, self._machine(), guess)

    def guess(self) -> Guess | None:
        return self._time.guess(self._machine())

    def now(self) -> Stamp:
        return self._time.now(self._machine())

    def utc_ms(self) -> int:
        return self.now().utc_ms

    def off_ms(self) -> int:
        self.now()
        return self._time.off_ms

    def right(self) -> Stamp:
        machine = self._machine()
        return Stamp(machine.wall_ms, machine.quality)

    def put_right(self) -> None:
        self._time.put_right(self._machine())

    def monotonic(self) -> float:
        return time.monotonic()

    def link_s(self, site_s: float) -> float:
        return site_s

    async def sleep(self, site_s: float) -> None:
        await asyncio.sleep(site_s)


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

    def start_no_earlier_than(self, utc_ms: int, guess: Guess | None = None) -> None:
        """The scale alone says what time it is: it survives a restart."""

    def guess(self) -> None:
        """It is never one."""

    def off_ms(self) -> int:
        return 0

    def right(self) -> Stamp:
        return self.now()

    def put_right(self) -> None:
        """It is never wrong."""

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
