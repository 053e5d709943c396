"""Pure: which public key counts for a connector's meter. The first one that comes is pinned; another one never takes
its place by itself: it is told, and a person decides (`keys pin`).

A pin belongs to a charger, a connector and a meter's serial. The configuration key MeterPublicKey<n> and a person may
name no serial: such a pin counts for every serial of the connector that has none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_KEYS = 50
"""Keys that a connector may show; further ones are passed over: whatever a charger sends, the store is bounded."""


class Source(StrEnum):
    """Where a key came from."""

    CONFIGURATION = "configuration"
    """MeterPublicKey<n>, read from the charger."""
    WRAPPER = "wrapper"
    """`publicKey` beside a signed text."""
    RECORD = "record"
    """Inside the signed text (ALFEN, EDL40 in XML)."""
    PERSON = "person"


class State(StrEnum):
    """What became of a key."""

    PINNED = "pinned"
    REFUSED = "refused"
    """It differs from the pinned one; kept to be shown, never used."""
    REPLACED = "replaced"
    """A person pinned another one; old records are still checked with it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One key as the store keeps it."""

    serial: str
    spki_hex: str
    state: State


class Step(StrEnum):
    """What to do with a key that came."""

    NOTHING = "nothing"
    PIN = "pin"
    PIN_NEW_SERIAL = "pin_new_serial"
    """Another meter at the connector: its key is pinned beside the old one, and told."""
    ALARM = "alarm"
    SILENT = "silent"
    """A changed key that was told before, or one too many."""


def in_force(pins: Sequence[Pin], serial: str) -> Pin | None:
    """The pin that counts for a meter: its own, else the connector's."""
    pinned = [pin for pin in pins if pin.state is State.PINNED]
    own = next((pin for pin in pinned if pin.serial == serial), None)
    return own or next((pin for pin in pinned if pin.serial == ""), None)


def decide(pins: Sequence[Pin], serial: str, spki_hex: str) -> Step:
    """What to do with a key that a charger sent for a meter. `pins` are all of the connector."""
    pinned = in_force(pins, serial)
    full = len(pins) >= MAX_KEYS
    if pinned is None and full:
        return Step.SILENT
    if pinned is None:
        others = [pin for pin in pins if pin.state is State.PINNED]
        if not others or any(pin.spki_hex == spki_hex for pin in others):
            return Step.PIN
        return Step.ALARM if serial == "" else Step.PIN_NEW_SERIAL
    if pinned.spki_hex == spki_hex:
        return Step.NOTHING
    known = any(pin.serial == serial and pin.spki_hex == spki_hex and pin.state is State.REFUSED for pin in pins)
    return Step.SILENT if known or full else Step.ALARM
