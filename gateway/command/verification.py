"""`verify` and `keys`: all records of the store, or the signed texts of a file, against the keys that are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

from gateway.command.directories import UserError, look_into
from gateway.command.session_list import open_state
from gateway.model import Connection, StoreError
from gateway.records.completeness import Fault, Stand, check_session, follow, stream_of
from gateway.records.containers import Held, read_container
from gateway.records.facts import Facts, facts_of
from gateway.records.judge import UNREADABLE, Judgement, Key, judge
from gateway.records.public_keys import PublicKey, read_key, read_spki
from gateway.records.signing import LIST, KeyFileError, list_keys
from gateway.records.verify import GENESIS, Link, SequenceCheck, Verdict
from gateway.store import meta, pins, records, second_copy
from gateway.store.outbox import envelope_sha256

MAX_FILE_BYTES = 64 * 1024 * 1024
STEP = 500
"""Records between two words about the progress."""

Progress = Callable[[int, int], None]
"""Called with how many records of how many are done."""

_RECORDS = """
SELECT record.id, key_id, charge_point, pagination, text, prev, sha256, signed_by, session, kind, reading,
       spki_hex, verdict, text_sha256
FROM record LEFT JOIN charger_text ON charger_text.record = record.id ORDER BY record.id
"""
_FIELDS = tuple(one.name for one in fields(Link))
"""The columns of _RECORDS, in its order."""

_LANES = """
SELECT lane, epoch, seq, boot, rid, ts, ts_q, schema, prev, sha256, body FROM outbox ORDER BY lane, epoch, seq
"""


@dataclass(frozen=True, slots=True)
class Value:
    """The verdict on one text of a file."""

    place: str
    format: str
    verdict: str
    reason: str
    key: str


@dataclass
class Verification:
    """What was looked at, and what is wrong: (which record, why). `notes` are right, with a word about them."""

    records: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


def keys_of(state: Path) -> list[dict[str, Any]]:
    """Every key that ever signed here. UserError where there is none."""
    folder = state / "keys"
    look_into(folder, f"there are no keys in {folder}")
    try:
        return list_keys(folder)
    except (KeyFileError, OSError) as error:
        raise UserError(str(error)) from error


# The store


def verify_store(db: Connection, state: Path, progress: Progress | None = None) -> Verification:
    """Signatures, hash chains, pagination, and what stands beside them, of everything that the store holds."""
    try:
        db.execute("BEGIN")  # one view of everything: a daemon may write on meanwhile
        try:
            return _verify_store(db, state, progress)
        finally:
            db.execute("ROLLBACK")
    except StoreError as error:
        raise UserError(f"{state / 'billing.db'} cannot be read to its end ({error}): restore a copy", 1) from error


def _verify_store(db: Connection, state: Path, progress: Progress | None) -> Verification:
    found = Verification()
    check = SequenceCheck(_own_keys(db, state, found))
    total = _number(db, "SELECT count(*) FROM record")
    for link in _links(db):
        found.records += 1
        found.problems += [(f"record {link.id}", why) for why in check.look_at(link)]
        if progress is not None and (found.records % STEP == 0 or found.records == total):
            progress(found.records, total)
    pages = db.execute("SELECT key_id, charge_point, next FROM pagination").fetchall()
    written = _number(db, "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'record'), 0)")
    ends = check.finish({(row[0], row[1]): row[2] for row in pages}, written)
    found.problems += [("the end of the records", why) for why in ends]
    found.problems += _lanes(db)
    if (state / second_copy.NAME).exists():
        found.problems += [
            (f"record {number}" if number else "the second copy", why)
            for number, why in second_copy.compare(db, state)
            if number <= written  # newer ones came while this was read
        ]
    elif found.records:
        found.notes.append(("the second copy", f"there is no {second_copy.NAME}: the running gateway makes it"))
    return found


def _own_keys(db: Connection, state: Path, found: Verification) -> dict[str, bytes]:
    """Our public keys: of the list beside the private key, and those that the database saw come into force."""
    listed = {str(key["key_id"]): str(key["spki_hex"]) for key in keys_of(state)}
    for key_id, spki in records.own_keys(db).items() if _has(db, "signing_key") else ():
        if listed.setdefault(key_id, spki) != spki:
            found.problems.append((f"key {key_id}", "the list of keys and the database differ"))
    return {key_id: bytes.fromhex(spki) for key_id, spki in listed.items()}


def _links(db: Connection) -> Iterator[Link]:
    sql = _RECORDS
    if not _has(db, "charger_text"):  # a database that an older gateway left; the daemon migrates it at its next start
        sql = sql.replace("LEFT JOIN charger_text ON charger_text.record = record.id", "")
        sql = sql.replace("spki_hex, verdict, text_sha256", "NULL, NULL, NULL")
    for row in db.execute(sql):
        values = dict(zip(_FIELDS, row, strict=True))
        yield Link(**{**values, "spki": _unhex(values["spki"])})


def _unhex(text: str | None) -> bytes | None:
    try:
        return bytes.fromhex(text) if text is not None else None
    except ValueError:
        return b""


def _lanes(db: Connection) -> Iterator[tuple[str, str]]:
    """The chains of what goes to the cloud (contract 5.4). The oldest rows that are there may follow purged ones."""
    gw = meta.get(db, "gw")
    if gw is None:
        return
    before: tuple[str, str, int, str] | None = None
    for lane, epoch, seq, boot, rid, ts, ts_q, schema, prev, sha256, body in db.execute(_LANES):
        name = f"{lane} {seq}"
        follows = before is not None and before[:2] == (lane, epoch)
        if follows and before is not None and (before[2] + 1, before[3]) != (seq, prev):
            yield name, "the row before it is missing or was changed"
        if not follows and seq == 1 and prev != GENESIS:
            yield name, "it is the first of its lane and does not begin its chain"
        stated = envelope_sha256(
            v=1, gw=gw, epoch=epoch, boot=boot, lane=lane, seq=seq, rid=rid, ts=ts, ts_q=ts_q, schema=schema,
            prev=prev, body=body,
        )  # fmt: skip
        if stated != sha256:
            yield name, "it is not the row that was written"
        before = (lane, epoch, seq, sha256)


def _has(db: Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)).fetchone() is not None


def _number(db: Connection, sql: str) -> int:
    row = db.execute(sql).fetchone()
    return int(row[0]) if row else 0


# A file


def pinned_keys(db: Connection) -> list[bytes]:
    """The keys of chargers' meters that this gateway pinned, replaced ones too."""
    if not _has(db, "charger_key"):
        return []
    return [bytes.fromhex(row.spki_hex) for row in pins.everything(db) if row.state != "refused"]


