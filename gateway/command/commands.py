"""The commands that a person types, but `run` and `health` (see `cli.py`). Each translates to one question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from gateway.command import screens
from gateway.command.addresses import charger_urls, local_addresses
from gateway.command.checkup import check_up
from gateway.command.control_client import ask
from gateway.command.directories import UserError, run_dir, state_dir
from gateway.command.session_list import FAR_MS, list_sessions, open_state
from gateway.command.verification import keys_of, read_key, verify_file, verify_store

app = typer.Typer(
    name="zev-gateway",
    help="Wallboxes, fuses, meters and the shared sun of one apartment building.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Config = Annotated[Path, typer.Option("--config", help="the site file", metavar="SITE.toml", readable=False)]
State = Annotated[
    Path | None, typer.Option("--state", help="where the gateway keeps its state", metavar="DIR", readable=False)
]
Run = Annotated[Path | None, typer.Option("--run", help="where control.sock is", metavar="DIR", readable=False)]
Json = Annotated[bool, typer.Option("--json", help="one JSON document; its fields only grow")]


def execute(words: Sequence[str]) -> int:
    """Carry out one command line; its exit code. UserError."""
    try:
        outcome = app(args=list(words), prog_name="zev-gateway", standalone_mode=False)
    except typer.Abort:
        return 130
    except typer.Exit as leaving:
        return leaving.exit_code
    except _USAGE as error:
        raise UserError(f"{error.format_message().rstrip('.')}: see zev-gateway --help") from error
    return outcome if isinstance(outcome, int) else 0


_USAGE: type[Any] = typer.BadParameter.__bases__[0]
"""Every complaint about the words themselves; typer shows its class only through this one."""


@app.command()
def run(
    config: Config,
    state: State = None,
    runtime: Run = None,
    clock: Annotated[
        str | None, typer.Option(metavar="scaled:EPOCH,MONOTONIC,SPEED", help="a clock for demonstrations")
    ] = None,
) -> int:
    """The daemon: until SIGTERM, with READY and WATCHDOG to systemd where there is one."""
    from gateway import cli

    return cli.run(config, state, runtime, clock)


@app.command()
def check(config: Config, as_json: Json = False) -> int:
    """Every problem of the site file with its line, and what happens if the gateway dies."""
    found = check_up(config)
    if as_json:
        problems = [
            {"line": one.line or None, "place": one.place, "sentence": one.sentence, "hint": one.hint or None}
            for one in found.problems
        ]
        _print_json({"v": 1, "file": str(config), "problems": problems, "without_gateway": found.alone})
    else:
        screens.show_check(str(config), found)
    return 2 if found.problems else 0


@app.command()
def status(state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """What is connected, queued and refused; the addresses that the boxes must be given."""
    answer = ask(run_dir(runtime), "status")
    answer["addresses"] = charger_urls(answer.get("listen", []), local_addresses())
    if as_json:
        _print_json(answer)
    else:
        screens.show_status(answer)
    return 1 if answer.get("problems") else 0


@app.command()
def health(state: State = None, runtime: Run = None) -> int:
    """Is the daemon well? Exit code 0 or 1; the question that the watchdog asks."""
    from gateway import cli

    return cli.health(runtime)


@app.command()
def sessions(
    state: State = None,
    runtime: Run = None,
    since: Annotated[str | None, typer.Option("--from", metavar="DAY", help="such as 2026-06-01")] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="the first day that no longer counts")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    timezone: Annotated[str, typer.Option(help="of the days and times")] = "Europe/Zurich",
    as_json: Json = False,
) -> int:
    """The charging sessions, also while the daemon runs."""
    zone = _zone(timezone)
    db = open_state(state_dir(state))
    try:
        rows = list_sessions(db, _day_ms(since, "--from", zone, 0), _day_ms(until, "--to", zone, FAR_MS), tenant)
    finally:
        db.close()
    if as_json:
        _print_json({"v": 1, "sessions": rows})
    else:
        screens.show_sessions(rows, zone)
    return 0


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="signed texts, one a line", metavar="FILE", readable=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="every record of the store; none may be missing")] = False,
    key: Annotated[
        Path | None, typer.Option(help="public keys; else this gateway's", metavar="FILE", readable=False)
    ] = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Signatures, hash chain and pagination, of a file or of the whole store."""
    if (file is None) == (not everything):
        raise UserError("verify: give either a FILE or --all")
    folder = state_dir(state)
    if file is not None:
        keys = read_key(key) if key else [bytes.fromhex(one["spki_hex"]) for one in keys_of(folder)]
        found = verify_file(file, keys)
    else:
        db = open_state(folder)
        try:
            found = verify_store(db, folder)
        finally:
            db.close()
    if as_json:
        problems = [{"record": record, "why": why} for record, why in found.problems]
        _print_json({"v": 1, "records": found.records, "problems": problems})
    else:
        screens.show_verification(found)
    return 1 if found.problems else 0


@app.command()
def keys(state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """The public keys that ever signed here."""
    listed = keys_of(state_dir(state))
    if as_json:
        _print_json({"v": 1, "keys": listed})
    else:
        screens.show_keys(listed)
    return 0


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f'--timezone: there is no time zone "{name}", such as Europe/Zurich') from error


def _day_ms(text: str | None, option: str, zone: ZoneInfo, default: int) -> int:
    if text is None:
        return default
    try:
        return round(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone).timestamp() * 1000)
    except ValueError as error:
        raise UserError(f'{option}: must be a day such as 2026-06-01, not "{text}"') from error


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
