"""Journal -> sessions: begin and end registers to the letter of rule 12, refusals, odd orders, kills."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from gateway.records.verify import Link, Verdict, check_sequence, verify_ocmf
from gateway.sessions import intake
from gateway.store import records

from .conftest import ended, ms, one


async def test_a_session_from_start_to_signed_end(house: Any) -> None:
    """Begin: the reading of the start. End: the first reading after the stop. Both signed, both told, energy exact."""
    async with house.running():
        await house.start(11, card="card-a")
        await house.until("SELECT count(*) FROM session", 1)
        assert house.tracker is not None
        status = await house.tracker.status()
        assert [(entry["tenant"], entry["energy_wh"]) for entry in status["open"]] == [("anna", 0)]
        house.at("09:20:00")
        house.meters.registers["m1"] = (8_500, None)
        await house.stop(11, payload={"reason": "Local"})
        session = await ended(house)
        assert (await house.tracker.status())["ended"] == 1
    assert (session["begin_wh"], session["end_wh"], session["billable"]) == (7_000, 8_500, 1)
    assert (session["charger_begin_wh"], session["charger_end_wh"]) == (5_000, 9_000)
    [begin] = await house.bodies("session.begin.v1")
    [end] = await house.bodies("session.end.v1")
    assert end["energy_wh"] == 1_500
    assert (begin["begin_wh"], begin["tenant"], begin["participant"]) == (7_000, "anna", "box1")
    assert end["ocmf_begin"] == begin["ocmf_begin"]
    spki = house.signer.public_spki()
    for text, letter, value in ((begin["ocmf_begin"], "B", "7.000"), (end["ocmf_end"], "L", "8.500")):
        finding = verify_ocmf(text, spki)
        assert finding.verdict is Verdict.VALID
        [reading] = (finding.payload or {})["RD"]
        assert reading["TX"] == letter
        assert f'"RV":{value},' in text
    kept = await house.db.run(lambda db: list(records.everything(db)))
    links = [
        Link(row.id, row.key_id, row.charge_point, row.pagination, row.text, row.prev, row.sha256, row.signed_by)
        for row in kept
    ]
    assert [link.pagination for link in links] == [1, 2]
    assert check_sequence(links, {house.signer.key_id: spki}) == []


async def test_a_refused_start_is_told_and_never_billed(house: Any) -> None:
    """No energy, no record, a reason; another car that charges at the connector goes on."""
    async with house.running():
        await house.start(1)
        await house.start(2, card="STRANGER", status="Invalid")
        await house.until("SELECT count(*) FROM session", 2)
    [end] = await house.bodies("session.end.v1")
    assert (end["billable"], end["energy_wh"], end["unbillable_reason"]) == (False, None, "start_refused")
    assert (end["signed_by"], end["ocmf_end"], end["tenant"]) == ("none", None, None)
    assert await house.rows("SELECT state FROM session ORDER BY transaction_id") == [("open",), ("ended",)]


async def test_a_card_that_is_no_longer_valid_belongs_to_nobody(house: Any) -> None:
    """A token's validity is asked at the start."""
    async with house.running():
        await house.start(1, card="CARD-OLD")
        await house.until("SELECT count(*) FROM session", 1)
    assert (await one(house))["tenant"] is None


async def test_without_a_reading_there_is_no_register(house: Any) -> None:
    """The charger's own value stands beside; the session ends unbillable, without a begin record."""
    async with house.running():
        await house.start(1, read=None)
        await house.until("SELECT count(*) FROM session", 1)
        await house.stop(1)
        session = await ended(house)
    assert (session["begin_wh"], session["begin_provenance"], session["charger_begin_wh"]) == (None, "none", 5_000)
    assert (session["billable"], session["unbillable_reason"]) == (0, "no_begin_register")
    [begin] = await house.bodies("session.begin.v1")
    assert begin["ocmf_begin"] is None
    assert await house.rows("SELECT count(*) FROM record") == [(0,)]


async def test_a_connector_without_a_meter_is_named(house: Any) -> None:
    """There is no end register to wait for."""
    async with house.running():
        await house.start(1, charger="bare", read=None)
        await house.stop(1, charger="bare")
        session = await ended(house)
    assert session["unbillable_reason"] == "no_meter"


