"""The formats of the field are told apart, and nothing that a charger sends makes the reader fall."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records import alfen
from gateway.records.containers import read_container
from gateway.records.edl40 import Edl40Error
from gateway.records.facts import facts_of
from gateway.records.judge import judge
from gateway.records.recognise import Format, binary_of, read_xml, recognise
from gateway.records.sml import SmlError, read_value_list
from gateway.records.wrappers import signed_texts, unwrap

ALFEN = (
    "AP;1;3;AICIVT423BX3TJGK6QCCVRHQ63LJQUEVZWWTYQUZ;BJKGK43UIRSXMAAROYYDCMZNUYFACRC2I4ADGAABIAAAAAIAQ6ACMAD5CH4FWAIAAEE"
    "AB7Y6ACKD2AAAAAAAAABRAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAASAAAAAEQAAAAA====;"
    "C3J3MLA5XLF7QYYHA4RAJV7QLBWU5OB3M3DUKCUTREEQ5QORE45DMUQALYBEI2YOLNX7DYFRWGLYU===;"
)
"""A public sample: SAFE-eV/transparenzsoftware, AlfenReaderTest (Apache-2.0)."""


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        ('OCMF|{"FV":"1.4"}|{"SD":""}', Format.OCMF),
        ("\n  OCMF|broken", Format.OCMF),
        (ALFEN, Format.ALFEN),
        (ALFEN.rstrip(";"), Format.ALFEN),
        ("AP;0;3;short;x;y;", Format.UNKNOWN),
        ("128.8.0(ST:200501162017)(CT:200501162025)(PK:04)(SG:30)", Format.PCDF),
        ('{"signedMeterValues":[{"value":{}}]}', Format.CHARGEIT),
        ('{"other":1}', Format.UNKNOWN),
        ("<values><value><encodedData>QUJD</encodedData></value></values>", Format.SEALED),
        ("<signedMeterValue><publicKey/></signedMeterValue>", Format.EDL40_SIG),
        ("<?xml version='1.0' encoding='UTF-16'?><signedMeterValue/>", Format.EDL40_SIG),
        ("<ChargingProcess><MeasurementStart/></ChargingProcess>", Format.MENNEKES),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><signedMeterValue>&a;</signedMeterValue>", Format.UNKNOWN),
        ("<not closed", Format.UNKNOWN),
        ("1b1b1b1b01010101", Format.UNKNOWN),
        ("12.34", Format.UNKNOWN),
        ("", Format.UNKNOWN),
    ],
)
def test_formats(text: str, format_: Format) -> None:
    assert recognise(text) is format_


def test_alfen_is_verified_and_a_changed_one_found() -> None:
    """The key stands in the record; by that key the record is right, and one changed character makes it wrong."""
    facts = facts_of(ALFEN)
    assert facts.key is not None
    assert judge(ALFEN, facts.key).verdict.value == "valid"
    assert judge(ALFEN, None).verdict.value == "key_unknown"
    assert judge(ALFEN.replace("BJKGK43UIRSXMAAROYYDCMZNUYFACRC2I4ADGAAB", "BJKGK43UIRSXMAAROYYDCMZNUYFACRC2I4ADGCAB"),
                 facts.key).verdict.value == "invalid"  # fmt: skip
    record = alfen.read(ALFEN)
    assert record is not None
    assert (record.kind, record.page, record.register) == ("end", 18, (15764, 30, 0))
    assert [one.value for one in facts.registers] == ["15764"]


def test_sml_in_base64_is_the_same_as_in_hex(vector: Callable[[str], str]) -> None:
    (one,) = read_container(vector("edl-40-01.xml"))
    data = binary_of(one.text)
    assert data is not None
    assert recognise(base64.b64encode(data).decode()) is Format.EDL40
    assert facts_of(base64.b64encode(data).decode()) == facts_of(one.text)


JUNK = st.one_of(
    st.text(),
    st.text().map(lambda text: "OCMF|" + text),
    st.text().map(lambda text: f"OCMF|{{{text}}}|{{}}"),
    st.text().map(lambda text: f"<{text}>"),
    st.text(alphabet="AP;0123=ABCDEFGHIJKLMNOPQRSTUVWXYZ").map(lambda text: "AP;0;3;" + text),
    st.binary().map(lambda data: "1b1b1b1b01010101" + data.hex() + "1b1b1b1b1a000000"),
    st.binary().map(lambda data: base64.b64encode(data).decode()),
)


@given(JUNK)
def test_junk_never_raises(text: str) -> None:
    """Whatever stands in a value: it gets a format, facts, a verdict, and is found in a file or not."""
    assert isinstance(recognise(text), Format)
    judge(text, None, facts_of(text))
    read_container(text)
    unwrap(text)
    read_xml(text)


@given(st.binary(max_size=400))
def test_sml_junk_is_an_error_of_its_own(data: bytes) -> None:
    frame = b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01" + data + b"\x1b\x1b\x1b\x1b\x1a\x00\x00\x00"
    try:
        read_value_list(frame)
    except SmlError:
        return


@given(st.data())
def test_a_damaged_file_of_a_meter_never_raises(vector: Callable[[str], str], data: st.DataObject) -> None:
    """Bytes of a real SML file and of Mennekes' XML, exchanged or cut."""
    name = data.draw(st.sampled_from(["edl-40-01.xml", "isa-edl-40p-ok.xml", "ACU_korrekt.metra.xml"]))
    text = read_container(vector(name))[0].text
    place = data.draw(st.integers(0, len(text) - 1))
    put_in = data.draw(st.text(max_size=3))
    damaged = text[:place] + put_in + text[place + data.draw(st.integers(0, 40)) :]
    judgement = judge(damaged, None)
    assert judgement.verdict.value in ("invalid", "unsupported", "key_unknown")


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["meterValue", "transactionData", "sampledValue", "value", "format", "signedMeterValue", "context",
                 "signedMeterData", "publicKey"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=30,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["meterValue", "transactionData"]), VALUES))
def test_a_senseless_payload_never_raises(payload: dict[str, object]) -> None:
    """Every text that is found can be written into the database."""
    for found in signed_texts(payload):
        found.text.encode()


def test_errors_of_meters_are_value_errors() -> None:
    assert issubclass(Edl40Error, ValueError)
    assert issubclass(SmlError, ValueError)
