"""Computing with shares: right for all inputs in range, and nothing to see on the way."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.crypto.beaver import Computer
from ml.crypto.correlations import Dealing, Hand, Shifted
from ml.crypto.dh import Secret
from ml.crypto.errors import InvalidPoint, WrongShare
from ml.crypto.fixed_point import FixedPoint
from ml.crypto.series import Series
from ml.errors import PartnerSilent, ProtocolViolation
from ml.federation import ARBITER, GUEST, HOST, Channel, Party, run_in_process
from ml.protocols import shares
from ml.protocols.shares import __main__ as check
from ml.testing import (
    check_conversation_is_declared,
    check_messages_say_what_they_reveal,
    check_no_role_speaks_for_another,
    check_page_shows_the_conversation,
    heard,
    view,
)

GUEST_A, HOST_B, HOST_C = Party(GUEST, "a"), Party(HOST, "b"), Party(HOST, "c")
DEALER = Party(ARBITER, "d")
PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "shares.md"
WORD = st.integers(-(2**62), 2**62 - 1)


async def run(
    compute: Callable[[Computer], Awaitable[object]],
    deal: Callable[[shares.ChannelDealer], Awaitable[object]],
    hosts: tuple[Party, ...] = (HOST_B,),
):
    """Both programs over channels; the outputs by party, and the transcript."""

    async def computing(ch: Channel) -> object:
        return await compute(await shares.join(ch))

    async def dealing(ch: Channel) -> None:
        await deal(await shares.deal(ch))

    programs = {GUEST: computing, HOST: computing, ARBITER: dealing}
    return await run_in_process(programs, dict.fromkeys((GUEST_A, *hosts, DEALER), ()))


def signed(values) -> np.ndarray:
    return np.array(values, np.int64).view(np.uint64)


def some(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


@pytest.mark.parametrize("hosts", [(HOST_B,), (HOST_B, HOST_C)])
async def test_products_of_shared_numbers_are_those_of_the_numbers(hosts):
    x, y, tall = some((3, 4), 1), some((3, 4), 2), some((4, 2), 3)

    async def compute(c: Computer):
        mine = c.own(x, 0), c.own(y, 1), c.own(tall, c.parties - 1)
        return (
            await c.reveal(await c.multiply(mine[0], mine[1])),
            await c.reveal(await c.matmul(mine[0], mine[2])),
            await c.reveal(mine[0] + c.constant(y)),
        )

    async def deal(d: shares.ChannelDealer):
        await d.multiply((3, 4))
        await d.reveal((3, 4))
        await d.matmul(3, 4, 2)
        await d.reveal((3, 2))
        await d.reveal((3, 4))

    outputs, _ = await run(compute, deal, hosts)
    for party in (GUEST_A, *hosts):
        product, matrix, total = outputs[party]
        assert (product == x * y).all()
        assert (matrix == x @ tall).all()
        assert (total == x + y).all()


@pytest.mark.parametrize("owner", [0, 1, 2])
async def test_a_fixed_matrix_is_multiplied_from_both_sides_in_any_rows(owner):
    x, w, tall = some((6, 3), 1), some((3,), 2), some((4, 2), 3)
    rows = np.array([5, 0, 2, 2])

    async def compute(c: Computer):
        matrix = await c.matrix(x if c.index == owner else None, x.shape, owner)
        spread = c.own(w, 0) + c.own(w, 1) + c.own(w, 2)
        first = await c.product(matrix, spread)
        second = await c.product(matrix, c.own(tall, 1), rows, transposed=True)
        third = await c.product(matrix, c.own(w, 0), slice(1, 3))
        return [await c.reveal(result) for result in (first, second, third)]

    async def deal(d: shares.ChannelDealer):
        matrix = await d.matrix((6, 3), owner)
        await d.product(matrix)
        await d.product(matrix, 2, rows, transposed=True)
        await d.product(matrix, rows=slice(1, 3))
        for shape in ((6,), (3, 2), (2,)):
            await d.reveal(shape)

    outputs, _ = await run(compute, deal, (HOST_B, HOST_C))
    first, second, third = outputs[HOST_C]
    assert (first == x @ (w * np.uint64(3))).all()
    assert (second == x[rows].T @ tall).all()
    assert (third == x[1:3] @ w).all()


async def truncated(values: list[int], bits: int) -> np.ndarray:
    words = signed(values)
    # Shares that run over wherever they can: each party has an arbitrary word.
    noise = some(words.shape, 9)

    async def compute(c: Computer):
        mine = noise if c.index else words - noise
        return await c.reveal(await c.truncate(mine, bits))

    async def deal(d: shares.ChannelDealer):
        await d.truncate(words.shape, bits)
        await d.reveal(words.shape)

    outputs, _ = await run(compute, deal)
    return outputs[GUEST_A].view(np.int64)


@given(st.lists(WORD, min_size=1, max_size=40), st.integers(1, 61))
@settings(max_examples=10, deadline=None)
async def test_truncation_is_right_or_one_more_over_its_whole_range(values, bits):
    found = await truncated(values, bits)
    assert set(found - (np.array(values, np.int64) >> bits)) <= {0, 1}


async def test_truncation_never_fails_at_the_edges():
    """Local truncation fails for half of these; here the mask's top bit tells what ran over."""
    edges = [-(2**62), 2**62 - 1, -1, 0, 1, -(2**61), 2**61] * 3000
    found = await truncated(edges, 20)
    assert set(found - (np.array(edges, np.int64) >> 20)) <= {0, 1}


