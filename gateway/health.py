"""Pure: is the daemon well? The watchdog is fed, and the container is healthy, only while this says so."""

from __future__ import annotations

from collections.abc import Mapping

CONTROL_TICK_MAX_AGE_S = 15.0
"""Site seconds: a control loop that stands still for longer no longer guards a fuse (I1p: 25 s an event)."""

STORE_BEAT_MAX_AGE_S = 900.0
"""Site seconds; the database is asked for a beat every five minutes."""

LIMITS: Mapping[str, float] = {"control loop": CONTROL_TICK_MAX_AGE_S, "database": STORE_BEAT_MAX_AGE_S}


def problems(now: float, beats: Mapping[str, float]) -> list[str]:
    """One sentence for each part whose last beat (site-monotonic seconds) is too old."""
    return [
        f"the {part} has not moved for {now - beats[part]:.0f} s"
        for part, limit in LIMITS.items()
        if part in beats and now - beats[part] > limit
    ]
