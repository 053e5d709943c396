"""For each bound of the judge two runs: one that just keeps it, and one that is minimally worse and must be found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulators.judge.builder import LOCAL_ID, Body, Run, at, iso, ocmf
from tests.simulators.judge.good_run import KILL, exchange, limit, true_wh, wire
from tests.simulators.judge.spoilt import frames, lying_meter, over


@dataclass(frozen=True)
class Pair:
    """`keeps` must pass; `breaks` must break exactly `invariants`, and `says` stands in the first one's text."""

    name: str
    invariants: tuple[str, ...]
    says: str
    keeps: Callable[[Run], None]
    breaks: Callable[[Run], None]


STOP = at("12:40")


def tell(run: Run, at_ms: int, what: str, **keys: object) -> None:
    run.story.append({"t": at_ms, "what": what, **keys})


def span(run: Run, kind: str, since_ms: int, until_ms: int, **keys: object) -> None:
    """charger_lost and charger_back, meter_silent and meter_back ..."""
    first, last = {"meter": ("meter_silent", "meter_back"), "box": ("charger_lost", "charger_back"),
                   "slow": ("uplink_slow", "uplink_fast")}[kind]  # fmt: skip
    tell(run, since_ms, first, **keys)
    tell(run, until_ms, last, **keys)


def register(run: Run, session: str, which: str) -> int:
    wh: int = run.body("session.end.v1", session=session)[f"{which}_wh"]
    return wh


def move_reading(run: Run, meter: str, from_ms: int, to_ms: int) -> None:
    """The meter gave this register at another time."""
    (number,) = [n for n, row in enumerate(run.served) if row[:2] == (meter, from_ms)]
    run.served[number] = (meter, to_ms, *run.served[number][2:])


# I6: which reading begins and ends a session


def begin_age(run: Run, age_ms: int) -> None:
    """box2 began at 11:55; its begin register is this old."""
    move_reading(run, "m2", at("11:55") - 1000, at("11:55") - age_ms)


def earlier_readings(run: Run, count: int) -> None:
    """The end register is the first reading that is billed after so many others, 1.5 s after the stop and later."""
    move_reading(run, "m2", STOP + 1000, STOP + 9000)
    end_wh = register(run, "s-b", "end")
    run.served += [("m2", STOP + 1500 + 1000 * number, end_wh - 1, None) for number in range(count)]


def after_silence(run: Run, silent: bool) -> None:
    """Five readings come and cannot be believed; the sixth is billed."""
    earlier_readings(run, 5)
    if silent:
        span(run, "meter", STOP - 5000, STOP + 8000, meter="m2")


def soon_after_silence(run: Run, back_ms: int) -> None:
    """The same; the meter is back so long before the reading that is billed."""
    earlier_readings(run, 5)
    span(run, "meter", STOP - 30_000, STOP + 9000 - back_ms, meter="m2")


def next_start(run: Run, at_ms: int) -> None:
    """The next card is shown at box2, and refused; the end register was read 2 s after the stop."""
    move_reading(run, "m2", STOP + 1000, STOP + 2000)
    answer = {"transactionId": 1002, "idTagInfo": {"status": "Invalid"}}
    start = {"connectorId": 1, "idTag": "CARD-X", "meterStart": 0, "timestamp": iso(at_ms)}
    exchange(run, "box2", "next-start", "StartTransaction", start, at_ms, answer)
    run.tx.append(("box2", 1002))


def late_stop(run: Run, moved_wh: int, signed_ms: int = 5000) -> None:
    """box2 says at 12:40 that it stopped at 12:36: by how much its register moved between the readings around that."""
    said_ms, end_wh = at("12:36"), register(run, "s-b", "end")
    for line in run.charger_wire + run.csms_wire:
        if '"s-b-stop"' in line["frame"]:
            line["frame"] = line["frame"].replace(iso(STOP), iso(said_ms))
    for number, row in enumerate(run.messages):
        if row[1] == "s-b-stop":
            run.messages[number] = (*row[:3], row[3].replace(iso(STOP), iso(said_ms)), row[4])
    run.served += [("m2", said_ms - 3000, end_wh - moved_wh, None), ("m2", said_ms + 5000, end_wh, None)]
    end = run.body("session.end.v1", session="s-b")
    end |= {"stop": iso(said_ms), "end": iso(said_ms)}
    end["ocmf_end"] = ocmf(4, "E", "CARD-B", "box2", end_wh, said_ms + signed_ms)
    run.served[:] = [row for row in run.served if row[:2] != ("m2", STOP + 1000)]


