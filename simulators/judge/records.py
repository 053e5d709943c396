"""The cloud's records: what the ingestor holds, and the sessions, splits and quarter hours that they tell of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from simulators.judge.evidence import Evidence, NoEvidenceError

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


def interval_versions(evidence: Evidence) -> dict[int, list[Body]]:
    """The versions of each quarter hour, by k, oldest version first."""
    found: dict[int, list[Body]] = {}
    for record in records(evidence):
        if record.schema == "interval.v1":
            body: Body = json.loads(record.body)
            found.setdefault(int(body["k"]), []).append(body)
    if not found:
        raise NoEvidenceError("the cloud holds no quarter hour")
    return {k: sorted(versions, key=lambda body: int(body["version"])) for k, versions in sorted(found.items())}
