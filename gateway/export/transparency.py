"""Pure: signed records in the XML container that Transparenzsoftware 1.4.1 of S.A.F.E. reads.

What that program needs (tried with it: docs/evidence/transparenzsoftware.txt): an integer `transactionId`, the
contexts Transaction.Begin and Transaction.End on `<value>`, `format` and `encoding="plain"` on `<signedData>`, and the
key, in hex, in the form that it takes for the format: DER SubjectPublicKeyInfo for OCMF, bare coordinates for EDL40, a
point for the others. The signed text stands in it byte for byte; XML's own escapes are undone by every reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from gateway.export.ocmf_text import read_ocmf
from gateway.export.session_facts import SessionFacts, SignedText
from gateway.records.facts import facts_of
from gateway.records.public_keys import read_spki
from gateway.records.recognise import Format, local_name, read_xml, recognise

_CONTEXTS = {"begin": "Transaction.Begin", "end": "Transaction.End"}
_KINDS = {context: kind for kind, context in _CONTEXTS.items()}

READ_BY_IT = frozenset(Format) - {Format.CHARGEIT, Format.SEALED, Format.UNKNOWN}
"""Formats that it reads inside this container; what is sealed only its addressee can read."""

_HOLDS_BEGIN = frozenset((Format.ISA_EDL40, Format.PCDF))
"""Formats whose text of the end states the register of the begin as well: it stands alone."""


def transparency_xml(sessions: Iterable[SessionFacts], keys: Mapping[str, str]) -> tuple[str, int, list[str]]:
    """The document, how many sessions it holds, and which have no complete pair of signed texts.

    `keys` are public keys (SPKI, hex) by key id. A session's `transactionId` is the number of its first record in the
    store: an OCPP transaction id is unique at its charger only, and this file holds many chargers.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<values>"]
    held, left_out = 0, []
    for one in sessions:
        texts = _pair(one)
        if not texts:
            left_out.append(one.id)
            continue
        held += 1
        for record in texts:
            lines.append(_value(record, texts[0].id, record.spki_hex or keys.get(record.key_id)))
    return "\n".join([*lines, "</values>", ""]), held, left_out


def _pair(one: SessionFacts) -> list[SignedText]:
    """Begin and end, or the one text that holds both; the charger's own where it signed, else the gateway's.

    Begin and end are of one format and verify with one key: the program takes a single one for both.
    """
    for signer in ("meter", "charger", "gateway"):
        by_kind: dict[tuple[Format, str], SignedText] = {}
        for record in (record for record in one.records if record.signed_by == signer and _is_read(record.text)):
            by_kind[recognise(record.text), kind_of(record)] = record
        for format_ in dict.fromkeys(format_ for format_, _ in by_kind):
            whole = by_kind.get((format_, "begin_end"))
            if whole is not None:
                return [whole]
            begin, end = by_kind.get((format_, "begin")), by_kind.get((format_, "end"))
            if end is not None and format_ in _HOLDS_BEGIN:
                return [end]
            if begin is not None and end is not None:
                return [begin, end]
    return []


def _is_read(text: str) -> bool:
    """Of Mennekes' texts it takes one ChargingProcess, not the Billing around several."""
    format_ = recognise(text)
    root = read_xml(text) if format_ is Format.MENNEKES else None
    return format_ in READ_BY_IT and (root is None or local_name(root) == "ChargingProcess")


def kind_of(record: SignedText) -> str:
    """`begin`, `end`, `begin_end` by what the text says, else by what the charger said of it; empty where neither."""
    ocmf = read_ocmf(record.text)
    if ocmf is not None:
        return ocmf.kind
    registers = facts_of(record.text).registers
    said = {"begin": any(one.begins for one in registers), "end": any(one.ends for one in registers)}
    return "_".join(kind for kind, is_so in said.items() if is_so) or _KINDS.get(record.context, "")


def _value(record: SignedText, number: int, key: str | None) -> str:
    context, format_ = _CONTEXTS.get(kind_of(record)), recognise(record.text)
    where = f' context="{context}"' if context else ""
    shown = f'\n    <publicKey encoding="hex">{_as_read(key, format_)}</publicKey>' if key else ""
    return (
        f'  <value transactionId="{number}"{where}>\n'
        f'    <signedData format="{format_.value}" encoding="plain">{escape(record.text)}</signedData>{shown}\n'
        "  </value>"
    )


def _as_read(spki_hex: str, format_: Format) -> str:
    """The key as the program takes it for a format."""
    key = read_spki(bytes.fromhex(spki_hex)) if format_ is not Format.OCMF else None
    if key is None:
        return escape(spki_hex)
    x, y = (number.to_bytes(key.curve.size) for number in key.point)
    if format_ is Format.ALFEN:  # compared with the one inside the text, which is compressed
        return (bytes([2 + (y[-1] & 1)]) + x).hex()
    return ((b"\x04" if format_ is Format.PCDF else b"") + x + y).hex()
