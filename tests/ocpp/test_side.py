"""The OCPP side over real WebSockets: the main job with a CSMS that goes and comes, and a gateway that restarts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gateway.model import ConnectorRef, LimitOutcome
from gateway.site import Token
from gateway.store import journal
from tests.ocpp.wires import Csms, Run, make_charger, make_site, meter_payload, start_payload, stop_payload, until

REF = ConnectorRef("box1", 1)


async def test_online_the_csms_answers_and_its_id_passes_unchanged(run_gateway: Run) -> None:
    """Boot, card, start, meter values and stop go through; only start and stop are journaled, with the MID register."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            assert (await box.boot())["status"] == "Accepted"
            assert (await box.call("Authorize", {"idTag": "CARD-A"}))["idTagInfo"]["status"] == "Accepted"
            started = await box.start()
            assert started["transactionId"] == 101
            await box.meter(101, 500)
            assert (await box.stop(101, 900))["idTagInfo"]["status"] == "Accepted"
            assert csms.actions() == [
                "BootNotification", "Authorize", "StartTransaction", "MeterValues", "StopTransaction",
            ]  # fmt: skip
            rows = await gateway.rows()
            assert [(row.action, row.transaction_id, row.state) for row in rows] == [
                ("StartTransaction", 101, "done"),
                ("StopTransaction", 101, "done"),
            ]
            assert json.loads(rows[0].reading or "")["import_wh"] == 1000
            assert rows[0].answered_by == "csms"
            assert gateway.journal_calls


async def test_an_outage_with_a_restart_in_the_middle_of_a_charge(run_gateway: Run) -> None:
    """Cut, start offline, restart of the gateway, stop, back: the CSMS gets everything once, in order, with its id."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            await box.call("Authorize", {"idTag": "CARD-A"})
    async with run_gateway(site) as gateway, gateway.box() as box:
        assert (await box.call("Authorize", {"idTag": "card-a"}))["idTagInfo"]["status"] == "Accepted"
        assert (await box.call("Authorize", {"idTag": "UNKNOWN"}))["idTagInfo"]["status"] == "Invalid"
        started = await box.start()
        assert started == {"idTagInfo": {"status": "Accepted"}, "transactionId": 2**31 - 1}
        await box.meter(2**31 - 1, 400)
    async with run_gateway(site) as gateway, gateway.box() as box:
        state = gateway.side.connectors()[0]
        assert (state.transaction_id, state.connected) == (2**31 - 1, True)
        assert await box.stop(2**31 - 1, 900) == {}
        await until(lambda: gateway.upstream()["queue"] == 3, "three messages wait")
        async with csms.open():
            await until(lambda: "StopTransaction" in csms.actions(), "the queue drains")
            await until(lambda: gateway.upstream()["queue"] == 0, "the queue is empty")
            assert csms.actions()[-3:] == ["StartTransaction", "MeterValues", "StopTransaction"]
            assert csms.payloads("MeterValues")[-1] == meter_payload(101, 400)
            assert csms.payloads("StopTransaction") == [stop_payload(101, 900)]
            assert csms.actions().count("BootNotification") == 1


async def test_a_stop_twice_within_a_millisecond_is_one_stop(run_gateway: Run) -> None:
    """Rule R35: both get the same answer, the journal and the CSMS have one."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            await box.start()
            first = await box.send("StopTransaction", stop_payload(101, 900))
            second = await box.send("StopTransaction", stop_payload(101, 900))
            await until(lambda: first in box.answers and second in box.answers, "both answers")
            assert json.loads(box.answers[first])[2] == json.loads(box.answers[second])[2]
            assert len(csms.payloads("StopTransaction")) == 1
            assert [row.action for row in await gateway.rows()].count("StopTransaction") == 1


async def test_a_csms_that_answers_one_to_every_start(run_gateway: Run) -> None:
    """Quirk 39: the second transaction gets a local id, mapped both ways, also in RemoteStopTransaction."""
    csms = Csms()
    csms.answers["StartTransaction"] = lambda p: {"idTagInfo": {"status": "Accepted"}, "transactionId": 1}
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            assert (await box.start(wh=1))["transactionId"] == 1
            await box.stop(1, 100)
            assert (await box.start(wh=100))["transactionId"] == 2**31 - 1
            await box.meter(2**31 - 1, 150)
            assert csms.payloads("MeterValues")[-1]["transactionId"] == 1
            await csms.order("RemoteStopTransaction", {"transactionId": 1})
            assert ("RemoteStopTransaction", {"transactionId": 2**31 - 1}) in box.orders
            await box.stop(2**31 - 1, 200)
            assert [one["transactionId"] for one in csms.payloads("StopTransaction")] == [1, 1]


