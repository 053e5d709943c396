"""Our own check of ECDSA against the library, on the curves that the library has; and the one that it lacks."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from gateway.records import ecdsa_curves, signatures
from gateway.records.ecdsa_curves import CURVES, SECP192K1, Curve, Point, curve_named, decompress, on_curve, verifies

LIBRARY: dict[str, ec.EllipticCurve] = {
    "secp192r1": ec.SECP192R1(), "secp256r1": ec.SECP256R1(), "secp256k1": ec.SECP256K1(),
    "secp384r1": ec.SECP384R1(), "brainpoolP256r1": ec.BrainpoolP256R1(), "brainpoolP384r1": ec.BrainpoolP384R1(),
}  # fmt: skip


def point_of(key: ec.EllipticCurvePrivateKey) -> Point:
    numbers = key.public_key().public_numbers()
    return numbers.x, numbers.y


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_parameters_are_a_curve_of_prime_order(curve: Curve) -> None:
    """The base point lies on it, n times the base point is nothing: a mistyped digit fails here."""
    assert on_curve(curve, curve.g)
    assert pow(2, curve.p - 1, curve.p) == pow(2, curve.n - 1, curve.n) == 1
    assert ecdsa_curves._two_products(curve, curve.n, curve.g, 0, curve.g)[2] == 0
    assert curve.p % 4 == 3


@pytest.mark.parametrize("name", LIBRARY)
@given(st.integers(1, 2**180), st.binary(max_size=80))
def test_what_the_library_signs_verifies_and_nothing_else(name: str, secret: int, data: bytes) -> None:
    curve = curve_named(name)
    assert curve is not None
    key = ec.derive_private_key(secret, LIBRARY[name])
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    point, digest = point_of(key), hashlib.sha256(data).digest()
    assert verifies(curve, point, digest, r, s)
    assert signatures.verifies(curve, point, digest, r, s)
    other = hashlib.sha256(data + b"x").digest()
    for wrong in ((digest, r, s ^ 1), (digest, r ^ 1, s), (other, r, s), (digest, 0, s), (digest, r, curve.n)):
        assert not verifies(curve, point, *wrong)
        assert not signatures.verifies(curve, point, *wrong)


def multiply(curve: Curve, times: int) -> Point:
    x, y, z = ecdsa_curves._two_products(curve, times, curve.g, 0, curve.g)
    inverse = pow(z, -1, curve.p)
    return x * inverse**2 % curve.p, y * inverse**3 % curve.p


@given(st.integers(1, SECP192K1.n - 1), st.integers(1, SECP192K1.n - 1), st.binary(max_size=40))
def test_secp192k1(secret: int, nonce: int, data: bytes) -> None:
    """A signature made by the book (SEC 1, 4.1.3) with whole numbers, on the curve that the library does not know."""
    curve, digest = SECP192K1, hashlib.sha256(data).digest()
    r = multiply(curve, nonce)[0] % curve.n
    s = pow(nonce, -1, curve.n) * (int.from_bytes(digest[:24]) + r * secret) % curve.n
    public = multiply(curve, secret)
    assert signatures.verifies(curve, public, digest, r, s)
    assert not signatures.verifies(curve, public, digest, r, s + 1)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_a_point_and_its_compressed_form(curve: Curve) -> None:
    for times in (1, 2, 3, 12345):
        x, y = multiply(curve, times)
        assert decompress(curve, x, y & 1) == (x, y)
        assert decompress(curve, x, 1 - (y & 1)) == (x, curve.p - y)


def test_where_the_library_lacks_a_curve_ours_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a distribution whose OpenSSL was built without Brainpool."""
    key = ec.derive_private_key(77, ec.BrainpoolP256R1())
    r, s = decode_dss_signature(key.sign(b"x", ec.ECDSA(hashes.SHA256())))
    monkeypatch.setattr(signatures, "_LIBRARY", {})
    signatures._library_key.cache_clear()
    assert signatures.verifies(ecdsa_curves.BRAINPOOL256, point_of(key), hashlib.sha256(b"x").digest(), r, s)
    signatures._library_key.cache_clear()


@given(st.binary(max_size=80))
def test_reading_a_signature_never_raises(data: bytes) -> None:
    numbers = signatures.read_der(data)
    assert numbers is None or all(number >= 0 for number in numbers[:2])
    signatures.read_raw(data)
