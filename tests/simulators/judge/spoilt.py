"""One way each to spoil a good run, and what the judge must say to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.simulators.judge.builder import EPOCH, GW, LOCAL_ID, Body, Run, at, iso, ocmf, seal
from tests.simulators.judge.good_run import KILL, READY


@dataclass(frozen=True)
class Case:
    """`breaks` are the invariants that must break, all of them and no other; `says` stands in the first one's text."""

    name: str
    breaks: tuple[str, ...]
    says: str
    spoil: Callable[[Run], None]


def frames(run: Run, at_charger: bool, message_id: str, *, call: bool) -> list[Body]:
    """The lines of one message on one wire."""
    kind = "[2," if call else "[3,"
    lines = run.charger_wire if at_charger else run.csms_wire
    return [line for line in lines if line["frame"].startswith(f'{kind}"{message_id}"')]


def lose_message(run: Run, message_id: str) -> None:
    """The CSMS never got it."""
    run.messages[:] = [message for message in run.messages if message[1] != message_id]
    gone = frames(run, False, message_id, call=True) + frames(run, False, message_id, call=False)
    run.csms_wire[:] = [line for line in run.csms_wire if line not in gone]


def count_thinned(run: Run, received: int, kept: int) -> None:
    body = {"charger": "box2", "transaction_id": LOCAL_ID, "quarter": 1, "received": received, "kept": kept}
    run.bodies.append(("event", "thinned.v1", body))


def end_register_up(run: Run) -> None:
    """The end register is 1 Wh too high, and everything that is made of it agrees."""
    end, split = run.body("session.end.v1", session="s-b"), run.body("split.v1", session="s-b")
    end["end_wh"] += 1
    end["energy_wh"] += 1
    end["ocmf_end"] = ocmf(4, "E", "CARD-B", "box2", end["end_wh"], at("12:40:01"))
    split["energy_wh"] += 1
    split["solar_wh"] += 1


def second_record(run: Run) -> None:
    lane, schema, body = next(one for one in run.bodies if one[1] == "session.end.v1")
    run.bodies.append((lane, schema, dict(body)))


def unverifiable(run: Run) -> None:
    end = run.body("session.end.v1", session="s-a")
    end["ocmf_end"] = end["ocmf_end"].replace('"PG":"T2"', '"PG":"T9"')


def same_page(run: Run) -> None:
    end = run.body("session.end.v1", session="s-a")
    end["ocmf_end"] = ocmf(1, "E", "CARD-A", "box1", end["end_wh"], at("13:05:01"))


def legal_time(run: Run) -> None:
    end = run.body("session.end.v1", session="s-a")
    end["ocmf_end"] = ocmf(2, "E", "CARD-A", "box1", end["end_wh"], at("13:05:01"), letter="S")


def unbillable(run: Run, reason: str | None, energy_wh: int | None) -> None:
    """A third session that may not be billed."""
    begin = dict(run.body("session.begin.v1", session="s-b"), session="s-c", ocmf_begin=None, begin_wh=None)
    end = dict(run.body("session.end.v1", session="s-b"), session="s-c", billable=False, ocmf_begin=None, ocmf_end=None)
    end |= {"unbillable_reason": reason, "energy_wh": energy_wh, "begin_wh": None, "end_wh": None, "signed_by": "none"}
    run.bodies += [("billing", "session.begin.v1", begin), ("billing", "session.end.v1", end)]


def other_key(run: Run) -> None:
    key = ec.derive_private_key(99, ec.SECP256R1()).public_key()
    run.keys = [{"key_id": "k", "spki_hex": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()}]


def wrong_class(run: Run) -> None:
    """What was taken after 13:00 is billed as high tariff; the sums still close."""
    split = run.body("split.v1", session="s-a")
    split["classes_wh"] = {"HT": sum(split["classes_wh"].values())}


