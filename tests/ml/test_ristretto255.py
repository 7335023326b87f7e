"""The group ristretto255, with vectors of RFC 9496 appendix A."""

import pytest

from ml.crypto import ristretto255


def test_hashing_to_the_group_is_that_of_the_rfc():
    data = b"Ristretto is traditionally a short shot of espresso coffee"
    expected = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    assert ristretto255.hash_to_point(data).hex() == expected


@pytest.mark.parametrize(
    "encoding",
    [
        "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ],
)
def test_bad_encodings_of_the_rfc_and_the_identity_are_refused(encoding: str):
    assert not ristretto255.is_valid(bytes.fromhex(encoding))


def test_scalars_are_fresh_and_commute():
    a, b = ristretto255.new_scalar(), ristretto255.new_scalar()
    point = ristretto255.hash_to_point(b"x")
    one = ristretto255.multiply(a, ristretto255.multiply(b, point))
    assert a != b
    assert ristretto255.is_valid(one)
    assert one == ristretto255.multiply(b, ristretto255.multiply(a, point))


def test_multiples_of_the_base_point_are_those_of_the_rfc():
    two = (2).to_bytes(32, "little")
    base = ristretto255.multiply_base((1).to_bytes(32, "little"))
    twice = "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919"
    assert base.hex() == "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
    assert ristretto255.multiply_base(two).hex() == twice
    assert ristretto255.add(base, base).hex() == twice
    assert ristretto255.subtract(bytes.fromhex(twice), base) == base


def test_an_inverted_scalar_undoes_multiplication():
    scalar, point = ristretto255.new_scalar(), ristretto255.hash_to_point(b"x")
    multiplied = ristretto255.multiply(scalar, point)
    assert ristretto255.multiply(ristretto255.invert(scalar), multiplied) == point
