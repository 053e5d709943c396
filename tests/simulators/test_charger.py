"""A wallbox against a backend over real sockets."""

from __future__ import annotations

import itertools
import json

from simulators.cars import Car
from simulators.ocpp_link import CallError, Payload


def profile(purpose: str, limit: float, transaction: int | None = None, **schedule: object) -> Payload:
    text: Payload = {
        "chargingProfileId": 7 if purpose == "TxProfile" else 8,
        "stackLevel": 1,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
            **schedule,
        },
    }
    if transaction is not None:
        text["transactionId"] = transaction
    return text


async def charging(bench, **keys):  # type: ignore[no-untyped-def]
    box = bench.box(password="right", **keys)
    await bench.until(lambda: box.link.may_send_transactions)
    box.plug(Car("car", 3, 16_000, 20_000.0))
    assert await box.present("CARD-A") == "Accepted"
    await bench.until(lambda: box.transaction.id is not None)
    return box


async def test_a_box_boots_once_tells_its_status_and_keeps_its_heartbeat(bench):
    box = bench.box(password="right")
    await bench.until(lambda: len(bench.messages("Heartbeat")) >= 2)
    assert [row[1] for row in bench.messages()][:3] == ["BootNotification", "StatusNotification", "StatusNotification"]
    await box.link.close()
    await bench.until(lambda: not box.link.connected)
    await bench.until(lambda: box.link.may_send_transactions)
    assert len(bench.messages("BootNotification")) == 1


async def test_a_boot_that_gets_no_answer_or_an_error_is_said_again(bench):
    """Seed 10039: a box whose backend took 11 s to answer its boot never told a transaction any more."""

    def refused(_charger: str, _payload: Payload) -> Payload:
        raise CallError("InternalError", "try again")

    answers = iter([lambda *_: None, refused])
    bench.csms.hooks["BootNotification"] = lambda *call: next(answers, lambda *_: {})(*call)
    box = bench.box(password="right", call_timeout_s=0.05)
    await bench.until(lambda: len(bench.messages("BootNotification")) >= 2)
    assert not box.accepted
    bench.csms.hooks.pop("BootNotification")
    await bench.until(lambda: box.link.may_send_transactions)


async def test_start_meter_values_and_stop_reach_the_backend_in_order_with_its_id(bench):
    box = await charging(bench)
    await bench.until(lambda: len(bench.messages("MeterValues")) >= 2)
    bench.register_wh = 7000.0
    assert await box.present("CARD-A") == "stopped"
    await bench.until(lambda: bench.messages("StopTransaction"))
    told = bench.messages("StartTransaction", "MeterValues", "StopTransaction")
    assert told[0][1] == "StartTransaction"
    assert told[-1][1] == "StopTransaction"
    assert all(json.loads(row[2])["transactionId"] == 1000 for row in told[1:])
    (transaction,) = bench.csms.transactions()
    assert transaction[1:5] == (1000, "CARD-A", 1, 5000)
    assert transaction[6] == 7000
    assert transaction[8] == "Local"


async def test_meter_values_say_energy_power_and_the_current_of_each_phase(bench):
    box = await charging(bench)
    box.outlet.car_ma = (10_000.0, 0.0, 10_000.0)
    count = len(bench.messages("MeterValues"))
    await bench.until(lambda: len(bench.messages("MeterValues")) > count + 1)
    sampled = json.loads(bench.messages("MeterValues")[-1][2])["meterValue"][0]["sampledValue"]
    assert [(value["measurand"], value.get("phase"), value["value"]) for value in sampled] == [
        ("Energy.Active.Import.Register", None, "5000"),
        ("Power.Active.Import", None, "4600"),
        ("Current.Import", "L1", "10.0"),
        ("Current.Import", "L2", "0.0"),
        ("Current.Import", "L3", "10.0"),
    ]


async def test_an_unknown_card_and_a_blocked_card_start_nothing(bench):
    box = bench.box(password="right")
    await bench.until(lambda: box.link.may_send_transactions)
    box.plug(Car("car", 1, 16_000, 1000.0))
    assert await box.present("CARD-X") == "Invalid"
    assert await box.present("CARD-B") == "Blocked"
    assert box.transaction is None
    assert box.offer_ma(bench.clock.utc_ms()) is None


async def test_what_happens_without_a_line_is_told_afterwards_with_the_ids_it_was_given(bench):
    box = await charging(bench)
    before = len(bench.messages("MeterValues"))
    await bench.csms.hang_up()
    await bench.until(lambda: not box.link.connected)
    await bench.until(lambda: len(box.link.queue) >= 2)
    await box.unplug()
    ids = [message.id for message in box.link.queue]
    await bench.csms.start(port=bench.port)
    await bench.until(lambda: not box.link.queue)
    told = bench.messages("MeterValues", "StopTransaction")[before:]
    assert [row[0] for row in told][-len(ids) :] == ids
    assert told[-1][1] == "StopTransaction"


async def test_a_message_without_an_answer_is_repeated_with_its_id_and_bytes(bench):
    silent = iter([None])
    box = await charging(bench, call_timeout_s=0.05)
    bench.csms.hooks["MeterValues"] = lambda _charger, _payload: next(silent, {})
    await bench.until(lambda: len(bench.messages("MeterValues")) >= 3)
    rows = bench.messages("MeterValues")
    repeated = [one for one, other in itertools.pairwise(rows) if one == other]
    assert len(repeated) == 1
    assert box.link.discarded == []


