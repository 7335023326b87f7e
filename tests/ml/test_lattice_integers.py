"""Products of matrices of whole numbers: exact shares modulo 2^64, and nothing beside them."""

import re
from dataclasses import replace
from pathlib import Path

import gmpy2
import numpy as np
import pytest

from ml import wire
from ml.crypto.errors import (
    InvalidAnswer,
    InvalidCiphertext,
    InvalidKey,
    LatticeNoise,
    MaskReuse,
    PackingOverflow,
    ProductBudgetExceeded,
)
from ml.crypto.lattice import integers, opening, parameters, session, wide, wide_noise, wide_values
from ml.crypto.lattice.integers import (
    IntegerAnswer,
    IntegerHolder,
    IntegerKey,
    IntegerOwner,
    IntegerQuestion,
    ProductShape,
    session_of,
)
from ml.crypto.products import CountedBudget
from ml.crypto.threads import Threads
from ml.errors import ProtocolViolation

ONE = Threads(1)
N = wide.DEGREE
SESSION = bytes(range(32))


def some_residues(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [np.stack([rng.integers(0, q, N, np.uint64) for q in wide.PRIMES]) for _ in range(count)]
    )


def some_matrix(outputs: int, inputs: int, bits: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1 - 2**bits, 2**bits, (outputs, inputs))