async def test_a_stop_without_a_start_is_kept_and_never_billed(house: Any) -> None:
    """It has its reason, and its own row."""
    async with house.running():
        await house.stop(99)
        session = await ended(house)
    assert (session["unbillable_reason"], session["charger_end_wh"]) == ("stop_without_start", 9_000)
    assert any(event.kind == "session_unbillable" and event.keep for event in house.events)


async def test_stops_of_no_transaction_are_each_kept(house: Any) -> None:
    """A charger that was never told an id writes -1: two such stops are two sessions."""
    async with house.running():
        await house.stop(-1)
        await house.stop(-1, meter_stop=9_500)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 2)
    assert [end["charger_end_wh"] for end in await house.bodies("session.end.v1")] == [9_000, 9_500]


async def test_a_start_without_a_stop_ends_with_the_next_start(house: Any) -> None:
    """Nobody knows when it ended: unbillable; a late stop of it changes nothing and its energy is told."""
    async with house.running():
        await house.start(1)
        house.at("09:20:00")
        await house.start(2)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
        await house.stop(1)
        await house.until("SELECT entry FROM cursor", 3)
    rows = await house.rows("SELECT transaction_id, state, unbillable_reason FROM session ORDER BY transaction_id")
    assert rows == [(1, "ended", "start_without_stop"), (2, "open", None)]
    assert any(event.kind == "energy_without_bill" for event in house.events)


async def test_a_stop_that_is_seen_twice_ends_once(house: Any) -> None:
    """One end record, one end row."""
    async with house.running():
        await house.start(1)
        await house.stop(1)
        await ended(house)
        await house.stop(1, meter_stop=12_000)
        await house.until("SELECT entry FROM cursor", 3)
    assert (await one(house))["charger_end_wh"] == 9_000
    assert len(await house.bodies("session.end.v1")) == 1


async def test_a_start_that_is_seen_twice_begins_once(house: Any) -> None:
    """The same transaction id is the same session."""
    async with house.running():
        await house.start(1)
        await house.start(1)
        await house.until("SELECT entry FROM cursor", 2)
    assert len(await house.bodies("session.begin.v1")) == 1


async def test_the_end_register_waits_for_a_silent_meter(house: Any) -> None:
    """The session is stopped until the first good reading; it comes by itself and is taken."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.meters.silent = {"m1"}
        house.at("09:20:00")
        await house.stop(1)
        await house.until("SELECT state FROM session", "stopped")
        house.at("09:40:00")
        house.meters.silent = set()
        house.meters.registers["m1"] = (7_300, None)
        house.meters.poll("m1")
        session = await ended(house)
    assert (session["end_wh"], session["billable"]) == (7_300, 1)
    assert session["end_ms"] > session["stop_ms"]


async def test_a_reading_before_the_stop_is_no_end_register(house: Any) -> None:
    """Only what was asked for after the stop came counts; the tracker reads the meter itself."""
    async with house.running():
        await house.start(1)
        house.at("09:20:00")
        house.meters.registers["m1"] = (8_000, None)
        house.meters.poll("m1")
        house.at("09:20:03")
        house.meters.registers["m1"] = (8_009, None)
        await house.stop(1)
        session = await ended(house)
    assert session["end_wh"] == 8_009
    assert house.meters.asked == ["m1", "m1"]


async def test_the_next_start_ends_a_session_that_waits(house: Any) -> None:
    """The begin reading of the next session, asked for after the stop, is the end reading of the one before."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.meters.silent = {"m1"}
        house.at("09:20:00")
        await house.stop(1)
        await house.until("SELECT state FROM session", "stopped")
        house.meters.silent = set()
        house.at("09:25:00")
        house.meters.registers["m1"] = (8_200, None)
        await house.start(2, reading=house.meters.reading("m1"), read=None)
        session = (await house.rows("SELECT 1"))[0]
        await house.until("SELECT count(*) FROM session WHERE state = 'open' AND transaction_id = 2", 1)
    rows = await house.rows("SELECT begin_wh, end_wh, billable FROM session ORDER BY transaction_id")
    assert session == (1,)
    assert rows == [(7_000, 8_200, 1), (8_200, None, 0)]


