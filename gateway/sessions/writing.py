"""What a session leaves behind, written in the transaction that changes it: its signed records and its billing rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from gateway import __version__
from gateway.clock import iso
from gateway.model import Connection, Event, Reading, Severity, Stamp
from gateway.records import ocmf
from gateway.records.bodies import Body, SessionBegin, SessionEnd
from gateway.records.signing import Signer
from gateway.records.verify import chain_hash
from gateway.sessions.passed_through import SignedSession
from gateway.sessions.reasons import phrase
from gateway.sessions.session import Reason, Session
from gateway.site import Site
from gateway.store import outbox, readings, records
from gateway.store.outbox import Identity
from gateway.store.records import RecordRow

NEXT_STEPS: dict[str, str] = {
    Reason.NO_METER: (
        "give the connector its meter in the site's configuration; a person decides about this session, "
        "by the charger's registers (basis charger)"
    ),
    Reason.NO_BEGIN: "check that the connector's meter answers (status, meters)",
    Reason.NO_END: "check that the connector's meter answers (status, meters); a person decides about this session",
    Reason.CHARGER_ONLY: "a person decides about this session; the charger's own registers stand beside",
    Reason.NO_STOP: "a person decides about this session",
    Reason.STRAY_STOP: "a person decides about this session; the charger or its backend may know its start",
    Reason.BEFORE_US: "a person decides about this session; who billed here before may know it",
    Reason.SWAPPED: "a person decides about this session, with the readings of both meters",
    Reason.WENT_BACK: (
        "check the meter: was it reset, or did its register begin again at 0? "
        "a person decides about this session, by the charger's registers (basis charger)"
    ),
}
"""Why a session is not billable -> what to do about it."""


def new_id(random: Random) -> str:
    """A random UUID."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


