"""Conversations of one charger in which something goes wrong: the disk, the CSMS's answers, the box, a kill."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.model import LimitOutcome
from gateway.ocpp import actions as act
from gateway.ocpp.core import MAX_TRANSACTIONS
from gateway.site import Token, Upstream
from gateway.store import journal
from tests.ocpp.bench import Bench, meter, start, started, stop
from tests.ocpp.wires import make_charger

LOCAL = 2**31 - 1


def _transactions(bench: Bench) -> list[list[Any]]:
    """Transaction messages that the CSMS was sent since the last look."""
    kinds = ("StartTransaction", "MeterValues", "StopTransaction")
    return [frame for frame in bench.take("csms") if frame[0] == 2 and frame[2] in kinds]


def _stops_asked(bench: Bench) -> list[Any]:
    asked = [frame for frame in bench.take("charger") if frame[0] == 2]
    return [frame for frame in asked if frame[2] == "RemoteStopTransaction"]


# The disk


def test_a_start_whose_answer_could_not_be_kept_is_answered_later() -> None:
    """The sessions of every charger wait behind a start without an answer: it gets one when the disk is back."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.failing = act.AnswerStart
    bench.say("charger", start())
    assert bench.take("charger")[0][2] == "InternalError"
    bench.later(200)
    assert bench.journal() == []
    bench.failing = None
    bench.later(61)
    assert bench.journal() == [("StartTransaction", LOCAL, "pending")]


def test_an_answer_of_the_csms_that_could_not_be_kept_is_kept_later_and_not_asked_for_again() -> None:
    """Rule R35: a second start at the CSMS would be a second transaction there."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.failing = act.AnswerStart
    bench.say("csms", started("s1", 5))
    bench.failing = None
    bench.take("csms")
    bench.later(61)
    assert _transactions(bench) == []
    bench.take("charger")
    bench.say("charger", meter("m1", LOCAL, 20))
    assert _transactions(bench) == [meter("m1", 5, 20)]


def test_a_transaction_whose_stop_has_been_seen_is_over_for_the_load_manager_though_the_disk_is_full() -> None:
    """No current flows for it any more, and the box has dropped its limit: it counts as idle, not with that limit."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    assert bench.relay.connectors(act.Now(bench.utc_ms, 0.0))[0].transaction_id == 5
    bench.disk_full = True
    bench.take("charger")
    bench.say("charger", stop("e1", 5))
    assert bench.take("charger")[0][2] == "InternalError"
    assert bench.relay.connectors(act.Now(bench.utc_ms, 0.0))[0].transaction_id is None
    bench.disk_full = False
    bench.say("charger", stop("e1", 5))
    bench.say("csms", [3, "e1", {}])
    bench.say("charger", start("s2", wh=900))
    bench.say("csms", started("s2", 6))
    assert bench.relay.connectors(act.Now(bench.utc_ms, 0.0))[0].transaction_id == 6


# Answers of the CSMS


def test_a_late_answer_lets_the_next_message_go_at_once() -> None:
    """Rule R10: the resend is cancelled, and with it the wait before it."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.later(16)
    bench.take("charger")
    bench.take("csms")
    bench.say("csms", started("s1", 5))
    bench.say("charger", stop("e1", LOCAL))
    assert _transactions(bench) == [stop("e1", 5)]


@pytest.mark.parametrize("transaction", [2**63, -(2**80)])
def test_a_transaction_id_that_no_database_holds_is_none(transaction: int) -> None:
    """Quirk 39: the charger gets a local id, and the queue goes on."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", transaction))
    assert bench.take("charger")[0][2]["transactionId"] == LOCAL
    bench.say("charger", stop("e1", 2**70))
    assert bench.take("csms")[-1][1] == "e1"


def test_the_id_zero_of_a_refused_start_does_not_catch_stray_meter_values() -> None:
    """Rule R30, quirk 26: 0 is nobody's id toward the charger, so MeterValues that say 0 belong to who charges."""
    bench = Bench().accepted()
    bench.say("charger", start("s1", tag="BAD", wh=1))
    bench.say("csms", started("s1", 0, "Invalid"))
    bench.say("charger", start("s2", wh=2))
    bench.say("csms", started("s2", 5))
    bench.take("csms")
    bench.say("charger", meter("m1", 0, 20))
    assert bench.take("csms") == [meter("m1", 5, 20)]


@pytest.mark.parametrize(("card", "verdict"), [("CARD-A", "Accepted"), ("CARD-B", "Invalid")])
def test_an_answer_without_a_word_on_the_card_leaves_the_decision_to_us(card: str, verdict: str) -> None:
    """Rule R44: what nobody accepted is not accepted."""
    bench = Bench(make_charger(upstream="csms", authority="csms")).accepted()
    bench.say("charger", [2, "a", "Authorize", {"idTag": "CARD-A"}])
    bench.say("csms", [3, "a", {"idTagInfo": {"status": "Accepted"}}])
    bench.take("charger")
    bench.say("charger", start(tag=card))
    bench.say("csms", [3, "s1", {"transactionId": 5}])
    assert bench.take("charger")[0][2]["idTagInfo"]["status"] == verdict


