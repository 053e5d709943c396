"""Pure: what a meter's answer, or the lack of one, means to the person at the meter cabinet, and what to do."""

from __future__ import annotations

from gateway.meters.answer import Answer, Outcome
from gateway.meters.steadiness import REQUESTS
from gateway.model import Event, Reading, Severity

_WIRING = "check its power, its wiring, baud, parity and unit number"
_MODEL = "check `model` and `unit` of this meter in the site file: another device may answer there"
_CONVERTER = "the converter answers, the meter behind it does not: check wiring, baud, parity and unit number there"

EXCEPTIONS: dict[int, tuple[str, str]] = {
    1: ("it does not know this kind of request", _MODEL),
    2: ("it has no such register", _MODEL),
    3: ("it does not give so many registers at once", _MODEL),
    4: ("it reports a fault of its own", "look at its display; switch it off and on, then have it exchanged"),
    5: ("it needs more time", "raise `timeout_s` of its bus"),
    6: ("it is busy", "another master may ask it too: let only one program ask this meter"),
    10: ("the converter cannot reach the line", "check the settings of the converter: its serial port and its routing"),
    11: ("the meter does not answer the converter", _CONVERTER),
}
"""Modbus exception codes (Modbus application protocol 1.1b3, section 7): in words, and what to do."""


def meaning(code: int) -> str:
    """A Modbus exception in words, with its code for whoever looks it up."""
    words, _ = EXCEPTIONS.get(code, ("it refuses the request", _MODEL))
    return f"{words} (Modbus exception {code})"


def advice(answer: Answer) -> str:
    """What to do about a meter that gave this instead of its registers."""
    if answer.outcome is Outcome.REFUSED:
        return EXCEPTIONS.get(answer.code, ("", _MODEL))[1]
    return _WIRING


def shown_wh(value_wh: int | None) -> str:
    """A register for a person."""
    return f"{value_wh} Wh" if value_wh is not None else "no value"


def energy_of(reading: Reading) -> str:
    """Both registers of a reading; the second one only of a meter that has it."""
    taken = f"{shown_wh(reading.import_wh)} in"
    return f"{taken}, {reading.export_wh} Wh out" if reading.export_wh is not None else taken


def lost_event(meter: str, unit: int, bus: str, place: str, answer: Answer) -> Event:
    """A meter gives no values any more."""
    why = answer.why or "its answer is not that of its model"
    return Event(
        "meter_lost", f"meter {meter}", f"unit {unit} on {place}: {why}",
        _MODEL if answer.outcome is Outcome.GOOD else advice(answer), Severity.WARNING,
        {"bus": bus, "unit": unit}, keep=True,
    )  # fmt: skip


def back_event(meter: str, losses: int) -> Event:
    """It has answered for a while again."""
    if losses == 1:
        return Event("meter_back", f"meter {meter}", "it answers again", keep=True)
    return Event(
        "meter_back", f"meter {meter}", f"it answers again; it came and went {losses} times",
        "check its terminals, the line's ends and its power: it may do so again", data={"losses": losses}, keep=True,
    )  # fmt: skip


def steadiness_event(meter: str, failed: int) -> Event:
    """It answers, but not always; with `failed` 0 that is over."""
    if not failed:
        return Event("meter_steady", f"meter {meter}", f"it has answered {REQUESTS} requests in a row", keep=True)
    return Event(
        "meter_unsteady", f"meter {meter}", f"{failed} of its last {REQUESTS} answers came too late or damaged",
        "check its terminals and the line's ends; if it is slow, raise `timeout_s` of its bus", Severity.WARNING,
        {"failed": failed, "requests": REQUESTS}, keep=True,
    )  # fmt: skip


def absent_event(meter: str, name: str, answer: Answer, *, serial_expected: bool) -> Event:
    """A value that the model has and this meter does not give."""
    refused = answer.outcome is Outcome.REFUSED
    if name != "serial":
        return Event("meter_value_missing", f"meter {meter}", f"it does not give {name}: {answer.why}",
                     severity=Severity.INFO, data={"value": name})  # fmt: skip
    return Event(
        "meter_value_missing", f"meter {meter}",
        f"it does not give its serial number: {answer.why}" if refused
        else "it answers, but not when it is asked for its serial number",
        "a meter without it cannot be checked for an exchange" if refused else "it is asked again within 5 minutes",
        Severity.WARNING if serial_expected else Severity.INFO, {"value": name},
    )  # fmt: skip
