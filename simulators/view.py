"""What happens, to look at: a live picture on a terminal, one line per event elsewhere.

The picture shows what the gateway says of itself; while it is dead, what the simulated building knows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

POLL_S = 0.5
LINES = 8
BAR = 24

Status = dict[str, Any]


class Seen(Protocol):
    """What the view looks at."""

    def now_ms(self) -> int: ...
    async def status(self) -> Status | None: ...
    def loads(self) -> Mapping[str, tuple[int, Sequence[float]]]: ...
    def boxes(self) -> Sequence[Mapping[str, Any]]: ...
    def sun_w(self) -> float: ...


class Story:
    """The last lines of the story; as plain lines where there is no terminal."""

    def __init__(self, zone: str, console: Console, *, plain: bool) -> None:
        self.lines: deque[str] = deque(maxlen=LINES)
        self._zone = ZoneInfo(zone)
        self._console, self._plain = console, plain

    def hear(self, now_ms: int, what: str, keys: Mapping[str, Any]) -> None:
        """Something has happened."""
        box = f"{keys['charger']} " if "charger" in keys else ""
        card = f"{keys['card']} " if "card" in keys else ""
        line = f"{self.clock(now_ms)}  {what:<16} {box}{card}{keys.get('text', '')}"
        self.lines.append(line)
        if self._plain:
            self._console.print(Text(line), soft_wrap=True)

    def clock(self, now_ms: int) -> str:
        """Local time of day."""
        return datetime.fromtimestamp(now_ms / 1000, self._zone).strftime("%H:%M:%S")


def glance(seen: Seen, story: Story, status: Status | None) -> str:
    """The picture as one line, for where there is no terminal."""
    loads = "  ".join(
        f"{circuit} {'/'.join(f'{abs(load) / 1000:.0f}' for load in phases)} of {limit_ma // 1000} A"
        for circuit, (limit_ma, phases) in seen.loads().items()
    )
    boxes = "  ".join(
        f"{box['name']} {box['draw_ma'] / 1000:.1f}/{box['limit_ma'] / 1000:.1f} A"
        for box in seen.boxes()
        if box["limit_ma"] is not None
    )
    return f"{story.clock(seen.now_ms())}  sun {seen.sun_w() / 1000:.1f} kW  {loads}  {boxes}  {lines_text(status)}"


async def show(seen: Seen, story: Story, console: Console) -> None:
    """Draw the live picture until cancelled."""
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            status = await seen.status()
            live.update(picture(seen, story, status), refresh=True)
            await asyncio.sleep(POLL_S)


def picture(seen: Seen, story: Story, status: Status | None) -> Group:
    """One picture."""
    state = Text("gateway answers", style="green") if status else Text("gateway does not answer", style="bold red")
    head = Text.assemble((story.clock(seen.now_ms()), "bold"), "   sun ", f"{seen.sun_w() / 1000:.1f} kW   ", state)
    return Group(
        head,
        circuits_table(seen.loads()),
        boxes_table(seen.boxes(), status),
        Text(lines_text(status)),
        Panel(Text("\n".join(story.lines)), title="the story", height=LINES + 2),
    )


def circuits_table(loads: Mapping[str, tuple[int, Sequence[float]]]) -> Table:
    """Every circuit's phases against its limit."""
    table = Table(title="circuits: what flows, against the fuse", expand=True)
    for name in ("circuit", "limit", "L1", "L2", "L3"):
        table.add_column(name)
    for circuit, (limit_ma, phases) in loads.items():
        table.add_row(circuit, f"{limit_ma / 1000:.0f} A", *(bar(abs(load), limit_ma) for load in phases))
    return table


def bar(load_ma: float, limit_ma: int) -> Text:
    """A bar that is full at the limit, and red above it."""
    share = load_ma / limit_ma
    style = "green" if share <= 0.9 else "yellow" if share <= 1 else "bold red"
    full = min(BAR, round(share * BAR))
    return Text.assemble(("█" * full, style), ("░" * (BAR - full), "dim"), f" {load_ma / 1000:4.1f} A")


def boxes_table(boxes: Sequence[Mapping[str, Any]], status: Status | None) -> Table:
    """Every box: what it offers and draws by the building's truth, and the gateway's reason for it."""
    table = Table(title="wallboxes", expand=True)
    for name in ("box", "status", "card", "limit", "draw", "why"):
        table.add_column(name)
    reasons = {line["id"].split("/")[0]: line.get("reason") or "" for line in (status or {}).get("connectors", [])}
    for box in boxes:
        limit = "" if box["limit_ma"] is None else f"{box['limit_ma'] / 1000:.1f} A"
        why = reasons.get(box["name"], "") if status else "alone"
        table.add_row(
            box["name"],
            box["status"],
            box["card"] or "",
            limit,
            f"{box['draw_ma'] / 1000:.1f} A x {box['phases']}",
            why,
        )
    return table


def lines_text(status: Status | None) -> str:
    """The queues and the solar share, in one line."""
    if status is None:
        return "no word from the gateway"
    queue = sum(line["queue"] for line in status.get("upstreams", []))
    parked = sum(line["parked"] for line in status.get("upstreams", []))
    online = sum(bool(line["connected"]) for line in status.get("upstreams", []))
    cloud, split = status.get("cloud", {}), status.get("split", {})
    backlog = cloud.get("backlog", {})
    share = split.get("solar_share_pct")
    return (
        f"backend: {online} lines up, {queue} messages wait, {parked} parked   "
        f"cloud: {'connected' if cloud.get('connected') else 'not connected'}, "
        f"waiting {backlog.get('billing', 0)} billing {backlog.get('event', 0)} event   "
        f"solar share: {'-' if share is None else f'{share} %'} of quarter {split.get('last_interval') or '-'}"
    )
