"""Pure: what the gateway asks a charger that has settled - does it sign what it can sign, and how are its connectors?

Once per connection, behind everything else (own housekeeping), and never where the dialect forbids it: some boxes
reboot on a question (quirks 18, 22 and 23). Whoever does not know the keys, or refuses, hears no more of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.model import Severity
from gateway.ocpp.actions import Examined, TakeConfiguration, Wake
from gateway.ocpp.core import Core
from gateway.ocpp.frames import Frame
from gateway.ocpp.lines import Loss, Priority
from gateway.records.doctor import ALIGNED, SAMPLED, WANTED, Setting, examine

STATUS_WAIT_S = 15
"""Site seconds that a charger has for telling the statuses of its connectors by itself, as it does after a boot."""

MAX_LOST = 3
"""Questions without an answer after which a charger is not asked again until the gateway restarts: it may reboot on
them (quirks 22 and 23), and then comes back to be asked again."""

_STATUSES = "ask statuses"


class Asking:
    """`status_known(connector)` says whether a connector has told a status that still says something."""

    def __init__(self, core: Core, status_known: Callable[[int], bool]) -> None:
        self._core = core
        self._status_known = status_known
        self._generation: int | None = None
        self._seen: Mapping[str, Setting] | None = None
        """The newest answer: the same one again is neither judged nor told a second time."""

        self._lost = 0
        self._asked: set[int] = set()

    def settled(self) -> None:
        """The charger is accepted and has what it must have."""
        core = self._core
        if core.stopping or self._generation == core.generation:
            return
        self._generation = core.generation
        if core.dialect.ask_signing:
            self._ask_signing()
        if core.dialect.ask_status:
            core.do(Wake(_STATUSES, STATUS_WAIT_S, "site"))

    def woke(self, key: str) -> bool:
        """The charger had its time; True where the timer is ours."""
        if key != _STATUSES:
            return False
        if self._core.to_charger.connected and not self._core.stopping:
            self._ask_statuses()
        return True

    # Statuses

    def _ask_statuses(self) -> None:
        """A box that reconnects says nothing of its connectors for minutes; each is asked for once in our life."""
        core = self._core
        numbers = [one.ref.connector for one in core.charger.connectors]
        number = next((one for one in numbers if one not in self._asked and not self._status_known(one)), None)
        if number is None:
            return
        self._asked.add(number)
        core.call(
            core.to_charger,
            core.version.trigger_status(number),
            Priority.OWN,
            lambda answer: self._ask_statuses(),
            lambda loss: None,  # a box that does not answer this is not asked for its other connectors now
            slot=f"status {number}",
        )

    # Signing

    def _ask_signing(self) -> None:
        if self._lost >= MAX_LOST:
            return
        core = self._core
        core.call(
            core.to_charger,
            core.version.get_configuration(signing_keys(len(core.charger.connectors))),
            Priority.OWN,
            self._answered,
            self._not_answered,
            slot="signing",
        )

    def _answered(self, answer: Frame) -> None:
        core = self._core
        settings = core.version.read_configuration(answer)
        connectors = len(core.charger.connectors)
        if settings == self._seen or not examine(settings, connectors).signs:
            return
        self._seen = settings
        core.do(TakeConfiguration(settings, connectors, core.now.utc_ms))

    def _not_answered(self, loss: Loss) -> None:
        if loss not in (Loss.TIMEOUT, Loss.GONE):
            return
        self._seen = None
        self._lost += 1
        if self._lost == MAX_LOST:
            self._core.tell(
                "charger_signing_unknown",
                f"{MAX_LOST} questions about its signing keys had no answer",
                "if it restarts on them, choose a dialect with ask_signing = false; it is asked again after a restart "
                "of the gateway",
            )

    def examined(self, examined: Examined) -> None:
        """What the signing doctor says, with the charger's keys on disk."""
        for event in examined.events:
            self._core.report(event)
        for key, value in examined.to_set.items():
            self._set(key, value)

    def not_examined(self) -> None:
        """The disk refused: the next connection brings the answer again."""
        self._seen = None

    def _set(self, key: str, value: str) -> None:
        core = self._core

        def answered(answer: Frame) -> None:
            if not core.version.accepted(answer):
                core.tell(
                    "charger_signing_refused",
                    f'the charger answers {core.version.status_text(answer)} when {key} is set to "{value}"',
                    "set it in the charger, or ask its maker; RebootRequired takes effect with its next restart",
                    Severity.WARNING,
                )

        core.call(
            core.to_charger,
            core.version.configure(key, value),
            Priority.OWN,
            answered,
            self._not_answered,
            slot=f"signing {key}",
        )


def signing_keys(connectors: int) -> list[str]:
    """The configuration keys that the signing doctor looks at."""
    return [*WANTED, SAMPLED, ALIGNED, *(f"MeterPublicKey{number}" for number in range(1, connectors + 1))]
