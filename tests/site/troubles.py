"""What went wrong in a watch, from the outside evidence alone, and what an operator has to be told of it (I11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from simulators.judge.evidence import Evidence, Occurrence
from simulators.judge.fuses import confirmed_limits, in_force

PROMPT_S = 20.0
TORN_S = 60.0
"""A torn link breaks with the next frame; a ping goes every half minute."""

METER_S = 45.0
"""Two answers in a row are missing; a meter may be asked only every 10 s where nothing charges."""

DISK_S = 60.0
"""A full disk is noticed with the next thing that has to be written."""

DISK_ASKED_MS = 20_000
"""A part whose database takes nothing asks it again so soon (gateway/app.py)."""

ANSWERS = 20
"""From a meter that is late with every third answer so many have come: it is known to be so."""

ANSWER_FAULTS = ("meter_silent", "meter_late", "meter_garbled", "meter_zero")
"""Faults of a meter's answers, of which it has one at a time."""

ROLLS_WH = 1000.0
"""A register that goes on so far behind its range's end looks like one that has begun again at 0."""

FLOOD_S = 10.0
LATELY_S = 600.0
"""A flood is told once in ten minutes; a moment of it before it is noticed here is enough."""

DISOBEYS_S = 50.0
"""A reduction counts 30 s after it was confirmed, and what is drawn above it when it has been seen twice."""

LIMITS_MS = 40_000
ABOVE_MA = 1300
"""More than the 1 A that a car may draw above its limit."""

FROZEN_S = 30.0
FROZEN_STEPS, FROZEN_WH = 6, 30
"""A register is known to stand still when more than that has flowed."""

RECOVERS_MS = 90_000
"""So long after a trouble of its own a meter is read as before."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be told about the trouble's subject: one of `begins`, unless one stands told already.

    `begins` names for each event the one after which it does not stand any more ("": it never stands).
    `at_once` False: seen only when the trouble is over, at the latest. `least_s`: a shorter one may pass unseen.
    `had_to_begin`: there is nothing to lose before one of these events has been told.
    `lately_s`: what was told so shortly before need not be told again.
    """

    begins: Mapping[str, str]
    within_s: float = PROMPT_S
    at_once: bool = True
    least_s: float = 0.0
    had_to_begin: bool = False
    lately_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """`subject` is as the events name it ("": whoever). `box`: only while this one is connected."""

    what: str
    subject: str
    at_ms: int
    lasts_s: float
    expected: Expected
    box: str = ""


BOX = Expected({"charger_gone": "charger_connected"}, had_to_begin=True)
_CSMS = Expected({"csms_away": "csms_connected"}, had_to_begin=True)
_CLOUD = Expected({"cloud_away": "cloud_connected"}, had_to_begin=True)
_LOST = {"meter_lost": "meter_back"}
_DOUBTED = {"reading_quarantined": "reading_believed"}
_METER = Expected(_LOST, METER_S, least_s=METER_S)
_UNSTEADY = Expected({"meter_unsteady": "meter_steady", **_LOST}, PROMPT_S)
_FLOODS = Expected({"charger_floods": ""}, FLOOD_S, lately_s=LATELY_S)
_DISK = Expected({"store_refuses": "", "store_failed": ""}, DISK_S, least_s=DISK_S)
_SWAPPED = Expected({"meter_swapped": "meter_unswapped", **_LOST}, METER_S, least_s=METER_S)
_EXCHANGED = Expected({"meter_swapped": "", "meter_rebased": "", **_LOST, **_DOUBTED}, METER_S)
_FROZEN = Expected({**_DOUBTED, **_LOST}, FROZEN_S)
_DISOBEYS = Expected({"charger_disobedient": "charger_disobedient_over"}, DISOBEYS_S)


def _late(expected: Expected) -> Expected:
    return Expected(expected.begins, expected.within_s, False, expected.least_s, expected.had_to_begin)


