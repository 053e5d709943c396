"""Conversations of one charger about cards, limits, and what a CSMS may do."""

from __future__ import annotations

import pytest

from gateway.model import LimitOutcome
from gateway.ocpp import actions as act
from gateway.site import Token
from tests.ocpp.bench import Bench, start, started, stop
from tests.ocpp.wires import make_charger

LOCAL = 2**31 - 1


def test_both_authorities_join_their_verdicts() -> None:
    """The site's token makes an Invalid of the CSMS Accepted, a Blocked stands; the rest of the answer stays."""
    charger = make_charger(upstream="csms", authority="both")
    bench = Bench(charger, tokens=(Token(id="CARD-A", tenant="anna"),)).accepted()
    for said, heard in (("Invalid", "Accepted"), ("Blocked", "Blocked"), ("Accepted", "Accepted")):
        bench.say("charger", [2, said, "Authorize", {"idTag": "card-a"}])
        bench.say("csms", [3, said, {"idTagInfo": {"status": said}, "vendor": 1}])
        assert bench.take("charger") == [[3, said, {"idTagInfo": {"status": heard}, "vendor": 1}]]


def test_under_the_sites_authority_the_gateway_answers_and_the_csms_is_told() -> None:
    """Authority site with an upstream: the start is answered at once; the id is mapped when the CSMS gives its own."""
    charger = make_charger(upstream="csms", authority="site")
    bench = Bench(charger, tokens=(Token(id="CARD-A", tenant="anna"),)).accepted()
    bench.say("charger", [2, "a", "Authorize", {"idTag": "CARD-A"}])
    bench.say("charger", start())
    assert [frame[2]["idTagInfo"]["status"] for frame in bench.take("charger")] == ["Accepted", "Accepted"]
    assert bench.take("csms") == [start()]
    bench.say("csms", started("s1", 5, "Invalid"))
    bench.say("charger", stop("e1", LOCAL))
    assert bench.take("csms") == [stop("e1", 5)]
    assert bench.take("charger") == [], "the stop waits for the CSMS, and no remote stop was sent"


def test_list_and_cache_decide_offline() -> None:
    """Rules R41, R42: list before cache before policy; ClearCache clears ours too; both commands reach the charger."""
    charger = make_charger(upstream="csms", authority="csms")
    bench = Bench(charger).accepted()
    for tag, status in (("A", "Accepted"), ("B", "Accepted"), ("C", "Accepted")):
        bench.say("charger", [2, tag, "Authorize", {"idTag": tag}])
        bench.say("csms", [3, tag, {"idTagInfo": {"status": status}}])
    entries = [{"idTag": "b", "idTagInfo": {"status": "Blocked"}}, {"idTag": "D", "idTagInfo": {"status": "Accepted"}}]
    update = {"listVersion": 3, "updateType": "Full", "localAuthorizationList": entries}
    bench.take("charger")
    bench.say("csms", [2, "l", "SendLocalList", update])
    assert bench.take("charger") == [[2, "l", "SendLocalList", update]]
    bench.say("charger", [3, "l", {"status": "Accepted"}])
    bench.close("csms")
    bench.restart()
    bench.open("charger")

    def verdicts() -> dict[str, str]:
        for tag in "ABCDE":
            bench.say("charger", [2, tag, "Authorize", {"idTag": tag}])
        return {frame[1]: frame[2]["idTagInfo"]["status"] for frame in bench.take("charger") if frame[0] == 3}

    expected = {"A": "Accepted", "B": "Blocked", "C": "Accepted", "D": "Accepted", "E": "Invalid"}
    assert verdicts() == expected
    bench.open("csms")
    bench.say("csms", [2, "c", "ClearCache", {}])
    bench.close("csms")
    bench.take("charger")
    assert verdicts() == {**expected, "A": "Invalid", "C": "Invalid"}


def test_reductions_overtake_raises_and_those_overtake_commands() -> None:
    """Design rule 7: one open CALL; a newer limit takes the place of one that still waits."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.take("charger")
    bench.say("csms", [2, "c1", "Reset", {"type": "Soft"}])
    bench.say("csms", [2, "c2", "UnlockConnector", {"connectorId": 1}])
    bench.feed(act.SetLimit(1, 1, 10_000, 120, raising=True))
    bench.feed(act.SetLimit(2, 1, 6_000, 120, raising=False))
    assert [frame[2] for frame in bench.take("charger")] == ["Reset"]
    bench.say("charger", [3, "c1", {"status": "Accepted"}])
    first = bench.take("charger")[0]
    assert first[3]["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == 6
    bench.say("charger", [3, first[1], {"status": "Accepted"}])
    assert bench.limits[2] is LimitOutcome.CONFIRMED


def test_a_remote_start_reaches_the_charger_without_its_charging_profile() -> None:
    """Only our profile is in the charger: the CSMS's limits through the composite, the rest of the frame stays."""
    bench = Bench().accepted()
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8}]}
    profile = {
        "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative", "chargingSchedule": schedule,
    }  # fmt: skip
    bench.say("csms", [2, "r", "RemoteStartTransaction", {"idTag": "X", "chargingProfile": profile, "connectorId": 1}])
    assert bench.take("charger") == [[2, "r", "RemoteStartTransaction", {"idTag": "X", "connectorId": 1}]]
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    state = bench.relay.connectors(act.Now(bench.utc_ms, 0.0))[0]
    assert state.csms_limit_ma == 8000