async def test_a_csms_that_issues_exactly_the_local_id(run_gateway: Run) -> None:
    """Its id is taken toward the charger, so the newer transaction gets a fresh one."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms", offline_unknown="accept"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
    async with run_gateway(site) as gateway, gateway.box() as box:
        assert (await box.start(wh=1))["transactionId"] == 2**31 - 1
        await box.stop(2**31 - 1, 50)
        async with csms.open():
            await until(lambda: "StopTransaction" in csms.actions(), "the queue drains")
            await until(lambda: gateway.upstream()["queue"] == 0, "the queue is empty")
            csms.answers["StartTransaction"] = lambda p: {
                "idTagInfo": {"status": "Accepted"}, "transactionId": 2**31 - 1,
            }  # fmt: skip
            assert (await box.start(wh=60))["transactionId"] == 2**31 - 2
            await box.stop(2**31 - 2, 90)
            assert [one["transactionId"] for one in csms.payloads("StopTransaction")] == [101, 2**31 - 1]


async def test_a_silent_csms_and_its_late_answer(run_gateway: Run) -> None:
    """The charger is answered after one CALL timeout; the late answer completes the entry and maps the id (R10)."""
    csms = Csms()
    csms.answers["StartTransaction"] = lambda p: None
    async with csms.open():
        site = make_site(
            make_charger(upstream="csms", authority="csms", offline_unknown="accept"), csms_port=csms.port,
            call_timeout_s=0.15,
        )  # fmt: skip
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            assert (await box.start())["transactionId"] == 2**31 - 1
            message_id = csms.received[-1][2]
            answer = [3, message_id, {"idTagInfo": {"status": "Accepted"}, "transactionId": 55}]
            await csms.connections[-1].send(json.dumps(answer))
            await csms.connections[-1].send(json.dumps(answer))
            await box.stop(2**31 - 1, 80)
            await until(lambda: csms.payloads("StopTransaction"), "the queue goes on")
            assert len(csms.payloads("StartTransaction")) == 1
            assert csms.payloads("StopTransaction")[-1]["transactionId"] == 55


async def test_frames_that_are_no_ocpp_are_not_fatal(run_gateway: Run) -> None:
    """No JSON, bad UTF-8, an unknown type: dropped and told once; a CALL with an id gets a CALLERROR (R8, R9)."""
    site = make_site(make_charger())
    async with run_gateway(site) as gateway, gateway.box() as box:
        await box.connection.send("nonsense")
        await box.connection.send(b"\xff\xfe")
        await box.connection.send('[9,"x",{}]')
        await box.connection.send('[2,"77","Heartbeat"]')
        await until(lambda: "77" in box.answers, "a CALLERROR")
        assert json.loads(box.answers["77"])[2] == "FormationViolation"
        assert (await box.boot())["status"] == "Accepted"
        assert gateway.kinds().count("bad_frame") == 1


async def test_without_a_csms_the_gateway_answers_everything(run_gateway: Run) -> None:
    """Authority site: tokens decide, without case; the journal has it as local; an unknown action is NotImplemented."""
    site = make_site(make_charger(), tokens=(Token(id="CARD-A", tenant="anna"),))
    async with run_gateway(site) as gateway, gateway.box() as box:
        assert (await box.boot())["interval"] == 300
        assert (await box.call("Heartbeat", {}))["currentTime"].endswith("Z")
        assert (await box.call("Authorize", {"idTag": "card-a"}))["idTagInfo"]["status"] == "Accepted"
        assert (await box.call("Authorize", {"idTag": "CARD-B"}))["idTagInfo"]["status"] == "Invalid"
        started = await box.start()
        assert await box.meter(started["transactionId"], 20) == {}
        assert await box.stop(started["transactionId"], 30) == {}
        assert await box.stop(4711, 30) == {}
        assert (await box.ask("Nonsense", {}))[2] == "NotImplemented"
        assert {row.state for row in await gateway.rows()} == {"local"}
        assert len(await gateway.rows()) == 4


async def test_limits_fallback_and_configuration_reach_the_box(run_gateway: Run) -> None:
    """After its boot the box gets its fallback and its sample interval; a limit is a short TxProfile."""
    site = make_site(make_charger(), tokens=(Token(id="CARD-A", tenant="anna"),))
    async with run_gateway(site) as gateway:
        assert await gateway.side.set_limit(REF, 6000, duration_s=120, raising=False) is LimitOutcome.ABSENT
        async with gateway.box() as box:
            await box.boot()
            await until(lambda: gateway.side.connectors()[0].fallback_proven, "the fallback is confirmed")
            profile = next(p["csChargingProfiles"] for a, p in box.orders if a == "SetChargingProfile")
            assert profile["chargingProfilePurpose"] == "TxDefaultProfile"
            assert profile["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 6}]
            await until(lambda: any(a == "ChangeConfiguration" for a, _ in box.orders), "the configuration")
            assert await gateway.side.set_limit(REF, 6000, duration_s=120, raising=False) is LimitOutcome.REFUSED
            started = await box.start()
            assert await gateway.side.set_limit(REF, 9250, duration_s=120, raising=True) is LimitOutcome.CONFIRMED
            limit = box.orders[-1][1]["csChargingProfiles"]
            assert limit["transactionId"] == started["transactionId"]
            assert limit["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"] == 9.2
            assert limit["chargingSchedule"]["duration"] == 150
            box.replies["SetChargingProfile"] = lambda p: None
            assert await gateway.side.set_limit(REF, 7000, duration_s=120, raising=False) is LimitOutcome.SILENT
    async with run_gateway(site) as gateway:
        assert gateway.side.connectors()[0].fallback_proven
        async with gateway.box() as box:
            box.replies["SetChargingProfile"] = lambda p: {"status": "Rejected"}
            assert await gateway.side.set_limit(REF, 8000, duration_s=120, raising=True) is LimitOutcome.REFUSED
            assert [action for action, _ in box.orders].count("SetChargingProfile") == 1


async def test_the_csms_profiles_are_kept_in_the_gateway(run_gateway: Run) -> None:
    """SetChargingProfile is answered once it is on disk, limits the connector, survives a restart, can be cleared."""
    csms = Csms()
    profile: dict[str, Any] = {
        "chargingProfileId": 7, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.0}]},
    }  # fmt: skip
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            set_answer = await csms.order("SetChargingProfile", {"connectorId": 0, "csChargingProfiles": profile})
            assert set_answer[2] == {"status": "Accepted"}
            assert gateway.side.connectors()[0].csms_limit_ma == 10_000
            assert all(p["csChargingProfiles"]["chargingProfileId"] != 7 for a, p in box.orders if "Charging" in a)
            bad = await csms.order("SetChargingProfile", {"connectorId": 9, "csChargingProfiles": profile})
            assert bad[2] == {"status": "Rejected"}
        csms.connections.clear()
        async with run_gateway(site) as gateway, gateway.box() as box:
            await until(lambda: gateway.side.connectors()[0].csms_limit_ma == 10_000 and csms.connections, "restarted")
            composite = await csms.order("GetCompositeSchedule", {"connectorId": 1, "duration": 600})
            assert composite[2]["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 6.0}]
            assert (await csms.order("ClearChargingProfile", {}))[2] == {"status": "Accepted"}
            assert (await csms.order("ClearChargingProfile", {}))[2] == {"status": "Unknown"}
            assert gateway.side.connectors()[0].csms_limit_ma is None


async def test_commands_for_an_absent_box_fail_at_once(run_gateway: Run) -> None:
    """Rules R45 and R46: a CALLERROR, also for one that was open when the box went."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway:
            async with gateway.box() as box:
                await box.boot()
                box.replies["Reset"] = lambda p: None
                await csms.connections[-1].send('[2,"r","Reset",{"type":"Soft"}]')
                await until(lambda: any(a == "Reset" for a, _ in box.orders), "the box has the command")
            await until(lambda: "r" in csms.results, "an answer")
            assert json.loads(csms.results["r"])[:3] == [4, "r", "GenericError"]
            assert (await csms.order("UnlockConnector", {"connectorId": 1}))[0] == 4


