"""Conversations of one charger, frame by frame: feed, expect, feed, expect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model import Reading, TimeQuality
from gateway.store import chargers, journal, outbox
from tests.ocpp.bench import Bench, meter, start, started, stop

LOCAL = 2**31 - 1


def test_a_start_is_on_disk_before_the_csms_sees_it_and_its_answer_before_the_charger() -> None:
    """Design rule 1, with the register of the MID meter that was read for it (rule 12)."""
    bench = Bench().accepted()
    bench.reading = Reading("m1", 1, 2, TimeQuality.NTP, 1234)
    bench.disk_full = True
    bench.say("charger", start())
    assert bench.take("csms") == []
    assert bench.take("charger")[0][:3] == [4, "s1", "InternalError"]
    bench.disk_full = False
    bench.say("charger", start())
    assert bench.take("csms") == [start()]
    bench.disk_full = True
    bench.say("csms", started("s1", 7))
    assert bench.take("charger") == []
    bench.disk_full = False
    bench.later(15)
    answer = bench.take("charger")[0]
    assert answer[2]["transactionId"] == LOCAL
    row = journal.get(bench.db, 1)
    assert row is not None
    assert json.loads(row.reading or "")["import_wh"] == 1234


def test_the_answer_of_the_csms_passes_byte_for_byte() -> None:
    """Rule R6: odd spacing, order and escapes stay, both ways."""
    bench = Bench().accepted()
    text = '[2, "s1","StartTransaction",{"idTag":"CARD\\u002dA" ,"connectorId":1,"meterStart":1.10,"timestamp":"t"}]'
    bench.say("charger", text)
    assert bench.to_csms.popleft() == text
    answer = '[3,"s1" ,{"transactionId": 77,"idTagInfo":{"status":"Accepted","x":1.10}}]'
    bench.say("csms", answer)
    assert bench.to_charger.popleft() == answer


def test_a_mapped_answer_differs_in_the_id_alone() -> None:
    """I10: the transaction id is the only span that changes."""
    bench = Bench().accepted()
    for message_id, wanted in (("s1", 1), ("s2", LOCAL)):
        bench.say("charger", start(message_id, wh=len(message_id + str(wanted))))
        bench.to_csms.clear()
        bench.say("csms", f'[3,"{message_id}", {{"transactionId" : 1, "idTagInfo":{{"status":"Accepted"}} }}]')
        expected = f'[3,"{message_id}", {{"transactionId" : {wanted}, "idTagInfo":{{"status":"Accepted"}} }}]'
        assert bench.to_charger.popleft() == expected
    assert "transaction id mapped" in bench.rules


def test_calls_cross_while_one_is_open() -> None:
    """Rules R1 and R2: a status goes up while a command is open, and a second command waits for the first."""
    bench = Bench().accepted()
    bench.say("csms", [2, "c1", "ClearCache", {}])
    bench.say("csms", [2, "c2", "Reset", {"type": "Soft"}])
    assert bench.take("charger") == [[2, "c1", "ClearCache", {}]]
    bench.say(
        "charger", [2, "n1", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}]
    )
    assert bench.take("csms")[0][1] == "n1"
    bench.say("charger", [3, "c1", {"status": "Accepted"}])
    assert bench.take("csms") == [[3, "c1", {"status": "Accepted"}]]
    assert bench.take("charger") == [[2, "c2", "Reset", {"type": "Soft"}]]
    bench.say("csms", [3, "n1", {}])
    assert bench.take("charger") == [[3, "n1", {}]]


def test_a_status_is_kept_with_the_time_at_which_it_came_however_late_the_csms_hears_of_it() -> None:
    """By it the sessions know whether the charger's clock is right."""
    bench = Bench().accepted()
    came_ms = bench.utc_ms
    bench.say(
        "charger", [2, "n1", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}]
    )
    bench.later(9)
    bench.say("csms", [3, "n1", {}])
    assert [status.at_ms for status in chargers.statuses(bench.db, "box1")] == [came_ms]
    bench.restart()
    bench.later(60)
    assert bench.relay._registration.statuses[1].at_ms == came_ms


