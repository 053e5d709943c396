"""`export ...`: files for people, read from the database beside a running daemon or without one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from gateway.command.directories import UserError, state_dir
from gateway.command.options import (
    From,
    Json,
    MaybeFrom,
    MaybeTo,
    Out,
    Run,
    State,
    Timezone,
    To,
    day_ms,
    deliver,
    print_json,
    span_ms,
    too_old,
    zone_of,
)
from gateway.command.session_list import open_state
from gateway.command.verification import keys_of
from gateway.export.bundle import Scope, write_bundle
from gateway.export.company_car import HEADER as CAR_HEADER
from gateway.export.company_car import car_month
from gateway.export.dialects import DIALECTS, Cell, write_table
from gateway.export.explain import explain_json, explain_text, quarters_of
from gateway.export.extras import NotInstalledError, qr_squares
from gateway.export.facts import ended_sessions, gateway_of, rules_of, session
from gateway.export.files import file_name
from gateway.export.interval_table import HEADER as INTERVAL_HEADER
from gateway.export.interval_table import interval_rows
from gateway.export.report import By, report, report_json, report_table, total
from gateway.export.session_table import session_json, session_table
from gateway.export.slip import slip_of
from gateway.export.slip_html import slip_html
from gateway.export.slip_pdf import slip_pdf
from gateway.export.transparency import transparency_xml
from gateway.model import Connection, StoreError
from gateway.sessions.reasons import phrase

export_app = typer.Typer(no_args_is_help=True, help="Files: sessions, quarter hours, slips, proofs. Wh, never money.")

DEFAULT_ZONE = "Europe/Zurich"
"""Before the first quarter hour the database does not know the time zone of its site."""


class DialectName(StrEnum):
    """How a CSV file is written."""

    EXCEL_DE = "excel-de"
    EXCEL_CH = "excel-ch"
    RFC4180 = "rfc4180"


class Language(StrEnum):
    """The language of a page."""

    DE = "de"
    FR = "fr"
    IT = "it"
    EN = "en"


class Grouping(StrEnum):
    """What a report sums up by."""

    USER = "user"
    STATION = "station"


DialectOption = Annotated[DialectName, typer.Option("--dialect", help="who reads it: a spreadsheet or a program")]
LanguageOption = Annotated[Language, typer.Option("--lang", help="language")]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="its id, or the begin of it")]


@dataclass(frozen=True)
class _Source:
    """An open database, and what every file says of it."""

    db: Connection
    folder: Path
    gateway: str
    simulation: bool
    zone: ZoneInfo


@contextmanager
def _source(state: Path | None, timezone: str | None = None) -> Iterator[_Source]:
    folder = state_dir(state)
    db = open_state(folder)
    try:
        gateway, simulation = gateway_of(db)
        zone = zone_of(timezone or str(rules_of(db).get("timezone", DEFAULT_ZONE)))
        yield _Source(db, folder, gateway, simulation, zone)
    except (LookupError, NotInstalledError) as error:
        raise UserError(str(error.args[0])) from error
    except StoreError as error:
        raise too_old(error) from error
    finally:
        db.close()


def _keys(folder: Path) -> dict[str, str]:
    return {str(key["key_id"]): str(key["spki_hex"]) for key in keys_of(folder)}


def _table(
    source: _Source, what: str, period: str, header: Sequence[str], rows: Iterable[Sequence[Cell]],
    dialect: DialectName, out: Path | None,
) -> None:  # fmt: skip
    """A CSV file in the dialect of whoever reads it."""
    data = write_table(header, rows, DIALECTS[dialect.value])
    deliver(data, out, file_name(source.gateway, what, period, "csv"))


@export_app.command()
def sessions(
    since: From,
    until: To,
    dialect: DialectOption = DialectName.RFC4180,
    out: Out = None,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Every session that ended in a period. Registers, kWh by class, quality, hash of its record."""
    with _source(state, timezone) as source:
        found = list(ended_sessions(source.db, *span_ms(since, until, source.zone)))
        if as_json:
            print_json({"v": 1, "sessions": session_json(source.gateway, source.zone, found)})
            return 0
        header, rows = session_table(source.gateway, source.zone, found)
        _table(source, "sessions", f"{since}_{until}", header, rows, dialect, out)
    return 0


@export_app.command()
def intervals(
    since: From,
    until: To,
    dialect: DialectOption = DialectName.RFC4180,
    out: Out = None,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
) -> int:
    """Every quarter hour of a period, meter by meter. Energy, register, sun, class."""
    with _source(state, timezone) as source:
        metered = rules_of(source.db).get("house", {}).get("metered", {})
        rows = interval_rows(source.db, source.zone, *span_ms(since, until, source.zone), metered)
        _table(source, "intervals", f"{since}_{until}", INTERVAL_HEADER, rows, dialect, out)
    return 0


@export_app.command()
def transparency(
    since: MaybeFrom = None,
    until: MaybeTo = None,
    one: Annotated[str | None, typer.Option("--session", metavar="SESSION", help="this session alone")] = None,
    out: Out = None,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
) -> int:
    """The signed registers as XML. For the transparency software of S.A.F.E."""
    if (one is None) == (since is None or until is None):
        raise UserError("export transparency: give either --session, or --from and --to")
    with _source(state, timezone) as source:
        if one is not None:
            found, period = [session(source.db, one)], f"session-{session(source.db, one).id[:8]}"
        else:
            assert since is not None
            assert until is not None
            found, period = list(ended_sessions(source.db, *span_ms(since, until, source.zone))), f"{since}_{until}"
        xml, held, left_out = transparency_xml(found, _keys(source.folder))
        deliver(xml.encode(), out, file_name(source.gateway, "transparency", period, "xml"))
    note = f"{held} sessions" + (f"; without a signed pair: {', '.join(left_out)}" if left_out else "")
    typer.echo(note, err=True)
    return 0


