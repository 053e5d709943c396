"""Where the wallboxes connect: who is let in, who is refused and why, and what to do about it (rules R13-R15, R19)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.clock import iso
from gateway.model import Clock, Event, Severity, Tell
from gateway.ocpp.link import ChargerLink
from gateway.ocpp.wire import MAX_MESSAGE, Wire, quiet
from gateway.site import Ocpp

MAX_REFUSED = 50
"""Refused identities that are remembered; the oldest goes first (I12)."""

TELL_AGAIN_S = 3600.0
"""Site seconds before the same refusal of the same identity is told again; boxes redial every few seconds."""

GONE_STEP = "it dials again by itself; if it stays away, check its power and its network"

MAX_SHOWN = 60
"""Characters of a refused identity that are remembered and told: whoever dials chooses it (I12)."""


class ChargerServer:
    """Serves every configured charger on one port."""

    def __init__(
        self, ocpp: Ocpp, links: Mapping[str, ChargerLink], clock: Clock, tell: Tell,
        secrets: Callable[[str], bytes | None],
    ) -> None:  # fmt: skip
        self._ocpp = ocpp
        self._links = links
        self._clock = clock
        self._tell = tell
        self._secrets = secrets
        self._told_s: dict[tuple[str, str], float] = {}
        self._many_s: float | None = None
        self.refused: dict[str, dict[str, Any]] = {}
        self.stopping = False

    def listen(self) -> AbstractAsyncContextManager[Server]:
        """The server as an async context manager; leaving it closes every connection with 1001."""
        return serve(
            self._attend,
            self._ocpp.host,
            self._ocpp.port,
            process_request=self._admit,
            select_subprotocol=self._subprotocol,
            compression=None,
            ping_interval=self._ocpp.ping_s,
            ping_timeout=self._ocpp.ping_s,
            close_timeout=2.0,
            max_size=MAX_MESSAGE,
            logger=quiet,
        )

    # Handshake

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.stopping:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway stops\n")
        name = identity_of(request.path)
        link = self._links.get(name)
        if link is None:
            known = ", ".join(self._links) or "none"
            self._refuse(
                connection, name, "no charger has this identity",
                f"add [[charger]] with this id to the site file, or give the box one of: {known}",
            )  # fmt: skip
            return connection.respond(HTTPStatus.NOT_FOUND, "unknown charger\n")
        try:
            wanted = self._password(link)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a secret concerns the boxes that need it
            self._refuse(connection, name, str(error), "put the box's password there; it dials again by itself")
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
        if wanted is not None and not _password_fits(link, request, wanted):
            self._refuse(connection, name, "wrong password", "give the box the password that the site file names")
            response = connection.respond(HTTPStatus.UNAUTHORIZED, "wrong password\n")
            response.headers["WWW-Authenticate"] = 'Basic realm="ocpp"'
            return response
        if not await link.admit():
            self._refuse(
                connection, name, "its CSMS is away and it is set to spec-close",
                "it may connect when the CSMS can be dialled; offline = \"autonomous\" keeps it connected",
            )  # fmt: skip
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "the CSMS is away\n")
        if not link.setting.dialect.ping:
            connection.ping_interval = None
        return None

    def _password(self, link: ChargerLink) -> bytes | None:
        """What the box must know; None where nothing is asked of it. Fails where the secret cannot be had."""
        name = link.setting.charger.secret
        password = self._secrets(name) if name is not None else None
        if name is not None and not password:
            raise LookupError(f"the secret {name!r} of the site file is not there")
        return password

    def _subprotocol(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        link = self._links.get(identity_of(connection.request.path)) if connection.request else None
        wanted = link.setting.dialect.subprotocols if link else ()
        return next((one for one in offered if one.lower() in wanted), None)

    # Connection

    async def _attend(self, connection: ServerConnection) -> None:
        request = connection.request
        link = self._links.get(identity_of(request.path)) if request is not None else None
        if link is None or request is None:
            return
        if connection.subprotocol is None and not self._speaks_without(link, request):
            offered = request.headers.get("Sec-WebSocket-Protocol", "none")
            self._refuse(
                connection, link.id, f"no common subprotocol (it offers {offered})",
                f"set the box to {', '.join(link.setting.dialect.subprotocols)} (OCPP 1.6J), or choose a dialect",
            )  # fmt: skip
            await connection.close(1002, "no common subprotocol")
            return
        self.refused.pop(link.id, None)
        self._tell(Event("charger_connected", link.id, f"from {_host(connection.remote_address)}"))
        why = await link.attend("charger", Wire(connection))
        self._tell(Event("charger_gone", link.id, why, GONE_STEP))

    def _speaks_without(self, link: ChargerLink, request: Request) -> bool:
        """A box that names no subprotocol at all, where its dialect says that it is one of those (quirk 1)."""
        return "Sec-WebSocket-Protocol" not in request.headers and link.setting.dialect.missing_subprotocol != "refuse"

    # Refusals

    def _refuse(self, connection: ServerConnection, name: str, why: str, next_step: str) -> None:
        port = connection.local_address[1]
        host = _host(connection.local_address)
        url = f"ws://{f'[{host}]' if ':' in host else host}:{port}/{quote(_shown(name) or 'CHARGER-ID', safe='')}"
        entry = {
            "identity": _shown(name),
            "address": _host(connection.remote_address),
            "why": why,
            "next_step": next_step,
            "url": url,
            "at": iso(self._clock.utc_ms()),
        }
        self._remember(entry)
        key, now_s = (entry["identity"], why), self._clock.monotonic()
        if self._is_news(key, now_s):
            self._told_s[key] = now_s
            self._tell(Event("charger_refused", entry["identity"] or "?", why, next_step, Severity.WARNING, entry))

    def _remember(self, entry: dict[str, Any]) -> None:
        """For `status`; our own boxes are forgotten last."""
        name = entry["identity"]
        self.refused.pop(name, None)
        self.refused[name] = entry
        if len(self.refused) > MAX_REFUSED:
            strangers = (one for one in self.refused if one not in self._links)
            self.refused.pop(next(strangers, next(iter(self.refused))))

    def _is_news(self, key: tuple[str, str], now_s: float) -> bool:
        """Not told within the hour. Of strangers with ever new names only so many are; one stands for all."""
        self._told_s = {key: told_s for key, told_s in self._told_s.items() if now_s - told_s < TELL_AGAIN_S}
        if key in self._told_s:
            return False
        if key[0] in self._links or sum(name not in self._links for name, _ in self._told_s) < MAX_REFUSED:
            return True
        if self._many_s is None or now_s - self._many_s >= TELL_AGAIN_S:
            self._many_s = now_s
            self._tell(
                Event(
                    "many_refused", "ocpp", f"more than {MAX_REFUSED} unknown identities dialled within an hour; "
                    "further ones are refused without a word",
                    "find out what dials (`status` shows the newest addresses), and take it off this network",
                    Severity.WARNING, keep=True,
                )
            )  # fmt: skip
        return False


def _shown(name: str) -> str:
    """An identity as it is told: a stranger's may have thousands of characters."""
    return name if len(name) <= MAX_SHOWN else f"{name[: MAX_SHOWN - 3]}..."


