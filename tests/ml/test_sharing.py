"""Fractions as words, and shares of words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.crypto import sharing
from ml.crypto.errors import OutOfRange
from ml.crypto.fixed_point import FixedPoint

words = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8).map(
    lambda values: np.array(values, np.uint64)
)


@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=8), st.integers(0, 40))
def test_a_fraction_is_kept_to_half_its_last_place(values, bits):
    places = FixedPoint(bits)
    found = places.decode(places.encode(np.array(values), bound=1000))
    assert np.abs(found - values).max() <= 2.0 ** -(bits + 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 8.01, -8.01])
def test_what_is_no_number_or_beyond_its_bound_is_refused(value):
    with pytest.raises(OutOfRange, match="1 values are no numbers or are larger than 8"):
        FixedPoint(20).encode(np.array([1.0, value]), bound=8)


def test_a_bound_that_leaves_no_room_is_refused():
    with pytest.raises(ValueError, match="62 bits"):
        FixedPoint(40).encode(np.zeros(1), bound=2.0**22)
    with pytest.raises(ValueError, match="0 to 52"):
        FixedPoint(53)


@given(words, st.integers(2, 4))
def test_shares_add_up_and_are_fresh_each_time(secret, parties):
    shares = sharing.split(secret, parties)
    assert len(shares) == parties
    assert (sharing.join(shares) == secret).all()
    assert (sharing.split(secret, parties)[1] != shares[1]).all()


def test_nothing_is_shared_with_nobody():
    with pytest.raises(ValueError, match="2 or more"):
        sharing.split(np.zeros(1, np.uint64), 1)


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_those_of_integers_modulo_2_to_the_64(shape, transposed):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2**64, (5, 4), dtype=np.uint64)
    b = rng.integers(0, 2**64, (5 if transposed else 4, *shape), dtype=np.uint64)
    left = a.astype(object).T if transposed else a.astype(object)
    found = sharing.matmul(a, b, transposed=transposed)
    assert (found == (left @ b.astype(object) % 2**64).astype(np.uint64)).all()


def test_sides_that_do_not_meet_are_refused():
    with pytest.raises(ValueError, match="must agree"):
        sharing.matmul(np.zeros((2, 3), np.uint64), np.zeros(2, np.uint64))
