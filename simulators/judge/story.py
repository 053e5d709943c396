"""The story: the sessions that the demo made are the sessions that the cloud may bill - no more, no fewer."""

from __future__ import annotations

from collections import Counter

from simulators.judge.evidence import Evidence
from simulators.judge.records import sessions
from simulators.judge.verdict import Finding, Notes


def check(evidence: Evidence) -> Finding:
    """Compare cars with sessions, and tenants with cards."""
    notes = Notes("story")
    running: Counter[tuple[str, str]] = Counter()
    charged: Counter[tuple[str, str]] = Counter()
    for occurrence in evidence.told("car_started", "car_stopped"):
        car = (str(occurrence.data["charger"]), str(occurrence.data["card"]).upper())
        if occurrence.what == "car_started":
            running[car] += 1
        elif notes.expect(running[car] > 0, f"the car of {car[1]} at {car[0]} stopped without a start"):
            running[car] -= 1
            charged[car] += 1
    notes.expect(bool(charged), "no car charged in the story")
    found = [session for session in sessions(evidence) if session.billable]
    billed = Counter((session.ends[0]["charger"], session.ends[0]["id_tag"].upper()) for session in found)
    for car in sorted(charged.keys() | billed.keys()):
        notes.expect(
            charged[car] == billed[car],
            f"{car[0]}: the car of {car[1]} charged {charged[car]} times, {billed[car]} sessions may be billed",
        )
    for session in found:
        end = session.ends[0]
        tenant = evidence.place.tenants.get(end["id_tag"].upper())
        notes.expect(tenant == end["tenant"], f"{session.name}: billed to {end['tenant']}, the card is {tenant}'s")
    refused = {str(occurrence.data["card"]).upper() for occurrence in evidence.told("card_refused")}
    for session in found:
        notes.expect(session.ends[0]["id_tag"].upper() not in refused, f"{session.name}: its card was refused")
    notes.figure("cars", sum(charged.values()))
    notes.figure("sessions", sum(billed.values()))
    notes.figure("cards refused", len(refused))
    return notes.finding()
