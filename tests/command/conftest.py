"""A state directory with records of ours, a charger's texts, and rows for the cloud, as a running site leaves it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.model import Connection, Reading, Stamp, TimeQuality
from gateway.records.ocmf import Statement, payload, record_text
from gateway.records.signing import FileSigner
from gateway.records.verify import chain_hash
from gateway.store import meta, outbox, pins, readings, records
from gateway.store.database import migrate
from gateway.store.records import ChargerText, RecordRow
from gateway.store.sqlite import connect

NOW_MS = 1_776_244_200_000
CHARGER_KEY = ec.derive_private_key(4711, ec.SECP256R1())


def charger_spki() -> str:
    public = CHARGER_KEY.public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()


def charger_record(page: int) -> str:
    text = f'{{"FV":"1.0","GS":"C1","MS":"EMH1","PG":"T{page}","RD":[]}}'
    return f'OCMF|{text}|{{"SD":"{CHARGER_KEY.sign(text.encode(), ec.ECDSA(hashes.SHA256())).hex()}"}}'


def keep_own(db: Connection, signer: FileSigner, number: int) -> None:
    """One record of ours; two of them are a session."""
    reading = Reading(
        "m1", NOW_MS + number * 1000, NOW_MS + number * 1000 + 40, TimeQuality.NTP, 2_935_600 + number, serial="77",
        model="iem3155", map_version="1", raw=f"{number:08x}",
    )  # fmt: skip
    place, prev = "box1/1", records.head(db)
    page = records.next_page(db, signer.key_id, place)
    kind = "begin" if number % 2 == 0 else "end"
    text = payload(
        Statement(
            transaction="B" if kind == "begin" else "L",
            reading=reading,
            session=f"s{number // 2}",
            charger="box1",
            connector=1,
            id_tag="04A224B2",
            id_type="ISO14443",
            authorised_by="gateway",
            pagination=page,
            key_id=signer.key_id,
            version="0.1.0",
            prev=prev,
            simulation=False,
        )
    )
    text = record_text(text, signer.sign(text.encode()))
    records.append(
        db,
        RecordRow(
            session=f"s{number // 2}", kind=kind, signed_by="gateway", key_id=signer.key_id, charge_point=place,
            pagination=page, text=text, reading=readings.dump(reading), prev=prev, sha256=chain_hash(prev, text),
        ),
    )  # fmt: skip


def keep_charger(db: Connection, page: int) -> None:
    """One valid text of a charger, with what is known of it."""
    text, prev = charger_record(page), records.head(db)
    digest = hashlib.sha256(text.encode()).hexdigest()
    record = records.append(
        db,
        RecordRow(
            session="s0", kind="passed_through", signed_by="charger", key_id="", charge_point="box1/1", pagination=None,
            text=text, reading=None, prev=prev, sha256=chain_hash(prev, text),
        ),
    )  # fmt: skip
    records.describe(
        db,
        ChargerText(
            record=record, charger="box1", connector=1, entry=1, place=0, at_ms=NOW_MS, frame_sha256="0" * 64,
            text_sha256=digest, wrapper="plain", context="", method="", encoding="", key_received=None, format="OCMF",
            verdict="valid", reason="", spki_hex=charger_spki(),
        ),
    )  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Records 1, 2, 4, 5 are ours, 3 is the charger's; three rows wait in the billing lane."""
    folder = tmp_path / "state"
    folder.mkdir()
    signer = FileSigner.open(folder / "keys", simulation=False, now_ms=NOW_MS)
    db = connect(folder / "billing.db")
    migrate(db)
    boot = meta.begin_boot(db, "gw-1", simulation=False, random=random.Random(1))
    records.key_in_force(db, signer.key_id, signer.public_spki().hex(), NOW_MS)
    for number in (0, 1):
        keep_own(db, signer, number)
    keep_charger(db, 1)
    for number in (2, 3):
        keep_own(db, signer, number)
    for number in range(3):
        outbox.append(
            db, boot.who, lane="billing", schema="split.v1", body=f'{{"n":{number}}}',
            stamp=Stamp(NOW_MS, TimeQuality.NTP), rid=f"rid-{number}",
        )  # fmt: skip
    pins.add(
        db,
        pins.KeyRow(
            charger="box1", connector=1, serial="EMH1", spki_hex=charger_spki(), received=charger_spki(),
            form="hex 182 (spki)", source="wrapper", state="pinned", from_ms=NOW_MS,
        ),
    )  # fmt: skip
    db.close()
    return folder
