"""Peers that mean no good or know no better: they flood, dial under ever new names, send giants, show card after card.

What must hold: the others notice nothing of it, memory and disk stay in their budget (I12), and it is told (I11).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from simulators.ocpp_link import CALL

from .plan import Fault

if TYPE_CHECKING:
    from .house import House

BEAT_S = 0.5
A_BEAT = 20
"""So many frames, dials or cards come in each beat."""

NOTICED = 200
"""So many frames beside its order are a flood: five seconds of it."""

GIANT_BYTES = 300_000
"""More than one frame may have; the largest signed meter data has some ten thousand."""

NAME_CHARACTERS = 6000
"""The longest line that an HTTP server takes is 8192 bytes."""


async def box_floods(house: House, fault: Fault) -> None:
    """A box with a fault in its firmware sends without waiting for answers."""
    await _flood(house, fault, lambda number: (f"flood-{fault.at_s}-{number}", "Heartbeat", {}))


async def box_giant(house: House, fault: Fault) -> None:
    """One frame is larger than any that has a meaning."""
    house.events.event("charger_cut", charger=fault.target)
    giant = {"vendorId": "Giant", "data": "x" * GIANT_BYTES}
    await _shout(house, fault, f"giant-{fault.at_s}", "DataTransfer", giant)


async def box_cards(house: House, fault: Fault) -> None:
    """Somebody tries card after card, each another one."""
    await _flood(
        house, fault,
        lambda number: (f"card-{fault.at_s}-{number}", "Authorize", {"idTag": f"X{fault.at_s:.0f}-{number}"}),
    )  # fmt: skip


async def box_starts(house: House, fault: Fault) -> None:
    """A box starts and stops without end, with a card that nobody knows."""
    charger = house.chargers[fault.target]
    ends_s = house.loop.time() + fault.lasts_s
    while house.loop.time() < ends_s:
        if charger.transaction is None and charger.outlet.car is None and charger.link.connected:
            card = f"X{house.loop.time():.0f}"
            house.events.event("car_started", charger=fault.target, card=card)
            charger.start(card)
            await asyncio.sleep(2.0)
            house.events.event("car_stopped", charger=fault.target, card=card)
            await charger.stop("Local", card)
        await asyncio.sleep(1.0)


async def strangers(house: House, fault: Fault) -> None:
    """Somebody dials under ever new, very long names; every third dial says nothing at all."""
    random = Random(f"{house.plan.seed}/strangers/{fault.at_s}")
    held: list[asyncio.StreamWriter] = []

    async def dial(number: int) -> None:
        name = f"S{number:06d}-" + random.randbytes(NAME_CHARACTERS // 2).hex()
        if number == 0:
            house.events.event("stranger_dialled", identity=name)
        held.extend([writer] if (writer := await _dial(name, silent=number % 3 == 2)) is not None else [])

    await _beats(house, fault, dial)
    for writer in held:
        writer.close()


async def _dial(name: str, *, silent: bool) -> asyncio.StreamWriter | None:
    """Open a connection, ask for an upgrade, and read the refusal; what says nothing is left open and returned."""
    try:
        reader, writer = await asyncio.open_connection("gw-stranger", 9000)
    except OSError:
        return None  # the gateway is away
    if silent:
        return writer
    lines = [
        f"GET /{name} HTTP/1.1", "Host: gateway", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: ocpp1.6",
    ]  # fmt: skip
    writer.write("\r\n".join([*lines, "", ""]).encode())
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            await reader.read(200)
    writer.close()
    return None


async def _beats(house: House, fault: Fault, strike: Callable[[int], Awaitable[None]]) -> None:
    """`strike` `A_BEAT` times in every beat, with running numbers."""
    number, ends_s = 0, house.loop.time() + fault.lasts_s
    while house.loop.time() < ends_s:
        for _ in range(A_BEAT):
            await strike(number)
            number += 1
        await asyncio.sleep(BEAT_S)


async def _flood(house: House, fault: Fault, make: Callable[[int], tuple[str, str, dict[str, str]]]) -> None:
    """Frame after frame; told in the story once so many have really gone that anybody would notice."""
    sent = 0

    async def strike(number: int) -> None:
        nonlocal sent
        before = sent
        sent += await _shout(house, fault, *make(number))
        if before < NOTICED <= sent:
            house.events.event("charger_flooded", charger=fault.target)

    await _beats(house, fault, strike)


async def _shout(house: House, fault: Fault, message_id: str, action: str, payload: dict[str, str]) -> bool:
    """A frame beside the box's own order: nobody waits for its answer. False where the box has no line."""
    return await house.chargers[fault.target].shout(
        json.dumps([CALL, message_id, action, payload], separators=(",", ":"))
    )


HOSTILE: dict[str, Callable[[House, Fault], Awaitable[None]]] = {
    "box_floods": box_floods,
    "box_giant": box_giant,
    "box_cards": box_cards,
    "box_starts": box_starts,
    "strangers": strangers,
}
