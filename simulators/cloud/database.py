"""The cloud's database: one row per record, what it refused, what came twice, and the states it was told."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
REJECTED_TOLD = 100
"""An acknowledgement repeats the newest refusals, so that a lost one heals itself."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
  gw TEXT, epoch TEXT, lane TEXT, seq INTEGER, rid TEXT, boot INTEGER, ts TEXT, ts_q TEXT, schema TEXT, prev TEXT,
  sha256 TEXT, body TEXT, received_ms INTEGER, supersedes TEXT, PRIMARY KEY (gw, epoch, lane, seq)) STRICT;
CREATE TABLE IF NOT EXISTS rejected (
  gw TEXT, epoch TEXT, lane TEXT, seq INTEGER, rid TEXT, sha256 TEXT, code TEXT, text TEXT, received_ms INTEGER,
  PRIMARY KEY (gw, epoch, lane, seq)) STRICT;
CREATE TABLE IF NOT EXISTS duplicate (
  gw TEXT, epoch TEXT, lane TEXT, seq INTEGER, same INTEGER, received_ms INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS state (gw TEXT, payload TEXT, received_ms INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS hello (gw TEXT, payload TEXT, received_ms INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS reply (gw TEXT, cid TEXT, state TEXT, payload TEXT, received_ms INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS unreadable (topic TEXT, payload TEXT, why TEXT, received_ms INTEGER) STRICT;
"""

LaneKey = tuple[str, str, str]
"""gw, epoch, lane."""


@dataclass
class Lane:
    """What the cloud has of one lane: `upto` without a gap, and what came beyond a gap."""

    upto: int = 0
    beyond: set[int] = field(default_factory=set)

    def add(self, seq: int) -> None:
        if seq > self.upto:
            self.beyond.add(seq)
        while self.upto + 1 in self.beyond:
            self.upto += 1
            self.beyond.discard(self.upto)

    def missing(self) -> list[tuple[int, int]]:
        """The gaps [first, last] between what came."""
        gaps, expected = [], self.upto + 1
        for seq in sorted(self.beyond):
            if seq > expected:
                gaps.append((expected, seq - 1))
            expected = seq + 1
        return gaps


def envelope_sha256(envelope: dict[str, Any]) -> str:
    """The hash as the contract says it: a line for each head field, then the body."""
    names = ("v", "gw", "epoch", "boot", "lane", "seq", "rid", "ts", "ts_q", "schema", "prev")
    head = "".join(f"{envelope[name]}\n" for name in names)
    return hashlib.sha256((head + envelope["body"]).encode()).hexdigest()


class CloudDatabase:
    """Everything of one batch between `begin` and `commit`. With `durable` each commit is an fsync."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        self._db.executescript(SCHEMA)
        self.lanes: dict[LaneKey, Lane] = {}
        for table in ("record", "rejected"):
            for gw, epoch, lane, seq in self._db.execute(f"SELECT gw, epoch, lane, seq FROM {table} ORDER BY seq"):
                self.lane((gw, epoch, lane)).add(seq)

    def lane(self, key: LaneKey) -> Lane:
        """The lane's standing, made at its first use."""
        return self.lanes.setdefault(key, Lane())

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()

    def store(self, envelope: dict[str, Any], now_ms: int) -> None:
        """Keep a record once; the second time only note that it came."""
        key = (envelope["gw"], envelope["epoch"], envelope["lane"])
        known = self.sha256_of(key, envelope["seq"])
        if known is not None:
            self._write("duplicate", *key, envelope["seq"], int(known == envelope["sha256"]), now_ms)
            return
        problem = self._problem(key, envelope)
        if problem is not None:
            self.reject(envelope, *problem, now_ms)
            return
        supersedes = envelope.get("supersedes")
        named = f"{supersedes['epoch']} {supersedes['seq']} {supersedes['sha256']}" if supersedes else None
        self._write(
            "record", *key, envelope["seq"], envelope["rid"], envelope["boot"], envelope["ts"], envelope["ts_q"],
            envelope["schema"], envelope["prev"], envelope["sha256"], envelope["body"], now_ms, named,
        )  # fmt: skip
        self.lane(key).add(envelope["seq"])

    def reject(self, envelope: dict[str, Any], code: str, text: str, now_ms: int) -> None:
        """Refuse a record for good."""
        key = (envelope["gw"], envelope["epoch"], envelope["lane"])
        self._write("rejected", *key, envelope["seq"], envelope["rid"], envelope["sha256"], code, text, now_ms)
        self.lane(key).add(envelope["seq"])

    def note(self, table: str, *values: Any) -> None:
        """A row of `state`, `hello`, `reply` or `unreadable`."""
        self._write(table, *values)

    def sha256_of(self, key: LaneKey, seq: int) -> str | None:
        """The hash of a record that was stored or refused."""
        for table in ("record", "rejected"):
            row = self._db.execute(
                f"SELECT sha256 FROM {table} WHERE gw = ? AND epoch = ? AND lane = ? AND seq = ?", (*key, seq)
            ).fetchone()
            if row:
                return str(row[0])
        return None

    def newest_epoch(self, gw: str, lane: str) -> str | None:
        """The epoch whose first record of this lane came last."""
        row = self._db.execute(
            "SELECT epoch FROM record WHERE gw = ? AND lane = ? GROUP BY epoch ORDER BY min(rowid) DESC LIMIT 1",
            (gw, lane),
        ).fetchone()
        return str(row[0]) if row else None

    def rejections(self, key: LaneKey) -> list[dict[str, Any]]:
        """The newest refusals of a lane, as an acknowledgement names them."""
        rows: Iterable[tuple[int, str, str]] = self._db.execute(
            "SELECT seq, code, text FROM rejected WHERE gw = ? AND epoch = ? AND lane = ? ORDER BY seq DESC LIMIT ?",
            (*key, REJECTED_TOLD),
        )
        return [{"seq": seq, "code": code, "text": text} for seq, code, text in rows]

    def _problem(self, key: LaneKey, envelope: dict[str, Any]) -> tuple[str, str] | None:
        if envelope["body"] is None:
            return "too_large", "the record came without its body"
        if envelope_sha256(envelope) != envelope["sha256"]:
            return "sha256", "the hash is not that of the record"
        before = GENESIS if envelope["seq"] == 1 else self.sha256_of(key, envelope["seq"] - 1)
        if before is not None and before != envelope["prev"]:
            return "prev", "prev is not the hash of the record before it"
        after = self._db.execute(
            "SELECT prev FROM record WHERE gw = ? AND epoch = ? AND lane = ? AND seq = ?", (*key, envelope["seq"] + 1)
        ).fetchone()
        if after is not None and after[0] != envelope["sha256"]:
            return "prev", "the record after it names another hash as prev"
        return None

    def _write(self, table: str, *values: Any) -> None:
        self._db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
