"""Keys as operations of a running site: a rotation is told and chained, a person's pin counts at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.records.doctor import Setting
from gateway.records.signing import FileSigner
from gateway.records.verify import Link, Verdict, check_sequence, verify_ocmf
from gateway.sessions.keys import KeyOperations, note_key, take_configuration
from gateway.store import outbox, pins, records

KEY = ec.derive_private_key(33, ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()


def signed(page: int) -> str:
    payload = f'{{"GS":"C","MS":"M","PG":"T{page}","RD":[]}}'
    return f'OCMF|{payload}|{{"SD":"{KEY.sign(payload.encode(), ec.ECDSA(hashes.SHA256())).hex()}"}}'


@pytest.fixture
async def operations(house: Any) -> KeyOperations:
    found = KeyOperations(house.site, house.clock, house.db, house.signer, house.events.append)
    await found.start()
    return found


async def session(house: Any, tx: int) -> None:
    """The `tx`th session, from start to end."""
    await house.start(tx)
    await house.stop(tx)
    await house.until("SELECT count(*) FROM session WHERE state = 'ended'", tx)


async def test_a_rotation_between_sessions(house: Any, operations: KeyOperations) -> None:
    """Pages of the new key begin at 1, the chain goes on, both keys are needed and enough."""
    async with house.running():
        await session(house, 1)
        old = house.signer.key_id, house.signer.public_spki()
        answer = await operations.rotate({}, "cloud")
        assert (answer["before"], answer["who"]) == (old[0], "cloud")
        await session(house, 2)
    (event,) = [one for one in house.events if one.kind == "signing_key_changed"]
    assert event.keep
    assert (event.data["before"], event.data["key_id"]) == (old[0], house.signer.key_id)
    rows = await house.db.run(lambda db: list(records.everything(db)))
    assert [(row.key_id, row.pagination) for row in rows] == [
        (old[0], 1), (old[0], 2), (house.signer.key_id, 1), (house.signer.key_id, 2),
    ]  # fmt: skip
    links = [link(row) for row in rows]
    keys = {old[0]: old[1], house.signer.key_id: house.signer.public_spki()}
    assert check_sequence(links, keys) == []
    assert await house.db.run(records.own_keys) == {key: spki.hex() for key, spki in keys.items()}


async def test_a_rotation_inside_a_session(house: Any, operations: KeyOperations) -> None:
    """The end then holds both registers under the new key, and says what happened: one key checks the session."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        old = house.signer.key_id, house.signer.public_spki()
        await operations.rotate({}, "anna")
        house.clock.now_ms += 60_000
        house.meters.registers["m1"] = (8_371, None)
        house.meters.poll("m1")
        await house.stop(1)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
    (row,) = await house.bodies("session.end.v1")
    assert (row["billable"], row["energy_wh"]) == (True, 1371)
    begin = verify_ocmf(row["ocmf_begin"], old[1])
    end = verify_ocmf(row["ocmf_end"], house.signer.public_spki())
    assert (begin.verdict, end.verdict) == (Verdict.VALID, Verdict.VALID)
    assert begin.payload is not None
    assert end.payload is not None
    assert end.payload["RD"][0] == begin.payload["RD"][0]
    assert [(one["TX"], one["RV"]) for one in end.payload["RD"]] == [("B", 7.0), ("E", 8.371)]
    assert end.payload["ZK"] == f"begin signed by ZGW-{old[0]}, key changed in this session"
    assert "ZK" not in begin.payload
    keys = {old[0]: old[1], house.signer.key_id: house.signer.public_spki()}
    assert (
        check_sequence([link(one) for one in await house.db.run(lambda db: list(records.everything(db)))], keys) == []
    )


def link(row: records.RecordRow) -> Link:
    """A kept record with everything that stands beside it."""
    return Link(
        row.id, row.key_id, row.charge_point, row.pagination, row.text, row.prev, row.sha256, row.signed_by,
        row.session, row.kind, row.reading,
    )  # fmt: skip


async def test_records_say_whether_the_cloud_had_agreed_since_this_start(house: Any, operations: Any) -> None:
    """Before its answer nobody knows whether this card is an old copy; a new start, and nobody knows again."""

    async def marks() -> list[bool]:
        rows = await house.db.run(lambda db: list(records.everything(db)))
        return ["unconfirmed_epoch" in row.text for row in rows]

    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.db.run(lambda db: outbox.confirm(db, house.who))
        await house.stop(1)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
    assert await marks() == [True, False]
    house.who = replace(house.who, boot=house.who.boot + 1)
    async with house.running():
        await session(house, 2)
    assert await marks() == [True, False, True, True]


