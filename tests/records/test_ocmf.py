"""Our own signed texts: canonical, complete, honest, accepted by verifiers that are not ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Reading, TimeQuality
from gateway.records.ocmf import Statement, end_letter, kwh_text, payload, record_text, time_text
from gateway.records.signing import FileSigner
from gateway.records.verify import GENESIS, Verdict, verify_ocmf

READING = Reading(
    "m1", 1_776_244_200_123, 1_776_244_200_200, TimeQuality.NTP, 2_935_600,
    serial="00123456", model="iem3155", map_version="3", raw="0000002ccb50",
)  # fmt: skip
STATEMENT = Statement(
    transaction="B", reading=READING, session="0f0e", charger="box1", connector=1, id_tag="04A224B2",
    id_type="ISO14443", authorised_by="gateway", pagination=7, key_id="00ff", version="0.1.0", prev=GENESIS,
    simulation=False,
)  # fmt: skip


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    return FileSigner.open(tmp_path / "keys", simulation=False, now_ms=0)


def signed(signer: FileSigner, statement: Statement = STATEMENT) -> str:
    text = payload(statement)
    return record_text(text, signer.sign(text.encode()))


def test_the_canonical_bytes() -> None:
    """This exact text is what is signed: a changed byte here changes what is kept for years."""
    assert payload(STATEMENT) == (
        '{"FV":"1.3","GI":"ZEV gateway","GS":"ZGW-00ff","GV":"0.1.0","PG":"T7","MM":"iem3155","MS":"00123456",'
        '"IS":true,"IL":"HEARSAY","IF":["RFID_PLAIN","OCPP_WHITELIST"],"IT":"ISO14443","ID":"04A224B2","CT":"CBIDC",'
        '"CI":"box1 1","RD":[{"TM":"2026-04-15T09:10:00,123+0000 I","TX":"B","RV":2935.600,"RI":"1-0:1.8.0*255",'
        '"RU":"kWh","RT":"AC","EF":"","ST":"G"}],"ZN":"gateway integrity signature, not a type-examined instrument",'
        f'"ZI":"0f0e","ZP":"{GENESIS}","ZQ":"ntp","ZR":"0000002ccb50","ZV":"3"}}'
    )


def test_it_verifies_and_one_flipped_bit_does_not(signer: FileSigner) -> None:
    text = signed(signer)
    spki = signer.public_spki()
    assert verify_ocmf(text, spki).verdict is Verdict.VALID
    for place in range(5, text.rindex("|"), 7):
        flipped = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        assert verify_ocmf(flipped, spki).verdict is not Verdict.VALID


def test_signing_again_gives_the_same_bytes(signer: FileSigner) -> None:
    """Deterministic (RFC 6979), strict DER."""
    assert signed(signer) == signed(signer)
    der = signer.sign(b"x")
    assert encode_dss_signature(*decode_dss_signature(der)) == der


@pytest.mark.parametrize(
    ("quality", "letter"),
    [(TimeQuality.NTP, "I"), (TimeQuality.HOLDOVER, "U"), (TimeQuality.GUESSED, "U"), (TimeQuality.SIMULATED, "U")],
)
def test_the_time_letter_never_claims_more_than_the_clock(quality: TimeQuality, letter: str) -> None:
    assert time_text(1_776_244_200_007, quality) == f"2026-04-15T09:10:00,007+0000 {letter}"


def test_a_simulation_says_so_and_nothing_claims_to_be_calibrated() -> None:
    text = payload(replace(STATEMENT, simulation=True))
    assert json.loads(text)["ZS"] == "simulation: no real energy"
    assert not any(word in text.lower() for word in ("eichrecht", "calibrated", "conform"))


def test_ascii_and_no_pipe_whatever_the_card_says(signer: FileSigner) -> None:
    """A Latin-1 machine must hash the same bytes, and the separator stays the separator."""
    text = signed(signer, replace(STATEMENT, id_tag='ü|"\\'))
    assert text.isascii()
    assert text.count("|") == 2
    finding = verify_ocmf(text, signer.public_spki())
    assert finding.verdict is Verdict.VALID
    assert (finding.payload or {})["ID"] == 'ü|"\\'


@given(st.integers(0, 10**13))
def test_kwh_are_the_watt_hours_digit_by_digit(wh: int) -> None:
    whole, _, decimals = kwh_text(wh).partition(".")
    assert len(decimals) == 3
    assert int(whole) * 1000 + int(decimals) == wh


def test_a_reading_without_a_register_is_not_signed() -> None:
    with pytest.raises(ValueError, match="m1"):
        payload(replace(STATEMENT, reading=replace(READING, import_wh=None)))


def test_a_meter_without_a_serial_is_named_as_such() -> None:
    bare = replace(READING, serial=None)
    assert json.loads(payload(replace(STATEMENT, reading=bare)))["MS"] == "unread (m1)"
    assert json.loads(payload(replace(STATEMENT, reading=bare, meter_serial="77")))["MS"] == "77"


@pytest.mark.parametrize(
    ("reason", "letter"),
    [("Local", "L"), ("Remote", "R"), ("PowerLoss", "P"), ("DeAuthorized", "A"), (None, "E"), ("Other", "E")],
)
def test_the_end_letter(reason: str | None, letter: str) -> None:
    assert end_letter(reason) == letter


def test_pyocmf_accepts_a_begin_and_an_end(signer: FileSigner) -> None:
    """An implementation that is not ours: parses, verifies, and finds the pair complete."""
    pyocmf = pytest.importorskip("pyocmf", reason="pyocmf is not installed")
    later = replace(READING, requested_ms=READING.requested_ms + 3_600_000, import_wh=2_943_117)
    begin = pyocmf.OCMF.from_string(signed(signer))
    end = pyocmf.OCMF.from_string(signed(signer, replace(STATEMENT, transaction="L", reading=later, pagination=8)))
    key = pyocmf.PublicKey.from_string(signer.public_spki().hex())
    for record in (begin, end):
        assert record.verify_signature(key)
    issues = pyocmf.check_eichrecht_transaction(begin.payload, end.payload)
    # It finds one thing: the time letter is not S. Ours never is: no clock of ours was examined.
    assert {str(issue.code) for issue in issues} == {"TIME_SYNC"}


def test_openssl_accepts_the_signature(signer: FileSigner, tmp_path: Path) -> None:
    """The command line of OpenSSL, on the bytes between the pipes."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    _, text, signature = signed(signer).split("|")
    (tmp_path / "text").write_bytes(text.encode())
    (tmp_path / "signature").write_bytes(bytes.fromhex(json.loads(signature)["SD"]))
    public = next((tmp_path / "keys").glob("*.pub.pem"))
    command = [openssl, "dgst", "-sha256", "-verify", public, "-signature", tmp_path / "signature", tmp_path / "text"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Verified OK"
