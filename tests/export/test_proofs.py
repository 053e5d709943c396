"""What proves a bill: the XML for the transparency software, slips, the bundle for an authority."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.export import extras
from gateway.export.bundle import Scope, write_bundle
from gateway.export.extras import NotInstalledError, qr_squares
from gateway.export.facts import ended_sessions
from gateway.export.ocmf_text import read_ocmf
from gateway.export.session_facts import SessionFacts, SignedText
from gateway.export.slip import Slip, signed_pair, slip_of
from gateway.export.slip_html import slip_html
from gateway.export.slip_pdf import slip_pdf
from gateway.export.transparency import transparency_xml
from gateway.export.words import LANGUAGES
from gateway.model import Connection
from gateway.records.recognise import Format
from gateway.records.signing import list_keys
from gateway.records.verify import Verdict, chain_hash, verify_ocmf
from tests.sessions.conftest import ms

ZURICH = ZoneInfo("Europe/Zurich")
EDL_KEY = (
    ec.derive_private_key(78, ec.SECP192R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)


@pytest.fixture
def keys(day: Any) -> dict[str, str]:
    """The public keys by key id."""
    return {key["key_id"]: key["spki_hex"] for key in list_keys(day.path / "keys")}


@pytest.fixture
def first(db: Connection) -> SessionFacts:
    """The first session of the day."""
    return next(iter(ended_sessions(db)))


def signed(number: int, signer: str, text: str, kind: str = "passed_through") -> SignedText:
    """A kept text."""
    return SignedText(
        id=number, kind=kind, signed_by=signer, key_id="", text=text, prev="0" * 64, sha256="1" * 64, spki_hex="aabb"
    )


def ocmf(*readings: str) -> str:
    """An OCMF text with these RD entries, as a charger may spell it."""
    return f'OCMF|{{"FV":"1.0","PG":"T1","MS":"X&Y","RD":[{",".join(readings)}]}}|{{"SD":"30"}}'


BEGIN = '{"TM":"2026-04-15T11:16:00,000+0200 S","TX":"B","RV":2935.600,"RU":"kWh","ST":"G"}'
END = '{"TM":"2026-04-15T11:40:00,000+0200 S","TX":"E","RV":2936.70}'


def test_the_xml_is_what_the_transparency_software_reads(db: Connection, keys: dict[str, str]) -> None:
    """Integer transactionId, a begin and an end of it, format and encoding named, the key as SPKI, every text valid."""
    xml, held, left_out = transparency_xml(ended_sessions(db), keys)
    root = ET.fromstring(xml)
    assert (root.tag, held, left_out) == ("values", 2, [])
    pairs: dict[int, list[str]] = {}
    for value in root.iter("value"):
        pairs.setdefault(int(value.attrib["transactionId"]), []).append(value.attrib["context"])
        data, key = value.find("signedData"), value.find("publicKey")
        assert data is not None
        assert key is not None
        assert data.attrib == {"format": "OCMF", "encoding": "plain"}
        assert key.attrib == {"encoding": "hex"}
        public = serialization.load_der_public_key(bytes.fromhex(key.text or ""))
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert verify_ocmf(data.text or "", bytes.fromhex(key.text or "")).verdict is Verdict.VALID
    assert list(pairs.values()) == [["Transaction.Begin", "Transaction.End"]] * 2


def test_the_texts_come_out_of_the_xml_byte_for_byte(first: SessionFacts) -> None:
    """Also with characters that XML escapes."""
    text = ocmf(BEGIN.replace('"G"', '"<&>"'), END)
    xml, held, _ = transparency_xml([replace(first, records=(signed(7, "charger", text),))], {})
    [value] = ET.fromstring(xml)
    assert (held, value.attrib) == (1, {"transactionId": "7"})
    assert [child.text for child in value] == [text, "aabb"]


def test_what_the_charger_signed_goes_before_ours(first: SessionFacts) -> None:
    """A pair of the charger is exported, not the gateway's; half a pair is not enough."""
    begin, end = signed(8, "charger", ocmf(BEGIN)), signed(9, "charger", ocmf(END.replace('"TX"', '"RU":"kWh","TX"')))
    both = replace(first, records=(*first.records, begin, end))
    assert 'transactionId="8"' in transparency_xml([both], {})[0]
    half = replace(first, records=(*first.records, begin))
    assert f'transactionId="{first.records[0].id}"' in transparency_xml([half], {})[0]


