"""Public keys of chargers' meters: one in force per charger, connector and serial; none is ever deleted."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Connection

ANY = ""
"""The serial of a pin that counts for every meter of its connector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key. `received` is the text as it came, `form` names that spelling, `spki_hex` is the normalised key."""

    charger: str
    connector: int
    serial: str
    spki_hex: str
    received: str
    form: str
    source: str
    state: str
    from_ms: int
    to_ms: int | None = None
    who: str = ""
    why: str = ""
    id: int = 0


_COLUMNS = "charger, connector, serial, spki_hex, received, form, source, state, from_ms, to_ms, who, why"


def of_connector(db: Connection, charger: str, connector: int) -> list[KeyRow]:
    """Every key of a connector, oldest first. Keys of connector 0 are of the whole charger and come too."""
    rows = db.execute(
        f"SELECT {_COLUMNS}, id FROM charger_key WHERE charger = ? AND connector IN (0, ?) ORDER BY id",
        (charger, connector),
    )
    return [_row(row) for row in rows]


def everything(db: Connection) -> list[KeyRow]:
    """Every key of the site."""
    rows = db.execute(f"SELECT {_COLUMNS}, id FROM charger_key ORDER BY charger, connector, serial, id")
    return [_row(row) for row in rows]


def add(db: Connection, row: KeyRow) -> None:
    """Keep a key. StoreError (constraint) where one is already in force for this meter: it is never overwritten."""
    db.execute(
        f"INSERT INTO charger_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.charger, row.connector, row.serial, row.spki_hex, row.received, row.form, row.source, row.state,
            row.from_ms, row.to_ms, row.who, row.why,
        ),
    )  # fmt: skip


def replace_by_person(db: Connection, row: KeyRow) -> KeyRow | None:
    """A person's decision: `row` comes into force, the one before it stays as replaced. The one before it."""
    before = next(
        (
            one
            for one in of_connector(db, row.charger, row.connector)
            if one.state == "pinned" and one.serial == row.serial and one.connector == row.connector
        ),
        None,
    )
    if before is not None and before.spki_hex == row.spki_hex:
        return before
    if before is not None:
        db.execute("UPDATE charger_key SET state = 'replaced', to_ms = ? WHERE id = ?", (row.from_ms, before.id))
    add(db, row)
    return before


def _row(values: tuple[object, ...]) -> KeyRow:
    names = (*_COLUMNS.split(", "), "id")
    return KeyRow(**dict(zip(names, values, strict=True)))  # type: ignore[arg-type]
