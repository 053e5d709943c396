"""Texts that a charger signed: kept as they came, judged with the pinned key, followed, listed at the session's end."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.model import Event
from gateway.records.verify import Link, SequenceCheck
from gateway.store import records
from gateway.store.database import Database
from gateway.store.sqlite import connect

KEY, OTHER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (11, 22))


def spki(key: ec.EllipticCurvePrivateKey = KEY) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()


def signed(
    page: int, *readings: tuple[str, str], key: ec.EllipticCurvePrivateKey = KEY, meter: str = "EMH1", unit: str = "kWh"
) -> str:
    """A record as a charger signs it: blanks, an umlaut, its own spelling of numbers."""
    lines = ", ".join(
        f'{{"TM" : "2026-04-15T11:10:00,000+0200 I","TX" : "{kind}","RV" : {value},"RI" : "1-0:1.8.0","RU" : "{unit}",'
        '"ST" : "G"}'
        for kind, value in readings
    )
    payload = f'{{"FV" : "1.0","GI":"Säule","GS":"C1","MS":"{meter}","PG":"T{page}","RD":[{lines}]}}'
    signature = key.sign(payload.encode(), ec.ECDSA(hashes.SHA256())).hex()
    return f'OCMF|{payload}|{{"SA":"ECDSA-secp256r1-SHA256","SD":"{signature}"}}'


def note(text: str, key: ec.EllipticCurvePrivateKey | None = KEY) -> str:
    """The wrapper of the Open Charge Alliance."""
    public = base64.b64encode(f"oca:base16:asn1:{spki(key)}".encode()).decode() if key else ""
    data = base64.b64encode(text.encode()).decode()
    return json.dumps({"signedMeterData": data, "signingMethod": "", "encodingMethod": "OCMF", "publicKey": public})


def samples(*values: str) -> list[dict[str, Any]]:
    return [{"timestamp": "x", "sampledValue": [{"value": value, "format": "SignedData"} for value in values]}]


async def ended(house: Any, count: int = 1) -> dict[str, Any]:
    await house.until("SELECT count(*) FROM session WHERE state = 'ended'", count)
    return dict((await house.bodies("session.end.v1"))[-1])


async def kept(house: Any) -> list[tuple[Any, ...]]:
    return list(
        await house.rows("SELECT verdict, reason, wrapper, format, spki_hex FROM charger_text ORDER BY record")
    )  # fmt: skip


def told(house: Any, kind: str) -> list[Event]:
    return [event for event in house.events if event.kind == kind]


async def charge(house: Any, tx: int, *texts: str, stop: tuple[str, ...] = ()) -> None:
    """A session whose MeterValues carry `texts` and whose stop carries `stop`."""
    await house.start(tx)
    for text in texts:
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": samples(text)}, tx=tx)
    await house.stop(tx, payload={"transactionData": samples(*stop)} if stop else {})


async def test_a_charger_signed_session(house: Any) -> None:
    """Begin in MeterValues, end in the stop: both valid, the key pinned, the registers digit by digit in the row."""
    begin, end = signed(7, ("B", "2935.600")), signed(8, ("E", "2943.1170"))
    async with house.running():
        await charge(house, 1, note(begin), stop=(note(end),))
        body = await ended(house)
    assert body["charger_records"] == [begin, end]
    assert body["charger_verdicts"] == ["valid", "valid"]
    assert (body["charger_signed_begin"], body["charger_signed_end"]) == ("2935.600 kWh", "2943.1170 kWh")
    assert body["signed_by"] == "gateway"
    assert await kept(house) == [("valid", "", "signedMeterData>base64", "OCMF", spki())] * 2
    (pinned,) = told(house, "meter_key_pinned")
    assert (pinned.subject, pinned.data["serial"], pinned.data["source"]) == ("box1/1", "EMH1", "wrapper")
    assert not told(house, "charger_record_invalid")


async def test_a_box_without_a_meter_is_signed_by_the_charger(house: Any) -> None:
    """The gateway has nothing to sign there."""
    async with house.running():
        await house.start(1, charger="bare", read=None)
        await house.stop(
            1, charger="bare", payload={"transactionData": samples(note(signed(1, ("B", "1"), ("E", "2"))))}
        )
        body = await ended(house)
    assert (body["signed_by"], body["charger_signed_begin"], body["charger_signed_end"]) == (
        "charger",
        "1 kWh",
        "2 kWh",
    )
    assert (body["billable"], body["unbillable_reason"], body["begin_wh"]) == (False, "no_meter", None)
    (event,) = told(house, "session_unbillable")
    assert event.cause.endswith("(no_meter); the charger signed 1 kWh and 2 kWh")
    assert "a person decides" in event.next_step
    assert "basis charger" in event.next_step
    assert (event.data["charger_signed_begin"], event.data["charger_signed_end"]) == ("1 kWh", "2 kWh")


async def test_the_frame_and_the_text_have_their_hashes(house: Any) -> None:
    text = signed(1, ("B", "1.0"))
    async with house.running():
        await house.start(1)
        entry = await house.journal("MeterValues", {"connectorId": 1, "meterValue": samples(text.encode().hex())}, tx=1)
        await house.until("SELECT count(*) FROM charger_text", 1)
    ((frame, frame_hash, text_hash, number),) = await house.rows(
        "SELECT frame, frame_sha256, text_sha256, charger_text.entry FROM charger_text "
        "JOIN journal ON journal.entry = charger_text.entry"
    )
    assert frame_hash == hashlib.sha256(frame.encode()).hexdigest()
    assert text_hash == hashlib.sha256(text.encode()).hexdigest()
    assert number == entry


async def test_the_same_text_sent_again_is_kept_once(house: Any) -> None:
    """Chargers send the end in MeterValues and again in the stop."""
    text = signed(1, ("B", "1.0"), ("E", "2.0"))
    async with house.running():
        await charge(house, 1, text, note(text), stop=(text,))
        body = await ended(house)
    assert body["charger_records"] == [text]
    assert not told(house, "charger_record_pagination_repeat")


async def test_a_changed_key_is_an_alarm_and_never_takes_the_place_of_the_pinned_one(house: Any) -> None:
    """The same meter shows another key: what it signs with it is invalid, the first key goes on to count."""
    async with house.running():
        await charge(house, 1, note(signed(1, ("B", "1"), ("E", "2"))))
        await ended(house)
        forged = note(signed(2, ("B", "2"), ("E", "9"), key=OTHER), OTHER)
        await charge(house, 2, forged, forged.replace("OCMF", "ocmf"), stop=(note(signed(3, ("B", "2"), ("E", "3"))),))
        body = await ended(house, 2)
    assert body["charger_verdicts"] == ["invalid", "valid"]
    (alarm,) = told(house, "meter_key_changed")
    assert (alarm.severity.value, alarm.keep, alarm.data["serial"]) == ("error", True, "EMH1")
    assert len(told(house, "charger_record_invalid")) == 1
    rows = await house.rows("SELECT spki_hex, state FROM charger_key ORDER BY id")
    assert rows == [(spki(), "pinned"), (spki(OTHER), "refused")]


async def test_junk_pins_nothing(house: Any) -> None:
    """A key that does not even verify its own text is not the meter's."""
    wrong = signed(1, ("B", "1")).replace('"RV" : 1', '"RV" : 2')
    async with house.running():
        await charge(house, 1, note(wrong), stop=(note(signed(1, ("B", "1"), ("E", "2"), key=OTHER), OTHER),))
        body = await ended(house)
    assert body["charger_verdicts"] == ["invalid", "valid"]
    assert await house.rows("SELECT spki_hex, state FROM charger_key") == [(spki(OTHER), "pinned")]


