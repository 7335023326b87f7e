"""Private products: exact for the owner, opaque to the holder, and never more than the budget."""

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml import wire
from ml.crypto import products
from ml.crypto.errors import (
    InvalidAnswer,
    InvalidCiphertext,
    PackingOverflow,
    ProductBudgetExceeded,
    WeakKey,
)
from ml.crypto.paillier import PrivateKey, PublicKey
from ml.crypto.paillier_products import PaillierHolder, PaillierOwner
from ml.crypto.products import Answer, CountedBudget, Opening, Vectors
from ml.crypto.workers import Workers
from ml.errors import ProtocolViolation, RefusedScheme, WireError
from ml.local.binning import Columns, SplitMatrix

HERE = Workers(0)
VALUE_BITS = (20, 8, 1)


def matrix_of(n: int, seed: int = 0) -> SplitMatrix:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    X[rng.random((n, 3)) < 0.2] = np.nan
    return Columns.of(X, ("a", "b", "c"), max_bins=5).matrix


def values_of(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, 2**bits, n) for bits in VALUE_BITS], axis=1)


class Pair:
    """An owner and a holder with vectors of 60 rows handed over."""

    def __init__(self, key: PrivateKey, rows: int = 60, budget: int = 10_000) -> None:
        self.matrix, self.values = matrix_of(rows), values_of(rows)
        self.owner = PaillierOwner(key, rows, VALUE_BITS, HERE)
        self.budget = CountedBudget(budget)
        self.holder = self.new_holder(self.owner.opening)
        self.order = np.random.default_rng(2).permutation(len(self.matrix))
        self.sent: list[Vectors] = []

    def new_holder(self, opening: Opening, key_bits: int = 2048) -> PaillierHolder:
        return PaillierHolder(
            opening, self.matrix, key_bits=key_bits, budget=self.budget, workers=HERE
        )

    async def hand_over(self) -> None:
        async for part in self.owner.encrypt(self.values):
            self.sent.append(part)
            await self.holder.take(part)

    async def ask(self, *queries: np.ndarray) -> list[np.ndarray]:
        answer = await self.holder.answer(queries, self.order)
        return await self.owner.read(answer, len(queries), len(self.order))

    def expected(self, rows: np.ndarray) -> np.ndarray:
        return self.matrix.sums(self.values, rows)[self.order]


@pytest.fixture
async def pair(paillier_key: PrivateKey) -> Pair:
    pair = Pair(paillier_key)
    await pair.hand_over()
    return pair


# --- exact ---


async def test_the_owner_reads_the_product_of_every_query(pair: Pair):
    queries = [np.arange(60), np.arange(0, 60, 3), np.array([17])]
    for found, rows in zip(await pair.ask(*queries), queries, strict=True):
        assert (found == pair.expected(rows)).all()


async def test_parts_of_the_rows_add_up_to_the_whole(pair: Pair):
    some = np.flatnonzero(np.random.default_rng(3).random(60) < 0.4)
    rest = np.setdiff1d(np.arange(60), some)
    whole, part, other = await pair.ask(np.arange(60), some, rest)
    assert (whole == part + other).all()


async def test_fresh_vectors_take_the_place_of_the_ones_before(pair: Pair):
    pair.values = values_of(60, seed=9)
    pair.holder.begin()
    await pair.hand_over()
    [found] = await pair.ask(np.arange(60))
    assert (found == pair.expected(np.arange(60))).all()


async def test_processes_compute_what_one_thread_computes(paillier_key: PrivateKey):
    pair = Pair(paillier_key)
    with Workers(2) as two:
        pair.owner = PaillierOwner(paillier_key, 60, VALUE_BITS, two)
        pair.holder = PaillierHolder(
            pair.owner.opening, pair.matrix, key_bits=2048, budget=pair.budget, workers=two
        )
        await pair.hand_over()
        rows = np.arange(7, 50)
        found, whole = await pair.ask(rows, np.arange(60))
    assert (found == pair.expected(rows)).all()
    assert (whole == pair.expected(np.arange(60))).all()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
async def test_the_largest_values_do_not_overflow(paillier_key: PrivateKey, seed: int):
    pair = Pair(paillier_key, rows=20)
    pair.values = np.array([[2**bits - 1 for bits in VALUE_BITS]] * 20)
    await pair.hand_over()
    rows = np.flatnonzero(np.random.default_rng(seed).random(20) < 0.8)
    [found] = await pair.ask(rows if len(rows) else np.array([0]))
    assert (found == pair.expected(rows if len(rows) else np.array([0]))).all()


async def test_a_matrix_without_splits_has_an_empty_answer(paillier_key: PrivateKey):
    pair = Pair(paillier_key, rows=4)
    pair.matrix = Columns.of(np.array([[0.0], [0], [0], [1]]), ("a",), min_bin_rows=2).matrix
    pair.order = np.empty(0, np.int64)
    pair.holder = pair.new_holder(pair.owner.opening)
    await pair.hand_over()
    [found] = await pair.ask(np.arange(4))
    assert found.shape == (0, 3)


# --- opaque ---


async def test_an_answer_is_not_the_product_of_the_ciphertexts_that_the_owner_knows(pair: Pair):
    """Without re-randomisation it would be, and the owner could try out which rows are in it."""
    public, rows = pair.owner._key.public, np.arange(0, 60, 2)
    pair.order = pair.order[:1]  # one output: no packing, the bare sum
    [split] = pair.order.tolist()
    sent = public.from_bytes(np.concatenate([part.data for part in pair.sent]))
    known = mpz(1)
    for row in rows[pair.matrix.left(split, rows)]:
        known = public.add(known, sent[row])
    [returned] = public.from_bytes((await pair.holder.answer([rows], pair.order)).data)
    assert pair.owner._key.decrypt(returned) == pair.owner._key.decrypt(known)
    ratio = returned * gmpy2.invert(known, public.n_squared) % public.n_squared
    assert ratio != 1