def carry_forgotten(run: Run) -> None:
    """Each quarter hour begins with a carry of zero; within itself each computes rightly."""
    for _, schema, body in run.bodies:
        for share in body["shares"] if schema == "interval.v1" else ():
            share["carry_after_nano_wh"] -= share["carry_before_nano_wh"]
            share["carry_before_nano_wh"] = 0


def quarter_gone(run: Run) -> None:
    run.bodies[:] = [one for one in run.bodies if one[2].get("start") != iso(at("12:45"))]
    run.bodies[:] = [one for one in run.bodies if one[2].get("session") != "s-a"]
    run.story[:] = [line for line in run.story if line.get("card") != "CARD-A"]


def shift_solar(run: Run) -> None:
    """1 Wh of solar goes from the flats to the box; the sum stays."""
    body = run.body("interval.v1", start=iso(at("11:45")))
    shares = {share["participant"]: share for share in body["shares"]}
    for who, more in (("p2", 1), ("rest", -1)):
        shares[who]["solar_wh"] += more
        shares[who]["grid_wh"] -= more
    body["sessions"][-1]["solar_wh"] += 1
    body["sessions"][-1]["grid_wh"] -= 1
    split = run.body("split.v1", session="s-b")
    for key, more in (("solar_wh", 1), ("classes_wh", -1), ("solar_by_class_wh", 1)):
        split[key] = split[key] + more if key == "solar_wh" else {"HT": split[key]["HT"] + more}


def late_boundary(run: Run) -> None:
    """The meters were really asked 8 s late, and the body says so."""
    moment = at("12:15")
    for number, row in enumerate(run.served):
        if row[0] == "pv" and row[1] == moment + 2000:
            run.served[number] = (row[0], moment + 8000, *row[2:])
    for start, side in ((at("12:00"), "at_end"), (at("12:15"), "at_start")):
        register = run.body("interval.v1", start=iso(start))[side]["pv"]
        register |= {"requested_ms": moment + 7950, "replied_ms": moment + 8050}


def lying_meter(run: Run) -> None:
    """The truth says that the sun gave 50 Wh more by 12:15 than the registers tell."""
    run.boundary[:] = [
        (meter, ms, taken, given + 50 if meter == "pv" and ms == at("12:15") else given)
        for meter, ms, taken, given in run.boundary
    ]


def missing_boundary(run: Run) -> None:
    """A register is missing although the gateway and the meter were there."""
    for start, side in ((at("11:45"), "at_end"), (at("12:00"), "at_start")):
        body = run.body("interval.v1", start=iso(start))
        body[side]["m1"] = None
        body["missing"] = ["meter m1: not read"]


def unsettled(run: Run) -> None:
    """Every register is known, and still the house was not settled."""
    body = run.body("interval.v1", start=iso(at("11:30")))
    body |= {"consumption_wh": None, "solar_wh": None, "shares": [], "missing": ["meter m1: its register went back"]}


def tampered(rows: list[Body]) -> None:
    rows[-1]["body"] = rows[-1]["body"].replace("warning", "error")


def gap(rows: list[Body]) -> None:
    del rows[-2]


def reseal(rows: list[Body], number: int, prev: str) -> None:
    rows[number]["prev"] = prev
    seal(rows[number])


def rid_twice(rows: list[Body]) -> None:
    rows[-1]["rid"] = rows[0]["rid"]
    seal(rows[-1])


def spoil_rows(how: Callable[[list[Body]], None]) -> Callable[[Run], None]:
    def spoil(run: Run) -> None:
        run.spoil_records = how

    return spoil


def head_ahead(run: Run) -> None:
    def spoil(state: Body) -> None:
        state["heads"]["billing"] = (state["heads"]["billing"][0] + 1, "0" * 64)

    run.spoil_state = spoil


def old_state(run: Run) -> None:
    run.state_ms = at("13:00")


def rewrite(run: Run, at_charger: bool, message_id: str, *, call: bool) -> None:
    for line in frames(run, at_charger, message_id, call=call):
        line["frame"] = json.dumps(json.loads(line["frame"]))