def kept_while_the_clock_was_wrong(run: Run, right: str) -> None:
    """box2 says at 12:40 that it stopped at 12:36; the gateway, whose clock was wrong until then, read on at 12:40."""
    said_ms, end_wh = at("12:36"), register(run, "s-b", "end")
    for line in run.charger_wire + run.csms_wire:
        if '"s-b-stop"' in line["frame"]:
            line["frame"] = line["frame"].replace(iso(STOP), iso(said_ms))
    for number, row in enumerate(run.messages):
        if row[1] == "s-b-stop":
            run.messages[number] = (*row[:3], row[3].replace(iso(STOP), iso(said_ms)), row[4])
    run.served += [("m2", said_ms + beside_ms, end_wh - 1, None) for beside_ms in (-3000, 5000)]
    tell(run, at("12:31"), "clock_wrong", off_ms=-90_000)
    tell(run, at(right), "clock_right")


def late_and_signed_later(run: Run, moved_wh: int) -> None:
    """The signed reading lies 60 s beside the stop; in between the register has moved."""
    late_stop(run, 0, signed_ms=60_000)
    end_wh = register(run, "s-b", "end")
    run.served += [("m2", at("12:36:30"), end_wh + moved_wh, None), ("m2", at("12:37"), end_wh, None)]


def sent_again(run: Run, moved_wh: int) -> None:
    """The box has said its stop at once, and again at 12:40, because nobody had answered."""
    late_and_signed_later(run, moved_wh)
    for log in (run.charger_wire, run.csms_wire):  # what it metered after it had stopped
        log[:] = [line for line in log if '"s-b-mv8"' not in line["frame"]]
    run.messages[:] = [row for row in run.messages if row[1] != "s-b-mv8"]
    number, line = next((n, one) for n, one in enumerate(run.charger_wire) if '"s-b-stop"' in one["frame"])
    run.charger_wire.insert(number, {**line, "t": at("12:36")})


def exchanged(run: Run, clock: str, *, named: bool = True, meter: str = "m1", more_wh: float = 0.0) -> None:
    """Another meter is put in that begins where the old one stood; the truth then has `more_wh` than was metered."""
    tell(run, at(clock), "meter_exchanged", meter=meter, jump_wh=0.0)
    hour, minute = (int(part) for part in clock.split(":")[:2])
    quarter = f"{hour}:{minute // 15 * 15:02d}"
    if named:
        run.body("interval.v1", start=iso(at(quarter)))["missing"] = [f"meter {meter}: swapped, 1 by 2; not metered"]
    run.boundary[:] = [
        (which, ms, taken + (more_wh if which == meter and ms > at(clock) else 0), given)
        for which, ms, taken, given in run.boundary
    ]


def exchanged_before(run: Run, clock: str) -> None:
    """m2 is put in before or in box2's session (11:55 to 12:40), and what is not metered is named."""
    exchanged(run, clock, meter="m2")


# I7: boundaries


def in_real_time(run: Run, late_ms: int) -> None:
    """A house that runs in real time; the register of 12:15 came so late."""
    run.speed = 1.0
    boundary_moves(run, late_ms)


def boundary_moves(run: Run, late_ms: int) -> None:
    """pv gave its register of 12:15 so late, and says so."""
    moment = at("12:15")
    move_reading(run, "pv", moment + 2000, moment + late_ms)
    for start, side in (("12:00", "at_end"), ("12:15", "at_start")):
        stated = run.body("interval.v1", start=iso(at(start)))[side]["pv"]
        stated |= {"requested_ms": moment + late_ms - 10, "replied_ms": moment + late_ms + 10}