async def test_the_same_answer_is_never_given_twice(pair: Pair):
    once = await pair.holder.answer([np.arange(60)], pair.order)
    again = await pair.holder.answer([np.arange(60)], pair.order)
    assert not (once.data == again.data).all(axis=1).any()
    [a], [b] = [await pair.owner.read(x, 1, len(pair.order)) for x in (once, again)]
    assert (a == b).all()


async def test_equal_values_are_sent_as_different_ciphertexts_of_equal_size(
    paillier_key: PrivateKey,
):
    pair = Pair(paillier_key)
    pair.values = np.zeros((60, 3), np.int64)
    await pair.hand_over()
    [part] = pair.sent
    assert part.data.shape == (60, 512)
    assert len({row.tobytes() for row in part.data}) == 60


# --- the budget ---


async def test_every_field_of_every_query_is_charged(pair: Pair):
    await pair.ask(np.arange(60), np.arange(30))
    assert pair.budget.spent == 2 * len(VALUE_BITS)


async def test_unit_vectors_stop_at_the_budget(paillier_key: PrivateKey):
    pair = Pair(paillier_key, budget=6 * len(VALUE_BITS))
    await pair.hand_over()
    for row in range(6):
        await pair.ask(np.array([row]))
    for row in range(6, 60):
        with pytest.raises(ProductBudgetExceeded, match="3 more vectors asked, 0 of 18 left"):
            await pair.ask(np.array([row]))


async def test_many_queries_at_once_are_answered_together_or_not_at_all(paillier_key: PrivateKey):
    pair = Pair(paillier_key, budget=10)
    await pair.hand_over()
    with pytest.raises(ProductBudgetExceeded):
        await pair.ask(*[np.array([row]) for row in range(60)])
    assert pair.budget.spent == 0


# --- what is refused ---


@pytest.mark.parametrize(
    "name", ["IterativeAffine", "iterative_affine", "RandomIterativeAffine", "plain", "rot13"]
)
def test_broken_and_unknown_schemes_are_refused_names(name: str):
    with pytest.raises(RefusedScheme, match="use 'paillier'"):
        products.check_scheme(name)


def test_every_scheme_that_is_named_is_allowed():
    for name in products.SCHEMES:
        products.check_scheme(name)


async def test_a_ciphertext_out_of_range_is_refused_before_it_is_used(pair: Pair):
    public: PublicKey = pair.owner._key.public
    [part] = pair.sent
    for bad in (0, public.n, int(public.n_squared)):
        data = part.data.copy()
        data[5] = np.frombuffer(bad.to_bytes(512, "big"), np.uint8)
        pair.holder.begin()
        with pytest.raises(InvalidCiphertext):
            await pair.holder.take(Vectors(0, data))


async def test_rows_out_of_turn_or_too_many_are_refused(pair: Pair):
    [part] = pair.sent
    pair.holder.begin()
    for bad in (
        Vectors(1, part.data),
        Vectors(0, part.data[:0]),
        Vectors(0, np.concatenate([part.data, part.data[:1]])),
        Vectors(0, part.data[:, :-1]),
    ):
        with pytest.raises(InvalidCiphertext):
            await pair.holder.take(bad)
    await pair.holder.take(Vectors(0, part.data[:40]))
    with pytest.raises(InvalidCiphertext, match="40 of 60 rows"):
        await pair.holder.answer([np.arange(60)], pair.order)


async def test_a_query_over_no_rows_is_refused(pair: Pair):
    with pytest.raises(ProtocolViolation, match="no rows"):
        await pair.ask(np.empty(0, np.int64))


async def test_a_tampered_answer_is_refused(pair: Pair):
    public: PublicKey = pair.owner._key.public
    answer = await pair.holder.answer([np.arange(60)], pair.order)
    with pytest.raises(InvalidAnswer, match="needed are"):
        await pair.owner.read(Answer(answer.data[:-1]), 1, len(pair.order))
    data = answer.data.copy()
    data[0] = 255
    with pytest.raises(InvalidCiphertext):
        await pair.owner.read(Answer(data), 1, len(pair.order))
    data[0] = public.to_bytes([public.encrypt(public.n - 1)])[0]
    with pytest.raises(InvalidAnswer, match="bits"):
        await pair.owner.read(Answer(data), 1, len(pair.order))


async def test_values_that_do_not_fit_are_not_encrypted(pair: Pair):
    pair.values[3, 0] = 2**20
    with pytest.raises(PackingOverflow):
        await pair.hand_over()


def test_a_holder_refuses_another_key_than_agreed(pair: Pair):
    with pytest.raises(WeakKey, match="2048 bits; allowed are 3072"):
        pair.new_holder(pair.owner.opening, key_bits=3072)


def test_a_holder_refuses_what_is_no_key(pair: Pair):
    opening = pair.owner.opening
    with pytest.raises(WireError):
        pair.new_holder(Opening("paillier", 60, VALUE_BITS, b"\x01junk"))
    with pytest.raises(WeakKey):
        pair.new_holder(Opening("paillier", 60, VALUE_BITS, wire.dumps(PublicKey(77))))
    with pytest.raises(PackingOverflow):
        pair.new_holder(Opening("paillier", 60, (62,), opening.parameters))


def test_a_holder_refuses_another_number_of_rows(pair: Pair):
    with pytest.raises(ProtocolViolation, match="61 rows, we have 60"):
        pair.new_holder(Opening("paillier", 61, VALUE_BITS, pair.owner.opening.parameters))
