"""The cloud's records: what the ingestor holds, and the sessions, splits and quarter hours that they tell of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from simulators.judge.evidence import Evidence, NoEvidenceError
from simulators.judge.times import QUARTER_MS, parse_utc

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


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Quarter hours that had not come yet: what the billing lane told of them up to a number is taken back."""

    epoch: str
    upto: int
    first_k: int
    end_k: int

    def takes_back(self, record: Record, k: int) -> bool:
        """Whether this record of a quarter hour is one of them."""
        return self.first_k <= k < self.end_k and (record.epoch, record.seq <= self.upto) == (self.epoch, True)


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

    `before_the_house`: with those that a clock told of that was years behind, and was found out.
    """
    wrong = bool(evidence.told("clock_wrong")) and not before_the_house
    first_k = evidence.unknowable[0] // QUARTER_MS if wrong else 0
    found = {k: ordered for k, ordered in _versions(evidence, _withdrawals(evidence)).items() if k >= first_k}
    if not found:
        raise NoEvidenceError("the cloud holds no quarter hour")
    return found


def told_versions(evidence: Evidence) -> dict[int, list[Body]]:
    """All that the cloud was told of each quarter hour, by k, oldest version first."""
    return _versions(evidence, [])


def _versions(evidence: Evidence, withdrawals: list[Withdrawal]) -> dict[int, list[Body]]:
    found: dict[int, list[Body]] = {}
    for record in records(evidence):
        if record.schema == "interval.v1":
            body: Body = json.loads(record.body)
            if not any(one.takes_back(record, int(body["k"])) for one in withdrawals):
                found.setdefault(int(body["k"]), []).append(body)
    return {k: sorted(versions, key=lambda body: int(body["version"])) for k, versions in sorted(found.items())}


def _withdrawals(evidence: Evidence) -> list[Withdrawal]:
    """What the gateway took back of what a wrong clock told, as its notices say (docs/cloud)."""
    notices = [(record, json.loads(record.body)) for record in records(evidence) if record.schema == "notice.v1"]
    return [
        Withdrawal(
            record.epoch,
            int(notice["data"]["withdrawn_upto"]),
            parse_utc(notice["data"]["withdrawn_from"]) // QUARTER_MS,
            parse_utc(notice["data"]["withdrawn_to"]) // QUARTER_MS,
        )
        for record, notice in notices
        if notice["kind"] in ("clock_set_back", "clock_step") and "withdrawn_from" in notice["data"]
    ]
