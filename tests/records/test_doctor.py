"""The signing doctor: what it sets, what it says, and that it leaves chargers alone that do not sign."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.records.doctor import Setting, examine, examine_session

SPKI = (
    ec.derive_private_key(9, ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
KEY = base64.b64encode(f"oca:base16:asn1:{SPKI.hex()}".encode()).decode()


def test_a_charger_without_a_signing_meter_is_left_alone() -> None:
    found = examine({"HeartbeatInterval": Setting("300"), "StopTxnSampledData": Setting("")}, 1)
    assert (found.signs, found.to_set, found.findings) == (False, {}, ())


def test_a_charger_that_is_set_right_gets_nothing() -> None:
    settings = {
        "MeterPublicKey1": Setting(KEY, readonly=True),
        "SampledDataSignReadings": Setting("True"),
        "PublicKeyWithSignedMeterValue": Setting("EveryMeterValue"),
        "StopTransactionSignatureFormat": Setting("SR", readonly=True),
        "StopTxnSampledData": Setting("Energy.Active.Import.Register"),
    }
    found = examine(settings, 1)
    assert found.signs
    assert (found.to_set, found.findings) == ({}, ())
    assert found.keys[1][0] == KEY
    assert found.keys[1][1].spki == SPKI


def test_what_is_wrong_and_can_be_written_is_written() -> None:
    """Spelled as the charger spells it: keys are case-insensitive, their writers not always."""
    settings = {
        "MeterPublicKey": Setting(SPKI.hex()),
        "sampleddatasignreadings": Setting("false"),
        "PublicKeyWithSignedMeterValue": Setting("Never"),
        "StopTxnSampledData": Setting(" "),
        "StopTxnAlignedData": Setting(""),
    }
    found = examine(settings, 1)
    assert found.to_set == {
        "sampleddatasignreadings": "true",
        "PublicKeyWithSignedMeterValue": "OncePerTransaction",
        "StopTxnSampledData": "Energy.Active.Import.Register",
    }
    assert not any(one.wrong for one in found.findings)
    assert found.keys[1][1].spki == SPKI


def test_what_cannot_be_written_is_said() -> None:
    settings = {
        "SampledDataSignReadings": Setting("false", readonly=True),
        "StopTxnSampledData": Setting("", readonly=True),
        "MeterPublicKey2": Setting("not a key"),
    }
    found = examine(settings, 2)
    assert found.to_set == {}
    sentences = [one.sentence for one in found.findings if one.wrong]
    assert any("cannot be changed" in one and "SampledDataSignReadings" in one for one in sentences)
    assert any("without signed values" in one for one in sentences)
    assert any("MeterPublicKey2 holds no public key" in one for one in sentences)
    assert any("no MeterPublicKey for connector 1, 2" in one for one in sentences)


def test_aligned_data_are_enough_against_the_lost_values() -> None:
    """EVerest/libocpp issue 472 needs both lists empty."""
    settings = {"MeterPublicKey1": Setting(KEY), "SampledDataSignReadings": Setting("true"),
                "StopTxnSampledData": Setting(""), "StopTxnAlignedData": Setting("Voltage")}  # fmt: skip
    assert examine(settings, 1).findings == ()


def test_a_stop_that_came_without_its_signed_values_is_found_in_one_session() -> None:
    assert examine_session(True, 1, True, "box1") is None
    assert examine_session(False, 0, False, "box1") is None
    assert examine_session(True, 0, True, "box1") is not None
    found = examine_session(True, 0, False, "box1")
    assert found is not None
    assert "StopTxnSampledData" in found.sentence
