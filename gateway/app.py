"""The whole gateway on one page: builds the parts, joins them, runs one TaskGroup.

    meters ---------> load ---------> ocpp (limits)
    ocpp -> journal -> tracker -----> outbox -> cloud
    meters ---------> settlement ---> outbox -> cloud

Nothing below `run` knows of signals, of the service manager's presence, or of real time: it is all in the `World`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from gateway import __version__, log, right_time
from gateway.clock import iso
from gateway.cloud.link import CloudLink
from gateway.cloud.restored import confirm_operation
from gateway.control import ControlSocket
from gateway.events import EventBook
from gateway.export.person import forget_operation
from gateway.health import first_error, part_failed, problems
from gateway.load.control_loop import ControlLoop
from gateway.meters.meters import Meters
from gateway.model import Clock, Event, StoreError, World
from gateway.ocpp.side import OcppSide
from gateway.operations import Operations, merge_by_id
from gateway.records.hardware import open_signer
from gateway.records.signing import KeyFileError, RotatingSigner
from gateway.right_time import Memory
from gateway.secrets import Secrets
from gateway.sessions import keeping
from gateway.sessions.acts import Acts
from gateway.sessions.boundaries import Boundaries
from gateway.sessions.keeping import Keeping
from gateway.sessions.keys import KeyOperations
from gateway.sessions.quarters import Quarters
from gateway.sessions.settlement import Settlement
from gateway.sessions.tracker import Tracker
from gateway.site import Site
from gateway.store import meta, readings
from gateway.store.database import Database, ForeignDatabaseError, NewerDatabaseError
from gateway.store.disk_watch import DiskWatch
from gateway.store.lock import StateTakenError, hold
from gateway.store.outbox import Identity
from gateway.world import real_world

RESTART_PART_AFTER_S = 5.0
"""Site seconds before a part that failed is started again: a dead part stops nothing else (design rule 3) ..."""

RESTART_PART_AT_MOST_S = 300.0
"""... twice as long each time it fails again soon, so that a lasting mistake fills neither the log nor the lane."""

STORE_AGAIN_AT_MOST_S = 20.0
"""A disk that takes nothing is told once and asked again soon: what waits in memory for it a restart would lose."""

STORE_BEAT_S = 300.0
"""How often the newest time is written: 288 small commits a day."""

GUESS_LOOK_S = 5.0
"""While the time is a guess it is looked so often whether it still is one; nothing is written for that."""

DRAIN_LINK_S = 5.0
"""How long a clean end waits for commits under way."""


class StartError(Exception):
    """The gateway cannot start; the text is one sentence with its remedy."""


class ClockOffError(Exception):
    """The right time is known, and too far off for running parts: every part starts anew at it."""


@dataclass(frozen=True)
class Config:
    """What one start is given: the site, where its state lives, where its socket goes (None: no socket)."""

    site: Site
    state: Path
    run_dir: Path | None


def main(site: Site, state: Path, run_dir: Path, clock: Clock) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Every foreseen failure is one sentence on standard error."""
    log.configure()
    try:
        with _alone(state):
            asyncio.run(_until_signal(Config(site, state, run_dir), clock))
    except (StartError, BaseExceptionGroup) as error:
        reason = first_error(error)
        if not isinstance(reason, StartError):
            raise
        print(f"zev-gateway: {reason}", file=sys.stderr)  # noqa: T201 - the one place that speaks to a person
        return 2
    return 0


async def _until_signal(config: Config, clock: Clock) -> None:
    world = real_world(clock)
    running = asyncio.current_task()
    assert running is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    loop.add_signal_handler(signal.SIGHUP, _refuse_reload)
    with suppress(asyncio.CancelledError):
        await run(config, world)


def _refuse_reload() -> None:
    """SIGHUP would end the process by default; until a site can change live, it is told what to do instead."""
    structlog.get_logger().warning("reload_refused", cause="the site file is read at the start only",
                                   next_step="restart the service: sessions and wallboxes go on")  # fmt: skip


async def run(config: Config, world: World) -> None:
    """The daemon, below signals: returns when it is cancelled, raises StartError when it cannot start."""
    site, clock = config.site, world.clock
    events = EventBook(world)
    signer = _signer(config, clock.utc_ms())
    db = await _open_database(config.state / "billing.db", world)
    try:
        boot = await db.run(
            lambda connection: meta.begin_boot(connection, site.id, simulation=site.simulation, random=world.random)
        )
        await db.run(lambda connection: meta.put(connection, "signer", site.signer))
        unconfirmed = await right_time.go_on(clock, db)
        memory = Memory(Meters(site, clock, events.tell), Boundaries([meter.id for meter in site.meters]))
        put_right = partial(right_time.put_right, Quarters(site, boot.who, world.random), world, db, events, memory)
        began = clock.now()
        wait_s = await put_right(began)
        begun = await db.run(lambda connection: keeping.begin(connection, __version__, boot.who.boot))
        for event in [*unconfirmed, *begun]:
            events.tell(event)
        while True:
            began = began if wait_s else clock.now()
            try:
                await Gateway(config, world, db, boot.who, signer, events, memory).run(wait_s)
            except BaseExceptionGroup as group:
                if not isinstance(first_error(group), ClockOffError):
                    raise
            wait_s = await put_right(began)
    except asyncio.CancelledError:
        await db.run(keeping.end)  # the next start tells a clean end from a power cut by this
        raise
    except meta.ForeignStateError as error:
        raise StartError(f"{config.state}: {error}") from error
    finally:
        async with asyncio.timeout(DRAIN_LINK_S):
            await asyncio.shield(db.close())