def late_after_silence(run: Run, late_ms: int) -> None:
    span(run, "meter", at("12:14:50"), at("12:15:07"), meter="pv")
    boundary_moves(run, late_ms)


def late_by_a_stepped_clock(run: Run, late_ms: int, lasts_s: float = 400.0) -> None:
    """The same, and somebody had set the gateway's clock by seconds, and set it right again after a while."""
    run.watch |= {"clock_off_ms": 1500}
    tell(run, at("12:10"), "fault", kind="clock_step", lasts_s=lasts_s)
    late_after_silence(run, late_ms)


def late_after_start(run: Run, late_ms: int) -> None:
    """The gateway was there again 3 s before the quarter hour."""
    tell(run, at("12:14:50"), "gateway_stopped")
    tell(run, at("12:14:57"), "gateway_ready")
    in_real_time(run, late_ms)


def late_on_a_long_line(run: Run, late_ms: int) -> None:
    """The same, and eight meters hang on the line."""
    run.site += "".join(f'[[meter]]\nid = "more{n}"\nrole = "spare"\n' for n in range(4))
    late_after_start(run, late_ms)


def dies_at_once(run: Run, after_ms: int) -> None:
    """The gateway dies so long after the quarter hour, and its boundary comes 9.9 s late."""
    tell(run, at("12:15") + after_ms, "gateway_stopped")
    tell(run, at("12:15:09"), "gateway_ready")
    in_real_time(run, 9_900)


def late_after_back(run: Run, late_ms: int) -> None:
    """Three seconds before the quarter hour the meters answered again."""
    for meter in ("grid", "pv", "m1", "m2"):
        span(run, "meter", at("12:14:20"), at("12:14:57"), meter=meter)
    in_real_time(run, late_ms)


def stood_still(run: Run, since_ms: int) -> None:
    """pv's register stood still over 12:15, and the truth has 50 Wh more (1,5 to 3 kW flowed)."""
    tell(run, at("12:15") - since_ms, "meter_lies", meter="pv")
    tell(run, at("12:15:10"), "meter_honest", meter="pv")
    lying_meter(run)