def append(db: Connection, who: Identity, random: Random, stamp: Stamp, schema: str, body: Body) -> None:
    """Put one body into the billing lane."""
    outbox.append(
        db, who, lane="billing", schema=schema, body=body.model_dump_json(), stamp=stamp, rid=new_id(random)
    )  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """Writes records and bodies; a call happens inside a transaction."""

    site: Site
    who: Identity
    signer: Signer
    random: Random

    def begin(self, db: Connection, session: Session, reading: Reading | None, stamp: Stamp) -> None:
        """The begin record, where there is a begin register, and the row that tells of it."""
        signed = None
        if reading is not None and session.begin_wh is not None:
            readings.keep(db, reading, "begin")
            signed = self._sign(db, session, "begin", "B", reading)
        body = SessionBegin(
            session=session.id,
            charger=session.charger,
            connector=session.connector,
            transaction_id=session.transaction_id,
            id_tag=session.id_tag,
            tenant=session.tenant,
            participant=session.participant,
            begin=iso(session.begin_ms),
            begin_quality=session.begin_q,
            begin_wh=session.begin_wh,
            begin_provenance=session.begin_provenance,
            charger_begin_wh=session.charger_begin_wh,
            meter=session.meter,
            ocmf_begin=signed,
        )
        append(db, self.who, self.random, stamp, "session.begin.v1", body)

    def end(
        self, db: Connection, session: Session, reading: Reading | None, stamp: Stamp, signed: SignedSession
    ) -> None:
        """The end record, where the session is billable, and the row with all texts; `signed` are the charger's."""
        kept = records.of_session(db, session.id)
        texts = {record.kind: record.text for record in kept if record.signed_by == "gateway"}
        if reading is not None:
            readings.keep(db, reading, "end")
            if session.billable:
                letter, begin = ocmf.end_letter(session.stop_reason), self._begin_by_another_key(kept)
                texts["end"] = self._sign(db, session, "end", letter, reading, begin)
        body = SessionEnd(
            session=session.id,
            charger=session.charger,
            connector=session.connector,
            transaction_id=session.transaction_id,
            id_tag=session.id_tag,
            tenant=session.tenant,
            participant=session.participant,
            begin=iso(session.begin_ms),
            end=iso(session.end_ms or session.begin_ms),
            stop=iso(session.stop_ms or session.begin_ms),
            begin_quality=session.begin_q,
            end_quality=session.end_q or session.begin_q,
            begin_wh=session.begin_wh,
            end_wh=session.end_wh,
            begin_provenance=session.begin_provenance,
            end_provenance=session.end_provenance,
            charger_begin_wh=session.charger_begin_wh,
            charger_end_wh=session.charger_end_wh,
            energy_wh=session.energy_wh,
            stop_reason=session.stop_reason,
            billable=session.billable,
            unbillable_reason=session.unbillable_reason,
            meter=session.meter,
            meter_serial=session.meter_serial,
            signed_by="gateway" if texts else "charger" if signed.complete else "none",
            ocmf_begin=texts.get("begin"),
            ocmf_end=texts.get("end"),
            charger_records=signed.texts,
            charger_verdicts=signed.verdicts,
            charger_records_left_out=signed.left_out,
            charger_signed_begin=signed.begin,
            charger_signed_end=signed.end,
        )
        append(db, self.who, self.random, stamp, "session.end.v1", body)

    def _begin_by_another_key(self, kept: Sequence[RecordRow]) -> RecordRow | None:
        """The begin record where the key was changed since."""
        signed = (one for one in kept if one.signed_by == "gateway" and one.kind == "begin")
        return next((one for one in signed if one.key_id != self.signer.key_id), None)

    def _sign(
        self, db: Connection, session: Session, kind: str, letter: ocmf.Transaction, reading: Reading,
        begin: RecordRow | None = None,
    ) -> str:  # fmt: skip
        """Sign one reading and keep the text; its number and its place in the chain are drawn here.

        `begin` is the begin record where another key signed it: the end then holds both readings under one key.
        """
        place, prev = str(session.ref), records.head(db)
        page = records.next_page(db, self.signer.key_id, place)
        signed = ocmf.payload(
            ocmf.Statement(
                transaction=letter,
                reading=reading,
                session=session.id,
                charger=session.charger,
                connector=session.connector,
                id_tag=session.id_tag,
                id_type="ISO14443" if self._is_rfid(session.id_tag) else "UNDEFINED",
                authorised_by="csms" if session.authorised_by == "csms" else "gateway",
                pagination=page,
                key_id=self.signer.key_id,
                version=__version__,
                prev=prev,
                simulation=self.site.simulation,
                meter_serial=next((meter.serial for meter in self.site.meters if meter.id == reading.meter), None),
                begin=readings.load(begin.reading) if begin is not None else None,
                begin_key=begin.key_id if begin is not None else "",
                unconfirmed=not outbox.is_confirmed(db, self.who),
            )
        )
        text = ocmf.record_text(signed, self.signer.sign(signed.encode()))
        row = RecordRow(
            session=session.id,
            kind=kind,
            signed_by="gateway",
            key_id=self.signer.key_id,
            charge_point=place,
            pagination=page,
            text=text,
            reading=readings.dump(reading),
            prev=prev,
            sha256=chain_hash(prev, text),
        )
        records.append(db, row)
        return text

    def _is_rfid(self, id_tag: str) -> bool:
        """Whether the id is that of a card (ISO 14443: 4, 7 or 10 bytes); a name given to a card is UNDEFINED."""
        wanted = id_tag.lower()
        known = any(token.id.lower() == wanted and token.kind == "rfid" for token in self.site.tokens)
        return known and re.fullmatch(r"([0-9a-f]{8}|[0-9a-f]{14}|[0-9a-f]{20})", wanted) is not None


def ended_event(session: Session, signed: SignedSession) -> Event:
    """What the operator sees of the end of a session; `signed` is what its charger signed."""
    if session.billable:
        return Event(
            "session_ended", str(session.ref), f"{session.energy_wh} Wh",
            data={"session": session.id, "energy_wh": session.energy_wh},
        )  # fmt: skip
    reason = session.unbillable_reason or ""
    why = phrase(reason)
    cause = f"{why}; the charger signed {signed.begin} and {signed.end}" if signed.complete else why
    return Event(
        "session_unbillable",
        str(session.ref),
        cause,
        next_step=NEXT_STEPS.get(reason, ""),
        severity=Severity.INFO if reason == Reason.REFUSED else Severity.WARNING,
        data={
            "session": session.id,
            "transaction_id": session.transaction_id,
            "charger_begin_wh": session.charger_begin_wh,
            "charger_end_wh": session.charger_end_wh,
            "charger_signed_begin": signed.begin,
            "charger_signed_end": signed.end,
        },
        keep=True,
    )