def test_an_answer_without_a_word_on_the_card_ends_nothing_that_runs() -> None:
    """Rule R43 needs a refusal, not a CSMS that forgets half of its answer."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.take("charger")
    bench.open("csms")
    bench.say("csms", [3, "s1", {"transactionId": 5}])
    bench.later(100)
    assert _stops_asked(bench) == []


def test_an_answer_to_a_command_of_an_older_connection_goes_nowhere() -> None:
    """Rule R10: the CSMS counts its ids from 1 on the new connection."""
    bench = Bench().accepted()
    bench.say("csms", [2, "1", "UnlockConnector", {"connectorId": 1}])
    bench.close("csms")
    bench.open("csms")
    bench.take("csms")
    bench.say("charger", [3, "1", {"status": "Unlocked"}])
    assert bench.take("csms") == []


# Refused after the start


@pytest.mark.parametrize("killed", [False, True])
def test_a_refused_transaction_is_stopped_once_the_box_is_back(killed: bool) -> None:
    """Rule R43: the refusal is on disk; neither an absent box nor a kill lets it go on for ever."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.close("charger")
    bench.open("csms")
    bench.say("csms", started("s1", 5, "Blocked"))
    assert "offline_start_refused" in bench.kinds()
    if killed:
        bench.restart()
    bench.open("charger")
    bench.later(2)
    asked = _stops_asked(bench)
    assert [frame[3] for frame in asked] == [{"transactionId": LOCAL}]


def test_a_box_that_does_not_stop_is_told_again_until_it_does() -> None:
    """Rule R43: a lost command is not the end of it; the stop is."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.take("charger")
    bench.open("csms")
    bench.say("csms", started("s1", 5, "Blocked"))
    first = _stops_asked(bench)
    bench.say("charger", [3, first[0][1], {"status": "Rejected"}])
    bench.later(62)
    second = _stops_asked(bench)
    assert len(second) == 1
    bench.say("charger", [3, second[0][1], {"status": "Accepted"}])
    bench.say("charger", stop("e1", LOCAL))
    bench.later(200)
    assert _stops_asked(bench) == []


# Many transactions


def test_a_kill_in_the_middle_of_a_long_replay_keeps_the_ids() -> None:
    """Rule R30: the map outlives the transaction until all its messages are acknowledged, however many follow."""
    bench = Bench().accepted()
    bench.close("csms")
    for number in range(MAX_TRANSACTIONS + 5):
        bench.say("charger", start(f"s{number}", wh=number))
        local_id = bench.take("charger")[0][2]["transactionId"]
        bench.say("charger", stop(f"e{number}", local_id, number))
        bench.take("charger")
    bench.open("csms")
    bench.take("csms")
    bench.say("csms", started("s0", 5000))
    bench.restart()
    bench.open("charger", "csms")
    assert _transactions(bench) == [stop("e0", 5000, 0)]


def test_refused_starts_do_not_fill_the_memory() -> None:
    """I12: a card that is refused a thousand times has no stop, and is forgotten all the same; also after a restart."""
    bench = Bench(make_charger(upstream="csms", authority="csms")).accepted()
    bench.close("csms")
    bench.say("charger", start("real", tag="UNKNOWN"))
    for number in range(2 * MAX_TRANSACTIONS):
        bench.say("charger", start(f"s{number}", tag="UNKNOWN", wh=number))
        bench.take("charger")
    assert bench.transactions() <= MAX_TRANSACTIONS + 1
    bench.restart()
    assert bench.transactions() <= MAX_TRANSACTIONS + 1


def test_a_running_transaction_is_remembered_behind_any_number_of_refused_ones() -> None:
    """I12 without forgetting who charges."""
    bench = Bench(make_charger(upstream="csms", authority="both"), tokens=(Token(id="CARD-A", tenant="anna"),))
    bench.accepted()
    bench.close("csms")
    bench.say("charger", start("real"))
    for number in range(2 * MAX_TRANSACTIONS):
        bench.say("charger", start(f"s{number}", tag="UNKNOWN", wh=number))
    assert bench.relay.connectors(act.Now(bench.utc_ms, 0.0))[0].transaction_id == LOCAL
    bench.restart()
    assert bench.relay.connectors(act.Now(bench.utc_ms, 0.0))[0].transaction_id == LOCAL


def test_a_box_whose_clock_stands_still_starts_anew_after_a_stop() -> None:
    """Rule R35: the same content, even the same bytes, after the stop is another transaction, not a repetition."""
    bench = Bench().accepted()
    ids = []
    for transaction in (5, 6):
        bench.say("charger", start())
        bench.say("csms", started("s1", transaction))
        ids.append(bench.take("charger")[0][2]["transactionId"])
        bench.say("charger", stop("e1", transaction, wh=transaction))
        bench.say("csms", [3, "e1", {}])
        bench.take("charger")
    assert ids == [5, 6]
    assert [row[1] for row in bench.journal()] == [5, 5, 6, 6]


# The box


def test_statuses_of_connectors_without_end_are_not_kept() -> None:
    """I12: a connector number that no box has is passed on and forgotten."""
    bench = Bench().accepted()
    for number in range(1000):
        payload = {"connectorId": number, "errorCode": "NoError", "status": "Available"}
        bench.say("charger", [2, f"n{number}", "StatusNotification", payload])
        bench.say("csms", [3, f"n{number}", {}])
    assert len(bench.take("charger")) == 1000
    kept = bench.db.execute("SELECT count(*) FROM connector_status").fetchone()
    assert kept == (100,)


def test_a_start_repeated_without_end_does_not_fill_the_memory() -> None:
    """I12: all who wait count, also those who wait for one entry."""
    bench = Bench().accepted()
    for _ in range(500):
        bench.say("charger", start())
    refused = [frame for frame in bench.take("charger") if frame[0] == 4]
    assert len(refused) == 500 - 32


def test_a_card_number_of_absurd_length_is_not_learned() -> None:
    """I12: the cache holds 1000 cards, none longer than a frame of them could be."""
    bench = Bench().accepted()
    bench.say("charger", [2, "a", "Authorize", {"idTag": "X" * 1000}])
    bench.say("csms", [3, "a", {"idTagInfo": {"status": "Accepted"}}])
    assert bench.db.execute("SELECT count(*) FROM id_tag").fetchone() == (0,)


def test_a_reduction_takes_the_place_of_a_raise_that_still_waits() -> None:
    """Design rule 7: an older, higher limit must not arrive behind the reduction."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.take("charger")
    bench.say("csms", [2, "c1", "UnlockConnector", {"connectorId": 1}])
    bench.feed(act.SetLimit(1, 1, 10_000, 120, raising=True))
    bench.feed(act.SetLimit(2, 1, 6_000, 120, raising=False))
    assert bench.limits == {1: LimitOutcome.SILENT}
    bench.take("charger")
    bench.say("charger", [3, "c1", {"status": "Unlocked"}])
    limit = bench.take("charger")[0]
    bench.say("charger", [3, limit[1], {"status": "Accepted"}])
    assert bench.take("charger") == []


