"""Pure: the verdict on one signed text of any format, by the key that is known for it.

A key that stands in the text itself proves nothing alone: whoever forges the text puts his own there. It counts only
once it is pinned (pins.py); the caller says which key is.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.records import alfen
from gateway.records.facts import Facts, facts_of
from gateway.records.ocmf_check import UNREADABLE, Unreadable, Verdict, check_ocmf
from gateway.records.public_keys import PublicKey
from gateway.records.recognise import Format

Key = PublicKey | Unreadable | None
"""A key; one that could not be read; none known."""

_EDL40 = (Format.EDL40, Format.ISA_EDL40, Format.EDL40_SIG, Format.MENNEKES)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one text, and what it states."""

    verdict: Verdict
    reason: str
    facts: Facts


def judge(text: str, key: Key, facts: Facts | None = None) -> Judgement:
    """Check a text with a key; never raises. `facts` saves reading it twice."""
    facts = facts or facts_of(text)
    verdict, reason = _verdict(text, key, facts)
    return Judgement(verdict, reason, facts)


def _verdict(text: str, key: Key, facts: Facts) -> tuple[Verdict, str]:
    if facts.format is Format.OCMF:
        finding = check_ocmf(text, lambda _: key)
        return finding.verdict, finding.reason
    if facts.format not in (Format.ALFEN, *_EDL40):
        return Verdict.UNSUPPORTED, f"the format {facts.format.value} is kept and not checked here"
    if facts.format in _EDL40 and not facts.signed:
        return Verdict.INVALID, "a field that is signed is missing or cannot be read"
    if key is None:
        return Verdict.KEY_UNKNOWN, "no public key is known for it"
    if isinstance(key, Unreadable):
        return Verdict.INVALID, "the public key cannot be read"
    if facts.format is Format.ALFEN:
        record = alfen.read(text)
        matches = record is not None and record.verifies(key)
    else:
        curves = {signed.curve for signed in facts.signed}
        if curves != {key.curve}:
            return Verdict.INVALID, f"the key is on {key.curve.name}, the signature is not"
        matches = all(signed.verifies(key) for signed in facts.signed)
    return (Verdict.VALID, "") if matches else (Verdict.INVALID, "the signature does not match")


__all__ = ["UNREADABLE", "Judgement", "Key", "judge"]