async def test_a_session_that_waits_has_no_end_where_the_next_one_begins_unread(house: Any) -> None:
    """No reading between the stop and the next start: no end register, no bill."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.meters.silent = {"m1"}
        house.at("09:20:00")
        await house.stop(1)
        house.at("09:25:00")
        await house.start(2)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
    rows = await house.rows("SELECT unbillable_reason, end_wh FROM session WHERE transaction_id = 1")
    assert rows == [("no_end_register", None)]


async def test_a_swapped_meter_is_not_billed(house: Any) -> None:
    """Begin and end register are not of one meter."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:20:00")
        house.meters.serials["m1"] = "OTHER"
        house.meters.registers["m1"] = (17, None)
        await house.stop(1)
        session = await ended(house)
    assert session["unbillable_reason"] == "meter_swapped"
    assert any(event.kind == "meter_swapped" for event in house.events)


@pytest.mark.parametrize("at", ["while it runs", "at its end", "before it"])
async def test_a_session_across_a_new_level_is_not_billed(house: Any, at: str) -> None:
    """Seed 20058: a meter without a serial number was exchanged for one that had counted a little more."""
    house.meters.serials["m1"] = None
    async with house.running():
        house.meters.new_levels = {"m1"} if at == "before it" else set()
        house.meters.poll("m1")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:20:00")
        house.meters.registers["m1"] = (7_400, None)
        house.meters.new_levels = {"m1"} if at == "while it runs" else set()
        house.meters.poll("m1")
        house.settlement.notify()
        if at == "while it runs":
            await house.until("SELECT count(*) FROM kept_reading WHERE why = 'after_swap'", 1)
        house.at("09:40:00")
        house.meters.registers["m1"] = (7_900, None)
        house.meters.new_levels = {"m1"} if at == "at its end" else set()
        await house.stop(1)
        session = await ended(house)
    billed = at == "before it"
    assert (session["billable"], session["unbillable_reason"]) == (billed, None if billed else "meter_swapped")


async def test_a_session_ends_with_a_reading_that_names_its_meter(house: Any) -> None:
    """Seed 10031: after a restart the serial number was not read yet, and the signed end named no meter."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:20:00")
        house.meters.serials["m1"] = None
        house.meters.registers["m1"] = (8_000, None)
        await house.stop(1)
        await house.until("SELECT state FROM session", "stopped")
        house.at("09:20:05")
        house.meters.poll("m1")
        house.at("09:20:10")
        house.meters.serials["m1"] = "SN-m1"
        house.meters.poll("m1")
        session = await ended(house)
    assert (session["billable"], session["end_ms"]) == (1, ms("2026-04-15T09:20:10Z"))
    record = json.loads((await house.bodies("session.end.v1"))[0]["ocmf_end"].split("|")[1])
    assert record["MS"] == "SN-m1"


@pytest.mark.parametrize(
    ("before", "billable"), [("SN-m1", 1), ("OTHER", 0), (None, 0)], ids=["the same", "another", "none"]
)
async def test_a_begin_without_a_name_is_billed_where_the_meter_was_known_before(
    house: Any, before: str | None, billable: int
) -> None:
    """A meter that told its serial number only in between may have been exchanged since the begin."""
    house.meters.serials["m1"] = before
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:15:20")
        house.meters.serials["m1"] = None
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.at("09:20:00")
        house.meters.serials["m1"] = "SN-m1"
        house.meters.registers["m1"] = (8_000, None)
        await house.stop(1)
        session = await ended(house)
    assert (session["begin_wh"], session["end_wh"], session["billable"]) == (7_000, 8_000, billable)
    assert session["unbillable_reason"] == (None if billable else "meter_swapped")


async def test_texts_that_the_charger_signed_are_kept_byte_for_byte(house: Any) -> None:
    """In MeterValues and in the stop; they stand in the end row, in order."""
    first, last = 'OCMF|{"RD" : [ ]}|{"SD":"30"}', "opaque ü \\ text"

    def sampled(value: str) -> list[dict[str, Any]]:
        return [{"timestamp": "x", "sampledValue": [{"value": "1"}, {"value": value, "format": "SignedData"}]}]

    async with house.running():
        await house.start(1)
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": sampled(first)}, tx=1)
        await house.stop(1, payload={"transactionData": sampled(last)})
        await ended(house)
    [end] = await house.bodies("session.end.v1")
    assert end["charger_records"] == [first, last]


async def test_an_entry_that_makes_no_sense_is_told_and_passed_by(house: Any) -> None:
    """The next ones are taken in."""
    async with house.running():
        await house.journal("StartTransaction", {"idTag": "X"}, tx=None, answer={"idTagInfo": {"status": "Accepted"}})
        await house.journal("StopTransaction", {}, tx=None)
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
    assert [event.kind for event in house.events].count("entry_not_taken_in") == 2


async def test_after_a_kill_the_journal_is_taken_up_where_it_was_left(house: Any) -> None:
    """A stop that was journaled while nobody ran ends the session with the first reading of the new process."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
    house.at("09:36:00")
    await house.stop(1)
    house.at("09:40:00")
    house.meters.registers["m1"] = (8_800, None)
    async with house.running():
        session = await ended(house)
    assert (session["end_wh"], session["billable"]) == (8_800, 1)
    assert len(await house.bodies("session.begin.v1")) == 1