@pytest.mark.parametrize(
    ("series", "function", "reach"),
    [
        (Series.sigmoid(20, 20), lambda x: 1 / (1 + np.exp(-x)), 16),
        (Series.sigmoid(20, 24, reach=8, tolerance=1e-5), lambda x: 1 / (1 + np.exp(-x)), 8),
        (Series.fit(np.exp, 4, 20, 20, 20), np.exp, 4),
    ],
)
async def test_a_function_of_a_shared_number_has_the_error_that_it_states(series, function, reach):
    x = np.linspace(-reach, reach, 1001)
    words = FixedPoint(series.bits_in).encode(x, bound=64)
    noise = some(words.shape)

    async def compute(c: Computer):
        return await c.reveal(await c.series(noise if c.index else words - noise, series), to=1)

    async def deal(d: shares.ChannelDealer):
        await d.series(words.shape, series)
        await d.reveal(words.shape)

    outputs, _ = await run(compute, deal)
    found = FixedPoint(series.bits_out).decode(outputs[HOST_B])
    exact = function(FixedPoint(series.bits_in).decode(words))
    assert np.abs(found - exact).max() <= series.error < 5e-4
    assert outputs[GUEST_A] is None


EDGES = [-(2**63), 2**63 - 1, -1, 0, 1, -(2**62), 2**62, 2**32, -(2**32)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60))
@settings(max_examples=6, deadline=None)
async def test_signs_are_right_for_every_word(values):
    numbers = np.array(EDGES + values, np.int64)
    words = numbers.view(np.uint64)
    noise = some(words.shape, 5)

    async def compute(c: Computer):
        mine = (words - noise - noise, noise, noise)[c.index]
        return await c.reveal(await c.negative(mine)), await c.reveal(await c.positive_part(mine))

    async def deal(d: shares.ChannelDealer):
        await d.negative(words.shape)
        await d.reveal(words.shape)
        await d.positive_part(words.shape)
        await d.reveal(words.shape)

    outputs, _ = await run(compute, deal, (HOST_B, HOST_C))
    signs, parts = outputs[HOST_C]
    assert (signs == (numbers < 0)).all()
    assert (parts.view(np.int64) == np.maximum(numbers, 0)).all()


async def fit_something(x: np.ndarray, w: np.ndarray, hosts=(HOST_B,)):
    """Everything that there is, once, over given data."""

    async def compute(c: Computer):
        matrix = await c.matrix(x if c.index == 0 else None, x.shape, 0)
        z = await c.product(matrix, c.own(w, 1))
        z = await c.series(await c.truncate(z, 20), Series.sigmoid(20, 20))
        z = await c.multiply(z, z)
        z = await c.negative(z)
        g = await c.product(matrix, z, transposed=True)
        return await c.reveal(await c.matmul(g.reshape(1, -1), g.reshape(-1, 1)), to=0)

    async def deal(d: shares.ChannelDealer):
        n, k = x.shape
        matrix = await d.matrix((n, k), 0)
        await d.product(matrix)
        await d.truncate((n,), 20)
        await d.series((n,), Series.sigmoid(20, 20))
        await d.multiply((n,))
        await d.negative((n,))
        await d.product(matrix, transposed=True)
        await d.matmul(1, k, 1)
        await d.reveal((1, 1))

    return await run(compute, deal, hosts)


