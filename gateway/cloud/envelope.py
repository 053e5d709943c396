"""Pure: what stands on the wire to and from the cloud (contract 5.4): models, and an outbox row as its payload.

What we send is strict; what we receive may carry more fields than we know: a newer cloud only adds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gateway.model import Lane, OutboxRow

MAX_MESSAGE_BYTES = 128 * 1024
"""The largest message of the contract. A record beyond it goes without its body, and the cloud refuses it by number."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seq = Annotated[int, Field(ge=1)]
Head = tuple[Seq, Hash]


class Sent(BaseModel):
    """Base of what the gateway sends."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Received(BaseModel):
    """Base of what the cloud sends."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Supersedes(Sent):
    """The record of an older epoch that this one repeats; the same `rid`, the same body."""

    epoch: str
    seq: Seq
    sha256: Hash


class Envelope(Sent):
    """One record of a lane.

    `sha256` is over `v gw epoch boot lane seq rid ts ts_q schema prev`, each followed by LF, and the body's bytes.
    """

    v: Literal[1] = 1
    gw: str
    epoch: str = Field(description="random 128-bit hex per database; common to billing and event")
    boot: int
    lane: Lane
    seq: Seq
    rid: str = Field(description="UUID of the record, the same at every resend")
    ts: str
    ts_q: Literal["ntp", "holdover", "rtc", "guessed", "simulated"]
    schema_: str = Field(alias="schema", description="which body this is, for example session.end.v1")
    prev: Hash = Field(description="sha256 of the record before it in this lane and epoch; 64 zeros first")
    sha256: Hash
    body: str | None = Field(
        description="a JSON string that holds the stored text, byte for byte; "
        "null only where the record exceeds the largest message (refuse it by number: `too_large`)"
    )
    supersedes: Supersedes | None = Field(None, description="outside the hash; only in the first rows of a new epoch")


class Hello(Sent):
    """The first message of every connection, repeated until it is answered."""

    v: Literal[1] = 1
    gw: str
    hid: str = Field(description="id of this hello; the answer repeats it")
    boot: int
    epoch: str
    heads: dict[str, Head] = Field(description="newest [seq, sha256] of each lane that has one")


class State(Sent):
    """Retained on `state`, and the last will (`online` false, the heads known at the connect)."""

    v: Literal[1] = 1
    gw: str
    boot: int
    online: bool
    ts: str
    ts_q: str
    epoch: str
    heads: dict[str, Head]


class Reply(Sent):
    """What became of a command: accepted -> running -> done (when observed, not when accepted) | failed."""

    v: Literal[1] = 1
    gw: str
    cid: str
    state: Literal["accepted", "running", "done", "failed"]
    ts: str
    result: dict[str, Any] | None = None
    error: str | None = Field(None, description="of failed: one sentence")


class LaneState(Received):
    """What the cloud has of one lane: everything up to `upto`, whose hash was `sha256` (null at 0)."""

    epoch: str
    upto: int = Field(ge=0)
    sha256: Hash | None = None


class HelloAck(Received):
    """The answer to a hello, on `down/ack`. A lane that is left out is one that the cloud has nothing of."""

    hid: str
    lanes: dict[str, LaneState]


class Rejected(Received):
    """A record that the cloud refuses for good: it stands in both sides' lists and blocks nothing."""

    seq: Seq
    code: str
    text: str = ""


class Ack(Received):
    """On `down/ack`, after the cloud's commit: every seq <= upto is stored or rejected. Cumulative."""

    lane: Lane
    epoch: str
    upto: int = Field(ge=0)
    missing: list[tuple[Seq, Seq]] = Field(default_factory=list, description="gaps [first, last] behind upto")
    rejected: list[Rejected] = Field(default_factory=list, description="the newest 100 of this lane and epoch")
    credit: int = Field(ge=0, description="records that may be in flight; at 0 one record per 60 s still goes")
    hold_s: float = Field(0, ge=0, description="seconds in which nothing of this lane is to be sent")


class Command(Received):
    """On `down/cmd`: an operation, idempotent by `cid`, refused after its deadline."""

    cid: str = Field(min_length=1, max_length=200)
    op: str
    args: dict[str, Any] = Field(default_factory=dict)
    issued: AwareDatetime
    deadline: AwareDatetime = Field(description="with its zone, best UTC with Z")
    actor: str = Field(description="who asks")


def topic(gw: str, kind: str, *, simulation: bool) -> str:
    """`zgw/v1/{gw}/{kind}`; a simulation speaks on `zgw/sim` instead."""
    return f"zgw/{'sim' if simulation else 'v1'}/{gw}/{kind}"


def encode(gw: str, row: OutboxRow) -> bytes:
    """The payload of one row; without its body where that makes the message larger than the largest one."""
    payload = _encode(gw, row, row.body)
    return payload if len(payload) <= MAX_MESSAGE_BYTES else _encode(gw, row, None)


def _encode(gw: str, row: OutboxRow, body: str | None) -> bytes:
    fields: dict[str, Any] = {
        "v": 1, "gw": gw, "epoch": row.epoch, "boot": row.boot, "lane": row.lane, "seq": row.seq, "rid": row.rid,
        "ts": row.ts, "ts_q": row.ts_q, "schema": row.schema, "prev": row.prev, "sha256": row.sha256, "body": body,
    }  # fmt: skip
    if row.supersedes is not None:
        epoch, seq, sha256 = row.supersedes.split(" ")
        fields["supersedes"] = {"epoch": epoch, "seq": int(seq), "sha256": sha256}
    return compact(fields)


def compact(document: Mapping[str, Any]) -> bytes:
    """JSON without spaces, UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def parse_ack(payload: bytes) -> Ack | HelloAck:
    """A message on `down/ack`. ValueError (pydantic's) says what is wrong."""
    try:
        document = json.loads(payload)
    except RecursionError as error:  # ten thousand brackets: bad input, and it must not come again and again
        raise ValueError("nested too deeply") from error
    if isinstance(document, dict) and "hid" in document:
        return HelloAck.model_validate(document)
    return Ack.model_validate(document)


def first_fault(error: ValidationError) -> str:
    """What is wrong with a message of the cloud: the field, and what it must be."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{place}: {first['msg']}"
