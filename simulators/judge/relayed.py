"""I10: a relayed frame leaves as it came, but for the value of transactionId where the map differs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

from simulators.judge.evidence import Evidence
from simulators.judge.verdict import Finding, Notes
from simulators.judge.wire import CALL, ERROR, RESULT, Exchange, Frame, Traffic, same_answer

TRANSACTION_ID = re.compile(r'("transactionId"\s*:\s*)(-?\d+)')

MADE_BY_GATEWAY = frozenset({"BootNotification", "Heartbeat", "StatusNotification"})
"""CALLs that the gateway may make toward the CSMS in a charger's name (R24, R26, R39)."""

DRAWN_FROM = 2**30
"""The gateway draws its own transaction ids downward from 2^31 - 1 (design 5.3)."""

SameId = Callable[[int, int], bool]
"""Whether a transaction id that came may leave as another."""


def check(evidence: Evidence) -> Finding:
    """Compare both wires by message id and direction."""
    notes = Notes("I10")
    traffic = evidence.traffic
    _no_nonsense(traffic, notes)
    up = _calls_up(traffic, notes)
    down, refused = _calls_down(traffic, notes)
    answers_up = _answers_up(traffic, notes)
    answers_down, own = _answers_down(evidence, traffic, notes)
    notes.expect(up > 0 or not evidence.must_show, "no frame of a charger was relayed: nothing is shown")
    notes.expect(answers_down > 0 or not evidence.must_show, "no answer of the CSMS was relayed: nothing is shown")
    notes.figure("relayed to the CSMS", up + answers_up)
    notes.figure("relayed to chargers", down + answers_down)
    notes.figure("answered by the gateway", own)
    notes.figure("answered for a charger", refused)
    return notes.finding()


def differs(came: str, left: str, same_id: SameId) -> str:
    """What else than mapped transaction ids differs between two texts, or is not mapped; empty where all is well."""
    if TRANSACTION_ID.sub(r"\1", came) != TRANSACTION_ID.sub(r"\1", left):
        at = next((n for n, (a, b) in enumerate(zip(came, left, strict=False)) if a != b), min(len(came), len(left)))
        return f"from byte {at}: {came[at : at + 24]!r} left as {left[at : at + 24]!r}"
    pairs = zip(TRANSACTION_ID.findall(came), TRANSACTION_ID.findall(left), strict=True)
    wrong = [(before[1], after[1]) for before, after in pairs if not same_id(int(before[1]), int(after[1]))]
    return f"transaction {wrong[0][0]} left as {wrong[0][1]}, which the map does not say" if wrong else ""


def _no_nonsense(traffic: Traffic, notes: Notes) -> None:
    notes.expect(
        all(seen.kind for seen in traffic.at_csms), "the gateway and the CSMS exchanged a frame that is no message"
    )


def _calls_up(traffic: Traffic, notes: Notes) -> int:
    """CALLs at the CSMS are a charger's, unchanged, or of the few kinds that the gateway makes."""
    relayed = 0
    for seen in traffic.at_csms:
        if not seen.up or seen.kind != CALL:
            continue
        exchange = traffic.exchanges.get((seen.charger, seen.message_id))
        if exchange is None:
            notes.expect(
                seen.action in MADE_BY_GATEWAY, f"{seen.charger}: {seen.action} {seen.message_id} came from no charger"
            )
            continue
        relayed += 1
        wrong = [differs(sent.text, seen.text, _to_csms(traffic, seen.charger)) for sent in exchange.sent]
        notes.expect(not all(wrong), f"{seen.charger}: {seen.action} {seen.message_id} {wrong[0]}")
    return relayed


def _to_csms(traffic: Traffic, charger: str) -> SameId:
    def same(came: int, left: int) -> bool:
        return left in traffic.csms_ids.get((charger, came), {came})

    return same


def _to_charger(traffic: Traffic, charger: str) -> SameId:
    def same(came: int, left: int) -> bool:
        known = {local for (box, local), ids in traffic.csms_ids.items() if box == charger and came in ids}
        return left in (known or {came})

    return same


