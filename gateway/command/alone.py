"""What a person does to the bills: asked of the daemon, or carried out under the state's lock where none runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway.clock import RealClock
from gateway.cloud.restored import confirm_operation
from gateway.command.control_client import ask
from gateway.command.directories import UserError, run_dir, state_dir
from gateway.model import Connection, StoreError, World
from gateway.sessions.acts import Acts
from gateway.sessions.restamping import newest_written_ms
from gateway.site import Site
from gateway.site_file import SiteProblems, load_site
from gateway.store import meta
from gateway.store.database import Database, ForeignDatabaseError, NewerDatabaseError
from gateway.store.lock import StateTakenError, hold
from gateway.store.outbox import Identity
from gateway.world import real_world

SITE_FILE = Path("/etc/zev-gateway/site.toml")

ANSWER_S = 2.0


def act(state: Path | None, runtime: Path | None, config: Path | None, op: str, **args: Any) -> dict[str, Any]:
    """The result of one operation. UserError.

    Without a daemon the site file says by which periods the house bills; what changes is settled at the next start.
    """
    folder, sockets = state_dir(state), run_dir(runtime)
    if somebody_answers(sockets / "control.sock") or not (folder / "billing.db").exists():
        return ask(sockets, op, **args)
    try:
        with hold(folder):
            return asyncio.run(_alone(folder, config or SITE_FILE, op, args))
    except StateTakenError:
        return ask(sockets, op, **args)
    except (ValueError, LookupError) as error:
        raise UserError(str(error.args[0])) from error
    except StoreError as error:
        raise UserError(f"{folder / 'billing.db'} cannot be written ({error})") from error
    except (ForeignDatabaseError, NewerDatabaseError) as error:
        raise UserError(f"{folder / 'billing.db'}: {error}") from error
    except PermissionError as error:
        raise UserError(f"the state directory {folder} cannot be written ({error.strerror}): use sudo") from error


def somebody_answers(path: Path) -> bool:
    """Whether a daemon listens there; what a dead one left does not count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(ANSWER_S)
        try:
            channel.connect(str(path))
        except PermissionError:
            return True  # `ask` says what to do
        except OSError:
            return False
    return True


async def _alone(folder: Path, config: Path, op: str, args: dict[str, Any]) -> dict[str, Any]:
    site = _site(config)
    clock = RealClock()
    world = real_world(clock)
    db = await Database.open(folder / "billing.db", world.connect_database, world.store)
    try:
        who = await db.run(lambda connection: _who(connection, site))
        clock.start_no_earlier_than(await db.run(newest_written_ms))
        return await _operation(op, site, world, db, who)(args, "command line")
    finally:
        await db.close()
        world.store.shutdown()


def _operation(
    op: str, site: Site, world: World, db: Database, who: Identity
) -> Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]]:
    """As the daemon offers it; its next start wakes whoever must know."""
    acts = Acts(site, world, db, who, _nobody)
    return {
        "session.decide": acts.decide,
        "period": acts.period,
        "import": acts.import_series,
        "purge": acts.purge,
        "epoch.confirm": confirm_operation(db, who, world, _nobody, _nobody),
    }[op]


def _nobody(*_: object) -> None:
    """There is no daemon to wake."""


def _site(config: Path) -> Site:
    try:
        return load_site(config)
    except SiteProblems as found:
        raise UserError(f"no gateway runs, so the site file is needed (--config): {found.problems[0]}") from found


def _who(db: Connection, site: Site) -> Identity:
    gw, epoch, boot = (meta.get(db, name) for name in ("gw", "epoch", "boot"))
    if gw is None or epoch is None:
        raise UserError("the database belongs to no site yet: start the gateway once")
    if gw != site.id:
        raise UserError(f"the state directory belongs to site {gw!r}, the site file is of {site.id!r}: give --config")
    if meta.get(db, "kind") == "simulation":
        raise UserError("a simulated site has no time without its gateway: start it")
    return Identity(gw, epoch, int(boot or 0))
