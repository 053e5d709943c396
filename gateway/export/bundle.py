"""One file for an authority: records, keys, events, the XML for the transparency software, a readme, checksums.

The same period gives the same bytes: the times in the archive are fixed, the order is that of the store.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any
from zoneinfo import ZoneInfo

from gateway.export.dialects import DIALECTS, utc_text, write_table
from gateway.export.facts import ended_sessions
from gateway.export.session_facts import SessionFacts
from gateway.export.session_table import session_table
from gateway.export.transparency import transparency_xml
from gateway.model import Connection
from gateway.records.pins import State
from gateway.records.signing import key_id_of
from gateway.store import pins

NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can state: the archive itself says nothing of when it was made."""

_RECORD = ("id", "session", "kind", "signed_by", "key_id", "charge_point", "pagination", "text", "prev", "sha256")
_EVENT = ("epoch", "seq", "boot", "rid", "ts", "ts_q", "schema", "prev", "sha256", "body")


@dataclass
class Bundle:
    """What went into it."""

    sessions: int = 0
    records: int = 0
    events: int = 0
    checksums: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """Which sessions and events, and of whom; times are UTC ms, half-open."""

    gateway: str
    simulation: bool
    zone: ZoneInfo
    from_ms: int
    to_ms: int


def write_bundle(db: Connection, target: IO[bytes], scope: Scope, keys: Sequence[Mapping[str, Any]]) -> Bundle:
    """Write the archive. `keys` are those of `zev-gateway keys --json`."""
    made = Bundle()
    sessions = list(ended_sessions(db, scope.from_ms, scope.to_ms))
    made.sessions = len(sessions)
    by_id = {str(key["key_id"]): str(key["spki_hex"]) for key in keys}
    first, last = _span(sessions)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        events = (_json_line(row, _EVENT) for row in _events(db, scope))
        made.events = _add(archive, made, "events/events.jsonl", events)
        records = (_json_line(row, _RECORD) for row in _records(db, first, last))
        made.records = _add(archive, made, "records/records.jsonl", records)
        texts = (str(row[7]).rstrip("\r\n") + "\n" for row in _records(db, first, last) if row[7].startswith("OCMF|"))
        _add(archive, made, "records/ocmf.txt", texts)
        header, rows = session_table(scope.gateway, scope.zone, sessions)
        _add(archive, made, "sessions.csv", [write_table(header, rows, DIALECTS["rfc4180"]).decode()])
        xml, held, left_out = transparency_xml(sessions, by_id)
        _add(archive, made, "transparency.xml", [xml])
        document = {"v": 1, "keys": [*keys, *_meter_keys(db)]}
        _add(archive, made, "keys/keys.json", [json.dumps(document, indent=1) + "\n"])
        readme = _readme(scope, made, held, left_out, (first, last))
        _add(archive, made, "README.txt", [readme])
        _add(archive, made, "SHA256SUMS", ["".join(sorted(made.checksums, key=lambda line: line[66:]))])
    return made


def _meter_keys(db: Connection) -> Iterator[dict[str, Any]]:
    """The keys that were pinned for chargers' meters, replaced ones too: their texts are checked with them."""
    for row in pins.everything(db):
        if row.state == State.REFUSED:
            continue
        yield {
            "key_id": key_id_of(bytes.fromhex(row.spki_hex)),
            "spki_hex": row.spki_hex,
            "charger": row.charger,
            "connector": row.connector,
            "meter_serial": row.serial,
            "state": row.state,
            "source": row.source,
            "valid_from": utc_text(row.from_ms),
            "valid_to": utc_text(row.to_ms) if row.to_ms is not None else "",
        }


def _span(sessions: Sequence[SessionFacts]) -> tuple[int, int]:
    """The first and the last record of these sessions: everything between goes along, so that the chain is whole."""
    ids = [record.id for one in sessions for record in one.records]
    return (min(ids), max(ids)) if ids else (0, -1)


def _records(db: Connection, first: int, last: int) -> Iterator[tuple[Any, ...]]:
    yield from db.execute(
        f"SELECT {', '.join(_RECORD)} FROM record WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)
    )


def _events(db: Connection, scope: Scope) -> Iterator[tuple[Any, ...]]:
    yield from db.execute(
        f"SELECT {', '.join(_EVENT)} FROM outbox WHERE lane = 'event' AND ts >= ? AND ts < ? ORDER BY ts, epoch, seq",
        (utc_text(scope.from_ms)[:-1], utc_text(scope.to_ms)[:-1]),
    )


def _json_line(row: Sequence[Any], names: Sequence[str]) -> str:
    return json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n"


def _add(archive: zipfile.ZipFile, made: Bundle, name: str, parts: Iterable[str]) -> int:
    """Write one member piece by piece; how many pieces it had. Its checksum is counted on the way."""
    info = zipfile.ZipInfo(name, NO_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    digest, count = hashlib.sha256(), 0
    with archive.open(info, "w", force_zip64=True) as member:
        for part in parts:
            data = part.encode()
            digest.update(data)
            member.write(data)
            count += 1
    made.checksums.append(f"{digest.hexdigest()}  {name}\n")
    return count


def _readme(scope: Scope, made: Bundle, held: int, left_out: Sequence[str], span: tuple[int, int]) -> str:
    """What is in the archive and how to check it, in English and German."""
    simulation = "SIMULATION: no real energy. / SIMULATION: keine wirkliche Energie.\n\n" if scope.simulation else ""
    missing = "".join(f"  {name}\n" for name in left_out) or "  none / keine\n"
    return f"""{simulation}Charging records of {scope.gateway}
from {utc_text(scope.from_ms)} to {utc_text(scope.to_ms)} (by the end of the session, end not included)

sessions.csv          {made.sessions} sessions, one a line (docs/exports.md of the gateway names the columns)
records/records.jsonl {made.records} records {span[0]}-{span[1]} as they are kept: text, prev, sha256
records/ocmf.txt      the signed texts alone, byte for byte, one a line
transparency.xml      {held} sessions for the transparency software of S.A.F.E. (version 1.4.1 or newer)
keys/keys.json        the public keys that signed: the gateway's, and those pinned for the meters of chargers;
                      compare a charger's key with the one that is printed on its meter
events/events.jsonl   {made.events} events: power, clock, keys, restarts, refused input
SHA256SUMS            check with: sha256sum -c SHA256SUMS

The chain: sha256 of each record is SHA-256 over prev, a line feed, and the text; prev is the sha256 of the record
before it. A changed, missing or added record breaks it.
signed_by = gateway: tamper-evident from the gateway on, from registers that it read from the meter. It is an integrity
signature and no type-examined instrument. signed_by = charger: passed through unchanged, the charger's own signature.
Sessions without a pair of signed registers (not in transparency.xml):
{missing}
Ladebelege von {scope.gateway}. sessions.csv: die Ladevorgänge; records/: die signierten Texte, Byte für Byte;
transparency.xml: für die Transparenzsoftware der S.A.F.E.; keys/: die öffentlichen Schlüssel; events/: Ereignisse;
SHA256SUMS: Prüfsummen. Die Signatur des Gateways schützt die Werte ab dem Gateway; sie ist keine Eichung.
"""
