"""What is known of a charger beside its transactions: boot, acceptance, statuses, what it confirmed, CSMS profiles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.model import Connection


@dataclass(frozen=True, slots=True)
class ChargerRow:
    """One identity. `fallbacks` has the TxDefaultProfile that each connector confirmed, `configuration` what was
    written: {key: [value, status]}."""

    boot_payload: str | None = None
    boot_ms: int | None = None
    boot_told: bool = True
    accepted_ms: int | None = None
    accepted_by: str | None = None
    heartbeat_s: int | None = None
    fallbacks: dict[int, str] = field(default_factory=dict)
    configuration: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """The newest StatusNotification of a connector: it came at `at_ms`, and is `told` when the CSMS has it."""

    connector: int
    payload: str
    at_ms: int
    told: bool


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A charging profile that the CSMS set; `profile` is csChargingProfiles as it came."""

    connector: int
    profile_id: int
    purpose: str
    stack_level: int
    profile: str
    received_ms: int


def get(db: Connection, charger: str) -> ChargerRow:
    """What is known of an identity; an unknown one has the defaults."""
    row = db.execute(
        "SELECT boot_payload, boot_ms, boot_told, accepted_ms, accepted_by, heartbeat_s, fallbacks, configuration "
        "FROM charger WHERE id = ?",
        (charger,),
    ).fetchone()
    if row is None:
        return ChargerRow()
    fallbacks = {int(connector): profile for connector, profile in json.loads(row[6]).items()}
    configuration = {key: (value, status) for key, (value, status) in json.loads(row[7]).items()}
    return ChargerRow(row[0], row[1], bool(row[2]), row[3], row[4], row[5], fallbacks, configuration)


def _ensure(db: Connection, charger: str) -> None:
    db.execute("INSERT INTO charger (id) VALUES (?) ON CONFLICT (id) DO NOTHING", (charger,))


def save_boot(db: Connection, charger: str, payload: str, at_ms: int, *, told: bool) -> None:
    """The newest BootNotification."""
    _ensure(db, charger)
    db.execute(
        "UPDATE charger SET boot_payload = ?, boot_ms = ?, boot_told = ? WHERE id = ?",
        (payload, at_ms, int(told), charger),
    )


def save_boot_told(db: Connection, charger: str) -> None:
    """The CSMS knows of the newest boot."""
    db.execute("UPDATE charger SET boot_told = 1 WHERE id = ?", (charger,))


def save_accepted(db: Connection, charger: str, by: str, at_ms: int, heartbeat_s: int | None) -> None:
    """The identity was accepted; it stays so over our restarts (rule R22)."""
    _ensure(db, charger)
    db.execute(
        "UPDATE charger SET accepted_ms = ?, accepted_by = ?, heartbeat_s = ? WHERE id = ?",
        (at_ms, by, heartbeat_s, charger),
    )


def save_fallbacks(db: Connection, charger: str, fallbacks: dict[int, str]) -> None:
    """The TxDefaultProfiles that the charger confirmed."""
    _save_json(db, charger, "fallbacks", {str(connector): text for connector, text in sorted(fallbacks.items())})


def save_configuration(db: Connection, charger: str, configuration: dict[str, tuple[str, str]]) -> None:
    """The configuration keys that were written, and what came of it."""
    _save_json(db, charger, "configuration", {key: list(pair) for key, pair in sorted(configuration.items())})


def _save_json(db: Connection, charger: str, column: str, value: Any) -> None:
    _ensure(db, charger)
    db.execute(f"UPDATE charger SET {column} = ? WHERE id = ?", (json.dumps(value), charger))


def statuses(db: Connection, charger: str) -> list[StatusRow]:
    """The newest status of each connector."""
    rows = db.execute(
        "SELECT connector, payload, at_ms, told FROM connector_status WHERE charger = ? ORDER BY at_ms", (charger,)
    )
    return [StatusRow(connector, payload, at_ms, bool(told)) for connector, payload, at_ms, told in rows]


def save_status(db: Connection, charger: str, status: StatusRow) -> None:
    """Keep the newest status of a connector."""
    db.execute(
        "INSERT INTO connector_status (charger, connector, payload, at_ms, told) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (charger, connector) DO UPDATE SET payload = excluded.payload, at_ms = excluded.at_ms, "
        "told = excluded.told",
        (charger, status.connector, status.payload, status.at_ms, int(status.told)),
    )


def restamp(db: Connection, moves: Callable[[int], bool], moved: Callable[[int], int]) -> None:
    """Move when statuses and charging profiles came, where `moves` says so."""
    for table, column in (("connector_status", "at_ms"), ("csms_profile", "received_ms")):
        rows = db.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
        for number, at_ms in rows:
            if moves(at_ms):
                db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (moved(at_ms), number))


def profiles(db: Connection, charger: str) -> list[ProfileRow]:
    """The CSMS's charging profiles of a charger."""
    rows = db.execute(
        "SELECT connector, profile_id, purpose, stack_level, profile, received_ms FROM csms_profile "
        "WHERE charger = ? ORDER BY profile_id",
        (charger,),
    )
    return [ProfileRow(*row) for row in rows]


def save_profile(db: Connection, charger: str, new: ProfileRow, replaced: Iterable[int]) -> None:
    """SetChargingProfile: `replaced` are the ids that it takes the place of (OCPP 1.6 section 3.13.2)."""
    remove_profiles(db, charger, replaced)
    db.execute(
        "INSERT OR REPLACE INTO csms_profile (charger, connector, profile_id, purpose, stack_level, profile, "
        "received_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (charger, new.connector, new.profile_id, new.purpose, new.stack_level, new.profile, new.received_ms),
    )


def remove_profiles(db: Connection, charger: str, ids: Iterable[int]) -> None:
    """ClearChargingProfile."""
    db.executemany("DELETE FROM csms_profile WHERE charger = ? AND profile_id = ?", [(charger, one) for one in ids])