async def test_a_new_connection_of_the_same_box_wins(run_gateway: Run) -> None:
    """Rule R19."""
    site = make_site(make_charger())
    async with run_gateway(site) as gateway, gateway.box() as old:
        await old.boot()
        async with gateway.box() as new:
            await until(lambda: old.closed, "the old connection is closed")
            assert (await new.call("Heartbeat", {}))["currentTime"]
            assert gateway.side.connectors()[0].connected


async def test_statuses_after_a_gap_are_told_once_and_as_they_are_now(run_gateway: Run) -> None:
    """Rule R39: not the history, only the current status of what changed."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
    async with run_gateway(site) as gateway, gateway.box() as box:
        for status in ("Preparing", "Charging", "Faulted"):
            payload = {"connectorId": 1, "errorCode": "NoError", "status": status}
            await box.call("StatusNotification", payload)
        assert gateway.side.connectors()[0].status == "Faulted"
        async with csms.open():
            await until(lambda: csms.payloads("StatusNotification"), "a status")
            await box.call("Heartbeat", {})
            assert [one["status"] for one in csms.payloads("StatusNotification")] == ["Faulted"]


async def test_spec_close_closes_and_refuses_the_box_while_the_csms_is_away(run_gateway: Run) -> None:
    """OCPP 2.x part 4 section 6.3: 503 until the CSMS can be dialled."""
    csms = Csms()
    site_of = lambda: make_site(  # noqa: E731
        make_charger(upstream="csms", authority="csms", offline="spec-close"), csms_port=csms.port
    )
    async with csms.open(), run_gateway(site_of()) as gateway, gateway.box() as box:
        await box.boot()
        await csms.connections[-1].close()
        await until(lambda: box.closed, "the box is closed")
        assert "charger_closed" in gateway.kinds()


async def test_meter_values_without_an_answer_are_kept(run_gateway: Run) -> None:
    """Relayed without a commit; journaled only because the CSMS stayed silent, and told again later."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port, call_timeout_s=0.15)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            await box.start()
            csms.answers["MeterValues"] = lambda p: None
            assert await box.meter(101, 77) == {}
            assert [row.action for row in await gateway.rows()] == ["StartTransaction", "MeterValues"]
            csms.answers["MeterValues"] = lambda p: {}
            await until(
                lambda: gateway.upstream()["queue"] == 0 and len(csms.payloads("MeterValues")) > 1, "it is told"
            )


