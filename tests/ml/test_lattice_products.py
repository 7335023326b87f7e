"""Lattice products: exact for the owner, opaque to the holder, and no mask is used twice."""

from dataclasses import replace

import numpy as np
import pytest

from ml import wire
from ml.crypto.errors import (
    InvalidAnswer,
    InvalidCiphertext,
    MaskReuse,
    PackingOverflow,
    ProductBudgetExceeded,
)
from ml.crypto.lattice import __main__ as installation
from ml.crypto.lattice import parameters, randomness, ring, sums
from ml.crypto.lattice.agreement import Agreement, SecretKey, ids_digest
from ml.crypto.lattice.holder import LatticeHolder
from ml.crypto.lattice.owner import BatchKey, BlindRows, LatticeOwner, MaskedRows
from ml.crypto.lattice.parameters import Parameters
from ml.crypto.products import Answer, CountedBudget
from ml.crypto.threads import Threads
from ml.errors import ProtocolViolation, WireError
from ml.local.binning import Columns, SplitMatrix

ROWS, BITS = 300, 16
ONE = Threads(1)


def matrix_of(rows: int = ROWS, seed: int = 0) -> SplitMatrix:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 3))
    X[rng.random((rows, 3)) < 0.2] = np.nan
    return Columns.of(X, ("a", "b", "c"), max_bins=5).matrix


def agreement_of(rows: int = ROWS, holders: int = 1, fields: int = 2) -> Agreement:
    nonces = tuple(randomness.fresh_seed() for _ in range(holders + 1))
    ids = ids_digest([f"person {i}" for i in range(rows)])
    return Agreement(Parameters.of(rows, 2**BITS), fields, nonces, ids)


def values_of(rows: int = ROWS, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**BITS), 2**BITS + 1, (rows, 2))


class Pair:
    """An owner and a holder after the set-up and the beginning of a batch."""

    def __init__(self, rows: int = ROWS, budget: int = 10_000, **options: int) -> None:
        self.agreement, self.matrix = agreement_of(rows, **options), matrix_of(rows)
        self.owner = LatticeOwner(self.agreement, ONE)
        self.holder = LatticeHolder(
            self.agreement, self.matrix, budget=CountedBudget(budget), threads=ONE
        )
        self.order = np.random.default_rng(2).permutation(len(self.matrix))
        self.blind: list[BlindRows] = []

    async def begin(self, vectors: int = 32) -> None:
        key = self.owner.begin_batch(vectors)
        await self.owner.draw_masks()
        self.blind = [part async for part in self.holder.begin_batch(key, self.order)]
        await self.learn()

    async def learn(self) -> None:
        start = 0
        for part in self.blind:
            start += await self.owner.learn("holder", start, len(self.matrix), part)

    async def ask(self, values: np.ndarray, query: np.ndarray, queries: int) -> np.ndarray:
        await self.give(values, query, queries)
        return self.owner.read("holder", await self.holder.answer())

    async def give(self, values: np.ndarray, query: np.ndarray, queries: int) -> list[MaskedRows]:
        parts = [part async for part in self.owner.mask(values, query, queries)]
        self.holder.begin(queries)
        for part in parts:
            await self.holder.take(part)
        return parts

    def expected(self, values: np.ndarray, query: np.ndarray, queries: int) -> np.ndarray:
        found = [self.matrix.sums(values, np.flatnonzero(query == q)) for q in range(queries)]
        return np.stack(found, axis=1)[self.order]


@pytest.fixture
async def pair() -> Pair:
    pair = Pair()
    await pair.holder.set_up()
    await pair.begin()
    return pair


EVERYWHERE = np.zeros(ROWS, np.int64)


# --- exact ---


async def test_the_owner_reads_the_product_of_every_query(pair: Pair):
    rng = np.random.default_rng(3)
    for seed, queries in enumerate((1, 3, 4)):
        values, query = values_of(seed=seed), rng.integers(-1, queries, ROWS)
        found = await pair.ask(values, query, queries)
        assert (found == pair.expected(values, query, queries)).all()


async def test_the_next_batch_serves_with_the_same_set_up(pair: Pair):
    for seed in range(2):
        await pair.begin(8)
        values = values_of(seed=seed)
        found = await pair.ask(values, EVERYWHERE, 1)
        assert (found == pair.expected(values, EVERYWHERE, 1)).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rows", [50, 5000])
