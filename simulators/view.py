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

from rich import box
from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from simulators.clock import parse_iso

POLL_S = 0.5
MOST_LINES = 12
FIXED_ROWS = 19
"""Rows of the picture beside the story: six boxes and two circuits with their headings."""
WIDEST_BAR = 24

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
        self.lines: deque[str] = deque(maxlen=MOST_LINES)
        self._zone = ZoneInfo(zone)
        self._console, self._plain = console, plain

    def hear(self, now_ms: int, what: str, keys: Mapping[str, Any]) -> None:
        """Something has happened."""
        where = f"{keys['charger']} " if "charger" in keys else ""
        card = f"{keys['card']} " if "card" in keys else ""
        line = f"{self.clock(now_ms)}  {what:<16} {where}{card}{keys.get('text', '')}"
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
        f"{one['name']} {one['draw_ma'] / 1000:.1f}/{one['limit_ma'] / 1000:.1f} A"
        for one in seen.boxes()
        if one["limit_ma"] is not None
    )
    return f"{story.clock(seen.now_ms())}  sun {seen.sun_w() / 1000:.1f} kW  {loads}  {boxes}  {queues(status, story)}"


async def show(seen: Seen, story: Story, console: Console) -> None:
    """Draw the live picture until cancelled."""
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            status = await seen.status()
            live.update(picture(seen, story, status, console.size), refresh=True)
            await asyncio.sleep(POLL_S)


def picture(seen: Seen, story: Story, status: Status | None, size: ConsoleDimensions) -> Group:
    """One picture, as large as the terminal lets it be."""
    width = min(WIDEST_BAR, max(4, (size.width - 26) // 3 - 10))
    lines = min(MOST_LINES, max(2, size.height - FIXED_ROWS))
    state = Text("gateway answers", style="green") if status else Text("gateway does not answer", style="bold red")
    return Group(
        Text.assemble((story.clock(seen.now_ms()), "bold"), f"   sun {seen.sun_w() / 1000:.1f} kW   ", state),
        circuits_table(seen.loads(), width),
        boxes_table(seen.boxes(), status),
        Text(queues(status, story)),
        Text("\n".join(list(story.lines)[-lines:]), style="dim", no_wrap=True, overflow="ellipsis"),
    )


def circuits_table(loads: Mapping[str, tuple[int, Sequence[float]]], width: int) -> Table:
    """Every circuit's phases against its limit."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("circuit", "limit", "L1", "L2", "L3"):
        table.add_column(name)
    for circuit, (limit_ma, phases) in loads.items():
        table.add_row(circuit, f"{limit_ma / 1000:.0f} A", *(bar(abs(load), limit_ma, width) for load in phases))
    return table


def bar(load_ma: float, limit_ma: int, width: int) -> Text:
    """A bar that is full at the limit, and red above it."""
    share = load_ma / limit_ma
    style = "green" if share <= 0.9 else "yellow" if share <= 1 else "bold red"
    full = min(width, round(share * width))
    return Text.assemble(("█" * full, style), ("░" * (width - full), "dim"), f" {load_ma / 1000:4.1f} A")


def boxes_table(boxes: Sequence[Mapping[str, Any]], status: Status | None) -> Table:
    """Every box: what it offers and draws by the building's truth, and the gateway's reason for it."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("box", "status", "card", "limit", "draw", "why"):
        table.add_column(name, min_width=13 if name == "status" else 6)
    reasons = {line["id"].split("/")[0]: line.get("reason") or "" for line in (status or {}).get("connectors", [])}
    for one in boxes:
        limit = "" if one["limit_ma"] is None else f"{one['limit_ma'] / 1000:.1f} A"
        draw = f"{one['draw_ma'] / 1000:.1f} A x {one['phases']}" if one["phases"] else ""
        why = reasons.get(one["name"], "") if status else "alone"
        table.add_row(one["name"], one["status"], one["card"] or "", limit, draw, why)
    return table


def queues(status: Status | None, story: Story) -> str:
    """What waits for the backend and the cloud, and the solar share, in one line."""
    if status is None:
        return "no word from the gateway"
    upstreams = status.get("upstreams", [])
    online = sum(bool(line["connected"]) for line in upstreams)
    queue, parked = (sum(line[key] for line in upstreams) for key in ("queue", "parked"))
    cloud, split = status.get("cloud", {}), status.get("split", {})
    backlog = cloud.get("backlog", {})
    share, quarter = split.get("solar_share_pct"), split.get("last_interval")
    sun = "-" if share is None else f"{share} % of the quarter from {story.clock(parse_iso(quarter))[:5]}"
    return (
        f"backend: {online} lines up, {queue} wait, {parked} parked   "
        f"cloud: {'up' if cloud.get('connected') else 'down'}, "
        f"{backlog.get('billing', 0)} billing {backlog.get('event', 0)} event wait   solar share: {sun}"
    )
