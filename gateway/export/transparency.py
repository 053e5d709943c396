"""Pure: signed records in the XML container that Transparenzsoftware 1.4.1 of S.A.F.E. reads.

What that program needs (tried with its classes): an integer `transactionId`, the contexts Transaction.Begin and
Transaction.End on `<value>`, `format="OCMF"` and `encoding="plain"` on `<signedData>`, the key as DER
SubjectPublicKeyInfo in hex. The signed text stands in it byte for byte; XML's own escapes are undone by every reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from gateway.export.ocmf_text import read_ocmf
from gateway.export.session_facts import SessionFacts, SignedText

_CONTEXTS = {"begin": "Transaction.Begin", "end": "Transaction.End"}


def transparency_xml(sessions: Iterable[SessionFacts], keys: Mapping[str, str]) -> tuple[str, int, list[str]]:
    """The document, how many sessions it holds, and which have no complete pair of OCMF texts.

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
    """Begin and end, or the one text that holds both; the charger's own where it signed, else the gateway's."""
    for signer in ("meter", "charger", "gateway"):
        by_kind = {kind_of(record): record for record in one.records if record.signed_by == signer}
        if "begin_end" in by_kind:
            return [by_kind["begin_end"]]
        if "begin" in by_kind and "end" in by_kind:
            return [by_kind["begin"], by_kind["end"]]
    return []


def kind_of(record: SignedText) -> str:
    """`begin`, `end`, `begin_end` by what the text itself says; empty where it is no OCMF."""
    facts = read_ocmf(record.text)
    return facts.kind if facts else ""


def _value(record: SignedText, number: int, key: str | None) -> str:
    context = _CONTEXTS.get(kind_of(record))
    where = f' context="{context}"' if context else ""
    shown = f'\n    <publicKey encoding="hex">{escape(key)}</publicKey>' if key else ""
    return (
        f'  <value transactionId="{number}"{where}>\n'
        f'    <signedData format="OCMF" encoding="plain">{escape(record.text)}</signedData>{shown}\n'
        "  </value>"
    )
