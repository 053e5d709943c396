"""Pure: what the CSMS asks of the charger - relayed, or answered by the gateway where it holds the truth (R45-R53)."""

from __future__ import annotations

from typing import Any

from gateway.ocpp import frames
from gateway.ocpp.actions import (
    ForgetCache,
    RemoveProfiles,
    SaveList,
    SaveProfile,
    Send,
    Stored,
    StoredProfile,
    StoreFailed,
)
from gateway.ocpp.core import ANSWERED, MAPPED, RELAYED, Core
from gateway.ocpp.frames import Frame, compact
from gateway.ocpp.limits import Limits
from gateway.ocpp.lines import Call, Loss, Priority
from gateway.ocpp.meaning import Command, Order
from gateway.ocpp.profiles import MAX_PROFILES, TX_PURPOSE, BadProfileError, Profiles, read_profile
from gateway.ocpp.times import utc_text

MAX_COMPOSITE_S = 7 * 86_400
_LOST = {
    Loss.TIMEOUT: "the charger did not answer",
    Loss.GONE: "the charger is not connected",
    Loss.FULL: "too many commands wait for the charger",
    Loss.REPLACED: "another command took its place",
}


class Commands:
    """Everything that comes from the CSMS as a CALL."""

    def __init__(self, core: Core, profiles: Profiles, limits: Limits) -> None:
        self._core = core
        self._profiles = profiles
        self._limits = limits

    def take(self, frame: Frame, *, pending: bool) -> None:
        """One CALL of the CSMS."""
        command = self._core.version.read_command(frame)
        if command.order is Order.SET_PROFILE:
            self._set_profile(frame)
        elif command.order is Order.CLEAR_PROFILES:
            self._clear_profiles(frame)
        elif command.order is Order.COMPOSITE:
            self._composite(frame)
        elif command.order is Order.UNHOOK:
            self._core.tell(
                "unhook_refused",
                "the CSMS wants to change the charger's address, key or security profile",
                "change it in the charger itself if that is meant",
                keep=True,
            )
            self._answer(frame, '{"status":"Rejected"}')
        elif pending and command.order in (Order.REMOTE_START, Order.REMOTE_STOP):
            self._answer(frame, '{"status":"Rejected"}')
        else:
            self._relay(command)

    def _relay(self, command: Command) -> None:
        self._note(command)
        text, rule = self._for_charger(command)
        frame, asked_by = command.frame, self._core.csms_generation

        def answered(answer: Frame) -> None:
            if asked_by == self._core.csms_generation:
                self._core.do(Send("csms", answer.text, RELAYED))
            else:
                self._core.drop("charger", answer.text, "the connection that asked for it is gone")

        def lost(loss: Loss) -> None:
            if asked_by == self._core.csms_generation:
                self._refuse(frame, _LOST[loss])

        self._core.to_charger.submit(Call(frame.message_id, text, rule, Priority.RELAYED, answered, lost))

    def _note(self, command: Command) -> None:
        core = self._core
        if command.order is Order.CLEAR_CACHE:
            core.cards.clear_cache()
            core.do(ForgetCache())
        elif command.order is Order.SEND_LIST:
            update = core.version.read_list(command.frame)
            if update is not None and core.cards.update_list(update):
                core.do(SaveList(update, core.now.utc_ms))

    def _for_charger(self, command: Command) -> tuple[str, str]:
        text = command.frame.text
        if command.profile_span is not None:
            self._keep_remote_profile(command.frame)
            return frames.replace(text, [(command.profile_span, "")]), "charging profile kept by the gateway"
        if command.order is not Order.REMOTE_STOP or command.transaction_id is None or command.transaction_span is None:
            return text, RELAYED
        transaction = self._core.by_csms_id(command.transaction_id)
        if transaction is None or transaction.local_id == command.transaction_id:
            return text, RELAYED
        return frames.replace(text, [(command.transaction_span, str(transaction.local_id))]), MAPPED

    # Charging profiles

    def _keep_remote_profile(self, frame: Frame) -> None:
        connector, profile = frame.member("connectorId"), frame.member("chargingProfile")
        try:
            stored = read_profile(connector if isinstance(connector, int) else 1, profile, self._core.now.utc_ms)
        except BadProfileError as error:
            self._core.tell("csms_profile_refused", f"a remote start carries a bad charging profile: {error}")
            return
        self._save(None, stored)

    def _save(self, frame: Frame | None, stored: StoredProfile) -> None:
        replaced = self._profiles.replaced_by(stored)
        self._profiles.put(stored, replaced)
        self._core.do(SaveProfile(frame, stored, replaced))

    def _set_profile(self, frame: Frame) -> None:
        connector, profile = frame.member("connectorId"), frame.member("csChargingProfiles")
        try:
            if not isinstance(connector, int) or not self._limits.has_connector(connector):
                raise BadProfileError(f"there is no connector {connector}")
            stored = read_profile(connector, profile, self._core.now.utc_ms)
            if stored.purpose == TX_PURPOSE and not self._has_transaction(connector, profile.get("transactionId")):
                raise BadProfileError("there is no such transaction")
            if len(self._profiles) >= MAX_PROFILES and not self._profiles.replaced_by(stored):
                raise BadProfileError(f"{MAX_PROFILES} charging profiles are kept already")
        except BadProfileError as error:
            self._core.tell("csms_profile_refused", f"SetChargingProfile: {error}")
            self._answer(frame, '{"status":"Rejected"}')
            return
        self._save(frame, stored)

    def _has_transaction(self, connector: int, csms_id: object) -> bool:
        running = self._core.running(connector)
        return running is not None and (csms_id is None or csms_id in (running.csms_id, running.local_id))

    def _clear_profiles(self, frame: Frame) -> None:
        ids = self._profiles.matching(frame.payload)
        if not ids:
            self._answer(frame, '{"status":"Unknown"}')
            return
        self._profiles.remove(ids)
        self._core.do(RemoveProfiles(frame, ids))

    def stored(self, event: Stored) -> None:
        """A change of the profiles is on disk: now it is in force, and said so (rule R51)."""
        if isinstance(event.action, SaveProfile | RemoveProfiles) and event.action.frame is not None:
            self._answer(event.action.frame, '{"status":"Accepted"}')

    def store_failed(self, event: StoreFailed) -> None:
        """What is not on disk is not promised. It stays in force until a restart: a limit too much is safe."""
        if isinstance(event.action, SaveProfile | RemoveProfiles) and event.action.frame is not None:
            self._refuse(event.action.frame, "the gateway cannot write to its disk")

    def _composite(self, frame: Frame) -> None:
        connector, duration_s = frame.member("connectorId"), frame.member("duration")
        if not isinstance(connector, int) or not self._limits.has_connector(connector):
            self._answer(frame, '{"status":"Rejected"}')
            return
        span_s = min(duration_s, MAX_COMPOSITE_S) if isinstance(duration_s, int) and duration_s > 0 else 0
        now_ms = self._core.now.utc_ms
        running = self._core.running(connector) if connector else None
        watts = frame.member("chargingRateUnit") == "W"
        periods: list[dict[str, Any]] = [
            {"startPeriod": offset_s, "limit": self._limit(connector, limit_ma, watts=watts)}
            for offset_s, limit_ma in self._profiles.composite(
                connector, now_ms, span_s, running.start_ms if running else None, self._limits.in_force_ma(connector)
            )
        ]
        schedule = {
            "duration": span_s,
            "startSchedule": utc_text(now_ms),
            "chargingRateUnit": "W" if watts else "A",
            "chargingSchedulePeriod": periods,
        }
        said = {"status": "Accepted", "connectorId": connector, "scheduleStart": utc_text(now_ms)}
        self._answer(frame, compact({**said, "chargingSchedule": schedule}))

    def _limit(self, connector: int, limit_ma: int, *, watts: bool) -> float:
        if watts:
            return limit_ma * 230 * self._limits.phases(connector) // 1000
        return limit_ma // 100 / 10

    # Answers to the CSMS

    def _answer(self, frame: Frame, payload: str) -> None:
        self._core.do(Send("csms", frames.result(frame.message_id, payload), ANSWERED))

    def _refuse(self, frame: Frame, why: str) -> None:
        self._core.do(Send("csms", frames.error(frame.message_id, "GenericError", why), ANSWERED))
