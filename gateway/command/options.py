"""The options that several commands share, and how a day, a time zone and a document are spelled."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from gateway.command.directories import UserError
from gateway.export.files import write_whole
from gateway.model import StoreError

State = Annotated[
    Path | None, typer.Option("--state", help="where the gateway keeps its state", metavar="DIR", readable=False)
]
Run = Annotated[Path | None, typer.Option("--run", help="where control.sock is", metavar="DIR", readable=False)]
Json = Annotated[bool, typer.Option("--json", help="one JSON document; its fields only grow")]
From = Annotated[str, typer.Option("--from", metavar="DAY", help="the first day, such as 2026-06-01")]
To = Annotated[str, typer.Option("--to", metavar="DAY", help="the first day that no longer counts")]
MaybeFrom = Annotated[str | None, typer.Option("--from", metavar="DAY", help="the first day, such as 2026-06-01")]
MaybeTo = Annotated[str | None, typer.Option("--to", metavar="DAY", help="the first day that no longer counts")]
Timezone = Annotated[str | None, typer.Option(help="of the days and times; else that of the site")]
Out = Annotated[
    Path | None, typer.Option("--out", help="a file, or a directory for a file of the usual name", metavar="FILE")
]


def too_old(error: StoreError) -> UserError:
    """What a person is told where a table is missing, or the file cannot be read."""
    return UserError(f"the database cannot be read ({error}): start the gateway once, it updates an older one")


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name. UserError."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f'--timezone: there is no time zone "{name}", such as Europe/Zurich') from error


def day_ms(text: str, option: str, zone: ZoneInfo) -> int:
    """UTC ms of the local midnight that begins a day. UserError."""
    try:
        return round(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise UserError(f'{option}: must be a day such as 2026-06-01, not "{text}"') from error


def span_ms(since: str, until: str, zone: ZoneInfo) -> tuple[int, int]:
    """The instants [from, to) of two local days. UserError where nothing lies between them."""
    from_ms, to_ms = day_ms(since, "--from", zone), day_ms(until, "--to", zone)
    if from_ms >= to_ms:
        raise UserError(f"--to: {until} must be after --from {since}: it is the first day that no longer counts")
    return from_ms, to_ms


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


def deliver(data: bytes, out: Path | None, name: str) -> Path | None:
    """Write to `out` (a directory: under `name`) whole or not at all, or to standard output. UserError."""
    if out is None:
        typer.get_binary_stream("stdout").write(data)
        return None
    path = out / name if out.is_dir() else out
    try:
        write_whole(path, data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or os.strerror(error.errno or 0)}") from error
    typer.echo(f"{path}", err=True)
    return path
