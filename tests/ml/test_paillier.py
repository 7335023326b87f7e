"""Paillier: what is encrypted comes back, sums add up, and what is no ciphertext is refused."""

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import wire
from ml.crypto import paillier
from ml.crypto.errors import InvalidAnswer, InvalidCiphertext, InvalidKey, PackingOverflow, WeakKey
from ml.crypto.packing import Packing
from ml.crypto.paillier import PrivateKey, PublicKey
from ml.errors import MlError, RefusedParameter, WireError


@pytest.fixture(scope="module")
def public(paillier_key: PrivateKey) -> PublicKey:
    return paillier_key.public


def encrypt(key: PrivateKey, *numbers: int) -> list[mpz]:
    return [key.encryptor.encrypt(m) for m in numbers]


# --- laws ---


@settings(max_examples=20)
@given(st.data())
def test_decryption_undoes_encryption(paillier_key: PrivateKey, data: st.DataObject):
    m = data.draw(st.integers(0, paillier_key.public.n - 1))
    assert paillier_key.decrypt(paillier_key.encryptor.encrypt(m)) == m


@pytest.mark.parametrize("of", [lambda n: 0, lambda n: 1, lambda n: n - 1])
def test_the_smallest_and_the_largest_number_come_back(paillier_key: PrivateKey, of):
    m = of(paillier_key.public.n)
    assert paillier_key.decrypt(paillier_key.encryptor.encrypt(m)) == m
    assert paillier_key.decrypt(paillier_key.public.encrypt(m)) == m


@settings(max_examples=20)
@given(st.integers(0, 2**1000), st.integers(0, 2**1000), st.integers(0, 2**100))
def test_ciphertexts_add_and_scale(paillier_key: PrivateKey, a: int, b: int, k: int):
    public = paillier_key.public
    [x, y] = encrypt(paillier_key, a, b)
    assert paillier_key.decrypt(public.add(public.scale(x, k), y)) == k * a + b


def test_sums_wrap_at_n(paillier_key: PrivateKey, public: PublicKey):
    [x, y] = encrypt(paillier_key, public.n - 1, 5)
    assert paillier_key.decrypt(public.add(x, y)) == 4


def test_a_number_outside_the_range_is_not_encrypted(paillier_key: PrivateKey, public: PublicKey):
    for m in (-1, public.n):
        with pytest.raises(ValueError, match="below n"):
            paillier_key.encryptor.encrypt(m)
        with pytest.raises(ValueError, match="below n"):
            public.encrypt(m)


def test_phe_decrypts_what_we_encrypt(paillier_key: PrivateKey, public: PublicKey):
    from phe import PaillierPrivateKey, PaillierPublicKey

    theirs = PaillierPrivateKey(PaillierPublicKey(public.n), paillier_key.p, paillier_key.q)
    assert theirs.raw_decrypt(int(paillier_key.encryptor.encrypt(2**900 + 7))) == 2**900 + 7


# --- randomness ---


def test_equal_numbers_have_different_ciphertexts(paillier_key: PrivateKey):
    assert len(set(encrypt(paillier_key, *[1] * 50))) == 50


