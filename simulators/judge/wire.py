"""Frames on both wires: which message is which, who answered it, and which transaction id became which.

`Frame.up` says that it goes from the charger toward the CSMS, on either wire.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CALL, RESULT, ERROR = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as a simulator saw it. `kind` is 0 where it is no OCPP-J message."""

    at_ms: int
    charger: str
    up: bool
    text: str
    kind: int
    message_id: str
    action: str
    payload: dict[str, Any]


def frame(at_ms: int, charger: str, up: bool, text: str) -> Frame:
    """Read a frame; one that cannot be read has kind 0."""
    kind, message_id, action, payload = 0, "", "", {}
    try:
        parts = json.loads(text)
        kind, message_id = int(parts[0]), str(parts[1])
        action = str(parts[2]) if kind == CALL else ""
        last = parts[3] if kind == CALL else parts[2] if kind == RESULT else {}
        payload = last if isinstance(last, dict) else {}
    except (ValueError, LookupError, TypeError):
        kind = 0
    return Frame(at_ms, charger, up, text, kind, message_id, action, payload)


def is_transactional(action: str, payload: dict[str, Any]) -> bool:
    """OCPP 1.6: StartTransaction, StopTransaction, and the MeterValues that name a transaction."""
    return action in ("StartTransaction", "StopTransaction") or (
        action == "MeterValues" and payload.get("transactionId") is not None
    )


ATTEMPTS = 3
"""So often a charger sends what is answered with an error (OCPP 1.6, TransactionMessageAttempts)."""


@dataclass(slots=True)
class Exchange:
    """One CALL of a charger with everything that it was sent and answered, on the charger's wire."""

    charger: str
    message_id: str
    action: str
    payload: dict[str, Any]
    order: int
    sent: list[Frame]
    answers: list[Frame]

    @property
    def transactional(self) -> bool:
        """It belongs to a transaction."""
        return is_transactional(self.action, self.payload)

    @property
    def results(self) -> list[Frame]:
        """The CALLRESULTs that the charger received."""
        return [answer for answer in self.answers if answer.kind == RESULT]

    @property
    def given_up(self) -> bool:
        """The charger was told an error each time, and does not send it again. Whether it had to be I10 judges."""
        return len(self.answers) >= ATTEMPTS and not self.results


Key = tuple[str, str]
"""(charger, message id)."""


class Traffic:
    """Both wires, each in the order in which its simulator saw it."""

    def __init__(self, at_chargers: list[Frame], at_csms: list[Frame]) -> None:
        self.at_chargers = at_chargers
        self.at_csms = at_csms

    @cached_property
    def exchanges(self) -> dict[Key, Exchange]:
        """Every CALL that a charger sent, by (charger, message id), in the order of first sending."""
        exchanges: dict[Key, Exchange] = {}
        for seen in self.at_chargers:
            key = (seen.charger, seen.message_id)
            if seen.up and seen.kind == CALL:
                known = exchanges.get(key)
                if known is None:
                    exchanges[key] = Exchange(*key, seen.action, seen.payload, len(exchanges), [seen], [])
                else:
                    known.sent.append(seen)
            elif not seen.up and seen.kind in (RESULT, ERROR) and key in exchanges:
                exchanges[key].answers.append(seen)
        return exchanges

    @cached_property
    def csms_answers(self) -> dict[Key, list[Frame]]:
        """What the CSMS answered to the CALLs that came to it."""
        answers: dict[Key, list[Frame]] = defaultdict(list)
        for seen in self.at_csms:
            if not seen.up and seen.kind in (RESULT, ERROR):
                answers[seen.charger, seen.message_id].append(seen)
        return answers

    def of_csms(self, answer: Frame, slack_ms: int) -> list[Frame]:
        """The CSMS's answers that `answer`, seen by a charger, may be a relay of: those given before it."""
        given = self.csms_answers.get((answer.charger, answer.message_id), ())
        return [one for one in given if one.at_ms <= answer.at_ms + slack_ms]

    def gateway_made(self, answer: Frame, slack_ms: int) -> bool:
        """The gateway itself made this answer: no answer of the CSMS says the same before it."""
        return not any(one.kind == answer.kind and same_answer(one, answer) for one in self.of_csms(answer, slack_ms))

    @cached_property
    def starts(self) -> dict[tuple[str, int], Exchange]:
        """The StartTransaction by (charger, the id that the charger was given)."""
        found: dict[tuple[str, int], Exchange] = {}
        for exchange in self.exchanges.values():
            if exchange.action == "StartTransaction":
                for answer in exchange.results:
                    if isinstance(answer.payload.get("transactionId"), int):
                        found.setdefault((exchange.charger, answer.payload["transactionId"]), exchange)
        return found

    @cached_property
    def answered_starts(self) -> dict[tuple[str, int], list[Exchange]]:
        """The StartTransactions that were answered, by (charger, connector), in the order of first sending."""
        found: dict[tuple[str, int], list[Exchange]] = defaultdict(list)
        for exchange in self.exchanges.values():
            if exchange.action == "StartTransaction" and exchange.results:
                found[exchange.charger, int(exchange.payload.get("connectorId", 1))].append(exchange)
        return found

    def nameless(self, exchange: Exchange) -> bool:
        """It belongs to a transaction that has no id, because its charger gave the start up (errata 3.18)."""
        if (exchange.charger, exchange.payload.get("transactionId")) in self.starts:
            return False
        return any(start.order < exchange.order for start in self._given_up[exchange.charger])

    @cached_property
    def _given_up(self) -> dict[str, list[Exchange]]:
        found: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in self.exchanges.values():
            if exchange.action == "StartTransaction" and exchange.given_up:
                found[exchange.charger].append(exchange)
        return found

    @cached_property
    def stops(self) -> dict[tuple[str, int], Exchange]:
        """The StopTransaction by (charger, the id that the charger says)."""
        return {
            (exchange.charger, int(exchange.payload.get("transactionId", -1))): exchange
            for exchange in reversed(list(self.exchanges.values()))
            if exchange.action == "StopTransaction"
        }

    @cached_property
    def csms_ids(self) -> dict[tuple[str, int], set[int]]:
        """What the CSMS calls the transaction that a charger knows as (charger, id)."""
        ids: dict[tuple[str, int], set[int]] = defaultdict(set)
        for key, exchange in self.starts.items():
            for answer in self.csms_answers.get((exchange.charger, exchange.message_id), ()):
                if isinstance(answer.payload.get("transactionId"), int):
                    ids[key].add(answer.payload["transactionId"])
        return ids


def same_answer(one: Frame, other: Frame) -> bool:
    """Two answers say the same, but for the transaction id that may have been mapped."""
    first = {key: value for key, value in one.payload.items() if key != "transactionId"}
    second = {key: value for key, value in other.payload.items() if key != "transactionId"}
    return first == second
