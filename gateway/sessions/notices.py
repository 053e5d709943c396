"""Notices: what the cloud is told in the event lane.

Most wait for the event book. One that corrects rows which have left the house is written in the transaction that
corrects them: a power cut in between must not leave the cloud with times and quarter hours that never were.
"""

from __future__ import annotations

from random import Random
from typing import Any

from gateway.clock import iso
from gateway.model import Connection, Event, Stamp
from gateway.records.bodies import Notice
from gateway.sessions.writing import new_id
from gateway.store import outbox
from gateway.store.outbox import Identity


def append(db: Connection, who: Identity, random: Random, stamp: Stamp, event: Event) -> None:
    """Put one event into the event lane."""
    body = notice(stamp, event).model_dump_json()
    outbox.append(db, who, lane="event", schema="notice.v1", body=body, stamp=stamp, rid=new_id(random))


def notice(stamp: Stamp, event: Event) -> Notice:
    """The body of an event record."""
    return Notice(
        kind=event.kind,
        subject=event.subject,
        cause=event.cause,
        next_step=event.next_step,
        severity=event.severity.value,
        at=iso(stamp.utc_ms),
        data={key: _plain(value) for key, value in event.data.items()},
    )


def _plain(value: Any) -> str | int | bool | list[str] | None:
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return str(value)
