"""The ring, the randomness and the sums under the lattice scheme, against big integers."""

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.crypto.errors import LatticeNoise, WeakLattice
from ml.crypto.lattice import parameters, randomness, ring, sums
from ml.crypto.lattice.parameters import Parameters
from ml.local.binning import Columns

N, Q = ring.DEGREE, ring.MODULUS
WORDS = st.integers(0, 2**64 - 1)
SEED = bytes(range(32))


def some_residues(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, Q, shape, dtype=np.uint64)


# --- the ring ---


def test_the_modulus_is_prime_and_splits_the_ring_and_takes_exact_shares():
    assert gmpy2.is_prime(Q)
    assert (Q - 1) % (2 * N) == 0
    assert (Q - 1) % 2**32 == 0


def test_the_transform_is_undone():
    a = some_residues(3, N)
    assert (ring.inverse_transform(ring.transform(a.copy())) == a).all()


@pytest.mark.parametrize("fill", ["random", "largest"])
def test_products_are_those_of_polynomials_modulo_x_n_plus_one(fill: str):
    a, b = (some_residues(N, seed=s) for s in (1, 2))
    if fill == "largest":
        a[:] = b[:] = Q - 1
    factor = ring.Factor(ring.transform(b.copy().reshape(1, N))[0])
    product = ring.inverse_transform(factor.times(ring.transform(a.copy().reshape(1, N))))[0]
    x, y = a.tolist(), b.tolist()
    for k in (0, 1, 7, N // 2, N - 1):
        low = sum(x[i] * y[k - i] for i in range(k + 1))
        wrapped = sum(x[i] * y[N + k - i] for i in range(k + 1, N))
        assert int(product[k]) == (low - wrapped) % Q


@given(st.lists(WORDS, min_size=1, max_size=40))
def test_sums_and_differences_are_those_of_integers(numbers: list[int]):
    a = np.array([x % Q for x in numbers], np.uint64)
    b = a[::-1].copy()
    for found, expected in (
        (ring.add(a, b), [(int(x) + int(y)) % Q for x, y in zip(a, b, strict=True)]),
        (ring.subtract(a, b), [(int(x) - int(y)) % Q for x, y in zip(a, b, strict=True)]),
    ):
        assert found.tolist() == expected
    assert (ring.residues(ring.centred(a)) == a).all()
    assert (np.abs(ring.centred(a)) <= Q // 2).all()


# --- randomness ---


def test_uniform_residues_are_below_q_and_rejected_words_are_drawn_again():
    key = randomness.derive(SEED, "test")
    stream = np.array([5, 2**56 - 1, 2**64 - 1, Q, Q - 1], np.uint64)
    found = randomness.uniform(stream.copy(), key)
    assert found[0] == 5
    assert found[4] == Q - 1
    assert (found < Q).all()
    again = randomness.uniform(stream.copy(), key)
    assert (found == again).all()  # both sides come to the same
    elsewhere = randomness.uniform(stream.copy(), key, first=100)
    assert (found[1:4] != elsewhere[1:4]).all()


def test_a_part_of_a_tile_is_the_beginning_of_the_tile():
    assert (randomness.tile(SEED, 3)[:5] == randomness.tile(SEED, 3, 5)).all()
    assert (randomness.tile(SEED, 3, 5) != randomness.tile(SEED, 4, 5)).mean() > 0.999


def test_every_purpose_has_a_key_of_its_own():
    keys = {
        randomness.derive(SEED, "matrix"),
        randomness.derive(SEED, "public key", 0),
        randomness.derive(SEED, "public key", 1),
        randomness.derive(SEED, "public key", 0, 1),
        randomness.derive(SEED, "w"),
        randomness.derive(SEED + b"\0", "w"),
    }
    assert len(keys) == 6


def test_noise_has_the_spread_that_the_parameters_count_with():
    e = ring.centred(randomness.binomial_residues(SEED, 400_000))
    assert np.abs(e).max() <= parameters.NOISE_HALF_BITS
    assert e.std() == pytest.approx(parameters.NOISE_SD, rel=0.02)
    k = ring.centred(randomness.ternary_residues(SEED, 300_000))
    assert set(np.unique(k).tolist()) == {-1, 0, 1}
    assert np.bincount(k + 1) / len(k) == pytest.approx(1 / 3, abs=0.005)


def test_the_flood_is_smooth_and_as_wide_as_the_parameters_say():
    known = Parameters.of(100_000, 2**16)
    ours = np.empty((10, 20_000), np.uint64)
    stream = randomness.words(SEED, 4 * ours.size)
    sums.blind(np.zeros_like(ours), stream, known.flood_width, ours)
    e2 = ring.centred(ours).reshape(-1)
    assert e2.std() == pytest.approx(known.flood, rel=0.02)
    assert abs(e2.mean()) < known.flood / 50
    # A uniform number has 58 % within its standard deviation and none beyond 1.8 of them.
    assert (np.abs(e2) < known.flood).mean() == pytest.approx(0.68, abs=0.02)
    assert (np.abs(e2) > 2 * known.flood).mean() == pytest.approx(0.046, abs=0.01)


# --- parameters ---


@pytest.mark.parametrize(
    ("degree", "bits"), [(2048, 53), (2048, 54), (4096, 109), (4096, 61 + 44), (1024, 27), (512, 9)]
)
def test_a_lattice_below_128_bits_is_refused(degree: int, bits: int):
    with pytest.raises(WeakLattice, match="allowed are 128 bits"):
        parameters.security_bits(degree, bits)


def test_the_sets_in_use_have_128_bits():
    assert parameters.security_bits(ring.DEGREE, ring.BITS) >= 128
    assert parameters.security_bits(4096, 58) == 242
    assert parameters.security_bits(4096, 104) >= 128


@pytest.mark.parametrize("entry_bits", [2, 8, 16])
def test_matrices_of_larger_numbers_are_refused(entry_bits: int):
    """The low digits of their sums would tell them (`test_lattice_attacks`)."""
    with pytest.raises(LatticeNoise, match="0/1 matrices only"):
        Parameters.of(100, 2**8, entry_bits=entry_bits)


@pytest.mark.parametrize("rows", [1, 100, 10_000, 100_000, 400_000, 10**6, 10**7])
def test_the_flood_is_at_the_limit_of_correctness_and_never_below_2_16(rows: int):
    known = Parameters.of(rows, 2 ** parameters.fraction_bits(rows))
    assert known.flood >= 2**16
    everything = np.hypot(known.flood, parameters.noise_sd(rows))
    assert everything * parameters.SIGMAS == pytest.approx(known.delta / 2)
    # The largest sum and the largest noise still do not run over.
    assert known.largest_sum * known.delta + known.delta // 2 < Q // 2
    assert known.flood_width < 2**32


def test_digits_that_leave_no_room_for_the_flood_are_refused():
    with pytest.raises(LatticeNoise, match="use fewer bits"):
        Parameters.of(10**6, 2**16)
    with pytest.raises(LatticeNoise, match="use fewer rows"):
        parameters.fraction_bits(10**9)


# --- sums ---


@settings(max_examples=20)
@given(st.integers(1, 50), st.integers(1, 9), st.integers(0, 2**32))
def test_residues_survive_the_wire(rows: int, words: int, seed: int):
    a = some_residues(rows, words, seed=seed)
    packed = sums.pack(a)
    assert packed.nbytes == 56 * -(-a.size // 8)
    found = sums.unpack(packed, a.shape)
    assert found is not None
    assert (found == a).all()


def test_what_is_no_residue_or_of_another_length_is_not_unpacked():
    a = some_residues(8, seed=3)
    assert sums.unpack(sums.pack(a)[:-1], (8,)) is None
    a[5] = Q
    assert sums.unpack(sums.pack(a), (8,)) is None


def matrix(n: int, columns: int = 3):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, columns))
    X[rng.random(X.shape) < 0.2] = np.nan
    return Columns.of(X, tuple(map(str, range(columns))), max_bins=6).matrix


@pytest.mark.parametrize("words", [1, 2, 3, 7, 16, 24, 31])
@pytest.mark.parametrize("fill", ["random", "largest"])
def test_words_are_added_up_by_splits(words: int, fill: str):
    n = 701  # more than two tiles
    known, a = matrix(n), some_residues(n, words, seed=5)
    if fill == "largest":
        a[:] = Q - 1
    slots = np.zeros((int(known.offsets[-1]), words), np.uint64)
    bins = np.ascontiguousarray(known.bins.T)
    sums.add_words(a, bins, known.offsets, slots, slice(0, 2))
    sums.add_words(a, bins, known.offsets, slots, slice(2, 3))
    found = np.empty((len(known), words), np.uint64)
    sums.split_sums(slots, known, found)
    for k in range(len(known)):
        left = a[known.left(k, np.arange(n))].astype(object)
        assert found[k].tolist() == (left.sum(axis=0) % Q).tolist()


def test_polynomials_are_added_up_by_splits():
    n = 2 * randomness.TILE + 11
    known = matrix(n, 2)
    slots = sums.empty_polynomial_sums(int(known.offsets[-1]))
    polynomials = []
    for number in range(3):
        rows = slice(number * randomness.TILE, min((number + 1) * randomness.TILE, n))
        tile = randomness.tile(SEED, number, rows.stop - rows.start)
        polynomials.append(tile)
        bins = np.ascontiguousarray(known.bins[rows].T)
        sums.add_polynomials(tile, bins, known.offsets, slots, slice(0, 2))
    found = np.empty((len(known), N), np.uint64)
    for block in range(len(slots)):
        columns = slice(block * sums.BLOCK, (block + 1) * sums.BLOCK)
        sums.split_sums(slots[block], known, found[:, columns])
    whole = np.concatenate(polynomials)[:, ::997].astype(object)
    for k in (0, len(known) // 2, len(known) - 1):
        left = whole[known.left(k, np.arange(n))]
        assert found[k, ::997].tolist() == (left.sum(axis=0) % Q).tolist()
