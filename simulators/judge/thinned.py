"""I3: every transaction message that the gateway itself confirmed reached the CSMS, or is counted as thinned."""

from __future__ import annotations

import json
from collections import Counter

from simulators.judge.evidence import Evidence
from simulators.judge.records import records
from simulators.judge.verdict import Finding, Notes


def check(evidence: Evidence) -> Finding:
    """Compare what chargers were promised with what the CSMS holds."""
    notes = Notes("I3")
    traffic = evidence.traffic
    arrived = {tuple(row) for row in evidence.rows("csms.db", "SELECT charger, message_id FROM message")}
    promised = gone = 0
    missing: Counter[tuple[str, int]] = Counter()
    for exchange in traffic.exchanges.values():
        if not exchange.transactional:
            continue
        if not any(traffic.gateway_made(answer, evidence.slack_ms) for answer in exchange.results):
            continue
        promised += 1
        if (exchange.charger, exchange.message_id) in arrived:
            continue
        if exchange.action == "MeterValues":
            missing[exchange.charger, int(exchange.payload["transactionId"])] += 1
        else:
            gone += 1
            notes.expect(False, f"{exchange.charger}: {exchange.action} {exchange.message_id} was confirmed and lost")
    counted = _counted(evidence)
    for key in sorted(missing.keys() | counted.keys()):
        notes.expect(
            missing[key] == counted[key],
            f"{key[0]}, transaction {key[1]}: {missing[key]} confirmed MeterValues never reached the CSMS, "
            f"{counted[key]} are counted as thinned",
        )
    notes.expect(
        promised > 0 or not evidence.must_show, "the gateway confirmed no transaction message itself: nothing is shown"
    )
    notes.figure("confirmed by the gateway", promised)
    notes.figure("thinned", sum(counted.values()))
    notes.figure("lost", gone + sum(max(0, missing[key] - counted[key]) for key in missing))
    return notes.finding()


def _counted(evidence: Evidence) -> Counter[tuple[str, int]]:
    """Meter values that came and were not kept, by (charger, transaction): the newest count of each quarter hour."""
    newest: dict[tuple[str, int, int], tuple[int, int]] = {}
    for record in records(evidence):
        if record.schema == "thinned.v1":
            body = json.loads(record.body)
            key = (body["charger"], int(body["transaction_id"]), int(body["quarter"]))
            newest[key] = max(newest.get(key, (0, 0)), (int(body["received"]), int(body["kept"])))
    counted: Counter[tuple[str, int]] = Counter()
    for (charger, transaction, _), (received, kept) in newest.items():
        counted[charger, transaction] += received - kept
    return Counter({key: count for key, count in counted.items() if count})
