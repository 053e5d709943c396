"""The cloud's records: what the ingestor holds, and the sessions, splits and quarter hours that they tell of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from simulators.judge.evidence import Evidence, NoEvidenceError
from simulators.judge.times import QUARTER_MS

Body = dict[str, Any]

COLUMNS = "gw, epoch, lane, seq, rid, boot, ts, ts_q, schema, prev, sha256, body"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the ingestor stored it."""

    gw: str
    epoch: str
    lane: str
    seq: int
    rid: str
    boot: int
    ts: str
    ts_q: str
    schema: str
    prev: str
    sha256: str
    body: str


def records(evidence: Evidence) -> list[Record]:
    """Every record in the order of its lane. NoEvidenceError if the cloud holds none."""
    rows = evidence.rows("cloud.db", f"SELECT {COLUMNS} FROM record ORDER BY gw, epoch, lane, seq")
    if not rows:
        raise NoEvidenceError("the cloud holds no record")
    return [Record(*row) for row in rows]


@dataclass(slots=True)
class Session:
    """A session with all that the cloud was told of it."""

    id: str
    begins: list[Body] = field(default_factory=list)
    ends: list[Body] = field(default_factory=list)
    splits: list[Body] = field(default_factory=list)

    @property
    def billable(self) -> bool:
        """Its end record says that it may be billed."""
        return any(end["billable"] for end in self.ends)

    @property
    def split(self) -> Body | None:
        """The newest version."""
        return max(self.splits, key=lambda body: int(body["version"]), default=None)

    @property
    def name(self) -> str:
        """box1 CARD-A (id)"""
        body = (self.ends or self.begins or [{}])[0]
        return f"{body.get('charger', '?')} {body.get('id_tag', '?')} ({self.id[:8]})"


def sessions(evidence: Evidence) -> list[Session]:
    """Every session that any record names, in the order of its first record."""
    found: dict[str, Session] = {}
    for record in records(evidence):
        subject, _, version = record.schema.partition(".v")
        if version != "1" or subject not in ("session.begin", "session.end", "split"):
            continue
        body: Body = json.loads(record.body)
        session = found.setdefault(body["session"], Session(body["session"]))
        {"session.begin": session.begins, "session.end": session.ends, "split": session.splits}[subject].append(body)
    return list(found.values())


def interval_versions(evidence: Evidence, *, before_the_house: bool = False) -> dict[int, list[Body]]:
    """The versions of each quarter hour, by k, oldest version first; none that only a wrong clock told of.

    `before_the_house`: with those that a clock told of that was years behind.
    """
    told = told_versions(evidence)
    if evidence.told("clock_wrong"):
        received = _received(evidence)
        first_k = 0 if before_the_house else evidence.lives[0][0] // QUARTER_MS
        told = {k: [one for one in ordered if _may_be(evidence, one, received, first_k)] for k, ordered in told.items()}
    found = {k: ordered for k, ordered in told.items() if ordered}
    if not found:
        raise NoEvidenceError("the cloud holds no quarter hour")
    return found


def told_versions(evidence: Evidence) -> dict[int, list[Body]]:
    """All that the cloud was told of each quarter hour, by k, oldest version first."""
    found: dict[int, list[Body]] = {}
    for record in records(evidence):
        if record.schema == "interval.v1":
            body: Body = json.loads(record.body)
            found.setdefault(int(body["k"]), []).append(body)
    return {k: sorted(versions, key=lambda body: int(body["version"])) for k, versions in sorted(found.items())}


def _received(evidence: Evidence) -> dict[tuple[int, int], int]:
    """When the cloud, by its own clock, received each version of a quarter hour."""
    rows = evidence.rows("cloud.db", "SELECT body, received_ms FROM record WHERE schema = 'interval.v1'")
    read = [(json.loads(body), int(received_ms)) for body, received_ms in rows]
    return {(int(body["k"]), int(body["version"])): received_ms for body, received_ms in read}


def _may_be(evidence: Evidence, body: Body, received: dict[tuple[int, int], int], first_k: int) -> bool:
    """Nobody can have measured a quarter hour before the house was there, nor one that had not ended when told."""
    k = int(body["k"])
    ended = (k + 1) * QUARTER_MS <= received[k, int(body["version"])] + evidence.slack_ms
    return ended and k >= first_k
