"""Every spelling of a public key becomes the same SubjectPublicKeyInfo, and says which spelling it was."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.ecdsa_curves import CURVES, SECP256R1, Curve
from gateway.records.public_keys import read_key, read_spki, spki_of

KEY = ec.derive_private_key(4711, ec.SECP256R1()).public_key()
SPKI = KEY.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
PEM = KEY.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
POINT = KEY.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
SHORT = KEY.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
OCA = f"oca:base16:asn1:{SPKI.hex()}"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (SPKI.hex(), "hex 182 (spki)"),
        (SPKI.hex().upper(), "hex 182 (spki)"),
        (" ".join(f"{byte:02X}" for byte in SPKI), "hex 182 (spki)"),
        (":".join(f"{byte:02x}" for byte in SPKI), "hex 182 (spki)"),
        (POINT.hex(), "hex 130 (point)"),
        (POINT[1:].hex(), "hex 128 (x y)"),
        (SHORT.hex(), "hex 66 (compressed)"),
        (base64.b64encode(SPKI).decode(), "base64 (spki)"),
        (base64.urlsafe_b64encode(SPKI).decode().rstrip("="), "base64 (spki)"),
        (base64.b64encode(POINT[1:]).decode(), "base64 (x y)"),
        (PEM, "PEM"),
        (PEM.replace("\n", ""), "PEM"),
        (f"-----BEGIN PUBLIC KEY-----\r\n{base64.b64encode(SPKI).decode()}\r\n-----END PUBLIC KEY-----", "PEM"),
        (OCA, "oca"),
        (OCA.upper(), "oca"),
        (f"oca:base64:asn1:{base64.b64encode(SPKI).decode()}", "oca"),
        (base64.b64encode(OCA.encode()).decode(), "oca base64"),
    ],
)
def test_every_spelling_is_the_same_key(text: str, form: str) -> None:
    found = read_key(text)
    assert found is not None
    assert (found.spki, found.form, found.curve) == (SPKI, form, SECP256R1)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_a_bare_point_names_its_curve_by_lying_on_it(curve: Curve) -> None:
    """96 hex characters are a meter's point on a curve of 192 bits, 192 one of 384; 128 are one of three."""
    found = read_key("".join(f"{number:0{2 * curve.size}x}" for number in curve.g))
    assert found is not None
    assert found.curve is curve
    assert found.form == f"hex {4 * curve.size} (x y)"
    again = read_spki(spki_of(curve, curve.g))
    assert again is not None
    assert again.point == curve.g


def test_the_library_reads_what_we_write() -> None:
    for name, curve in (("secp384r1", ec.SECP384R1()), ("brainpoolP384r1", ec.BrainpoolP384R1())):
        ours = next(one for one in CURVES if one.name == name)
        numbers = ec.derive_private_key(99, curve).public_key().public_numbers()
        key = serialization.load_der_public_key(spki_of(ours, (numbers.x, numbers.y)))
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.public_numbers() == numbers


RSA = rsa.generate_private_key(65537, 2048).public_key()


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "zz", "04", POINT.hex()[:-2], POINT.hex()[:-1] + ("0" if POINT.hex()[-1] != "0" else "1"),
        SPKI.hex() + "00", SPKI.hex()[:-2], "oca:base16:asn1:zz", "oca:base16:asn1:", "A" * 9000, "\ud800", "04" * 65,
        RSA.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
    ],
)  # fmt: skip
def test_what_is_no_key_is_none(text: str) -> None:
    """Also a point that lies beside its curve."""
    assert read_key(text) is None


@given(st.one_of(st.text(), st.binary().map(bytes.hex), st.binary().map(lambda data: base64.b64encode(data).decode())))
def test_junk_never_raises(text: str) -> None:
    read_key(text)


@given(st.integers(0, len(SPKI) - 1), st.integers(0, 255))
def test_a_damaged_key_is_none_or_a_point_of_a_curve(place: int, byte: int) -> None:
    damaged = SPKI[:place] + bytes([byte]) + SPKI[place + 1 :]
    found = read_key(damaged.hex())
    assert found is None or damaged == SPKI or found.spki != SPKI
