"""Gateways that are broken on purpose: for each invariant one that the checks must find.

Each mutant names the invariant that it breaks and a watch in which it shows. The ones that the demonstration knows too
are `simulators/sabotages`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is broken, the invariant that finds it, and the watch (seed, hours, faults an hour) that shows it."""

    breaks: str
    apply: Callable[[], None]
    seed: int = 1
    hours: float = 0.6
    faults_per_hour: float = 40.0
    crowded: bool = False
    away_days: float = 0.0


def _sabotage(name: str) -> Callable[[], None]:
    def apply() -> None:
        importlib.import_module(f"simulators.sabotages.{name}").apply()

    return apply


def _reduction_counts_at_once() -> None:
    """What a reduction sets free is given away before the charger has confirmed it: a raise asks only for the plan."""
    from gateway.load import pacing

    raises = pacing._raises
    pacing.ROOM_S = 0.0

    def without_waiting(
        rising: list[pacing.Seat], bounds: pacing.Bounds, recent: object, now_s: float
    ) -> tuple[list[pacing.Command], list[pacing.Raised]]:
        return raises(rising, bounds._replace(taken=(0,) * len(bounds.taken)), (), now_s)

    pacing._raises = without_waiting  # type: ignore[assignment]


def _below_the_minimum() -> None:
    """A limit may lie between 0 and the minimum."""
    from gateway.load import pacing

    command = pacing._command

    def halved(seat: pacing.Seat, limit_ma: int, *, raising: bool) -> pacing.Command:
        made = command(seat, limit_ma, raising=raising)
        return replace(made, limit_ma=3000) if made.limit_ma == seat.connector.min_ma else made

    pacing._command = halved


def _silent_house_is_empty() -> None:
    """A house whose meter says nothing counts as a house that takes nothing."""
    from gateway.load import capacity, decide

    room = capacity.room

    def empty(
        node: object, circuit: object, worst_ma: int, samples: object, draws: object, now_s: float
    ) -> tuple[capacity.Node, capacity.Room]:
        seen, found = room(node, circuit, worst_ma, samples, draws, now_s)  # type: ignore[arg-type]
        left = (circuit.limit_ma,) * 3  # type: ignore[attr-defined]
        return seen, found._replace(keep=left, fill=left, booked=left)

    decide.room = empty  # type: ignore[attr-defined]


def _two_meters_exchanged() -> None:
    """The readings of two boxes' meters are booked to each other."""
    from gateway.meters import station

    keep = station.Station._keep
    other = {"m1": "m2", "m2": "m1"}

    def swapped(self: station.Station, reading: station.Reading) -> station.Reading:
        return keep(self, replace(reading, meter=other.get(reading.meter, reading.meter)))

    station.Station._keep = swapped  # type: ignore[method-assign]


def _a_row_is_never_sent() -> None:
    """Every tenth record is taken for acknowledged without having been sent."""
    from gateway.store import outbox

    waiting, get_rows = outbox.waiting, outbox.get_rows

    def all_but_tenth(*arguments: object) -> list[outbox.OutboxRow]:
        return [row for row in waiting(*arguments) if row.seq % 10]  # type: ignore[arg-type]

    def none_of_tenth(*arguments: object) -> list[outbox.OutboxRow]:
        return [row for row in get_rows(*arguments) if row.seq % 10]  # type: ignore[arg-type]

    outbox.waiting, outbox.get_rows = all_but_tenth, none_of_tenth


def _a_lost_cloud_is_not_told() -> None:
    """The cloud link swallows its event when the broker goes; all else goes on."""
    from gateway.cloud import link

    link.CloudLink._down = lambda *_: None  # type: ignore[method-assign]


def _a_step_is_missing() -> None:
    """Who is refused at the door is told why, and not what to do."""
    from gateway.ocpp import charger_server

    refuse = charger_server.ChargerServer._refuse

    def without_step(self: charger_server.ChargerServer, connection: Any, name: str, why: str, _: str) -> None:
        refuse(self, connection, name, why, "")

    charger_server.ChargerServer._refuse = without_step  # type: ignore[method-assign]


def _every_stranger_is_remembered() -> None:
    """A cache without an end: whoever was refused is remembered with the whole name."""
    from gateway.ocpp import charger_server

    admit = charger_server.ChargerServer._admit

    async def remembering(self: charger_server.ChargerServer, connection: Any, request: Any) -> Any:
        self.__dict__.setdefault("_known", {})[request.path] = request
        return await admit(self, connection, request)

    charger_server.ChargerServer._admit = remembering  # type: ignore[method-assign]