async def test_numbers_with_tags_cross_the_same_channels():
    x, y = some((40,), 1), some((40,), 2)

    async def compute(ch: Channel):
        c = await shares.join_checked(ch)
        a = await c.input(x if c.index == 0 else None, x.shape, 0)
        b = await c.input(y if c.index == 2 else None, y.shape, 2)
        return await c.reveal(await c.multiply(a, b) - a)

    async def dealing(ch: Channel) -> None:
        d = await shares.deal_checked(ch)
        await d.input(x.shape, 0)
        await d.input(y.shape, 2)
        await d.multiply(x.shape)
        await d.reveal(x.shape)

    programs = {GUEST: compute, HOST: compute, ARBITER: dealing}
    parties = (GUEST_A, HOST_B, HOST_C, DEALER)
    outputs, said = await run_in_process(programs, dict.fromkeys(parties, ()))
    for party in parties[:3]:
        assert len(heard(said, party, shares.Revealed)) == 2
        assert (outputs[party] == x * y - x).all()
    assert {entry.address.kind for entry in said} < {kind.kind for kind in shares.MESSAGES}


async def test_a_guest_and_a_host_multiply_and_truncate_without_an_arbiter():
    x, y = signed([5, -(2**20)]), signed([2**30, 2**30])

    async def compute(ch: Channel):
        c = await shares.pair(ch)
        product = await c.multiply(c.own(x, 0), c.own(y, 1))
        return await c.reveal(await c.truncate(product, 10))

    outputs, said = await run_in_process({GUEST: compute, HOST: compute}, {GUEST_A: (), HOST_B: ()})
    for party in (GUEST_A, HOST_B):
        assert set(outputs[party].view(np.int64) - [5 * 2**20, -(2**40)]) <= {0, 1}
    kinds = {entry.address.kind for entry in said}
    assert kinds == {k.kind for k in (shares.Greeting, shares.Masked, shares.Revealed)}


async def test_three_parties_need_an_arbiter():
    parties = (GUEST_A, HOST_B, HOST_C)
    programs = {GUEST: shares.pair, HOST: shares.pair}
    with pytest.raises(ProtocolViolation, match="it must be 2"):
        await run_in_process(programs, dict.fromkeys(parties, ()))


async def test_the_conversation_is_that_of_its_page():
    _, said = await fit_something(some((50, 2)), some((2,)))
    check_messages_say_what_they_reveal(shares.MESSAGES)
    await check_no_role_speaks_for_another(shares.MESSAGES, (GUEST_A, HOST_B, DEALER))
    check_conversation_is_declared(said, shares.MESSAGES)
    check_page_shows_the_conversation(PAGE.read_text(), said, shares.MESSAGES)


async def test_only_the_revealed_number_reaches_its_receiver():
    _, said = await fit_something(some((50, 2)), some((2,)), (HOST_B, HOST_C))
    assert len(heard(said, GUEST_A, shares.Revealed)) == 2  # one from each host
    for host in (HOST_B, HOST_C):
        assert not heard(said, host, shares.Revealed)
    assert {entry.address.kind for entry in view(said, DEALER)} <= {shares.Taken.kind}


class Listening(shares._ChannelLink):
    """Keeps what a party gets, deciphered: its whole view but for its seed."""

    async def receive(self, count, frm, *, result=False):
        words = await super().receive(count, frm, result=result)
        self.views.setdefault((self.ch.me, frm), []).append((words.copy(), result))
        return words