class Gateway:
    """The parts of one site, joined."""

    def __init__(
        self, config: Config, world: World, db: Database, who: Identity, signer: RotatingSigner, events: EventBook,
        memory: Memory,
    ) -> None:  # fmt: skip
        site, tell = config.site, events.tell
        self._config, self._world, self._db, self._who, self._events = config, world, db, who, events
        secrets = Secrets.beside(site.source)
        operations = Operations()

        self._meters = memory.meters
        self._keys = KeyOperations(site, world.clock, db, signer, tell)
        self._cloud = CloudLink(site, world, db, who, tell, secrets.get, operations.execute, self._keys.retire)
        self._keeping = Keeping(config.state, world, db, tell)
        self._tracker = Tracker(site, world, db, who, self._meters, signer, tell, self._on_record)
        self._settlement = Settlement(site, world, db, who, self._meters, tell, self._cloud.notify, memory.boundaries)
        self._ocpp = OcppSide(site, world, db, who, self._meters, tell, secrets.get, self._tracker.notify)
        self._loop = ControlLoop(site, world.clock, self._ocpp, self._meters, tell)
        self._store_beat = world.clock.monotonic()
        self._disk = DiskWatch(db, world.clock, tell)

        acts = Acts(site, world, db, who, self._on_act)
        for name, operation in {
            "status": self._status,
            "health": self._health,
            "keys.rotate": self._keys.rotate,
            "keys.pin": self._keys.pin,
            "keys.pinned": self._keys.pinned,
            "session.decide": acts.decide,
            "period": acts.period,
            "import": acts.import_series,
            "purge": acts.purge,
            "epoch.confirm": confirm_operation(db, who, world, tell, self._cloud.notify),
            "person_forget": forget_operation(db, who, world, self._cloud.notify),
        }.items():
            operations.add(name, operation)
        self._control = ControlSocket(config.run_dir, operations.execute, tell) if config.run_dir else None

    async def run(self, wait_s: float) -> None:
        """Start every part, say READY when the wallboxes can connect, run until cancelled.

        `wait_s`: for so long the time is not put right (site time).
        """
        site, notify = self._config.site, self._world.notify
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("events", lambda: self._events.write(self._db, self._who, self._cloud.notify)),
            ("meters", self._meters.run),
            ("sessions", self._tracker.run),
            ("settlement", self._settlement.run),
            ("second copy", self._keeping.run),
            ("load", self._loop.run),
            ("database beat", self._beat),
            ("disk", self._disk.run),
        ]
        if self._control is not None:
            parts.append(("control socket", self._control.run))
        await self._keys.start()
        self._meters.remember(await self._db.run(readings.last))
        # The cloud link ends last: its farewell names the heads of the lanes, after the last row of the others (I8).
        async with asyncio.TaskGroup() as last, asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="ocpp")
            await self._ocpp.ready.wait()
            last.create_task(self._keep_running("cloud", self._cloud.run), name="cloud")
            for name, part in parts:
                group.create_task(self._keep_running(name, part), name=name)
            self._events.tell(
                Event("started", site.id, f"version {__version__}, boot {self._who.boot}", keep=True,
                      data={"boot": self._who.boot, "version": __version__})
            )  # fmt: skip
            notify("READY=1\nSTATUS=running")
            group.create_task(self._watchdog(wait_s), name="watchdog")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                notify("STOPPING=1")

    def _on_record(self) -> None:
        """The tracker has committed: the cloud and the second copy look for themselves what is new."""
        self._cloud.notify()
        self._keeping.notify()

    def _on_act(self) -> None:
        """A person has decided something that settled quarter hours rest on."""
        self._settlement.notify()
        self._cloud.notify()

    async def _listen(self) -> None:
        """The OCPP side; that it cannot listen at the start is the one failure that ends the daemon."""
        try:
            await self._ocpp.run()
        except OSError as error:
            ocpp = self._config.site.ocpp
            if error.errno == errno.EADDRINUSE:
                raise StartError(
                    f"port {ocpp.port} is in use: another gateway or program listens there; "
                    "stop it, or set another port in [ocpp] listen"
                ) from error
            raise StartError(f"cannot listen on {ocpp.host}:{ocpp.port}: {error.strerror}") from error

    async def _keep_running(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """Run one part for ever; its failure is told and it starts again, the others go on."""
        clock, wait_s, told, told_s = self._world.clock, RESTART_PART_AFTER_S, "", 0.0
        while True:
            began = clock.monotonic()
            try:
                await part()
            except Exception as error:  # noqa: BLE001 - the border between a part and the rest
                ran_s = clock.monotonic() - began
                if ran_s > RESTART_PART_AT_MOST_S:
                    wait_s, told = RESTART_PART_AFTER_S, ""
                disk = isinstance(first_error(error), StoreError)
                if disk:
                    self._disk.refused()
                event = part_failed(name, error, wait_s)
                # A disk that is full for a day fails a part every minute: its cause is told once. One that has had room
                # for a part that then ran is full again.
                again = ran_s > STORE_AGAIN_AT_MOST_S and told_s < (self._disk.took_s or 0.0)
                if event.kind == "part_failed" or event.cause != told or again:
                    self._events.tell(event)
                    told, told_s = event.cause, clock.monotonic()
                wait_s = min(wait_s, STORE_AGAIN_AT_MOST_S) if disk else wait_s
            await clock.sleep(wait_s)
            wait_s = min(RESTART_PART_AT_MOST_S, wait_s * 2)

    async def _beat(self) -> None:
        """Write the newest time now and then; what cannot be written shows in the watchdog."""
        clock = self._world.clock
        while True:
            now, guess = clock.now(), clock.guess()
            await self._db.run(partial(right_time.note, now=now, guess=guess))
            self._store_beat = clock.monotonic()
            # That the time is known now does not wait for the next beat: the power may fail before.
            while clock.monotonic() - self._store_beat < STORE_BEAT_S and (guess is None or clock.guess() is not None):
                await clock.sleep(STORE_BEAT_S if guess is None else GUESS_LOOK_S)

    async def _watchdog(self, wait_s: float) -> None:
        """Feed the service manager's watchdog at half its period, only while the daemon is well (link time).

        Where the time has to jump it ends every part: none of them lives through that. A disk that is full is waited
        for: what it holds bears the time that the parts go by.
        """
        period_s = int(os.environ.get("WATCHDOG_USEC", "60000000")) / 1e6 / 2
        clock, began_s = self._world.clock, self._world.clock.monotonic()
        while True:
            if clock.off_ms() and clock.monotonic() - began_s >= wait_s and await self._disk_takes_it():
                raise ClockOffError
            troubles = self._troubles()
            self._world.notify("WATCHDOG=1\nSTATUS=running" if not troubles else f"STATUS={'; '.join(troubles)}")
            await asyncio.sleep(period_s)

    async def _disk_takes_it(self) -> bool:
        now_ms = self._world.clock.utc_ms()
        try:
            await self._db.run(lambda db: meta.put(db, "newest_ms", str(max(now_ms, meta.newest_ms(db)))))
        except StoreError:
            return False
        return True

    def _troubles(self) -> list[str]:
        beats = {"control loop": self._loop.beat, "database": self._store_beat}
        refused = self._db.refused
        return [
            *problems(self._world.clock.monotonic(), beats),
            *([f"the database cannot be written: {refused}"] if refused else []),
        ]

    async def _health(self, _: dict[str, Any], __: str) -> dict[str, Any]:
        troubles = self._troubles()
        return {"v": 1, "well": not troubles, "problems": troubles}

    async def _status(self, _: dict[str, Any], __: str) -> dict[str, Any]:
        site, now = self._config.site, self._world.clock.now()
        ocpp, load = self._ocpp.status(), self._loop.status()
        return {
            "v": 1,
            "version": __version__,
            "gw": site.id,
            "site": site.name,
            "simulation": site.simulation,
            "now": iso(now.utc_ms),
            "time_quality": now.quality.value,
            "boot": self._who.boot,
            "problems": self._troubles(),
            "connectors": merge_by_id(ocpp.pop("connectors"), load.pop("connectors")),
            **ocpp,
            **load,
            "meters": self._meters.status()["meters"],
            "sessions": await self._tracker.status(),
            "split": await self._settlement.status(),
            "cloud": await self._cloud.status(),
            "events": self._events.status(),
            "events_not_written": self._events.dropped,
        }


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One daemon per state directory, which is made where it is missing. StartError."""
    with ExitStack() as stack:
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(hold(state))
        except StateTakenError as error:
            raise StartError(f"another gateway already uses the state directory {state}") from error
        except OSError as error:
            raise StartError(
                f"the state directory {state} cannot be written ({error.strerror}): "
                "make it writable for this user, or give another one with --state"
            ) from error
        yield


def _signer(config: Config, now_ms: int) -> RotatingSigner:
    site = config.site
    try:
        return open_signer(site.signer, config.state / "keys", simulation=site.simulation, now_ms=now_ms)
    except KeyFileError as error:
        raise StartError(str(error)) from error


async def _open_database(path: Path, world: World) -> Database:
    try:
        return await Database.open(path, world.connect_database, world.store)
    except (ForeignDatabaseError, NewerDatabaseError) as error:
        raise StartError(f"{path}: {error}") from error
    except StoreError as error:
        raise StartError(
            f"{path} cannot be opened ({error}): see docs/operations.md, 'the database is damaged'"
        ) from error
