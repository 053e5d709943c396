"""Keys as operations: a new signing key, a meter's public key entered by a person, and what the store says of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.clock import iso
from gateway.model import Clock, Connection, Event, Severity, Tell
from gateway.records.doctor import Examination, Setting, examine
from gateway.records.pins import Source, State
from gateway.records.public_keys import PublicKey, read_key
from gateway.records.signing import KeyFileError, RotatingSigner, Signer
from gateway.sessions.passed_through import offer_key
from gateway.site import Site
from gateway.store import pins, records
from gateway.store.database import Database
from gateway.store.pins import KeyRow


def note_key(db: Connection, signer: Signer, at_ms: int) -> Event | None:
    """Say which key signs; the event to tell where it is another one than this database saw last.

    Called at every start: so a key that was rotated, restored or exchanged while nobody ran is told as well.
    """
    before = records.key_in_force(db, signer.key_id, signer.public_spki().hex(), at_ms)
    if before is None:
        return None
    return Event(
        "signing_key_changed",
        "signing key",
        f"records are signed by {signer.key_id} from now on, until now by {before}",
        next_step="hand the new public key (zev-gateway keys) to whoever verifies your records",
        severity=Severity.WARNING,
        data={"key_id": signer.key_id, "before": before, "spki_hex": signer.public_spki().hex()},
        keep=True,
    )


def read_meter_key(text: str) -> PublicKey:
    """A key that a person entered, in any spelling. ValueError with a sentence."""
    key = read_key(text)
    if key is None:
        raise ValueError(
            "this is no public key in a form that is known: PEM, hex of 96, 128, 130, 182 or more characters, base64, "
            "or oca:base16:asn1:..."
        )
    return key


def pin_key(
    db: Connection, *, charger: str, connector: int, serial: str, text: str, at_ms: int, who: str, why: str
) -> tuple[KeyRow, Event]:
    """A person's decision: this key counts for this meter from now on. The row, and what to tell. ValueError."""
    key = read_meter_key(text)
    row = KeyRow(
        charger=charger,
        connector=connector,
        serial=serial,
        spki_hex=key.spki.hex(),
        received=text,
        form=key.form,
        source=Source.PERSON.value,
        state=State.PINNED.value,
        from_ms=at_ms,
        who=who,
        why=why,
    )
    before = pins.replace_by_person(db, row)
    changed = before is not None and before.spki_hex != row.spki_hex
    event = Event(
        "meter_key_pinned",
        f"{charger}/{connector}",
        f"{who} pinned key {key.key_id} ({key.curve.name}, {key.form})"
        + (" in place of another one" if changed else ""),
        severity=Severity.WARNING if changed else Severity.INFO,
        data={
            "serial": serial,
            "key_id": key.key_id,
            "curve": key.curve.name,
            "source": Source.PERSON.value,
            "who": who,
            "why": why,
            "before": before.spki_hex if before is not None and changed else None,
        },
        keep=True,
    )
    return row, event


def take_configuration(
    db: Connection, charger: str, connectors: int, settings: Mapping[str, Setting], at_ms: int
) -> tuple[Examination, list[Event]]:
    """The answer of a charger's GetConfiguration: what to write into it, and what to tell.

    The keys that it reports (MeterPublicKey<n>) are pinned, or raise the alarm where another one is. Call it inside a
    transaction; the caller writes `to_set` with ChangeConfiguration.
    """
    found = examine(settings, connectors)
    events = [
        Event(
            "charger_signing",
            charger,
            finding.sentence,
            next_step="set it in the charger, or ask its maker" if finding.wrong else "",
            severity=Severity.WARNING if finding.wrong else Severity.INFO,
            keep=finding.wrong,
        )
        for finding in found.findings
    ]
    for connector, (received, key) in sorted(found.keys.items()):
        events += offer_key(db, charger, connector, pins.ANY, key, received, Source.CONFIGURATION, at_ms)
    return found, events


def plain(row: KeyRow) -> dict[str, Any]:
    """A meter's key for status, command line and cloud."""
    return {
        "charger": row.charger,
        "connector": row.connector,
        "serial": row.serial,
        "spki_hex": row.spki_hex,
        "received": row.received,
        "form": row.form,
        "source": row.source,
        "state": row.state,
        "from": iso(row.from_ms),
        "to": iso(row.to_ms) if row.to_ms is not None else None,
        "who": row.who,
        "why": row.why,
    }


class KeyOperations:
    """What can be asked of a running site about keys."""

    def __init__(self, site: Site, clock: Clock, db: Database, signer: RotatingSigner, tell: Tell) -> None:
        self._site, self._clock, self._db, self._signer, self._tell = site, clock, db, signer, tell

    async def start(self) -> None:
        """Compare the key that signs with the one that the database saw last."""
        now_ms = self._clock.utc_ms()
        event = await self._db.run(lambda connection: note_key(connection, self._signer, now_ms))
        if event is not None:
            self._tell(event)

    async def rotate(self, args: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """`keys.rotate`: a new signing key. ValueError where it cannot be."""
        now_ms = self._clock.utc_ms()

        def change(connection: Connection) -> tuple[str, Event | None]:
            """On the thread that signs: no record can be half of the old key and half of the new."""
            return self._signer.rotate(now_ms), note_key(connection, self._signer, now_ms)

        try:
            before, event = await self._db.run(change)
        except KeyFileError as error:
            raise ValueError(str(error)) from error
        if event is not None:
            self._tell(event)
        return {"v": 1, "key_id": self._signer.key_id, "before": before, "who": str(args.get("who") or actor)}

    def retire(self, connection: Connection, now_ms: int) -> Event | None:
        """This card is an old copy: its key may have signed the same pages elsewhere, and never signs again.

        On the thread that signs, inside the transaction that begins the new epoch. KeyFileError.
        """
        self._signer.retire(now_ms)
        return note_key(connection, self._signer, now_ms)

    async def pin(self, args: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """`keys.pin {charger, connector, serial?, key, why?}`. ValueError, LookupError."""
        charger, connector = str(args.get("charger", "")), args.get("connector", 1)
        known = next((one for one in self._site.chargers if one.id == charger), None)
        if known is None:
            raise LookupError(f"there is no charger {charger!r} in the site file")
        if type(connector) is not int or connector not in {one.ref.connector for one in known.connectors}:
            raise LookupError(f"charger {charger} has no connector {connector!r}")
        now_ms = self._clock.utc_ms()
        row, event = await self._db.run(
            lambda connection: pin_key(
                connection,
                charger=charger,
                connector=connector,
                serial=str(args.get("serial") or ""),
                text=str(args.get("key", "")),
                at_ms=now_ms,
                who=str(args.get("who") or actor),
                why=str(args.get("why") or ""),
            )
        )
        self._tell(event)
        return {"v": 1, "pinned": plain(row)}

    async def pinned(self, _: Mapping[str, Any], __: str) -> dict[str, Any]:
        """`keys.pinned`: every key of every meter."""
        return {"v": 1, "keys": [plain(row) for row in await self._db.run(pins.everything)]}
