"""The commands that a person types, but `run` and `health` (see `cli.py`). Each translates to one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.command import acting, screens
from gateway.command.addresses import charger_urls, local_addresses
from gateway.command.audit import audit_command
from gateway.command.checkup import check_up
from gateway.command.control_client import ask
from gateway.command.directories import UserError, run_dir, state_dir
from gateway.command.export import export_app
from gateway.command.key_commands import meter_keys, pin_meter_key, rotate_key
from gateway.command.options import Json, MaybeFrom, MaybeTo, Run, State, day_ms, print_json, zone_of
from gateway.command.person import person_app
from gateway.command.session_list import FAR_MS, list_sessions, open_state, waits_for_a_person
from gateway.command.verification import keys_of, known_keys, read_keys, verify_file, verify_store

app = typer.Typer(
    name="zev-gateway",
    help="Wallboxes, fuses, meters and the shared sun of one apartment building.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Config = Annotated[Path, typer.Option("--config", help="the site file", metavar="SITE.toml", readable=False)]


def execute(words: Sequence[str]) -> int:
    """Carry out one command line; its exit code. UserError."""
    try:
        outcome = app(args=list(words), prog_name="zev-gateway", standalone_mode=False)
    except typer.Abort:
        return 130
    except typer.Exit as leaving:
        return leaving.exit_code
    except _USAGE as error:
        if "\n" in error.format_message():  # a group without a command: its help
            typer.echo(error.format_message(), err=True)
            return 2
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
    """The daemon, until SIGTERM. It tells systemd READY and WATCHDOG where there is one."""
    from gateway import cli

    return cli.run(config, state, runtime, clock)


@app.command()
def check(config: Config, as_json: Json = False) -> int:
    """Every mistake in the site file, with its line. And who may still charge if the gateway dies."""
    found = check_up(config)
    if as_json:
        problems = [
            {"line": one.line or None, "place": one.place, "sentence": one.sentence, "hint": one.hint or None}
            for one in found.problems
        ]
        print_json({"v": 1, "file": str(config), "problems": problems, "without_gateway": found.alone})
    else:
        screens.show_check(str(config), found)
    return 2 if found.problems else 0


@app.command()
def status(state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """What is connected, waiting and refused. And the addresses that the boxes must be given."""
    answer = ask(run_dir(runtime), "status")
    answer["addresses"] = charger_urls(answer.get("listen", []), local_addresses())
    if as_json:
        print_json(answer)
    else:
        screens.show_status(answer)
    return 1 if answer.get("problems") else 0


@app.command()
def health(state: State = None, runtime: Run = None) -> int:
    """Exit code 0 if the daemon is well, else 1. It is the question that the watchdog asks."""
    from gateway import cli

    return cli.health(runtime)


@app.command()
def sessions(
    state: State = None,
    runtime: Run = None,
    since: MaybeFrom = None,
    until: MaybeTo = None,
    tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
    undecided: Annotated[
        bool, typer.Option("--undecided", help="only those that wait for a person's decision")
    ] = False,
    timezone: Annotated[str, typer.Option(help="of the days and times")] = "Europe/Zurich",
    as_json: Json = False,
) -> int:
    """The charging sessions, also while the daemon runs."""
    zone = zone_of(timezone)
    from_ms = day_ms(since, "--from", zone) if since is not None else 0
    to_ms = day_ms(until, "--to", zone) if until is not None else FAR_MS
    db = open_state(state_dir(state))
    try:
        rows = list_sessions(db, from_ms, to_ms, tenant)
    finally:
        db.close()
    rows = [row for row in rows if not undecided or waits_for_a_person(row)]
    if as_json:
        print_json({"v": 1, "sessions": rows})
    else:
        screens.show_sessions(rows, zone)
    return 0


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(help="signed texts: XML, JSON, or one a line", metavar="FILE", readable=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="every record of the store; none may be missing")] = False,
    key: Annotated[
        Path | None,
        typer.Option(help="public keys; else this gateway's, the pinned ones, and those in FILE", metavar="FILE",
                     readable=False),
    ] = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Check signatures, chain and page numbers. Of a file, or with --all of the whole store."""
    if (file is None) == (not everything):
        raise UserError("verify: give either a FILE or --all")
    folder = state_dir(state)
    if file is not None:
        found = verify_file(file, read_keys(key) if key else known_keys(folder), only_these=key is not None)
    else:
        db = open_state(folder)
        try:
            with screens.progress("records") as progress:
                found = verify_store(db, folder, progress)
        finally:
            db.close()
    if as_json:
        problems = [{"record": record, "why": why} for record, why in found.problems]
        notes = [{"record": record, "what": what} for record, what in found.notes]
        values = [asdict(value) for value in found.values]
        print_json({"v": 1, "records": found.records, "problems": problems, "notes": notes, "values": values})
    else:
        screens.show_verification(found)
    return 1 if found.problems else 0


keys_app = typer.Typer(help="Public keys: our own, and those of the chargers' meters.", invoke_without_command=True)
app.add_typer(keys_app, name="keys")


@keys_app.callback()
def keys(context: typer.Context, state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """The public keys that ever signed here."""
    if context.invoked_subcommand is not None:
        return 0
    listed = keys_of(state_dir(state))
    if as_json:
        print_json({"v": 1, "keys": listed})
    else:
        screens.show_keys(listed)
    return 0


@keys_app.command()
def rotate(state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """A new signing key from now on; the old public key stays listed."""
    answer = rotate_key(state_dir(state), run_dir(runtime))
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"{answer['key_id']} signs from now on, until now {answer['before']} did")
    return 0


@keys_app.command()
def pin(
    key: Annotated[Path, typer.Argument(help="the key in any spelling: PEM, hex, base64, oca:...", metavar="FILE",
                                        readable=False)],
    charger: Annotated[str, typer.Option(help="the charger's id")],
    connector: Annotated[int, typer.Option(help="its connector")] = 1,
    serial: Annotated[str, typer.Option(help="only of the meter with this serial")] = "",
    why: Annotated[str, typer.Option(help="kept beside the decision")] = "",
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Enter the public key of a charger's meter. It takes the place of another one, which stays listed."""
    answer = pin_meter_key(state_dir(state), run_dir(runtime), key, charger, connector, serial, why)
    if as_json:
        print_json(answer)
    else:
        screens.show_meter_keys([answer["pinned"]])
    return 0


@keys_app.command()
def meters(state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """The public keys of the chargers' meters. Pinned, refused, replaced."""
    db = open_state(state_dir(state))
    try:
        rows = meter_keys(db)
    finally:
        db.close()
    if as_json:
        print_json({"v": 1, "keys": rows})
    else:
        screens.show_meter_keys(rows)
    return 0


app.command("audit")(audit_command)
app.add_typer(export_app, name="export")
app.add_typer(person_app, name="person")


app.add_typer(acting.session_app, name="session")
app.add_typer(acting.period_app, name="period")
app.add_typer(acting.epoch_app, name="epoch")
app.command("import")(acting.import_series)
app.command()(acting.purge)
