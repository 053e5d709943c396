"""A signed text comes out of every wrapper byte for byte (signed.md: 1.6 a to e, and 2.x)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from gateway.records.recognise import Format
from gateway.records.wrappers import is_signed, signed_texts, unwrap

OCMF = 'OCMF|{"FV" : "1.0","RD":[{"RV" : 2935.600,"TT":"ü\\u00e4"}]}|{"SD":"30"}'
ALFEN = "AP;0;3;AMVBBEIORR2RGJLJ6YRZUGACQAXSDFCL66EIP3N7;" + base64.b32encode(bytes(82)).decode() + ";" + (
    base64.b32encode(bytes(48)).decode() + ";"
)  # fmt: skip
XML = "<signedMeterValue><publicKey>x</publicKey></signedMeterValue>"
B64 = base64.b64encode(OCMF.encode()).decode()
NOTE = {"signedMeterData": B64, "signingMethod": "", "encodingMethod": "OCMF", "publicKey": "b2Nh"}


def stop(value: str, **more: Any) -> dict[str, Any]:
    """transactionData of a StopTransaction with one unsigned and one signed value."""
    samples = [{"value": "12"}, {"value": value, "format": "SignedData", **more}]
    return {"transactionId": 1, "transactionData": [{"timestamp": "x", "sampledValue": samples}]}


KNOWN = [
    (OCMF, "plain", OCMF),
    (OCMF.encode().hex(), "hex", OCMF),
    (OCMF.encode().hex().upper(), "hex", OCMF),
    (B64, "base64", OCMF),
    (json.dumps(NOTE), "signedMeterData>base64", OCMF),
    (json.dumps(NOTE | {"signedMeterData": OCMF}), "signedMeterData", OCMF),
    (json.dumps({"signedMeterValue": B64, "encodingMethod": "OCMF"}), "signedMeterValue>base64", OCMF),
    (json.dumps({"signedMeterValue": NOTE}), "signedMeterValue>base64", OCMF),
    (json.dumps(NOTE).encode().hex(), "hex>signedMeterData>base64", OCMF),
    (ALFEN, "plain", ALFEN),
    (XML, "plain", XML),
    (json.dumps(NOTE | {"signedMeterData": "bmV1ZXMgRm9ybWF0"}), "signedMeterData>base64", "neues Format"),
]
"""Value, its wrapper, the text inside: every wrapper of OCPP 1.6."""


@pytest.mark.parametrize(
    ("value", "wrapper", "text"),
    [
        *KNOWN,
        ("something of our own", "plain", "something of our own"),
        ('{"broken', "plain", '{"broken'),
        ("", "plain", ""),
    ],
)
def test_every_wrapper_of_ocpp_16(value: str, wrapper: str, text: str) -> None:
    (found,) = signed_texts(stop(value, context="Transaction.End"))
    assert (found.wrapper, found.context) == (wrapper, "Transaction.End")
    assert hashlib.sha256(found.text.encode()).digest() == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize(("value", "wrapper", "text"), KNOWN)
def test_every_wrapper_is_seen_without_its_mark(value: str, wrapper: str, text: str) -> None:
    """Chargers forget `format`: what the relay keeps and what the session takes out is asked of one function."""
    assert is_signed({"value": value})
    (found,) = signed_texts({"meterValue": [{"sampledValue": [{"value": value}]}]})
    assert (found.text, found.wrapper) == (text, wrapper)


@pytest.mark.parametrize(
    "value",
    ["", "12.5", "20", "0" * 64, "2026-04-15T09:15:00.000Z in the garage", '{"meter": 1, "and": "so on, so on"}', 7],
)
def test_what_is_no_signed_text_is_none(value: Any) -> None:
    assert not is_signed({"value": value})
    assert signed_texts({"meterValue": [{"sampledValue": [{"value": value}]}]}) == []


def test_marked_and_ocpp_2_values_are_signed_whatever_they_hold() -> None:
    assert is_signed({"value": "", "format": "SignedData"})
    assert is_signed({"value": 1.5, "signedMeterValue": {}})


def test_what_stands_beside_the_text_is_kept() -> None:
    (found,) = signed_texts(stop(json.dumps(NOTE)))
    assert (found.key, found.method, found.encoding) == ("b2Nh", "", "OCMF")
    assert found.format is Format.OCMF


def test_meter_values_and_a_lone_sample_without_its_list() -> None:
    payload = {"connectorId": 1, "meterValue": [{"sampledValue": {"value": OCMF, "format": "SignedData"}}]}
    assert [found.text for found in signed_texts(payload)] == [OCMF]


def test_a_signed_text_that_nobody_marked_is_found_and_a_number_is_not() -> None:
    payload = {"meterValue": [{"sampledValue": [{"value": OCMF}, {"value": "123.4"}, {"value": "OCMF"}]}]}
    assert [found.text for found in signed_texts(payload)] == [OCMF]


def test_ocpp_201() -> None:
    """All four fields are there, publicKey may be empty; binary data stay the base64 that they came as."""
    sample = {"value": 1.5, "context": "Transaction.Begin", "signedMeterValue": NOTE | {"publicKey": ""}}
    binary = {"value": 1, "signedMeterValue": NOTE | {"signedMeterData": base64.b64encode(b"\x1b\x00\xff").decode()}}
    first, second = signed_texts({"eventType": "Ended", "meterValue": [{"sampledValue": [sample, binary]}]})
    assert (first.text, first.wrapper, first.key, first.context) == (OCMF, "ocpp2>base64", "", "Transaction.Begin")
    assert (second.text, second.wrapper) == ("GwD/", "ocpp2")


def test_a_text_of_unknown_format_inside_the_note_is_decoded_once() -> None:
    inner = base64.b64encode("neues Format ü".encode()).decode()
    (found,) = signed_texts(stop(json.dumps(NOTE | {"signedMeterData": inner})))
    assert (found.text, found.wrapper, found.format) == ("neues Format ü", "signedMeterData>base64", Format.UNKNOWN)


def test_half_of_a_utf16_pair_is_kept_with_its_escape() -> None:
    """No encoding can keep it: what is kept says so."""
    (found,) = signed_texts(json.loads(json.dumps(stop("OCMF|\ud800|x"))))
    assert (found.text, found.wrapper) == ("OCMF|\\ud800|x", "plain>escaped")


def test_wrappers_inside_wrappers_end_somewhere() -> None:
    value = OCMF
    for _ in range(10):
        value = value.encode().hex()
    assert unwrap(value).text == value