def known_keys(state: Path) -> list[bytes]:
    """Our own keys and the pinned ones of a state directory; none where there is no such directory on this machine."""
    keys: list[bytes] = []
    if (state / "keys" / LIST).exists():
        keys += [bytes.fromhex(str(key["spki_hex"])) for key in keys_of(state)]
    if (state / "billing.db").exists():
        db = open_state(state)
        try:
            keys += pinned_keys(db)
        finally:
            db.close()
    return keys


def verify_file(path: Path, keys: list[bytes], *, only_these: bool = True) -> Verification:
    """Every signed text of a file: XML, JSON, one a line. UserError.

    One that any of `keys` (SPKI) signed is valid. Unless `only_these`, a key that stands in the file is tried as well,
    and said to be no more than that.
    """
    held = read_container(_read_text(path))
    if not held:
        raise UserError(f"{path} holds no signed record: OCMF texts one a line, XML or JSON with signed values")
    known = [public for spki in keys if (public := read_spki(spki)) is not None]
    found = Verification(len(held))
    for one in held:
        judgement, key = _judge(one, known, only_these=only_these)
        verdict, reason = judgement.verdict, judgement.reason
        found.values.append(Value(one.place, judgement.facts.format.value, verdict.value, reason, key))
        if verdict is Verdict.VALID:
            if key == IN_FILE:
                found.notes.append((one.place, "valid by the key that stands in the file: compare it with the meter's"))
        elif verdict is Verdict.VALID_NOT_STRICT_DER:
            found.notes.append((one.place, f"valid: {reason}"))
        else:
            found.problems.append((one.place, f"{verdict.value}: {reason}".rstrip(": ")))
    _between(held, found)
    return found


_WRONG = (Fault.SERIAL, Fault.BACK)
"""What cannot be right inside one session; pages that are missing may stand in another file."""


def _between(held: list[Held], found: Verification) -> None:
    """What a text alone cannot show: missing pages, another meter at the end than at the begin."""
    stands: dict[tuple[str, str, str], Stand | None] = {}
    sessions: dict[str, list[Facts]] = {}
    for one in held:
        facts = facts_of(one.text)
        stream = stream_of(facts)
        stands[stream], problems = follow(stands.get(stream), facts)
        found.notes += [(one.place, problem.sentence) for problem in problems]
        if one.transaction:
            sessions.setdefault(one.transaction, []).append(facts)
    for transaction, texts in sessions.items():
        for problem in check_session(texts):
            listed = found.problems if problem.fault in _WRONG else found.notes
            listed.append((f"transaction {transaction}", problem.sentence))


KNOWN, IN_FILE = "known", "in the file"


def _judge(one: Held, known: list[PublicKey], *, only_these: bool) -> tuple[Judgement, str]:
    """The verdict of the key that fits, else that of the one that stands in the file, else of the last one tried."""
    facts = facts_of(one.text)
    judgement = judge(one.text, None, facts)
    if judgement.verdict in (Verdict.INVALID, Verdict.UNSUPPORTED):
        return judgement, ""
    for key in known:
        judgement = judge(one.text, key, facts)
        if judgement.verdict in (Verdict.VALID, Verdict.VALID_NOT_STRICT_DER):
            return judgement, KNOWN
    if only_these:
        return judgement, KNOWN if known else ""
    own = next((key for key in known if facts.signer == f"ZGW-{key.key_id}"), None)
    if own is not None:
        return judge(one.text, own, facts), KNOWN
    inside: Key = (read_key(one.key) or UNREADABLE) if one.key else facts.key
    return (judge(one.text, inside, facts), IN_FILE) if inside is not None else (judge(one.text, None, facts), "")


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text of signed records: it is not UTF-8") from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than 64 MiB: verify it in parts")
    return text


def read_keys(path: Path) -> list[bytes]:
    """Public keys of a file: the JSON that `zev-gateway keys --json` prints, or one key in any spelling. UserError."""
    try:
        content = path.read_bytes()[:MAX_FILE_BYTES].decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no public key: it is not text") from error
    try:
        if content.lstrip().startswith("{"):
            return [bytes.fromhex(key["spki_hex"]) for key in json.loads(content)["keys"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no public key: PEM, hex, or what zev-gateway keys --json prints") from error
    whole = read_key(content)
    lines = (
        [read_key(line) for line in islice(content.splitlines(), 1000) if line.strip()] if whole is None else [whole]
    )
    keys = [key.spki for key in lines if key is not None]
    if not keys or len(keys) != len(lines):
        raise UserError(f"{path} is no public key: PEM, hex, or what zev-gateway keys --json prints")
    return keys