def stood_still_and_ended(run: Run, since_ms: int) -> None:
    """The same, and from 12:15 on nothing flowed any more: what had flowed before stands in the quarter hour after."""
    gone = {at("12:15") // 900_000, at("12:30") // 900_000}
    run.power[:] = [(meter, k, 0.0 if meter == "pv" and k in gone else w) for meter, k, w in run.power]
    stood_still(run, since_ms)


def gap(run: Run, marked: bool) -> None:
    """m1 gave nothing at 12:15: both quarter hours are estimated (here: rightly), and marked."""
    span(run, "meter", at("12:14:50"), at("12:15:20"), meter="m1")
    for start, side in (("12:00", "at_end"), ("12:15", "at_start")):
        body = run.body("interval.v1", start=iso(at(start)))
        body[side]["m1"] = None
        for share in body["shares"]:
            share["estimated"] = marked


def full_disk(run: Run, died: bool) -> None:
    """The disk was full at 12:15, and m1's register is missing: it is lost only where the gateway then died."""
    gap(run, marked=True)
    run.story[:] = [line for line in run.story if line["what"] not in ("meter_silent", "meter_back")]
    tell(run, at("12:14"), "disk_full")
    tell(run, at("12:16"), "disk_mended")
    if died:
        tell(run, at("12:15:30"), "gateway_stopped")
        tell(run, at("12:15:40"), "gateway_ready")


def died_after(run: Run, ms: int) -> None:
    """m1 gave nothing at 12:15; in real time the gateway died so long after it."""
    full_disk(run, died=False)
    run.story[:] = [line for line in run.story if line["what"] not in ("disk_full", "disk_mended")]
    run.speed = 1.0
    tell(run, at("12:15") + ms, "gateway_stopped")
    tell(run, at("12:15:40"), "gateway_ready")


def without_a_name(run: Run, served_wh: int, *, named: bool) -> None:
    """m1 was exchanged at 13:05:20, and its register went on by so much within 5 s of it."""
    exchanged(run, "13:05:20", named=False)
    tell(run, at("11:29:50"), "meter_counts", meter="m1", step_wh=1.0, range_wh=None, named=named)
    low_wh = int(true_wh("m1", at("13:05:18"))[0])
    run.served += [("m1", at("13:05:18"), low_wh, None), ("m1", at("13:05:23"), low_wh + served_wh, None)]


# I1p


def replaced(run: Run, since_death_ms: int, **car: int) -> None:
    """box1 was told 6 A instead of 10 A 5 s before the gateway died; its car still draws 10 A for a while."""
    limit(run, "box1", "s-a-less", KILL - 5000, 1000, 6.0)
    if car:
        tell(run, at("11:31"), "car_plugged", charger="box1", **car)
    _draws(run, KILL, KILL + since_death_ms, 10_000)


def ended(run: Run, at_ms: int) -> None:
    """box1's limit of 10 A was given for 120 s, counted from 60 s before it came: it ended 40 s after the death."""
    for line in frames(run, True, "s-a-last", call=True):
        frame = json.loads(line["frame"])
        profile = frame[3]["csChargingProfiles"]
        profile["chargingProfileKind"] = "Absolute"
        profile["chargingSchedule"]["startSchedule"] = iso(KILL - 80_000)
        line["frame"] = json.dumps(frame, separators=(",", ":"))
    _draws(run, KILL, at_ms, 10_000)


def disobeys(run: Run, current_ma: int) -> None:
    span(run, "box", KILL - 60_000, at("12:30"), charger="box1", disobeys=True)
    _draws(run, KILL, at("12:30"), current_ma)


def disobeys_and_was_lost(run: Run, obeys_again_ms: int) -> None:
    """Its link was away for 20 s too, and came back before box1 obeyed again."""
    span(run, "box", KILL - 60_000, obeys_again_ms, charger="box1", disobeys=True)
    span(run, "box", KILL - 55_000, KILL - 35_000, charger="box1", disobeys=False)
    _draws(run, KILL, at("12:30"), 16_000)


def _draws(run: Run, since_ms: int, until_ms: int, current_ma: int) -> None:
    run.draw[:] = [
        (box, ms, current_ma if box == "box1" and since_ms <= ms <= until_ms else drawn, offer)
        for box, ms, drawn, offer in run.draw
    ]


def overload(run: Run, seconds: float, meter: str) -> None:
    """The house is overloaded while a meter is silent; its own is the grid's."""
    run.site = run.site.replace('id = "house"\n', 'id = "house"\nmeter = "grid"\n', 1)
    span(run, "meter", at("12:20"), at("12:22"), meter=meter)
    over(run, "over_100", seconds, "12:21")


def held_up(run: Run, holds_ma: int, seconds: float) -> None:
    """box1 is told 0 A, and its car draws 6 A on: the house is overloaded meanwhile."""
    tell(run, KILL - 60_000, "charger_holds", charger="box1", ma=holds_ma)
    limit(run, "box1", "s-a-zero", KILL - 55_000, 1000, 0.0)
    _draws(run, KILL - 55_000, KILL - 1000, 6_000)
    run.fuse.append(("house", 3, KILL - 50_000, "over_100", seconds, 1.04))


# I4, I10


def id_again(run: Run, *, old_goes_on: bool) -> None:
    """The CSMS gives box2's next transaction the id of an ended one. Then the old one is heard of once more."""
    began_ms, ended_ms = at("12:50"), at("12:55")
    info = {"idTagInfo": {"status": "Invalid"}}
    start = {"connectorId": 1, "idTag": "CARD-X", "meterStart": 0, "timestamp": iso(began_ms)}
    exchange(run, "box2", "x-start", "StartTransaction", start, began_ms, {"transactionId": 1001, **info})
    run.tx.append(("box2", 1001))
    if old_goes_on:
        values: Body = {"connectorId": 1, "transactionId": LOCAL_ID, "meterValue": []}
        exchange(run, "box2", "x-old", "MeterValues", values, at("12:52"), {})
    stop = {"transactionId": 1001, "meterStop": 0, "timestamp": iso(ended_ms)}
    for at_charger in (True, False):
        wire(run, "box2", at_charger, at_charger, ended_ms, [2, "x-stop", "StopTransaction", stop])
        wire(run, "box2", at_charger, not at_charger, ended_ms + (200 if at_charger else 10), [3, "x-stop", info])
    run.messages.append(("box2", "x-stop", "StopTransaction", json.dumps(stop), ended_ms))


def own_id(run: Run, local: int) -> None:
    """box2's next start is refused, and given this id."""
    ms = at("12:50")
    answer = {"transactionId": local, "idTagInfo": {"status": "Invalid"}}
    start = {"connectorId": 1, "idTag": "CARD-X", "meterStart": 0, "timestamp": iso(ms)}
    told = {**answer, "transactionId": 1002}
    for charger_first, known in ((True, answer), (False, told)):
        wire(run, "box2", charger_first, charger_first, ms, [2, "x-start", "StartTransaction", start])
        wire(run, "box2", charger_first, not charger_first, ms + (200 if charger_first else 10), [3, "x-start", known])
    run.messages.append(("box2", "x-start", "StartTransaction", json.dumps(start), ms))
    run.tx.append(("box2", 1002))
    tell(run, ms, "uplink_cut")


def under_way(run: Run, given_before_ms: int) -> None:
    """The uplink is slow by 4 s: the CSMS had answered so long before the gateway answered itself."""
    span(run, "slow", at("11:54"), at("11:56"), link="csms", ms=4000)
    _given(run, at("11:55") + 200 - given_before_ms)


def cut_at(run: Run, charger: str) -> None:
    """The CSMS's answer was lost with the connection of this box."""
    tell(run, at("11:55"), "charger_cut", charger=charger)
    _given(run, at("11:55"))


def parts_end(run: Run, before_ms: int) -> None:
    """The gateway ended its parts to put its clock right, and the answer of the CSMS was still on its way (60-fold)."""
    (answer,) = frames(run, True, "s-b-start", call=False)
    tell(run, answer["t"] - before_ms, "gateway_parts_end", node="gateway-1")
    _given(run, at("11:55"))


def _given(run: Run, at_ms: int) -> None:
    answer = '[3,"s-b-start",{"transactionId":1001,"idTagInfo":{"status":"Accepted"}}]'
    run.csms_wire.append({"t": at_ms, "charger": "box2", "dir": "out", "frame": answer})


def answered_first(run: Run, before_way_ms: int) -> None:
    """The gateway answers s-a's stop itself, so long after the CSMS had; a frame of it is 2 ms on its way at least."""
    run.watch = {"watch": True, "way_ms": 2}
    (given,) = frames(run, False, "s-a-stop", call=False)
    (told,) = frames(run, True, "s-a-stop", call=False)
    told |= {"t": given["t"] + before_way_ms, "frame": '[3,"s-a-stop",{}]'}


def cannot_write(run: Run, mended_ms: int) -> None:
    """The disk is full for so long; what the CSMS answered cannot be kept, box1 is told an error and sends it again."""
    (call,) = frames(run, True, "s-a-mv0", call=True)
    (told,) = frames(run, True, "s-a-mv0", call=False)
    run.charger_wire += [{**call, "t": call["t"] + 60_000}, {**told, "t": told["t"] + 60_000}]
    told["frame"] = '[4,"s-a-mv0","InternalError","the gateway cannot write to its disk",{}]'
    tell(run, told["t"] - 20_000, "disk_full")
    tell(run, told["t"] + mended_ms, "disk_mended")


def gave_up(run: Run, *, attempts: int = 3, id_at_csms: int = -1) -> None:
    """The disk is full when box2's next car starts; it is told errors and gives the start up, but not the stop."""
    began_ms, stopped_ms = at("12:50"), at("12:57")
    start = {"connectorId": 1, "idTag": "CARD-X", "meterStart": 0, "timestamp": iso(began_ms)}
    tell(run, began_ms - 60_000, "disk_full")
    tell(run, began_ms + 240_000, "disk_mended")
    for wait_ms in (0, 60_000, 180_000)[:attempts]:
        wire(run, "box2", True, True, began_ms + wait_ms, [2, "x-start", "StartTransaction", start])
        error = [4, "x-start", "InternalError", "the gateway cannot write to its disk", {}]
        wire(run, "box2", True, False, began_ms + wait_ms + 200, error)
    stop = {"transactionId": -1, "meterStop": 9, "timestamp": iso(stopped_ms)}
    told = {**stop, "transactionId": id_at_csms}
    for at_charger, payload in ((True, stop), (False, told)):
        wire(run, "box2", at_charger, at_charger, stopped_ms, [2, "x-stop", "StopTransaction", payload])
        wire(run, "box2", at_charger, not at_charger, stopped_ms + (200 if at_charger else 10), [3, "x-stop", {}])
    run.messages.append(("box2", "x-stop", "StopTransaction", json.dumps(told), stopped_ms))
    end = dict(run.body("session.end.v1", session="s-b"), session="s-x", transaction_id=-1, id_tag="", billable=False)
    end |= {"energy_wh": None, "unbillable_reason": "stop_without_start", "ocmf_begin": None, "ocmf_end": None}
    run.bodies.append(("billing", "session.end.v1", end))


def asks_again(run: Run, *, missed: bool) -> None:
    """box2 sends its start a second time and gets the id that was drawn; the CSMS has answered just before."""
    if missed:
        tell(run, at("11:55:10"), "charger_cut", charger="box2")
    (call,) = frames(run, True, "s-b-start", call=True)
    run.charger_wire.append({**call, "t": at("11:55:59")})
    for line in frames(run, True, "s-b-start", call=False):
        line["t"] = at("11:56")
    for line in run.charger_wire:
        if "s-b-limit" in line["frame"]:
            line["t"] += 60_000
    _given(run, at("11:55:55"))


def stops_again(run: Run, cut: str) -> None:
    """box2's stop was answered while the CSMS was away, and a cut took the answer; a minute later it is sent again."""
    tell(run, STOP + 5000, "charger_cut", charger=cut)
    (call,) = frames(run, True, "s-b-stop", call=True)
    (told,) = frames(run, True, "s-b-stop", call=False)
    run.charger_wire.append({**call, "t": call["t"] + 60_000})
    told |= {"t": told["t"] + 60_000, "frame": '[3,"s-b-stop",{}]'}
    for line in frames(run, False, "s-b-stop", call=True) + frames(run, False, "s-b-stop", call=False):
        line["t"] = STOP + 6000


PAIRS = (
    Pair("begin register 5 s old", ("I6",), "at the begin",
         lambda run: begin_age(run, 5800), lambda run: begin_age(run, 6100)),
    Pair("end register among the first three", ("I6",), "at the end",
         lambda run: earlier_readings(run, 2), lambda run: earlier_readings(run, 3)),
    Pair("end register after a silence", ("I6",), "at the end",
         lambda run: after_silence(run, silent=True), lambda run: after_silence(run, silent=False)),
    Pair("end register among the first three from 10 s after a silence on", ("I6",), "at the end",
         lambda run: soon_after_silence(run, 16_300), lambda run: soon_after_silence(run, 16_500)),
    Pair("end register before the next start", ("I6",), "at the end",
         lambda run: next_start(run, STOP + 1000), lambda run: next_start(run, STOP + 800)),
    Pair("a late stop takes the register where it is flat", ("I6",), "at the end",
         lambda run: late_stop(run, 0), lambda run: late_stop(run, 1)),
    Pair("a late stop takes the register of now where the clock is wrong", ("I6",), "at the end",
         lambda run: kept_while_the_clock_was_wrong(run, "12:39:30"),
         lambda run: kept_while_the_clock_was_wrong(run, "12:38:30")),
    Pair("a late stop is signed with an unmoved register", ("I5",), "beside the session's",
         lambda run: late_and_signed_later(run, 0), lambda run: late_and_signed_later(run, 1)),
    Pair("a stop sent again is signed with an unmoved register", ("I5",), "beside the session's",
         lambda run: sent_again(run, 0), lambda run: sent_again(run, 1)),
    Pair("no exchange within a billed session", ("I6",), "another meter was put in while it ran",
         lambda run: exchanged_before(run, "11:54:50"), lambda run: exchanged_before(run, "11:55:10")),
    Pair("an exchange is named", ("I7",), "not metered",
         lambda run: exchanged(run, "13:05:20"), lambda run: exchanged(run, "13:05:20", named=False)),
    Pair("what an exchange leaves unmetered", ("I7",), "p1: 331 Wh",
         lambda run: exchanged(run, "13:05:20", more_wh=42.0), lambda run: exchanged(run, "13:05:20", more_wh=44.0)),
    Pair("an exchange books nothing more", ("I7",), "p2: 0 Wh",
         lambda run: exchanged(run, "13:05:20", meter="m2", more_wh=-1.5),
         lambda run: exchanged(run, "13:05:20", meter="m2", more_wh=-3.0)),
    Pair("a meter without a name that goes on is one meter", ("I7",), "not metered",
         lambda run: without_a_name(run, 20, named=False), lambda run: without_a_name(run, 20, named=True)),
    Pair("a meter without a name that no fuse explains is another", ("I7",), "not metered",
         lambda run: without_a_name(run, 29, named=False), lambda run: without_a_name(run, 400, named=False)),
    Pair("a boundary is written 10.6 s after it", ("I7",), "for no reason",
         lambda run: died_after(run, 10_550), lambda run: died_after(run, 10_650)),
    Pair("a boundary within 2.5 s in real time", ("I7",), "2.60 s late",
         lambda run: in_real_time(run, 2400), lambda run: in_real_time(run, 2600)),
    Pair("a boundary within 10 s after a silence", ("I7",), "10.70 s late",
         lambda run: late_after_silence(run, 10_500), lambda run: late_after_silence(run, 10_700)),
    Pair("a boundary within 10 s by a clock that was set by 1.5 s", ("I7",), "12.20 s late",
         lambda run: late_by_a_stepped_clock(run, 12_000), lambda run: late_by_a_stepped_clock(run, 12_200)),
    Pair("a boundary within 10 s when the clock is right again", ("I7",), "10.70 s late",
         lambda run: late_by_a_stepped_clock(run, 10_500, 290.0),
         lambda run: late_by_a_stepped_clock(run, 10_700, 290.0)),
    Pair("a boundary within 10 s after a start", ("I7",), "7.10 s late",
         lambda run: late_after_start(run, 6_900), lambda run: late_after_start(run, 7_100)),
    Pair("a boundary within 11 s after a start with eight meters", ("I7",), "8.30 s late",
         lambda run: late_on_a_long_line(run, 8_100), lambda run: late_on_a_long_line(run, 8_300)),
    Pair("a boundary whose gateway dies before it can ask", ("I7",), "9.90 s late",
         lambda run: dies_at_once(run, 2400), lambda run: dies_at_once(run, 2600)),
    Pair("a boundary soon after a meter is back", ("I7",), "7.10 s late",
         lambda run: late_after_back(run, 6_900), lambda run: late_after_back(run, 7_100)),
    Pair("a register that stood still", ("I7",), "true are",
         lambda run: stood_still(run, 64_000), lambda run: stood_still(run, 50_000)),
    Pair("a register that stood still until nothing flowed", ("I7",), "true are",
         lambda run: stood_still_and_ended(run, 64_000), lambda run: stood_still_and_ended(run, 50_000)),
    Pair("an estimate is marked", ("I7",), "nobody is marked as estimated",
         lambda run: gap(run, marked=True), lambda run: gap(run, marked=False)),
    Pair("a full disk loses a boundary only with a death", ("I7",), "for no reason",
         lambda run: full_disk(run, died=True), lambda run: full_disk(run, died=False)),
    Pair("a car follows when it can", ("I1p",), "last confirmed limit is 6.0 A",
         lambda run: replaced(run, 8000, follows_ms=11_000), lambda run: replaced(run, 9000, follows_ms=11_000)),
    Pair("a car of which nothing is told follows in 6 s", ("I1p",), "last confirmed limit is 6.0 A",
         lambda run: replaced(run, 3000), lambda run: replaced(run, 4000)),
    Pair("no car needs more than 12 s", ("I1p",), "last confirmed limit is 6.0 A",
         lambda run: replaced(run, 9000, follows_ms=20_000), lambda run: replaced(run, 10_000, follows_ms=20_000)),
    Pair("a limit ends with its own schedule", ("I1p",), "last confirmed limit is 6.0 A",
         lambda run: ended(run, KILL + 49_000), lambda run: ended(run, KILL + 50_000)),
    Pair("a disobedient box keeps its maximum", ("I1p",), "its maximum is 16.0 A",
         lambda run: disobeys(run, 16_100), lambda run: disobeys(run, 16_200)),
    Pair("a disobedient box that was lost too disobeys until it obeys", ("I1p",), "last confirmed limit is 10.0 A",
         lambda run: disobeys_and_was_lost(run, at("12:30")), lambda run: disobeys_and_was_lost(run, KILL - 30_000)),
    Pair("35 s with its own meter silent", ("I1p",), "35.7 s above 1.00",
         lambda run: overload(run, 35.5, "grid"), lambda run: overload(run, 35.7, "grid")),
    Pair("35 s with no other meter silent", ("I1p",), "26.0 s above 1.00",
         lambda run: overload(run, 25.5, "m1"), lambda run: overload(run, 26.0, "m1")),
    Pair("45 s where a box cannot hold the 0 A that it was told", ("I1p",), "45.7 s above 1.00",
         lambda run: held_up(run, 6000, 45.5), lambda run: held_up(run, 6000, 45.7)),
    Pair("25 s where a box can hold what it was told", ("I1p",), "26.0 s above 1.00",
         lambda run: held_up(run, 0, 25.5), lambda run: held_up(run, 0, 26.0)),
    Pair("an id that the CSMS gives twice", ("I4",), "came after the stop",
         lambda run: id_again(run, old_goes_on=False), lambda run: id_again(run, old_goes_on=True)),
    Pair("an id toward a charger is given once", ("I4",), "were both given transaction",
         lambda run: own_id(run, LOCAL_ID - 1), lambda run: own_id(run, LOCAL_ID)),
    Pair("a start is given up after three errors", ("I4", "I5"), "names transaction -1, which the CSMS has not",
         gave_up, lambda run: gave_up(run, attempts=2)),
    Pair("what belongs to no start names what the charger says", ("I4", "I10"), "the charger has none, and says -1",
         gave_up, lambda run: gave_up(run, id_at_csms=1001)),
    Pair("an answer that is still under way", ("I10",), "the answer to s-b-start",
         lambda run: under_way(run, 4500), lambda run: under_way(run, 5200)),
    Pair("an answer that the box's cut swallowed", ("I10",), "the answer to s-b-start",
         lambda run: cut_at(run, "box2"), lambda run: cut_at(run, "box1")),
    Pair("an answer that came when the parts had ended", ("I10",), "the answer to s-b-start",
         lambda run: parts_end(run, 600_500), lambda run: parts_end(run, 601_000)),
    Pair("an answer of the CSMS needs its way", ("I10",), "the answer to s-a-stop",
         lambda run: answered_first(run, 1), lambda run: answered_first(run, 2)),
    Pair("while the disk is full a box is told an error", ("I10",), "the answer to s-a-mv0",
         lambda run: cannot_write(run, 0), lambda run: cannot_write(run, -2000)),
    Pair("an answer to a stop that is told again", ("I10",), "the answer to s-b-stop",
         lambda run: stops_again(run, "box2"), lambda run: stops_again(run, "box1")),
    Pair("an answer that is told again", ("I10",), "the answer to s-b-start",
         lambda run: asks_again(run, missed=True), lambda run: asks_again(run, missed=False)),
)  # fmt: skip