async def test_another_meter_at_the_connector_is_told(house: Any) -> None:
    async with house.running():
        await charge(house, 1, note(signed(1, ("B", "1"), ("E", "2"))))
        await ended(house)
        text = signed(1, ("B", "5"), ("E", "6"), key=OTHER, meter="EMH2")
        await charge(house, 2, note(text, OTHER))
        body = await ended(house, 2)
    assert body["charger_verdicts"] == ["valid"]
    (event,) = told(house, "meter_key_new_serial")
    assert event.data["serial"] == "EMH2"


async def test_without_a_key_it_is_kept_and_says_what_to_do(house: Any) -> None:
    async with house.running():
        await charge(house, 1, signed(1, ("B", "1"), ("E", "2")))
        body = await ended(house)
    assert body["charger_verdicts"] == ["key_unknown"]
    assert (body["charger_signed_begin"], body["signed_by"]) == (None, "gateway")
    (event,) = told(house, "charger_record_key_unknown")
    assert "keys pin" in event.next_step


async def test_formats_that_are_not_checked_are_kept(house: Any) -> None:
    texts = ("128.8.0(ST:1)(CT:2)(SG:30)", "", "\x00\u2028ü", '{"signedMeterValues":[]}')
    async with house.running():
        await charge(house, 1, *texts)
        body = await ended(house)
    assert body["charger_records"] == list(texts)
    assert set(body["charger_verdicts"]) == {"unsupported"}


