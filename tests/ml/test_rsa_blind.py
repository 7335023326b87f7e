"""RSA blind signatures: the published vector, one signature for each message, nothing to see."""

import json
from pathlib import Path

import gmpy2
import pytest
from cryptography.exceptions import InvalidSignature as Refused
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384

from ml.crypto.errors import InvalidKey, InvalidSignature
from ml.crypto.rsa_blind import EXPONENT, MIN_BITS, PrivateKey, PublicKey

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9474.json").read_text())


def number(name: str) -> int:
    return int(VECTOR[name], 16)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.new()


def test_every_step_is_that_of_the_published_vector():
    """RFC 9474, appendix A.4."""
    private = PrivateKey(number("p"), number("q"))
    public, message = private.public, bytes.fromhex(VECTOR["msg"])
    assert public.n == number("n")
    assert public.encode(message) == number("encoded_msg")
    blinded = public._blind(message, gmpy2.mpz(number("inv")))
    assert blinded.value.hex() == VECTOR["blinded_msg"]
    assert private.answer(blinded.value).hex() == VECTOR["blind_sig"]
    assert public.finalize(blinded, bytes.fromhex(VECTOR["blind_sig"])).hex() == VECTOR["sig"]
    assert private.sign(message).hex() == VECTOR["sig"]


def test_a_signature_is_one_of_rsa_pss(key: PrivateKey):
    public = rsa.RSAPublicNumbers(EXPONENT, key.public.n).public_key()
    pss = padding.PSS(padding.MGF1(SHA384()), 0)
    public.verify(key.sign(b"x"), b"x", pss, SHA384())
    with pytest.raises(Refused):
        public.verify(key.sign(b"y"), b"x", pss, SHA384())


def test_the_asker_gets_the_one_signature_and_the_signer_sees_nothing_of_it(key: PrivateKey):
    asked = [key.public.blind(message) for message in (b"a", b"a", b"b")]
    signed = [key.public.finalize(one, key.answer(one.value)) for one in asked]
    assert signed == [key.sign(b"a"), key.sign(b"a"), key.sign(b"b")]
    seen = {one.value for one in asked} | {key.answer(one.value) for one in asked}
    assert len(seen) == 6
    assert not seen & {*signed, key.public._bytes(key.public.encode(b"a"))}


def test_whatever_the_signer_saw_fits_every_message(key: PrivateKey):
    """For each message there is a factor with which it would have looked the same."""
    n = key.public.n
    seen = key.public.blind(b"a")
    value = gmpy2.mpz(int.from_bytes(seen.value, "big"))
    for message in (b"a", b"b"):
        ratio = value * gmpy2.invert(key.public.encode(message), n) % n
        factor = key._power(ratio)
        again = key.public._blind(message, gmpy2.invert(factor, n))
        assert again.value == seen.value


def test_another_answer_is_refused(key: PrivateKey):
    asked, other = key.public.blind(b"a"), key.public.blind(b"a")
    wrong = bytearray(key.answer(asked.value))
    wrong[-1] ^= 1
    for answer in (bytes(wrong), key.answer(other.value), b"", b"\xff" * key.public.width):
        with pytest.raises(InvalidSignature, match="not the signature"):
            key.public.finalize(asked, answer)


@pytest.mark.parametrize("value", [b"", b"\0", b"\xff" * (MIN_BITS // 8)])
def test_what_is_no_residue_is_not_signed(key: PrivateKey, value: bytes):
    with pytest.raises(InvalidSignature):
        key.answer(value)


@pytest.mark.parametrize("n", [0, 2**2047 + 2, 2**1023 + 1, 2**9000 + 1])
def test_a_modulus_that_is_even_too_short_or_too_long_is_refused(n: int):
    with pytest.raises(InvalidKey, match="allowed are 2048 to 8192"):
        PublicKey(n)


def test_a_short_key_is_not_made():
    with pytest.raises(InvalidKey):
        PrivateKey.new(1024)


def test_secrets_are_in_no_text(key: PrivateKey):
    asked = key.public.blind(b"a")
    assert str(key.p) not in repr(key)
    assert str(int(asked.inverse)) not in repr(asked)
