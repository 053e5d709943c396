"""I7 and I6b over runs of quarter hours: estimates only shape the curve, and the sum is what the registers say.

Between two quarter hours at which all meters of a participant were read, what it is given sums to the difference of
the registers, to the watt-hour, and that difference fits the truth; what lies in between is marked as estimated.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulators.judge.counters import advanced_wh
from simulators.judge.evidence import Evidence
from simulators.judge.records import Body
from simulators.judge.skews import ServedLog
from simulators.judge.times import QUARTER_MS, local_clock
from simulators.judge.verdict import Notes


def sums_match_registers(evidence: Evidence, newest: dict[int, Body], log: ServedLog, notes: Notes) -> None:
    """Every participant with meters of its own, from each read quarter hour to the next one that was read."""
    _settled(evidence, newest, notes)
    runs = gaps = estimated = 0
    for who, meters in evidence.place.meters_of.items():
        for first, end in _runs(newest, meters) if meters else ():
            clock = local_clock(first * QUARTER_MS, evidence.place.timezone)[:5]
            name = f"{who}, {end - first} quarter hours from {clock}"
            if any(evidence.jump_wh(meter, *_read(newest, meter, first, end)) is not None for meter in meters):
                continue  # the registers of two meters have no difference; skews.py compares with the truth
            runs += 1
            bodies = [newest[k] for k in range(first, end)]
            counted = sum(_counted(evidence, newest, meter, first, end) for meter in meters)
            given = [share for body in bodies for share in body["shares"] if share["participant"] == who]
            if len(bodies) > 1:
                gaps += 1
                estimated += len(given)
                notes.expect(all(share["estimated"] for share in given), f"{name}: estimated, and not marked so")
            if len(given) == len(bodies):
                wh = sum(share["wh"] for share in given)
                notes.expect(wh == counted, f"{name}: its shares sum to {wh} Wh, its registers say {counted}")
            _pieces(evidence, who, meters, bodies, counted, name, notes)
            _true(evidence, log, meters, first, end, newest, name, notes)
    notes.figure("runs that match registers", runs)
    notes.figure("over gaps", gaps)
    notes.figure("shares estimated", estimated)


def _settled(evidence: Evidence, newest: dict[int, Body], notes: Notes) -> None:
    """A register that can be estimated is: between two that one meter gave, before and after."""
    place = evidence.place
    own = [meter for meters in place.meters_of.values() for meter in meters]
    for k, body in newest.items():
        if body["consumption_wh"] is not None:
            continue
        clock = local_clock(k * QUARTER_MS, place.timezone)[:5]
        whole = all(
            _can_be_known(evidence, newest, meter, k)
            for meter in (place.grid, *place.producers, *place.batteries, *own)
        )
        notes.expect(not whole, f"quarter hour {clock}: every register can be estimated, and it was not settled")


def _can_be_known(evidence: Evidence, newest: dict[int, Body], meter: str, k: int) -> bool:
    """The meter was read before the end of `k` and after its start, at both its ends, and stayed the same one."""
    first = next((n for n in range(k, min(newest) - 1, -1) if _stated(newest, meter, n) is not None), None)
    end = next((n for n in range(k + 1, max(newest) + 2) if _stated(newest, meter, n) is not None), None)
    return first is not None and end is not None and evidence.jump_wh(meter, *_read(newest, meter, first, end)) is None


def _read(newest: dict[int, Body], meter: str, first: int, end: int) -> tuple[int, int]:
    """From when to when the registers at both ends count."""
    before, after = _stated(newest, meter, first), _stated(newest, meter, end)
    assert before is not None
    assert after is not None
    return int(before["requested_ms"]), int(after["replied_ms"])


def _stated(newest: dict[int, Body], meter: str, k: int) -> Body | None:
    """The boundary register at the start of `k`, which is the end of the one before."""
    for body, side in ((newest.get(k), "at_start"), (newest.get(k - 1), "at_end")):
        if body is not None:
            stated: Body | None = body[side].get(meter)
            return stated if stated is not None and stated["import_wh"] is not None else None
    return None


def _counted(evidence: Evidence, newest: dict[int, Body], meter: str, first: int, end: int) -> int:
    """What a meter has counted between two registers."""
    before, after = _stated(newest, meter, first), _stated(newest, meter, end)
    assert before is not None
    assert after is not None
    return advanced_wh(evidence, meter, int(after["import_wh"]) - int(before["import_wh"]))


def _runs(newest: dict[int, Body], meters: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """(first, end): all meters were read at the start of both, and not in between; nothing is left out."""
    last: int | None = None
    for k in sorted({*newest, *(k + 1 for k in newest)}):
        if all(_stated(newest, meter, k) is not None for meter in meters):
            if last is not None:
                yield last, k
            last = k
        if k not in newest:
            last = None


def _pieces(
    evidence: Evidence, who: str, meters: tuple[str, ...], bodies: list[Body], counted: int, name: str, notes: Notes
) -> None:
    """I6b: what a charger meter counted is its sessions and what is named beside them, whatever else is not known."""
    at_boxes = {meter for box in evidence.place.boxes.values() for meter in box.meters.values()}
    if not set(meters) <= at_boxes:
        return
    pieces = [
        piece for body in bodies for piece in (*body["sessions"], *body["outside"]) if piece["participant"] == who
    ]
    wh = sum(piece["wh"] for piece in pieces)
    notes.expect(wh == counted, f"{name}: sessions and the rest named sum to {wh} Wh, its registers say {counted}")
    for body in bodies:
        for piece in body["outside"]:
            notes.expect(
                bool(piece["name"]) and bool(piece["owner"]), f"{name}: {piece['wh']} Wh without name or owner"
            )


def _true(
    evidence: Evidence,
    log: ServedLog,
    meters: tuple[str, ...],
    first: int,
    end: int,
    newest: dict[int, Body],
    name: str,
    notes: Notes,
) -> None:
    """What was counted over a gap fits the truth; a single quarter hour is compared with all others."""
    if end - first == 1:
        return
    for meter in meters:
        stated = _stated(newest, meter, first), _stated(newest, meter, end)
        known = log.between(meter, "import_wh", stated, (first, end), notes)
        if known is not None:
            off = _counted(evidence, newest, meter, first, end) - known.true
            notes.expect(
                abs(off) <= known.bound,
                f"{name}: {meter} is off by {float(off):.1f} Wh, allowed are {float(known.bound):.1f}",
            )
