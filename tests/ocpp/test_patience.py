"""Periodic meter values that the gateway answers may wait for a commit of others; nobody else waits behind them."""

from __future__ import annotations

import json
from typing import Any

from gateway.ocpp import actions as act
from gateway.ocpp import intake, link
from gateway.site import Site, Token
from tests.ocpp.bench import Bench, meter, start, stop
from tests.ocpp.wires import Run, make_charger, make_site, meter_payload, until

LOCAL = 2**31 - 1


class Watching(Bench):
    """Notes which messages may wait."""

    waits: dict[str, bool]

    def _store(self, action: act.StoreAction) -> act.Stored | act.StoreFailed:
        if isinstance(action, act.Append):
            self.waits[action.message_id] = action.patient
        return super()._store(action)


def offline() -> Watching:
    """A transaction has begun, and the CSMS is away."""
    Watching.waits = {}
    bench = Watching()
    bench.accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.later(60)
    return bench


def test_only_periodic_values_may_wait() -> None:
    """Starts, stops, signed values and the first and last of a transaction are written at once."""
    bench = offline()
    signed = {"format": "SignedData", "context": "Sample.Periodic"}
    for name, frame in (
        ("periodic", meter("periodic", LOCAL, 20, context="Sample.Periodic")),
        ("begin", meter("begin", LOCAL, 20, context="Transaction.Begin")),
        ("signed", meter("signed", LOCAL, 30, **signed)),
        ("stop", stop("stop", LOCAL)),
    ):
        bench.say("charger", frame)
        bench.later(60)
        assert bench.waits[name] is (name == "periodic"), name
    assert bench.waits["s1"] is False


def test_a_box_that_tells_what_it_has_kept_is_not_held_up() -> None:
    """The first of many may wait; the next ones come as soon as the one before is answered."""
    bench = offline()
    for number in range(4):
        bench.say("charger", meter(f"m{number}", LOCAL, number))
        bench.later(0.2)
    assert [bench.waits[f"m{number}"] for number in range(4)] == [True, False, False, False]
    bench.later(60)
    bench.say("charger", meter("next", LOCAL, 9))
    assert bench.waits["next"]


def test_values_that_the_csms_has_left_unanswered_wait_no_longer() -> None:
    """The box has waited for a whole CALL timeout by then."""
    Watching.waits = {}
    bench = Watching().accepted()
    bench.say("charger", start())
    bench.say("csms", [3, "s1", {"idTagInfo": {"status": "Accepted"}, "transactionId": 5}])
    bench.later(60)
    bench.say("charger", meter("m1", 5, 20))
    bench.later(bench.setting.ocpp.call_timeout_s + 1)
    assert bench.waits == {"s1": False, "m1": False}


def test_who_comes_behind_one_that_waits_ends_its_wait() -> None:
    """While the first is on its way to the disk a second message comes."""
    bench = offline()
    first, second = (json.dumps(meter(name, LOCAL, 20)) for name in ("m1", "m2"))
    (append,) = bench.relay.on(act.Received("charger", first), bench._now())
    assert isinstance(append, act.Append)
    assert append.patient
    assert bench.relay.on(act.Received("charger", second), bench._now()) == [act.Hurry()]


def endless(monkeypatch: Any) -> Site:
    """A site whose gateway waits for a commit of others longer than any test does."""
    monkeypatch.setattr(link, "PATIENCE_S", 1e6)
    monkeypatch.setattr(intake, "PATIENT_AFTER_S", 0.0)
    return make_site(make_charger(), tokens=(Token(id="CARD-A", tenant="anna"),))


async def test_a_stop_behind_values_that_wait_takes_them_along(run_gateway: Run, monkeypatch: Any) -> None:
    """Over real wires."""
    site = endless(monkeypatch)
    async with run_gateway(site) as gateway, gateway.box() as box:
        await box.boot()
        transaction = (await box.start())["transactionId"]
        values = await box.send("MeterValues", meter_payload(transaction, 20))
        assert await box.stop(transaction, 30) == {}
        await until(lambda: values in box.answers, "their answer")
        assert [row.action for row in await gateway.rows()] == ["StartTransaction", "MeterValues", "StopTransaction"]


async def test_the_end_of_the_gateway_waits_for_nobodys_patience(run_gateway: Run, monkeypatch: Any) -> None:
    """What has come is written and answered (rule R49)."""
    site = endless(monkeypatch)
    async with run_gateway(site) as gateway, gateway.box() as box:
        await box.boot()
        transaction = (await box.start())["transactionId"]
        await until(lambda: len(box.orders) > 1, "what the gateway sets in the box")
        await box.send("MeterValues", meter_payload(transaction, 20))
    async with run_gateway(site) as gateway:
        assert [row.action for row in await gateway.rows()] == ["StartTransaction", "MeterValues"]
