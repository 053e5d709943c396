"""Verdicts on public records that are not ours, and the faults a sequence of ours can have."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.model import Reading, TimeQuality
from gateway.records.ocmf import Statement, payload, record_text
from gateway.records.verify import GENESIS, Link, Verdict, chain_hash, check_sequence, split_ocmf, verify_ocmf


def record(key: ec.EllipticCurvePrivateKey, curve: str, der: bytes | None = None) -> str:
    text = '{"FV":"1.0","PG":"T1"}'
    der = der or key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return f'OCMF|{text}|{{"SA":"ECDSA-{curve}-SHA256","SD":"{der.hex()}"}}'


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("curve", "name"),
    [
        (ec.SECP256R1(), "secp256r1"), (ec.SECP384R1(), "secp384r1"), (ec.SECP256K1(), "secp256k1"),
        (ec.SECP192R1(), "secp192r1"), (ec.BrainpoolP256R1(), "brainpool256r1"),
        (ec.BrainpoolP384R1(), "brainpoolP384r1"),
    ],
)  # fmt: skip
def test_every_curve_and_spelling(curve: ec.EllipticCurve, name: str) -> None:
    key = ec.generate_private_key(curve)
    assert verify_ocmf(record(key, name), spki(key)).verdict is Verdict.VALID
    other = ec.generate_private_key(curve)
    assert verify_ocmf(record(key, name), spki(other)).verdict is Verdict.INVALID


def test_numbers_that_match_in_a_loose_encoding_are_their_own_state() -> None:
    """Field devices leave out the zero before a set top bit: mathematically right, not DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = b'{"FV":"1.0","PG":"T1"}'
    while True:
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
        if r >> 255 and s >> 255:
            break
    loose = bytes([0x30, 68, 0x02, 32]) + r.to_bytes(32) + bytes([0x02, 32]) + s.to_bytes(32)
    assert verify_ocmf(record(key, "secp256r1", loose), spki(key)).verdict is Verdict.VALID_NOT_STRICT_DER


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", Verdict.UNSUPPORTED),
        ("AP;0;3;ABC;", Verdict.UNSUPPORTED),
        ("OCMF|{}", Verdict.UNSUPPORTED),
        ("OCMF|nonsense|{}", Verdict.INVALID),
        ('OCMF|{}|{"SD":"zz"}', Verdict.INVALID),
        ('OCMF|{}|{"SA":"RSA-2048","SD":"30"}', Verdict.UNSUPPORTED),
        ('OCMF|{}|{"SD":"3000"}', Verdict.KEY_UNKNOWN),
        ("OCMF|" + "[" * 5000 + "|{}", Verdict.INVALID),
    ],
)
def test_what_is_no_record_gets_a_verdict_and_never_raises(text: str, verdict: Verdict) -> None:
    assert verify_ocmf(text, None).verdict is verdict


def test_the_signed_bytes_are_those_between_the_pipes() -> None:
    """White space and order of keys are part of them; nothing is parsed and printed again."""
    parts = split_ocmf(' OCMF|{"B" : 1,  "A":2}|{"SD":"00"}\n')
    assert parts is not None
    assert parts.signed == '{"B" : 1,  "A":2}'


# A sequence of ours

READING = Reading("m1", 1_776_244_200_123, 1_776_244_200_200, TimeQuality.NTP, 2_935_600, serial="77")
STATEMENT = Statement(
    transaction="B", reading=READING, session="0f0e", charger="box1", connector=1, id_tag="04A224B2",
    id_type="ISO14443", authorised_by="gateway", pagination=7, key_id="00ff", version="0.1.0", prev=GENESIS,
    simulation=False,
)  # fmt: skip
KEY = ec.derive_private_key(12345, ec.SECP256R1())
KEYS = {"00ff": spki(KEY)}


def chain(*pages: tuple[str, int]) -> list[Link]:
    links: list[Link] = []
    prev = GENESIS
    for number, (charger, page) in enumerate(pages, 1):
        statement: Statement = replace(STATEMENT, charger=charger, pagination=page, prev=prev)
        signed = payload(statement)
        text = record_text(signed, KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        links.append(Link(number, "00ff", f"{charger}/1", page, text, prev, chain_hash(prev, text), "gateway"))
        prev = links[-1].sha256
    return links


def test_a_whole_sequence_has_no_problem() -> None:
    assert check_sequence(chain(("box1", 1), ("box2", 1), ("box1", 2)), KEYS) == []


def test_an_end_that_holds_the_begin_once_more_is_an_end() -> None:
    """The key was changed inside the session: it is neither a begin nor changed; kept as a begin it would be."""
    end = replace(READING, requested_ms=READING.requested_ms + 60_000, import_wh=2_936_600)
    statement = replace(STATEMENT, transaction="E", reading=end, begin=READING, begin_key="11ee", pagination=1)
    signed = payload(statement)
    text = record_text(signed, KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    kept = json.dumps({"import_wh": 2_936_600, "raw": ""})
    link = Link(
        1, "00ff", "box1/1", 1, text, GENESIS, chain_hash(GENESIS, text), "gateway", "0f0e", "end", kept
    )  # fmt: skip
    assert check_sequence([link], KEYS) == []
    wrong = check_sequence([replace(link, kind="begin")], KEYS)
    assert wrong == [(1, "the kind that is kept is not the one that was signed")]


def test_a_removed_record_is_found_twice() -> None:
    """By the chain and by the pagination."""
    links = chain(("box1", 1), ("box1", 2), ("box1", 3))
    problems = check_sequence([links[0], links[2]], KEYS)
    assert [number for number, _ in problems] == [3, 3]
    assert any("missing" in why for _, why in problems)
    assert any("expected T2" in why for _, why in problems)


def test_a_page_that_is_used_twice_is_found() -> None:
    assert check_sequence(chain(("box1", 1), ("box1", 1)), KEYS) == [(2, "pagination T1, expected T2")]


def test_one_changed_byte_names_its_record() -> None:
    links = chain(("box1", 1), ("box1", 2))
    links[0] = replace(links[0], text=links[0].text.replace("2935.600", "2935.601"))
    problems = check_sequence(links, KEYS)
    assert {number for number, _ in problems} == {1}
    assert len(problems) == 2


def test_an_unknown_key_is_named() -> None:
    assert "key_unknown" in check_sequence(chain(("box1", 1)), {})[0][1]