def test_an_unknown_action_is_relayed_both_ways() -> None:
    """Rule R11: what we do not know is not ours to judge."""
    bench = Bench().accepted()
    bench.say("charger", [2, "v", "VendorThing", [1, 2]])
    assert bench.take("csms") == [[2, "v", "VendorThing", [1, 2]]]
    bench.say("csms", [4, "v", "NotImplemented", "no", {}])
    assert bench.take("charger") == [[4, "v", "NotImplemented", "no", {}]]


def test_an_answer_that_comes_twice_or_late_is_matched_to_nothing_newer() -> None:
    """Rule R10: the second answer is dropped and traced."""
    bench = Bench().accepted()
    bench.say("charger", [2, "h1", "Heartbeat", {}])
    bench.say("csms", [3, "h1", {"currentTime": "x"}])
    bench.take("charger")
    bench.say("charger", [2, "h2", "Heartbeat", {}])
    bench.say("csms", [3, "h1", {"currentTime": "late"}])
    assert bench.take("charger") == []
    assert bench.rules[-1].startswith("not relayed")


def test_a_lost_csms_leaves_no_call_of_the_charger_open() -> None:
    """Rule R47: answered by local policy at once, the transaction is told later, marked as ambiguous."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.close("csms")
    assert bench.take("charger")[0][2]["transactionId"] == LOCAL
    bench.open("csms")
    assert bench.take("csms") == [start()]
    assert bench.rules[-1] == "resent, ambiguous"
    bench.say("csms", started("s1", 5))
    bench.say("charger", meter("m1", LOCAL, 20))
    assert bench.take("csms") == [meter("m1", 5, 20)]


def test_new_transaction_messages_wait_behind_the_queue_and_others_overtake() -> None:
    """Rule R29; one open CALL toward the CSMS."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.say("charger", meter("m1", LOCAL, 20))
    bench.open("csms")
    bench.say("charger", stop("e1", LOCAL))
    bench.say("charger", [2, "a1", "Authorize", {"idTag": "CARD-B"}])
    assert [frame[1] for frame in bench.take("csms")] == ["s1"]
    bench.say("csms", started("s1", 5))
    assert [frame[1] for frame in bench.take("csms")] == ["a1"]
    bench.say("csms", [3, "a1", {"idTagInfo": {"status": "Accepted"}}])
    for message_id in ("m1", "e1"):
        assert [frame[1] for frame in bench.take("csms")] == [message_id]
        bench.say("csms", [3, message_id, {}])
    assert bench.journal() == [
        ("StartTransaction", LOCAL, "done"), ("MeterValues", LOCAL, "done"), ("StopTransaction", LOCAL, "done"),
    ]  # fmt: skip


def test_a_driver_with_a_good_card_does_not_wait_for_what_the_csms_has_still_to_get() -> None:
    """Days of journal take minutes: who comes meanwhile charges, and the CSMS is told in order."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.close("csms")
    bench.say("charger", stop("e1", 5))
    bench.open("csms")
    bench.take("charger")
    assert [frame[1] for frame in bench.take("csms")] == ["e1"]
    bench.say("charger", start("s2", at="2026-06-13T10:00:00Z"))
    assert bench.take("charger") == [], "it may have its turn in a moment"
    bench.later(2.0)
    assert bench.take("charger")[0][:2] == [3, "s2"]
    bench.say("csms", [3, "e1", {}])
    assert [frame[1] for frame in bench.take("csms")] == ["s2"]
    bench.say("csms", started("s2", 6))
    assert [row[2] for row in bench.journal()] == ["done"] * 3


def test_a_card_that_nobody_here_knows_waits_for_the_csms_to_have_its_time() -> None:
    """It may know the card; the gateway would have to refuse it."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", stop("e1", 5))
    bench.open("csms")
    bench.say("charger", start("s2", tag="CARD-X"))
    bench.take("charger")
    bench.later(14.0)
    assert bench.take("charger") == []
    bench.later(2.0)
    assert bench.take("charger")[0][:2] == [3, "s2"]


