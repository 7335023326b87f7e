"""Correlations of two parties by oblivious transfer: they fit, and are hidden."""

import asyncio

import numpy as np
import pytest

from ml.crypto.beaver import Computer
from ml.crypto.correlations import MatrixTriple, Shifted, Triple, Zeros
from ml.crypto.errors import InvalidPoint, WrongShare
from ml.crypto.series import Waves
from ml.crypto.transferred import Transferred


class Wire:
    """One of two ends; keeps what it received."""

    def __init__(self, boxes: list[asyncio.Queue], index: int) -> None:
        self.boxes, self.index, self.seen = boxes, index, []

    async def send(self, words, to, *, result=False):
        await self.boxes[to].put(words.copy())

    async def receive(self, count, frm, *, result=False):
        self.seen.append(await self.boxes[self.index].get())
        return self.seen[-1]

    async def dealt(self, count):
        raise AssertionError("nobody deals")


async def two(play):
    """``play(wire)`` of both parties, and what each of them saw."""
    boxes: list[asyncio.Queue] = [asyncio.Queue(), asyncio.Queue()]
    wires = [Wire(boxes, k) for k in (0, 1)]
    return await asyncio.gather(*map(play, wires)), [wire.seen for wire in wires]


async def taken(*correlations):
    async def play(wire: Wire):
        source = await Transferred.begin(wire.index, wire, b"test")
        return [await source.take(correlation) for correlation in correlations]

    (mine, theirs), seen = await two(play)
    return [
        [a + b for a, b in zip(one, other, strict=True)]
        for one, other in zip(mine, theirs, strict=True)
    ], seen


async def test_correlations_are_those_of_a_dealer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ml.crypto.transferred.BATCH", 600)
    wanted = (Triple((3, 7)), MatrixTriple(2, 3, 4), Shifted((9,), 20), Zeros((5,)), Triple((1,)))
    found, _ = await taken(*wanted)
    for correlation, arrays in zip(wanted, found, strict=True):
        drawn = arrays[: len(correlation.drawn)]
        for value, expected in zip(arrays[len(drawn) :], correlation.compute(*drawn), strict=True):
            assert (value == expected).all()


async def test_masks_are_spread_over_all_words_and_new_in_each_run():
    """Every bit of a mask is one half of the time 1."""
    found, _ = await taken(Shifted((400,), 1))
    again, _ = await taken(Shifted((400,), 1))
    bits = np.unpackbits(found[0][0].view(np.uint8).reshape(400, 8), axis=1)
    assert (abs(bits.mean(axis=0) - 0.5) < 0.15).all()
    assert not set(found[0][0].tolist()) & set(again[0][0].tolist())


async def test_what_crosses_looks_the_same_whatever_the_shares_are(monkeypatch):
    """With shares that are all zero or all one, no word comes twice and half of the bits are 1."""
    for word in (0, 2**64 - 1):
        monkeypatch.setattr(
            "ml.crypto.transferred.Stream.words",
            lambda self, *shape, word=word: np.full(shape, word, np.uint64),
        )
        _, seen = await taken(Triple((20,)))
        for view in seen:
            words = np.concatenate(view[2:])
            assert len(np.unique(words)) == words.size > 20 * 64 * 8
            assert abs(np.unpackbits(words.view(np.uint8)).mean() - 0.5) < 0.01


async def test_two_parties_compute_without_a_dealer():
    x = np.array([3, -5, 2**40], np.int64).view(np.uint64)
    y = np.array([2**30, 2**30, -(2**20)], np.int64).view(np.uint64)

    async def play(wire: Wire):
        source = await Transferred.begin(wire.index, wire, b"test")
        c = Computer(wire.index, 2, None, wire, source)
        product = await c.multiply(c.own(x, 0), c.own(y, 1))
        return await c.reveal(await c.truncate(product, 20))

    (mine, theirs), _ = await two(play)
    assert (mine == theirs).all()
    expected = (x.view(np.int64) * y.view(np.int64)) >> 20
    assert set((mine.view(np.int64) - expected).tolist()) <= {0, 1}


async def test_a_fixed_matrix_is_not_sent_where_nobody_dealt_its_mask():
    async def play(wire: Wire):
        source = await Transferred.begin(wire.index, wire, b"test")
        c = Computer(wire.index, 2, None, wire, source)
        with pytest.raises(ValueError, match="needs a dealer"):
            await c.matrix(np.zeros((2, 2), np.uint64) if c.index == 0 else None, (2, 2), 0)

    _, seen = await two(play)
    assert [len(view) for view in seen] == [2, 2]  # what begins the transfers


@pytest.mark.parametrize("seed", [None, bytes(16)])
def test_correlations_have_one_source(seed: bytes | None):
    source = None if seed is None else object()
    with pytest.raises(ValueError, match="from one"):
        Computer(0, 2, seed, Wire([], 0), source)


async def test_what_needs_a_dealer_is_refused():
    with pytest.raises(ValueError, match="Waves needs a dealer"):
        await taken(Waves((2,), (1,), 30))


@pytest.mark.parametrize(
    ("bad", "error"),
    [(np.zeros(6, np.uint64), InvalidPoint), (np.zeros(5, np.uint64), WrongShare)],
)
async def test_a_hostile_beginning_is_refused(bad: np.ndarray, error: type):
    wire = Wire([asyncio.Queue(), asyncio.Queue()], 0)
    await wire.boxes[0].put(bad)
    with pytest.raises(error):
        await Transferred.begin(0, wire, b"test")


async def test_there_are_two_parties():
    with pytest.raises(ValueError, match="parties 0 and 1"):
        await Transferred.begin(2, Wire([], 2), b"test")