async def test_what_the_csms_cannot_process_is_parked_and_told(run_gateway: Run) -> None:
    """Rules R31-R33: three sends, then the queue goes on; what belongs to a refused start goes with -1."""
    csms = Csms()
    csms.answers["StartTransaction"] = lambda p: {"error": "InternalError"}
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms", offline_unknown="accept"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            started = await box.start()
            assert await box.stop(started["transactionId"], 99) == {}
            await until(lambda: csms.payloads("StopTransaction"), "the stop comes through")
            assert len(csms.payloads("StartTransaction")) == 3
            assert csms.payloads("StopTransaction")[0]["transactionId"] == -1
            assert gateway.kinds().count("dead_letter") == 1
            await until(lambda: gateway.upstream()["parked"] == 1, "parked")


async def test_an_offline_start_that_the_csms_refuses_is_stopped(run_gateway: Run) -> None:
    """Rule R43: RemoteStop with the local id."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms", offline_unknown="accept"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
    csms.answers["StartTransaction"] = lambda p: {"idTagInfo": {"status": "Blocked"}, "transactionId": 9}
    async with run_gateway(site) as gateway, gateway.box() as box:
        started = await box.start("CARD-X")
        async with csms.open():
            stop = ("RemoteStopTransaction", {"transactionId": started["transactionId"]})
            await until(lambda: stop in box.orders, "the box is told to stop")
            assert "offline_start_refused" in gateway.kinds()


async def test_starts_left_without_an_answer_by_a_kill(run_gateway: Run) -> None:
    """Rule R48: the box asks again with the same bytes and gets an answer; there is one entry and one transaction."""
    site = make_site(make_charger(), tokens=(Token(id="CARD-A", tenant="anna"),))
    async with run_gateway(site) as gateway, gateway.box() as box:
        await box.boot()
        frame = json.dumps([2, "s1", "StartTransaction", start_payload("CARD-A")])
        await gateway.db.run(
            lambda db: journal.append(
                db,
                journal.NewEntry(
                    charger="box1", at_ms=1, ts_q="rtc", boot=1, action="StartTransaction", connector=1,
                    transaction_id=None, message_id="s1", frame=frame, state="local",
                ),
            )
        )  # fmt: skip
    async with run_gateway(site) as gateway, gateway.box() as box:
        assert (await box.call("StartTransaction", start_payload("CARD-A"), "s1"))["transactionId"] == 2**31 - 1
        again = await box.call("StartTransaction", start_payload("CARD-A"), "s1")
        assert again["transactionId"] == 2**31 - 1
        assert len(await gateway.rows()) == 1


async def test_leaving_closes_both_sides_with_1001(run_gateway: Run) -> None:
    """Rule R49."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            leaving = asyncio.create_task(gateway.side.run.__self__.ready.wait())
            leaving.cancel()
        upstream = csms.connections[-1]
        await until(lambda: upstream.close_code is not None, "the CSMS's connection is closed")
        assert upstream.close_code == 1001
        assert box.connection.close_code is not None
