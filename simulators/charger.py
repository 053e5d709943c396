"""A wallbox: OCPP 1.6J on the wire, one outlet of the building behind it.

It does what boxes do: authorises a card, starts and stops, meters, obeys charging profiles within its own maximum,
goes on charging while its central system is away, and tells it later in order. All times are site time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulators import profiles
from simulators.building import Outlet
from simulators.cars import MIN_OFFER_MA, Car
from simulators.charger_commands import answer, default_keys
from simulators.clock import SiteClock, iso
from simulators.evidence import FrameLog
from simulators.ocpp_link import RETRY_S, CallError, Link, NoAnswerError, Payload
from simulators.profiles import Profile

LOOK_S = 5.0
"""How often a box looks at its own state to tell a change of status."""
CONNECTOR = 1
CONTACTOR_S = 2.0
"""From the decision to charge to the closed contactor, and back."""


@dataclass(slots=True)
class Transaction:
    """A transaction as the box knows it; `id` is None until the start is answered."""

    card: str
    began_ms: int
    meter_start: int
    id: int | None = None


@dataclass(frozen=True, slots=True)
class ChargerPlan:
    """What a box is: its maximum, its vendor, and whether its contactor waits for the answer to the start."""

    name: str
    max_ma: int = 16_000
    vendor: str = "Demo"
    model: str = "Box 11"
    eager: bool = False
    password: str | None = None


class Charger:
    """One wallbox. `run()` until cancelled; the story calls plug, present and unplug."""

    def __init__(
        self,
        plan: ChargerPlan,
        url: str,
        outlet: Outlet,
        register_wh: Callable[[], float],
        clock: SiteClock,
        rng: random.Random,
        frames: FrameLog,
        *,
        call_timeout_s: float = 10.0,
    ) -> None:
        """`register_wh` reads the box's own energy register, which is not the building's MID meter."""
        self.plan = plan
        self.name = plan.name
        self.transaction: Transaction | None = None
        self.profiles: list[Profile] = []
        self.keys = default_keys()
        self.outlet = outlet
        self.accepted = False
        self._register_wh = register_wh
        self._clock = clock
        self._closed_from_ms: int | None = None
        self._idle_since_ms: int | None = None
        self._finishing = False
        self._told = ""
        self._asked: list[Profile] = []
        self._asked_began_ms: int | None = None
        self._limit: tuple[int, float] = (0, 0.0)
        self._sampler: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.link = Link(
            plan.name, url, clock, rng, frames, self._on_call, self._greet, password=plan.password,
            call_timeout_s=call_timeout_s,
        )  # fmt: skip
        outlet.offer = self.offer_ma

    async def run(self) -> None:
        """Be a wallbox until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.link.run())
                group.create_task(self._heart())
                group.create_task(self._look())
        finally:
            for task in [*self._tasks, *([self._sampler] if self._sampler else [])]:
                task.cancel()

    # What the story does

    def plug(self, car: Car) -> None:
        """A car is plugged in."""
        self.outlet.car = car
        self._finishing = False

    async def present(self, card: str) -> str:
        """A card is shown. Starts where a car waits, stops the card's own transaction; returns what became of it."""
        running = self.transaction
        if running is not None:
            if running.card.upper() != card.upper():
                return "occupied"
            await self.stop("Local", card)
            return "stopped"
        try:
            answer = await self.link.call("Authorize", {"idTag": card})
        except (NoAnswerError, CallError):
            return "no answer"
        status = str(answer["idTagInfo"]["status"])
        if status == "Accepted" and self.outlet.car is not None and self.transaction is None:
            self.start(card)
        return status

    async def unplug(self) -> None:
        """The car leaves; a running transaction ends with it."""
        if self.transaction is not None:
            await self.stop("EVDisconnected", None)
        self.outlet.car = None
        self._finishing = False

    def start(self, card: str) -> None:
        """Begin a transaction."""
        now_ms = self._clock.utc_ms()
        transaction = Transaction(card, now_ms, self._register())
        self.transaction = transaction
        payload = {
            "connectorId": CONNECTOR,
            "idTag": card,
            "meterStart": transaction.meter_start,
            "timestamp": iso(now_ms),
        }
        self.link.submit("StartTransaction", lambda: payload, lambda answer: self._started(transaction, answer))
        if self.plan.eager:
            self._closed_from_ms = now_ms + round(CONTACTOR_S * 1000)
        self._sampler = asyncio.create_task(self._sample(transaction))

    async def stop(self, reason: str, card: str | None) -> None:
        """End the transaction: the contactor opens, then the register is read."""
        transaction = self.transaction
        if transaction is None:
            return
        self.transaction = None
        self._closed_from_ms = None
        self._finishing = True
        self.profiles[:] = [p for p in self.profiles if p.purpose != "TxProfile"]
        if self._sampler is not None:
            self._sampler.cancel()
        await self._clock.sleep(CONTACTOR_S)
        stopped: Payload = {"meterStop": self._register(), "timestamp": self._clock.now_iso(), "reason": reason}
        if card is not None:
            stopped["idTag"] = card
        self.link.submit(
            "StopTransaction", lambda: {"transactionId": _known(transaction), **stopped}, lambda _answer: None
        )

    # What the building asks

    def offer_ma(self, now_ms: int) -> int | None:
        """What the box offers its car; None while the contactor is open, nothing between 0 and 6 A."""
        if self._closed_from_ms is None or now_ms < self._closed_from_ms:
            return None
        limit_ma = self.limit_ma(now_ms)
        return limit_ma // 100 * 100 if limit_ma >= MIN_OFFER_MA else 0

    def limit_ma(self, now_ms: int) -> int:
        """The composite limit of its profiles now."""
        began_ms = self.transaction.began_ms if self.transaction is not None else None
        limit_ma, until_ms = self._limit
        if now_ms >= until_ms or began_ms != self._asked_began_ms or self.profiles != self._asked:
            self._asked, self._asked_began_ms = list(self.profiles), began_ms
            limit_ma, _ = self._limit = profiles.limit_until(
                self.profiles, now_ms, max_ma=self.plan.max_ma, began_ms=began_ms, phases=self.outlet.phases
            )
        return limit_ma

    def status(self, now_ms: int) -> str:
        """The status of connector 1 (1.6 section 4.9)."""
        if self.transaction is None:
            if self.outlet.car is None:
                return "Available"
            return "Finishing" if self._finishing else "Preparing"
        if self.outlet.draw_ma > 0:
            self._idle_since_ms = None
            return "Charging"
        if self.offer_ma(now_ms) == 0:
            return "SuspendedEVSE"
        if self._idle_since_ms is None:
            self._idle_since_ms = now_ms
        return "SuspendedEV" if now_ms - self._idle_since_ms > 30_000 else "Charging"

    # What it tells

    async def _greet(self) -> None:
        while not self.accepted:
            try:
                answer = await self.link.call("BootNotification", self._identity())
            except (NoAnswerError, CallError):  # 1.6 section 4.2: it is said again until it is accepted
                await self._clock.sleep(RETRY_S)
                continue
            interval_s = int(answer.get("interval") or 60)
            if answer["status"] == "Accepted":
                self.accepted = True
                self.keys["HeartbeatInterval"] = str(interval_s)
                await self._tell_status(0, "Available")
            else:
                await self._clock.sleep(interval_s)
        self.link.may_send_transactions = True
        self.link.wake()
        await self._tell_if_changed()

    async def _heart(self) -> None:
        while True:
            await self._clock.sleep(max(10, int(self.keys["HeartbeatInterval"])))
            await self._try("Heartbeat", {})

    async def _look(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            await self._tell_if_changed()

    async def _tell_if_changed(self) -> None:
        status = self.status(self._clock.utc_ms())
        if self.accepted and self.link.connected and status != self._told:
            self._told = status
            if not await self._tell_status(CONNECTOR, status):
                self._told = ""

    async def _tell_status(self, connector: int, status: str) -> bool:
        payload = {
            "connectorId": connector,
            "errorCode": "NoError",
            "status": status,
            "timestamp": self._clock.now_iso(),
        }
        return await self._try("StatusNotification", payload)

    async def _try(self, action: str, payload: Payload) -> bool:
        """Say something that is not repeated; False where no answer came."""
        if not self.accepted or not self.link.connected:
            return False
        try:
            await self.link.call(action, payload)
        except (NoAnswerError, CallError):
            return False
        return True

    async def _sample(self, transaction: Transaction) -> None:
        due_ms = transaction.began_ms
        while True:
            due_ms += max(5, int(self.keys["MeterValueSampleInterval"])) * 1000
            await self._clock.sleep_until(due_ms)
            self._meter(transaction)

    def _meter(self, transaction: Transaction | None) -> None:
        values = [{"timestamp": self._clock.now_iso(), "sampledValue": self._sampled()}]

        def make() -> Payload:
            of = {"transactionId": _known(transaction)} if transaction is not None else {}
            return {"connectorId": CONNECTOR, **of, "meterValue": values}

        self.link.submit("MeterValues", make, lambda _answer: None)

    def _sampled(self) -> list[dict[str, str]]:
        outlet = self.outlet
        power_w = sum(outlet.car_ma) * 230 / 1000
        sampled = [
            {"value": str(self._register()), "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
            {"value": f"{power_w:.0f}", "measurand": "Power.Active.Import", "unit": "W"},
        ]
        for index in range(outlet.phases):
            ampere = outlet.car_ma[outlet.rotation[index]] / 1000
            sampled.append(
                {"value": f"{ampere:.1f}", "measurand": "Current.Import", "phase": f"L{index + 1}", "unit": "A"}
            )
        return [{**value, "context": "Sample.Periodic", "location": "Outlet"} for value in sampled]

    def _started(self, transaction: Transaction, answer: Payload) -> None:
        transaction.id = int(answer["transactionId"])
        status = str(answer["idTagInfo"]["status"])
        if self.transaction is not transaction:
            return
        if status != "Accepted":
            self._spawn(self.stop("DeAuthorized", None))
        elif self._closed_from_ms is None:
            self._closed_from_ms = self._clock.utc_ms() + round(CONTACTOR_S * 1000)

    # What it is told to do (charger_commands)

    def trigger(self, what: str) -> None:
        """Send a message that was asked for."""
        if what == "MeterValues":
            self._meter(self.transaction)
        elif what == "StatusNotification":
            self._spawn(self._tell_status(CONNECTOR, self.status(self._clock.utc_ms())))
        elif what == "BootNotification":
            self._spawn(self._try("BootNotification", self._identity()))
        else:
            self._spawn(self._try("Heartbeat", {}))

    def remote_start(self, card: str, profile: Payload | None) -> None:
        """Start without asking for a card."""
        self.start(card)
        if profile is not None:
            self.install(CONNECTOR, profile)

    def remote_stop(self) -> None:
        """Stop the running transaction."""
        self._spawn(self.stop("Remote", None))

    def install(self, connector: int, text: Payload) -> str | None:
        """Put a charging profile in force; why not, where it is refused."""
        transaction = self.transaction
        why = profiles.refusal(connector, text, transaction.id if transaction is not None else None)
        if why is None:
            profiles.put(self.profiles, Profile(connector, self._clock.utc_ms(), text))
        return why

    def reset(self) -> None:
        """Stop, hang up, and boot again."""
        self._spawn(self._reset())

    async def _reset(self) -> None:
        await self.stop("SoftReset", None)
        self.accepted = False
        self._told = ""
        await self.link.close()

    def now_ms(self) -> int:
        """The box's own clock."""
        return self._clock.utc_ms()

    def _register(self) -> int:
        return int(self._register_wh())

    def _identity(self) -> Payload:
        return {
            "chargePointVendor": self.plan.vendor,
            "chargePointModel": self.plan.model,
            "chargePointSerialNumber": f"SN-{self.name}",
            "firmwareVersion": "1.0.0",
        }

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_call(self, action: str, payload: Payload) -> Payload:
        return answer(self, action, payload)


def _known(transaction: Transaction) -> int:
    """The id toward the central system; -1 where the start was given up (errata 3.18)."""
    return transaction.id if transaction.id is not None else -1
