"""Shares with tags: right, hidden, and whoever sends anything else is caught."""

import asyncio
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.crypto import wide
from ml.crypto.authenticated import CheckedComputer, CheckedDealer
from ml.crypto.errors import BrokenComputation, CryptoError, WrongShare, WrongTag

BIG = st.integers(0, 2**128 - 1)


def pairs(numbers: list[int]) -> np.ndarray:
    return np.array([[n % 2**64, n >> 64] for n in numbers], np.uint64)


@given(BIG, BIG)
def test_wide_numbers_are_integers_modulo_2_to_the_128(a, b):
    for operation, expected in (
        (wide.add, a + b),
        (wide.subtract, a - b),
        (wide.multiply, a * b),
    ):
        assert (operation(pairs([a]), pairs([b])) == pairs([expected % 2**128])).all()


class Net:
    """Queues between parties, and everything that went through them."""

    def __init__(self) -> None:
        self.boxes: dict[tuple, asyncio.Queue] = {}
        self.sent: list[tuple[int, int, np.ndarray]] = []

    def box(self, *name) -> asyncio.Queue:
        return self.boxes.setdefault(name, asyncio.Queue())


class Wire:
    """One party's link; ``lie`` may change what it sends, by the number of the message."""

    def __init__(self, net: Net, index: int, lie=None) -> None:
        self.net, self.index, self.lie, self.count = net, index, lie, 0

    async def send(self, words, to, *, result=False):
        self.count += 1
        words = words.copy() if self.lie is None else self.lie(self.count, words.copy())
        self.net.sent.append((self.index, to, words))
        await self.net.box(self.index, to).put(words)

    async def receive(self, count, frm, *, result=False):
        return await self.net.box(frm, self.index).get()

    async def dealt(self, count):
        return await self.net.box("dealer").get()


def some(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, shape, dtype=np.uint64)


async def run(x, y, parties=2, lie=None):
    """x y + x of an x of party 0 and a y of the last party, at every party."""
    net, dealer = Net(), CheckedDealer(parties)
    shape = x.shape
    for correction in (
        dealer.input(shape, 0),
        dealer.input(shape, parties - 1),
        dealer.multiply(shape),
        dealer.reveal(shape),
    ):
        await net.box("dealer").put(correction)

    async def play(index: int):
        link = Wire(net, index, lie if index == 1 else None)
        c = CheckedComputer(index, parties, dealer.seeds[index], link)
        a = await c.input(x if index == 0 else None, shape, 0)
        b = await c.input(y if index == parties - 1 else None, shape, parties - 1)
        return await c.reveal(await c.multiply(a, b) + a)

    return await outcomes(
        [play(k) for k in range(parties)], honest=parties - (lie is not None)
    ), net


async def outcomes(plays, honest: int) -> list:
    """What the first parties end with; the others, who may wait in vain then, are cancelled."""
    tasks = [asyncio.create_task(play) for play in plays]
    found = await asyncio.gather(*tasks[:honest], return_exceptions=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


@pytest.mark.parametrize("parties", [2, 3])
async def test_all_learn_the_result(parties):
    x, y = some(1, 4, 3), some(2, 4, 3)
    outcome, _ = await run(x, y, parties)
    for result in outcome:
        assert (result == x * y + x).all()


def changed(at: int, add: int, count: int, words: np.ndarray) -> np.ndarray:
    if count == at:
        words[:1] += np.uint64(add)
    return words


# What party 1 sends to party 0, in order: its input, d and e of the product, then commitment and
# opening of the coin and of the check, the result, and the same again.
MESSAGES = range(1, 12)


async def test_the_messages_that_the_next_test_changes_are_all_there_are():
    _, net = await run(some(1, 2), some(2, 2))
    assert len([1 for sender, _, _ in net.sent if sender == 1]) == len(MESSAGES)


@pytest.mark.parametrize("add", [1, 2**63])
@pytest.mark.parametrize("at", [at for at in MESSAGES if at != 1])
async def test_whoever_sends_anything_else_is_caught(at, add):
    """But for its own input, which is its to choose."""
    outcome, _ = await run(some(1, 2), some(2, 2), lie=partial(changed, at, add))
    assert isinstance(outcome[0], WrongTag)


async def test_an_input_told_differently_to_two_parties_is_caught():
    """Party 1 of 3 sends its input to party 0 and, otherwise, to party 2."""
    y = some(2, 2)
    net, dealer = Net(), CheckedDealer(3)
    for correction in (dealer.input((2,), 1), dealer.reveal((2,))):
        await net.box("dealer").put(correction)

    async def play(index: int):
        link = Wire(net, index, partial(changed, 1, 1) if index == 1 else None)
        c = CheckedComputer(index, 3, dealer.seeds[index], link)
        return await c.reveal(await c.input(y if index == 1 else None, (2,), 1))

    outcome = await outcomes([play(k) for k in range(3)], honest=3)
    assert [type(one) for one in outcome] == [WrongTag] * 3


async def test_masks_are_used_once_and_nothing_shows():
    """Over zeros, what crosses before the result is masks: all words differ."""
    zeros = np.zeros(200, np.uint64)
    outcome, net = await run(zeros, zeros)
    assert not outcome[0].any()
    seen = np.concatenate([words for _, to, words in net.sent if to == 0])
    assert seen.size > 200 * 8
    assert len(np.unique(seen)) == seen.size


async def test_a_share_of_another_size_is_refused():
    outcome, _ = await run(
        some(1, 2), some(2, 2), lie=lambda count, words: words[:-1] if count == 2 else words
    )
    assert isinstance(outcome[0], WrongShare)


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (partial(changed, 2, 1), WrongTag),  # a result's way
        (partial(changed, 5, 1), WrongTag),  # an opened coin that was not promised
        (lambda count, words: words[:-1] if count == 2 else words, WrongShare),
    ],
)
async def test_after_a_failure_nothing_is_answered(lie, error):
    """A cheater that was caught plays on honestly; a failed check has told it the key."""
    x, y, dealer, net = some(1, 2), some(2, 2), CheckedDealer(2), Net()
    for correction in (
        dealer.input((2,), 0),
        dealer.input((2,), 1),
        dealer.multiply((2,)),
        *(dealer.reveal((2,)) for _ in range(2)),
    ):
        await net.box("dealer").put(correction)

    async def honest():
        c = CheckedComputer(0, 2, dealer.seeds[0], Wire(net, 0))
        a, b = await c.input(x, (2,), 0), await c.input(None, (2,), 1)
        found = []
        with pytest.raises(CryptoError) as caught:
            found.append(await c.reveal(await c.multiply(a, b)))
        sent = len(net.sent)
        for call in (
            partial(c.reveal, a),
            partial(c.multiply, a, b),
            partial(c.input, x, (2,), 0),
            c.check,
        ):
            with pytest.raises(BrokenComputation, match="begin again"):
                found.append(await call())
        assert not found
        assert not [1 for sender, _, _ in net.sent[sent:] if sender == 0]
        return caught.type

    async def cheater():
        c = CheckedComputer(1, 2, dealer.seeds[1], Wire(net, 1, lie))
        a, b = await c.input(None, (2,), 0), await c.input(y, (2,), 1)
        product = await c.multiply(a, b)
        for _ in range(2):
            c._broken = False
            with suppress(CryptoError):
                await c.reveal(product)

    assert await outcomes([honest(), cheater()], honest=1) == [error]
