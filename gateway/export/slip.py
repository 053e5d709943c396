"""Pure: one session on one page for the person who charged: what is said, before it becomes HTML or PDF.

The registers stand as they are spelled in the signed text; the card is masked; energy is kWh with three decimals, which
are whole watt-hours. There is no price: that is the bill's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.export.dialects import local_text
from gateway.export.ocmf_text import read_ocmf
from gateway.export.session_facts import SessionFacts, SignedText, mask
from gateway.export.words import why_not, word


@dataclass(frozen=True, slots=True)
class Slip:
    """What the page says: blocks of (label, value), the energy by class, and the key."""

    title: str
    language: str
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    registers: tuple[tuple[str, str, str], ...]
    energy: tuple[tuple[str, str], ...]
    proof: tuple[tuple[str, str], ...]
    key: str | None
    key_help: str
    texts: tuple[str, ...]


def slip_of(
    one: SessionFacts, *, site: str, zone: ZoneInfo, language: str, keys: Mapping[str, str], simulation: bool
) -> Slip:
    """The slip of an ended session. `keys` are public keys (SPKI, hex) by key id."""

    def say(name: str) -> str:
        return word(name, language)

    begin, end = signed_pair(one)
    signed = [record for record in (begin, end) if record is not None]
    notes = [say("simulation")] if simulation else []
    if not one.billable:
        notes.append(why_not(one.unbillable_reason, language))
    elif one.split_state != "final":
        notes.append(say("provisional"))
    facts = [
        (say("site"), site),
        (say("session"), one.id),
        (say("place"), one.place),
        (say("card"), mask(one.id_tag)),
        (say("begin"), _shown(one.begin_ms, zone)),
        (say("end"), _shown(one.end_ms, zone)),
        (say("meter"), one.meter_serial or one.meter or "-"),
    ]
    proof = [(say("signed_by"), say(f"by_{one.signed_by}" if one.signed_by in ("gateway", "charger") else "by_none"))]
    proof += [(f"{say('record')} {record.id}", record.sha256) for record in dict.fromkeys(signed)]
    return Slip(
        title=say("slip"),
        language=language,
        notes=tuple(notes),
        facts=tuple(facts),
        registers=tuple(
            line
            for kind, record in (("begin", begin), ("end", end))
            if record and (line := _register(say(kind), kind, record.text))
        ),
        energy=tuple(_energy(one, language)),
        proof=tuple(proof),
        key=next((key for record in signed if (key := record.spki_hex or keys.get(record.key_id))), None),
        key_help=say("key_help"),
        texts=tuple(dict.fromkeys(record.text for record in signed)),
    )


def signed_pair(one: SessionFacts) -> tuple[SignedText | None, SignedText | None]:
    """The records of begin and end; the charger's own before the gateway's, one with both before two."""
    found: dict[str, SignedText] = {}
    for signer in ("meter", "charger", "gateway"):
        own = [record for record in one.records if record.signed_by == signer]
        read = [(record, facts) for record in own if (facts := read_ocmf(record.text)) is not None]
        for record, facts in sorted(read, key=lambda pair: pair[1].kind != "begin_end"):
            for kind in ("begin", "end"):
                if facts.reading(kind):
                    found.setdefault(kind, record)
    return found.get("begin"), found.get("end")


def _register(label: str, kind: str, text: str) -> tuple[str, str, str] | None:
    """(label, register and unit, time) as the signed text spells them."""
    facts = read_ocmf(text)
    reading = facts.reading(kind) if facts else None
    return (label, f"{reading.value} {reading.unit}", reading.time) if reading else None


def _energy(one: SessionFacts, language: str) -> list[tuple[str, str]]:
    lines = []
    if one.solar_wh is not None:
        lines.append((word("solar", language), kwh_text(one.solar_wh)))
        lines += [(f"{word('grid', language)} {name}", kwh_text(wh)) for name, wh in sorted(one.classes_wh.items())]
    if one.energy_wh is not None:
        lines.append((word("total", language), kwh_text(one.energy_wh)))
    return lines


def kwh_text(wh: int) -> str:
    """Whole Wh as kWh, digit by digit; the point is the one of the signed text."""
    return f"{wh // 1000}.{wh % 1000:03d} kWh"


def _shown(utc_ms: int, zone: ZoneInfo) -> str:
    """`13.06.2026 11:29:57 +02:00`: the wall clock, and the offset that makes it unambiguous."""
    iso = local_text(utc_ms, zone)
    day, rest = iso.split("T")
    year, month, number = day.split("-")
    return f"{number}.{month}.{year} {rest[:8]} {rest[8:]}"
