"""Pure: is the daemon well, and what ailed a part that ended. The watchdog is fed only while the first says so."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Event, Severity, StoreError, StoreProblem

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


def part_failed(name: str, error: Exception, wait_s: float) -> Event:
    """The event of a part that ended by itself: class, sentence and the line it came from."""
    inner = first_error(error)
    if isinstance(inner, StoreError):
        return _store_refuses(name, inner)
    frame = inner.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else "?"
    return Event(
        "part_failed",
        name,
        f"{type(inner).__name__}: {inner}",
        next_step=f"it is started again in {wait_s:.0f} s; send this line to the maker if it repeats",
        severity=Severity.ERROR,
        data={"place": place},
        keep=True,
    )


_STORE_STEPS = {
    StoreProblem.FULL: "make room on the disk: until then nothing that is billed is confirmed to a wallbox",
    StoreProblem.READ_ONLY: "make the state directory writable for the service, and look whether the card is worn out",
    StoreProblem.LOCKED: "end the other program that holds the database",
    StoreProblem.CORRUPT: "see docs/operations.md, 'the database is damaged'",
}


def _store_refuses(name: str, error: StoreError) -> Event:
    """The event of a part that the database does not serve; it goes on by itself once it does."""
    return Event(
        "store_refuses",
        name,
        f"the database does not take what it writes: {error}",
        next_step=_STORE_STEPS.get(error.problem, "send this line to the maker if it repeats"),
        severity=Severity.ERROR,
        data={"problem": error.problem.value},
        keep=True,
    )


def first_error(error: BaseException) -> BaseException:
    """The first plain exception inside a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
