"""`keys rotate`, `keys pin`: through the daemon where one runs, else on the state directory under its lock."""

from __future__ import annotations

import getpass
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gateway.clock import RealClock
from gateway.command.control_client import ask
from gateway.command.directories import UserError, look_into
from gateway.model import Connection, Event, Stamp, StoreError
from gateway.records.signing import FileSigner, KeyFileError
from gateway.sessions import keys, notices
from gateway.store import meta, outbox, pins
from gateway.store.database import migrate
from gateway.store.lock import StateTakenError, hold
from gateway.store.sqlite import connect

MAX_KEY_BYTES = 8192


def rotate_key(state: Path, runtime: Path) -> dict[str, Any]:
    """A new signing key. UserError. Without a daemon its next start tells of it, chained like every event."""
    with _alone(state) as alone:
        if not alone:
            return ask(runtime, "keys.rotate", who=_who())
        with _database(state) as db:
            simulation, signer_kind = meta.get(db, "kind") == "simulation", meta.get(db, "signer") or "file"
        if signer_kind != "file":
            raise UserError(
                f"this site signs with its {signer_kind}: make a new key pair there with the maker's tool, "
                "and start the gateway; the old public key stays listed"
            )
        try:
            signer = FileSigner.open(state / "keys", simulation=simulation, now_ms=RealClock().utc_ms())
            before = signer.rotate(RealClock().utc_ms())
        except KeyFileError as error:
            raise UserError(str(error)) from error
        return {"v": 1, "key_id": signer.key_id, "before": before, "who": _who()}


def pin_meter_key(
    state: Path, runtime: Path, file: Path, charger: str, connector: int, serial: str, why: str
) -> dict[str, Any]:
    """Pin a meter's public key, in any spelling, from a file. UserError."""
    try:
        text = file.read_bytes()[:MAX_KEY_BYTES].decode("utf-8-sig").strip()
        keys.read_meter_key(text)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error
    with _alone(state) as alone:
        if not alone:
            arguments = {"charger": charger, "connector": connector, "serial": serial, "key": text, "why": why}
            return ask(runtime, "keys.pin", **arguments, who=_who())
        now = RealClock().now()
        with _database(state) as db:
            row, event = keys.pin_key(
                db,
                charger=charger,
                connector=connector,
                serial=serial,
                text=text,
                at_ms=now.utc_ms,
                who=_who(),
                why=why,
            )
            _write_event(db, event, now)
        return {"v": 1, "pinned": keys.plain(row)}


def meter_keys(db: Connection) -> list[dict[str, Any]]:
    """Every key of every meter. UserError where the database is of an older gateway."""
    try:
        return [keys.plain(row) for row in pins.everything(db)]
    except StoreError as error:
        raise UserError("the database has no keys of meters yet: start the gateway once") from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for this user
        return f"user {os.getuid()}"


@contextmanager
def _alone(state: Path) -> Iterator[bool]:
    """Whether no daemon uses the state directory; none can start while the block runs. UserError."""
    look_into(state, f"there is no state directory {state}")
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(state))
        except StateTakenError:
            alone = False
        except OSError as error:
            raise UserError(f"{state} cannot be written by this user ({error.strerror}): use sudo") from error
        else:
            alone = True
        yield alone


@contextmanager
def _database(state: Path) -> Iterator[Connection]:
    """The database for one transaction. UserError."""
    path = state / "billing.db"
    look_into(path, f"there is no database in {state}")
    try:
        db = connect(path)
    except StoreError as error:
        raise UserError(f"{path} cannot be opened ({error})") from error
    try:
        db.execute("PRAGMA synchronous=FULL").fetchall()
        migrate(db)
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    except StoreError as error:
        raise UserError(f"{path} cannot be written ({error})") from error
    finally:
        db.close()


def _write_event(db: Connection, event: Event, now: Stamp) -> None:
    """Put it into the event lane, chained, with the decision that it tells of."""
    gw, epoch = meta.get(db, "gw"), meta.get(db, "epoch")
    if gw is None or epoch is None:
        raise UserError("the database belongs to no site yet: start the gateway once")
    who = outbox.Identity(gw=gw, epoch=epoch, boot=int(meta.get(db, "boot") or 0))
    notices.append(db, who, random.SystemRandom(), now, event)
