"""Pure: checking ECDSA signatures on the seven curves of OCMF with plain integers (SEC 1, section 4.1.4).

Checking needs no secret, so integers that are not constant in time will do; nothing is ever signed with this. It stands
in where `cryptography` lacks a curve: always for secp192k1, and for others where a distribution's OpenSSL left them
out. Parameters: SEC 2 (2010) and, for the Brainpool curves, RFC 5639.
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[int, int]
"""An affine point. The point at infinity is None."""

_Jacobian = tuple[int, int, int]
"""X / Z^2, Y / Z^3; Z = 0 is the point at infinity."""


@dataclass(frozen=True, slots=True)
class Curve:
    """y^2 = x^3 + a x + b over the field of p, its base point and the order n. `oid` is the DER of the curve's OID."""

    name: str
    oid: bytes
    p: int
    a: int
    b: int
    n: int
    g: Point

    @property
    def size(self) -> int:
        """Bytes of one coordinate."""
        return (self.p.bit_length() + 7) // 8


def _curve(name: str, oid: str, p: str, a: str, b: str, n: str, x: str, y: str) -> Curve:
    field = int(p, 16)
    return Curve(
        name, bytes.fromhex(oid), field, int(a, 16) % field, int(b, 16), int(n, 16), (int(x, 16), int(y, 16))
    )  # fmt: skip


SECP192R1 = _curve(
    "secp192r1", "06082a8648ce3d030101",
    "fffffffffffffffffffffffffffffffeffffffffffffffff", "fffffffffffffffffffffffffffffffefffffffffffffffc",
    "64210519e59c80e70fa7e9ab72243049feb8deecc146b9b1", "ffffffffffffffffffffffff99def836146bc9b1b4d22831",
    "188da80eb03090f67cbf20eb43a18800f4ff0afd82ff1012", "07192b95ffc8da78631011ed6b24cdd573f977a11e794811",
)  # fmt: skip
SECP192K1 = _curve(
    "secp192k1", "06052b8104001f",
    "fffffffffffffffffffffffffffffffffffffffeffffee37", "0", "3",
    "fffffffffffffffffffffffe26f2fc170f69466a74defd8d",
    "db4ff10ec057e9ae26b07d0280b7f4341da5d1b1eae06c7d", "9b2f2f6d9c5628a7844163d015be86344082aa88d95e2f9d",
)  # fmt: skip
SECP256R1 = _curve(
    "secp256r1", "06082a8648ce3d030107",
    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
    "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
)  # fmt: skip
SECP256K1 = _curve(
    "secp256k1", "06052b8104000a",
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", "0", "7",
    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
    "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
)  # fmt: skip
BRAINPOOL256 = _curve(
    "brainpoolP256r1", "06092b2403030208010107",
    "a9fb57dba1eea9bc3e660a909d838d726e3bf623d52620282013481d1f6e5377",
    "7d5a0975fc2c3057eef67530417affe7fb8055c126dc5c6ce94a4b44f330b5d9",
    "26dc5c6ce94a4b44f330b5d9bbd77cbf958416295cf7e1ce6bccdc18ff8c07b6",
    "a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7",
    "8bd2aeb9cb7e57cb2c4b482ffc81b7afb9de27e1e3bd23c23a4453bd9ace3262",
    "547ef835c3dac4fd97f8461a14611dc9c27745132ded8e545c1d54c72f046997",
)  # fmt: skip
SECP384R1 = _curve(
    "secp384r1", "06052b81040022",
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc",
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
)  # fmt: skip
BRAINPOOL384 = _curve(
    "brainpoolP384r1", "06092b240303020801010b",
    "8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b412b1da197fb71123acd3a729901d1a71874700133107ec53",
    "7bc382c63d8c150c3c72080ace05afa0c2bea28e4fb22787139165efba91f90f8aa5814a503ad4eb04a8c7dd22ce2826",
    "04a8c7dd22ce28268b39b55416f0447c2fb77de107dcd2a62e880ea53eeb62d57cb4390295dbc9943ab78696fa504c11",
    "8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565",
    "1d1c64f068cf45ffa2a63a81b7c13f6b8847a3e77ef14fe3db7fcafe0cbd10e8e826e03436d646aaef87b2e247d4af1e",
    "8abe1d7520f9c2a45cb1eb8e95cfd55262b70b29feec5864e19c054ff99129280e4646217791811142820341263c5315",
)  # fmt: skip