def test_a_repeated_start_gets_the_same_answer() -> None:
    """Rule R35: by the same bytes, or by the same content under another id; also after a restart."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("charger", start())
    bench.say("charger", start("again"))
    assert len(bench.take("csms")) == 1
    bench.say("csms", started("s1", 5))
    assert [frame[1:] for frame in bench.take("charger")] == [
        [message_id, started("", 5)[2]] for message_id in ("s1", "s1", "again")
    ]
    bench.restart()
    bench.open("charger")
    bench.say("charger", start("third"))
    assert bench.take("charger")[0] == started("third", 5)
    assert len(bench.journal()) == 1


def test_a_counter_that_begins_again_is_no_repetition() -> None:
    """The same message id with other content is another message."""
    bench = Bench().accepted()
    for wh, transaction in ((10, 5), (20, 6)):
        bench.say("charger", start("1", wh=wh))
        bench.say("csms", started("1", transaction))
    assert [row[1] for row in bench.journal()] == [5, 6]


def test_a_bad_answer_of_the_csms_does_not_reach_the_charger() -> None:
    """Quirk 39: no transactionId; the charger gets a local one, later messages go with it until the CSMS is asked."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", None))
    assert bench.take("charger")[0][2] == {"idTagInfo": {"status": "Accepted"}, "transactionId": LOCAL}
    assert "csms_gave_no_transaction_id" in bench.kinds()


def test_local_ids_are_never_used_twice() -> None:
    """Downward from 2^31-1, over restarts."""
    bench = Bench().accepted()
    bench.close("csms")
    ids = []
    for number in range(3):
        bench.say("charger", start(f"s{number}", wh=number))
        ids.append(bench.take("charger")[0][2]["transactionId"])
        bench.say("charger", stop(f"e{number}", ids[-1]))
        bench.take("charger")
        bench.restart()
        bench.open("charger")
    assert ids == [LOCAL, LOCAL - 1, LOCAL - 2]


def test_meter_values_that_name_no_transaction_belong_to_the_one_at_their_connector() -> None:
    """Quirk 26: id 0 at random; it leaves with the id that the CSMS knows."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.take("csms")
    bench.say("charger", meter("m1", 0, 20))
    assert bench.take("csms") == [meter("m1", 5, 20)]


def test_offline_thinning_keeps_one_a_quarter_hour_and_counts_the_rest() -> None:
    """Design rule 1: after the first hour, unsigned ones only; the counts are told when the quarter is over."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    for minute in range(59):
        bench.later(60)
        bench.say("charger", meter(f"m{minute}", LOCAL, minute))
    assert len(bench.journal()) == 60
    for minute in range(60, 90):
        bench.later(60)
        bench.say("charger", meter(f"m{minute}", LOCAL, minute))
    signed = meter("signed", LOCAL, 91, format="SignedData")
    bench.say("charger", signed)
    bench.say("charger", meter("end", LOCAL, 92, context="Transaction.End"))
    answers = bench.take("charger")
    assert len(answers) == 1 + 59 + 30 + 2
    kept = [row[0] for row in bench.journal()]
    assert len(kept) == 60 + 2 + 2
    bench.say("charger", stop("e1", LOCAL))
    told = [json.loads(row.body) for row in outbox.waiting(bench.db, "event", "e" * 32, 0, 10)]
    assert sum(body["received"] for body in told) == 32
    assert sum(body["kept"] for body in told) == 4
    assert {body["transaction_id"] for body in told} == {LOCAL}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_jumps_by_days_makes_no_hour_without_the_csms(restarts: bool) -> None:
    """After ten minutes without it a step of the clock, or a start whose clock nobody has compared, thinned at once."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.later(600)
    bench.off_ms, bench.sure = 3 * 86_400_000, False
    if restarts:
        bench.restart()
        bench.open("charger")
    for minute in range(30):
        bench.later(60)
        bench.say("charger", meter(f"m{minute}", LOCAL, minute))
    assert len(bench.journal()) == 1 + 30


def test_after_a_start_with_a_right_clock_what_waits_says_how_long_the_csms_has_been_away() -> None:
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.later(7200)
    bench.restart()
    bench.open("charger")
    for minute in range(3):
        bench.later(1)
        bench.say("charger", meter(f"m{minute}", LOCAL, minute))
    assert len(bench.journal()) == 1 + 1


def test_what_was_thinned_in_a_quarter_hour_that_has_not_come_is_told_too() -> None:
    """The clock was set back: those of a clock that was ahead were never told."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.later(3700)
    bench.off_ms = 86_400_000
    for number in range(3):
        bench.say("charger", meter(f"a{number}", LOCAL, number))
    bench.off_ms = 0
    bench.say("charger", meter("b", LOCAL, 4))
    [told] = [json.loads(row.body) for row in outbox.waiting(bench.db, "event", "e" * 32, 0, 10)]
    assert (told["received"], told["kept"]) == (3, 1)


