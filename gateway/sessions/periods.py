"""A billing period closed or reopened by a person: who, when and why stand in its record. Nothing else changes one."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.clock import iso
from gateway.energy.intervals import boundary_of
from gateway.energy.tariff import TariffError, bounds_of, period_of
from gateway.model import Connection, Stamp
from gateway.records.bodies import Period
from gateway.sessions.period_sum import PeriodSum, runs
from gateway.sessions.rules import of_site
from gateway.sessions.session import Reason
from gateway.sessions.writing import append
from gateway.site import Site
from gateway.store import intervals, periods, rules, sessions
from gateway.store.outbox import Identity
from gateway.store.periods import PeriodRow

MAX_UNDECIDED = 500
"""Sessions that one record names: it must fit into one message."""

_WORDS = {"month": "month, such as 2026-06", "quarter": "quarter, such as 2026-Q2", "year": "year, such as 2026"}


class PeriodError(ValueError):
    """It cannot be done; one sentence with what to do."""


@dataclass(frozen=True, slots=True)
class Span:
    """A billing period: the intervals [first_k, end_k)."""

    name: str
    first_k: int
    end_k: int


@dataclass(frozen=True, slots=True)
class Act:
    """Who did it, and why."""

    actor: str
    reason: str

    def __post_init__(self) -> None:
        if not self.actor.strip() or not self.reason.strip():
            raise PeriodError("say who does it and why: both are kept with it")


def span_of(site: Site, name: str) -> Span:
    """The period of this name. PeriodError where the house does not bill by such periods."""
    try:
        first_k, end_k = bounds_of(site.timezone, name)
    except TariffError as error:
        raise PeriodError(str(error)) from error
    if period_of(site.timezone, first_k, site.split.period) != name:
        raise PeriodError(f"this house bills by the {_WORDS[site.split.period]}, not {name}")
    return Span(name, first_k, end_k)


def fingerprint(db: Connection, span: Span) -> tuple[int, int]:
    """What changes with every version in the period: sums that were taken before are checked with it."""
    row = db.execute(
        "SELECT count(*), ifnull(sum(version), 0) FROM interval WHERE k >= ? AND k < ?", (span.first_k, span.end_k)
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def check_closable(db: Connection, span: Span, stamp: Stamp, *, accept_provisional: bool) -> None:
    """PeriodError where the period is not over, not settled, closed already, or provisional and not accepted so."""
    before = periods.newest(db, span.name)
    if before is not None and before.state == "closed":
        raise PeriodError(f"{span.name} is closed already, since {iso(before.at_ms)}")
    if stamp.utc_ms < boundary_of(span.end_k):
        raise PeriodError(f"{span.name} is not over before {iso(boundary_of(span.end_k))}")
    states = intervals.states(db, span.first_k, span.end_k)
    newest = intervals.newest_settled(db)
    if not states or newest is None or newest < span.first_k:
        raise PeriodError(f"there is nothing of {span.name} here")
    if states.get("unsettled") or newest < span.end_k - 1:
        raise PeriodError(f"the last quarter hours of {span.name} are not settled yet: try again in some minutes")
    if any(span.first_k <= k < span.end_k for k in intervals.dirty(db)):
        raise PeriodError(f"{span.name} is being corrected just now: try again in a minute")
    provisional = states.get("provisional", 0)
    if provisional and not accept_provisional:
        raise PeriodError(
            f"{provisional} quarter hours of {span.name} are provisional: wait for their data, "
            "or close it as it is with --accept-provisional"
        )


@dataclass(frozen=True)
class Periods:
    """Writes the acts; a call happens inside a transaction."""

    site: Site
    who: Identity
    random: Random

    def close(
        self, db: Connection, span: Span, act: Act, total: PeriodSum, taken: tuple[int, int], stamp: Stamp,
        *, accept_provisional: bool = False,
    ) -> Period:  # fmt: skip
        """Close a period whose sums were taken while its fingerprint was `taken`. PeriodError."""
        check_closable(db, span, stamp, accept_provisional=accept_provisional)
        if fingerprint(db, span) != taken:
            raise PeriodError(f"{span.name} changed while it was summed up: try again")
        sums: dict[str, Any] = {**total.totals}
        body = Period(
            period=span.name, version=_next_version(db, span.name), state="closed",
            begin=iso(boundary_of(span.first_k)), end=iso(boundary_of(span.end_k)), intervals=total.intervals,
            provisional=len(total.provisional), provisional_runs=runs(total.provisional),
            unknown=len(total.unknown), unknown_runs=runs(total.unknown),
            **sums, shares=total.shares(), undecided=_undecided(db, span),
            actor=act.actor, reason=act.reason, at=iso(stamp.utc_ms),
        )  # fmt: skip
        intervals.close(db, span.first_k, span.end_k)
        self._keep(db, span, body, stamp)
        return body

    def reopen(self, db: Connection, span: Span, act: Act, stamp: Stamp, *, current_rules: bool = False) -> Period:
        """Open a closed period again: what came late is applied by the settlement, as new versions. PeriodError."""
        before = periods.newest(db, span.name)
        if before is None or before.state != "closed":
            raise PeriodError(f"{span.name} is not closed")
        body = Period(
            period=span.name, version=before.version + 1, state="reopened", begin=iso(boundary_of(span.first_k)),
            end=iso(boundary_of(span.end_k)), intervals=fingerprint(db, span)[0],
            late_runs=runs(intervals.named_late(db, span.first_k, span.end_k)),
            rules="current" if current_rules else "kept", actor=act.actor, reason=act.reason, at=iso(stamp.utc_ms),
        )  # fmt: skip
        number = rules.put(db, of_site(self.site).dump(), stamp.utc_ms) if current_rules else None
        intervals.reopen(db, span.first_k, span.end_k, number)
        self._keep(db, span, body, stamp)
        return body

    def _keep(self, db: Connection, span: Span, body: Period, stamp: Stamp) -> None:
        row = PeriodRow(
            name=span.name, version=body.version, at_ms=stamp.utc_ms, state=body.state, first_k=span.first_k,
            end_k=span.end_k, body=body.model_dump_json(),
        )  # fmt: skip
        periods.append(db, row)
        append(db, self.who, self.random, stamp, "period.v1", body)


def _next_version(db: Connection, name: str) -> int:
    before = periods.newest(db, name)
    return before.version + 1 if before is not None else 1


def _undecided(db: Connection, span: Span) -> list[str]:
    return sessions.undecided(
        db, boundary_of(span.first_k), boundary_of(span.end_k), Reason.REFUSED.value, MAX_UNDECIDED
    )
