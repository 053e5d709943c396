"""The connection of one charger to its CSMS: dialled for as long as the relay wants it, again and again (rule R27)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from gateway.model import Event, Severity, Tell, World
from gateway.ocpp import upstreams
from gateway.ocpp.link import ChargerLink
from gateway.ocpp.wire import MAX_MESSAGE, Wire, quiet
from gateway.site import Upstream

Secrets = Callable[[str], bytes | None]


class CsmsClient:
    """One task per charger with an upstream."""

    def __init__(self, link: ChargerLink, upstream: Upstream, subprotocol: str, world: World, secrets: Secrets, tell: Tell) -> None:  # fmt: skip # noqa: E501
        self._link = link
        self._upstream = upstream
        self._subprotocol = subprotocol
        self._world = world
        self._secrets = secrets
        self._tell = tell
        self._told: str | None = None

    async def run(self) -> None:
        """Be connected while that is wanted, until cancelled."""
        delays = self._delays()
        while True:
            await self._link.wanted.wait()
            if await self._session():
                delays = self._delays()
            if self._link.wanted.is_set():
                await self._world.clock.sleep(next(delays))

    def _delays(self) -> Iterator[float]:
        return upstreams.delays(self._world.random.uniform)

    async def _session(self) -> bool:
        """One connection from beginning to end; True where it came about."""
        charger, ocpp = self._link.setting.charger, self._link.setting.ocpp
        try:
            async with connect(
                upstreams.url(charger, self._upstream),
                subprotocols=[Subprotocol(self._subprotocol)],
                additional_headers=self._headers(),
                proxy=None,
                compression=None,
                open_timeout=ocpp.call_timeout_s,
                ping_interval=ocpp.ping_s,
                ping_timeout=ocpp.ping_s,
                close_timeout=2.0,
                max_size=MAX_MESSAGE,
                logger=quiet,
            ) as connection:
                if connection.subprotocol != self._subprotocol:
                    await connection.close(1002, "no common subprotocol")
                    self._away(f"it does not speak {self._subprotocol}", "ask its operator for an OCPP 1.6J address")
                    return False
                self._connected()
                why = await self._link.attend("csms", Wire(connection))
        except InvalidStatus as error:
            status = error.response.status_code
            self._away(f"it answers HTTP {status}", upstreams.why_refused(status))
            return False
        except (OSError, WebSocketException, ValueError) as error:
            self._away(f"it cannot be reached: {error or type(error).__name__}", "it is tried again by itself")
            return False
        except Exception as error:  # noqa: BLE001 - the border of a task: one CSMS must not end the others
            self._away(f"{type(error).__name__}: {error}", "report it with the log; it is tried again by itself")
            return False
        self._away(why, "it is dialled again by itself")
        return True

    def _headers(self) -> dict[str, str]:
        name = self._upstream.secret
        if name is None:
            return {}
        password = self._secrets(name)
        if password is None:
            raise ValueError(f"the secret {name!r} is not there")
        return {"Authorization": upstreams.authorization(self._identity(), password)}

    def _identity(self) -> str:
        return upstreams.identity(self._link.setting.charger, self._upstream)

    def _connected(self) -> None:
        self._told = None
        self._tell(Event("csms_connected", self._link.id, f"{self._upstream.id} is connected"))

    def _away(self, cause: str, next_step: str) -> None:
        """Told once per cause; a CSMS that is away for a week is one event."""
        if not self._link.wanted.is_set() or self._told == cause:
            return
        self._told = cause
        self._tell(Event("csms_away", self._link.id, f"{self._upstream.id}: {cause}", next_step, Severity.WARNING))