@pytest.mark.parametrize(
    ("pages", "fault"),
    [((1, 3), "pagination_gap"), ((2, 2), "pagination_repeat")],
)
async def test_missing_and_repeated_pages_are_told(house: Any, pages: tuple[int, int], fault: str) -> None:
    async with house.running():
        for number, page in enumerate(pages, 1):
            await charge(house, number, note(signed(page, ("B", str(number)), ("E", f"{number}.5"))))
            await ended(house, number)
    (event,) = told(house, f"charger_record_{fault}")
    assert event.keep
    assert event.next_step


async def test_a_begin_without_an_end_and_a_meter_that_changes_inside_a_session(house: Any) -> None:
    async with house.running():
        await charge(house, 1, note(signed(1, ("B", "1"))))
        await ended(house)
        await charge(house, 2, note(signed(2, ("B", "1"))), stop=(note(signed(1, ("E", "2"), meter="EMH2")),))
        await ended(house, 2)
    assert len(told(house, "charger_record_begin_without_end")) == 1
    assert len(told(house, "charger_record_serial_changed")) == 1


@pytest.mark.parametrize("data", [None, [{"timestamp": "x", "sampledValue": [{"value": "9000"}]}]])
async def test_a_charger_that_loses_its_signed_values_is_flagged_in_one_session(house: Any, data: Any) -> None:
    """EVerest/libocpp issue 472: transactionData left out; or sent, without a signed value."""
    async with house.running():
        await charge(house, 1, stop=(note(signed(1, ("B", "1"), ("E", "2"))),))
        await ended(house)
        await house.start(2)
        await house.stop(2, payload={"transactionData": data} if data else {})
        await ended(house, 2)
    (event,) = told(house, "charger_record_missing")
    assert ("StopTxnSampledData" in event.next_step) == (data is None)


async def test_a_charger_that_never_signed_is_not_asked_for_it(house: Any) -> None:
    async with house.running():
        await charge(house, 1)
        await ended(house)
    assert not told(house, "charger_record_missing")


async def test_a_text_that_comes_after_the_end_goes_to_the_cloud_with_its_event(house: Any) -> None:
    """The row of the session's end is out already."""
    text = signed(2, ("E", "2"))
    async with house.running():
        await charge(house, 1, note(signed(1, ("B", "1"))))
        await ended(house)
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": samples(note(text))}, tx=1)
        await house.until("SELECT count(*) FROM charger_text", 2)
    (event,) = told(house, "charger_record_late")
    assert event.data["text"] == text
    assert event.keep


