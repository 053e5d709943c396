"""I7: in every quarter hour the shares close, the roundings are carried on exactly, and all of it fits the truth."""

from __future__ import annotations

from itertools import pairwise

from simulators.judge.carries import NANO, Versions, carried_on, carry_arithmetic, quarter_name
from simulators.judge.counters import advanced_wh
from simulators.judge.evidence import Evidence
from simulators.judge.exchanges import is_doubted
from simulators.judge.place import Place
from simulators.judge.records import Body, interval_versions, told_versions
from simulators.judge.runs import sums_match_registers
from simulators.judge.skews import AT_A_START_MS, ServedLog, compare_with_truth, written_ms
from simulators.judge.times import QUARTER_MS, grid_class, local_clock, parse_utc
from simulators.judge.verdict import Finding, Notes

CAUGHT_UP_MS = 60_000
"""A boundary that could not be written is, so soon after the disk has room again."""


def check(evidence: Evidence) -> Finding:
    """Recompute every quarter hour from its registers with fractions."""
    notes = Notes("I7")
    versions = interval_versions(evidence)
    newest = [ordered[-1] for ordered in versions.values()]
    _numbered(evidence, versions, notes)
    _chain(evidence, versions, notes)
    for body in newest:
        _closes(evidence, body, notes)
    largest = 0
    for ordered in versions.values():
        for body in ordered:
            largest = max(largest, carry_arithmetic(body, quarter_name(evidence, body), notes))
    carried_on(evidence, interval_versions(evidence, before_the_house=True), notes)
    log = ServedLog(evidence)
    _begin_once(evidence, newest, log, notes)
    compare_with_truth(evidence, newest, log, notes)
    sums_match_registers(evidence, {int(body["k"]): body for body in newest}, log, notes)
    notes.figure("quarter hours", len(newest))
    notes.figure("corrected", sum(len(ordered) > 1 for ordered in versions.values()))
    notes.figure("largest carry", f"{largest / NANO:.3f} Wh")
    notes.figure("solar", f"{sum(body['solar_wh'] or 0 for body in newest)} Wh")
    return notes.finding()


def _numbered(evidence: Evidence, versions: Versions, notes: Notes) -> None:
    """Each version is told once. What only a wrong clock told of holds no energy any more."""
    false = 0
    for k, ordered in told_versions(evidence).items():
        name = quarter_name(evidence, ordered[-1])
        numbers = [body["version"] for body in ordered]
        notes.expect(numbers == list(range(1, len(numbers) + 1)), f"{name}: versions {numbers}")
        if k not in versions:
            false += 1
            empty = not ordered[-1]["consumption_wh"] and not any(share["wh"] for share in ordered[-1]["shares"])
            notes.expect(empty, f"{ordered[-1]['start']}: never was, and keeps its energy")
    if false:
        notes.figure("told by a wrong clock", false)


