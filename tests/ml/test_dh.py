"""Keys that two parties agree on, and points that two parties encrypt in any order."""

import hmac
from hashlib import sha256, sha512

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ml.crypto import ristretto255
from ml.crypto.commutative import Key
from ml.crypto.dh import Secret
from ml.crypto.errors import InvalidPoint

# RFC 7748, section 6.1.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def of(key: str) -> Secret:
    return Secret(X25519PrivateKey.from_private_bytes(bytes.fromhex(key)))


def test_public_values_and_the_agreed_key_are_those_of_the_published_vector():
    """The key is HKDF of RFC 5869, written out, over the published shared secret."""
    alice, bob = of(ALICE), of(BOB)
    assert alice.public.hex() == ALICE_PUBLIC
    assert bob.public.hex() == BOB_PUBLIC
    salt = b"".join(sorted((alice.public, bob.public)))
    extracted = hmac.digest(salt, bytes.fromhex(SHARED), sha256)
    expected = hmac.digest(extracted, b"fatechain dh v1 test" + b"\x01", sha256)
    assert alice.agree(bob.public, b"test", 32) == bob.agree(alice.public, b"test", 32) == expected


def test_another_purpose_or_another_party_has_another_key():
    alice, bob = Secret.new(), Secret.new()
    keys = {
        alice.agree(bob.public, b"a"),
        alice.agree(bob.public, b"b"),
        alice.agree(Secret.new().public, b"a"),
    }
    assert len(keys) == 3


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(32), (1).to_bytes(32, "little")])
def test_values_of_small_order_or_another_length_are_refused(public: bytes):
    with pytest.raises(InvalidPoint):
        Secret.new().agree(public, b"test")


# RFC 9497, appendix A.1.1.1: OPRF(ristretto255, SHA-512).
KEY = bytes.fromhex("5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e")
BLIND = bytes.fromhex("64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706")
BLINDED = "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c"
EVALUATED = "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e"
OUTPUT = (
    "527759c3d9366f277d8c6020418d96bb393ba2afb20ff90df23fb7708264e2f3"
    "ab9135e3bd69955851de4b1f9fe8a0973396719b7912ba9ee8aa7d0b5e24bcf6"
)


def test_encrypting_and_decrypting_in_any_order_is_as_published():
    """Their client blinds, their server evaluates, and the client removes its blind."""
    client, server = Key(BLIND), Key(KEY)
    assert server.encrypt(bytes.fromhex(BLINDED)).hex() == EVALUATED
    unblinded = client.decrypt(bytes.fromhex(EVALUATED))
    assert sha512(b"\0\x01\0\0\x20" + unblinded + b"Finalize").hexdigest() == OUTPUT
    # The input's point, by taking the blind away first.
    assert server.encrypt(client.decrypt(bytes.fromhex(BLINDED))) == unblinded


def test_the_order_of_two_encryptions_does_not_matter():
    a, b = Key.new(), Key.new()
    point = ristretto255.hash_to_point(b"somebody")
    assert a.encrypt(b.encrypt(point)) == b.encrypt(a.encrypt(point))
    assert b.decrypt(a.encrypt(b.encrypt(point))) == a.encrypt(point)
    assert len({point, a.encrypt(point), b.encrypt(point)}) == 3


@pytest.mark.parametrize("point", [bytes(32), b"\xff" * 32, b"short"])
def test_what_is_no_point_is_not_encrypted(point: bytes):
    with pytest.raises(InvalidPoint):
        Key.new().encrypt(point)
    with pytest.raises(InvalidPoint):
        Key.new().decrypt(point)


def test_keys_are_in_no_text():
    key = Key.new()
    assert repr(key.scalar) not in repr(key)