def change(run: Run, at_charger: bool, message_id: str, old: str, new: str, *, call: bool = True) -> None:
    for line in frames(run, at_charger, message_id, call=call):
        assert old in line["frame"]
        line["frame"] = line["frame"].replace(old, new)


def forget_map(run: Run) -> None:
    """Meter values leave with the charger's id, which the CSMS has never given out."""
    change(run, False, "s-b-mv3", '"transactionId":1001', f'"transactionId":{LOCAL_ID}')
    change_message(run, "s-b-mv3", '"transactionId": 1001', f'"transactionId": {LOCAL_ID}')


def change_message(run: Run, message_id: str, old: str, new: str) -> None:
    for number, message in enumerate(run.messages):
        if message[1] == message_id:
            assert old in message[3]
            run.messages[number] = (*message[:3], message[3].replace(old, new), message[4])


def swap(run: Run) -> None:
    """Two meter values arrive in the wrong order."""
    numbers = {message[1]: number for number, message in enumerate(run.messages)}
    one, other = numbers["s-a-mv8"], numbers["s-a-mv9"]
    first, second = run.messages[one], run.messages[other]
    run.messages[one], run.messages[other] = (*first[:4], second[4]), (*second[:4], first[4])


def other_id(run: Run) -> None:
    """A stop is told again, under a new id."""
    message = next(message for message in run.messages if message[1] == "s-a-stop")
    run.messages.append((message[0], "again", *message[2:4], message[4] + 1))


def again(run: Run) -> None:
    """A message is told again, with its id and bytes."""
    message = next(message for message in run.messages if message[1] == "s-b-mv2")
    run.messages.append((*message[:4], message[4] + 1))
    (line,) = frames(run, False, "s-b-mv2", call=True)
    run.csms_wire.append({**line, "t": line["t"] + 1})


def invented(run: Run) -> None:
    """A transaction message that no charger sent."""
    text = '[2,"made-up","DataTransfer",{"vendorId":"x"}]'
    run.csms_wire.append({"t": at("12:45"), "charger": "box1", "dir": "in", "frame": text})


def draws(run: Run, since_ms: int, current_ma: int) -> None:
    run.draw[:] = [
        (box, ms, current_ma if box == "box1" and ms >= since_ms else current, limit)
        for box, ms, current, limit in run.draw
    ]


def lost_charger(run: Run) -> None:
    """40 s above the limit while a box was lost."""
    run.story += [
        {"t": at("12:20"), "what": "charger_lost", "charger": "box1"},
        {"t": at("12:22"), "what": "charger_back", "charger": "box1"},
    ]
    over(run, "over_100", 40.0, "12:21")


def over(run: Run, kind: str, seconds: float, clock: str) -> None:
    run.fuse.append(("house", 3, at(clock), kind, seconds, 1.5))


def thinned_rightly(run: Run) -> None:
    for number in (3, 4):
        lose_message(run, f"s-b-mv{number}")
    count_thinned(run, 4, 2)


def rejected(run: Run) -> None:
    """A record that both sides list as dead leaves its place in the chain."""
    run.bodies.append(("billing", "split.v1", {"session": "s-x"}))
    run.bodies.append(("event", "notice.v1", {"kind": "dead_letter"}))

    def refuse(rows: list[Body]) -> None:
        dead = next(row for row in rows if "s-x" in row["body"])
        run.rejected.append((GW, EPOCH, "billing", dead["seq"]))
        rows.remove(dead)

    run.spoil_records = refuse


def empty_lane(run: Run) -> None:
    """Nothing happened that an operator must see: the event lane's head is 0."""
    run.bodies[:] = [one for one in run.bodies if one[0] != "event"]

    def spoil(state: Body) -> None:
        state["heads"]["event"] = (0, "0" * 64)

    run.spoil_state = spoil


def correction(run: Run) -> None:
    """A quarter hour is settled again from the carry that its first version received, with the same result."""
    body = run.body("interval.v1", start=iso(at("12:00")))
    run.bodies.append(("billing", "interval.v1", {**body, "version": 2, "state": "corrected"}))