def _chain(evidence: Evidence, versions: Versions, notes: Notes) -> None:
    """No quarter hour of the story is left out, each begins with the registers with which the one before ended."""
    first = -(-(evidence.lives[0][0] + evidence.began_later_ms) // QUARTER_MS)
    last = evidence.end_ms // QUARTER_MS
    notes.expect(first < last, "no whole quarter hour passed in the story")
    wanted = range(min(first, min(versions)), max(last, max(versions) + 1))
    for k in wanted:
        clock = local_clock(k * QUARTER_MS, evidence.place.timezone)[:5]
        notes.expect(k in versions, f"the quarter hour {clock} is missing")
    for k, ordered in versions.items():
        name = quarter_name(evidence, ordered[-1])
        for body in ordered:
            span = (parse_utc(body["start"]), parse_utc(body["end"]))
            notes.expect(
                span == (k * QUARTER_MS, (k + 1) * QUARTER_MS), f"{name}: says {body['start']} to {body['end']}"
            )
        wanted_class = grid_class(k, evidence.place.timezone)
        notes.expect(
            ordered[-1]["tariff_class"] == wanted_class, f"{name}: {ordered[-1]['tariff_class']} is {wanted_class}"
        )
    for before, after in pairwise(versions.values()):
        if after[-1]["k"] == before[-1]["k"] + 1:
            notes.expect(
                before[-1]["at_end"] == after[-1]["at_start"],
                f"{quarter_name(evidence, after[-1])} begins with other registers than the one before ended with",
            )


def _moved(body: Body, meter: str) -> tuple[int, int] | None:
    """(import, export) Wh between the boundary registers; None where one is missing.

    The first quarter hour of a meter begins with its first register of all (`begins`).
    """
    before, after = body["at_start"].get(meter) or body.get("begins", {}).get(meter), body["at_end"].get(meter)
    if before is None or after is None or before["import_wh"] is None or after["import_wh"] is None:
        return None
    return after["import_wh"] - before["import_wh"], (after["export_wh"] or 0) - (before["export_wh"] or 0)


def _meters(place: Place) -> list[str]:
    own = [meter for meters in place.meters_of.values() for meter in meters]
    return [place.grid, *place.producers, *place.batteries, *own]


def _closes(evidence: Evidence, body: Body, notes: Notes) -> None:
    """Sums of one quarter hour."""
    name = quarter_name(evidence, body)
    lacking = [meter for meter in _meters(evidence.place) if _moved(body, meter) is None]
    for meter in _meters(evidence.place):
        _explained(evidence, body, meter, notes)
    if body["consumption_wh"] is None or body["solar_wh"] is None:
        _unsettled(evidence, body, lacking, name, notes)
        return
    marked = [share["participant"] for share in body["shares"] if share["estimated"]]
    notes.expect(
        len(marked) == (len(body["shares"]) if lacking and not _before_the_first(evidence, body) else 0),
        f"{name}: {', '.join(marked) or 'nobody'} is marked as estimated, {', '.join(lacking) or 'nothing'} is missing",
    )
    _balance(evidence.place, body, lacking, name, notes)
    solar = sum(share["solar_wh"] for share in body["shares"])
    consumed = sum(share["wh"] for share in body["shares"])
    notes.expect(
        solar == body["solar_wh"] - body["unallocated_wh"],
        f"{name}: the shares sum to {solar} Wh solar, stated are {body['solar_wh']} less {body['unallocated_wh']}",
    )
    notes.expect(
        consumed == body["consumption_wh"] - body["imbalance_wh"],
        f"{name}: the participants sum to {consumed} Wh, the house consumed {body['consumption_wh']} "
        f"with an imbalance of {body['imbalance_wh']}",
    )
    for share in body["shares"]:
        _share(evidence, body, share, lacking, name, notes)


def _before_the_first(evidence: Evidence, body: Body) -> bool:
    """The house began in it, and its first registers lie behind it: that start had a wrong clock, and was cut short.

    They are put right before the next start, later by as long as the machine was off (`Evidence.shown_ms`).
    """
    began_ms = evidence.lives[0][0]
    read = [stated for side in ("at_start", "at_end") for stated in body[side].values() if stated is not None]
    holds = [share for share in body["shares"] if share["wh"]]
    first = body["k"] == began_ms // QUARTER_MS and evidence.had_wrong_time(began_ms, began_ms)
    return first and not (read or holds or body.get("begins") or body["consumption_wh"])


def _unsettled(evidence: Evidence, body: Body, lacking: list[str], name: str, notes: Notes) -> None:
    """Not settled is only what lacks a register for good, or had another meter put in; and each of these is named."""
    exchanged = [meter for meter in _meters(evidence.place) if _exchanged(evidence, body, meter)]
    if not notes.expect(
        bool(lacking or exchanged), f"{name}: all its registers are known, yet it was not settled: {body['missing']}"
    ):
        return
    named = [meter for meter in {*lacking, *exchanged} if any(f"meter {meter}:" in text for text in body["missing"])]
    notes.expect(bool(named), f"{name}: nothing of {', '.join(lacking or exchanged)}, and it does not say so")
    notes.expect(not body["shares"], f"{name}: it was not settled, and gives shares")


def _begin_once(evidence: Evidence, newest: list[Body], log: ServedLog, notes: Notes) -> None:
    """Only the very first register of a meter may stand for a boundary, within its quarter hour, and it gave it."""
    seen: set[str] = set()
    for body in newest:
        name = quarter_name(evidence, body)
        for meter, first in body.get("begins", {}).items():
            notes.expect(
                meter not in seen and body["at_start"].get(meter) is None,
                f"{name}: begins with a register of {meter}, which was read before",
            )
            notes.expect(log.gave(meter, first), f"{name}: {meter} gave no {first['import_wh']} Wh to begin with")
            within = body["k"] * QUARTER_MS <= int(first["requested_ms"]) < (body["k"] + 1) * QUARTER_MS
            notes.expect(within, f"{name}: begins with a register of {meter} that lies outside")
        seen |= {meter for side in ("at_start", "at_end") for meter, stated in body[side].items() if stated is not None}


def _explained(evidence: Evidence, body: Body, meter: str, notes: Notes) -> None:
    """A missing boundary needs a cause that others saw: no gateway, a meter that was silent, or another one there."""
    for side, at_ms in (("at_start", body["k"] * QUARTER_MS), ("at_end", (body["k"] + 1) * QUARTER_MS)):
        register = body[side].get(meter)
        if register is not None and register["import_wh"] is not None:
            continue
        until = at_ms + written_ms(evidence)
        there = any(since <= at_ms and until <= end for since, end in evidence.lives)
        silent = any(
            which == meter and since <= until and at_ms <= end
            for which, since, end in evidence.spans("meter_silent", "meter_back", "meter")
        )
        full = any(
            since <= until and at_ms <= mended and not _lived(evidence, at_ms, mended + CAUGHT_UP_MS)
            for _, since, mended in evidence.spans("disk_full", "disk_mended", "")
        )
        doubted = is_doubted(evidence, meter, at_ms)
        notes.expect(
            silent or full or not there or doubted or evidence.had_wrong_time(at_ms, until),
            f"{quarter_name(evidence, body)}: no register of {meter} {side}, for no reason",
        )


def _lived(evidence: Evidence, since_ms: int, until_ms: int) -> bool:
    """One life of the gateway spans all of it: what it has read and could not write is not lost."""
    return any(since <= since_ms and until_ms <= until for since, until in evidence.lives)


def _balance(place: Place, body: Body, lacking: list[str], name: str, notes: Notes) -> None:
    """What the house consumed, from its registers; where one is estimated, from what is stated for it."""
    if {place.grid, *place.producers, *place.batteries} & set(lacking):
        _stated_balance(place, body, name, notes)
        return
    grid = _moved(body, place.grid) or (0, 0)
    produced = sum(max(_moved(body, meter) or (0, 0)) for meter in place.producers)
    charged = sum((_moved(body, meter) or (0, 0))[0] for meter in place.batteries)
    discharged = sum((_moved(body, meter) or (0, 0))[1] for meter in place.batteries)
    stated = (body["import_wh"], body["export_wh"], body["production_wh"])
    notes.expect(
        stated == (*grid, produced),
        f"{name}: import, export, production {stated} Wh, the registers say {(*grid, produced)}",
    )
    house = grid[0] + produced + discharged - grid[1] - charged
    notes.expect(
        body["consumption_wh"] == house, f"{name}: consumption {body['consumption_wh']} Wh, the balance {house}"
    )
    if not place.batteries:
        own = min(max(0, produced - grid[1]), max(0, house))
        notes.expect(body["solar_wh"] == own, f"{name}: {body['solar_wh']} Wh own solar, production - export = {own}")


def _stated_balance(place: Place, body: Body, name: str, notes: Notes) -> None:
    """import + production + discharge - export - charge = consumption, of which solar is what was not exported."""
    made = body["production_wh"] - body["export_wh"]
    house = body["import_wh"] + made + body["battery_discharge_wh"] - body["battery_charge_wh"]
    notes.expect(
        body["consumption_wh"] == house, f"{name}: consumption {body['consumption_wh']} Wh, the balance {house}"
    )
    own = min(max(0, made), max(0, house))
    notes.expect(
        bool(place.batteries) or body["solar_wh"] == own, f"{name}: {body['solar_wh']} Wh own solar, stated are {own}"
    )


def _exchanged(evidence: Evidence, body: Body, meter: str) -> bool:
    """Another meter was put in at this place between the two registers of this quarter hour."""
    before, after = body["at_start"].get(meter), body["at_end"].get(meter)
    since_ms = body["k"] * QUARTER_MS if before is None else int(before["requested_ms"])
    until_ms = (body["k"] + 1) * QUARTER_MS + AT_A_START_MS if after is None else int(after["replied_ms"])
    return evidence.jump_wh(meter, since_ms - evidence.stated_ms, until_ms + evidence.stated_ms) is not None


def _share(evidence: Evidence, body: Body, share: Body, lacking: list[str], name: str, notes: Notes) -> None:
    who = f"{name}, {share['participant']}"
    place = evidence.place
    wh, solar = share["wh"], share["solar_wh"]
    notes.expect(
        wh == solar + share["grid_wh"] and 0 <= solar <= wh,
        f"{who}: {wh} Wh is not solar {solar} + grid {share['grid_wh']}",
    )
    meters = place.meters_of.get(share["participant"], ())
    known = not set(meters) & set(lacking) and not any(_exchanged(evidence, body, meter) for meter in meters)
    if meters and known:
        metered = sum(advanced_wh(evidence, meter, (_moved(body, meter) or (0, 0))[0]) for meter in meters)
        notes.expect(wh == metered, f"{who}: {wh} Wh, its meters say {metered}")
    elif not meters and place.common_ceiling_w is not None:
        notes.expect(wh * 4 <= place.common_ceiling_w, f"{who}: {wh} Wh is above its ceiling")
    at_boxes = {meter for box in place.boxes.values() for meter in box.meters.values()} & set(meters)
    if at_boxes:
        _pieces(body, share, who, notes)


def _pieces(body: Body, share: Body, who: str, notes: Notes) -> None:
    """What flowed at a charger is its sessions and what is named beside them (I6b)."""
    parts = [part for part in body["sessions"] if part["participant"] == share["participant"]]
    beside = [piece for piece in body["outside"] if piece["participant"] == share["participant"]]
    pieces = sum(part["wh"] for part in parts) + sum(piece["wh"] for piece in beside)
    notes.expect(pieces == share["wh"], f"{who}: {share['wh']} Wh, sessions and the rest named sum to {pieces}")
    solar = sum(piece["solar_wh"] for piece in (*parts, *beside))
    notes.expect(
        solar == share["solar_wh"],
        f"{who}: its sessions and the rest named have {solar} Wh solar, it has {share['solar_wh']}",
    )
    for part in parts:
        notes.expect(
            part["wh"] == part["solar_wh"] + part["grid_wh"], f"{who}: session {part['session'][:8]} does not close"
        )
    for piece in beside:
        notes.expect(bool(piece["name"]) and bool(piece["owner"]), f"{who}: {piece['wh']} Wh without name or owner")