async def test_the_largest_sums_are_exact_where_all_rows_are_in_one_bin(rows: int, sign: int):
    pair = Pair(rows)
    bins = np.zeros((rows, 1), np.uint8)
    bins[0] = 1
    one = np.zeros(1, np.int64)
    pair.matrix = SplitMatrix(bins, (2,), one, one, one - 1)  # upto slot 0: all rows but one
    pair.holder = LatticeHolder(
        pair.agreement, pair.matrix, budget=CountedBudget(10**6), threads=ONE
    )
    pair.order = np.arange(1)
    await pair.holder.set_up()
    await pair.begin(512)
    values = np.full((rows, 2), sign * 2**BITS)
    found = await pair.ask(values, np.zeros(rows, np.int64), 256)
    assert (found[:, 0] == sign * (rows - 1) * 2**BITS).all()
    assert (found[:, 1:] == 0).all()


async def test_one_masked_vector_serves_two_holders(pair: Pair):
    other = LatticeHolder(pair.agreement, matrix_of(seed=7), budget=CountedBudget(100), threads=ONE)
    await other.set_up()
    key = pair.owner.begin_batch(8)
    await pair.owner.draw_masks()
    order = np.arange(len(matrix_of(seed=7)))
    pair.blind = [part async for part in pair.holder.begin_batch(key, pair.order)]
    await pair.learn()
    start = 0
    async for part in other.begin_batch(key, order):
        start += await pair.owner.learn("other", start, len(order), part)
    values = values_of()
    parts = await pair.give(values, EVERYWHERE, 1)
    other.begin(1)
    for masked in parts:
        await other.take(masked)
    mine = pair.owner.read("holder", await pair.holder.answer())
    theirs = pair.owner.read("other", await other.answer())
    assert (mine == pair.expected(values, EVERYWHERE, 1)).all()
    assert (theirs[:, 0] == matrix_of(seed=7).sums(values, np.arange(ROWS))).all()


async def test_threads_compute_what_one_thread_computes(pair: Pair):
    with Threads(3) as three:
        pair.owner = LatticeOwner(pair.agreement, three)
        pair.holder = LatticeHolder(
            pair.agreement, pair.matrix, budget=CountedBudget(100), threads=three
        )
        await pair.holder.set_up()
        await pair.begin()
        values = values_of()
        found = await pair.ask(values, EVERYWHERE, 1)
    assert (found == pair.expected(values, EVERYWHERE, 1)).all()


async def test_the_noise_of_sums_has_the_predicted_spread(pair: Pair):
    """Missing or constant noise anywhere would show here: the reader needs none of it."""
    await pair.begin(4096)
    values = np.zeros((ROWS, 2), np.int64)
    await pair.give(values, EVERYWHERE, 2048)
    answer = await pair.holder.answer()
    shape = (len(pair.matrix), 4096)
    found = sums.unpack(np.frombuffer(answer.data.tobytes(), "<u8"), shape)
    assert found is not None
    noise = ring.centred(ring.subtract(found, pair.owner._known["holder"]))
    known = pair.agreement.parameters
    assert noise.std() == pytest.approx(known.flood, rel=0.02)
    assert np.abs(noise).max() < known.largest_noise
    assert np.abs(noise.mean(axis=1)).max() < known.flood / 8


async def test_values_beyond_the_agreed_bound_are_not_sent(pair: Pair):
    values = values_of()
    values[17, 1] = -(2**BITS) - 1
    with pytest.raises(PackingOverflow, match="beyond the agreed bound"):
        await pair.give(values, EVERYWHERE, 1)
    assert pair.owner.left == 32


# --- no mask twice ---


async def test_a_question_that_was_never_sent_has_spent_its_masks(pair: Pair):
    stream = pair.owner.mask(values_of(), EVERYWHERE, 1)
    await anext(stream)
    await stream.aclose()
    assert pair.owner.left == 30
    [again] = [part async for part in pair.owner.mask(values_of(), EVERYWHERE, 1)]
    assert again.first == 2


async def test_no_more_vectors_are_masked_than_the_batch_has(pair: Pair):
    with pytest.raises(MaskReuse, match="34 vectors asked, 32 masks are left"):
        await pair.give(values_of(), EVERYWHERE, 17)
    with pytest.raises(ValueError, match="one key masks 1 to 4096"):
        pair.owner.begin_batch(4097)


