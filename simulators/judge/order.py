"""I4: the CSMS has each charger's transaction messages in that charger's order, each once, with ids that it knows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from simulators.judge.evidence import Evidence
from simulators.judge.verdict import Finding, Notes
from simulators.judge.wire import Traffic, is_transactional

STAGE = {"StartTransaction": 0, "MeterValues": 1, "StopTransaction": 2}


@dataclass(frozen=True, slots=True)
class Message:
    """A message in the CSMS's database."""

    message_id: str
    action: str
    payload: dict[str, Any]


def check(evidence: Evidence) -> Finding:
    """Walk through the CSMS's database, charger by charger."""
    notes = Notes("I4")
    received: dict[str, list[Message]] = {}
    rows = evidence.rows("csms.db", "SELECT charger, message_id, action, payload FROM message ORDER BY n")
    for charger, message_id, action, payload in rows:
        read = json.loads(payload)
        if isinstance(read, dict) and is_transactional(action, read):
            received.setdefault(charger, []).append(Message(message_id, action, read))
    notes.expect(bool(received) or not evidence.must_show, "the CSMS received no transaction message")
    repeats = 0
    for charger, messages in sorted(received.items()):
        first = _each_once(charger, messages, notes)
        repeats += len(messages) - len(first)
        _in_order(charger, first, evidence.traffic, notes)
        reorders = any(told.data["charger"] == charger for told in evidence.told("charger_reorders"))
        _known_ids(charger, first, evidence.traffic, notes, reorders=reorders)
    _own_ids(evidence.traffic, notes)
    _answered(evidence.traffic, notes)
    _opened_once(evidence, received, notes)
    notes.figure("messages at the CSMS", sum(len(messages) for messages in received.values()))
    notes.figure("repeated with equal id", repeats)
    notes.figure("ids mapped", sum(key[1] not in ids for key, ids in evidence.traffic.csms_ids.items()))
    return notes.finding()


def _each_once(charger: str, messages: list[Message], notes: Notes) -> list[Message]:
    """The first of each id. A repeat has the same id and the same content."""
    first: dict[str, Message] = {}
    content: dict[str, str] = {}
    for message in messages:
        known = first.setdefault(message.message_id, message)
        notes.expect(
            known.payload == message.payload, f"{charger}: {message.action} {message.message_id} came with two contents"
        )
        told = f"{message.action} {json.dumps(message.payload, sort_keys=True)}"
        twin = content.setdefault(told, message.message_id)
        notes.expect(
            twin == message.message_id,
            f"{charger}: the same {message.action} came under two ids, {twin} and {message.message_id}",
        )
    return list(first.values())


def _in_order(charger: str, messages: list[Message], traffic: Traffic, notes: Notes) -> None:
    newest = -1
    before = ""
    for message in messages:
        exchange = traffic.exchanges.get((charger, message.message_id))
        if exchange is None or exchange.action != message.action:
            notes.expect(False, f"{charger}: {message.action} {message.message_id} at the CSMS is not the charger's")
            continue
        notes.expect(
            exchange.order > newest, f"{charger}: {message.action} {message.message_id} came after the later {before}"
        )
        if exchange.order > newest:
            newest, before = exchange.order, f"{message.action} {message.message_id}"


def _known_ids(charger: str, messages: list[Message], traffic: Traffic, notes: Notes, *, reorders: bool) -> None:
    """Each message names the id that the CSMS gave to the very transaction that the charger means.

    Nothing of a transaction comes after its stop, but from a charger that itself sends it so: then `_in_order` judges.
    """
    started: set[int] = set()
    stage: dict[int, int] = {}  # by the charger's id: a central system may give one of its own away twice
    for message in messages:
        if message.action == "StartTransaction":
            answers = traffic.csms_answers.get((charger, message.message_id), [])
            started |= {int(answer.payload["transactionId"]) for answer in answers if "transactionId" in answer.payload}
            continue
        named = int(message.payload["transactionId"])
        what = f"{charger}: {message.action} {message.message_id}"
        exchange = traffic.exchanges.get((charger, message.message_id))
        if exchange is not None and traffic.nameless(exchange):
            meant_id = exchange.payload["transactionId"]
            notes.expect(
                named == meant_id, f"{what} names transaction {named}; the charger has none, and says {meant_id}"
            )
            continue
        if not notes.expect(named in started, f"{what} names transaction {named}, which the CSMS has not started"):
            continue
        if exchange is None:
            continue  # told: it is not the charger's
        local_id = int(exchange.payload["transactionId"])
        meant = traffic.csms_ids.get((charger, local_id), set())
        notes.expect(
            named in meant, f"{what} names transaction {named}; the charger means its {local_id}, {sorted(meant)}"
        )
        stop = traffic.stops.get((charger, local_id))
        so_sent = reorders and stop is not None and stop.order < exchange.order
        in_stage = stage.get(local_id, 0) <= STAGE[message.action]
        notes.expect(in_stage or so_sent, f"{what} came after the stop of {named}")
        stage[local_id] = max(stage.get(local_id, 0), STAGE[message.action])


def _own_ids(traffic: Traffic, notes: Notes) -> None:
    """No two starts of a charger are given one id (design 5.3: an id is never used again toward a charger)."""
    given: dict[tuple[str, int], str] = {}
    for exchange in traffic.exchanges.values():
        if exchange.action != "StartTransaction":
            continue
        ids = {int(answer.payload["transactionId"]) for answer in exchange.results if "transactionId" in answer.payload}
        for local_id in ids:
            first = given.setdefault((exchange.charger, local_id), exchange.message_id)
            notes.expect(
                first == exchange.message_id,
                f"{exchange.charger}: {first} and {exchange.message_id} were both given transaction {local_id}",
            )
        notes.expect(len(ids) < 2, f"{exchange.charger}: {exchange.message_id} was given transactions {sorted(ids)}")


def _answered(traffic: Traffic, notes: Notes) -> None:
    """A start and a stop are always answered (OCPP 1.6 4.10)."""
    for exchange in traffic.exchanges.values():
        if exchange.action in ("StartTransaction", "StopTransaction"):
            notes.expect(
                bool(exchange.results) or exchange.given_up,
                f"{exchange.charger}: {exchange.action} was never answered",
            )


def _opened_once(evidence: Evidence, received: dict[str, list[Message]], notes: Notes) -> None:
    """The CSMS has as many transactions of a charger as the charger has started."""
    opened: Counter[str] = Counter(row[0] for row in evidence.rows("csms.db", "SELECT charger FROM tx"))
    for charger, messages in received.items():
        starts = {message.message_id for message in messages if message.action == "StartTransaction"}
        notes.expect(
            opened[charger] == len(starts),
            f"{charger}: {opened[charger]} transactions at the CSMS, {len(starts)} starts",
        )
    notes.figure("transactions", sum(opened.values()))
