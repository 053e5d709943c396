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
from gateway.store import decisions, intervals, sessions
from gateway.store.intervals import ShareRow
from gateway.store.outbox import Identity


def write(db: Connection, who: Identity, random: Random, stamp: Stamp, touched: Iterable[str], reason: str) -> bool:
    """Write the split of each of these sessions where it is complete and new; whether any was written."""
    wrote = False
    for name in sorted(touched):
        row = sessions.get(db, name)
        if row is None:
            continue
        session = machine.of_row(row)
        energy_wh = _energy_wh(db, session)
        shares = intervals.shares_of(db, name)
        if energy_wh is None or not _complete(db, session, shares, energy_wh):
            continue
        version, text = sessions.split_of(db, name)
        old = Split.model_validate_json(text) if text else None
        new = _split(session, energy_wh, shares, old, version + 1, reason)
        if old is not None and _same(old, new):
            continue
        sessions.put_split(db, name, version + 1, new.model_dump_json())
        append(db, who, random, stamp, "split.v1", new)
        wrote = True
    return wrote


def _energy_wh(db: Connection, session: Session) -> int | None:
    """What there is to split: of a billable session, or what a person decided by the meter's registers."""
    if session.billable:
        return session.energy_wh
    decision = decisions.newest(db, session.id)
    if decision is None:
        return None
    if decision.basis == "meter" and decision.bill:
        return decision.energy_wh
    # Billed once and waived later: the split that was told is taken back.
    return 0 if sessions.split_of(db, session.id)[0] else None


def _complete(db: Connection, session: Session, shares: list[ShareRow], energy_wh: int) -> bool:
    """Its last quarter hour is settled and the quarter hours make up its energy (I6)."""
    if session.end_ms is None or sum(share.energy_wh for share in shares) != energy_wh:
        return False
    last = intervals.get(db, interval_of(session.end_ms))
    return last is not None and last.version > 0


def _split(
    session: Session, energy_wh: int, shares: list[ShareRow], old: Split | None, version: int, reason: str
) -> Split:
    classes: dict[str, int] = {}
    solar: dict[str, int] = {}
    leg: dict[str, int] = {}
    for share in shares:
        classes[share.grid_class] = classes.get(share.grid_class, 0) + share.grid_wh
        solar[share.grid_class] = solar.get(share.grid_class, 0) + share.solar_wh
        if share.leg_wh:
            leg[share.grid_class] = leg.get(share.grid_class, 0) + share.leg_wh
    solar_wh = sum(solar.values())
    before = old.classes_wh if old else {}
    return Split(
        session=session.id,
        version=version,
        state="provisional" if any(share.state == "provisional" for share in shares) else "final",
        energy_wh=energy_wh,
        solar_wh=solar_wh,
        classes_wh=classes,
        solar_by_class_wh=solar,
        delta_solar_wh=solar_wh - (old.solar_wh if old else 0),
        delta_classes_wh={
            name: classes.get(name, 0) - before.get(name, 0) for name in sorted({*classes, *before})
        },
        leg_by_class_wh=leg,
        intervals=[share.k for share in shares],
        reason="first" if old is None else reason,
    )  # fmt: skip


def _same(old: Split, new: Split) -> bool:
    facts = {"state", "energy_wh", "solar_wh", "classes_wh", "solar_by_class_wh", "leg_by_class_wh", "intervals"}
    return old.model_dump(include=facts) == new.model_dump(include=facts)