async def test_a_key_that_was_exchanged_while_nobody_ran_is_told_at_the_start(house: Any, operations: Any) -> None:
    (house.path / "keys" / "gateway.pem").unlink()
    new = FileSigner.open(house.path / "keys", simulation=False, now_ms=1)
    event = await house.db.run(lambda db: note_key(db, new, 5))
    assert event is not None
    assert event.data["before"] == house.signer.key_id
    assert await house.db.run(lambda db: note_key(db, new, 6)) is None


async def test_the_first_start_tells_nothing(house: Any, operations: KeyOperations) -> None:
    assert house.events == []


async def test_a_pinned_key_counts_for_the_next_text(house: Any, operations: KeyOperations) -> None:
    """Before: key unknown. After: valid; the key in its normal form beside the one that was entered."""

    def sample(page: int) -> dict[str, Any]:
        value = {"value": signed(page), "format": "SignedData"}
        return {"connectorId": 1, "meterValue": [{"timestamp": "x", "sampledValue": [value]}]}

    async with house.running():
        await house.start(1)
        await house.journal("MeterValues", sample(1), tx=1)
        await house.until("SELECT count(*) FROM charger_text", 1)
        answer = await operations.pin({"charger": "box1", "connector": 1, "key": SPKI.upper()}, "anna")
        await house.journal("MeterValues", sample(2), tx=1)
        await house.until("SELECT count(*) FROM charger_text", 2)
    assert [row[0] for row in await house.rows("SELECT verdict FROM charger_text ORDER BY record")] == [
        "key_unknown", "valid",
    ]  # fmt: skip
    assert (answer["pinned"]["spki_hex"], answer["pinned"]["received"]) == (SPKI, SPKI.upper())
    listed = await operations.pinned({}, "anna")
    assert [(key["who"], key["state"]) for key in listed["keys"]] == [("anna", "pinned")]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"charger": "nobody", "key": SPKI}, LookupError),
        ({"charger": "box1", "connector": 7, "key": SPKI}, LookupError),
        ({"charger": "box1", "connector": True, "key": SPKI}, LookupError),
        ({"charger": "box1", "key": "nonsense"}, ValueError),
        ({}, LookupError),
    ],
)
async def test_a_senseless_pin_is_refused_in_words(
    house: Any, operations: KeyOperations, args: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await operations.pin(args, "anna")
    assert await house.db.run(pins.everything) == []


async def test_a_rotation_that_cannot_be_is_refused_in_words(house: Any, operations: KeyOperations) -> None:
    keys = house.path / "keys"
    before = house.signer.key_id
    keys.rename(house.path / "away")
    keys.write_text("a file")
    with pytest.raises(ValueError, match="cannot be written"):
        await operations.rotate({}, "cloud")
    assert house.signer.key_id == before


async def test_the_key_that_a_charger_reports_is_pinned_and_another_one_raises_the_alarm(
    house: Any, operations: KeyOperations
) -> None:
    """MeterPublicKey1 in the answer of GetConfiguration: it then judges texts that bring no key."""
    other = ec.derive_private_key(34, ec.SECP256R1()).public_key()
    wrong = other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()

    async def report(key: str) -> Any:
        settings = {"MeterPublicKey1": Setting(key, readonly=True), "SampledDataSignReadings": Setting("false"),
                    "StopTxnSampledData": Setting("")}  # fmt: skip
        return await house.db.run(lambda db: take_configuration(db, "box1", 1, settings, 7))

    found, events = await report(SPKI)
    assert set(found.to_set) == {"SampledDataSignReadings", "StopTxnSampledData"}
    assert [event.kind for event in events] == ["charger_signing", "charger_signing", "meter_key_pinned"]
    _, events = await report(SPKI)
    assert "meter_key_pinned" not in {event.kind for event in events}
    _, events = await report(wrong)
    assert "meter_key_changed" in {event.kind for event in events}
    rows = await house.db.run(pins.everything)
    assert [(row.spki_hex, row.state, row.source) for row in rows] == [
        (SPKI, "pinned", "configuration"), (wrong, "refused", "configuration"),
    ]  # fmt: skip
