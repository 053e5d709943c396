"""The split of an ended session: the sum of its quarter hours by class, version by version, with the difference."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from gateway.energy.tariff import interval_of
from gateway.model import Connection, Stamp
from gateway.records.bodies import Split
from gateway.sessions import session as machine
from gateway.sessions.session import Session
from gateway.sessions.writing import append
from gateway.store import intervals, sessions
from gateway.store.intervals import ShareRow
from gateway.store.outbox import Identity


def write(db: Connection, who: Identity, random: Random, stamp: Stamp, touched: Iterable[str], reason: str) -> bool:
    """Write the split of each of these sessions where it is complete and new; whether any was written."""
    wrote = False
    for name in sorted(touched):
        row = sessions.get(db, name)
        if row is None or not row["billable"]:
            continue
        session = machine.of_row(row)
        shares = intervals.shares_of(db, name)
        if not _complete(db, session, shares):
            continue
        version, text = sessions.split_of(db, name)
        old = Split.model_validate_json(text) if text else None
        new = _split(session, shares, old, version + 1, reason)
        if old is not None and _same(old, new):
            continue
        sessions.put_split(db, name, version + 1, new.model_dump_json())
        append(db, who, random, stamp, "split.v1", new)
        wrote = True
    return wrote


def _complete(db: Connection, session: Session, shares: list[ShareRow]) -> bool:
    """Its last quarter hour is settled and the quarter hours make up its energy (I6)."""
    if session.end_ms is None or sum(share.energy_wh for share in shares) != session.energy_wh:
        return False
    last = intervals.get(db, interval_of(session.end_ms))
    return last is not None and last.version > 0


def _split(session: Session, shares: list[ShareRow], old: Split | None, version: int, reason: str) -> Split:
    classes: dict[str, int] = {}
    solar: dict[str, int] = {}
    for share in shares:
        classes[share.grid_class] = classes.get(share.grid_class, 0) + share.grid_wh
        solar[share.grid_class] = solar.get(share.grid_class, 0) + share.solar_wh
    solar_wh = sum(solar.values())
    before = old.classes_wh if old else {}
    return Split(
        session=session.id,
        version=version,
        state="provisional" if any(share.state == "provisional" for share in shares) else "final",
        energy_wh=session.energy_wh or 0,
        solar_wh=solar_wh,
        classes_wh=classes,
        solar_by_class_wh=solar,
        delta_solar_wh=solar_wh - (old.solar_wh if old else 0),
        delta_classes_wh={
            name: classes.get(name, 0) - before.get(name, 0) for name in sorted({*classes, *before})
        },
        intervals=[share.k for share in shares],
        reason="first" if old is None else reason,
    )  # fmt: skip


def _same(old: Split, new: Split) -> bool:
    facts = {"state", "energy_wh", "solar_wh", "classes_wh", "solar_by_class_wh", "intervals"}
    return old.model_dump(include=facts) == new.model_dump(include=facts)