def smallness(first: np.ndarray, second: np.ndarray, delta: int) -> float:
    """How often the difference of two masked vectors is a multiple of delta up to small noise."""
    d = ring.centred(ring.subtract(first, second))
    return float((np.abs(d - (d + delta // 2) // delta * delta) < 64).mean())


async def recorded(owner: LatticeOwner, values: np.ndarray) -> np.ndarray:
    parts = [part async for part in owner.mask(values, EVERYWHERE, 1)]
    shape = (ROWS, 2)
    return np.concatenate(
        [found for p in parts if (found := sums.unpack(p.data, shape)) is not None]
    )


async def test_masks_of_vectors_batches_and_restarts_are_never_the_same(pair: Pair):
    """Two vectors under one mask differ by a multiple of delta and small noise."""
    delta = pair.agreement.parameters.delta
    restarted = LatticeOwner(pair.agreement, ONE)  # after a crash: nothing but the agreement
    seen = [await recorded(pair.owner, values_of(seed=s)) for s in range(3)]
    pair.owner.begin_batch(4)
    await pair.owner.draw_masks()
    seen.append(await recorded(pair.owner, values_of(seed=0)))
    restarted.begin_batch(4)
    await restarted.draw_masks()
    seen.append(await recorded(restarted, values_of(seed=0)))
    for i in range(len(seen)):
        for j in range(i):
            assert smallness(seen[i], seen[j], delta) < 0.01
    # What the detector is for: the same mask under another vector.
    reused = ring.add(seen[0], ring.residues(values_of(seed=9) * delta))
    assert smallness(seen[0], reused, delta) == 1.0


async def test_a_holder_begins_no_batch_again(pair: Pair):
    crashed = LatticeOwner(pair.agreement, ONE)
    key = crashed.begin_batch(4)
    await crashed.draw_masks()
    with pytest.raises(MaskReuse, match="batch 0 begins after batch 0"):
        [part async for part in pair.holder.begin_batch(key, pair.order)]


async def test_a_retry_is_the_same_bytes_on_both_sides(pair: Pair):
    parts = await pair.give(values_of(), EVERYWHERE, 1)
    assert [wire.dumps(p) for p in pair.owner.sent] == [wire.dumps(p) for p in parts]
    answer = await pair.holder.answer()
    for part in pair.owner.sent:  # sent again after the answer: passed over
        await pair.holder.take(part)
    assert wire.dumps(await pair.holder.answer()) == wire.dumps(answer)
    found = pair.owner.read("holder", answer)
    assert (found == pair.expected(values_of(), EVERYWHERE, 1)).all()


async def test_a_holder_takes_no_second_vector_under_a_mask(pair: Pair):
    [part] = await pair.give(values_of(), EVERYWHERE, 1)
    other = replace(part, data=sums.pack(np.zeros((ROWS, 2), np.uint64)))
    with pytest.raises(MaskReuse, match="a second vector under masks"):
        await pair.holder.take(other)
    await pair.holder.answer()
    pair.holder.begin(1)
    with pytest.raises(MaskReuse, match="a second vector under masks"):
        await pair.holder.take(other)


async def test_what_a_holder_sends_is_fresh_in_every_batch(pair: Pair):
    first = pair.blind
    await pair.begin()
    for a, b in zip(first, pair.blind, strict=True):
        assert (a.data != b.data).mean() > 0.999
    # Also the differences of splits, in which a secret that is used twice would cancel.
    rows = [sums.unpack(p.data, (len(pair.matrix), ring.DEGREE)) for p in (*first, *pair.blind)]
    differences = [ring.subtract(r[1:], r[:-1]) for r in rows if r is not None]
    assert (differences[0] != differences[1]).mean() > 0.999


async def test_the_owners_polynomials_have_nothing_in_common(pair: Pair):
    """A public key that were a row's polynomial would decrypt that row (and no seed is chosen)."""
    a = randomness.tile(pair.agreement.matrix_key, 0, 240)
    public = [pair.agreement.public_polynomial(batch) for batch in range(3)]
    for one in public:
        assert (a != one).mean() > 0.999
    assert (public[0] != public[1]).mean() > 0.999
    assert pair.agreement.public_polynomial(0).tolist() == public[0].tolist()


# --- what both sides must agree on ---


def test_other_rows_parameters_or_nonces_are_another_agreement():
    known = agreement_of()
    others = [
        replace(known, ids=ids_digest(["person 1", "person 0"])),
        replace(known, parameters=Parameters.of(ROWS, 2**15)),
        replace(known, parameters=Parameters.of(ROWS - 1, 2**16)),
        replace(known, fields=3),
        replace(known, nonces=known.nonces[::-1]),
    ]
    assert len({known.digest, *(other.digest for other in others)}) == 6
    assert len({known.matrix_key, *(other.matrix_key for other in others)}) == 6


@pytest.mark.parametrize("nonces", [(b"a" * 32, b"a" * 32), (b"a" * 31, b"b" * 32)])
def test_nonces_are_long_and_different(nonces: tuple[bytes, ...]):
    with pytest.raises(ProtocolViolation, match="nonces"):
        replace(agreement_of(), nonces=nonces)


def test_a_holder_with_other_rows_does_not_begin():
    with pytest.raises(ProtocolViolation, match="the guest has 300 rows, we have 299"):
        LatticeHolder(agreement_of(), matrix_of(299), budget=CountedBudget(1), threads=ONE)


# --- what is refused ---


async def test_a_holder_refuses_what_is_no_residue_or_not_due(pair: Pair):
    parts = [part async for part in pair.owner.mask(values_of(), EVERYWHERE, 1)]
    pair.holder.begin(1)
    [part] = parts
    too_large = part.data.copy()
    too_large[0] |= np.uint64(2**56 - 1)
    for bad in (
        replace(part, data=too_large),
        replace(part, data=part.data[:-1]),
        replace(part, start=8),
        replace(part, first=2),
    ):
        with pytest.raises(InvalidCiphertext):
            await pair.holder.take(bad)
    with pytest.raises(MaskReuse):
        await pair.holder.take(replace(part, batch=1))
    with pytest.raises(InvalidCiphertext, match="0 of 300 rows"):
        await pair.holder.answer()


async def test_a_holder_refuses_a_key_that_is_none(pair: Pair):
    key = pair.owner.begin_batch(4)
    await pair.owner.draw_masks()
    for bad in (replace(key, vectors=4097), replace(key, public=key.public[:-1])):
        with pytest.raises(InvalidCiphertext):
            [part async for part in pair.holder.begin_batch(bad, pair.order)]


async def test_an_owner_refuses_polynomials_and_sums_that_no_holder_sends(pair: Pair):
    [blind] = pair.blind
    for bad in (
        replace(blind, start=1),
        replace(blind, batch=7),
        replace(blind, data=blind.data[:-7]),
    ):
        with pytest.raises(InvalidAnswer):
            await pair.owner.learn("holder", 0, len(pair.matrix), bad)
    await pair.give(values_of(), EVERYWHERE, 1)
    answer = await pair.holder.answer()
    noise = np.random.default_rng(0).integers(0, ring.MODULUS, (len(pair.matrix), 2), np.uint64)
    for data in (answer.data[:-1], sums.pack(noise).view(np.uint8).reshape(-1, 8)):
        with pytest.raises(InvalidAnswer):
            pair.owner.read("holder", Answer(data))


async def test_unit_vectors_stop_at_the_budget():
    pair = Pair(budget=9)
    await pair.holder.set_up()
    await pair.begin()
    for row in range(4):
        values = np.zeros((ROWS, 2), np.int64)
        values[row] = 1
        await pair.ask(values, EVERYWHERE, 1)
    with pytest.raises(ProductBudgetExceeded, match="2 more vectors asked, 1 of 9 left"):
        await pair.ask(values, EVERYWHERE, 1)


def test_secrets_are_not_told_and_do_not_cross():
    key = SecretKey.of(randomness.fresh_seed(), randomness.polynomial(bytes(32)))
    assert repr(key) == "SecretKey(...)"
    with pytest.raises(WireError):
        wire.dumps(key)
    for kind in (BatchKey, BlindRows, MaskedRows):
        assert wire.is_registered(kind)


def test_a_key_is_small_by_construction():
    a = randomness.polynomial(bytes(32))
    key = SecretKey.of(randomness.fresh_seed(), a)
    k = ring.centred(ring.inverse_transform(key.k.copy().reshape(1, -1)))
    e = ring.add(key.public.reshape(1, -1), ring.Factor(key.k).times(a.reshape(1, -1)))
    assert set(np.unique(k).tolist()) == {-1, 0, 1}
    assert np.abs(ring.centred(ring.inverse_transform(e))).max() <= parameters.NOISE_HALF_BITS


def test_an_installation_checks_one_product(capsys: pytest.CaptureFixture[str]):
    assert installation.main() == 0
    assert "exact" in capsys.readouterr().out
