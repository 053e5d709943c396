"""Pure: what the gateway itself has the charger do - the fallback, the limit of the moment, the configuration."""

from __future__ import annotations

from collections.abc import Callable

from gateway.model import LimitOutcome, Severity
from gateway.ocpp.actions import LimitDone, SaveConfiguration, SaveFallbacks, SetLimit, Wake
from gateway.ocpp.core import Core
from gateway.ocpp.frames import Frame
from gateway.ocpp.lines import Loss, Priority
from gateway.ocpp.profiles import fallback_profile, limit_profile
from gateway.site import Connector

RETRY_S = 60
"""Site seconds before what was not answered, or not obeyed, is said again."""

_CHORES = "chores"
_STOPS = "stop refused"
_OUTCOMES = {Loss.TIMEOUT: LimitOutcome.SILENT, Loss.GONE: LimitOutcome.ABSENT}


class Limits:
    """Own housekeeping (rules R48, R50, R54). `on_settled` is called when the charger has been told all of it."""

    def __init__(
        self,
        core: Core,
        fallbacks: dict[int, str],
        configuration: dict[str, tuple[str, str]],
        on_settled: Callable[[], None],
    ) -> None:
        self._core = core
        self._on_settled = on_settled
        self._confirmed = fallbacks
        self._configuration = configuration
        self._rewrite: set[int] = set()
        self._booted = False
        self._in_force: dict[int, tuple[int, int]] = {}
        self._by_connector = {one.ref.connector: one for one in core.charger.connectors}
        # Written once: the load manager asks every second whether they are proven.
        self._fallbacks = {number: _fallback(core, one) for number, one in self._by_connector.items()}

    def has_connector(self, connector: int) -> bool:
        """Whether a CSMS may mean this connector; 0 is the whole charger."""
        return connector == 0 or connector in self._by_connector

    def phases(self, connector: int) -> int:
        """Phases of a connector; of the whole charger the most."""
        if connector in self._by_connector:
            return self._by_connector[connector].phases
        return max((one.phases for one in self._by_connector.values()), default=3)

    def in_force_ma(self, connector: int) -> int:
        """The limit of ours that the charger follows now, per phase; for the whole charger the sum."""
        if connector == 0:
            return sum(self.in_force_ma(one) for one in self._by_connector)
        limit_ma, until_ms = self._in_force.get(connector, (0, 0))
        if self._core.running(connector) is not None and until_ms > self._core.now.utc_ms:
            return limit_ma
        return self._by_connector[connector].fallback_ma

    def proven(self, connector: int) -> bool:
        """Whether the charger has confirmed the fallback that is configured now."""
        return self._confirmed.get(connector) == self._fallbacks[connector]

    # The limit of the moment

    def set_limit(self, order: SetLimit) -> None:
        """Write a short TxProfile; reductions overtake raises, and a newer limit takes the place of a waiting one."""
        core = self._core
        connector = self._by_connector.get(order.connector)
        transaction = core.running(order.connector)
        if not core.to_charger.connected or connector is None:
            core.do(LimitDone(order.ticket, LimitOutcome.ABSENT))
            return
        if transaction is None:
            core.do(LimitDone(order.ticket, LimitOutcome.REFUSED))
            return
        if order.limit_ma < connector.fallback_ma and not core.box_clock.knows(core.now):
            # Past or still to come for the box, it would only end the limit that holds now: it charges by its fallback.
            self._ask_time(order.connector)
            core.do(LimitDone(order.ticket, LimitOutcome.ABSENT))
            return
        profile = limit_profile(
            order.connector, transaction.local_id, order.limit_ma, connector.phases, core.dialect,
            core.box_clock.now_ms(core.now), order.duration_s,
        )  # fmt: skip
        until_ms = core.now.utc_ms + order.duration_s * 1000
        core.call(
            core.to_charger,
            core.version.set_profile(order.connector, profile),
            Priority.RAISE if order.raising else Priority.REDUCE,
            lambda answer: self._limit_answered(order, until_ms, answer),
            lambda loss: core.do(LimitDone(order.ticket, _OUTCOMES.get(loss, LimitOutcome.SILENT))),
            slot=f"limit {order.connector}",
        )

    def _limit_answered(self, order: SetLimit, until_ms: int, answer: Frame) -> None:
        confirmed = self._core.version.accepted(answer)
        if confirmed:
            self._in_force[order.connector] = (order.limit_ma, until_ms)
        self._core.do(LimitDone(order.ticket, LimitOutcome.CONFIRMED if confirmed else LimitOutcome.REFUSED))

    def _ask_time(self, connector: int) -> None:
        """Its status bears the time; where it may not be asked, its next meter values do."""
        core = self._core
        if core.dialect.ask_status:
            core.call(
                core.to_charger, core.version.trigger_status(connector), Priority.OWN,
                lambda answer: None, lambda loss: None, slot=f"status {connector}",
            )  # fmt: skip

    # Transactions that the CSMS refused after they had begun

    def stop_refused(self) -> None:
        """Have the charger end them, again and again until their stop has come (rule R43)."""
        core = self._core
        refused = [one for one in core.transactions.values() if one.to_stop and not one.stopped]
        for transaction in refused:
            core.call(
                core.to_charger,
                core.version.remote_stop(transaction.local_id),
                Priority.REDUCE,
                lambda answer: None,
                lambda loss: None,
                slot=f"stop {transaction.local_id}",
            )
        if refused:
            core.do(Wake(_STOPS, RETRY_S, "site"))

    # Fallback and configuration

    def charger_ready(self, *, booted: bool) -> None:
        """The charger may be asked; after a boot nothing that it once confirmed is taken for granted."""
        if booted:
            self._rewrite = set(self._by_connector)
            self._booted = True
            if self._confirmed:
                self._core.do(SaveFallbacks({}))
        self._core.do(Wake(_CHORES, self._core.dialect.settle_s, "site"))

    def woke(self, key: str) -> bool:
        """The charger has settled; True where the timer is ours."""
        if key == _STOPS:
            self.stop_refused()
        if key != _CHORES:
            return key == _STOPS
        if self._core.to_charger.connected:
            self.stop_refused()
            self._write_fallbacks()
            if self._booted:
                self._write_configuration()
            self._on_settled()
        return True

    def _write_fallbacks(self) -> None:
        for number, profile in self._fallbacks.items():
            if number not in self._rewrite and self.proven(number):
                continue
            self._own(
                self._core.version.set_profile(number, profile),
                f"fallback {number}",
                self._fallback_answer(number, profile),
                lambda loss: self._later(loss),
            )

    def _fallback_answer(self, number: int, profile: str) -> Callable[[Frame], None]:
        def answered(answer: Frame) -> None:
            self._rewrite.discard(number)
            if self._core.version.accepted(answer):
                self._confirmed = {**self._confirmed, number: profile}
            else:
                self._confirmed = {key: text for key, text in self._confirmed.items() if key != number}
                self._core.tell(
                    "fallback_refused",
                    f"connector {number} refuses its fallback: {self._core.version.status_text(answer)}",
                    "it is counted with its maximum; choose a dialect that fits the model",
                    Severity.WARNING,
                    keep=True,
                )
            kept = {key: text for key, text in self._confirmed.items() if key not in self._rewrite}
            self._core.do(SaveFallbacks(kept))

        return answered

    def _later(self, loss: Loss) -> None:
        if loss is not Loss.GONE:
            self._core.do(Wake(_CHORES, RETRY_S, "site"))

    def _write_configuration(self) -> None:
        self._booted = False
        ocpp = self._core.ocpp
        for key, pattern in self._core.dialect.configuration.items():
            value = pattern.format(meter_values_s=ocpp.meter_values_s, heartbeat_s=ocpp.heartbeat_s)
            if self._configuration.get(key, ("", ""))[0] == value:
                continue
            self._own(
                self._core.version.configure(key, value),
                f"configuration {key}",
                self._configured(key, value),
                self._not_configured(key, value),
            )

    def _configured(self, key: str, value: str) -> Callable[[Frame], None]:
        return lambda answer: self._save_configured(key, value, self._core.version.status_text(answer))

    def _not_configured(self, key: str, value: str) -> Callable[[Loss], None]:
        # Some chargers reboot on a key they do not know (quirk 23): what brought no answer is not tried again.
        return lambda loss: self._save_configured(key, value, loss.name.lower())

    def _save_configured(self, key: str, value: str, status: str) -> None:
        self._configuration = {**self._configuration, key: (value, status)}
        self._core.do(SaveConfiguration(self._configuration))

    def _own(
        self,
        request: tuple[str, str],
        slot: str,
        on_answer: Callable[[Frame], None],
        on_lost: Callable[[Loss], None],
    ) -> None:
        self._core.call(self._core.to_charger, request, Priority.OWN, on_answer, on_lost, slot=slot)


def _fallback(core: Core, connector: Connector) -> str:
    return fallback_profile(connector.ref.connector, connector.fallback_ma, connector.phases, core.dialect)