def test_a_text_with_both_registers_goes_before_two(first: SessionFacts) -> None:
    """A key that was changed in the session: whoever checks takes one key, so the end stands alone."""
    begin, end = first.records
    whole = replace(end, id=9, text=ocmf(BEGIN, END))
    xml, held, _ = transparency_xml([replace(first, records=(begin, whole))], {begin.key_id: "aabb"})
    [value] = ET.fromstring(xml)
    assert (held, value.attrib) == (1, {"transactionId": "9"})
    assert signed_pair(replace(first, records=(begin, whole))) == (whole, whole)


def alfen(kind: int, page: int, wh: int, key: ec.EllipticCurvePrivateKey) -> str:
    """A record as ALFEN's adapter signs it."""
    data = bytearray(82)
    data[0:4], data[44], data[46:54], data[78:82] = b"adap", 30, wh.to_bytes(8, "little"), page.to_bytes(4, "little")
    numbers = decode_dss_signature(key.sign(bytes(data), ec.ECDSA(hashes.SHA256())))
    public = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    parts = (public, bytes(data), b"".join(number.to_bytes(24) for number in numbers))
    return f"AP;{kind};3;" + "".join(base64.b32encode(part).decode() + ";" for part in parts)


def test_other_formats_of_chargers_are_exported_with_their_key(first: SessionFacts) -> None:
    """ALFEN says by itself which is which; its key goes out compressed, as it stands in the text."""
    key = ec.derive_private_key(77, ec.SECP192R1())
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    texts = [alfen(0, 7, 5000, key), alfen(1, 8, 7345, key)]
    records = [replace(signed(8 + n, "charger", text), spki_hex=spki.hex()) for n, text in enumerate(texts)]
    xml, held, _ = transparency_xml([replace(first, records=(*first.records, *records))], {})
    values = list(ET.fromstring(xml))
    assert held == 1
    assert [value.attrib for value in values] == [
        {"transactionId": "8", "context": "Transaction.Begin"},
        {"transactionId": "8", "context": "Transaction.End"},
    ]
    assert [value.findtext("signedData") for value in values] == texts
    assert {data.attrib["format"] for value in values for data in value.iter("signedData")} == {"ALFEN"}
    compressed = base64.b32decode(texts[0].split(";")[3]).hex()
    assert {value.findtext("publicKey") for value in values} == {compressed}


SML = "1b1b1b1b01010101" + "00" * 20
"""Not a whole one; what counts here is what stands beside it."""


@pytest.mark.parametrize(
    ("format_", "contexts", "expected"),
    [
        (Format.EDL40, ("Transaction.Begin", "Transaction.End"), 2),
        (Format.EDL40, ("Transaction.Begin", "Sample.Periodic"), 0),
        (Format.ISA_EDL40, ("Transaction.Begin", "Transaction.End"), 1),
        (Format.PCDF, ("Sample.Periodic", "Transaction.End"), 1),
        (Format.CHARGEIT, ("Transaction.Begin", "Transaction.End"), 0),
        (Format.SEALED, ("Transaction.Begin", "Transaction.End"), 0),
        (Format.UNKNOWN, ("Transaction.Begin", "Transaction.End"), 0),
    ],
)
def test_a_text_that_does_not_say_what_it_is(
    first: SessionFacts, monkeypatch: pytest.MonkeyPatch, format_: Format, contexts: tuple[str, str], expected: int
) -> None:
    """The charger's message says it; ISA's and PCDF's end states the begin as well; some the program does not read."""
    monkeypatch.setattr("gateway.export.transparency.recognise", lambda text: format_)
    texts = tuple(
        replace(signed(8 + n, "charger", f"{SML}{n}"), context=context, spki_hex=EDL_KEY.hex())
        for n, context in enumerate(contexts)
    )
    xml, held, left_out = transparency_xml([replace(first, records=texts)], {})
    values = list(ET.fromstring(xml))
    assert (len(values), held, left_out) == (expected, int(expected > 0), [] if expected else [first.id])
    if expected:
        point = EDL_KEY[-48:].hex()
        assert values[-1].findtext("publicKey") == ("04" if format_ is Format.PCDF else "") + point
        assert values[-1].attrib["context"] == "Transaction.End"


