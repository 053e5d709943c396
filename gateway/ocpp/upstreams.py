"""Pure: where a CSMS is, as whom a charger goes there, how long to wait before trying again (R14, R15, R27)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from urllib.parse import quote

from gateway.site import Charger, Upstream

FIRST_DELAY_S = 10.0
MAX_DELAY_S = 300.0
"""Site seconds. A random first delay keeps a street of chargers from dialling at once; the cap is kept for ever."""


def delays(uniform: Callable[[float, float], float]) -> Iterator[float]:
    """Site seconds before each further attempt: random, then doubling, then the cap."""
    delay_s = uniform(FIRST_DELAY_S / 4, FIRST_DELAY_S)
    while True:
        yield delay_s
        delay_s = min(delay_s * 2, MAX_DELAY_S)


def identity(charger: Charger, upstream: Upstream) -> str:
    """As whom the charger is known there: its own id, or what the configuration says ({id} stands for it)."""
    return (upstream.identity or "{id}").replace("{id}", charger.id)


def url(charger: Charger, upstream: Upstream) -> str:
    """The address to dial; an address without {id} gets the identity as its last segment."""
    segment = quote(identity(charger, upstream), safe="")
    if "{id}" in upstream.url:
        return upstream.url.replace("{id}", segment)
    return f"{upstream.url.rstrip('/')}/{segment}"


def authorization(user: str, password: bytes) -> str:
    """A Basic header with the password's raw bytes (rule R15)."""
    return "Basic " + base64.b64encode(user.encode() + b":" + password).decode()


def why_refused(status: int) -> str:
    """What to do about an HTTP answer to the handshake; all of them are tried again (rule R27)."""
    return {
        401: "the CSMS does not take the password: compare identity and secret with its operator",
        403: "the CSMS refuses this identity: have it enabled there",
        404: "the CSMS does not know this identity: register it there, or correct the address",
    }.get(status, "ask the operator of the CSMS")