async def test_a_charger_that_signs_every_minute_does_not_burst_the_message(house: Any) -> None:
    """All texts are kept; begin and end travel, readings in between as far as there is room; one word about the key."""
    between = [signed(page, ("C", f"{page}.{'0' * 400}")) for page in range(2, 142)]
    begin, end = signed(1, ("B", "1")), signed(142, ("E", "142"))
    async with house.running():
        await house.start(1)
        for first in range(0, 140, 20):
            values = samples(*([begin] if first == 0 else []), *between[first : first + 20])
            await house.journal("MeterValues", {"connectorId": 1, "meterValue": values}, tx=1)
        await house.stop(1, payload={"transactionData": samples(end)})
        body = await ended(house)
    assert await house.rows("SELECT count(*) FROM charger_text") == [(142,)]
    assert (body["charger_records"][0], body["charger_records"][-1]) == (begin, end)
    assert body["charger_records_left_out"] == 142 - len(body["charger_records"]) > 0
    assert len(body["charger_verdicts"]) == len(body["charger_records"])
    assert len(json.dumps(json.dumps(body))) < 128 * 1024
    assert len(told(house, "charger_record_key_unknown")) == 1


async def test_a_charger_that_shows_ever_new_keys_fills_no_store(house: Any) -> None:
    """Fifty are kept; further ones are passed over, and what they sign is not called valid."""
    async with house.running():
        await house.start(1)
        for number in range(60):
            key = ec.derive_private_key(1000 + number, ec.SECP256R1())
            text = note(signed(1, ("C", "1"), key=key, meter=f"M{number}"), key)
            await house.journal("MeterValues", {"connectorId": 1, "meterValue": samples(text)}, tx=1)
        await house.until("SELECT count(*) FROM charger_text", 60)
    assert await house.rows("SELECT count(*) FROM charger_key") == [(50,)]
    verdicts = [row[0] for row in await house.rows("SELECT verdict FROM charger_text ORDER BY record")]
    assert verdicts == ["valid"] * 50 + ["key_unknown"] * 10


async def test_texts_of_no_session_are_kept_too(house: Any) -> None:
    """Clock-aligned values, and a stop of a transaction that nobody saw begin."""
    aligned = signed(1, ("C", "1"))
    stray = signed(2, ("E", "2"))
    async with house.running():
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": samples(note(aligned))}, tx=None)
        await house.stop(99, payload={"transactionData": samples(note(stray))})
        body = await ended(house)
    rows = await house.rows("SELECT text, session FROM record WHERE signed_by = 'charger' ORDER BY id")
    assert rows == [(aligned, ""), (stray, body["session"])]
    assert body["unbillable_reason"] == "stop_without_start"
    assert body["charger_records"] == [stray]


async def test_every_wrapper_comes_back_byte_for_byte_after_a_restart(house: Any) -> None:
    """SHA-256 of what was signed before, and of what the reopened store gives back; the chain of all is whole."""
    texts = [signed(page, ("C", f"{page}.0")) for page in range(1, 6)]
    values = [
        texts[0],
        texts[1].encode().hex(),
        note(texts[2]),
        json.dumps({"signedMeterValue": base64.b64encode(texts[3].encode()).decode(), "encodingMethod": "OCMF"}),
    ]
    async with house.running():
        await house.start(1)
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": samples(*values)}, tx=1)
        sample = {"value": 1.0, "signedMeterValue": json.loads(note(texts[4]))}
        await house.journal("MeterValues", {"connectorId": 1, "meterValue": [{"sampledValue": [sample]}]}, tx=1)
        await house.stop(1)
        await ended(house)
    await house.db.close()
    house.db = await Database.open(house.path / "billing.db", connect, house.world.store)
    rows = await house.db.run(lambda db: list(records.everything(db)))
    mine = [row for row in rows if row.signed_by == "charger"]
    assert [hashlib.sha256(row.text.encode()).digest() for row in mine] == [
        hashlib.sha256(text.encode()).digest() for text in texts
    ]
    check = SequenceCheck({house.signer.key_id: house.signer.public_spki()})
    links = [
        Link(row.id, row.key_id, row.charge_point, row.pagination, row.text, row.prev, row.sha256, row.signed_by)
        for row in rows
    ]
    assert [why for link in links for why in check.look_at(link)] == []
