"""The OCPP side over real WebSockets when parts of it fail, and when it ends."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.model import Connection, Reading
from gateway.site import Token
from gateway.store import journal, sessions
from tests.ocpp.wires import Box, Csms, Run, make_charger, make_site, start_payload, until

TOKENS = (Token(id="CARD-A", tenant="anna"),)


def _entry(
    db: Connection, charger: str, action: str, number: int, *, text: str = "{}", signed: bool = False,
    state: str = "local",
) -> int:  # fmt: skip
    return journal.append(
        db,
        journal.NewEntry(
            charger=charger, at_ms=number, ts_q="ntp", boot=1, action=action, connector=1, transaction_id=None,
            message_id=str(number), frame=f'[2,"{number}","{action}",{text}]', state=state,  # type: ignore[arg-type]
            signed=signed,
        ),
    )  # fmt: skip


async def test_a_meter_that_fails_costs_the_register_and_not_the_start(run_gateway: Run) -> None:
    """Design rule 3; also where the newest reading cannot even be asked for."""

    def broken(meter: str) -> Reading | None:
        raise KeyError(meter)

    site = make_site(make_charger(), tokens=TOKENS)
    async with run_gateway(site) as gateway, gateway.box() as box:
        await box.boot()
        gateway.meters.latest = broken
        assert (await box.start())["idTagInfo"] == {"status": "Accepted"}
        assert (await gateway.rows())[0].reading is None
        assert "ocpp_fault" in gateway.kinds()


async def test_a_start_of_a_charger_that_is_gone_from_the_site_file_blocks_nobody(run_gateway: Run) -> None:
    """A kill left it without an answer: it is refused, and what came after it can be read."""
    site = make_site(make_charger(), tokens=TOKENS)
    async with run_gateway(site) as gateway:
        await gateway.db.run(lambda db: _entry(db, "box9", "StartTransaction", 1, text='{"idTag":"X"}'))
        await gateway.db.run(lambda db: _entry(db, "box1", "StopTransaction", 2))
        assert await gateway.rows() == []
    async with run_gateway(site) as gateway:
        rows = await gateway.rows()
        assert [(row.charger, row.answered_by) for row in rows] == [("box9", "gateway"), ("box1", None)]
        assert '"Invalid"' in (rows[0].answer or "")


async def test_old_meter_values_go_where_the_journal_is_over_its_budget(
    run_gateway: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I12, rule R34: never starts, stops, signed values, what the CSMS must still get, or what was not read yet."""

    def fill(db: Connection) -> None:
        _entry(db, "box1", "StartTransaction", 1)
        journal.answered(db, 1, "{}", "gateway", transaction_id=7)
        _entry(db, "box1", "MeterValues", 2, signed=True)
        _entry(db, "box1", "MeterValues", 3, state="pending")
        for number in range(4, 14):
            _entry(db, "box1", "MeterValues", number)
        sessions.move_cursor(db, "sessions", 9)

    site = make_site(make_charger(), tokens=TOKENS)
    async with run_gateway(site) as gateway:
        await gateway.db.run(fill)
    for most, left in ((6, [8, 9, 10, 11, 12, 13]), (1, [10, 11, 12, 13])):
        monkeypatch.setattr("gateway.ocpp.side.KEEP_VALUES", most)
        async with run_gateway(site) as gateway:
            await until(lambda: "journal_pruned" in gateway.kinds(), "it is pruned")
            assert [row.entry for row in await gateway.rows()] == [1, 2, 3, *left]


async def test_a_clean_end_waits_for_the_answers_that_are_under_way(run_gateway: Run) -> None:
    """Rule R49: the open start gets its answer, nothing new is taken, and no new box is let in."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port, call_timeout_s=4.0)
        async with run_gateway(site) as gateway, gateway.box() as box:
            await box.boot()
            csms.answers["StartTransaction"] = lambda p: None
            await box.send("StartTransaction", start_payload("CARD-A"), "s1")
            await until(lambda: csms.payloads("StartTransaction"), "the CSMS is asked")
            ending = asyncio.create_task(gateway.end())
            await until(lambda: not gateway.side.ready.is_set(), "it ends")
            await box.send("Heartbeat", {}, "h1")
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{gateway.side.port}/box1", subprotocols=["ocpp1.6"])  # type: ignore[list-item]
            answer = [3, csms.received[-1][2], {"idTagInfo": {"status": "Accepted"}, "transactionId": 5}]
            await csms.connections[-1].send(json.dumps(answer))
            await until(lambda: "s1" in box.answers, "the box has its answer")
            await ending
            assert "h1" not in box.answers
            assert [(row.transaction_id, row.state) for row in await gateway.rows()] == [(5, "done")]


async def test_a_secret_that_is_not_there_is_named(run_gateway: Run) -> None:
    """I11: it is not the box that is wrong."""
    secrets = {"box-password": b"12345678"}
    site = make_site(make_charger(secret="box-password"))
    header = {"Authorization": "Basic " + b64encode(b"box1:12345678").decode()}
    async with run_gateway(site, secrets) as gateway:
        async with gateway.box(additional_headers=header) as box:
            assert isinstance(box, Box)
        secrets.clear()
        with pytest.raises(InvalidStatus) as refused:
            async with gateway.box(additional_headers=header):
                pass
        assert refused.value.response.status_code == 503
        assert gateway.side.status()["refused"][0]["why"] == "the secret 'box-password' of the site file is not there"