CURVES = (SECP192R1, SECP192K1, SECP256R1, SECP256K1, BRAINPOOL256, SECP384R1, BRAINPOOL384)

_SPELLINGS = {curve.name.lower(): curve for curve in CURVES} | {
    "brainpool256r1": BRAINPOOL256, "brainpool384r1": BRAINPOOL384,
    "prime256v1": SECP256R1, "prime192v1": SECP192R1,
}  # fmt: skip


def curve_named(name: str) -> Curve | None:
    """A curve by OCMF's name (`brainpool256r1`), by its own (`brainpoolP256r1`) or by an old one (`prime256v1`)."""
    return _SPELLINGS.get(name.lower())


def on_curve(curve: Curve, point: Point) -> bool:
    """Whether a pair of numbers is a point of the curve. All seven have cofactor 1: every point is of order n."""
    x, y = point
    return 0 <= x < curve.p and 0 <= y < curve.p and (y * y - x * x * x - curve.a * x - curve.b) % curve.p == 0


def decompress(curve: Curve, x: int, odd: int) -> Point | None:
    """The point with this x whose y is odd (1) or even (0); None where there is none (SEC 1, section 2.3.4)."""
    square = (x * x * x + curve.a * x + curve.b) % curve.p
    y = pow(square, (curve.p + 1) // 4, curve.p)  # all seven primes are 3 modulo 4
    if y & 1 != odd:
        y = curve.p - y
    return (x, y) if on_curve(curve, (x, y)) else None


def verifies(curve: Curve, point: Point, digest: bytes, r: int, s: int) -> bool:
    """Whether (r, s) is a signature of the owner of `point` over `digest`, of which the leftmost bits of n count."""
    n = curve.n
    if not (0 < r < n and 0 < s < n) or not on_curve(curve, point):
        return False
    e = int.from_bytes(digest) >> max(0, len(digest) * 8 - n.bit_length())
    inverse = pow(s, -1, n)
    x, _, z = _two_products(curve, e * inverse % n, curve.g, r * inverse % n, point)
    return z != 0 and x * pow(z, -2, curve.p) % curve.p % n == r


def _two_products(curve: Curve, u: int, one: Point, v: int, other: Point) -> _Jacobian:
    """u * one + v * other, both in one pass over the bits (Shamir's trick)."""
    first, second = (*one, 1), (*other, 1)
    both = _add(curve, first, second)
    total: _Jacobian = (1, 1, 0)
    for bit in range(max(u.bit_length(), v.bit_length()) - 1, -1, -1):
        total = _double(curve, total)
        wanted = (u >> bit & 1) + 2 * (v >> bit & 1)
        if wanted:
            total = _add(curve, total, (first, second, both)[wanted - 1])
    return total


def _double(curve: Curve, point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if z == 0 or y == 0:
        return (1, 1, 0)
    p, yy = curve.p, y * y % curve.p
    s = 4 * x * yy % p
    m = (3 * x * x + curve.a * pow(z, 4, p)) % p
    x2 = (m * m - 2 * s) % p
    return x2, (m * (s - x2) - 8 * yy * yy) % p, 2 * y * z % p


def _add(curve: Curve, one: _Jacobian, other: _Jacobian) -> _Jacobian:
    if one[2] == 0 or other[2] == 0:
        return other if one[2] == 0 else one
    p = curve.p
    zz1, zz2 = one[2] * one[2] % p, other[2] * other[2] % p
    u1, u2 = one[0] * zz2 % p, other[0] * zz1 % p
    s1, s2 = one[1] * other[2] * zz2 % p, other[1] * one[2] * zz1 % p
    h, r = (u2 - u1) % p, (s2 - s1) % p
    if h == 0:
        return _double(curve, one) if r == 0 else (1, 1, 0)
    hh = h * h % p
    hhh, v = h * hh % p, u1 * hh % p
    x = (r * r - hhh - 2 * v) % p
    return x, (r * (v - x) - s1 * hhh) % p, h * one[2] * other[2] % p
