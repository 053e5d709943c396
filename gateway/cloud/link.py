"""The link to the cloud: connects, talks, and connects again on site time; the outbox in billing.db is the queue."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from gateway.cloud import restored
from gateway.cloud.commands import Commands, Execute
from gateway.cloud.conversation import Conversation, Shared
from gateway.cloud.envelope import topic
from gateway.cloud.mqtt import CloudError, Connection, Will
from gateway.cloud.outbox import Backoff, LaneWindow
from gateway.cloud.standing import NewKey
from gateway.model import Event, Severity, StoreError, Tell, World
from gateway.site import Cloud, Site
from gateway.store import outbox
from gateway.store.database import Database
from gateway.store.outbox import DURABLE_LANES, Identity

Secrets = Callable[[str], bytes | None]
"""A secret by its name, None where there is none; ValueError where it must not be used."""

GOOD_AFTER_S = 60.0
"""A connection that lasted this long (site time) was good: the next pause begins small again."""

TELL_AWAY_S = 60.0
"""Interruptions shorter than this (site time) are in the log, but not worth a record in the event lane."""

FAREWELL_S = 3.0
"""Link seconds for the last state and DISCONNECT of a clean end."""


class CloudLink:
    """Brings the billing and event lanes to the cloud, and the cloud's commands to `execute`."""

    def __init__(
        self, site: Site, world: World, db: Database, who: Identity, tell: Tell, secrets: Secrets, execute: Execute,
        new_key: NewKey,
    ) -> None:  # fmt: skip
        self._new_key = new_key
        self._site, self._world, self._db, self._who, self._tell = site, world, db, who, tell
        self._secrets = secrets
        self._wake = asyncio.Event()
        self._shared = Shared({lane: LaneWindow(world.random) for lane in DURABLE_LANES})
        self._commands = Commands(site.id, world, db, tell, execute, self._on_reply)
        self._conversation: Conversation | None = None
        self._why = "not connected yet"
        self._told: str | None = None
        self._away_since = world.clock.monotonic()
        self._tls: ssl.SSLContext | None = None

    def notify(self) -> None:
        """The outbox has grown."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the link up until cancelled; the clean end publishes the last state and says goodbye."""
        cloud = self._site.cloud
        if cloud is None:
            await asyncio.get_running_loop().create_future()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commands.run(), name="cloud commands")
            group.create_task(self._stay_connected(cloud), name="cloud link")

    async def status(self) -> dict[str, Any]:
        """`last_ack_s`: site seconds since the cloud last answered, null before.

        `restored`: when the cloud found this database to be an old copy, null where it never did or a person has
        checked it; `restored_checked`: who, when and why.
        """
        last_ack = self._shared.last_ack
        answered = self._conversation is not None and self._conversation.answered
        silent = "the broker is there, the cloud has not answered yet" if self._conversation is not None else self._why
        return {
            "configured": self._site.cloud is not None,
            "connected": answered,
            "why": "" if answered else silent,
            "backlog": await self._db.run(outbox.backlog),
            "restored": await self._db.run(restored.waiting_since),
            "restored_checked": await self._db.run(restored.newest_check),
            "last_ack_s": None if last_ack is None else round(self._world.clock.monotonic() - last_ack, 1),
        }

    async def _stay_connected(self, cloud: Cloud) -> None:
        backoff = Backoff(self._world.random)
        clock = self._world.clock
        while True:
            began = clock.monotonic()
            try:
                await self._connect_and_talk(cloud)
            except CloudError as error:
                self._down(cloud, str(error), error.next_step)
            except StoreError as error:
                self._down(cloud, f"the database refuses: {error}", "free space on the disk, or look at its health")
            except ssl.SSLError as error:
                self._down(cloud, f"TLS fails: {error}", "check [cloud] host, tls and the broker's certificate")
            except OSError as error:
                self._down(cloud, str(error), "nothing: it is tried again; records wait here until it is back")
            if clock.monotonic() - began >= GOOD_AFTER_S:
                backoff.reset()
            await clock.sleep(backoff.next_s())

    async def _connect_and_talk(self, cloud: Cloud) -> None:
        talk = Conversation(
            self._site.id, self._world, self._db, self._who, self._tell, self._commands, self._shared, self._wake,
            self._new_key, simulation=self._site.simulation,
        )  # fmt: skip
        will = Will(self._topic("state"), await talk.state_payload(online=False))
        password = self._password(cloud)
        sock = await self._world.open_socket(cloud.host, cloud.port, await self._tls_context(cloud))
        connection = Connection(f"zgw-{self._site.id}", cloud.mqtt, will, talk.take, self._wake.set)
        await connection.open(sock, cloud.username, password)
        try:
            await connection.subscribe(self._topic("down/#"))
            self._up(talk)
            await talk.run(connection)
            self._down(cloud, f"the connection is lost: {connection.reason}", "nothing: it is tried again")
        except asyncio.CancelledError:
            await self._say_goodbye(talk, connection)
            raise
        finally:
            self._conversation = None
            connection.abort("the link ends")

    async def _say_goodbye(self, talk: Conversation, connection: Connection) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await talk.farewell(connection)
        except (OSError, StoreError, TimeoutError) as error:
            self._tell(
                Event("cloud_farewell_failed", "cloud", str(error) or "no time left", severity=Severity.INFO,
                      next_step="nothing: the broker publishes the last will instead")
            )  # fmt: skip

    def _up(self, talk: Conversation) -> None:
        away_s = round(self._world.clock.monotonic() - self._away_since)
        keep = self._told is not None and away_s >= TELL_AWAY_S
        self._conversation, self._told = talk, None
        self._tell(Event("cloud_connected", "cloud", f"after {away_s} s", data={"away_s": away_s}, keep=keep))

    def _down(self, cloud: Cloud, cause: str, next_step: str) -> None:
        """Told once per cause: a broker that is away for a week is one line."""
        if self._conversation is not None:
            self._away_since = self._world.clock.monotonic()
        self._why = cause
        if cause == self._told:
            return
        self._told = cause
        subject = f"broker {cloud.host}:{cloud.port}"
        self._tell(Event("cloud_away", subject, cause, next_step=next_step, severity=Severity.WARNING))

    def _on_reply(self, cid: str, reply: str) -> None:
        if self._conversation is not None:
            self._conversation.reply(cid, reply)

    def _password(self, cloud: Cloud) -> str | None:
        if cloud.secret is None:
            return None
        try:
            password = self._secrets(cloud.secret)
            if password is None:
                raise ValueError(f"there is no secret {cloud.secret!r}")
            return password.decode()
        except ValueError as error:
            raise CloudError(f"no password for the broker: {error}", "put the secret of [cloud] right") from error

    async def _tls_context(self, cloud: Cloud) -> ssl.SSLContext | None:
        if cloud.tls and self._tls is None:
            loop = asyncio.get_running_loop()
            self._tls = await loop.run_in_executor(self._world.net, ssl.create_default_context)
        return self._tls

    def _topic(self, kind: str) -> str:
        return topic(self._site.id, kind, simulation=self._site.simulation)