def identity_of(path: str) -> str:
    """The last non-empty segment of the path, percent-decoded (rule R14; quirks 5-8)."""
    segments = [segment for segment in path.split("?")[0].split("/") if segment]
    return unquote(segments[-1]) if segments else ""


def _password_fits(link: ChargerLink, request: Request, wanted: bytes) -> bool:
    user, password = credentials_of(request.headers.get("Authorization", "")) or (b"", b"")
    return user == link.id.encode() and same_password(password, wanted)


def credentials_of(header: str) -> tuple[bytes, bytes] | None:
    """User and password of a Basic header as raw bytes (rule R15)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def same_password(given: bytes, wanted: bytes) -> bool:
    """Raw, or one of them as hex text (quirk 17); in constant time."""
    fits = hmac.compare_digest(given, wanted)
    fits |= hmac.compare_digest(given.lower(), wanted.hex().encode())
    try:
        decoded = bytes.fromhex(wanted.decode())
    except ValueError:
        return fits
    return fits | (len(decoded) > 0 and hmac.compare_digest(given, decoded))


def bound_port(server: Server) -> int:
    """The port that the server listens on, where 0 was asked for."""
    return int(next(iter(server.sockets)).getsockname()[1])


def _host(address: Any) -> str:
    return str(address[0]) if address else "?"
