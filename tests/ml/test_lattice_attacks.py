"""What breaks lattice products where a rule is left out, and does not where it is kept.

Each test is an attack that succeeds on a shortcut; most then try the same on what is implemented.
Noise is simulated as the integers that it is; where a key must be attacked, the real parties are.
"""

from itertools import product

import numpy as np
import pytest

from ml.crypto.errors import LatticeNoise, MaskReuse
from ml.crypto.lattice import randomness, ring, sums
from ml.crypto.lattice.owner import BatchKey
from ml.crypto.lattice.parameters import NOISE_SD, Parameters
from ml.errors import RefusedScheme
from ml.vertical.secureboost import Params
from tests.ml.test_lattice_products import EVERYWHERE, ROWS, Pair, values_of

Q = ring.MODULUS


def negacyclic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products of small integer polynomials modulo x^n + 1, row by row."""
    n = a.shape[-1]
    twist = np.exp(1j * np.pi * np.arange(n) / n)
    return np.rint(
        np.real(np.fft.ifft(np.fft.fft(a * twist) * np.fft.fft(b * twist)) / twist)
    ).astype(np.int64)


def ternary(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-1, 2, shape)


def binomial(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.binomial(21, 0.5, shape) - rng.binomial(21, 0.5, shape)


# --- masks ---


def test_masks_scaled_to_64_bits_would_tell_a_label_and_residues_do_not():
    """Only q of the 2^64 numbers occur as scaled masks: a wrong guess is not among them."""
    rng, right, wrong = np.random.default_rng(0), 0, 0
    delta = 2**45 + 77
    for r in rng.integers(0, Q, 300).tolist():
        label = int(rng.integers(0, 2))
        sent = (delta * label + (r << 64) // Q) % 2**64
        for guess in (0, 1):
            mask = (sent - delta * guess) % 2**64
            possible = (-(-mask * Q // 2**64) << 64) // Q == mask
            right, wrong = (
                right + (possible and guess == label),
                wrong + (possible and guess != label),
            )
    assert right == 300
    assert wrong < 10
    # Modulo q every guess leaves a number that is a mask.
    assert all((delta * 1 + r - delta * g) % Q < Q for r in (0, 5, Q - 1) for g in (0, 1))


async def test_a_mask_under_two_vectors_would_tell_their_difference():
    """What a crash that went back to old masks would give away; `MaskReuse` stands before it."""
    pair = Pair()
    await pair.holder.set_up()
    await pair.begin(4)
    one, other = values_of(seed=1), values_of(seed=2)
    delta = pair.agreement.parameters.delta
    rows = slice(0, ROWS)
    first, second = (
        sums.mask(v, EVERYWHERE, pair.owner._masks, delta, rows, 0, 2) for v in (one, other)
    )
    d = ring.centred(ring.subtract(first, second))
    assert ((d + delta // 2) // delta == one - other).all()
    parts = [p async for p in pair.owner.mask(one, EVERYWHERE, 1)]
    again = [p async for p in pair.owner.mask(other, EVERYWHERE, 1)]
    assert parts[0].first != again[0].first
    with pytest.raises(MaskReuse):
        [p async for p in pair.owner.mask(one, EVERYWHERE, 1)]


# --- what comes back ---


def test_results_that_are_not_rounded_would_give_a_host_the_key():
    """The host knows its w, e1 and e2: what is left of the noise is linear in the owner's k."""
    rng = np.random.default_rng(1)
    n, rows, samples = 256, 64, 400
    k, e = ternary(rng, n), binomial(rng, n)
    w, e1 = ternary(rng, rows, n), binomial(rng, rows, n)
    x = (rng.random((rows, samples)) < 1 / 32).astype(np.int64)
    left = x @ binomial(rng, samples, n) - negacyclic(e1, k[None]) - negacyclic(w, e[None])

    def recovered(seen: np.ndarray) -> float:
        twist = np.exp(1j * np.pi * np.arange(n) / n)
        a, b, c = (np.fft.fft(m * twist) for m in (e1, w, -seen))
        aa, bb, ab = (np.abs(a) ** 2).sum(0), (np.abs(b) ** 2).sum(0), (a.conj() * b).sum(0)
        ac, bc = (a.conj() * c).sum(0), (b.conj() * c).sum(0)
        found = np.real(np.fft.ifft((bb * ac - ab * bc) / (aa * bb - np.abs(ab) ** 2)) / twist)
        return float((np.clip(np.rint(found), -1, 1) == k).mean())

    assert recovered(left) == 1.0
    # Rounded results leave nothing to regress on; no message carries any to a host (`hidden`).
    assert recovered(np.zeros_like(left)) < 0.5


def low_digits(x: np.ndarray, flood: float, vectors: int, seed: int) -> np.ndarray:
    """What an owner computes of X from the low digits of its sums: it knows the e of its masks."""
    rng = np.random.default_rng(seed)
    e = binomial(rng, x.shape[1], vectors)
    noise = x @ e + np.rint(rng.normal(0, np.hypot(flood, 240), (len(x), vectors)))
    return np.linalg.solve((e @ e.T).astype(float), e @ noise.T.astype(float)).T


def test_the_noise_of_sums_would_tell_integers_of_a_matrix_and_they_are_refused():
    rng = np.random.default_rng(2)
    x = rng.integers(-(2**15), 2**15, (4, 64))
    found = low_digits(x, 2.0**16, 4096, seed=3)
    assert np.std(found - x) < np.std(x) / 50  # more than five bits of each, from one batch
    with pytest.raises(LatticeNoise):
        Parameters.of(64, 2**8, entry_bits=16)


