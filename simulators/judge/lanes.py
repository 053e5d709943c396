"""I8: the cloud holds each record once, byte-identical, unbroken up to the heads that the gateway states."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import groupby

from simulators.judge.evidence import Evidence
from simulators.judge.records import Record, records
from simulators.judge.times import parse_utc
from simulators.judge.verdict import Finding, Notes

GENESIS = "0" * 64
CHAINED = ("billing", "event")
VERSION = 1


def envelope_hash(record: Record) -> str:
    """SHA-256 over the head, a line each, then the body (contract 5.4)."""
    head = (
        VERSION, record.gw, record.epoch, record.boot, record.lane, record.seq, record.rid, record.ts, record.ts_q,
        record.schema, record.prev,
    )  # fmt: skip
    return hashlib.sha256(("\n".join(str(part) for part in head) + "\n" + record.body).encode()).hexdigest()


def check(evidence: Evidence) -> Finding:
    """Walk each lane from its first record, then compare with the newest `state`."""
    notes = Notes("I8")
    held = [record for record in records(evidence) if record.lane in CHAINED]
    rejected = {tuple(row) for row in evidence.rows("cloud.db", "SELECT gw, epoch, lane, seq FROM rejected")}
    heads: dict[tuple[str, str], tuple[int, dict[int, str]]] = {}
    for (gw, epoch, lane), group in groupby(held, key=lambda record: (record.gw, record.epoch, record.lane)):
        lane_records = list(group)
        dead = {int(row[3]) for row in rejected if row[:3] == (gw, epoch, lane)}
        _walk(lane_records, dead, notes)
        heads[epoch, lane] = (
            max({record.seq for record in lane_records} | dead),
            {r.seq: r.sha256 for r in lane_records},
        )
        notes.figure(f"{lane} records", len(lane_records))
    ids = Counter((record.epoch, record.rid) for record in held)
    for (_, rid), times in ids.items():
        notes.expect(times == 1, f"the record {rid} stands {times} times")
    repeats = [row[0] for row in evidence.rows("cloud.db", "SELECT same FROM duplicate")]
    notes.expect(all(repeats), "a record came again with other bytes")
    notes.figure("resent", len(repeats))
    notes.figure("rejected", len(rejected))
    _stated(evidence, heads, rejected, notes)
    return notes.finding()


def _walk(lane: list[Record], dead: set[int], notes: Notes) -> None:
    """seq 1, 2, 3 ... without a gap; each hash is right and names the one before."""
    expected, prev = 1, GENESIS
    for record in lane:
        where = f"{record.lane} {record.seq}"
        while expected in dead and expected < record.seq:
            expected, prev = expected + 1, record.prev  # a rejected record's hash stands in the gateway's list only
        if not notes.expect(record.seq == expected, f"{where}: {record.lane} {expected} is missing before it"):
            prev = record.prev
        notes.expect(record.sha256 == envelope_hash(record), f"{where}: the hash does not fit the record")
        notes.expect(record.prev == prev, f"{where}: it does not follow the record before it")
        expected, prev = record.seq + 1, record.sha256


def _stated(
    evidence: Evidence,
    heads: dict[tuple[str, str], tuple[int, dict[int, str]]],
    rejected: set[tuple[object, ...]],
    notes: Notes,
) -> None:
    """The gateway's newest word on its heads is newer than the last stop, and the cloud has come so far."""
    rows = evidence.rows("cloud.db", "SELECT payload, received_ms FROM state ORDER BY received_ms")
    read = [(json.loads(payload), int(received_ms)) for payload, received_ms in rows]
    # What bears a time that had not come when the cloud received it was written by a wrong clock.
    states = [state for state, received_ms in read if parse_utc(state["ts"]) <= received_ms + evidence.slack_ms]
    told = [state for state in states if state.get("heads")]
    if not notes.expect(bool(told), "the gateway never stated how far its lanes go"):
        return
    state = max(told, key=lambda one: parse_utc(one["ts"]))
    last_stop = max((stop.at_ms for stop in evidence.told("car_stopped")), default=0)
    notes.expect(parse_utc(state["ts"]) >= last_stop, f"the newest state, {state['ts']}, is older than the last stop")
    for lane, (seq, sha256) in sorted(state["heads"].items()):
        if lane not in CHAINED or int(seq) == 0:
            continue
        reached, hashes = heads.get((state["epoch"], lane), (0, {}))
        notes.expect(reached >= int(seq), f"{lane}: the gateway's head is {seq}, the cloud has come to {reached}")
        dead = any(row[1:] == (state["epoch"], lane, int(seq)) for row in rejected)
        if reached >= int(seq) and not dead:
            notes.expect(
                hashes.get(int(seq)) == sha256, f"{lane} {seq}: the gateway states another hash than the cloud's"
            )
    notes.figure("heads", ", ".join(f"{lane} {seq}" for lane, (seq, _) in sorted(state["heads"].items())))