def test_a_base_of_the_tables_is_no_power_of_a_small_prime(paillier_key: PrivateKey):
    p = mpz(paillier_key.p)
    small = [prime for prime in range(2, 1000) if gmpy2.is_prime(prime) and (p - 1) % prime == 0]
    for _ in range(20):
        base = paillier._base(p)
        assert all(gmpy2.powmod(base, (p - 1) // prime, p) != 1 for prime in small)


def test_a_rerandomised_ciphertext_is_another_one_of_the_same_number(
    paillier_key: PrivateKey, public: PublicKey
):
    [c] = encrypt(paillier_key, 42)
    others = [public.rerandomise(c) for _ in range(10)]
    assert len({c, *others}) == 11
    assert {paillier_key.decrypt(other) for other in others} == {42}


def test_a_rerandomised_ciphertext_lies_in_no_subgroup_that_the_owner_sees(
    paillier_key: PrivateKey, public: PublicKey
):
    """The owner knows p: a fixed base would show, as all factors were squares modulo p or none."""
    [c] = encrypt(paillier_key, 42)
    factors = [public.rerandomise(c) * gmpy2.invert(c, public.n_squared) for _ in range(64)]
    assert {gmpy2.jacobi(factor % paillier_key.p, paillier_key.p) for factor in factors} == {-1, 1}


# --- keys ---


@pytest.mark.parametrize("bits", [0, 512, 1024, 2047])
def test_a_weak_key_is_refused(bits: int):
    with pytest.raises(WeakKey, match="2048 bits or more"):
        paillier.generate(bits)


def test_a_length_that_is_not_offered_is_refused():
    with pytest.raises(InvalidKey, match="offered are 2048, 3072, 4096"):
        paillier.generate(2500)


def test_weak_keys_are_refused_parameters():
    assert issubclass(WeakKey, RefusedParameter)
    assert issubclass(InvalidCiphertext, MlError)


def test_a_generated_key_passes_its_own_check(public: PublicKey):
    public.check(2048)
    assert public.bits == 2048


def test_a_received_key_shorter_than_agreed_is_refused(public: PublicKey):
    with pytest.raises(WeakKey, match="2048 bits; allowed are 3072"):
        public.check(3072)
    with pytest.raises(WeakKey):
        PublicKey(public.n >> 1024).check(2048)
    with pytest.raises(WeakKey):
        PublicKey(0).check(2048)


def test_a_received_key_longer_than_agreed_is_refused(public: PublicKey):
    with pytest.raises(InvalidKey, match="2049 bits"):
        PublicKey(public.n << 1 | 1).check(2048)


@pytest.mark.parametrize(
    ("n", "reason"),
    [
        pytest.param(2**2047 + 2, "small prime", id="even"),
        pytest.param(65521 * (2**2032 + 1), "small prime", id="small factor"),
        pytest.param(int(gmpy2.next_prime(2**2047)), "a prime", id="prime"),
        pytest.param(int(gmpy2.next_prime(2**1023 + 2**1022)) ** 2, "a power", id="square"),
    ],
)
def test_a_number_that_is_no_product_of_two_large_primes_is_refused(n: int, reason: str):
    with pytest.raises(InvalidKey, match=reason):
        PublicKey(n).check(2048)


def test_a_negative_modulus_is_refused():
    with pytest.raises(WeakKey):
        PublicKey(-(2**2047) - 1).check(2048)


def test_a_public_key_crosses_the_wire_and_a_private_one_does_not(
    paillier_key: PrivateKey, public: PublicKey
):
    assert wire.loads(wire.dumps(public), PublicKey) == public
    with pytest.raises(WireError):
        wire.dumps(paillier_key)


def test_the_text_of_a_private_key_tells_nothing(paillier_key: PrivateKey):
    assert str(paillier_key.p) not in repr(paillier_key) + str(paillier_key)


# --- what is received ---


def test_ciphertexts_have_the_same_size_whatever_they_hold(
    paillier_key: PrivateKey, public: PublicKey
):
    rows = public.to_bytes([*encrypt(paillier_key, 0, public.n - 1), mpz(1)])
    assert rows.shape == (3, 512)
    assert public.from_bytes(rows)[2] == 1


def test_bytes_of_another_width_are_refused(public: PublicKey):
    with pytest.raises(InvalidCiphertext, match="512 bytes"):
        public.from_bytes(np.zeros((2, 511), np.uint8))


def test_ciphertexts_out_of_range_or_not_invertible_are_refused(
    paillier_key: PrivateKey, public: PublicKey
):
    good = encrypt(paillier_key, 1, 2)
    public.check_ciphertexts(good)
    n_squared = public.n_squared
    for bad in (mpz(0), n_squared, n_squared + 1, mpz(-1), mpz(public.n), mpz(paillier_key.p)):
        with pytest.raises(InvalidCiphertext):
            public.check_ciphertexts([*good, bad])


# --- packing ---

packings = st.builds(
    Packing,
    st.lists(st.integers(1, 30), min_size=1, max_size=4).map(tuple),
    st.integers(1, 2**20),
)


@given(packings, st.data())
def test_sums_of_the_largest_values_stay_in_their_fields(packing: Packing, data):
    rows = data.draw(st.integers(1, min(packing.max_rows, 30)))
    largest = np.array([[2**bits - 1 for bits in packing.value_bits]] * rows, np.int64)
    plain = packing.pack(largest)
    assert (packing.unpack(sum(plain), 1) == largest.sum(axis=0)).all()
    # As many rows as announced, without drawing them all.
    full = packing.unpack(plain[0] * packing.max_rows, 1)
    assert (full == largest[0] * packing.max_rows).all()


@given(packings, st.integers(1, 6), st.data())
def test_slots_beside_each_other_come_back_in_order(packing: Packing, slots: int, data):
    value = st.tuples(*(st.integers(0, 2**bits - 1) for bits in packing.value_bits))
    values = data.draw(st.lists(value, min_size=1, max_size=min(slots, packing.max_rows)))
    joined = 0
    for plain in packing.pack(np.array(values, np.int64)):
        joined = joined << packing.slot_bits | plain
    assert packing.unpack(joined, len(values)).tolist() == [list(v) for v in values]


def test_values_that_do_not_fit_are_refused():
    packing = Packing((4, 4), max_rows=2)
    for row in ([16, 0], [0, 16], [-1, 0]):
        with pytest.raises(PackingOverflow, match="scale the values"):
            packing.pack(np.array([row], np.int64))
    with pytest.raises(PackingOverflow, match="3 rows"):
        packing.pack(np.zeros((3, 2), np.int64))
    with pytest.raises(PackingOverflow, match="3 fields"):
        packing.pack(np.zeros((1, 3), np.int64))


def test_a_packing_that_could_overflow_cannot_be_made():
    with pytest.raises(PackingOverflow, match="allowed are 62"):
        Packing((50,), max_rows=2**13)
    with pytest.raises(PackingOverflow):
        Packing((0,), max_rows=1)
    with pytest.raises(PackingOverflow, match="does not fit"):
        Packing((60,) * 40, max_rows=1).slots(2048)


def test_slots_stay_below_every_modulus_of_the_length():
    packing = Packing((26, 24, 1), max_rows=24_000)
    slots = packing.slots(2048)
    assert slots * packing.slot_bits <= 2047 < (slots + 1) * packing.slot_bits


def test_a_plaintext_with_more_than_its_slots_is_refused():
    packing = Packing((4,), max_rows=2)
    for plain in (1 << packing.slot_bits, -1):
        with pytest.raises(InvalidAnswer):
            packing.unpack(plain, 1)
