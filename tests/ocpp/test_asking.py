"""What the gateway asks a box that has settled: its signing keys, over real wires, and statuses nobody has told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.model import ConnectorRef
from gateway.ocpp.asking import MAX_LOST, STATUS_WAIT_S, signing_keys
from gateway.site import Token
from gateway.store import pins
from tests.ocpp.bench import Bench, start, started
from tests.ocpp.wires import Box, Gateway, Run, make_charger, make_site, until

TOKENS = (Token(id="CARD-A", tenant="anna"),)
SPKI = (
    ec.derive_private_key(33, ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    .hex()
)


class Keys:
    """The configuration of a box that signs."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def get(self, payload: dict[str, Any]) -> dict[str, Any]:
        wanted = payload["key"]
        return {
            "configurationKey": [
                {"key": key, "readonly": key.startswith("Meter"), "value": self.values[key]}
                for key in wanted
                if key in self.values
            ],
            "unknownKey": [key for key in wanted if key not in self.values],
        }


def orders(box: Box, action: str) -> list[dict[str, Any]]:
    return [payload for name, payload in box.orders if name == action]


async def asked(box: Box, gateway: Gateway) -> None:
    """The box has had the question, and the gateway its answer: what it asks after it comes behind."""
    await until(lambda: orders(box, "GetConfiguration"), "the question")
    await box.call("Heartbeat", {})


def signing_events(gateway: Gateway) -> list[str]:
    return [event.cause for event in gateway.events if event.kind.startswith(("charger_signing", "meter_key"))]


async def test_a_box_that_signs_is_asked_set_and_its_key_is_pinned(run_gateway: Run) -> None:
    """One question, one ChangeConfiguration for each key that is wrong, the key on disk, the findings told - once."""
    keys = Keys(MeterPublicKey1=SPKI, SampledDataSignReadings="false", StopTxnSampledData="", StopTxnAlignedData="")
    site = make_site(make_charger(), tokens=TOKENS)
    async with run_gateway(site) as gateway:
        async with gateway.box() as box:
            box.replies["GetConfiguration"] = keys.get
            await box.boot()
            await until(lambda: len(orders(box, "ChangeConfiguration")) >= 3, "what is set")
            assert orders(box, "GetConfiguration") == [{"key": signing_keys(1)}]
            written = {one["key"]: one["value"] for one in orders(box, "ChangeConfiguration")}
            assert written.pop("MeterValueSampleInterval")
            assert written == {
                "SampledDataSignReadings": "true",
                "StopTxnSampledData": "Energy.Active.Import.Register",
            }
            rows = await gateway.db.run(pins.everything)
            assert [(row.charger, row.connector, row.spki_hex) for row in rows] == [("box1", 1, SPKI)]
            told = signing_events(gateway)
            assert any("SampledDataSignReadings" in cause for cause in told)
        async with gateway.box() as box:
            box.replies["GetConfiguration"] = keys.get
            await asked(box, gateway)
            assert signing_events(gateway) == told, "the same answer is not told again"
            assert orders(box, "ChangeConfiguration") == []


async def test_a_box_that_does_not_sign_makes_no_noise(run_gateway: Run) -> None:
    """The keys of every box, and none for signing: no event, nothing written."""
    keys = Keys(StopTxnSampledData="", StopTxnAlignedData="")
    site = make_site(make_charger(), tokens=TOKENS)
    async with run_gateway(site) as gateway, gateway.box() as box:
        box.replies["GetConfiguration"] = keys.get
        await box.boot()
        await asked(box, gateway)
        await box.start()
        written = [one["key"] for one in orders(box, "ChangeConfiguration")]
        assert written == ["MeterValueSampleInterval"]
        assert signing_events(gateway) == []


async def test_what_is_refused_is_told_and_costs_nothing(run_gateway: Run) -> None:
    """A ChangeConfiguration that is rejected: one event with its next step, the driver charges."""
    keys = Keys(MeterPublicKey1=SPKI, SampledDataSignReadings="false", StopTxnSampledData="Voltage")
    site = make_site(make_charger(), tokens=TOKENS)
    async with run_gateway(site) as gateway, gateway.box() as box:
        box.replies["GetConfiguration"] = keys.get
        box.replies["ChangeConfiguration"] = lambda p: {"status": "Rejected"}
        await box.boot()
        await until(lambda: "charger_signing_refused" in gateway.kinds(), "the refusal")
        event = next(one for one in gateway.events if one.kind == "charger_signing_refused")
        assert "SampledDataSignReadings" in event.cause
        assert event.next_step
        assert (await box.start())["idTagInfo"]["status"] == "Accepted"


async def test_a_box_that_must_not_be_asked_is_not(run_gateway: Run) -> None:
    """Quirk 22: an ABB Terra AC reboots on questions about its configuration."""
    site = make_site(make_charger(dialect="abb-terra-ac"), tokens=TOKENS)
    async with run_gateway(site) as gateway, gateway.box() as box:
        await box.boot()
        await until(lambda: orders(box, "TriggerMessage"), "what comes after it")
        assert orders(box, "GetConfiguration") == []
        assert orders(box, "ChangeConfiguration") == []


def _questions(bench: Bench, action: str) -> list[list[Any]]:
    """Our questions to the box since the last look; everything else of ours is accepted."""
    found = []
    for frame in bench.take("charger"):
        if frame[0] == 2 and frame[2] == action:
            found.append(frame)
        elif frame[0] == 2:
            bench.say("charger", [3, frame[1], {"status": "Accepted"}])
    return found


