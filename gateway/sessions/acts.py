"""What a person can do to sessions and bills: decide about a session, close and reopen a period, bring a series.

Each is an operation (arguments, actor -> result) that the cloud and the command line translate to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from gateway.clock import iso
from gateway.model import Connection, World
from gateway.sessions.asked import person, words
from gateway.sessions.deciding import Choice, decide
from gateway.sessions.importing import KINDS, SeriesError, read_leg, read_prices, take
from gateway.sessions.period_sum import PeriodSum
from gateway.sessions.periods import Act, Periods, Span, check_closable, fingerprint, span_of
from gateway.site import Site
from gateway.store import intervals, periods, retention
from gateway.store.database import Database
from gateway.store.outbox import Identity

CHUNK = 16
"""Intervals that are summed between two looks at other work: about 0.2 s on the smallest machine."""


class Acts:
    """Carries the acts out; `on_change` wakes who settles and who tells the cloud."""

    def __init__(
        self, site: Site, world: World, db: Database, who: Identity, on_change: Callable[[], None]
    ) -> None:  # fmt: skip
        self._site, self._world, self._db, self._who, self._on_change = site, world, db, who, on_change
        self._periods = Periods(site, who, world.random)

    async def decide(self, args: dict[str, Any], actor: str) -> dict[str, Any]:
        """{session, decision: "bill"|"waive", reason, begin_wh?, end_wh?, basis?, actor?}. ValueError, LookupError."""
        decision = args.get("decision")
        if decision not in ("bill", "waive"):
            raise ValueError('decision: must be "bill" or "waive"')
        choice = Choice(
            bill=decision == "bill",
            actor=person(args, actor),
            reason=words(args, "reason"),
            begin_wh=_wh(args, "begin_wh"),
            end_wh=_wh(args, "end_wh"),
            basis=_basis(args),
        )
        session, stamp = words(args, "session"), self._world.clock.now()
        body = await self._db.run(lambda db: decide(db, self._who, self._world.random, session, choice, stamp))
        self._on_change()
        return body.model_dump(mode="json")

    async def period(self, args: dict[str, Any], actor: str) -> dict[str, Any]:
        """{act: "close"|"reopen"|"list", period, reason, accept_provisional?, rules?, actor?}. ValueError."""
        kind = args.get("act")
        if kind == "list":
            return {"periods": await self._db.run(_listed)}
        if kind not in ("close", "reopen"):
            raise ValueError('act: must be "close", "reopen" or "list"')
        span = span_of(self._site, words(args, "period"))
        act = Act(person(args, actor), words(args, "reason"))
        body = await (self._close(span, act, args) if kind == "close" else self._reopen(span, act, args))
        self._on_change()
        return body

    async def _close(self, span: Span, act: Act, args: dict[str, Any]) -> dict[str, Any]:
        accept, stamp = args.get("accept_provisional") is True, self._world.clock.now()

        def begin(db: Connection) -> tuple[int, int]:
            check_closable(db, span, stamp, accept_provisional=accept)
            return fingerprint(db, span)

        taken, total = await self._db.run(begin), PeriodSum(self._site)
        for k in range(span.first_k, span.end_k, CHUNK):
            part = Span(span.name, k, min(k + CHUNK, span.end_k))
            for _, text in await self._db.run(lambda db, part=part: _results(db, part)):  # type: ignore[misc]
                total.add(json.loads(text))
        body = await self._db.run(
            lambda db: self._periods.close(db, span, act, total, taken, stamp, accept_provisional=accept)
        )
        return body.model_dump(mode="json")

    async def _reopen(self, span: Span, act: Act, args: dict[str, Any]) -> dict[str, Any]:
        rules = args.get("rules", "kept")
        if rules not in ("kept", "current"):
            raise ValueError('rules: must be "kept" (what was in force then) or "current"')
        stamp = self._world.clock.now()
        body = await self._db.run(
            lambda db: self._periods.reopen(db, span, act, stamp, current_rules=rules == "current")
        )
        return body.model_dump(mode="json")

    async def import_series(self, args: dict[str, Any], actor: str) -> dict[str, Any]:
        """{series: "leg"|"price", values: [...], unit?, vat_included?, source?}. ValueError with its place."""
        kind = KINDS.get(str(args.get("series")))
        if kind is None:
            raise SeriesError(f"series: must be one of {', '.join(KINDS)}")
        values, source = args.get("values", []), words(args, "source", actor)
        if kind == "leg":
            if not self._site.split.community:
                raise SeriesError("this house takes part in no community: set community = true in [split]")
            found = read_leg(values)
        else:
            self._check_prices(args)
            found = read_prices(values, words(args, "unit"))
        stamp = self._world.clock.now()
        result = await self._db.run(lambda db: take(db, kind, found, source, stamp))
        self._on_change()
        return dict(result)

    async def purge(self, args: dict[str, Any], actor: str) -> dict[str, Any]:
        """{before: "2022-01-01"}: old bodies that the cloud has acknowledged and old journal entries go. ValueError."""
        text, now_ms = words(args, "before"), self._world.clock.utc_ms()
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(self._site.timezone))
        except ValueError as error:
            raise ValueError(f'before: must be a day such as 2022-01-01, not "{text}"') from error
        before_ms = round(day.timestamp() * 1000)
        retention.check(before_ms, now_ms)
        outbox = journal = 0
        while (some := await self._db.run(lambda db: retention.step(db, before_ms))) != retention.NOTHING:
            outbox, journal = outbox + some.outbox, journal + some.journal
        return {"before": text, "outbox": outbox, "journal": journal}

    def _check_prices(self, args: dict[str, Any]) -> None:
        tariff = self._site.tariff
        dynamic = next((one for one in (tariff, *tariff.successors) if one.dynamic), None)
        if dynamic is None:
            raise SeriesError(f"the tariff {tariff.id} is not dynamic: it takes no prices")
        if args.get("vat_included") is not dynamic.vat_included:
            raise SeriesError(
                f"vat_included: the tariff {dynamic.id} has prices with vat_included = "
                f"{str(dynamic.vat_included).lower()}; say which these are"
            )


def _results(db: Connection, span: Span) -> list[tuple[int, str]]:
    return list(intervals.results(db, span.first_k, span.end_k))


def _listed(db: Connection) -> list[dict[str, Any]]:
    return [
        {
            "period": row.name,
            "state": row.state,
            "version": row.version,
            "at": iso(row.at_ms),
            "actor": json.loads(row.body)["actor"],
            "reason": json.loads(row.body)["reason"],
            "late": len(intervals.named_late(db, row.first_k, row.end_k)),
        }
        for row in periods.everything(db)
    ]


def _wh(args: dict[str, Any], name: str) -> int | None:
    value = args.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError(f"{name}: must be whole watt-hours, not {value!r}")
    return value


def _basis(args: dict[str, Any]) -> Literal["meter", "charger"]:
    value = args.get("basis", "meter")
    if value == "meter":
        return "meter"
    if value == "charger":
        return "charger"
    raise ValueError('basis: must be "meter" or "charger"')
