"""Site time of a demonstration: the same epoch, origin and speed in every process (`--clock scaled:...`)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

QUARTER_MS = 900_000


def iso(utc_ms: int) -> str:
    """UTC with milliseconds and a Z."""
    seconds, ms = divmod(utc_ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms:03d}Z"


def parse_iso(text: str) -> int:
    """UTC milliseconds of a timestamp; one without a zone is taken as UTC. ValueError where it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def local_ms(zone: str, date: str, hour_minute: str) -> int:
    """UTC milliseconds of a local date and HH:MM or HH:MM:SS, for example ("Europe/Zurich", "2026-06-13", "11:30")."""
    moment = datetime.fromisoformat(f"{date}T{hour_minute}").replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class SiteClock:
    """At CLOCK_MONOTONIC = `monotonic` the site time was `epoch_ms`; it runs `speed` times fast."""

    epoch_ms: int
    monotonic: float
    speed: float

    def utc_ms(self) -> int:
        """Site time, UTC milliseconds."""
        return self.epoch_ms + round((time.monotonic() - self.monotonic) * self.speed * 1000)

    def now_iso(self) -> str:
        """Site time as OCPP wants it."""
        return iso(self.utc_ms())

    async def sleep(self, site_s: float) -> None:
        """Sleep for site seconds."""
        await asyncio.sleep(site_s / self.speed)

    async def sleep_until(self, utc_ms: float) -> None:
        """Sleep until a site time; at once where it has passed."""
        await asyncio.sleep(max(0.0, (utc_ms - self.utc_ms()) / 1000 / self.speed))

    def option(self) -> str:
        """The value of the gateway's `--clock`."""
        epoch = datetime.fromtimestamp(self.epoch_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
        return f"scaled:{epoch},{self.monotonic},{self.speed:g}"