def _chores(bench: Bench, action: str) -> list[list[Any]]:
    bench.later(2)
    found = []
    for _ in range(5):
        found += _questions(bench, action)
    return found


@pytest.mark.parametrize("answer", [[4, "NotImplemented", "", {}], [3, {}], [3, {"configurationKey": [7, {"key": 1}]}]])
def test_an_answer_that_is_none_costs_nothing(answer: list[Any]) -> None:
    """A CALLERROR, an empty answer, nonsense: no event and nothing on disk."""
    bench = Bench().accepted()
    bench.close("charger")
    bench.open("charger")
    (question,) = _chores(bench, "GetConfiguration")
    bench.say("charger", [answer[0], question[1], *answer[1:]])
    bench.later(100)
    assert bench.kinds() == []
    assert _questions(bench, "GetConfiguration") == []


def test_a_box_that_reboots_on_the_question_is_not_asked_for_ever() -> None:
    """Quirks 22 and 23: it goes with each question; after some it is left alone, and that is told once."""
    bench = Bench().accepted()
    for _ in range(MAX_LOST):
        bench.close("charger")
        bench.open("charger")
        assert len(_chores(bench, "GetConfiguration")) == 1
    for _ in range(3):
        bench.close("charger")
        bench.open("charger")
        assert _chores(bench, "GetConfiguration") == []
    assert bench.kinds() == ["charger_signing_unknown"]


def test_one_connection_brings_one_question() -> None:
    """A box that boots again on the same connection is not asked again."""
    bench = Bench().accepted()
    bench.say("charger", [2, "again", "BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}])
    bench.say("csms", [3, "again", {"status": "Accepted", "currentTime": "x", "interval": 300}])
    assert _chores(bench, "GetConfiguration") == []
    bench.close("charger")
    bench.open("charger")
    assert len(_chores(bench, "GetConfiguration")) == 1


# Statuses


def test_a_status_that_nobody_told_is_asked_for_once() -> None:
    """A fresh state directory: known within seconds instead of minutes; quirk 18: not again with each reconnect."""
    bench = Bench(ask_status=True).accepted()
    bench.later(STATUS_WAIT_S)
    (question,) = _questions(bench, "TriggerMessage")
    assert question[3] == {"requestedMessage": "StatusNotification", "connectorId": 1}
    for _ in range(3):
        bench.close("charger")
        bench.open("charger")
        assert _chores(bench, "TriggerMessage") == []
        bench.later(STATUS_WAIT_S)
        assert _questions(bench, "TriggerMessage") == []


@pytest.mark.parametrize(("answered", "connectors"), [(True, [1, 2]), (False, [1])])
def test_each_connector_is_asked_for_after_the_one_before_has_answered(answered: bool, connectors: list[int]) -> None:
    """A box that ignores the question does not lose its connection as a deaf one for it."""
    one = make_charger(upstream="csms", authority="csms")
    second = replace(one.connectors[0], ref=ConnectorRef("box1", 2))
    bench = Bench(replace(one, connectors=(one.connectors[0], second)), ask_status=True).accepted()
    bench.later(STATUS_WAIT_S)
    asked = []
    for _ in range(4):
        for question in _questions(bench, "TriggerMessage"):
            asked.append(question[3]["connectorId"])
            if answered:
                bench.say("charger", [4, question[1], "NotImplemented", "", {}])
        bench.later(20)
    assert asked == connectors
    assert bench.closed == []


def test_a_box_that_tells_its_status_by_itself_is_not_asked() -> None:
    """After a boot it does; a status on disk is as good."""
    bench = Bench(ask_status=True).accepted()
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    bench.say("charger", [2, "n", "StatusNotification", status])
    for frame in bench.take("csms"):
        bench.say("csms", [3, frame[1], {}])
    bench.later(STATUS_WAIT_S)
    assert _questions(bench, "TriggerMessage") == []
    bench.restart()
    bench.open("charger")
    assert _chores(bench, "TriggerMessage") == []
    bench.later(STATUS_WAIT_S)
    assert _questions(bench, "TriggerMessage") == []


def test_a_status_of_before_the_transaction_that_runs_does_not_say_that_its_car_has_gone() -> None:
    """The one of after its begin was lost with the power, and the box does not say it again by itself."""
    bench = Bench(ask_status=True).accepted()
    told = {"connectorId": 1, "errorCode": "NoError"}
    bench.say("charger", [2, "n", "StatusNotification", {**told, "status": "Available"}])
    bench.say("csms", [3, "n", {}])
    bench.later(STATUS_WAIT_S)
    bench.say("charger", start())
    bench.say("csms", started("s1", 7))
    bench.restart()
    bench.open("charger", "csms")
    assert _status(bench) == "Unknown"
    bench.serve_chores()
    bench.later(STATUS_WAIT_S)
    (question,) = _questions(bench, "TriggerMessage")
    assert question[3] == {"requestedMessage": "StatusNotification", "connectorId": 1}
    for status in ("SuspendedEVSE", "Finishing"):
        bench.say("charger", [2, status, "StatusNotification", {**told, "status": status}])
        assert _status(bench) == status


def _status(bench: Bench) -> str:
    (state,) = bench.relay.connectors(bench._now())
    assert state.transaction_id is not None
    return state.status


def test_a_dialect_may_forbid_the_question() -> None:
    """Quirk 18."""
    bench = Bench(ask_status=False).accepted()
    bench.later(100)
    assert _questions(bench, "TriggerMessage") == []