def adjusted(run: Run, wrong_by: int = 0) -> None:
    """12:00 was first settled with 1 Wh in the wrong place; 12:45 gets the difference of its carry."""
    body = run.body("interval.v1", start=iso(at("12:00")))
    first = copy.deepcopy(body)
    for share in first["shares"]:
        share["wh"] += -1 if share["participant"] == "p1" else 1 if share["participant"] == "rest" else 0
        share["grid_wh"] = share["wh"] - share["solar_wh"]
    shares = {share["participant"]: share for share in body["shares"]}
    deltas = {}
    for share in first["shares"]:
        exact = Fraction(first["solar_wh"] * share["wh"], sum(one["wh"] for one in first["shares"]))
        share["carry_after_nano_wh"] = round(share["carry_before_nano_wh"] + (exact - share["solar_wh"]) * 10**9)
        deltas[share["participant"]] = (
            shares[share["participant"]]["carry_after_nano_wh"] - share["carry_after_nano_wh"]
        )
    number = next(n for n, one in enumerate(run.bodies) if one[2] is body)
    run.bodies[number] = ("billing", "interval.v1", first)
    run.bodies.append(("billing", "interval.v1", {**body, "version": 2, "state": "corrected"}))
    for clock in ("12:15", "12:30"):
        for share in run.body("interval.v1", start=iso(at(clock)))["shares"]:
            share["carry_before_nano_wh"] -= deltas[share["participant"]]
            share["carry_after_nano_wh"] -= deltas[share["participant"]]
    for share in run.body("interval.v1", start=iso(at("12:45")))["shares"]:
        share["adjustment_nano_wh"] = deltas[share["participant"]] + wrong_by


def second_split(run: Run, delta: int) -> None:
    split = run.body("split.v1", session="s-b")
    run.bodies.append(("billing", "split.v1", {**split, "version": 2, "delta_solar_wh": delta}))


def slow_twice(run: Run) -> None:
    """Two slow spells overlap; the answer is on its way when the first is over and the second is not."""
    swallowed_answer(run)
    run.story = [line for line in run.story if not line["what"].startswith(("uplink_half", "uplink_whole"))]
    for minute, what in (("50", "slow"), ("51", "slow"), ("53", "fast"), ("58", "fast")):
        run.story.append({"t": at(f"11:{minute}"), "what": f"uplink_{what}", "link": "csms", "ms": 4000})


def swallowed_answer(run: Run) -> None:
    """The CSMS answered on a connection that was half open, and the gateway answered by itself."""
    cut_answer(run)
    run.story = [line for line in run.story if line["t"] != at("11:55") or line["what"] != "uplink_cut"]
    run.story.append({"t": at("11:54"), "what": "uplink_half_open", "link": "csms"})
    run.story.append({"t": at("11:58"), "what": "uplink_whole", "link": "csms"})


def late_answer(run: Run, after_s: int, slow_ms: int) -> None:
    """The CSMS answered a start after a CALL timeout; on a slow link the gateway's own answer came after that."""
    run.site += "\n[ocpp]\ncall_timeout_s = 15\n"
    run.speed = 1.0
    answer = '[3,"s-b-start",{"transactionId":1001,"idTagInfo":{"status":"Accepted"}}]'
    run.story = [line for line in run.story if line["what"] != "uplink_cut"]
    run.story.append({"t": at("11:54"), "what": "charger_slow", "charger": "box2", "ms": slow_ms})
    run.story.append({"t": at("11:58"), "what": "charger_fast", "charger": "box2", "ms": slow_ms})
    run.csms_wire.append({"t": at("11:55") + 1000 * after_s, "charger": "box2", "dir": "out", "frame": answer})
    for line in frames(run, True, "s-b-start", call=False):
        line["t"] = at("11:55") + 20_000


