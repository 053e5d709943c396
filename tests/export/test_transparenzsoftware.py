"""The transparency software of S.A.F.E. itself reads what we export. docs/exports.md says how to build it.

It runs where TRANSPARENZSOFTWARE_JAR names its jar and there is a Java 17; its verdicts are kept in
docs/evidence/transparenzsoftware.txt. Its exit code says nothing, its `<status>` does: one for each value, one more for
a pair.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.export.facts import ended_sessions
from gateway.export.session_facts import SessionFacts
from gateway.export.transparency import transparency_xml
from gateway.model import Connection
from gateway.records.signing import list_keys
from gateway.store.sqlite import connect_read_only
from tests.export.test_proofs import alfen, signed

JAR = os.environ.get("TRANSPARENZSOFTWARE_JAR", "")

pytestmark = pytest.mark.slow


def verdicts(xml: str, folder: Path) -> list[str]:
    """What the program says of a document."""
    java = shutil.which("java")
    if not JAR or java is None:
        pytest.skip(
            "set TRANSPARENZSOFTWARE_JAR to the jar of Transparenzsoftware 1.4.1 (docs/exports.md), with Java 17"
        )
    path = folder / "x.xml"
    path.write_text(xml)
    command = [java, "-Djava.awt.headless=true", "-jar", JAR, "-cli", "-l", "en_EN", "-f", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    return re.findall(r"<status>(\w+)</status>", said)


def test_it_verifies_sessions_that_the_gateway_signed(db: Connection, day: Any, tmp_path: Path) -> None:
    keys = {key["key_id"]: key["spki_hex"] for key in list_keys(day.path / "keys")}
    for one in ended_sessions(db):
        if one.billable:
            assert verdicts(transparency_xml([one], keys)[0], tmp_path) == ["Verified"] * 3


def test_it_finds_one_changed_digit(db: Connection, day: Any, tmp_path: Path) -> None:
    """A test that only ever sees "Verified" proves nothing."""
    keys = {key["key_id"]: key["spki_hex"] for key in list_keys(day.path / "keys")}
    xml = transparency_xml([next(iter(ended_sessions(db)))], keys)[0]
    assert '"RV":7.000' in xml
    assert verdicts(xml.replace('"RV":7.000', '"RV":6.999'), tmp_path) != ["Verified"] * 3


async def test_it_verifies_a_session_whose_key_was_changed(house: Any, tmp_path: Path) -> None:
    """It takes one key for begin and end: the end holds both."""
    async with house.running():
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.signer.rotate(house.clock.now_ms)
        house.clock.now_ms += 60_000
        await house.stop(1)
        house.meters.poll("m1")
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
    keys = {key["key_id"]: key["spki_hex"] for key in list_keys(house.path / "keys")}
    connection = connect_read_only(house.path / "billing.db")
    xml, held, _ = transparency_xml(ended_sessions(connection), keys)
    connection.close()
    assert held == 1
    assert verdicts(xml, tmp_path) == ["Verified"]


def ocmf_of(key: ec.EllipticCurvePrivateKey, page: int, kind: str, value: str, curve: str) -> str:
    """A charger's text on one of its curves."""
    payload = (
        f'{{"FV":"1.0","GS":"C1","MS":"EMH1","PG":"T{page}","IS":true,"IL":"VERIFIED","IT":"ISO14443","ID":"04A2",'
        f'"RD":[{{"TM":"2026-04-15T11:1{page}:00,000+0200 S","TX":"{kind}","RV":{value},"RI":"1-0:1.8.0","RU":"kWh",'
        '"ST":"G"}]}'
    )
    der = key.sign(payload.encode(), ec.ECDSA(hashes.SHA256())).hex()
    return f'OCMF|{payload}|{{"SA":"ECDSA-{curve}-SHA256","SD":"{der}"}}'


@pytest.mark.parametrize(
    ("curve", "name"),
    [
        (ec.SECP256R1(), "secp256r1"),
        (ec.SECP192R1(), "secp192r1"),
        (ec.SECP256K1(), "secp256k1"),
        (ec.SECP384R1(), "secp384r1"),
        (ec.BrainpoolP256R1(), "brainpool256r1"),
        (ec.BrainpoolP384R1(), "brainpool384r1"),
    ],
)
def test_it_verifies_what_a_charger_signed(db: Connection, tmp_path: Path, curve: ec.EllipticCurve, name: str) -> None:
    key = ec.derive_private_key(79, curve)
    texts = (ocmf_of(key, 1, "B", "2935.600", name), ocmf_of(key, 2, "E", "2943.1170", name))
    xml = transparency_xml([charger_signed(db, key, *texts)], {})[0]
    assert verdicts(xml, tmp_path) == ["Verified"] * 3


def test_it_verifies_what_an_alfen_box_signed(db: Connection, tmp_path: Path) -> None:
    key = ec.derive_private_key(77, ec.SECP192R1())
    texts = (alfen(0, 7, 5000, key), alfen(1, 8, 7345, key))
    assert verdicts(transparency_xml([charger_signed(db, key, *texts)], {})[0], tmp_path) == ["Verified"] * 3


def charger_signed(db: Connection, key: ec.EllipticCurvePrivateKey, *texts: str) -> SessionFacts:
    """The first session of the day with texts of its charger."""
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    kept = [replace(signed(8 + n, "charger", text), spki_hex=spki.hex()) for n, text in enumerate(texts)]
    first = next(iter(ended_sessions(db)))
    return replace(first, records=(*first.records, *kept))