EXPECTED: dict[str, Expected] = {
    "csms_away": _CSMS,
    "csms_half_open": _late(_CSMS),
    "broker_away": _CLOUD,
    "broker_half_open": _late(_CLOUD),
    "box_link_cut": BOX,
    "box_link_torn": Expected(BOX.begins, TORN_S, had_to_begin=True),
    "box_link_away": BOX,
    "box_link_half_open": _late(BOX),
    "box_reorders": BOX,
    "box_reboot": BOX,
    "box_giant": BOX,
    "meter_silent": _METER,
    "meter_garbled": _METER,
    "meter_zero": Expected({**_LOST, **_DOUBTED}, METER_S, least_s=METER_S),
}


def troubles(evidence: Evidence) -> Iterator[Trouble]:
    """Everything that went wrong and has to be told."""
    for fault in evidence.told("fault"):
        kind, target = str(fault.data["kind"]), str(fault.data["target"])
        expected = EXPECTED.get(kind)
        if expected is None:
            continue
        what, lasts_s = f"{kind} {target}", _lasts_s(evidence, fault)
        if expected.begins == _CSMS.begins:
            for box in sorted(evidence.place.boxes):
                yield Trouble(what, box, fault.at_ms, lasts_s, expected, box)
        else:
            subject = f"meter {target}" if kind.startswith("meter") else target
            yield Trouble(what, "" if expected is _CLOUD else subject, fault.at_ms, lasts_s, expected)
    for told in evidence.told("charger_flooded"):
        box = str(told.data["charger"])
        yield Trouble("a flood", box, told.at_ms, 0.0, _FLOODS, box)
    for since_ms, until_ms in _full(evidence):
        yield Trouble("a full disk", "", since_ms, (until_ms - since_ms) / 1000, _DISK)
    yield from _exchanges(evidence)
    yield from _late_answers(evidence)
    yield from _frozen(evidence)
    yield from _disobedience(evidence)


def _lasts_s(evidence: Evidence, fault: Occurrence) -> float:
    """How long a fault lasts. Of the faults of a meter's answers a newer one takes the place of the older."""
    lasts_s = float(fault.data["lasts_s"])
    if fault.data["kind"] not in ANSWER_FAULTS:
        return lasts_s
    newer = [
        (one.at_ms - fault.at_ms) / 1000
        for one in evidence.told("fault")
        if one.data["kind"] in ANSWER_FAULTS and one.data["target"] == fault.data["target"] and one.at_ms > fault.at_ms
    ]
    return min([lasts_s, *newer])


def _full(evidence: Evidence) -> Iterator[tuple[int, int]]:
    """When the disk was full. What is full again before it was asked again has been full all the time."""
    spans = sorted((since, until) for _, since, until in evidence.spans("disk_full", "disk_mended", ""))
    while spans:
        since, until = spans.pop(0)
        while spans and spans[0][0] - until <= DISK_ASKED_MS:
            until = max(until, spans.pop(0)[1])
        yield since, until


def _exchanges(evidence: Evidence) -> Iterator[Trouble]:
    """Meters that hang at another's address, and new ones."""
    ranges = {told.data["meter"]: told.data["range_wh"] for told in evidence.told("meter_counts")}
    for told in evidence.told("meter_exchanged"):
        begun_again_wh = (ranges.get(told.data["meter"]) or 0) + told.data["jump_wh"]
        if 0 <= begun_again_wh < ROLLS_WH:
            continue
        yield Trouble("an exchange", f"meter {told.data['meter']}", told.at_ms, 0.0, _EXCHANGED)
    ends = evidence.told("meter_back")
    for told in evidence.told("meter_silent"):
        if told.data.get("how") != "swapped":
            continue
        meter = told.data["meter"]
        back_ms = min((end.at_ms for end in ends if end.data["meter"] == meter and end.at_ms > told.at_ms), default=0)
        yield Trouble("a swap", f"meter {meter}", told.at_ms, (back_ms - told.at_ms) / 1000, _SWAPPED)