def test_signed_meter_values_are_committed_before_they_are_forwarded() -> None:
    """Design rule 1; periodic ones are not journaled while the CSMS answers."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.say("charger", meter("m1", 5, 20))
    bench.say("csms", [3, "m1", {}])
    bench.say("charger", meter("m2", 5, 30, format="SignedData"))
    assert [row[0] for row in bench.journal()] == ["StartTransaction", "MeterValues"]


def test_a_boot_that_the_csms_did_not_see_goes_first() -> None:
    """Rules R20, R23, R24: booted offline, told at once on reconnect, its answer does not reach the charger."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.take("charger")
    bench.say("charger", [2, "b2", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M2"}])
    assert bench.take("charger")[0][2]["status"] == "Accepted"
    bench.open("csms")
    boot = bench.take("csms")
    assert [frame[2] for frame in boot] == ["BootNotification"]
    bench.say("csms", [3, boot[0][1], {"status": "Accepted", "currentTime": "x", "interval": 300}])
    assert all(frame[0] == 2 for frame in bench.take("charger"))
    assert [frame[2] for frame in bench.take("csms")] == ["StartTransaction"]
    bench.restart()
    bench.open("charger", "csms")
    assert "BootNotification" not in [frame[2] for frame in bench.take("csms")]


def test_an_identity_never_accepted_is_kept_out() -> None:
    """Rule R22; its boot waits for the CSMS, then is told Pending (R23)."""
    bench = Bench().open("charger")
    bench.say("charger", [2, "a", "Authorize", {"idTag": "X"}])
    assert bench.take("charger")[0][2] == "SecurityError"
    bench.say("charger", [2, "b", "BootNotification", {}])
    assert bench.take("charger") == []
    bench.later(15)
    assert bench.take("charger")[0][2]["status"] == "Pending"


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_a_csms_that_does_not_accept_yet(status: str) -> None:
    """Rule R21: its answer passes, remote starts are refused, transactions are journaled when acceptance comes."""
    bench = Bench().open("charger", "csms")
    bench.say("charger", [2, "b", "BootNotification", {}])
    bench.say("csms", [3, "b", {"status": status, "currentTime": "x", "interval": 5}])
    assert bench.take("charger")[0][2]["status"] == status
    bench.take("csms")
    bench.say("csms", [2, "r", "RemoteStartTransaction", {"idTag": "X"}])
    assert bench.take("csms") == [[3, "r", {"status": "Rejected"}]]
    bench.say("charger", [2, "b2", "BootNotification", {}])
    bench.say("csms", [3, "b2", {"status": "Accepted", "currentTime": "x", "interval": 5}])
    bench.say("charger", start())
    assert start() in bench.take("csms")


def test_a_box_that_does_not_boot_is_asked_once() -> None:
    """Quirk 20: it booted long ago, toward somebody else."""
    bench = Bench().open("charger")
    bench.later(60)
    triggers = [frame for frame in bench.take("charger") if frame[2] == "TriggerMessage"]
    assert [frame[3] for frame in triggers] == [{"requestedMessage": "BootNotification"}]


def test_the_csms_leaves_with_the_charger_once_it_has_everything() -> None:
    """It sees the charger as if connected directly: a minute after the box went, its connection closes."""
    bench = Bench().accepted()
    bench.close("charger")
    bench.later(59)
    assert bench.closed == []
    bench.later(2)
    assert bench.closed == ["csms"]
    assert not bench.dialled
    bench.open("charger")
    assert bench.dialled


def test_a_silent_csms_is_dialled_anew_and_heartbeats_find_it_out() -> None:
    """Rule R26: an end-to-end CALL of ours where the charger says nothing."""
    bench = Bench().accepted()
    bench.later(301)
    assert bench.take("csms")[-1][2] == "Heartbeat"
    bench.later(700)
    assert bench.closed == ["csms"]
    assert "csms_silent" in bench.kinds()


def test_a_deaf_charger_is_recycled() -> None:
    """Quirk 11: its heartbeats arrive, but commands have no answer."""
    bench = Bench().accepted()
    for number in range(3):
        bench.say("csms", [2, f"c{number}", "ClearCache", {}])
        bench.later(16)
    assert bench.closed == ["charger"]
    errors = [frame for frame in bench.take("csms") if frame[0] == 4]
    assert len(errors) == 3


def test_a_flood_of_calls_ends_in_answers_not_in_memory() -> None:
    """I12: what does not fit the queue is answered at once."""
    bench = Bench().accepted()
    for number in range(500):
        bench.say("charger", [2, f"a{number}", "Authorize", {"idTag": "X"}])
    assert len(bench.take("charger")) == 500 - 65
    for number in range(500):
        bench.say("charger", start(f"s{number}", wh=number))
    refused = [frame for frame in bench.take("charger") if frame[0] == 4 and frame[2] == "InternalError"]
    assert len(refused) == 500 - 32


def test_a_full_disk_confirms_nothing() -> None:
    """I3: what is not on disk is not confirmed; the charger keeps it and sends it again."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.disk_full = True
    for frame in (start(), meter("m1", 5, 1), stop("e1", 5)):
        bench.say("charger", frame)
    assert [frame[0] for frame in bench.take("charger")] == [4, 4, 4]
    bench.disk_full = False
    bench.say("charger", start())
    assert bench.take("charger")[0][0] == 3
    assert "store_failed" in bench.kinds()


def _answers(frames: list[list[Any]]) -> list[str]:
    return [frame[1] for frame in frames if frame[0] == 3]


def test_a_charger_that_reconnects_gets_no_answers_of_its_older_connection() -> None:
    """Rule R19: the answer to what the old connection asked goes nowhere; a repetition gets it."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.close("charger")
    bench.open("charger")
    bench.say("csms", started("s1", 5))
    assert _answers(bench.take("charger")) == []
    bench.say("charger", start())
    assert _answers(bench.take("charger")) == ["s1"]


def test_a_restart_without_the_box_tells_the_csms_the_rest_and_leaves() -> None:
    """The journal drains although the charger is gone; then the CSMS sees it gone, too."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.restart()
    assert bench.dialled
    bench.open("csms")
    assert bench.take("csms") == [start()]
    bench.say("csms", started("s1", 5))
    bench.later(61)
    assert bench.closed == ["csms"]


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_kill_between_the_entry_and_its_answer(asked_again: bool) -> None:
    """Rule R48: the CSMS has one CALL timeout; then we answer, so that nobody waits behind the start."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.restart()
    bench.open("charger")
    if asked_again:
        bench.say("charger", start())
        assert _answers(bench.take("charger")) == ["s1"]
    else:
        bench.later(15)
    assert bench.journal() == [("StartTransaction", LOCAL, "sent")]


def test_a_kill_after_the_answer_of_the_csms_was_kept() -> None:
    """The box never got it: the same answer again, and nothing is sent twice."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.close("charger")
    bench.say("csms", started("s1", 5))
    bench.restart()
    bench.open("charger", "csms")
    bench.say("charger", start())
    assert started("s1", 5) in bench.take("charger")
    assert [frame for frame in bench.take("csms") if frame[2] == "StartTransaction"] == []
