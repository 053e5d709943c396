"""The run in which everything is right; the tests spoil one thing at a time."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

from tests.simulators.judge.builder import (
    BASE,
    END,
    LOCAL_ID,
    QUARTER,
    SKEW,
    START,
    Body,
    Run,
    at,
    iso,
    ocmf,
    power_w,
    true_wh,
)

NANO = 10**9
CUT, BACK, KILL, READY = at("11:50"), at("12:35"), at("12:05"), at("12:09")
SESSIONS = {
    "s-a": ("box1", "m1", "CARD-A", "T-1", "p1", at("11:31"), at("13:05"), 1000),
    "s-b": ("box2", "m2", "CARD-B", "T-2", "p2", at("11:55"), at("12:40"), LOCAL_ID),
}
CSMS_ID = {1000: 1000, LOCAL_ID: 1001}


def good_run() -> Run:
    """Everything holds."""
    run = Run()
    _tell(run)
    _truth(run)
    _traffic(run)
    _records(run)
    return run


def _tell(run: Run) -> None:
    def event(clock: int, what: str, **keys: Any) -> None:
        run.story.append({"t": clock, "what": what, **keys})

    event(at("11:29:50"), "gateway_ready")
    event(CUT, "uplink_cut")
    event(KILL, "gateway_killed")
    event(READY, "gateway_ready")
    event(BACK, "uplink_back")
    event(at("12:00"), "card_refused", charger="box2", card="CARD-X")
    for box, _, card, _, _, begin, end, _ in SESSIONS.values():
        event(begin, "car_started", charger=box, card=card)
        event(end, "car_stopped", charger=box, card=card)
    event(END, "story_end")


def register(meter: str, ms: int) -> tuple[int, int | None]:
    """What a meter gives: whole Wh; only grid and pv have an export register."""
    taken, given = true_wh(meter, ms)
    return int(taken), int(given) if meter in ("grid", "pv") else None


def _truth(run: Run) -> None:
    for meter in BASE:
        for boundary in range(START, END + 1, QUARTER):
            run.boundary.append((meter, boundary, *true_wh(meter, boundary)))
            run.served.append((meter, boundary + SKEW, *register(meter, boundary + SKEW)))
        for k in range(START // QUARTER, END // QUARTER + 1):
            span = range(k * QUARTER, (k + 1) * QUARTER, 60_000)
            run.power.append((meter, k, max(abs(power_w(meter, ms)) for ms in span)))
    for _, meter, _, _, _, begin, end, _ in SESSIONS.values():
        run.served.append((meter, begin - 1000, *register(meter, begin - 1000)))
        run.served.append((meter, end + 1000, *register(meter, end + 1000)))
    run.fuse += [("house", phase, START, "watched", (END - START) / 1000, 0.9) for phase in (1, 2, 3)]
    run.fuse.append(("house", 2, at("11:40"), "over_100", 12.0, 1.1))
    for box, meter in (("box1", "m1"), ("box2", "m2")):
        for ms in range(KILL - 60_000, READY + 1, 1000):
            run.draw.append((box, ms, round(power_w(meter, ms) / 690 * 1000), 6000))


def wire(run: Run, charger: str, at_charger: bool, out: bool, ms: int, frame: list[Any]) -> None:
    """One frame on one wire, in the compact spelling of the simulators."""
    lines = run.charger_wire if at_charger else run.csms_wire
    text = json.dumps(frame, separators=(",", ":"))
    lines.append({"t": ms, "charger": charger, "dir": "out" if out else "in", "frame": text})


def exchange(
    run: Run, charger: str, message_id: str, action: str, payload: Body, ms: int, answer: Body, csms: Body | None = None
) -> None:
    """A CALL of a charger with both answers: relayed at once while the uplink is there, else told after it is back."""
    offline = CUT <= ms < BACK
    wire(run, charger, True, True, ms, [2, message_id, action, payload])
    wire(run, charger, True, False, ms + 200, [3, message_id, answer])
    told = BACK + (ms - CUT) // 100 if offline else ms + 50
    upward = dict(payload)
    if "transactionId" in upward:
        upward["transactionId"] = CSMS_ID[upward["transactionId"]]
    wire(run, charger, False, False, told, [2, message_id, action, upward])
    wire(run, charger, False, True, told + 10, [3, message_id, answer if csms is None else csms])
    run.messages.append((charger, message_id, action, json.dumps(upward), told))


def _traffic(run: Run) -> None:
    info = {"idTagInfo": {"status": "Accepted"}}
    for name, (box, _, card, _, _, begin, end, local) in SESSIONS.items():
        start = {"connectorId": 1, "idTag": card, "meterStart": 0, "timestamp": iso(begin)}
        answer = {"transactionId": local, **info}
        exchange(
            run,
            box,
            f"{name}-start",
            "StartTransaction",
            start,
            begin,
            answer,
            {**answer, "transactionId": CSMS_ID[local]},
        )
        run.tx.append((box, CSMS_ID[local]))
        for number, ms in enumerate(range(begin + 270_000, end, 300_000)):
            values = {
                "connectorId": 1,
                "transactionId": local,
                "meterValue": [{"timestamp": iso(ms), "sampledValue": []}],
            }
            exchange(
                run,
                box,
                f"{name}-mv{number}",
                "MeterValues",
                values,
                ms if not KILL <= ms < READY else READY + 5000,
                {},
            )
        stop = {"transactionId": local, "idTag": card, "meterStop": 9, "timestamp": iso(end)}
        exchange(run, box, f"{name}-stop", "StopTransaction", stop, end, info)
        limit(run, box, f"{name}-limit", begin + 2000, local, 16.0)
        limit(run, box, f"{name}-last", KILL - 20_000, local, 10.0)
    wire(run, "box1", False, False, at("12:37"), [2, "gw-1", "Heartbeat", {}])
    wire(run, "box1", False, True, at("12:37") + 10, [3, "gw-1", {"currentTime": iso(at("12:37"))}])
    _remote(run)


def limit(run: Run, box: str, message_id: str, ms: int, transaction: int, ampere: float) -> None:
    """A TxProfile of the gateway that the box accepts."""
    schedule = {
        "duration": 120, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": ampere}],
    }  # fmt: skip
    profile = {"chargingProfilePurpose": "TxProfile", "transactionId": transaction, "chargingSchedule": schedule}
    wire(
        run,
        box,
        True,
        False,
        ms,
        [2, message_id, "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}],
    )
    wire(run, box, True, True, ms + 50, [3, message_id, {"status": "Accepted"}])


def _remote(run: Run) -> None:
    """The CSMS asks box2 to unlock while it runs a mapped transaction, and to stop a transaction by its own id."""
    ms = at("12:38")
    for message_id, up, down in (("c-1", {"transactionId": 1001}, {"transactionId": LOCAL_ID}), ("c-2", {}, {})):
        action = "RemoteStopTransaction" if up else "ClearCache"
        wire(run, "box2", False, True, ms, [2, message_id, action, up])
        wire(run, "box2", True, False, ms + 50, [2, message_id, action, down])
        wire(run, "box2", True, True, ms + 80, [3, message_id, {"status": "Rejected"}])
        wire(run, "box2", False, False, ms + 120, [3, message_id, {"status": "Rejected"}])


def boundary_value(meter: str, boundary: int) -> Body:
    """A register as an interval body states it."""
    taken, given = register(meter, boundary + SKEW)
    return {
        "import_wh": taken, "export_wh": given, "requested_ms": boundary + SKEW - 50,
        "replied_ms": boundary + SKEW + 50, "serial": None, "model": "", "map_version": "", "raw": "",
    }  # fmt: skip


def _records(run: Run) -> None:
    carry: dict[str, int] = {}
    parts: dict[str, list[Body]] = {name: [] for name in SESSIONS}
    intervals = [_interval(k, carry, parts) for k in range(START // QUARTER, END // QUARTER)]
    for page, (name, (box, meter, card, tenant, participant, begin, end, local)) in enumerate(SESSIONS.items()):
        begin_wh, end_wh = register(meter, begin - 1000)[0], register(meter, end + 1000)[0]
        common = {
            "session": name, "charger": box, "connector": 1, "transaction_id": local, "id_tag": card, "tenant": tenant,
            "participant": participant, "begin": iso(begin), "begin_quality": "simulated", "begin_wh": begin_wh,
            "begin_provenance": "meter", "charger_begin_wh": 0, "meter": meter,
            "ocmf_begin": ocmf(2 * page + 1, "B", card, box, begin_wh, begin - 1000),
        }  # fmt: skip
        ended = {
            "end": iso(end + 1000), "stop": iso(end), "end_quality": "simulated", "end_wh": end_wh,
            "end_provenance": "meter", "charger_end_wh": 9, "energy_wh": end_wh - begin_wh, "stop_reason": "Local",
            "billable": True, "unbillable_reason": None, "meter_serial": f"SN-{box}", "signed_by": "gateway",
            "ocmf_end": ocmf(2 * page + 2, "E", card, box, end_wh, end + 1000), "charger_records": [],
        }  # fmt: skip
        run.bodies.append(("billing", "session.begin.v1", dict(common)))
        run.bodies.append(("billing", "session.end.v1", common | ended))
        run.bodies.append(("billing", "split.v1", _split(name, end_wh - begin_wh, parts[name])))
    run.bodies += [("billing", "interval.v1", interval) for interval in intervals]
    notice = {"kind": "uplink_lost", "subject": "operator", "cause": "", "next_step": "", "severity": "warning"}
    run.bodies += [("event", "notice.v1", notice), ("event", "notice.v1", dict(notice, kind="uplink_back"))]


def _split(name: str, energy_wh: int, parts: list[Body]) -> Body:
    grid: dict[str, int] = {}
    solar: dict[str, int] = {}
    for part in parts:
        grid[part["class"]] = grid.get(part["class"], 0) + part["grid_wh"]
        solar[part["class"]] = solar.get(part["class"], 0) + part["solar_wh"]
    return {
        "session": name, "version": 1, "state": "final", "energy_wh": energy_wh, "solar_wh": sum(solar.values()),
        "classes_wh": grid, "solar_by_class_wh": solar, "delta_solar_wh": 0, "delta_classes_wh": {},
        "intervals": [part["k"] for part in parts], "reason": "",
    }  # fmt: skip


def _interval(k: int, carry: dict[str, int], parts: dict[str, list[Body]]) -> Body:
    """Settle one quarter hour with fractions: whoever has most coming gets the next Wh."""
    start, end = k * QUARTER, (k + 1) * QUARTER
    at_start = {meter: boundary_value(meter, start) for meter in BASE}
    at_end = {meter: boundary_value(meter, end) for meter in BASE}
    moved = {meter: at_end[meter]["import_wh"] - at_start[meter]["import_wh"] for meter in BASE}
    export = at_end["grid"]["export_wh"] - at_start["grid"]["export_wh"]
    made = at_end["pv"]["export_wh"] - at_start["pv"]["export_wh"]
    house = moved["grid"] + made - export
    solar = made - export
    consumed = {"p1": moved["m1"], "p2": moved["m2"], "rest": house - moved["m1"] - moved["m2"]}
    exact = {who: Fraction(solar * wh * NANO, house) + carry.get(who, 0) for who, wh in consumed.items()}
    given = {who: min(wh, max(0, int(exact[who] // NANO))) for who, wh in consumed.items()}
    while sum(given.values()) < solar:
        open_to = [who for who, wh in consumed.items() if given[who] < wh]
        given[max(open_to, key=lambda who: exact[who] - given[who] * NANO)] += 1
    after = {who: round(exact[who] - given[who] * NANO) for who in consumed}
    shares = [
        {"participant": who, "wh": wh, "solar_wh": given[who], "grid_wh": wh - given[who],
         "carry_before_nano_wh": carry.get(who, 0), "carry_after_nano_wh": after[who], "estimated": False}
        for who, wh in consumed.items()
    ]  # fmt: skip
    carry.update(after)
    name = "HT" if start < at("13:00") else "NT"
    took = []
    for session, (_, _, _, _, who, _, _, _) in SESSIONS.items():
        if consumed[who]:
            part = {"session": session, "participant": who, "wh": consumed[who], "solar_wh": given[who]}
            took.append({**part, "grid_wh": consumed[who] - given[who]})
            parts[session].append({**took[-1], "k": k, "class": name})
    return {
        "k": k, "start": iso(start), "end": iso(end), "version": 1, "state": "final", "balance": "meter",
        "key": "dynamic", "tariff": "EGBB", "tariff_class": name, "quality": "simulated", "at_start": at_start,
        "at_end": at_end, "import_wh": moved["grid"], "export_wh": export, "production_wh": made,
        "battery_charge_wh": 0, "battery_discharge_wh": 0, "consumption_wh": house, "solar_wh": solar,
        "unallocated_wh": 0, "imbalance_wh": 0, "shares": shares, "sessions": took, "outside": [], "missing": [],
    }  # fmt: skip