def test_a_limit_of_the_csms_that_ends_by_itself_is_seen_to_end() -> None:
    """No event says so: only the time that has passed."""
    bench = Bench().accepted()
    schedule = {"duration": 100, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8}]}
    profile = {
        "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative", "chargingSchedule": schedule,
    }  # fmt: skip
    bench.say("csms", [2, "r", "RemoteStartTransaction", {"idTag": "X", "chargingProfile": profile, "connectorId": 1}])
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    (before,) = bench.relay.connectors(act.Now(bench.utc_ms, 0.0))
    (after,) = bench.relay.connectors(act.Now(bench.utc_ms + 101_000, 101.0))
    assert (before.csms_limit_ma, after.csms_limit_ma) == (8000, None)


def test_the_csms_may_not_unhook_the_charger() -> None:
    """Rule R17: told, refused, and not relayed; other keys are."""
    bench = Bench().accepted()
    bench.say("csms", [2, "k", "ChangeConfiguration", {"key": "AuthorizationKey", "value": "x"}])
    assert bench.take("csms") == [[3, "k", {"status": "Rejected"}]]
    bench.say("csms", [2, "k2", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}])
    assert bench.take("charger")[0][1] == "k2"
    assert "unhook_refused" in bench.kinds()


def _register(bench: Bench, message_id: str, wh: float, unit: str = "Wh") -> list[list[object]]:
    """The box says its register; what it is asked then. Its other samples are no registers."""
    power = {"value": "99999", "measurand": "Power.Active.Import"}
    phase = {"value": "99999", "phase": "L1"}
    bad = [{"value": text} for text in ("1e99999999999", "NaN", "Infinity", "9" * 5000, None, [])]
    samples = [{"value": str(wh), "unit": unit}, power, phase, *bad]
    values = [{"timestamp": "2026-06-13T09:40:00Z", "sampledValue": samples}]
    payload = {"connectorId": 1, "transactionId": LOCAL, "meterValue": values}
    bench.say("charger", [2, message_id, "MeterValues", payload])
    return [frame for frame in bench.take("charger") if frame[0] == 2]


@pytest.mark.parametrize("killed", [False, True])
def test_a_card_that_nobody_knows_gets_no_more_than_its_share_while_the_csms_is_away(killed: bool) -> None:
    """`offline_max_wh` (rule R43): its transaction is ended at the charger's own register, in Wh or kWh."""
    charger = make_charger(upstream="csms", authority="csms", offline_unknown="accept", offline_max_wh=5000)
    bench = Bench(charger).accepted()
    bench.close("csms")
    bench.say("charger", start(wh=1000))
    bench.take("charger")
    if killed:
        bench.restart()
        bench.open("charger")
    assert _register(bench, "m1", 5999) == []
    asked = _register(bench, "m2", 6.0, unit="kWh")
    assert [frame[2:] for frame in asked] == [["RemoteStopTransaction", {"transactionId": LOCAL}]]
    assert bench.kinds().count("offline_max_reached") == 1
    bench.say("charger", [3, asked[0][1], {"status": "Accepted"}])
    assert _register(bench, "m3", 6100) == []
    assert bench.kinds().count("offline_max_reached") == 1


def test_a_card_that_the_csms_vouched_for_has_no_share() -> None:
    """Before the outage, or after it."""
    charger = make_charger(upstream="csms", authority="csms", offline_unknown="accept", offline_max_wh=5000)
    known, later = Bench(charger).accepted(), Bench(charger).accepted()
    known.say("charger", [2, "a", "Authorize", {"idTag": "CARD-A"}])
    known.say("csms", [3, "a", {"idTagInfo": {"status": "Accepted"}}])
    for bench in (known, later):
        bench.close("csms")
        bench.say("charger", start(wh=1000))
        bench.take("charger")
    later.open("csms")
    later.say("csms", started("s1", 5))
    later.restart()
    later.open("charger")
    for bench in (known, later):
        assert _register(bench, "m1", 9000) == []
