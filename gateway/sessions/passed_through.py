"""Texts that a charger signed: kept byte for byte with their verdict, inside the transaction that takes the frame in.

Nothing here can lose a text: whatever is wrong with it is told and written beside it, and it is kept all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model import Connection, Event, Severity
from gateway.records import completeness, pins
from gateway.records.completeness import Fault, Problem, Stand
from gateway.records.doctor import examine_session
from gateway.records.facts import Facts, facts_of
from gateway.records.judge import UNREADABLE, Judgement, judge
from gateway.records.public_keys import PublicKey, read_key, read_spki
from gateway.records.verify import Unreadable, Verdict, chain_hash
from gateway.records.wrappers import SignedText, signed_texts
from gateway.sessions.session import Reason, Session, State
from gateway.store import journal, records
from gateway.store import pins as kept_pins
from gateway.store.journal import JournalRow
from gateway.store.pins import KeyRow
from gateway.store.records import ChargerText, RecordRow, StreamRow

_GOOD = (Verdict.VALID, Verdict.VALID_NOT_STRICT_DER)

MAX_TEXT = 40_000
"""Characters of signed texts that go into one message: an envelope has 128 KiB, and escapes every quote twice."""


@dataclass(frozen=True)
class _Place:
    """Where a text came from."""

    charger: str
    connector: int
    entry: int
    at_ms: int

    def __str__(self) -> str:
        return f"{self.charger}/{self.connector}"


def keep_signed(db: Connection, row: JournalRow, payload: Mapping[str, Any], session: Session | None) -> list[Event]:
    """Keep every signed text of a frame; what the operator should see of it. `session` None: it belongs to none."""
    connector = session.connector if session is not None else row.connector or 0
    place = _Place(row.charger, connector, row.entry, row.at_ms)
    events: list[Event] = []
    for number, signed in enumerate(signed_texts(payload)):
        digest = hashlib.sha256(signed.text.encode()).hexdigest()
        if not records.is_kept(db, row.charger, session.id if session else "", digest):
            events += _keep(db, place, number, row.frame, signed, digest, session)
    return events


def _keep(
    db: Connection, place: _Place, number: int, frame: str, signed: SignedText, digest: str, session: Session | None
) -> list[Event]:
    facts = facts_of(signed.text)
    key, events = _key_for(db, place, facts, signed)
    judgement = judge(signed.text, key, facts)
    prev = records.head(db)
    first = not records.has_verdict(db, session.id if session is not None else "", judgement.verdict.value)
    record = records.append(
        db,
        RecordRow(
            session=session.id if session is not None else "",
            kind="passed_through",
            signed_by="charger",
            key_id="",
            charge_point=str(place),
            pagination=None,
            text=signed.text,
            reading=None,
            prev=prev,
            sha256=chain_hash(prev, signed.text),
        ),
    )
    records.describe(
        db,
        ChargerText(
            record=record,
            charger=place.charger,
            connector=place.connector,
            entry=place.entry,
            place=number,
            at_ms=place.at_ms,
            frame_sha256=hashlib.sha256(frame.encode()).hexdigest(),
            text_sha256=digest,
            wrapper=signed.wrapper,
            context=signed.context,
            method=signed.method,
            encoding=signed.encoding,
            key_received=signed.key,
            format=facts.format.value,
            verdict=judgement.verdict.value,
            reason=judgement.reason,
            spki_hex=key.spki.hex() if isinstance(key, PublicKey) else None,
        ),
    )
    if first:  # a charger may sign every minute: one word a session is enough
        events += _verdict_event(place, record, judgement)
    events += [_problem_event(place, record, problem) for problem in _follow(db, place, facts)]
    if session is not None and session.state is State.ENDED:
        events.append(_late_event(place, session, signed.text, digest))
    return events


# Keys


def _key_for(
    db: Connection, place: _Place, facts: Facts, signed: SignedText
) -> tuple[PublicKey | Unreadable | None, list[Event]]:
    """The key that counts for a text, after looking at the one that came with it.

    A key that only its own text brings is pinned once that text verifies with it: junk pins nothing.
    """
    offered, source = _offered(facts, signed)
    pinned = _in_force(db, place, facts.meter)
    fits = offered is not None and pinned is None and judge(signed.text, offered, facts).verdict in _GOOD
    events: list[Event] = []
    if offered is not None and (pinned is not None or fits):
        received = signed.key if signed.key and source is pins.Source.WRAPPER else offered.spki.hex()
        events = offer_key(db, place.charger, place.connector, facts.meter, offered, received, source, place.at_ms)
        pinned = _in_force(db, place, facts.meter)
    if pinned is not None:
        return read_spki(bytes.fromhex(pinned.spki_hex)) or UNREADABLE, events
    if offered is not None:
        return (None if fits else offered), events
    return (UNREADABLE if signed.key else None), events


def _offered(facts: Facts, signed: SignedText) -> tuple[PublicKey | None, pins.Source]:
    beside = read_key(signed.key) if signed.key else None
    return (beside, pins.Source.WRAPPER) if beside is not None else (facts.key, pins.Source.RECORD)


def _in_force(db: Connection, place: _Place, serial: str) -> pins.Pin | None:
    return pins.in_force(_pins(kept_pins.of_connector(db, place.charger, place.connector)), serial)


def offer_key(
    db: Connection, charger: str, connector: int, serial: str, key: PublicKey, received: str, source: pins.Source,
    at_ms: int,
) -> list[Event]:  # fmt: skip
    """A charger showed a public key: pin the first, alarm about another one, never overwrite."""
    known = _pins(kept_pins.of_connector(db, charger, connector))
    step = pins.decide(known, serial, key.spki.hex())
    if step in (pins.Step.NOTHING, pins.Step.SILENT):
        return []
    state = pins.State.REFUSED if step is pins.Step.ALARM else pins.State.PINNED
    kept_pins.add(
        db,
        KeyRow(
            charger=charger,
            connector=connector,
            serial=serial,
            spki_hex=key.spki.hex(),
            received=received,
            form=key.form,
            source=source.value,
            state=state.value,
            from_ms=at_ms,
        ),
    )
    return [_key_event(step, f"{charger}/{connector}", serial, key, source)]


def _pins(rows: list[KeyRow]) -> list[pins.Pin]:
    return [pins.Pin(row.serial, row.spki_hex, pins.State(row.state)) for row in rows]


def _key_event(step: pins.Step, subject: str, serial: str, key: PublicKey, source: pins.Source) -> Event:
    data = {"serial": serial, "key_id": key.key_id, "curve": key.curve.name, "source": source.value}
    meter = f"meter {serial}" if serial else "the meter"
    if step is pins.Step.ALARM:
        return Event(
            "meter_key_changed",
            subject,
            f"{meter} shows another public key ({key.key_id}) than the pinned one; it is not used",
            next_step="compare it with the key printed on the meter; if it is right, enter it with `keys pin`",
            severity=Severity.ERROR,
            data=data,
            keep=True,
        )
    if step is pins.Step.PIN_NEW_SERIAL:
        return Event(
            "meter_key_new_serial",
            subject,
            f"another meter than before signs here: {serial}, key {key.key_id}; it is pinned",
            next_step="was the meter exchanged? if not, look at the charger",
            severity=Severity.WARNING,
            data=data,
            keep=True,
        )
    return Event("meter_key_pinned", subject, f"key {key.key_id} of {meter} ({key.curve.name})", data=data, keep=True)


# Verdict and completeness


def _verdict_event(place: _Place, record: int, judgement: Judgement) -> list[Event]:
    if judgement.verdict in _GOOD:
        return []
    data = {"record": record, "verdict": judgement.verdict.value, "format": judgement.facts.format.value}
    if judgement.verdict is Verdict.INVALID:
        return [
            Event(
                "charger_record_invalid",
                str(place),
                f"record {record}: {judgement.reason}",
                next_step="it is kept as it came; compare the public key with the one on the meter, then see the maker",
                severity=Severity.WARNING,
                data=data,
                keep=True,
            )
        ]
    step = "enter the key printed on the meter with `keys pin`" if judgement.verdict is Verdict.KEY_UNKNOWN else ""
    return [
        Event(f"charger_record_{judgement.verdict.value}", str(place), judgement.reason, next_step=step, data=data)
    ]  # fmt: skip


def _follow(db: Connection, place: _Place, facts: Facts) -> list[Problem]:
    stream = completeness.stream_of(facts)
    known = records.stream(db, place.charger, *stream)
    stand = None
    if known is not None:
        gaps = tuple((int(low), int(high)) for low, high in json.loads(known.gaps))
        stand = Stand(known.first, known.page, gaps, known.clock, known.register_wh)
    after, problems = completeness.follow(stand, facts)
    if after is not None and after != stand:
        row = StreamRow(after.first, after.page, json.dumps(after.gaps), after.clock, after.register_wh)
        records.put_stream(db, place.charger, *stream, row)
    return problems


_STEPS = {
    Fault.GAP: "the charger may send it later; if not, ask its operator for the missing records",
    Fault.SERIAL: "was the meter exchanged? a person decides about this session",
    Fault.NO_END: "the charger may send it later; without it the session has no signed end",
}


def _problem_event(place: object, record: int | None, problem: Problem) -> Event:
    return Event(
        f"charger_record_{problem.fault.value}",
        str(place),
        problem.sentence if record is None else f"record {record}: {problem.sentence}",
        next_step=_STEPS.get(problem.fault, "look at the charger and its clock; the records are kept as they came"),
        severity=Severity.WARNING,
        data={"record": record, "fault": problem.fault.value},
        keep=True,
    )


def _late_event(place: _Place, session: Session, text: str, digest: str) -> Event:
    """A text of a session that was told as ended: the event carries it to the cloud."""
    return Event(
        "charger_record_late",
        str(place),
        f"a signed text came after the end of its session ({digest[:16]})",
        data={
            "session": session.id,
            "text_sha256": digest,
            "text": text if len(text) <= MAX_TEXT else None,
        },
        keep=True,
    )


# The end of a session


@dataclass(frozen=True)
class SignedSession:
    """What the charger signed in a session: texts, verdicts, and the registers digit by digit where they verify.

    `left_out` counts texts that no message has room for: readings in between, never a begin or an end before those.
    """

    texts: list[str]
    verdicts: list[str]
    left_out: int = 0
    begin: str | None = None
    end: str | None = None
    events: tuple[Event, ...] = ()

    @property
    def complete(self) -> bool:
        """Begin and end are there and their signatures hold."""
        return self.begin is not None and self.end is not None


def of_session(db: Connection, session: Session) -> SignedSession:
    """What the charger signed in a session that ends now, and what is wrong among its texts."""
    kept = records.charger_texts(db, session.id)
    if not kept:
        return SignedSession([], [], events=tuple(_missing(db, session)))
    all_facts = [(known, facts_of(text)) for known, text in kept]
    good = [facts for known, facts in all_facts if known.verdict in _GOOD]
    begin, end = completeness.begin_and_end(good)
    problems = completeness.check_session([facts for _, facts in all_facts])
    chosen = _with_room([text for _, text in kept], [facts for _, facts in all_facts])
    return SignedSession(
        [kept[number][1] for number in chosen],
        [kept[number][0].verdict for number in chosen],
        len(kept) - len(chosen),
        f"{begin.value.strip()} {begin.unit}" if begin is not None else None,
        f"{end.value.strip()} {end.unit}" if end is not None else None,
        tuple(_problem_event(session.ref, None, problem) for problem in problems),
    )


def _with_room(texts: list[str], facts: list[Facts]) -> list[int]:
    """Which texts go into one message, by their number: begins and ends first, then the others as they came."""
    bounds = [any(one.begins or one.ends for one in fact.registers) for fact in facts]
    left, chosen = MAX_TEXT, list[int]()
    for number in sorted(range(len(texts)), key=lambda number: (not bounds[number], number)):
        if len(texts[number]) <= left:
            left -= len(texts[number])
            chosen.append(number)
    return sorted(chosen)


def _missing(db: Connection, session: Session) -> list[Event]:
    """A connector whose meter's key is known signs: that nothing signed came is a fault of the charger's settings."""
    signs = bool(kept_pins.of_connector(db, session.charger, session.connector))
    if not signs or session.unbillable_reason in (Reason.REFUSED, Reason.NO_STOP):
        return []
    stops = [
        one.frame
        for one in journal.bounds_of(db, session.charger, session.transaction_id)
        if one.action == "StopTransaction"
    ]
    data = any('"transactionData"' in frame for frame in stops) if stops else None
    finding = examine_session(signs, 0, data, session.charger)
    if finding is None:
        return []
    return [
        Event(
            "charger_record_missing",
            str(session.ref),
            "no signed value came in this session",
            next_step=finding.sentence,
            severity=Severity.WARNING,
            data={"session": session.id, "transaction_data": data},
            keep=True,
        )
    ]
