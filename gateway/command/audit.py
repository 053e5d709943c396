"""`audit`: recompute every split from the kept registers, and say what differs."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gateway.command.directories import UserError, state_dir
from gateway.command.export import DEFAULT_ZONE
from gateway.command.options import Json, MaybeFrom, MaybeTo, Run, State, Timezone, day_ms, print_json, too_old, zone_of
from gateway.command.session_list import open_state
from gateway.export.audit import Audit, audit
from gateway.export.facts import rules_of
from gateway.model import INTERVAL_MS, StoreError

FAR_K = 1 << 31
SHOWN = 40
"""Differences that a person is shown; --json has all."""


def audit_command(
    since: MaybeFrom = None,
    until: MaybeTo = None,
    script: Annotated[bool, typer.Option("--script", help="print the plain script that a sceptic runs alone")] = False,
    timezone: Timezone = None,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Recompute every split from the kept registers. A second implementation does it, and says what differs."""
    if script:
        typer.echo((resources.files("gateway.export") / "audit_script.py").read_text(encoding="utf-8"), nl=False)
        return 0
    db = open_state(state_dir(state))
    try:
        zone = zone_of(timezone or str(rules_of(db).get("timezone", DEFAULT_ZONE)))
        first = day_ms(since, "--from", zone) // INTERVAL_MS if since else 0
        end = day_ms(until, "--to", zone) // INTERVAL_MS if until else FAR_K
        if first >= end:
            raise UserError(f"--to: {until} must be after --from {since}: it is the first day that no longer counts")
        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
            task = bar.add_task("quarter hours", total=None)
            found = audit(db, first, end, lambda done, whole: bar.update(task, completed=done, total=whole))
    except StoreError as error:
        raise too_old(error) from error
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise UserError(f"the database holds something that no audit can read ({error}): run doctor", 1) from error
    finally:
        db.close()
    if as_json:
        print_json({"v": 1, **asdict(found)})
    else:
        _show(found)
    return 1 if found.differences else 0


def _show(found: Audit) -> None:
    for one in found.differences[:SHOWN]:
        typer.echo(f"{one.where}  {one.what}: stated {one.stated}, recomputed {one.recomputed}")
    if len(found.differences) > SHOWN:
        typer.echo(f"... and {len(found.differences) - SHOWN} more: --json has all")
    typer.echo(
        f"{found.quarters} quarter hours and {found.sessions} sessions recomputed: {len(found.differences)} differences"
    )
    if found.unknown:
        typer.echo(f"{found.unknown} quarter hours are not known, and the gateway says so too")
    if found.late:
        typer.echo(
            f"{len(found.late)} values of closed quarter hours would change by late data: period reopen applies it"
        )