async def test_a_message_that_is_refused_three_times_does_not_block_the_next(bench):
    box = await charging(bench)

    def refuse(_charger: str, _payload: Payload) -> Payload:
        raise CallError("InternalError", "no")

    bench.csms.hooks["MeterValues"] = refuse
    await bench.until(lambda: box.link.discarded)
    bench.csms.hooks.clear()
    await box.present("CARD-A")
    await bench.until(lambda: bench.messages("StopTransaction"))
    assert box.link.discarded[0].attempts == 3


async def test_a_start_that_the_backend_refuses_is_ended_by_the_box(bench):
    bench.csms.hooks["StartTransaction"] = lambda _charger, _payload: {
        "transactionId": 5,
        "idTagInfo": {"status": "Invalid"},
    }
    box = bench.box(password="right", eager=True)
    await bench.until(lambda: box.link.may_send_transactions)
    box.plug(Car("car", 3, 16_000, 20_000.0))
    await box.present("CARD-A")
    await bench.until(lambda: bench.messages("StopTransaction"))
    assert json.loads(bench.messages("StopTransaction")[0][2])["reason"] == "DeAuthorized"


async def test_a_transaction_profile_ends_by_itself_and_the_default_governs(bench):
    box = await charging(bench)
    default = {"connectorId": 0, "csChargingProfiles": profile("TxDefaultProfile", 6)}
    mine = {"connectorId": 1, "csChargingProfiles": profile("TxProfile", 10.5, 1000, duration=120)}
    assert await bench.csms.call("box1", "SetChargingProfile", default) == {"status": "Accepted"}
    assert await bench.csms.call("box1", "SetChargingProfile", mine) == {"status": "Accepted"}
    now_ms = bench.clock.utc_ms()
    assert box.limit_ma(now_ms) == 10_500
    assert box.limit_ma(now_ms + 121_000) == 6_000


async def test_a_transaction_profile_for_another_transaction_is_refused(bench):
    box = await charging(bench)
    wrong = {"connectorId": 1, "csChargingProfiles": profile("TxProfile", 10, 999)}
    assert await bench.csms.call("box1", "SetChargingProfile", wrong) == {"status": "Rejected"}
    assert box.limit_ma(bench.clock.utc_ms()) == 16_000


async def test_the_composite_schedule_says_what_the_profiles_leave(bench):
    await charging(bench)
    default = {"connectorId": 0, "csChargingProfiles": profile("TxDefaultProfile", 6)}
    mine = {"connectorId": 1, "csChargingProfiles": profile("TxProfile", 10, 1000, duration=60)}
    await bench.csms.call("box1", "SetChargingProfile", default)
    await bench.csms.call("box1", "SetChargingProfile", mine)
    answer = await bench.csms.call("box1", "GetCompositeSchedule", {"connectorId": 1, "duration": 300})
    limits = [period["limit"] for period in answer["chargingSchedule"]["chargingSchedulePeriod"]]
    assert limits == [10, 6]


async def test_the_backend_can_start_stop_and_ask_for_messages(bench):
    box = bench.box(password="right")
    await bench.until(lambda: box.link.may_send_transactions)
    assert await bench.csms.call("box1", "RemoteStartTransaction", {"idTag": "CARD-A"}) == {"status": "Rejected"}
    box.plug(Car("car", 3, 16_000, 20_000.0))
    assert await bench.csms.call("box1", "RemoteStartTransaction", {"idTag": "CARD-A"}) == {"status": "Accepted"}
    await bench.until(lambda: box.transaction.id is not None)
    count = len(bench.messages("MeterValues"))
    await bench.csms.call("box1", "TriggerMessage", {"requestedMessage": "MeterValues"})
    await bench.until(lambda: len(bench.messages("MeterValues")) > count)
    assert await bench.csms.call("box1", "RemoteStopTransaction", {"transactionId": 1000}) == {"status": "Accepted"}
    await bench.until(lambda: bench.messages("StopTransaction"))


async def test_configuration_is_read_and_changed_and_what_is_fixed_stays(bench):
    box = bench.box(password="right")
    await bench.until(lambda: box.link.may_send_transactions)
    change = "ChangeConfiguration"
    call = bench.csms.call
    assert await call("box1", change, {"key": "MeterValueSampleInterval", "value": "30"}) == {"status": "Accepted"}
    assert await call("box1", change, {"key": "NumberOfConnectors", "value": "2"}) == {"status": "Rejected"}
    assert await call("box1", change, {"key": "Nonsense", "value": "2"}) == {"status": "NotSupported"}
    answer = await call("box1", "GetConfiguration", {"key": ["MeterValueSampleInterval", "Nonsense"]})
    assert answer["configurationKey"][0]["value"] == "30"
    assert answer["unknownKey"] == ["Nonsense"]


async def test_a_wrong_password_and_an_unknown_box_are_not_let_in(bench):
    wrong = bench.box("box1", password="wrong")
    stranger = bench.box("box9", password="right")
    good = bench.box("box2", password="right")
    await bench.until(lambda: good.link.connected)
    assert not wrong.link.connected
    assert not stranger.link.connected
    assert set(bench.csms.connections) == {"box2"}