MEASUREMENT = (
    f"<Timestamp>2021-02-23T10:17:23+01:00</Timestamp><Signature>{'7A' * 48}</Signature>"
    "<EventCounter>377</EventCounter>"
    "<MeterStatus>136</MeterStatus><Value>248490</Value><Scaler>-1</Scaler><Pagination>4392</Pagination>"
    "<SecondIndex>15406637</SecondIndex>"
)
MENNEKES = (
    '<ChargingProcess xmlns="http://www.mennekes.de/Mennekes.EdlVerification.xsd"><ServerId>0901454D4800007F87B0</ServerId>'
    "<CustomerIdent>044A34B2DA3F80</CustomerIdent>"
    "<TimestampCustomerIdent>2021-02-23T10:17:14+01:00</TimestampCustomerIdent>"
    f"<MeasurementStart>{MEASUREMENT}</MeasurementStart><MeasurementEnd>{MEASUREMENT}</MeasurementEnd></ChargingProcess>"
)


def test_a_charging_process_of_mennekes_is_exported_and_a_billing_is_not(first: SessionFacts) -> None:
    """The program reads one process in this container; it holds both registers and its key."""
    one = replace(first, records=(signed(8, "charger", MENNEKES),))
    xml, held, _ = transparency_xml([one], {})
    [value] = ET.fromstring(xml)
    data = value.find("signedData")
    assert held == 1
    assert data is not None
    assert (data.text, data.attrib["format"]) == (MENNEKES, "EDL_40_MENNEKES")
    billing = replace(one, records=(signed(8, "charger", f"<Billing>{MENNEKES}</Billing>"),))
    assert transparency_xml([billing], {})[1:] == (0, [first.id])


def test_a_session_without_a_pair_is_named(first: SessionFacts) -> None:
    """It is left out of the XML, and said so."""
    xml, held, left_out = transparency_xml([replace(first, records=first.records[:1])], {})
    assert (held, left_out, list(ET.fromstring(xml))) == (0, [first.id], [])


def test_pyocmf_reads_our_xml(db: Connection, keys: dict[str, str], tmp_path: Any) -> None:
    """A second reader, which is none of ours, finds the same texts and verifies them."""
    xml_reader = pytest.importorskip("pyocmf.utils.xml")
    core = pytest.importorskip("pyocmf.core.ocmf")
    path = tmp_path / "x.xml"
    path.write_text(transparency_xml(ended_sessions(db), keys)[0])
    parsed = xml_reader.OcmfContainer.from_xml(path)
    assert len(parsed) == 4
    assert all(isinstance(entry.ocmf, core.OCMF) and entry.verify_signature() for entry in parsed)


def test_registers_stand_digit_by_digit() -> None:
    """2935.600 stays 2935.600 and 2936.70 stays 2936.70; a left-out unit is that of the reading before."""
    facts = read_ocmf(ocmf(BEGIN, END))
    assert facts is not None
    assert facts.kind == "begin_end"
    begin, end = facts.reading("begin"), facts.reading("end")
    assert begin is not None
    assert end is not None
    assert (begin.value, begin.unit, end.value, end.unit) == ("2935.600", "kWh", "2936.70", "kWh")


@pytest.mark.parametrize("text", ["", "OCMF|", "OCMF|{|x", "OCMF|[]|{}", "AP;0;3;", 'OCMF|{"RD":5}|{}'])
def test_what_is_no_ocmf_has_no_readings(text: str) -> None:
    """Never an exception: a charger may write anything."""
    facts = read_ocmf(text)
    assert facts is None or facts.readings == ()


def slip(one: SessionFacts, keys: dict[str, str], language: str = "de", *, simulation: bool = False) -> Slip:
    """A slip of the day."""
    return slip_of(one, site="gw-test", zone=ZURICH, language=language, keys=keys, simulation=simulation)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_slip_says_what_was_signed(first: SessionFacts, keys: dict[str, str], language: str) -> None:
    """Registers as in the text, kWh by class that sum up, the card masked, no word of a calibration."""
    page = slip(first, keys, language)
    assert [line[1] for line in page.registers] == ["7.000 kWh", "8.100 kWh"]
    amounts = [int(value.removesuffix(" kWh").replace(".", "")) for _, value in page.energy]
    assert sum(amounts[:-1]) == amounts[-1] == 1100
    assert page.key == next(iter(keys.values()))
    told = " ".join(value for _, value in (*page.facts, *page.proof))
    assert "****D-A" in told
    assert "CARD-A" not in told
    assert "15.04.2026 11:16:00 +02:00" in told
    assert not re.search("eichrecht|konform|geeicht|conforme|certified", told.lower())