def _calls_down(traffic: Traffic, notes: Notes) -> tuple[int, int]:
    """CALLs of the CSMS arrive unchanged at the charger, or are answered by the gateway in its place."""
    arrived: dict[tuple[str, str], Frame] = {}
    for seen in traffic.at_chargers:
        if not seen.up and seen.kind == CALL:
            arrived.setdefault((seen.charger, seen.message_id), seen)
    relayed = refused = 0
    for sent in traffic.at_csms:
        if sent.up or sent.kind != CALL:
            continue
        at_charger = arrived.get((sent.charger, sent.message_id))
        if at_charger is None:
            refused += 1
            continue
        relayed += 1
        wrong = differs(sent.text, at_charger.text, _to_charger(traffic, sent.charger))
        notes.expect(not wrong, f"{sent.charger}: {sent.action} {sent.message_id} of the CSMS {wrong}")
    return relayed, refused


def _answers_up(traffic: Traffic, notes: Notes) -> int:
    """A charger's answer to a CALL of the CSMS arrives there unchanged."""
    given: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for seen in traffic.at_chargers:
        if seen.up and seen.kind in (RESULT, ERROR):
            given[seen.charger, seen.message_id].append(seen)
    asked = {(seen.charger, seen.message_id) for seen in traffic.at_chargers if not seen.up and seen.kind == CALL}
    relayed = 0
    for seen in traffic.at_csms:
        key = (seen.charger, seen.message_id)
        if not seen.up or seen.kind not in (RESULT, ERROR) or key not in asked:
            continue
        wrong = [differs(answer.text, seen.text, _to_csms(traffic, seen.charger)) for answer in given[key]]
        if not wrong:
            continue  # the charger was asked and has not answered: the gateway says so with an error of its own
        relayed += 1
        notes.expect(not all(wrong), f"{seen.charger}: the answer to {seen.message_id} {wrong[0]}")
    return relayed


def _answers_down(evidence: Evidence, traffic: Traffic, notes: Notes) -> tuple[int, int]:
    """The CSMS's answers arrive unchanged; where it had not answered, the gateway did."""
    relayed = own = 0
    slack_ms = evidence.slack_ms if evidence.must_show else -evidence.way_ms  # a seeded watch has one clock
    used: dict[str, set[int]] = defaultdict(set)
    for exchange in traffic.exchanges.values():
        for answer in exchange.answers:
            candidates = traffic.of_csms(answer, slack_ms)
            wrong = [_answer_differs(one, answer, exchange, used[exchange.charger]) for one in candidates]
            if not candidates or (
                all(wrong)
                and (_missed(evidence, exchange, candidates, answer) or _kept(evidence, exchange, candidates, answer))
            ):
                own += 1
                continue
            relayed += 1
            notes.expect(not all(wrong), f"{exchange.charger}: the answer to {exchange.message_id} {wrong[-1]}")
        if exchange.action == "StartTransaction":
            used[exchange.charger] |= {
                int(a.payload["transactionId"]) for a in exchange.results if "transactionId" in a.payload
            }
    return relayed, own


def _answer_differs(came: Frame, left: Frame, exchange: Exchange, used: set[int]) -> str:
    """A start's answer may carry another id only where the CSMS's is already another transaction's at this charger."""

    def same(before: int, after: int) -> bool:
        return before == after or (exchange.action == "StartTransaction" and before in used)

    return differs(came.text, left.text, same)


def _kept(evidence: Evidence, exchange: Exchange, given: list[Frame], answer: Frame) -> bool:
    """The gateway answers a transaction message itself, and keeps it: the CSMS could not process it, or it was silent
    when the message came first. Then a charger that the answer did not reach asks again, and is told the same: the id
    that was drawn for it."""
    if not exchange.transactional or answer.kind != RESULT:
        return False
    if all(one.kind == ERROR for one in given):
        return True
    if sum(sent.at_ms <= answer.at_ms for sent in exchange.sent) < 2:
        return False
    if exchange.action == "StopTransaction":  # its own answer says nothing of the card, and came before the CSMS's
        return answer.payload == {} and _unheard(evidence, exchange, min(one.at_ms for one in given))
    drawn = int(answer.payload.get("transactionId", 0)) >= DRAWN_FROM
    return drawn and any(same_answer(one, answer) for one in given) and _unheard(evidence, exchange, answer.at_ms)