def cut_answer(run: Run) -> None:
    """The CSMS answered a start, the cut swallowed it, and the gateway answered by itself."""
    answer = '[3,"s-b-start",{"transactionId":1001,"idTagInfo":{"status":"Accepted"}}]'
    run.story.append({"t": at("11:55"), "what": "uplink_cut"})
    run.csms_wire.append({"t": at("11:55"), "charger": "box2", "dir": "out", "frame": answer})


CASES = (
    Case("a car without a session", ("story",), "charged 2 times", lambda run: run.story.extend(
        {"t": at("11:32"), "what": what, "charger": "box1", "card": "CARD-A"} for what in ("car_started", "car_stopped")
    )),
    Case("billed to another tenant", ("story",), "billed to T-9", lambda run: run.body(
        "session.end.v1", session="s-a").update(tenant="T-9")),
    Case("a fuse opens", ("I1p",), "opened", lambda run: over(run, "trip", 0.0, "12:20")),
    Case("overload for too long", ("I1p",), "26.0 s above 1.00", lambda run: over(run, "over_100", 26.0, "12:20")),
    Case("a strong overload for too long", ("I1p",), "above 1.45", lambda run: over(run, "over_145", 6.0, "12:20")),
    Case("no fallback", ("I1p",), "its fallback is 6.0 A", lambda run: draws(run, KILL + 155_000, 16_000)),
    Case("more than the last limit", ("I1p",), "last confirmed limit", lambda run: draws(run, KILL + 20_000, 16_000)),
    Case("nobody was killed", ("I1p",), "never killed", lambda run: run.story.__setitem__(
        slice(None), [line for line in run.story if line["what"] != "gateway_killed"])),
    Case("confirmed meter values are lost", ("I3",), "1 confirmed MeterValues never", lambda run: lose_message(
        run, "s-b-mv3")),
    Case("a confirmed stop is lost", ("I3",), "s-b-stop was confirmed and lost", lambda run: lose_message(
        run, "s-b-stop")),
    Case("more thinned than missing", ("I3",), "1 are counted", lambda run: count_thinned(run, 2, 1)),
    Case("order", ("I4",), "came after the later MeterValues s-a-mv9", swap),
    Case("told twice under two ids", ("I4",), "under two ids", other_id),
    Case("an id that the CSMS does not know", ("I4", "I10"), f"names transaction {LOCAL_ID}", forget_map),
    Case("a stop that nobody answered", ("I4",), "never answered", lambda run: [
        run.charger_wire.remove(line) for line in frames(run, True, "s-a-stop", call=False)]),
    Case("a second transaction at the CSMS", ("I4",), "2 transactions", lambda run: run.tx.append(("box1", 1002))),
    Case("two end records", ("I5",), "2 end records", second_record),
    Case("a signature that does not fit", ("I5",), "no public key", unverifiable),
    Case("another key", ("I5",), "no public key", other_key),
    Case("a page used twice", ("I5",), "used twice", same_page),
    Case("legal time claimed", ("I5",), "time letter S", legal_time),
    Case("not billable without a reason", ("I5",), "no reason", lambda run: unbillable(run, None, None)),
    Case("not billable, but with energy", ("I5",), "has energy", lambda run: unbillable(run, "no register", 5)),
    Case("the signed text says something else", ("I5",), "says", lambda run: run.body(
        "session.end.v1", session="s-a").update(ocmf_end=ocmf(2, "E", "CARD-A", "box1", 1, at("13:05:01")))),
    Case("energy is not end - begin", ("I6",), "the registers differ", lambda run: run.body(
        "session.end.v1", session="s-a").update(energy_wh=1)),
    Case("end register one up", ("I6",), "gave no", end_register_up),
    Case("wrong class", ("I6",), "by quarter hour and calendar", wrong_class),
    Case("a split that was never made", ("I6",), "never split", lambda run: run.bodies.remove(
        ("billing", "split.v1", run.body("split.v1", session="s-b")))),
    Case("a difference that is not", ("I6",), "another difference", lambda run: second_split(run, 3)),
    Case("carry dropped", ("I7",), "handed on were", carry_forgotten),
    Case("an adjustment by another name", ("I7",), "names an adjustment", lambda run: adjusted(run, 1)),
    Case("carry arithmetic", ("I7",), "off by", shift_solar),
    Case("a quarter hour is missing", ("I7",), "quarter hour 12:45 is missing", quarter_gone),
    Case("boundary too late", ("I7",), "8.00 s late", late_boundary),
    Case("not what the building consumed", ("I7",), "true are", lying_meter),
    Case("boundary missing for no reason", ("I7",), "for no reason", missing_boundary),
    Case("known, but not settled", ("I7",), "yet it was not settled", unsettled),
    Case("house does not close", ("I7",), "the balance", lambda run: run.body("interval.v1").update(consumption_wh=1)),
    Case("a record changed on the way", ("I8",), "hash does not fit", spoil_rows(tampered)),
    Case("a gap in the lane", ("I8",), "is missing before it", spoil_rows(gap)),
    Case("a broken chain", ("I8",), "does not follow", spoil_rows(lambda rows: reseal(rows, -1, "1" * 64))),
    Case("a record id twice", ("I8",), "stands 2 times", spoil_rows(rid_twice)),
    Case("the cloud is behind", ("I8",), "the cloud has come to", head_ahead),
    Case("the gateway's word is old", ("I8",), "older than the last stop", old_state),
    Case("resent with other bytes", ("I8",), "other bytes", lambda run: run.duplicate.append(
        (GW, EPOCH, "billing", 1, 0))),
    Case("a start answered by the gateway though the CSMS had", ("I10",), "s-b-start", lambda run: late_answer(
        run, 17, 2500)),
    Case("a rewritten call", ("I10",), "from byte", lambda run: rewrite(run, False, "s-a-mv2", call=True)),
    Case("a rewritten answer", ("I10",), "the answer to s-a-mv2", lambda run: rewrite(
        run, True, "s-a-mv2", call=False)),
    Case("a rewritten call of the CSMS", ("I10",), "of the CSMS", lambda run: rewrite(run, True, "c-2", call=True)),
    Case("a rewritten answer to the CSMS", ("I10",), "the answer to c-1", lambda run: rewrite(
        run, False, "c-1", call=False)),
    Case("a stop for another transaction", ("I10",), "which the map does not say", lambda run: change(
        run, True, "c-1", str(LOCAL_ID), "1001")),
    Case("a message of nobody", ("I10",), "came from no charger", invented),
)  # fmt: skip

