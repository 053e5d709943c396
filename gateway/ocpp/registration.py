"""Pure: boot, acceptance, heartbeats and statuses - when the CSMS may hear what (rules R20-R26, R39)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gateway.model import Severity
from gateway.ocpp import frames
from gateway.ocpp.actions import SaveAccepted, SaveBoot, SaveBootTold, SaveStatus, Wake
from gateway.ocpp.core import RELAYED, Asked, Core
from gateway.ocpp.frames import Frame
from gateway.ocpp.lines import Call, Loss, Priority
from gateway.ocpp.meaning import Kind, Message
from gateway.ocpp.offline import accepted

RETRY_BOOT_S = 60
"""Site seconds before a boot is told again where the CSMS names no interval."""

MAX_CONNECTOR = 99
"""As in the site file; the status of a connector that no box has is passed on, and not kept (I12)."""

_BOOT = "boot again"
_BEAT = "heartbeat"
_HOLD = "boot waits"
"""The first boot of all waits one CALL timeout for a CSMS that is being dialled: a box that is told Pending sulks."""


@dataclass(frozen=True, slots=True)
class Status:
    """A connector's newest StatusNotification. `at_ms` is when it came, however late the CSMS hears of it."""

    connector: int
    status: str
    payload: str
    told: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows of the identity. `accepted_by`: the upstream's id, or "gateway"."""

    boot_payload: str | None = None
    boot_told: bool = True
    accepted_by: str | None = None
    heartbeat_s: int | None = None