@pytest.mark.parametrize("fail_at", range(1, 11))
async def test_a_kill_inside_the_transaction_changes_nothing(
    house: Any, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    """Session, record, pagination, outbox and cursor are one: cut anywhere, the retry gives exactly one of each."""
    await house.start(1)
    await house.stop(1, at_ms=house.clock.now_ms - 1)  # its reading is there already: started and ended in one go
    taker = intake.Intake(house.site, intake.Writer(house.site, house.who, house.signer, house.world.random), 12_000)
    series = {"m1": [house.meters.reading("m1")]}

    def cut(db: Any) -> None:
        class Cut:
            """A connection that dies at its n-th change."""

            count = 0

            def execute(self, sql: str, parameters: Any = ()) -> Any:
                if sql.lstrip().startswith(("INSERT", "UPDATE")):
                    self.count += 1
                    if self.count == fail_at:
                        raise KilledError
                return db.execute(sql, parameters)

        taker.take_in(Cut(), series, house.clock.now())  # type: ignore[arg-type]

    class KilledError(BaseException):
        pass

    def in_transaction(db: Any) -> str:
        try:
            cut(db)
        except KilledError:
            db.execute("ROLLBACK TO work")
            return "killed"
        return "done"

    assert await house.db.run(in_transaction) == "killed"
    tables = ("session", "record", "pagination", "outbox", "cursor")
    assert [await house.rows(f"SELECT count(*) FROM {table}") for table in tables] == [[(0,)]] * 5
    await house.db.run(lambda db: taker.take_in(db, series, house.clock.now()))
    await house.db.run(lambda db: taker.finish(db, series, house.clock.now()))
    assert await house.rows("SELECT billable FROM session") == [(1,)]
    assert await house.rows("SELECT pagination FROM record ORDER BY id") == [(1,), (2,)]
    assert await house.rows("SELECT schema FROM outbox ORDER BY seq") == [("session.begin.v1",), ("session.end.v1",)]
    assert await house.rows("SELECT entry FROM cursor") == [(2,)]


async def test_every_row_survives_its_json(house: Any) -> None:
    """A session read back is the session that was written, from another connection of the same file."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
    session = await one(house)
    with sqlite3.connect(house.path / "billing.db") as other:
        [row] = other.execute("SELECT id, begin_wh, state FROM session").fetchall()
    assert row == (session["id"], 7_000, "open")
    kept = await house.rows("SELECT reading FROM kept_reading WHERE why = 'begin'")
    assert json.loads(kept[0][0])["import_wh"] == 7_000
    assert replace(house.meters.reading("m1"), requested_ms=0).serial == "SN-m1"
