"""Pure: why a session is not billable, in words; the code stands behind them, for whoever searches for it."""

from __future__ import annotations

from gateway.sessions.session import Reason

PHRASES: dict[Reason, str] = {
    Reason.REFUSED: "the card was refused",
    Reason.STRAY_STOP: "it stopped without ever having started here",
    Reason.NO_STOP: "the charger never said that it stopped",
    Reason.NO_METER: "the connector has no meter in the site file",
    Reason.NO_BEGIN: "the meter could not be read when it began",
    Reason.NO_END: "the meter could not be read when it ended",
    Reason.CHARGER_ONLY: "only the charger's own value is known at its end",
    Reason.BEFORE_US: "it had begun before the gateway was there",
    Reason.SWAPPED: "the meter was exchanged while it ran",
    Reason.WENT_BACK: "the meter's register went back while it ran",
}


def phrase(code: str | None) -> str:
    """The reason in words with its code; a code of a later version alone."""
    if not code:
        return "no reason was kept"
    return f"{PHRASES[Reason(code)]} ({code})" if code in set(Reason) else code
