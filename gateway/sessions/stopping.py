"""When a transaction stopped, by what its charger's messages say of the charger's clock and of ours.

A charger that had no link, or whose stop was refused, sends it later: the time that it wrote into the message counts,
unless its clock is wrong. A wrong clock shows in its other messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.model import Connection, TimeQuality
from gateway.sessions.restamping import steps_since
from gateway.site_time import UNSURE
from gateway.store import chargers, journal
from gateway.store.journal import JournalRow

LOOK_BACK = 1000
"""Entries of the journal in front of a stop among which the charger's newest meter values are looked for."""


def stop_time(db: Connection, row: JournalRow, transaction_id: int, tolerance_ms: int, since_ms: int) -> int:
    """When the transaction of a StopTransaction stopped, UTC ms. `row` is the stop, whose frame must be a CALL.

    `tolerance_ms`: how late a message may come and still be of now. `since_ms`: when the time began that we go by now.
    """
    stop_lag_ms = _lag(row.at_ms, _payload(row).get("timestamp"))
    if stop_lag_ms is None:
        return row.at_ms
    if TimeQuality(row.ts_q) in UNSURE:
        return _by_guess(db, row, stop_lag_ms, tolerance_ms, since_ms)
    if stop_lag_ms <= tolerance_ms:
        return row.at_ms
    entries = journal.bounds_of(db, row.charger, transaction_id)
    start = next((entry for entry in entries if entry.action == journal.START), None)
    if start is None:
        return row.at_ms - by_lags(None, stop_lag_ms, tolerance_ms)
    return row.at_ms - by_lags(
        _lag(start.at_ms, _payload(start).get("timestamp")), stop_lag_ms, tolerance_ms,
        steps_since(db, start.at_ms), clock_right=_clock_right(db, start, row, tolerance_ms),
    )  # fmt: skip


def by_lags(
    start_lag_ms: int | None,
    stop_lag_ms: int,
    tolerance_ms: int,
    steps_ms: Sequence[int] = (),
    *,
    clock_right: bool = False,
) -> int:
    """Pure: how long before its message came a transaction stopped; 0: it came at once.

    A lag is how long after the time that the charger wrote into a message the message came; None where it wrote none.
    `clock_right` says that something else of this charger bore the right time: then a lag is a message that was kept.
    Where nothing says so, the same lag at start and stop is a charger's clock that is wrong; a larger one at the stop
    is a message that was kept; a smaller one is a whole session that was kept. `steps_ms` are the steps of our own
    clock in between: a lag that grew by one of them is a charger that has not followed it yet.
    """
    if stop_lag_ms <= tolerance_ms:
        return 0
    if clock_right:
        return stop_lag_ms
    lag_ms = stop_lag_ms - (start_lag_ms or 0)
    if any(abs(lag_ms - step_ms) <= tolerance_ms for step_ms in steps_ms):
        return 0
    if start_lag_ms is None or abs(start_lag_ms) <= tolerance_ms:
        return stop_lag_ms
    if abs(lag_ms) <= tolerance_ms:
        return 0
    return lag_ms if lag_ms > 0 else stop_lag_ms


def _by_guess(db: Connection, row: JournalRow, stop_lag_ms: int, tolerance_ms: int, since_ms: int) -> int:
    """Where our own clock is a guess the box's time says nothing against ours, only against what it says live.

    A stop from before this guess began is one of now: what was read then bears the time of another clock.
    """
    lags_ms = [
        _status_lag(status) for status in chargers.statuses(db, row.charger) if since_ms <= status.at_ms <= row.at_ms
    ]
    live_ms = [lag_ms for lag_ms in lags_ms if lag_ms is not None]
    if not live_ms or stop_lag_ms - live_ms[-1] <= tolerance_ms:
        return row.at_ms
    stopped_ms = row.at_ms - (stop_lag_ms - live_ms[-1])
    return stopped_ms if stopped_ms >= since_ms else row.at_ms


def _clock_right(db: Connection, start: JournalRow, stop: JournalRow, tolerance_ms: int) -> bool:
    """Whether something that came since the start, or just before it, bears the time at which it came.

    A box sends a message again after a minute or at its next connection: at start and at stop the same lag may be
    that, and no clock that is wrong. A status is not kept and sent again, and of its meter values some came at once.
    """
    return any(
        abs(lag_ms) <= tolerance_ms and at_ms >= start.at_ms - tolerance_ms and not steps_since(db, at_ms)
        for at_ms, lag_ms in _heard(db, start, stop)
    )


def _heard(db: Connection, start: JournalRow, stop: JournalRow) -> Iterator[tuple[int, int]]:
    """When a status or a meter value of the charger came, and its lag."""
    for status in chargers.statuses(db, stop.charger):
        lag_ms = _status_lag(status)
        if lag_ms is not None:
            yield status.at_ms, lag_ms
    for row in journal.meter_values_between(db, stop.charger, max(start.entry, stop.entry - LOOK_BACK), stop.entry):
        lag_ms = _lag(row.at_ms, _measured(_payload(row)))
        if lag_ms is not None and TimeQuality(row.ts_q) not in UNSURE:
            yield row.at_ms, lag_ms


def _status_lag(status: chargers.StatusRow) -> int | None:
    return _lag(status.at_ms, json.loads(status.payload).get("timestamp"))


def _measured(payload: dict[str, Any]) -> object:
    """The newest time of a MeterValues; None where it has none."""
    values = payload.get("meterValue")
    last = values[-1] if isinstance(values, list) and values else None
    return last.get("timestamp") if isinstance(last, dict) else None


def _payload(row: JournalRow) -> dict[str, Any]:
    """What the message says; nothing where it is no CALL."""
    frame = json.loads(row.frame)
    return frame[3] if isinstance(frame, list) and len(frame) > 3 and isinstance(frame[3], dict) else {}


def _lag(arrived_ms: int, own: object) -> int | None:
    """How long after the time it bears a message came; None where that is no time."""
    if not isinstance(own, str):
        return None
    try:
        at = datetime.fromisoformat(own)
    except ValueError:
        return None
    if at.tzinfo is None:  # OCPP 1.6 wants UTC; chargers leave out the Z
        at = at.replace(tzinfo=UTC)
    return arrived_ms - round(at.timestamp() * 1000)