def test_a_boot_that_a_new_csms_hears_from_us_lets_the_gateway_write_its_fallback() -> None:
    """The box booted long ago and the site file names another CSMS: accepted there, the box gets what it must have."""
    bench = Bench(make_charger(upstream="old", authority="csms"), upstream=Upstream(id="old", url="ws://old/{id}"))
    bench.open("charger", "csms")
    bench.say("charger", [2, "b", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}])
    bench.say("csms", [3, "b", {"status": "Accepted", "currentTime": "x", "interval": 300}])
    bench.move(Upstream(id="new", url="ws://new/{id}"))
    bench.open("charger", "csms")
    boot = bench.take("csms")[0]
    bench.say("csms", [3, boot[1], {"status": "Accepted", "currentTime": "x", "interval": 300}])
    bench.later(2)
    assert "SetChargingProfile" in [frame[2] for frame in bench.take("charger")]


def test_meter_values_that_were_journaled_before_delay_nothing_after_them() -> None:
    """A relayed message that had no answer and turns out to be a repetition leaves no mark on the next one."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.say("charger", meter("m1", 5, 20))
    bench.later(16)
    bench.later(61)
    bench.say("csms", [3, "m1", {}])
    bench.say("charger", meter("m1", 5, 20))
    bench.later(16)
    bench.take("csms")
    bench.closed.clear()
    bench.say("charger", stop("e1", 5))
    assert _transactions(bench) == [stop("e1", 5)]


def test_the_oldest_waiting_message_is_found_without_reading_them_all() -> None:
    """`status` counts the queue every second while it drains; 100 000 entries must not be read for it."""
    bench = Bench()
    plan = bench.db.execute(f"EXPLAIN QUERY PLAN {journal.WAITING}", ("box1",)).fetchall()
    assert all("COVERING" in str(row[3]) for row in plan if "journal" in str(row[3])), plan


def test_a_box_that_floods_is_told_once_in_ten_minutes() -> None:
    """I11: what does not fit in the queue is answered here, and that is an event, not one for each frame."""
    bench = Bench().accepted()
    for number in range(500):
        bench.say("charger", [2, f"h{number}", "Heartbeat", {}])
    assert bench.kinds().count("charger_floods") == 1
    (event,) = (one for one in bench.events if one.kind == "charger_floods")
    assert event.cause
    assert event.next_step
    bench.later(601)
    for number in range(500):
        bench.say("charger", [2, f"i{number}", "Heartbeat", {}])
    assert bench.kinds().count("charger_floods") == 2


def test_a_box_that_heaps_up_transaction_messages_is_told() -> None:
    """The queue of starts, values and stops has an end too."""
    bench = Bench().accepted()
    for number in range(100):
        bench.say("charger", start(f"s{number}"))
    assert bench.kinds().count("charger_floods") == 1
