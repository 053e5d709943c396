"""Who this database is: site, epoch, boot, the newest time it has seen."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from gateway.model import Connection
from gateway.store.outbox import Identity


class ForeignStateError(Exception):
    """The state directory belongs to another site, or a simulation meets a real one."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a start found: the identity for everything it writes, and where time had got to."""

    who: Identity
    newest_ms: int
    first: bool


def get(db: Connection, key: str) -> str | None:
    """One value, None where it was never set."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def put(db: Connection, key: str, value: str) -> None:
    """Set one value."""
    db.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def begin_boot(db: Connection, gw: str, *, simulation: bool, random: Random) -> Boot:
    """Count this start and say who writes from now on. ForeignStateError where the database is not this site's."""
    kind = "simulation" if simulation else "real"
    first = get(db, "gw") is None
    if first:
        put(db, "gw", gw)
        put(db, "kind", kind)
        put(db, "epoch", f"{random.getrandbits(128):032x}")
    if (owner := get(db, "gw")) != gw:
        raise ForeignStateError(f"the state directory belongs to site {owner!r}, the configuration is of site {gw!r}")
    if (found := get(db, "kind")) != kind:
        raise ForeignStateError(f"the state directory is of a {found} site, the configuration of a {kind} one")
    boot = int(get(db, "boot") or 0) + 1
    put(db, "boot", str(boot))
    who = Identity(gw=gw, epoch=get(db, "epoch") or "", boot=boot)
    return Boot(who=who, newest_ms=newest_ms(db), first=first)


def newest_ms(db: Connection) -> int:
    """The newest time that was noted as such; 0: none."""
    return int(get(db, "newest_ms") or 0)


def beat(db: Connection, utc_ms: int, *, sure: bool = False) -> None:
    """The newest time this database has seen: the floor of the clock after a power cut without a hardware clock.

    `sure`: somebody has compared this time with that of the world.
    """
    if utc_ms > newest_ms(db):
        put(db, "newest_ms", str(utc_ms))
    if sure and get(db, "first_sure_ms") is None:
        put(db, "first_sure_ms", str(utc_ms))


def ask(db: Connection) -> None:
    """Does the disk take anything? What SQLite finds unchanged it would not write."""
    put(db, "asked", "no" if get(db, "asked") == "yes" else "yes")


def sure_before(db: Connection, utc_ms: int) -> bool:
    """Whether anything was written before this instant with a time that somebody was sure of."""
    first = get(db, "first_sure_ms")
    return first is not None and int(first) <= utc_ms