@export_app.command()
def slip(
    wanted: SessionId,
    language: LanguageOption = Language.DE,
    html: Annotated[bool, typer.Option("--html", help="a page without scripts (the default)")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="a PDF")] = False,
    out: Out = None,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
) -> int:
    """One session on one page. For the one who charged: registers as signed, kWh by class, key and its QR code."""
    if html and pdf:
        raise UserError("export slip: give either --html or --pdf")
    with _source(state, timezone) as source:
        facts = session(source.db, wanted)
        page = slip_of(
            facts, site=source.gateway, zone=source.zone, language=language.value, keys=_keys(source.folder),
            simulation=source.simulation,
        )  # fmt: skip
        squares = qr_squares(page.key.upper()) if page.key else None
        data = slip_pdf(page, squares, facts.end_ms) if pdf else slip_html(page, squares).encode()
        day = datetime.fromtimestamp(facts.end_ms // 1000, source.zone).strftime("%Y-%m-%d")
        name = file_name(source.gateway, f"slip-{facts.id[:8]}", day, "pdf" if pdf else "html")
        deliver(data, out, name)
    return 0


@export_app.command("company-car")
def company_car(
    month: Annotated[str, typer.Option(metavar="MONTH", help="such as 2026-06")],
    token: Annotated[str, typer.Option(metavar="CARD", help="the card of the car")],
    dialect: DialectOption = DialectName.EXCEL_DE,
    out: Out = None,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """The month of a company car for its employer. Card, times, registers, kWh, meter; no price, no flat sum."""
    with _source(state, timezone) as source:
        found = car_month(
            ended_sessions(source.db, *_month_ms(month, source.zone)), token, source.zone, DIALECTS[dialect.value]
        )
        if as_json:
            rows = [dict(zip(CAR_HEADER, row, strict=True)) for row in found.rows]
            print_json({"v": 1, "month": month, "energy_wh": found.energy_wh, "sessions": rows})
        else:
            _table(source, f"company-car-{token}", month, CAR_HEADER, found.rows, dialect, out)
    typer.echo(f"{found.sessions} sessions, {found.energy_wh} Wh", err=True)
    for session_id, reason in found.unmeasured:
        typer.echo(f"left out, not measured: {session_id}: {phrase(reason)}", err=True)
    return 0


@export_app.command()
def explain(
    wanted: SessionId,
    language: LanguageOption = Language.DE,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Where the electricity of a session came from. Quarter hour by quarter hour, to be recomputed by hand."""
    with _source(state, timezone) as source:
        facts = session(source.db, wanted)
        quarters = quarters_of(source.db, facts)
        if as_json:
            print_json({"v": 1, "session": facts.id, "quarters": explain_json(quarters)})
        else:
            typer.echo(explain_text(quarters, source.zone, language.value))
    return 0


@export_app.command("report")
def report_command(
    since: From,
    until: To,
    by: Annotated[Grouping, typer.Option(help="what to sum up by")] = Grouping.USER,
    dialect: DialectOption = DialectName.RFC4180,
    out: Out = None,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """The sums per user or per station. Adjacent periods add up to the watt-hour."""
    grouping: By = "user" if by is Grouping.USER else "station"
    with _source(state, timezone) as source:
        lines = report(ended_sessions(source.db, *span_ms(since, until, source.zone)), grouping)
        if as_json:
            print_json({"v": 1, "by": grouping, "lines": report_json(lines), "total": report_json([total(lines)])[0]})
            return 0
        header, rows = report_table(lines, grouping)
        _table(source, f"report-by-{grouping}", f"{since}_{until}", header, rows, dialect, out)
    typer.echo(f"{total(lines).sessions} sessions, {total(lines).energy_wh} Wh", err=True)
    return 0


@export_app.command()
def bundle(
    since: From,
    until: To,
    out: Annotated[Path, typer.Option("--out", help="a file, or a directory", metavar="FILE")] = Path(),
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
) -> int:
    """One zip for an authority. Records, keys, events, XML, readme, checksums."""
    with _source(state, timezone) as source:
        scope = Scope(source.gateway, source.simulation, source.zone, *span_ms(since, until, source.zone))
        archive = io.BytesIO()
        made = write_bundle(source.db, archive, scope, keys_of(source.folder))
        deliver(archive.getvalue(), out, file_name(source.gateway, "bundle", f"{since}_{until}", "zip"))
    typer.echo(f"{made.sessions} sessions, {made.records} records, {made.events} events", err=True)
    return 0


def _month_ms(month: str, zone: ZoneInfo) -> tuple[int, int]:
    """The instants [begin, end) of a local month. UserError."""
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", month)
    if not found:
        raise UserError(f'--month: must be a month such as 2026-06, not "{month}"')
    year, number = int(found[1]), int(found[2])
    after = f"{year + number // 12:04d}-{number % 12 + 1:02d}-01"
    return day_ms(f"{month}-01", "--month", zone), day_ms(after, "--month", zone)
