"""Wallboxes with the habits that bite: they ignore a limit, forget it with the link, cannot hold 0 A, say it twice."""

from __future__ import annotations

import contextlib

from simulators.cars import MIN_OFFER_MA
from simulators.charger import Charger
from simulators.ocpp_link import Message, NoAnswerError

LATER = {"StartTransaction": 0, "StopTransaction": 1, "MeterValues": 2}
"""The order of one transaction in a box that puts its urgent messages first."""


class SeededCharger(Charger):
    """A wallbox of the simulation; `quirk` as in `plan.Box`."""

    quirk = ""
    ignores_ma: int | None = None
    """What it goes on offering, whatever profile it accepts; None: it obeys."""

    last_sent: str | None = None
    reorders = False
    """At its next connect it sends what it has kept in another order than it happened."""

    @property
    def disobeys(self) -> bool:
        """Now its car may draw more than it was told."""
        return self.ignores_ma is not None

    def offer_ma(self, now_ms: int) -> int | None:
        offer_ma = super().offer_ma(now_ms)
        if offer_ma is None:
            return None
        if self.ignores_ma is not None:
            return max(offer_ma, self.ignores_ma)
        if self.quirk == "no_zero" and offer_ma == 0:
            return MIN_OFFER_MA
        return offer_ma

    async def _greet(self) -> None:
        if self.quirk == "forgets":
            self.profiles[:] = [profile for profile in self.profiles if profile.purpose != "TxProfile"]
        if self.reorders:
            self.reorders = False
            self._stops_first()
        await super()._greet()

    def _stops_first(self) -> None:
        """Each stop before the meter values of its transaction; what has been sent before stays where it is."""
        queue = self.link.queue
        begun = [message for message in queue if message.text is not None]
        runs: list[list[Message]] = [[]]
        for message in queue:
            if message.text is None:
                if message.action == "StartTransaction":
                    runs.append([])
                runs[-1].append(message)
        ordered = [message for run in runs for message in sorted(run, key=lambda one: LATER[one.action])]
        queue.clear()
        queue.extend([*begun, *ordered])

    def may_draw_ma(self, now_ms: int) -> int:
        """What its profiles let it draw, whether a car is there or not: a transaction may start at any moment.

        What it draws against them is measured, and counts as measured.
        """
        limit_ma = self.limit_ma(now_ms)
        if limit_ma < MIN_OFFER_MA:
            return self.outlet.draw_ma if self.quirk == "no_zero" else 0
        return limit_ma

    def reboot(self) -> None:
        """It forgets that it was accepted, and its link ends; a running transaction goes on."""
        self.accepted = False
        self._told = ""

    async def shout(self, text: str) -> bool:
        """Send a frame beside the queue; what comes back is for nobody. False where it has no line to send it on."""
        socket = self.link._socket
        if socket is None or not self.accepted:
            return False
        with contextlib.suppress(NoAnswerError):
            await self.link._send(socket, text)
        return True

    async def repeat_last(self) -> None:
        """Send the newest transaction message once more, as boxes with a weak link do."""
        socket = self.link._socket
        if socket is not None and self.last_sent is not None:
            await self.link._send(socket, self.last_sent)


def watch_sent(charger: SeededCharger) -> None:
    """Remember what the box sends, for `repeat_last`."""
    send_head = charger.link._send_head

    async def remembering(socket: object, message: object) -> None:
        await send_head(socket, message)  # type: ignore[arg-type]
        charger.last_sent = message.text  # type: ignore[attr-defined]

    charger.link._send_head = remembering  # type: ignore[method-assign,assignment]
