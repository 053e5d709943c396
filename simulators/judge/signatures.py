"""I5: each billable session has exactly one begin and one end record, they verify, and no page is used twice."""

from __future__ import annotations

from simulators.judge import ocmf
from simulators.judge.evidence import Evidence
from simulators.judge.records import Body, Session, sessions
from simulators.judge.times import parse_utc
from simulators.judge.verdict import Finding, Notes

HONEST_LETTERS = ("U", "I")
"""A gateway's own signature never claims legal time (design 5.5)."""

TIME_MS = 15_000
"""A signed reading lies so close to the begin or end of its session."""

LATE_MS = 900_000
"""The end of a session whose stop came late is a reading at most so far beside it, the register unmoved in between."""

KEPT_MS = 10_000
"""A stop that came so much later than it says was kept by the box, or had to be sent again."""


def check(evidence: Evidence) -> Finding:
    """Verify every signed text that the cloud holds with our own reading of the format."""
    notes = Notes("I5")
    pages: dict[tuple[str, str, str, str], str] = {}
    texts: set[str] = set()
    found = sessions(evidence)
    for session in found:
        begins = 0 if _refused(session) or _never_began(evidence, session) else 1
        notes.expect(len(session.begins) == begins, f"{session.name}: {len(session.begins)} begin records")
        if not session.ends:
            continue
        notes.expect(len(session.ends) == 1, f"{session.name}: {len(session.ends)} end records")
        for end in session.ends:
            if end["billable"]:
                _billable(evidence, session, end, notes)
            else:
                notes.expect(bool(end["unbillable_reason"]), f"{session.name}: not billable, but no reason is given")
                notes.expect(end["energy_wh"] is None, f"{session.name}: not billable, but it has energy")
        texts |= _texts(session)
    for text in sorted(texts):
        _page(evidence, text, pages, notes)
    billable = sum(session.billable for session in found)
    notes.expect(billable > 0 or not evidence.must_show, "the cloud holds no session to bill")
    notes.figure("sessions to bill", billable)
    notes.figure("not to bill", sum(bool(session.ends) and not session.billable for session in found))
    notes.figure("signed texts", len(texts))
    notes.figure("keys", len(evidence.public_keys))
    return notes.finding()


def _refused(session: Session) -> bool:
    """Nobody charged: its start was refused. It is told once, by an end record with this reason."""
    return bool(session.ends) and all(
        not end["billable"] and end["unbillable_reason"] == "start_refused" for end in session.ends
    )


def _never_began(evidence: Evidence, session: Session) -> bool:
    """Its charger gave up the start and told its stop all the same: the gateway saw it end, and nothing before."""
    stops = [evidence.traffic.stops.get((end["charger"], int(end["transaction_id"]))) for end in session.ends]
    return any(stop is not None and evidence.traffic.nameless(stop) for stop in stops)


def _texts(session: Session) -> set[str]:
    bodies = session.begins + session.ends
    return {body[key] for body in bodies for key in ("ocmf_begin", "ocmf_end") if body.get(key)}


def _billable(evidence: Evidence, session: Session, end: Body, notes: Notes) -> None:
    signed = (("begin", end["ocmf_begin"]), ("end", end["ocmf_end"]))
    for which, text in signed:
        if not notes.expect(bool(text), f"{session.name}: no signed {which}"):
            continue
        record = ocmf.read(text)
        reading = record.begin() if which == "begin" else record.end()
        if not notes.expect(reading is not None, f"{session.name}: the signed {which} has no such reading"):
            continue
        assert reading is not None
        _says(evidence, session, end, which, record, reading, notes)
    told = [begin["ocmf_begin"] for begin in session.begins if begin.get("ocmf_begin")]
    notes.expect(
        all(text == end["ocmf_begin"] for text in told), f"{session.name}: the signed begin changed until the end"
    )


def _says(
    evidence: Evidence,
    session: Session,
    end: Body,
    which: str,
    record: ocmf.SignedRecord,
    reading: ocmf.SignedReading,
    notes: Notes,
) -> None:
    """The signed text says the same as the session around it."""
    name = f"{session.name}: the signed {which}"
    notes.expect(reading.wh == end[f"{which}_wh"], f"{name} says {reading.wh} Wh, the session {end[f'{which}_wh']}")
    distance = abs(evidence.off_ms(reading.at_ms, parse_utc(end[which])))  # moved since by what the clock was off
    near = distance <= TIME_MS + evidence.widen_ms
    late = which == "end" and distance <= LATE_MS and _unmoved(evidence, end, reading)
    notes.expect(near or late, f"{name} lies {distance / 1000:.1f} s beside the session's")
    notes.expect(record.user == end["id_tag"], f"{name} names the user {record.user!r}, the session {end['id_tag']!r}")
    notes.expect(reading.status == "G", f"{name} has status {reading.status}")
    if end.get("meter_serial"):
        notes.expect(
            record.meter_serial == end["meter_serial"],
            f"{name} names meter {record.meter_serial}, the session {end['meter_serial']}",
        )
    if end["signed_by"] == "gateway":
        notes.expect(reading.time_letter in HONEST_LETTERS, f"{name} claims time letter {reading.time_letter}")


def _unmoved(evidence: Evidence, end: Body, reading: ocmf.SignedReading) -> bool:
    """The stop came late (the gateway took the register at its own time), and all that the meter gave from then until
    the signed reading, and both at least once, is what was signed."""
    stop = evidence.traffic.stops.get((str(end["charger"]), int(end["transaction_id"])))
    ended_ms, wide = parse_utc(end["end"]), evidence.stated_ms
    if stop is None:
        return False
    answered_ms = min((one.at_ms for one in stop.results), default=stop.sent[-1].at_ms)
    came_ms = max((one.at_ms for one in stop.sent if one.at_ms <= answered_ms), default=stop.sent[0].at_ms)
    if came_ms - ended_ms < KEPT_MS - wide:
        return False
    given = evidence.rows(
        "truth.db",
        "SELECT DISTINCT import_wh FROM served WHERE meter = ? AND import_wh IS NOT NULL AND at_ms BETWEEN ? AND ?",
        (end["meter"], ended_ms - wide, reading.at_ms + wide),
    )
    return [int(row[0]) for row in given] == [reading.wh]


def _page(evidence: Evidence, text: str, pages: dict[tuple[str, str, str, str], str], notes: Notes) -> None:
    record = ocmf.read(text)
    key_id = record.signed_by(evidence.public_keys)
    where = f"page {record.pagination} of {record.charge_point or record.meter_serial}"
    if not notes.expect(key_id is not None, f"{where}: no public key verifies it"):
        return
    page = (str(key_id), record.charge_point, record.gateway_serial, record.pagination)
    notes.expect(pages.setdefault(page, text) == text, f"{where} is used twice under key {str(key_id)[:12]}")