async def test_what_crosses_is_masks_each_used_once(monkeypatch):
    """Over zeros, whatever crosses *is* its mask: none is zero, none comes twice."""
    Listening.views = {}
    monkeypatch.setattr(shares, "_ChannelLink", Listening)
    zeros = np.zeros((60, 2), np.uint64)
    _, said = await fit_something(zeros, zeros[0].copy())
    seen = np.concatenate([w for view in Listening.views.values() for w, told in view if not told])
    seen = np.concatenate([seen, *(m.words for m in heard(said, HOST_B, shares.Correction))])
    assert seen.size > 60 * 2 * 22
    assert len(np.unique(seen)) == seen.size
    ones = np.unpackbits(seen.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.01


async def test_the_arbiters_seeds_do_not_open_what_crosses(monkeypatch):
    """The first message is X minus the guest's stream, which the arbiter can expand, too."""
    seeds: list[tuple[bytes, ...]] = []

    class Kept(Dealing):
        def __init__(self, parties):
            super().__init__(parties)
            seeds.append(self.seeds)

    monkeypatch.setattr("ml.crypto.beaver.Dealing", Kept)
    x = some((60, 2))
    _, said = await fit_something(x, some((2,)))
    first = heard(said, HOST_B, shares.Masked)[0].words
    mask = Hand(0, 2, seeds[0][0])._stream.words(*x.shape).ravel()
    assert not (first + mask == x.ravel()).any()


async def test_two_runs_over_the_same_data_have_no_word_in_common():
    runs = [await fit_something(some((30, 2)), some((2,))) for _ in range(2)]
    sent = [np.concatenate([m.words for m in heard(r[1], HOST_B, shares.Masked)]) for r in runs]
    assert not set(sent[0].tolist()) & set(sent[1].tolist())


async def test_the_dealer_is_never_far_ahead(monkeypatch):
    monkeypatch.setattr(shares, "MARK_CORRECTIONS", 2)

    async def compute(c: Computer):
        x = c.own(some((3,)), 0)
        for _ in range(20):
            x = await c.multiply(x, x)

    async def deal(d: shares.ChannelDealer):
        for _ in range(20):
            await d.multiply((3,))

    _, said = await run(compute, deal)
    ahead = most = 0
    for entry in said:
        ahead += {shares.Correction.kind: 1, shares.Taken.kind: -2}.get(entry.address.kind, 0)
        most = max(most, ahead)
    assert 4 <= most <= 2 * (shares.AHEAD + 1)


async def test_long_arrays_are_cut_into_messages(monkeypatch):
    monkeypatch.setattr(shares, "PIECE_WORDS", 7)
    x, y = some((20,), 1), some((20,), 2)

    async def compute(c: Computer):
        return await c.reveal(await c.multiply(c.own(x, 0), c.own(y, 1)), to=0)

    async def deal(d: shares.ChannelDealer):
        await d.multiply((20,))
        await d.reveal((20,))

    outputs, said = await run(compute, deal)
    assert (outputs[GUEST_A] == x * y).all()
    assert [m.words.size for m in heard(said, HOST_B, shares.Masked)] == [7] * 5 + [5]


async def test_shares_of_another_size_are_refused():
    async def compute(c: Computer):
        x = np.zeros(3 + c.index, np.uint64)
        await c.multiply(x, x)

    async def deal(d: shares.ChannelDealer):
        await d.multiply((3,))

    with pytest.raises(WrongShare, match="this step needs"):
        await run(compute, deal)


async def test_a_key_of_small_order_is_refused(monkeypatch):
    monkeypatch.setattr(Secret, "public", property(lambda _: bytes(32)))
    with pytest.raises(InvalidPoint):
        await fit_something(some((3, 2)), some((2,)))


async def test_a_missing_party_is_named():
    async def compute(c: Computer):
        await c.reveal(np.zeros(2, np.uint64))

    async def joined(ch: Channel):
        await compute(await shares.join(ch))

    async def dealing(ch: Channel):
        await (await shares.deal(ch)).reveal((2,))

    programs = {GUEST: joined, HOST: joined, ARBITER: dealing}
    for absent in (GUEST_A, HOST_B, DEALER):
        others = {p: () for p in (GUEST_A, HOST_B, DEALER) if p != absent}
        with pytest.raises(PartnerSilent) as caught:
            await run_in_process(programs, others, absent=(absent,))
        assert caught.value.party == str(absent)


async def test_two_guests_do_not_compute():
    channel = Channel(GUEST_A, (GUEST_A, Party(GUEST, "e"), DEALER), None)
    with pytest.raises(ProtocolViolation, match="2 guests"):
        await shares.join(channel)


def test_a_correlation_of_three_fits_whatever_the_seeds():
    dealing = Dealing(3)
    hands = [Hand(k, 3, seed) for k, seed in enumerate(dealing.seeds)]
    shape = Shifted((50,), 20)
    correction = dealing.deal(shape).reshape(2, 50)
    drawn = sum(hand.drawn(shape)[0] for hand in hands)
    held = [hand.derived(shape) for hand in hands[:2]]
    assert (held[0][0] + held[1][0] + correction[0] == drawn >> np.uint64(20)).all()
    assert (held[0][1] + held[1][1] + correction[1] == drawn >> np.uint64(63)).all()


async def test_the_check_of_an_installation_notices_a_wrong_result(monkeypatch):
    assert await check.is_right()
    monkeypatch.setattr(check, "_SERIES", replace(check._SERIES, constant=0.4))
    assert not await check.is_right()
