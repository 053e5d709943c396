"""`person export | forget`: what is kept about a tenant, and how it is forgotten (contract 5.5)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.clock import RealClock
from gateway.command.alone import somebody_answers
from gateway.command.control_client import ask
from gateway.command.directories import UserError, run_dir, state_dir
from gateway.command.options import Json, Out, Run, State, deliver, print_json, too_old
from gateway.command.session_list import open_state
from gateway.command.state_lock import state_lock
from gateway.export.facts import gateway_of
from gateway.export.files import file_name
from gateway.export.person import ForgetError, Forgotten, as_answer, forget, person_export
from gateway.model import StoreError
from gateway.store import meta
from gateway.store.database import Database
from gateway.store.outbox import Identity
from gateway.world import real_world

person_app = typer.Typer(no_args_is_help=True, help="What is kept about a tenant: hand it out, or forget it.")

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="as the site file names them")]


@person_app.command("export")
def export_command(tenant: Tenant, out: Out = None, state: State = None, runtime: Run = None) -> int:
    """Everything that is kept about a tenant, as one JSON document."""
    db = open_state(state_dir(state))
    try:
        document = person_export(db, tenant)
        gateway, _ = gateway_of(db)
    except LookupError as error:
        raise UserError(str(error.args[0])) from error
    except StoreError as error:
        raise too_old(error) from error
    finally:
        db.close()
    data = json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
    deliver(data, out, file_name(gateway, "person", "all", "json"))
    return 0


@person_app.command("forget")
def forget_command(
    tenant: Tenant,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    state: State = None,
    runtime: Run = None,
    as_json: Json = False,
) -> int:
    """Put a pseudonym in the place of a tenant. Signed records, and what was sent to the cloud, stay as they are."""
    if not yes:
        typer.confirm(f"Forget {tenant}? It cannot be undone", abort=True, err=True)
    folder, runtime_dir = state_dir(state), run_dir(runtime)
    if somebody_answers(runtime_dir / "control.sock"):
        answer = ask(runtime_dir, "person_forget", tenant=tenant)
    else:
        with state_lock(folder):
            answer = as_answer(asyncio.run(_forget_alone(folder / "billing.db", tenant)))
    if as_json:
        print_json(answer)
    else:
        typer.echo(
            f"{answer['sessions']} sessions and {answer['quarter_hours']} quarter hours now say {answer['pseudonym']}; "
            "take the tenant out of [[occupancy]] and [[token]] of the site file as well"
        )
    return 0


async def _forget_alone(path: Path, tenant: str) -> Forgotten:
    """Without a daemon: the state's lock is held."""
    clock = RealClock()
    world = real_world(clock)
    db = await Database.open(path, world.connect_database, world.store)
    try:
        values = await db.run(lambda connection: {name: meta.get(connection, name) for name in _META})
        clock.start_no_earlier_than(int(values["newest_ms"] or 0))
        who = Identity(str(values["gw"]), str(values["epoch"]), int(values["boot"] or 0))
        return await forget(db, who, world, tenant, "command line")
    except ForgetError as error:
        raise UserError(str(error)) from error
    finally:
        await db.close()
        world.store.shutdown()


_META = ("gw", "epoch", "boot", "newest_ms")
