"""Pure: what stands in a signed OCMF text, digit by digit: a number is never parsed and printed again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

END_LETTERS = frozenset("ELRAP")
"""TX of an end reading (OCMF 1.3, table 7): end, local, remote, abort, power failure."""


@dataclass(frozen=True, slots=True)
class SignedReading:
    """One reading as it is spelled in the text: `time` with its state letter, `value` with every digit."""

    transaction: str
    time: str
    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class SignedFacts:
    """The head of an OCMF text and its readings."""

    pagination: str
    meter_serial: str
    charge_point: str
    signer: str
    readings: tuple[SignedReading, ...]

    def reading(self, kind: str) -> SignedReading | None:
        """The begin or the end reading."""
        letters = frozenset("B") if kind == "begin" else END_LETTERS
        return next((one for one in self.readings if one.transaction in letters), None)

    @property
    def kind(self) -> str:
        """`begin`, `end`, or `begin_end` where one text holds both; empty where neither."""
        return "_".join(kind for kind in ("begin", "end") if self.reading(kind))


def read_ocmf(text: str) -> SignedFacts | None:
    """Take an OCMF text apart; None where it is none."""
    parts = text.strip().split("|", 2)
    if len(parts) != 3 or parts[0] != "OCMF":
        return None
    try:
        payload = json.loads(parts[1], parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(payload, dict):
        return None
    return SignedFacts(
        pagination=str(payload.get("PG", "")),
        meter_serial=str(payload.get("MS", "")),
        charge_point=str(payload.get("CI", "")),
        signer=" ".join(str(payload[name]) for name in ("GI", "GS", "GV") if payload.get(name)),
        readings=_readings(payload.get("RD")),
    )


def _readings(listed: Any) -> tuple[SignedReading, ...]:
    """The readings; a later one may leave out what is the same as before (OCMF 1.3, 4.3)."""
    found: list[SignedReading] = []
    last: dict[str, Any] = {}
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            last = {**last, **one}
            values = (str(last.get(name, "")) for name in ("TX", "TM", "RV", "RU"))
            found.append(SignedReading(*values))
    return tuple(found)