ALLOWED = (
    Case("a repeat with its own id", (), "", again),
    Case("thinned and counted", (), "", thinned_rightly),
    Case("a session that may not be billed, with its reason", (), "", lambda run: unbillable(run, "no register", None)),
    Case("40 s with a lost charger", (), "", lost_charger),
    Case("overload while the gateway is dead", (), "", lambda run: over(run, "over_100", 200.0, "12:05:10")),
    Case("a rejected record", (), "", rejected),
    Case("a quarter hour settled again", (), "", correction),
    Case("a correction that later quarter hours work in", (), "", adjusted),
    Case("a second split with its difference", (), "", lambda run: second_split(run, 0)),
    Case("a lane that has no record yet", (), "", empty_lane),
    Case("an answer that the cut swallowed", (), "", cut_answer),
    Case("an answer given while one of two slow spells lasted", (), "", slow_twice),
    Case("an answer that a half-open connection swallowed", (), "", swallowed_answer),
    Case("an answer that met the gateway's own on a slow link", (), "", lambda run: late_answer(run, 18, 2500)),
    Case("a car's first three seconds", (), "", lambda run: draws_first_seconds(run)),
)


def draws_first_seconds(run: Run) -> None:
    """box1's car begins when the box is alone, and draws 10 A for three seconds."""
    begins = KILL + 200_000
    run.draw[:] = [
        (
            box,
            ms,
            (0 if ms < begins else 10_000 if ms < begins + 3000 else current) if box == "box1" else current,
            limit,
        )
        for box, ms, current, limit in run.draw
        if ms <= READY
    ]
