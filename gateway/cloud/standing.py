"""What the cloud's answers change in the outbox: each function is one transaction's work on the open connection.

A card that was restored from a copy meets a cloud that is ahead of it. It then goes on in a new epoch and with a new
signing key: numbers, hashes and pages of the old ones are never used twice, and what nobody has acknowledged is sent
again under the new epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from gateway.clock import iso
from gateway.cloud.envelope import Ack, HelloAck
from gateway.cloud.outbox import Standing, compare
from gateway.model import Connection, Event, OutboxRow, Severity, Stamp
from gateway.records.bodies import Notice
from gateway.store import meta, outbox
from gateway.store.outbox import DURABLE_LANES, Identity, NewRecord

NewKey = Callable[[Connection, int], Event | None]
"""Sign with a new key from now on (site ms), inside the open transaction; what to tell of it."""

RESTORED = "restored"
"""Key of `meta`: when the newest epoch began because this database was an old copy, ISO; empty once it was checked."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a hello's answer came to."""

    new_epoch: bool
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Taken:
    """What an acknowledgement came to. `ahead`: it speaks of rows that we never had; `ours`: of our epoch at all."""

    ours: bool
    ahead: bool = False
    dead: tuple[tuple[OutboxRow, str], ...] = ()


def new_rid(random: Random) -> str:
    """A UUID for a record."""
    return str(UUID(int=random.getrandbits(128), version=4))


def settle(
    db: Connection, who: Identity, ack: HelloAck, new_epoch: str, rid: str, now: Stamp, new_key: NewKey
) -> Settled:
    """Compare the cloud's heads with ours: go on, send again what it has forgotten, or begin `new_epoch`.

    What `new_key` raises undoes everything: an epoch never begins with the old key.
    """
    epoch = outbox.current_epoch(db, who)
    standings = {lane: _standing(db, lane, epoch, ack) for lane in DURABLE_LANES}
    if Standing.OTHER in standings.values():
        for lane, standing in standings.items():
            if standing is not Standing.OTHER:  # of this lane it has what we have: that is not sent again
                outbox.acknowledge(db, lane, epoch, _upto(ack, lane, epoch))
        return _restored(db, who, epoch, new_epoch, rid, now, new_key)
    events = []
    for lane, standing in standings.items():
        upto = _upto(ack, lane, epoch)
        if standing is Standing.BEHIND:
            events.append(_behind(lane, upto, outbox.reopen(db, lane, epoch, upto)))
        outbox.acknowledge(db, lane, epoch, upto)
    outbox.confirm(db, who)
    return Settled(new_epoch=False, events=events)


def take_ack(db: Connection, who: Identity, ack: Ack) -> Taken:
    """Mark what the cloud has stored, and what it refuses for good."""
    epoch = outbox.current_epoch(db, who)
    if ack.epoch != epoch:
        return Taken(ours=False)
    if ack.upto > outbox.heads(db, epoch).get(ack.lane, (0, ""))[0]:
        return Taken(ours=True, ahead=True)
    dead = []
    for rejected in ack.rejected:
        reason = f"{rejected.code}: {rejected.text}" if rejected.text else rejected.code
        row = outbox.reject(db, ack.lane, epoch, rejected.seq, reason)
        if row is not None:
            dead.append((row, reason))
    outbox.acknowledge(db, ack.lane, epoch, ack.upto, ack.missing)
    return Taken(ours=True, dead=tuple(dead))


def dead_letter(row: OutboxRow, reason: str) -> Event:
    """A record that the cloud refuses. One about the event lane is not sent there: it could be refused for ever."""
    return Event(
        "dead_letter",
        f"{row.lane} {row.seq}",
        f"the cloud refuses this {row.schema}: {reason}",
        next_step="give the maker this line and the cloud's; the repaired record goes as a new one",
        severity=Severity.ERROR,
        data={"lane": row.lane, "epoch": row.epoch, "seq": row.seq, "rid": row.rid, "reason": reason},
        keep=row.lane != "event",
    )


def _standing(db: Connection, lane: str, epoch: str, ack: HelloAck) -> Standing:
    theirs = ack.lanes.get(lane)
    ours_at_upto = outbox.sha256_at(db, lane, epoch, theirs.upto) if theirs is not None else None
    return compare(epoch, outbox.answered_upto(db, lane, epoch), ours_at_upto, theirs)


def _upto(ack: HelloAck, lane: str, epoch: str) -> int:
    """How far the cloud has this lane of our epoch."""
    theirs = ack.lanes.get(lane)
    return theirs.upto if theirs is not None and theirs.epoch == epoch else 0


def _behind(lane: str, upto: int, reopened: int) -> Event:
    return Event(
        "cloud_behind",
        f"lane {lane}",
        f"the cloud has only {upto} of the records that it had acknowledged: {reopened} are sent again",
        next_step="ask the cloud's operator whether its database was restored from a copy",
        severity=Severity.WARNING,
        data={"lane": lane, "upto": upto, "reopened": reopened},
        keep=True,
    )


def _restored(
    db: Connection, who: Identity, old: str, new: str, rid: str, now: Stamp, new_key: NewKey
) -> Settled:  # fmt: skip
    heads = {lane: f"{seq} {sha256}" for lane, (seq, sha256) in outbox.heads(db, old).items()}
    key_event = new_key(db, now.utc_ms)
    cause = "the cloud has newer records of this gateway than its own database: this card or disk is an old copy"
    next_step = (
        "find out who restored it and when, check the sessions between the copy and now by hand, "
        "then say so: zev-gateway epoch confirm --reason ..."
    )
    key_id = key_event.data["key_id"] if key_event is not None else None
    notice = Notice(
        kind="restored", subject=who.gw, cause=cause, next_step=next_step, severity="error", at=iso(now.utc_ms),
        data={"old_epoch": old, "key_id": key_id, **{f"old_head_{lane}": head for lane, head in heads.items()}},
    )  # fmt: skip
    record = NewRecord("notice.v1", notice.model_dump_json(), now, rid)
    repeated = outbox.restart_epoch(db, who, epoch=new, notice=record)
    meta.put(db, RESTORED, iso(now.utc_ms))
    data = {"old_epoch": old, "epoch": new, "key_id": key_id, **repeated}
    event = Event("restored", who.gw, cause, next_step=next_step, severity=Severity.ERROR, data=data)
    return Settled(new_epoch=True, events=[event, *([key_event] if key_event is not None else [])])