def some_words(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def product_of(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return matrix.astype(np.uint64) @ vector


class Pair:
    """An owner and a holder of one session."""

    def __init__(self, budget: int = 1000, name: bytes = SESSION) -> None:
        self.owner = IntegerOwner(name, ONE)
        self.budget = CountedBudget(budget)
        self.holder = IntegerHolder(name, self.owner.key, budget=self.budget, threads=ONE)

    async def shares(
        self, matrix: np.ndarray, bits: int, vector: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        encoded = await self.holder.encode(matrix, bits)
        parts = await self.owner.ask(ProductShape(*matrix.shape), vector)
        answers, theirs = await self.holder.answer(encoded, parts)
        return await self.owner.read(answers), theirs


# --- the ring ---


def test_the_wide_modulus_splits_the_ring_and_takes_exact_shares_of_64_bits():
    assert all(gmpy2.is_prime(q) and (q - 1) % (2 * N) == 0 for q in wide.PRIMES)
    assert wide.MODULUS % 2**64 == 1
    assert wide.MODULUS.bit_length() == wide.BITS
    assert parameters.security_bits(wide.DEGREE, wide.BITS) >= 128


@pytest.mark.parametrize("fill", ["random", "largest"])
def test_wide_products_are_those_of_polynomials_modulo_x_n_plus_one(fill: str):
    a, b = some_residues(1), some_residues(1, seed=1)
    if fill == "largest":
        for k, q in enumerate(wide.PRIMES):
            a[:, k] = b[:, k] = q - 1
    assert (wide.inverse_transform(wide.transform(a.copy())) == a).all()
    product = wide.add_products(
        wide.transform(a.copy(), montgomery=True),
        wide.transform(b.copy()),
        np.zeros((3, N), np.uint64),
    )
    wide.inverse_transform(product.reshape(1, 3, N))
    for limb, q in enumerate(wide.PRIMES):
        x, y = a[0, limb].tolist(), b[0, limb].tolist()
        for k in (0, 7, N - 1):
            low = sum(x[i] * y[k - i] for i in range(k + 1))
            wrapped = sum(x[i] * y[N + k - i] for i in range(k + 1, N))
            assert int(product[limb, k]) == (low - wrapped) % q


def test_sums_of_very_many_wide_products_do_not_run_over():
    largest = np.stack([np.full((3, 1), 0, np.uint64)] * 1100)
    for k, q in enumerate(wide.PRIMES):
        largest[:, k] = q - 1
    found = wide.add_products(largest, largest, np.zeros((3, 1), np.uint64))
    for k, q in enumerate(wide.PRIMES):
        assert int(found[k, 0]) == 1100 * pow(2**64, -1, q) % q


def test_numbers_modulo_2_to_the_64_come_back_from_under_the_widest_noise():
    numbers = some_words(600)
    numbers[:3] = 0, 2**63, 2**64 - 1
    largest = 4 * (2**wide_noise.FLOOD_BITS - 1) + 2**60
    for noise in (largest, -largest):
        noisy = np.array([[noise % q] * 600 for q in wide.PRIMES], np.uint64)
        found, honest = wide_values.rounded(wide.add(wide_values.scaled(numbers), noisy))
        assert (found == numbers).all()
        assert honest


def test_wide_residues_travel_canonically_or_not_at_all():
    for shape in ((2, 3, N), (3, 5), (3, 1)):
        residues = some_residues(2)[: shape[0] if len(shape) == 3 else 1, :, : shape[-1]]
        residues = np.ascontiguousarray(residues.reshape(shape))
        data = wide_values.pack(residues)
        assert (wide_values.unpack(data, shape) == residues).all()
        assert wide_values.unpack(data[:-1], shape) is None
        residues[..., 2, 0] = wide.PRIMES[2]
        assert wide_values.unpack(wide_values.pack(residues), shape) is None


def test_uniform_wide_residues_are_below_their_primes_and_evenly_spread():
    found = wide_noise.uniform(SESSION)
    for k, q in enumerate(wide.PRIMES):
        assert int(found[k].max()) < q
        counts = np.bincount((found[k].astype(float) * 16 / q).astype(int), minlength=16)
        assert ((counts - N / 16) ** 2 / (N / 16)).sum() < 50
    assert (found[0] != wide_noise.uniform(bytes(32))[0]).mean() > 0.99


# --- products ---


@pytest.mark.parametrize(
    ("outputs", "inputs", "bits"),
    [(1, 1, 31), (3, 5, 16), (40, 700, 12), (700, 40, 12), (1, 9000, 20), (9000, 1, 20)],
)
async def test_shares_add_up_to_the_product_in_both_directions(
    outputs: int, inputs: int, bits: int
):
    matrix, vector = some_matrix(outputs, inputs, bits), some_words(inputs)
    ours, theirs = await Pair().shares(matrix, bits, vector)
    assert (ours + theirs == product_of(matrix, vector)).all()


@pytest.mark.parametrize("value", [2**63, 2**63 - 1, 2**64 - 1, 0])
async def test_products_of_the_largest_numbers_are_exact(value: int):
    matrix = np.full((2, 3000), 2**31 - 1)
    matrix[1] *= -1
    vector = np.full(3000, value, np.uint64)
    ours, theirs = await Pair().shares(matrix, 31, vector)
    assert (ours + theirs == product_of(matrix, vector)).all()


async def test_many_threads_compute_what_one_computes():
    matrix, vector = some_matrix(40, 20_000, 12), some_words(20_000)
    with Threads(3) as threads:
        owner = IntegerOwner(SESSION, threads)
        budget = CountedBudget(1)
        holder = IntegerHolder(SESSION, owner.key, budget=budget, threads=threads)
        encoded = await holder.encode(matrix, 12)
        answers, theirs = await holder.answer(encoded, await owner.ask(encoded.shape, vector))
        ours = await owner.read(answers)
    assert (ours + theirs == product_of(matrix, vector)).all()


async def test_a_result_for_the_owner_alone_is_no_share():
    pair, matrix, vector = Pair(), some_matrix(4, 6, 16), some_words(6)
    encoded = await pair.holder.encode(matrix, 16)
    parts = await pair.owner.ask(encoded.shape, vector)
    answers, theirs = await pair.holder.answer(encoded, parts, shared=False)
    assert not theirs.any()
    assert (await pair.owner.read(answers) == product_of(matrix, vector)).all()


async def test_either_share_alone_is_uniform():
    ours, theirs = await Pair().shares(np.zeros((4096, 1), np.int64), 8, some_words(1))
    for share in (ours, theirs):
        counts = np.bincount((share >> np.uint64(60)).astype(int), minlength=16)
        assert ((counts - 256) ** 2 / 256).sum() < 50


async def test_products_go_over_the_wire_in_as_many_parts_as_both_expect(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(integers, "_PER_MESSAGE", 2)
    pair, matrix, vector = Pair(), some_matrix(30, 9000, 8), some_words(9000)
    pair.holder = IntegerHolder(
        SESSION,
        wire.loads(wire.dumps(pair.owner.key), IntegerKey),
        budget=pair.budget,
        threads=ONE,
    )
    encoded = await pair.holder.encode(matrix, 8)
    parts = await pair.owner.ask(encoded.shape, vector)
    told = [wire.loads(wire.dumps(part), IntegerQuestion) for part in parts]
    answers, theirs = await pair.holder.answer(encoded, told)
    heard = [wire.loads(wire.dumps(part), IntegerAnswer) for part in answers]
    assert (len(parts), len(answers)) == (encoded.shape.questions, encoded.shape.answers)
    assert min(len(parts), len(answers)) > 1
    assert (await pair.owner.read(heard) + theirs == product_of(matrix, vector)).all()
    with pytest.raises(InvalidAnswer):
        await pair.owner.read(heard[:-1])


# --- what is refused ---


def test_noise_that_would_tell_the_matrix_is_refused():
    ProductShape(50, 1_000_000).check_noise(24)
    ProductShape(1_000_000, 50).check_noise(31)
    with pytest.raises(LatticeNoise):
        ProductShape(50, 1_000_000).check_noise(31)
    for bits in (0, 32):
        with pytest.raises(LatticeNoise):
            ProductShape(1, 1).check_noise(bits)


async def test_entries_beyond_their_bits_are_refused():
    with pytest.raises(PackingOverflow):
        await Pair().holder.encode(np.array([[1, -256]]), 8)


def test_sessions_without_fresh_nonces_of_both_are_refused():
    one, other = bytes(32), bytes([1]) * 32
    assert session_of("a", one, other) != session_of("b", one, other)
    for nonces in ((one,), (one, one), (one, other[:5])):
        with pytest.raises(ProtocolViolation):
            session_of("a", *nonces)
    with pytest.raises(ProtocolViolation):
        IntegerOwner(bytes(5), ONE)


async def test_the_budget_is_charged_before_a_product_is_answered():
    pair, matrix = Pair(budget=1), some_matrix(2, 2, 8)
    await pair.shares(matrix, 8, some_words(2))
    with pytest.raises(ProductBudgetExceeded):
        await pair.shares(matrix, 8, some_words(2))


async def test_a_key_masks_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(integers, "MAX_POLYNOMIALS", 2)
    owner = IntegerOwner(SESSION, ONE)
    await owner.ask(ProductShape(1, 1), some_words(1))
    await owner.ask(ProductShape(1, 1), some_words(1))
    with pytest.raises(MaskReuse):
        await owner.ask(ProductShape(1, 1), some_words(1))


async def test_a_retry_is_the_same_bytes_and_another_question_is_refused():
    pair, matrix = Pair(), some_matrix(3, 5, 8)
    encoded = await pair.holder.encode(matrix, 8)
    first = await pair.owner.ask(encoded.shape, some_words(5))
    answers, share = await pair.holder.answer(encoded, first)
    again, same = await pair.holder.answer(encoded, pair.owner.sent)
    assert [wire.dumps(a) for a in answers] == [wire.dumps(a) for a in again]
    assert (share == same).all()
    assert pair.budget.spent == 1
    other = IntegerOwner(SESSION, ONE)
    swapped = await other.ask(encoded.shape, some_words(5))
    with pytest.raises(MaskReuse):
        await pair.holder.answer(encoded, swapped)
    with pytest.raises(MaskReuse):
        await pair.holder.answer(encoded, first, shared=False)
    with pytest.raises(MaskReuse):
        await pair.holder.answer(await pair.holder.encode(matrix + 1, 16), first)
    await pair.owner.ask(encoded.shape, some_words(5))
    skipping = await pair.owner.ask(encoded.shape, some_words(5))
    for wrong in (skipping, [], [replace(first[0], product=2, start=1)]):
        with pytest.raises(InvalidCiphertext):
            await pair.holder.answer(encoded, wrong)
    with pytest.raises(MaskReuse):
        await pair.holder.answer(encoded, [replace(first[0], product=0)])


async def test_what_no_honest_party_sends_is_refused():
    pair, matrix = Pair(), some_matrix(3, 5, 8)
    with pytest.raises(InvalidAnswer):
        await pair.owner.read([])
    with pytest.raises(InvalidCiphertext):
        IntegerHolder(SESSION, IntegerKey(0, some_words(7)), budget=pair.budget, threads=ONE)
    encoded = await pair.holder.encode(matrix, 8)
    parts = await pair.owner.ask(encoded.shape, some_words(5))
    broken = parts[0].masked.copy()
    broken[0, 0] = 2**64 - 1
    with pytest.raises(InvalidCiphertext):
        await pair.holder.answer(encoded, [replace(parts[0], masked=broken)])
    pair = Pair()
    encoded = await pair.holder.encode(some_matrix(400, 5, 8), 8)
    parts = await pair.owner.ask(encoded.shape, some_words(5))
    [answer], _ = await pair.holder.answer(encoded, parts)
    wrong = answer.blind.copy()
    wrong[0, 0] ^= np.uint64(1)
    for told in ([replace(answer, blind=wrong)], [replace(answer, product=2)], []):
        with pytest.raises(InvalidAnswer):
            await pair.owner.read(told)
    other = Pair(name=bytes(32))
    [question] = await other.owner.ask(encoded.shape, some_words(5))
    [garbage], _ = await Pair().holder.answer(encoded, [question])
    with pytest.raises(InvalidAnswer):
        await other.owner.read([garbage])


# --- keys that are opened ---


async def test_a_key_that_is_left_when_all_others_were_opened_multiplies():
    seeds = [bytes([k]) * 32 for k in range(3)]
    committed = session.commit(SESSION, seeds)
    session.check_opened(SESSION, committed, 1, [seeds[0], seeds[2]])
    owner = IntegerOwner(SESSION, ONE, seed=seeds[1], candidate=1)
    holder = IntegerHolder(
        SESSION, owner.key, budget=CountedBudget(1), threads=ONE, committed=committed[1]
    )
    matrix, vector = some_matrix(3, 5, 8), some_words(5)
    encoded = await holder.encode(matrix, 8)
    answers, theirs = await holder.answer(encoded, await owner.ask(encoded.shape, vector))
    assert (await owner.read(answers) + theirs == product_of(matrix, vector)).all()
    with pytest.raises(InvalidKey):
        IntegerHolder(
            SESSION, owner.key, budget=CountedBudget(1), threads=ONE, committed=committed[0]
        )


def test_a_malformed_key_of_whole_numbers_is_found_when_it_is_opened():
    seeds = [bytes([k]) * 32 for k in range(2)]
    committed = list(session.commit(SESSION, seeds))
    bad = session.SessionKey.of(SESSION, seeds[0]).public.copy()
    bad[0, 0] ^= np.uint64(1)
    committed[0] = opening.committed_packed(wide_values.pack(bad))
    for kept, shown in ((1, [seeds[0]]), (1, []), (0, [seeds[0]])):
        with pytest.raises(InvalidKey):
            session.check_opened(SESSION, committed, kept, shown)
    session.check_opened(SESSION, committed, 0, [seeds[1]])


def test_secrets_of_a_session_are_not_told():
    owner = IntegerOwner(SESSION, ONE)
    assert repr(owner) == "IntegerOwner(...)"
    assert repr(session.SessionKey.of(SESSION, bytes(32))) == "SessionKey(...)"


# --- freshness and noise ---


async def test_the_same_vector_is_masked_afresh_and_the_same_row_answered_afresh():
    pair, matrix = Pair(), some_matrix(16, 5, 8)
    encoded = await pair.holder.encode(matrix, 8)
    vector, seen = some_words(5), []
    for _ in range(2):
        [question] = await pair.owner.ask(encoded.shape, vector)
        [answer], share = await pair.holder.answer(encoded, [question])
        seen.append((question.masked, answer.blind, answer.masked, share))
    for one, other in zip(*seen, strict=True):
        assert (one != other).mean() > 0.99
    [question] = await pair.owner.ask(encoded.shape, vector)
    blinds = []
    for _ in range(2):
        twin = IntegerHolder(SESSION, pair.owner.key, budget=pair.budget, threads=ONE)
        [answer], _ = await twin.answer(encoded, [replace(question, product=1)])
        blinds.append(answer.blind)
    assert (blinds[0] != blinds[1]).mean() > 0.99


def test_no_two_polynomials_of_a_session_are_expanded_alike():
    shape = ProductShape(9, 9000)
    seeds = [
        session.public_polynomial(SESSION, 0),
        session.public_polynomial(SESSION, 1),
        session.public_polynomial(bytes(32), 0),
        integers._expanded(SESSION, 1, shape, 0),
        integers._expanded(SESSION, 1, shape, 1),
        integers._expanded(SESSION, 2, shape, 0),
        integers._expanded(SESSION, 1, ProductShape(9, 9001), 0),
        integers._expanded(bytes(32), 1, shape, 0),
    ]
    assert len({seed.tobytes() for seed in seeds}) == len(seeds)


def centred(residues: np.ndarray) -> list[int]:
    """Residues (3, m) as whole numbers between -q/2 and q/2."""
    q = wide.MODULUS
    parts = [(q // p) * pow(q // p, -1, p) for p in wide.PRIMES]
    found = [sum(int(r) * p for r, p in zip(column, parts, strict=True)) for column in residues.T]
    return [(x + q // 2) % q - q // 2 for x in found]


async def noise_of(pair: Pair, encoded: integers.IntegerMatrix, vector: np.ndarray) -> list[float]:
    """What rounding takes off a result for the owner alone: it may know it."""
    seen: list[np.ndarray] = []
    [question] = await pair.owner.ask(encoded.shape, vector)
    answers, _ = await pair.holder.answer(encoded, [question], shared=False)
    known = wide_values.rounded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide_values, "rounded", lambda d: (seen.append(d), known(d))[1])
        results = await pair.owner.read(answers)
    scaled = centred(wide_values.scaled(np.resize(results, sum(d.shape[1] for d in seen))))
    found = [x for d in seen for x in centred(d)]
    q = wide.MODULUS
    return [float((d - s + q // 2) % q - q // 2) for d, s in zip(found, scaled, strict=True)]


async def test_the_noise_of_results_is_as_wide_as_predicted():
    pair = Pair()
    encoded = await pair.holder.encode(some_matrix(3 * N, 1, 16), 16)
    noise = np.array(await noise_of(pair, encoded, some_words(1)))
    assert abs(noise.std() / integers._FLOOD_SD - 1) < 0.02
    assert abs(noise.mean()) < 0.04 * integers._FLOOD_SD


async def told_by_noise(flooded: bool) -> tuple[np.ndarray, np.ndarray]:
    """A row, and its entries by least squares on noise that the owner knows."""
    matrix = some_matrix(1, 8, 31)
    with pytest.MonkeyPatch.context() as patch:
        if not flooded:
            patch.setattr(wide_noise, "flood", lambda key, n: np.zeros((wide.LIMBS, n), np.uint64))
        pair = Pair()
        encoded = await pair.holder.encode(matrix, 31)
        errors, noise = [], []
        drawn: list[np.ndarray] = []
        known = wide_noise.noise_polynomial

        def watched(key: bytes) -> np.ndarray:
            drawn.append(known(key))
            return drawn[-1].copy()

        patch.setattr(wide_noise, "noise_polynomial", watched)
        for _ in range(40):
            drawn.clear()
            noise += await noise_of(pair, encoded, np.zeros(8, np.uint64))
            e = [x - wide.PRIMES[0] if x > 100 else x for x in drawn[0][0, :8].tolist()]
            errors.append(e)
    # The place 7 of M(x) e'(x) is the row times the first eight numbers of e'.
    return matrix[0], np.linalg.lstsq(np.array(errors, float), np.array(noise), rcond=None)[0]


async def test_noise_under_the_flood_does_not_tell_entries_and_without_it_does():
    row, told = await told_by_noise(flooded=False)
    assert np.abs(told - row).max() < 200
    row, told = await told_by_noise(flooded=True)
    assert np.abs(told - row).min() > 2**60


def test_every_rule_of_the_page_names_tests_that_exist():
    root = Path(__file__).parents[2]
    page = (root / "docs/protocols/private_products.md").read_text("utf-8")
    table = page.partition("the rules and their tests")[2]
    rules = re.findall(r"^\| (\d+) .*", table, re.MULTILINE)
    assert [int(rule) for rule in rules] == list(range(1, 16))
    files = [*Path(__file__).parent.glob("test_lattice_*.py")]
    files.append(Path(__file__).with_name("test_hidden_nodes.py"))
    there = "".join(file.read_text("utf-8") for file in files)
    named = set(re.findall(r"`(test_\w+)`", table))
    assert {name for name in named if f"def {name}(" not in there} == set()