@pytest.mark.parametrize(("flood", "told"), [(2.0**6, True), (None, False)])
def test_the_noise_of_sums_of_zeros_and_ones_tells_nothing_under_the_flood(
    flood: float | None, told: bool
):
    rng = np.random.default_rng(4)
    x = (rng.random((4, 64)) < 0.5).astype(np.int64)
    used = Parameters.of(100_000, 2**16).flood if flood is None else flood
    vectors = 100_000
    right = float(((low_digits(x, used, vectors, seed=5) > 0.5) == x).mean())
    assert (right > 0.9) if told else (right < 0.62)
    # The spread of one estimate is far below the distance of 0 and 1, or far above.
    assert (used / (NOISE_SD * vectors**0.5) < 1 / 3) == told


async def test_sums_of_polynomials_in_the_clear_would_tell_the_rows():
    """h has thousands of equations in one unknown bit per row: elimination modulo q solves them.
    What a holder sends, h + a w + e1, has no such solution."""
    rows = 24
    pair = Pair(rows)
    await pair.holder.set_up()
    await pair.begin(2)
    a = randomness.tile(pair.agreement.matrix_key, 0, rows)[:, :rows].astype(object).T
    split = int(pair.order[0])
    bits = pair.matrix.left(split, np.arange(rows)).astype(int).tolist()
    assert solved(a, pair.holder._hidden[split][:rows].tolist()) == bits
    blind = sums.unpack(pair.blind[0].data, (len(pair.matrix), ring.DEGREE))
    assert blind is not None
    assert not set(solved(a, blind[0][:rows].tolist())) <= {0, 1}


def solved(a: np.ndarray, b: list[int]) -> list[int]:
    """The solution of a square system modulo q."""
    rows = [[int(x) for x in row] + [int(y)] for row, y in zip(a.tolist(), b, strict=True)]
    for i in range(len(rows)):
        pivot = next(r for r in range(i, len(rows)) if rows[r][i] % Q)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        inverse = pow(rows[i][i], -1, Q)
        rows[i] = [x * inverse % Q for x in rows[i]]
        for r in range(len(rows)):
            if r != i and rows[r][i]:
                f = rows[r][i]
                rows[r] = [(x - f * y) % Q for x, y in zip(rows[r], rows[i], strict=True)]
    return [row[-1] for row in rows]


# --- what remains, as the documents say ---


async def test_a_malformed_key_reads_a_holders_secret_until_its_budget_ends():
    """The declared limit of the scheme: a guest that does not follow the protocol."""
    pair = Pair()
    await pair.holder.set_up()
    digits, scale = 14, 2**32
    p = np.zeros(ring.DEGREE, np.int64)
    for j in range(digits):
        p[-j % ring.DEGREE] = scale * 3**j * (-1 if j else 1)
    bad = ring.transform(ring.residues(p).reshape(1, -1))[0]
    key = BatchKey(0, 0, ring.DEGREE, sums.pack(bad))
    parts = [part async for part in pair.holder.begin_batch(key, pair.order)]
    read = -ring.centred(pair.holder._ours[:, ::digits])  # answers to vectors of zeros
    read = (read + scale // 2) // scale
    w = np.zeros((len(read), ring.DEGREE + digits), np.int64)
    for t, value in enumerate(read.T):
        for j in range(digits):
            digit = (value + 1) % 3 - 1
            value = (value - digit) // 3
            w[:, digits * t + j] = digit
    found = ring.transform(ring.residues(w[:, : ring.DEGREE].copy()))
    blind = sums.unpack(parts[0].data, found.shape)
    assert blind is not None
    a = ring.Factor(pair.agreement.public_polynomial(0))
    rest = ring.subtract(ring.subtract(blind, a.times(found)), pair.holder._hidden[pair.order])
    e1 = ring.centred(ring.inverse_transform(rest))
    wrapped = np.abs(e1).max(axis=1) <= 21  # the last digits wrap around in a few splits
    assert wrapped.all()


def test_an_exact_sum_over_a_small_node_tells_its_rows():
    """Whatever encrypts it: of sixteen rows with 16-bit g and h one subset fits; measured, ten of
    ten."""
    rng, told = np.random.default_rng(6), 0
    subsets = np.array(list(product((0, 1), repeat=16)))
    for _ in range(10):
        values = np.stack([rng.integers(-(2**16), 2**16, 16), rng.integers(0, 2**14, 16)], axis=1)
        x = rng.integers(0, 2, 16)
        fits = (subsets @ values == x @ values).all(axis=1)
        told += fits.sum() == 1 and (subsets[fits][0] == x).all()
    assert told == 10


@pytest.mark.parametrize("name", ["IterativeAffine", "RandomIterativeAffine", "affine"])
def test_affine_encryption_is_refused_by_its_name(name: str):
    with pytest.raises(RefusedScheme, match="a few known plaintexts decrypt all others"):
        Params.model_validate({"scheme": name})


def test_affine_encryption_falls_to_two_known_plaintexts():
    """c = a m + b modulo n, with n public or from a gcd: two pairs give a and b."""
    rng = np.random.default_rng(7)
    n = 2**61 - 1
    a, b = (int(x) for x in rng.integers(2, n, 2))
    plain = [int(m) for m in rng.integers(0, 2**40, 20)]
    cipher = [(a * m + b) % n for m in plain]
    slope = (cipher[0] - cipher[1]) * pow(plain[0] - plain[1], -1, n) % n
    shift = (cipher[0] - slope * plain[0]) % n
    assert [(c - shift) * pow(slope, -1, n) % n for c in cipher] == plain
