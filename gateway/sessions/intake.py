"""Journal entries -> sessions, inside one transaction with the cursor: nothing is taken in twice or forgotten."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.energy.tariff import interval_of
from gateway.model import Connection, ConnectorRef, Event, Reading, Severity, Stamp, StoreError
from gateway.sessions import ending
from gateway.sessions import session as machine
from gateway.sessions.passed_through import keep_signed, of_session
from gateway.sessions.reasons import phrase
from gateway.sessions.session import Reason, Session, State
from gateway.sessions.stopping import stop_time
from gateway.sessions.writing import Writer, ended_event, new_id
from gateway.site import Connector, Site
from gateway.store import intervals, journal, readings, sessions
from gateway.store.journal import JournalRow

CURSOR = "sessions"
BATCH = 50
"""Entries that are taken in with one commit."""


class EntryError(Exception):
    """An entry that is no transaction message; the text says why."""


@dataclass
class Outcome:
    """What the edge does after the commit."""

    events: list[Event] = field(default_factory=list)
    wrote: bool = False
    taken: int = 0
    waiting: list[Session] = field(default_factory=list)


@dataclass(frozen=True)
class Intake:
    """Takes the journal in. `tolerance_ms`: how late a message may come and still be of now (site time).

    `since_ms`: when the time began that we go by now; where ours is a guess, what came before bears another clock's.
    """

    site: Site
    writer: Writer
    tolerance_ms: int
    since_ms: int = 0

    def take_in(self, db: Connection, series: Mapping[str, Sequence[Reading]], stamp: Stamp) -> Outcome:
        """The next entries of the journal. `series` are the good readings of the last minutes by meter."""
        step = _Step(self, db, series, stamp)
        for row in journal.after(db, sessions.cursor(db, CURSOR), BATCH):
            step.entry(row)
            step.outcome.taken += 1
            sessions.move_cursor(db, CURSOR, row.entry)
        step.outcome.waiting = _waiting(db)
        return step.outcome

    def finish(self, db: Connection, series: Mapping[str, Sequence[Reading]], stamp: Stamp) -> Outcome:
        """End what waits for its end register and has one in `series`."""
        step = _Step(self, db, series, stamp)
        for session in _waiting(db):
            step.finish(session)
        step.outcome.waiting = _waiting(db)
        return step.outcome

    def tenant_of(self, id_tag: str, at_ms: int) -> str | None:
        """Whose card it is at this time; cards compare without regard to case (OCPP 1.6, IdToken)."""
        wanted = id_tag.lower()
        for token in self.site.tokens:
            begun = token.from_ms is None or token.from_ms <= at_ms
            over = token.to_ms is not None and token.to_ms <= at_ms
            if token.id.lower() == wanted and begun and not over:
                return token.tenant
        return None


def _waiting(db: Connection) -> list[Session]:
    return [machine.of_row(row) for row in sessions.running(db) if row["state"] == State.STOPPED]


class _Step:
    """One transaction's worth of work."""

    def __init__(self, intake: Intake, db: Connection, series: Mapping[str, Sequence[Reading]], stamp: Stamp) -> None:
        self._intake, self._db, self._series, self._stamp = intake, db, series, stamp
        self.outcome = Outcome()

    def entry(self, row: JournalRow) -> None:
        """Take in one entry. One that cannot be is undone, told and passed by: it must not stop the others."""
        self._db.execute("SAVEPOINT entry")
        try:
            self._dispatch(row)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the border of one entry: told, and the journal keeps it
            self._db.execute("ROLLBACK TO entry")
            self._tell_not_taken(row, error)
        self._db.execute("RELEASE entry")

    def _tell_not_taken(self, row: JournalRow, error: Exception) -> None:
        self.outcome.events.append(
            Event(
                "entry_not_taken_in",
                row.charger,
                f"{row.action} (journal entry {row.entry}): {type(error).__name__}: {error}",
                next_step="the entry stays in the journal; send it to the maker, and decide about the session by hand",
                severity=Severity.ERROR,
                data={"entry": row.entry},
                keep=True,
            )
        )

    def _dispatch(self, row: JournalRow) -> None:
        if row.action == journal.START:
            self._start(row)
        elif row.action == "StopTransaction":
            self._stop(row)
        elif row.action == "MeterValues":
            self._keep_signed(row, self._session_of(row))

    def _session_of(self, row: JournalRow) -> Session | None:
        if row.transaction_id is None:
            return None
        known = sessions.of_transaction(self._db, row.charger, row.transaction_id)
        return machine.meter_value(machine.of_row(known)) if known is not None else None

    def _keep_signed(self, row: JournalRow, session: Session | None) -> None:
        """Texts that the charger signed, whether or not they belong to a session that we know."""
        self.outcome.events += keep_signed(self._db, row, _payload(row), session)

    def _start(self, row: JournalRow) -> None:
        payload, answer = _payload(row), _object(row.answer, "the answer")
        if row.transaction_id is None:
            raise EntryError("a start was answered without a transaction id")
        if sessions.of_transaction(self._db, row.charger, row.transaction_id) is not None:
            return  # seen again (rule R35): the first one counts
        new = self._new(row, row.transaction_id, row.connector or 0, str(payload.get("idTag", "")))
        new = replace(new, charger_begin_wh=_whole(payload.get("meterStart")))
        info = answer.get("idTagInfo")
        status = info.get("status") if isinstance(info, dict) else None
        if status != "Accepted":
            self._put(machine.refused(new), None)
            return
        reading = readings.load(row.reading)
        for before in sessions.running_at(self._db, new.charger, new.connector):
            self._end_before(machine.of_row(before), reading, row)
        reading = self._not_before_last_end(new, reading)
        begun = machine.started(new, reading)
        self._save(begun, begun.begin_ms)
        self._intake.writer.begin(self._db, begun, reading, self._stamp)
        self.outcome.events.append(
            Event("session_began", str(begun.ref), _register(begun.begin_wh), data={"session": begun.id})
        )

    def _new(self, row: JournalRow, transaction_id: int, connector: int, id_tag: str) -> Session:
        site = self._intake.site
        place = site.connector(ConnectorRef(row.charger, connector))
        return Session(
            id=new_id(self._intake.writer.random),
            charger=row.charger,
            connector=connector,
            transaction_id=transaction_id,
            state=State.NEW,
            id_tag=id_tag,
            tenant=self._intake.tenant_of(id_tag, row.at_ms),
            participant=place.participant if place else None,
            authorised_by=row.answered_by or "gateway",
            begin_ms=row.at_ms,
            begin_q=row.ts_q,
            meter=self._own_meter(place),
        )

    def _own_meter(self, place: Connector | None) -> str | None:
        """The connector's meter. One that counts for two connectors tells nobody's session."""
        if place is None or place.meter is None:
            return None
        shared = sum(other.meter == place.meter for other in self._intake.site.connectors()) > 1
        return None if shared else place.meter

    def _end_before(self, before: Session, reading: Reading | None, row: JournalRow) -> None:
        """A session that has not ended where the next one begins: the next one's begin reading may end it."""
        if before.state is State.STOPPED:
            until_ms = max(row.at_ms, reading.requested_ms) if reading is not None else row.at_ms
            before = self.finish(before, [reading] if reading is not None else [], until_ms)
        if before.state is not State.ENDED:
            self._put(machine.next_start(before, row.at_ms, row.ts_q), None)

    def _not_before_last_end(self, new: Session, reading: Reading | None) -> Reading | None:
        """The end reading of the session before where it is newer than the one taken for this start."""
        if reading is None or new.meter is None:
            return reading
        last = sessions.last_end_on(self._db, new.meter)
        if last is None or reading.import_wh is None or last["end_wh"] <= reading.import_wh:
            return reading
        end = readings.kept_before(self._db, new.meter, last["end_ms"] + 1)
        same = end is not None and end.serial == reading.serial and end.requested_ms >= reading.requested_ms
        return end if same else reading

    def _stop(self, row: JournalRow) -> None:
        payload = _payload(row)
        own_id = payload.get("transactionId")
        transaction_id = row.transaction_id if row.transaction_id is not None else own_id
        if not isinstance(transaction_id, int):
            raise EntryError("a stop without a transaction id")
        known = sessions.of_transaction(self._db, row.charger, transaction_id)
        stop = machine.Stop(
            arrived_ms=row.at_ms,
            at_ms=stop_time(self._db, row, transaction_id, self._intake.tolerance_ms, self._intake.since_ms),
            quality=row.ts_q,
            charger_wh=_whole(payload.get("meterStop")),
            reason=_text(payload.get("reason")),
        )
        if known is None:
            new = self._new(row, transaction_id, row.connector or 0, str(payload.get("idTag", "")))
            self._keep_signed(row, new)
            self._put(machine.stray_stop(new, stop), None)
            return
        session = machine.of_row(known)
        after = machine.stopped(session, stop)
        self._keep_signed(row, after)
        if after is session:
            self._stop_again(session, stop)
            return
        self._save(after, row.at_ms)
        if after.meter is None:
            self._put(machine.without_end(after, Reason.NO_METER), None)

    def _stop_again(self, session: Session, stop: machine.Stop) -> None:
        late = session.unbillable_reason in (Reason.REFUSED, Reason.NO_STOP)
        took = (stop.charger_wh or 0) - (session.charger_begin_wh or 0)
        if late and took > 0:
            self.outcome.events.append(
                Event(
                    "energy_without_bill",
                    str(session.ref),
                    f"{phrase(session.unbillable_reason)}: the charger counted {took} Wh",
                    next_step="a person decides about this session",
                    severity=Severity.WARNING,
                    data={"session": session.id, "charger_wh": took},
                    keep=True,
                )
            )

    def finish(self, session: Session, more: Sequence[Reading] = (), until_ms: int | None = None) -> Session:
        """End a stopped session if its end register is there; the session as it then is.

        `until_ms` is when the next session at the connector began, None where none did.
        """
        known = [*self._series.get(session.meter or "", ()), *more]
        end = ending.end_of(self._db, CURSOR, session, known, self._intake.tolerance_ms, until_ms)
        return self._put(end.session, end.reading) if end is not None else session

    # Writing

    def _save(self, session: Session, changed_from_ms: int) -> None:
        sessions.put(self._db, session.row())
        intervals.mark_dirty(self._db, interval_of(changed_from_ms), interval_of(self._stamp.utc_ms))
        self.outcome.wrote = True

    def _put(self, ended: Session, reading: Reading | None) -> Session:
        """Save a session that has ended, with its record and the row that tells of it."""
        changed = ended.begin_ms if not ended.billable else min(ended.end_ms or 0, ended.stop_ms or 0)
        self._save(ended, changed)
        signed = of_session(self._db, ended)
        self._intake.writer.end(self._db, ended, reading, self._stamp, signed)
        self.outcome.events += [*signed.events, ended_event(ended, signed)]
        return ended


def _payload(row: JournalRow) -> dict[str, Any]:
    try:
        frame = json.loads(row.frame)
    except ValueError as error:
        raise EntryError(f"the frame is no JSON: {error}") from error
    if not isinstance(frame, list) or len(frame) < 4 or not isinstance(frame[3], dict):
        raise EntryError("the frame is no CALL")
    return frame[3]


def _object(text: str | None, what: str) -> dict[str, Any]:
    value = json.loads(text or "{}")
    if not isinstance(value, dict):
        raise EntryError(f"{what} is no JSON object")
    return value


def _whole(value: object) -> int | None:
    """meterStart and meterStop are whole Wh; what is not is not taken (chargers that write 12.0 mean 12)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == int(value) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _register(begin_wh: int | None) -> str:
    return f"register {begin_wh} Wh" if begin_wh is not None else "its meter could not be read"