def _unheard(evidence: Evidence, exchange: Exchange, until_ms: int) -> bool:
    """An answer between the first sending and that time did not reach the charger."""
    first_ms, slack = exchange.sent[0].at_ms, evidence.slack_ms
    deaths = [told.at_ms for told in evidence.told("gateway_killed", "gateway_stopped")]
    cuts = [told.at_ms for told in evidence.told("charger_cut") if told.data.get("charger") == exchange.charger]
    lost = evidence.spans("charger_lost", "charger_back", "charger")
    return any(first_ms - slack <= at_ms <= until_ms for at_ms in deaths + cuts) or any(
        charger == exchange.charger and since <= until_ms and first_ms <= back for charger, since, back in lost
    )


def _missed(evidence: Evidence, exchange: Exchange, given: list[Frame], answer: Frame) -> bool:
    """The gateway had not got the CSMS's answer when it answered for itself, or could not keep it."""
    return (
        _lost(evidence, given[-1], answer)
        or _crossed(evidence, exchange, given, answer)
        or _unwritable(evidence, exchange, answer)
    )


def _unwritable(evidence: Evidence, exchange: Exchange, answer: Frame) -> bool:
    """The disk is full: what belongs to a transaction is not confirmed, and the charger sends it again (design 4.1)."""
    slack = evidence.slack_ms
    full = evidence.spans("disk_full", "disk_mended", "")
    refused = exchange.transactional and answer.kind == ERROR
    return refused and any(since - slack <= answer.at_ms <= until + slack for _, since, until in full)


_BREAKS = ("uplink_cut", "charger_cut", "gateway_killed", "gateway_stopped")
ENDS_MS = 10_000
"""A gateway whose parts end, also to put its clock right, gives open CALLs 5 s, then closes its connections: what the
CSMS says meanwhile may be lost (link time)."""


def _lost(evidence: Evidence, given: Frame, answer: Frame) -> bool:
    """The CSMS's answer had not come when the gateway answered: its way broke in between, or it was still under way."""
    slack = evidence.slack_ms
    breaks = [
        told.at_ms
        for told in evidence.told(*_BREAKS)
        if told.what != "charger_cut" or told.data.get("charger") == answer.charger
    ]
    under_way_ms = evidence.latency_ms(answer.at_ms)
    if under_way_ms and answer.at_ms <= given.at_ms + under_way_ms + slack:
        return True
    ends = [told.at_ms for told in evidence.told("gateway_parts_end")]
    if any(at_ms - slack <= answer.at_ms <= at_ms + round(ENDS_MS * evidence.speed) + slack for at_ms in ends):
        return True
    half_open = evidence.spans("uplink_half_open", "uplink_whole", "link")
    if any(since - slack <= given.at_ms <= until + slack for _, since, until in half_open):
        return True  # it was swallowed, and the CSMS could not notice
    return any(given.at_ms - slack <= at_ms <= answer.at_ms + slack for at_ms in breaks)


def _crossed(evidence: Evidence, exchange: Exchange, given: list[Frame], answer: Frame) -> bool:
    """The charger had waited for a CALL timeout, and the CSMS's answer met the gateway's own on its way."""
    timeout_ms = evidence.place.call_timeout_s * evidence.speed * 1000
    waited = any(answer.at_ms - one.at_ms >= timeout_ms - evidence.slack_ms for one in exchange.sent)
    way_ms = evidence.slack_ms + evidence.delay_ms(exchange.charger, answer.at_ms)
    return waited and all(one.at_ms >= answer.at_ms - way_ms for one in given)