class Registration:
    """`on_ready` is called when the CSMS begins to answer, `on_accepted(booted)` when the charger may work."""

    def __init__(
        self,
        core: Core,
        known: Known,
        statuses: Iterable[Status],
        on_ready: Callable[[], None],
        on_accepted: Callable[[bool], None],
    ) -> None:
        self._core = core
        self._known = known
        self._on_ready = on_ready
        self._on_accepted = on_accepted
        self._beats = 0
        self._heard = False
        self._held: Asked | None = None
        self._when_kept: deque[Callable[[], None]] = deque()
        self.statuses = {status.connector: status for status in statuses}
        self.pending = False
        """The CSMS has said Pending or Rejected: it may not command the charger yet (rule R21)."""

    @property
    def accepted(self) -> bool:
        """Whether whoever decides has ever accepted this identity."""
        upstream = self._core.upstream
        return self._known.accepted_by is not None if upstream is None else self._known.accepted_by == upstream.id

    # From the charger

    def boot(self, message: Message) -> None:
        """The charger has booted: nothing else goes to the CSMS before it knows (rule R20)."""
        core, asked = self._core, self._core.asked(message)
        payload = message.frame.payload_text()
        core.do(SaveBoot(payload, core.now.utc_ms, told=core.upstream is None))
        self._known = replace(self._known, boot_payload=payload, boot_told=core.upstream is None)
        if core.upstream is None:
            self._accept("gateway", core.ocpp.heartbeat_s, lambda: self._accepted_by_us(asked))
        elif core.to_csms.connected:
            self._not_ready()
            core.to_csms.submit(
                Call(
                    message.frame.message_id, message.frame.text, RELAYED, Priority.RELAYED,
                    lambda answer: self._boot_answered(answer, asked),
                    lambda loss: self._boot_by_us(asked),
                    needs_acceptance=False,
                )
            )  # fmt: skip
        elif self.accepted:
            self._boot_by_us(asked)
        else:
            self._held = asked
            core.do(Wake(_HOLD, core.ocpp.call_timeout_s, "link"))

    def _accepted_by_us(self, asked: Asked) -> None:
        core = self._core
        core.reply(asked, core.version.boot_answer("Accepted", core.now.utc_ms, core.ocpp.heartbeat_s))
        self._on_accepted(True)

    def _boot_by_us(self, asked: Asked) -> None:
        """Accepted where the CSMS has accepted this identity before, else Pending (rule R23)."""
        core = self._core
        interval_s = self._known.heartbeat_s or core.ocpp.heartbeat_s
        status = "Accepted" if self.accepted else "Pending"
        core.reply(
            asked, core.version.boot_answer(status, core.now.utc_ms, interval_s if self.accepted else RETRY_BOOT_S)
        )
        if self.accepted:
            self._on_accepted(True)
        else:
            core.tell(
                "charger_pending",
                "the CSMS has never accepted this charger and cannot be asked",
                "it works once the CSMS has answered its boot",
                Severity.WARNING,
            )
        if core.to_csms.connected:
            core.do(Wake(_BOOT, RETRY_BOOT_S, "site"))

    def _boot_answered(self, answer: Frame, asked: Asked | None) -> None:
        core = self._core
        status, interval_s = core.version.read_boot_answer(answer)
        if status == "Accepted":
            self.pending = False
            self._known = replace(self._known, boot_told=True)
            core.do(SaveBootTold())
            by = core.upstream.id if core.upstream else "gateway"
            self._accept(by, interval_s or None, lambda: self._accepted_by_csms(answer, asked))
            return
        if asked is not None:
            core.relay_answer(asked, answer)
        self.pending = True
        core.tell(
            "csms_does_not_accept",
            f"the CSMS answers the boot of this charger with {status or core.version.status_text(answer)}",
            "register the charger there",
            Severity.WARNING,
        )
        if asked is None:
            core.do(Wake(_BOOT, interval_s or RETRY_BOOT_S, "site"))

    def _accepted_by_csms(self, answer: Frame, asked: Asked | None) -> None:
        if asked is not None:
            self._core.relay_answer(asked, answer)
        self._on_accepted(asked is not None)
        if self._core.to_csms.connected:
            self._ready()

    def _accept(self, by: str, heartbeat_s: int | None, then: Callable[[], None]) -> None:
        """Keep the acceptance, and only `then` say so: a charger that was told works on over any restart of ours."""
        self._known = replace(self._known, accepted_by=by, heartbeat_s=heartbeat_s)
        self._when_kept.append(then)
        self._core.do(SaveAccepted(by, self._core.now.utc_ms, heartbeat_s))

    def kept(self) -> None:
        """The acceptance is on disk - or cannot be: that costs a boot after our next restart, and no more."""
        if self._when_kept:
            self._when_kept.popleft()()

    def status(self, message: Message) -> None:
        """A connector's status: kept, and told to the CSMS now or after the gap (rule R39)."""
        core, asked = self._core, self._core.asked(message)
        connector, payload = message.connector, message.frame.payload_text()
        if connector is None or not 0 <= connector <= MAX_CONNECTOR:
            self.relay(message)
            return
        self.statuses[connector] = Status(connector, message.status or "", payload, False, core.now.utc_ms)
        core.to_csms.submit(
            Call(
                message.frame.message_id, message.frame.text, RELAYED, Priority.RELAYED,
                lambda answer: self._status_told(connector, payload, answer, asked),
                lambda loss: self._status_kept(connector, payload, asked),
                needs_acceptance=not self.pending,
            )
        )  # fmt: skip

    def _status_told(self, connector: int, payload: str, answer: Frame, asked: Asked | None) -> None:
        self._heard = True
        self._save_status(connector, payload, told=True)
        if asked is not None:
            self._pass(asked, answer)

    def _status_kept(self, connector: int, payload: str, asked: Asked | None) -> None:
        self._save_status(connector, payload, told=self._core.upstream is None)
        if asked is not None:
            self._core.reply(asked, self._core.version.offline_answer(asked.message) or "{}")

    def _save_status(self, connector: int, payload: str, *, told: bool) -> None:
        status = self.statuses.get(connector)
        if status is not None and status.payload == payload:
            self.statuses[connector] = replace(status, told=told)
            self._core.do(SaveStatus(connector, payload, status.at_ms, told))

    def relay(self, message: Message) -> None:
        """Everything that is no transaction message: the CSMS answers, or we do (rules R11, R47)."""
        core, asked = self._core, self._core.asked(message)
        if message.kind is Kind.AUTHORIZE and not core.cards.asks_csms:
            self._by_us(asked)
            return
        core.to_csms.submit(
            Call(
                message.frame.message_id, message.frame.text, RELAYED, Priority.RELAYED,
                lambda answer: self._answered(asked, answer),
                lambda loss: self._not_relayed(asked, loss),
                needs_acceptance=not self.pending,
            )
        )  # fmt: skip

    def _not_relayed(self, asked: Asked, loss: Loss) -> None:
        if loss is Loss.FULL:
            self._core.floods.overflow(self._core.now.monotonic_s)
        self._by_us(asked)

    def _answered(self, asked: Asked, answer: Frame) -> None:
        self._heard = True
        message = asked.message
        if answer.kind == frames.CALL_RESULT and message.kind is Kind.AUTHORIZE and message.id_tag:
            self.authorized(asked, answer, message.id_tag)
        else:
            self._pass(asked, answer)

    def authorized(self, asked: Asked, answer: Frame, id_tag: str) -> None:
        """The CSMS's word on a card: remembered, and joined with the site's where both decide (R42)."""
        core = self._core
        said = core.version.read_tag(answer)
        if said is None:
            self._by_us(asked)
            return
        core.learn(id_tag, answer)
        verdict = core.cards.combine(id_tag, said, core.now.utc_ms)
        core.relay_answer(asked, answer, None if verdict == said else core.version.with_tag(answer, verdict))

    def _pass(self, asked: Asked, answer: Frame) -> None:
        self._core.relay_answer(asked, answer)

    def _by_us(self, asked: Asked) -> None:
        core, message = self._core, asked.message
        if message.kind is Kind.HEARTBEAT:
            core.reply(asked, core.version.heartbeat_answer(core.now.utc_ms))
        elif message.kind is Kind.AUTHORIZE:
            verdict = core.cards.decide(message.id_tag or "", core.now.utc_ms)
            if not accepted(verdict):
                core.card_refused(message.id_tag or "", verdict)
            core.reply(asked, core.version.authorize_answer(verdict))
        else:
            payload = core.version.offline_answer(message)
            if payload is None:
                core.refuse(asked, "NotImplemented", "the backend that may know this is away")
            else:
                core.reply(asked, payload)

    # The CSMS comes and goes

    def csms_opened(self) -> None:
        """Tell the boot first where it is not known there (rules R20, R24); else go on where we were."""
        core = self._core
        again = core.upstream is not None and core.upstream.boot_on_connect
        must_boot = not self._known.boot_told or not self.accepted or again
        self.pending = False
        core.to_csms.opened(accepted=not must_boot)
        if not must_boot:
            self._ready()
        elif self._known.boot_payload is not None:
            self._tell_boot()

    def _tell_boot(self) -> None:
        core, payload = self._core, self._known.boot_payload
        if payload is None or core.csms_ready:
            return
        asked, self._held = self._held, None
        core.call(
            core.to_csms,
            core.version.boot(payload),
            Priority.RELAYED,
            lambda answer: self._boot_answered(answer, asked),
            lambda loss: self._boot_lost(loss, asked),
            slot="boot",
            needs_acceptance=False,
        )

    def _boot_lost(self, loss: Loss, asked: Asked | None) -> None:
        if asked is not None:
            self._boot_by_us(asked)
        elif loss is Loss.TIMEOUT:
            self._core.do(Wake(_BOOT, RETRY_BOOT_S, "site"))

    def _ready(self) -> None:
        core = self._core
        core.csms_ready, core.to_csms.accepted, core.away_since_s = True, True, None
        for status in [status for status in self.statuses.values() if not status.told]:
            self._tell_status(status)
        self._beats += 1
        self._wait_beat()
        core.to_csms.pump()
        self._on_ready()

    def _not_ready(self) -> None:
        core = self._core
        core.csms_ready = core.to_csms.accepted = False
        if core.away_since_s is None:
            core.away_since_s = core.now.monotonic_s

    def _tell_status(self, status: Status) -> None:
        core = self._core
        core.call(
            core.to_csms,
            core.version.status_notification(status.payload),
            Priority.RELAYED,
            lambda answer: self._status_told(status.connector, status.payload, answer, None),
            lambda loss: None,
            slot=f"status {status.connector}",
        )

    def csms_closed(self) -> None:
        """From now on the gateway answers."""
        core = self._core
        core.csms_ready = False
        if core.away_since_s is None:
            core.away_since_s = core.now.monotonic_s

    def _wait_beat(self) -> None:
        if self._core.upstream is not None:
            self._heard = False
            self._core.do(Wake(f"{_BEAT} {self._beats}", self._core.upstream.heartbeat_s, "site"))

    def woke(self, key: str) -> bool:
        """A boot is due again, or a heartbeat of ours (rule R26); True where the timer is ours."""
        core = self._core
        if key == _BOOT:
            if core.to_csms.connected and not core.csms_ready:
                self._tell_boot()
            return True
        if key == _HOLD:
            asked, self._held = self._held, None
            if asked is not None:
                self._boot_by_us(asked)
            return True
        if not key.startswith(_BEAT):
            return False
        if core.csms_ready and key == f"{_BEAT} {self._beats}":
            if not self._heard:
                core.call(
                    core.to_csms,
                    core.version.heartbeat(),
                    Priority.OWN,
                    lambda answer: None,
                    lambda loss: None,
                    slot="beat",
                )
            self._wait_beat()
        return True
