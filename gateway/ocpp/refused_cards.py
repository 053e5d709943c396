"""Pure: what is told of the cards that the gateway refuses at one charger: each card once, of very many how many."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model import AuthStatus, Event, Severity
from gateway.ocpp.actions import Action, Report, Wake
from gateway.ocpp.meaning import Tag

CARD_AGAIN_S = 600.0
"""Site seconds before the same refused card is told again; a driver holds it to the reader again and again."""

MAX_TOLD_CARDS = 10
"""So many different cards of one charger are told within `CARD_AGAIN_S`; somebody who tries numbers shows forty a
second, and the log lies on an SD card (I12)."""

_COUNT = "refused cards"


class RefusedCards:
    """Remembers which cards were told of, and counts the others. A card is never told in full."""

    def __init__(self, charger: str, do: Callable[[Action], None]) -> None:
        self._charger, self._do = charger, do
        self._told_s: dict[str, float] = {}
        self._untold = 0
        self._counting = False

    def refuse(self, id_tag: str, verdict: Tag, now_s: float) -> None:
        """The gateway itself refuses a card."""
        key = id_tag.casefold()
        self._told_s = {card: told_s for card, told_s in self._told_s.items() if now_s - told_s < CARD_AGAIN_S}
        if key in self._told_s:
            return
        if len(self._told_s) >= MAX_TOLD_CARDS:
            self._many()
            return
        self._told_s[key] = now_s
        data = {"id_tag": f"...{id_tag[-4:]}" if len(id_tag) > 4 else "***", "verdict": verdict.status}
        self._do(Report(Event("card_refused", self._charger, *_why_refused(verdict), Severity.WARNING, data)))

    def _many(self) -> None:
        if self._counting:
            self._untold += 1
            return
        self._counting, self._untold = True, 1
        minutes = round(CARD_AGAIN_S / 60)
        self._tell(
            f"more than {MAX_TOLD_CARDS} unknown cards within {minutes} minutes; further ones are only counted", {}
        )
        self._do(Wake(_COUNT, CARD_AGAIN_S, "site"))

    def woke(self, key: str) -> bool:
        """Ten minutes are over: say how many were not told; True where the timer is ours."""
        if key != _COUNT:
            return False
        count, self._untold = self._untold, 0
        self._counting = count > 0
        if count:
            self._tell(f"{count} times a card was refused and not told one by one", {"refused": count})
            self._do(Wake(_COUNT, CARD_AGAIN_S, "site"))
        return True

    def _tell(self, cause: str, data: dict[str, int]) -> None:
        next_step = "look who is at this box and what its reader reads: somebody tries cards, or it is broken"
        self._do(
            Report(Event("many_cards_refused", self._charger, cause, next_step, Severity.WARNING, data, keep=True))
        )


def _why_refused(verdict: Tag) -> tuple[str, str]:
    """Cause and next step of a refused card; the card itself stands in the event's data."""
    if verdict.status == AuthStatus.EXPIRED.value:
        return (
            "the time of this card is over",
            "give the card a later end in [[token]], or at its CSMS",
        )
    if verdict.status == AuthStatus.BLOCKED.value:
        return "this card is blocked", "have it unblocked at its CSMS"
    return (
        "nobody who can be asked now knows this card",
        'add the card to [[token]] of the site file; where the charger\'s authority is "csms", at its CSMS instead',
    )