class _Page(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def test_the_page_needs_nothing_else(first: SessionFacts, keys: dict[str, str]) -> None:
    """No script, no address of anything outside; what a charger wrote is text, never markup."""
    evil = replace(first, charger="<script>alert(1)</script>")
    page = slip(evil, keys)
    text = slip_html(page, qr_squares((page.key or "").upper()))
    found = _Page()
    found.feed(text)
    assert "script" not in found.tags
    assert found.addresses == []
    assert "svg" in found.tags
    assert "&lt;script&gt;" in text
    assert "url(" not in text


def test_the_qr_code_is_that_of_the_key(keys: dict[str, str]) -> None:
    """The squares are segno's own: three finder patterns at the corners, a square as large as its version says."""
    squares = qr_squares(next(iter(keys.values())).upper())
    size = len(squares)
    finder = [True, *[False] * 5, True]
    assert (size - 17) % 4 == 0
    assert all(len(line) == size for line in squares)
    assert squares[1][:7] == squares[1][-7:] == squares[-2][:7] == finder


def test_the_pdf_holds_the_same(first: SessionFacts, keys: dict[str, str]) -> None:
    """The registers stand in its text; the same slip gives the same bytes."""
    page = slip(first, keys, "fr", simulation=True)
    squares = qr_squares((page.key or "").upper())
    data = slip_pdf(page, squares, first.end_ms)
    assert data.startswith(b"%PDF")
    assert data == slip_pdf(page, squares, first.end_ms)
    # By their stated length: a compressed stream may end with any byte, also with one that looks like a line's end.
    found = re.finditer(rb"/Length (\d+)[^>]*>>\s*stream\r?\n", data)
    streams = [data[one.end() : one.end() + int(one[1])] for one in found]
    text = b"".join(zlib.decompress(one) for one in streams if one[:1] == b"\x78")
    assert b"7.000 kWh" in text
    assert b"8.100 kWh" in text
    assert "SIMULATION : pas d'énergie réelle".encode("latin-1") in text.replace(b"\\'", b"'")


def test_without_the_extra_there_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever did not install it is told what to install."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(NotInstalledError, match=r"segno is not installed.*zev-gateway\[export\]"):
        qr_squares("x")


SCOPE = Scope("gw-test", False, ZURICH, ms("2026-04-01T00:00:00Z"), ms("2026-05-01T00:00:00Z"))


def bundle(db: Connection, keys: dict[str, str], scope: Scope = SCOPE) -> bytes:
    """The archive."""
    target = io.BytesIO()
    write_bundle(db, target, scope, [{"key_id": name, "spki_hex": key} for name, key in keys.items()])
    return target.getvalue()


def test_the_bundle_is_whole_and_the_same_again(db: Connection, keys: dict[str, str]) -> None:
    """Every member has its checksum, the chain of the records closes, a second export is byte-identical."""
    data = bundle(db, keys)
    assert data == bundle(db, keys)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        sums = dict(line.split("  ")[::-1] for line in archive.read("SHA256SUMS").decode().splitlines())
        assert set(sums) == names - {"SHA256SUMS"}
        assert all(hashlib.sha256(archive.read(name)).hexdigest() == value for name, value in sums.items())
        records = [json.loads(line) for line in archive.read("records/records.jsonl").splitlines()]
        texts = archive.read("records/ocmf.txt").decode().splitlines()
        assert "integrity" in archive.read("README.txt").decode()
        assert len(ET.fromstring(archive.read("transparency.xml"))) == 4
    assert [record["text"] for record in records] == texts
    assert len(records) == 4
    for before, record in zip([None, *records], records, strict=False):
        assert record["sha256"] == chain_hash(record["prev"], record["text"])
        assert before is None or record["prev"] == before["sha256"]


def test_a_bundle_of_an_empty_month_says_so(db: Connection, keys: dict[str, str]) -> None:
    """No session, no record, still a whole archive."""
    scope = replace(SCOPE, from_ms=0, to_ms=ms("2026-04-01T00:00:00Z"))
    with zipfile.ZipFile(io.BytesIO(bundle(db, keys, scope))) as archive:
        assert archive.read("records/records.jsonl") == b""
        assert b"0 sessions" in archive.read("README.txt")