def _every_refusal_is_told() -> None:
    """A box that shows card after card, a stranger under ever new names: each is an event, in full length."""
    from gateway.ocpp import charger_server, refused_cards

    charger_server.MAX_SHOWN = 10_000
    refused_cards.MAX_TOLD_CARDS = 10**9
    charger_server.ChargerServer._is_news = lambda *_: True  # type: ignore[method-assign]


def _nobody_has_to_give_way() -> None:
    """The queue never rotates: who charges keeps its place for ever."""
    from gateway.load import admission

    admission._dwell = lambda *_: 1e9  # type: ignore[assignment]


def _no_place_is_told() -> None:
    """Who waits is told neither place nor time."""
    from gateway.load import admission

    admission._queue = lambda claims, admitted, *_: {  # type: ignore[assignment]
        claim.ref: admission.Place(0, None) for claim in claims if claim.ref not in admitted
    }


def _one_that_waited_is_skipped() -> None:
    """Of what waited for the central system while it was away, one in forty counts as sent when its turn comes."""
    from gateway.store import journal

    pending = journal.pending

    def skipping(db: Any, charger: str, limit: int = 100) -> list[journal.JournalRow]:
        for row in pending(db, charger, 1):
            if row.entry % 40 == 0 and row.state == "pending":
                journal.done(db, row.entry)
        return pending(db, charger, limit)

    journal.pending = skipping


def _a_start_waits_for_its_turn() -> None:
    """A driver who comes while the journal drains gets an answer when the central system has got all before it."""
    from gateway.ocpp import intake

    intake.Intake.woke = lambda _self, key: key.startswith("answer ")  # type: ignore[method-assign]


MUTANTS: dict[str, Mutant] = {
    "reduction-counts-at-once": Mutant("I1", _reduction_counts_at_once),
    "below-the-minimum": Mutant("I2", _below_the_minimum, hours=0.4, faults_per_hour=0),
    "silent-house-is-empty": Mutant("I1", _silent_house_is_empty, seed=6, hours=0.6),
    "skip-fallback": Mutant("I1p", _sabotage("skip_fallback"), seed=2, hours=0.8),
    "answer-before-commit": Mutant("I3", _sabotage("answer_before_commit"), hours=1.0),
    "forget-id-map": Mutant("I4", _sabotage("forget_id_map")),
    "double-record": Mutant("I5", _sabotage("double_record"), hours=0.4, faults_per_hour=0),
    "shift-register": Mutant("I6", _sabotage("shift_register"), hours=0.4, faults_per_hour=0),
    "drop-carry": Mutant("I7", _sabotage("drop_carry"), seed=3, hours=0.8, faults_per_hour=0),
    "two-meters-exchanged": Mutant("I7", _two_meters_exchanged, hours=0.6, faults_per_hour=0),
    "a-row-is-never-sent": Mutant("I8", _a_row_is_never_sent, hours=0.4, faults_per_hour=0),
    "a-lost-cloud-is-not-told": Mutant("I11", _a_lost_cloud_is_not_told, seed=3, hours=0.5),
    "a-step-is-missing": Mutant("I11", _a_step_is_missing, seed=1, hours=0.6),
    "every-stranger-is-remembered": Mutant("I12", _every_stranger_is_remembered, seed=3, hours=0.6),
    "every-refusal-is-told": Mutant("I12", _every_refusal_is_told, seed=3, hours=0.6),
    "nobody-has-to-give-way": Mutant("I9", _nobody_has_to_give_way, seed=1, hours=1.2, faults_per_hour=0, crowded=True),
    "no-place-is-told": Mutant("I9", _no_place_is_told, seed=1, hours=0.4, faults_per_hour=0, crowded=True),
    "one-that-waited-is-skipped": Mutant("I3", _one_that_waited_is_skipped, hours=0.4, faults_per_hour=0, away_days=1),
    "a-start-waits-for-its-turn": Mutant(
        "drain", _a_start_waits_for_its_turn, hours=0.6, faults_per_hour=0, away_days=10
    ),
    "rewrite-frame": Mutant("I10", _sabotage("rewrite_frame"), hours=0.4, faults_per_hour=0),
}


def break_gateway(name: str) -> None:
    """Patch the gateway of this process; it is not undone."""
    MUTANTS[name].apply()
