"""Pure: timestamps of OCPP. What we write ends in Z (quirk: some peers refuse +00:00)."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(utc_ms: int) -> str:
    """UTC with milliseconds and a Z."""
    seconds, ms = divmod(utc_ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms:03d}Z"


def parse_utc(text: object) -> int | None:
    """UTC milliseconds of an ISO 8601 timestamp; one without zone counts as UTC. None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
