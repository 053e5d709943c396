"""`session decide`, `period ...`, `epoch confirm`, `import`, `purge`: what a person does to the bills."""

from __future__ import annotations

import csv
import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.command.alone import act
from gateway.command.directories import UserError
from gateway.command.options import Json, Run, State, print_json

session_app = typer.Typer(help="Decide about a session that is not billable by itself.", no_args_is_help=True)
period_app = typer.Typer(help="Close or reopen a billing period.", no_args_is_help=True)

epoch_app = typer.Typer(help="What came back with an old copy of the card.", no_args_is_help=True)

Why = Annotated[str, typer.Option("--reason", help="why; it is kept for ever", metavar="TEXT")]
Who = Annotated[str | None, typer.Option("--actor", help="who does it; else the user of this machine", metavar="NAME")]

SiteFile = Annotated[
    Path | None,
    typer.Option("--config", help="the site file, where no gateway runs; else the usual one", metavar="SITE.toml",
                 readable=False),
]  # fmt: skip

AT_ONCE = 500
"""Values in one question, which is a line of at most 64 KiB. A fault in a later part leaves those before it taken."""

MAX_SERIES_BYTES = 16 * 1024 * 1024


@session_app.command()
def decide(
    session: Annotated[str, typer.Argument(help="the id of the session", metavar="SESSION")],
    decision: Annotated[str, typer.Argument(help="bill or waive", metavar="bill|waive")],
    reason: Why,
    actor: Who = None,
    begin_wh: Annotated[int | None, typer.Option(help="begin register, where the session has none")] = None,
    end_wh: Annotated[int | None, typer.Option(help="end register")] = None,
    basis: Annotated[str, typer.Option(help="whose registers: meter or charger", metavar="meter|charger")] = "meter",
    config: SiteFile = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Bill it by registers that you stand for, or waive it. The signed records stay as they are."""
    registers = {"begin_wh": begin_wh, "end_wh": end_wh}
    given = {name: wh for name, wh in registers.items() if wh is not None}
    body = act(
        state, runtime, config, "session.decide", session=session, decision=decision, reason=reason,
        actor=_actor(actor), basis=basis, **given,
    )  # fmt: skip
    said = f"{body['energy_wh']} Wh are billed" if body["bill"] else "it is waived"
    _answer(body, as_json, f"session {session}: {said} (version {body['version']})")
    return 0


@period_app.command()
def close(
    period: Annotated[str, typer.Argument(help="such as 2026-06, 2026-Q2 or 2026", metavar="PERIOD")],
    reason: Why,
    actor: Who = None,
    accept_provisional: Annotated[bool, typer.Option(help="also with quarter hours that lack data")] = False,
    config: SiteFile = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Nothing in it changes from now on; what comes late is named."""
    body = act(
        state, runtime, config, "period", act="close", period=period, reason=reason, actor=_actor(actor),
        accept_provisional=accept_provisional,
    )  # fmt: skip
    unknown = body.get("unknown")
    without = f"; {unknown} quarter hours have no balance and are in no sum: see their reasons" if unknown else ""
    sums = f"{body['consumption_wh']} Wh, {body['solar_wh']} Wh of them solar"
    undecided = len(body.get("undecided", []))
    waits = f"; {undecided} sessions in it wait for a decision: zev-gateway sessions --undecided" if undecided else ""
    _answer(body, as_json, f"{period} is closed: {sums}{without}{waits}")
    return 0


@period_app.command()
def reopen(
    period: Annotated[str, typer.Argument(help="such as 2026-06", metavar="PERIOD")],
    reason: Why,
    actor: Who = None,
    rules: Annotated[
        str, typer.Option(help="kept: as it was in force then; current: by today's configuration", metavar="RULES")
    ] = "kept",
    config: SiteFile = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """What came late is applied, as new versions."""
    body = act(
        state, runtime, config, "period", act="reopen", period=period, reason=reason, actor=_actor(actor), rules=rules
    )  # fmt: skip
    _answer(body, as_json, f"{period} is open again (version {body['version']})")
    return 0


@epoch_app.callback()
def _epoch() -> None:
    """A group, so that its one command is named."""


@epoch_app.command()
def confirm(
    reason: Why,
    actor: Who = None,
    config: SiteFile = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """You have checked what a restored copy lacks. The red line goes; who, when and why stay in the chain."""
    done = act(state, runtime, config, "epoch.confirm", reason=reason, actor=_actor(actor))
    _answer(
        done, as_json, f"the copy that was found at {done['restored']} is checked: {done['actor']}: {done['reason']}"
    )
    return 0


@period_app.command("list")
def list_periods(config: SiteFile = None, state: State = None, runtime: Run = None, as_json: Json = False) -> int:
    """Every period that was closed or reopened: who, when, why."""
    found = act(state, runtime, config, "period", act="list")["periods"]
    lines = [f"{one['period']}  {one['state']}  {one['at']}  {one['actor']}: {one['reason']}"
             + (f"  ({one['late']} quarter hours would change)" if one["late"] else "") for one in found]  # fmt: skip
    _answer({"periods": found}, as_json, "\n".join(lines) or "no period was ever closed")
    return 0


def import_series(
    series: Annotated[str, typer.Argument(help="leg: what the community gave; price: a dynamic tariff")],
    file: Annotated[
        Path, typer.Argument(help="CSV with the columns start,wh or start,price", metavar="FILE", readable=False)
    ],
    unit: Annotated[str | None, typer.Option(help="of the prices, such as CHF/kWh")] = None,
    vat_included: Annotated[bool | None, typer.Option("--vat-included/--without-vat")] = None,
    config: SiteFile = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """A series by quarter hours; what it changes is settled again."""
    more = {"unit": unit, "vat_included": vat_included}
    given = {name: value for name, value in more.items() if value is not None}
    values, result = _values(file), {"values": 0, "changed": 0}
    for first in range(0, len(values), AT_ONCE):
        part = values[first : first + AT_ONCE]
        taken = act(state, runtime, config, "import", series=series, values=part, source=file.name, **given)
        result = {name: count + taken[name] for name, count in result.items()}
    _answer(result, as_json, f"{result['values']} quarter hours, {result['changed']} of them new or changed")
    return 0


def purge(
    before: Annotated[str, typer.Option(help="at least four years ago, such as 2022-01-01", metavar="DAY")],
    config: SiteFile = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Make room: old messages that the cloud has, old journal. Records and registers stay."""
    result = act(state, runtime, config, "purge", before=before)
    _answer(result, as_json, f"{result['outbox']} messages and {result['journal']} journal entries are gone")
    return 0


def _values(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_SERIES_BYTES + 1)
        rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is no CSV in UTF-8: {error}") from error
    if len(content) > MAX_SERIES_BYTES:
        raise UserError(f"{file} is larger than 16 MiB: import it in parts")
    return [_value(number, row) for number, row in enumerate(rows, start=2)]


def _value(line: int, row: dict[str, Any]) -> dict[str, Any]:
    wh = row.get("wh")
    if wh is None:
        return {"start": row.get("start"), "price": row.get("price")}
    try:
        return {"start": row.get("start"), "wh": int(wh)}
    except ValueError as error:
        raise UserError(f'line {line}: wh must be whole watt-hours, not "{wh}"') from error


def _actor(given: str | None) -> str:
    return given or getpass.getuser()


def _answer(document: dict[str, Any], as_json: bool, sentence: str) -> None:
    if as_json:
        print_json({"v": 1, **document})
    else:
        typer.echo(sentence)
