"""Pure: are the records of a store what was written: signatures, hash chain, pagination, and what stands beside them?

It reads the records in order, one at a time, so that a hundred thousand need no memory. Whatever is wrong names its
record. A record that was taken away at the end shows in the counters that the store keeps beside the chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.records import ocmf
from gateway.records.judge import judge
from gateway.records.ocmf_check import (
    UNREADABLE,
    Finding,
    Ocmf,
    Unreadable,
    Verdict,
    check_ocmf,
    split_ocmf,
    verify_ocmf,
)
from gateway.records.public_keys import read_spki

GENESIS = "0" * 64
"""`prev` of the first record of a chain."""

SIGNERS = ("gateway", "charger", "meter")


@dataclass(frozen=True, slots=True)
class Link:
    """One kept record, as the store holds it. What has a default is compared only where it is given.

    `reading` is the JSON of the reading that it states. Of a charger's text: `spki` is the key that its verdict
    (`stated`) rests on, `text_sha256` the digest that was taken when it came.
    """

    id: int
    key_id: str
    charge_point: str
    pagination: int | None
    text: str
    prev: str
    sha256: str
    signed_by: str
    session: str = ""
    kind: str = ""
    reading: str | None = None
    spki: bytes | None = None
    stated: str | None = None
    text_sha256: str | None = None


def chain_hash(prev: str, text: str) -> str:
    """What a record adds to the chain: SHA-256 over `prev LF text`, lower-case hex."""
    return hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()


def check_sequence(links: Iterable[Link], keys: Mapping[str, bytes]) -> list[tuple[int, str]]:
    """Every record that is not what it must be, by its id and why: signature, hash chain, pagination.

    `keys` are SPKI by key id. The records come in the order of their ids, from the first. A gap in the pagination is
    named as well as a repetition: both mean that a record is missing or was put in.
    """
    check = SequenceCheck(keys)
    return [(link.id, why) for link in links for why in check.look_at(link)]


class SequenceCheck:
    """Looks at the records of one store in order."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys
        self._prev = GENESIS
        self._pages: dict[tuple[str, str], int] = {}
        self.last_id = 0

    def look_at(self, link: Link) -> list[str]:
        """What is wrong with the next record."""
        payload, problems = self._signature(link)
        return [*self._chain(link), *problems, *self._page(link, payload)]

    def finish(self, next_pages: Mapping[tuple[str, str], int], records_written: int) -> list[str]:
        """What is missing behind the last record: the counters of the store, by key id and charge point, go on."""
        problems = [
            f"the pages of key {key_id} at {place} end at T{self._pages.get((key_id, place), 0)}, "
            f"T{following - 1} was drawn: records are missing"
            for (key_id, place), following in sorted(next_pages.items())
            if following - 1 != self._pages.get((key_id, place), 0)
        ]
        if records_written != self.last_id:
            problems.append(f"{records_written} records were written, the last that is there is {self.last_id}")
        return problems

    def _chain(self, link: Link) -> Iterator[str]:
        if link.prev != self._prev:
            yield "the record before it is missing or was changed"
        if chain_hash(link.prev, link.text) != link.sha256:
            yield "the text is not the one that was written"
        if link.signed_by not in SIGNERS or (link.signed_by == "gateway") != bool(link.key_id):
            yield "who signed it was changed"
        self._prev, self.last_id = link.sha256, link.id

    def _signature(self, link: Link) -> tuple[Mapping[str, Any], list[str]]:
        if link.signed_by == "charger":
            return {}, list(_charger_text(link))
        finding = verify_ocmf(link.text, self._keys.get(link.key_id))
        payload = finding.payload or {}
        if finding.verdict is not Verdict.VALID:
            return payload, [f"signature: {finding.verdict.value} {finding.reason}".rstrip()]
        return payload, list(_beside(link, payload)) if "ZI" in payload else []

    def _page(self, link: Link, payload: Mapping[str, Any]) -> Iterator[str]:
        if link.pagination is None:
            return
        place = (link.key_id, link.charge_point)
        expected = self._pages.get(place, 0) + 1
        if link.pagination != expected:
            yield f"pagination T{link.pagination}, expected T{expected}"
        if link.signed_by == "gateway" and payload.get("PG") != f"T{link.pagination}":
            yield "the pagination of the text is not the one that was kept"
        self._pages[place] = max(link.pagination, expected - 1)


def _charger_text(link: Link) -> Iterator[str]:
    """A charger's text gets the verdict again that it got when it came."""
    if link.text_sha256 is not None and hashlib.sha256(link.text.encode()).hexdigest() != link.text_sha256:
        yield "the text is not the one that the charger sent"
    if link.stated is None:
        return
    key = read_spki(link.spki) or UNREADABLE if link.spki is not None else None
    found = judge(link.text, key)
    if found.verdict.value != link.stated and not (key is None and link.stated == Verdict.INVALID.value):
        yield f"signature: {found.verdict.value} {found.reason}, it was {link.stated}".replace(" ,", ",")


def _beside(link: Link, payload: Mapping[str, Any]) -> Iterator[str]:
    """The columns beside a text of ours say what the text says."""
    stated = {
        "session": (link.session, payload.get("ZI")),
        "charge point": (link.charge_point.replace("/", " "), payload.get("CI")),
        "record before it": (link.prev, payload.get("ZP")),
        "key": (f"{ocmf.SERIAL}{link.key_id}", payload.get("GS")),
    }
    for what, (kept, signed) in stated.items():
        if kept and kept != signed:
            yield f"the {what} that is kept is not the one that was signed"
    ends = any(one.get("TX") != "B" for one in payload.get("RD", ()))
    if link.kind and link.kind != ("end" if ends else "begin"):  # an end may hold the begin once more
        yield "the kind that is kept is not the one that was signed"
    if link.reading is not None and not _same_reading(link, payload):
        yield "the reading that is kept is not the one that was signed"


def _same_reading(link: Link, payload: Mapping[str, Any]) -> bool:
    try:
        reading = json.loads(link.reading or "")
        line = f'"RV":{ocmf.kwh_text(reading["import_wh"])},'
        return line in link.text and reading.get("raw", "") == payload.get("ZR")
    except (ValueError, TypeError, KeyError):
        return False


__all__ = [
    "GENESIS", "UNREADABLE", "Finding", "Link", "Ocmf", "SequenceCheck", "Unreadable", "Verdict", "chain_hash",
    "check_ocmf", "check_sequence", "split_ocmf", "verify_ocmf",
]  # fmt: skip