def _late_answers(evidence: Evidence) -> Iterator[Trouble]:
    """A meter is late with every third answer; the trouble begins when it has been asked often enough to know."""
    for fault in evidence.told("fault"):
        if fault.data["kind"] != "meter_late":
            continue
        meter, until_ms = str(fault.data["target"]), fault.at_ms + round(1000 * _lasts_s(evidence, fault))
        served = evidence.rows(
            "truth.db",
            "SELECT at_ms FROM served WHERE meter = ? AND at_ms BETWEEN ? AND ? ORDER BY at_ms",
            (meter, fault.at_ms, until_ms),
        )
        if len(served) >= ANSWERS:
            at_ms = served[ANSWERS - 1][0]
            yield Trouble("late answers", f"meter {meter}", at_ms, (until_ms - at_ms) / 1000, _UNSTEADY)


def _frozen(evidence: Evidence) -> Iterator[Trouble]:
    """A box's meter stands still; the trouble begins when enough has flowed, on one phase at least."""
    spans = evidence.spans("meter_lies", "meter_honest", "meter")
    steps = {told.data["meter"]: float(told.data["step_wh"]) for told in evidence.told("meter_counts")}
    boxes = {box.meters[1]: box.id for box in evidence.place.boxes.values()}
    for meter, since_ms, until_ms in spans:
        if meter not in boxes:
            continue
        least_wh, flowed_wh = max(FROZEN_STEPS * steps[meter], FROZEN_WH), 0.0
        for at_ms, current_ma in _draws(evidence, boxes[meter], since_ms, until_ms):
            flowed_wh += current_ma / 1000 * 230 / 3600
            if flowed_wh > least_wh and not _other_trouble(evidence, meter, since_ms, at_ms):
                lasts_s = (until_ms - at_ms) / 1000
                yield Trouble("a frozen register", f"meter {meter}", at_ms, lasts_s, _FROZEN)
                break


def _disobedience(evidence: Evidence) -> Iterator[Trouble]:
    """A box lets its car draw more than it was told, for so long that this is no slow car."""
    spans = evidence.spans("charger_lost", "charger_back", "charger", only="disobeys")
    limits = confirmed_limits(evidence) if spans else {}
    for name, since_ms, until_ms in spans:
        box = evidence.place.boxes[name]
        known = in_force(box, limits.get(name, []), evidence.stated_ms)
        above_ms: int | None = None
        for at_ms, current_ma in _draws(evidence, name, since_ms, until_ms):
            lately = [one.limit_ma for one in known if one.since_ms <= at_ms and at_ms - LIMITS_MS <= one.until_ms]
            if current_ma <= max(lately) + ABOVE_MA:
                above_ms = None
                continue
            above_ms = at_ms if above_ms is None else above_ms
            if at_ms - above_ms >= 1000 * DISOBEYS_S:
                if not _other_trouble(evidence, box.meters[1], above_ms, at_ms):
                    yield Trouble("more than its limit", f"{name}/1", above_ms, DISOBEYS_S, _DISOBEYS, name)
                break


def _draws(evidence: Evidence, box: str, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """What a box drew on its largest phase, second by second."""
    return evidence.rows(
        "truth.db",
        "SELECT at_ms, current_ma FROM draw WHERE charger = ? AND at_ms BETWEEN ? AND ? ORDER BY at_ms",
        (box, from_ms, to_ms),
    )


def _other_trouble(evidence: Evidence, meter: str, from_ms: int, to_ms: int) -> bool:
    """Something else than its standing still is wrong with the meter then, or was a moment before."""
    spans = [one for one in evidence.spans("meter_silent", "meter_back", "meter") if one[0] == meter]
    begun = [told.at_ms for told in evidence.told("meter_silent")
             if told.data["meter"] == meter and told.data.get("how") != "frozen"]  # fmt: skip
    return any(
        since <= to_ms and from_ms - RECOVERS_MS <= until and any(since <= at_ms <= until for at_ms in begun)
        for _, since, until in spans
    )
