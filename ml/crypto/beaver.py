"""Computing with shares modulo 2^64: products, truncation and functions of what nobody holds.

Scenario
    n *computing parties*, numbered from 0, share numbers (`ml.crypto.sharing`) and all run the same
    calls of a `Computer` in the same order.  A *dealer*, which has no data, runs the calls of the
    same names of a `Dealer` and sends what they return to the last party.
Who learns what
    Every number that crosses is hidden by a mask of its own and uniform to whoever gets it, but for
    `reveal`, which tells its result.  The dealer learns shapes.
What is not protected
    Parties follow the protocol (semi-honest): one that sends other numbers changes the
    result unnoticed.  A party and the dealer together learn everything, as does a dealer who reads
    the parties' messages.  A number beyond the stated range gives a wrong result.
Source
    Beaver, "Efficient multiparty protocols using circuit randomization", CRYPTO 1991; matrices as
    in Mohassel, Zhang, "SecureML", S&P 2017, § IV.  Truncation is *not* theirs, which fails with
    probability 2^(l+1-64) for numbers of l bits, but that with the dealt top bit of the mask:
    Escudero, Ghosh, Keller, Rachuri, Scholl, CRYPTO 2020, § 5.  It cannot fail for |x| < 2^62.

A *fixed matrix* X that one party holds is masked once, E = X - U; each product with a shared vector
w costs one masked vector then, f = w - v, and no more than n numbers from the dealer::

    X w = X w_owner + X f + E v + U v      f to the owner, shares of U v dealt
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.crypto import comparison
from ml.crypto.correlations import (
    Correlation,
    Dealing,
    Dealt,
    Join,
    MatrixTriple,
    Part,
    Rows,
    Shape,
    Shifted,
    Sliced,
    Source,
    Triple,
    Zeros,
)
from ml.crypto.errors import WrongShare
from ml.crypto.fixed_point import Words
from ml.crypto.series import Series, Waves
from ml.crypto.sharing import matmul

MAX_SHIFT = 61
_HALF = np.uint64(1 << 62)


class Link(Protocol):
    """How a computing party talks; a protocol hands it in."""

    async def send(self, words: Words, to: int, *, result: bool = False) -> None:
        """Give ``words`` to party ``to``; ``result`` says that they tell a result."""
        ...

    async def receive(self, count: int, frm: int, *, result: bool = False) -> Words:
        """The next words of party ``frm``; there must be ``count``."""
        ...

    async def dealt(self, count: int) -> Words:
        """The next correction of the dealer; only the last party asks."""
        ...


@dataclass(frozen=True, repr=False)
class PrivateMatrix:
    """A matrix of one party as the computing parties have it."""

    owner: int
    shape: tuple[int, int]
    words: Words  # X at its owner, X - U at the others


@dataclass(frozen=True, repr=False)
class DealtMatrix:
    """Its mask, at the dealer."""

    owner: int
    shape: tuple[int, int]
    mask: Words


class Computer:
    """A computing party: ``index`` of ``parties``, with the seed that the dealer gave it.

    With a ``source`` (`ml.crypto.transferred`), what that makes needs no dealer: products of shared
    numbers, truncation and results.  Arrays are shares of this party; see `ml.crypto.fixed_point`
    for fractions.
    """

    def __init__(
        self, index: int, parties: int, seed: bytes | None, link: Link, source: Source | None = None
    ) -> None:
        if not 0 <= index < parties or parties < 2:
            raise ValueError(f"party {index} of {parties}; needed are 2 or more, counted from 0")
        self.index, self.parties = index, parties
        self._link = link
        if (seed is None) == (source is None):
            raise ValueError("correlations come from a dealer's seed or from a source, from one")
        self._dealt = None if seed is None else Dealt(index, parties, seed, link)
        self._source = source or self._dealt

    # --- what needs no talk ---

    def constant(self, words: Words) -> Words:
        """A share of a public number: party 0 holds it."""
        return self.own(words, 0)

    def own(self, words: Words, owner: int) -> Words:
        """A share of a number that ``owner`` knows; ``words`` of the others say only its shape.

        No masking is needed here: whatever crosses later is masked.
        """
        return words.copy() if self.index == owner else np.zeros_like(words)

    # --- a matrix that one party holds ---

    async def matrix(
        self, words: Words | None, shape: tuple[int, int], owner: int
    ) -> PrivateMatrix:
        """Bring in a matrix of ``owner``, who hands in ``words``; the others hand in None."""
        if self._dealt is None:
            raise ValueError("a fixed matrix needs a dealer; multiply shared matrices instead")
        if self.index != owner:
            return PrivateMatrix(owner, shape, await self._receive(shape, owner))
        if words is None or words.shape != shape:
            raise ValueError(f"the owner of a matrix of shape {shape} must hand it in")
        masked = words - self._dealt.draw(shape)
        await self._send_all(masked)
        return PrivateMatrix(owner, shape, words)

    async def product(
        self, matrix: PrivateMatrix, w: Words, rows: Rows = None, *, transposed: bool = False
    ) -> Words:
        """Shares of ``X[rows] @ w``, or ``X[rows].T @ w``; w is (k,) or (k, m).  Half a round."""
        part = matrix.words if rows is None else matrix.words[rows]
        product = _product_shape(part.shape, w.shape, transposed)
        owner = matrix.owner
        dealt = await self.take(Sliced(w.shape, product, owner, None, transposed))
        if self.index != owner:
            v, uv = dealt
            await self._link.send((w - v).ravel(), owner)
            return uv + matmul(part, v, transposed=transposed)
        [uv] = dealt
        known = w.copy()
        for party in range(self.parties):
            if party != owner:
                known += await self._receive(w.shape, party)
        return uv + matmul(part, known, transposed=transposed)

    # --- products of shared numbers ---

    async def multiply(self, x: Words, y: Words) -> Words:
        """Shares of the elementwise product of arrays of one shape.  One round."""
        if x.shape != y.shape:
            raise ValueError(f"shapes {x.shape} and {y.shape}; they must be equal")
        a, b, c = await self.take(Triple(x.shape))
        opened = await self.open_masked(np.stack([x - a, y - b]))
        d, e = opened[0], opened[1]
        product: Words = c + d * b + e * a + self.constant(d * e)
        return product

    async def matmul(self, x: Words, y: Words) -> Words:
        """Shares of the product of x (n, k) and y (k, m).  One round."""
        (n, k), (height, m) = x.shape, y.shape
        if k != height:
            raise ValueError(f"{x.shape} by {y.shape}; the sides must agree")
        a, b, c = await self.take(MatrixTriple(n, k, m))
        opened = await self.open_masked(np.concatenate([(x - a).ravel(), (y - b).ravel()]))
        d, e = opened[: n * k].reshape(n, k), opened[n * k :].reshape(k, m)
        # d (b + e) + a e, with d e counted once.
        return c + matmul(d, b + self.constant(e)) + matmul(a, e)

    # --- truncation and functions ---

    async def truncate(self, x: Words, bits: int) -> Words:
        """Shares of floor(x / 2^bits), or of one more, for -2^62 <= x < 2^62.  One round."""
        _check_shift(bits)
        r, high, top = await self.take(Shifted(x.shape, bits))
        c = await self.open_masked(x + r + self.constant(np.full_like(x, _HALF)))
        shift = np.uint64(bits)
        # x + 2^62 is below 2^63, so x + r ran over exactly if r has its top bit and c has not.
        over = np.where(c >> np.uint64(63), np.uint64(0), top << np.uint64(64 - bits))
        return self.constant((c >> shift) - (_HALF >> shift)) - high + over

    async def series(self, x: Words, series: Series) -> Words:
        """Shares of ``series`` of x, with the error that it states.  Two rounds."""
        r, waves = await self.take(Waves(x.shape, series.frequencies, series.wave_bits))
        angles = await self.open_masked((x << np.uint64(64 - series.period_bits)) + r)
        total = series.evaluate(angles, waves) + self.constant(series.offset(x.shape))
        return await self.truncate(total, series.excess_bits)

    # --- signs ---

    async def negative(self, x: Words) -> Words:
        """Shares of 1 where x, as a signed number, is below 0, else of 0.  Eight rounds."""
        return await comparison.negative(self, x)

    async def positive_part(self, x: Words) -> Words:
        """Shares of x where it is not below 0, else of 0 (ReLU).  Nine rounds."""
        keep = self.constant(np.ones_like(x)) - await self.negative(x)
        return await self.multiply(x, keep)

    # --- results ---

    async def reveal(self, x: Words, to: int | None = None) -> Words | None:
        """The number itself, to everybody or to one party; the others have None."""
        [zero] = await self.take(Zeros(x.shape))
        mine = x + zero  # for three or more: a share alone could tell of the computation
        receivers = range(self.parties) if to is None else (to,)
        for party in receivers:
            if party != self.index:
                await self._link.send(mine.ravel(), party, result=True)
        if self.index not in receivers:
            return None
        for party in range(self.parties):
            if party != self.index:
                mine = mine + await self._receive(x.shape, party, result=True)
        return mine

    # --- talk ---

    async def take(self, correlation: Correlation) -> tuple[Words, ...]:
        """This party's shares of the next correlation."""
        assert self._source is not None
        return await self._source.take(correlation)

    async def open_masked(self, mine: Words, joined: Join = "sum") -> Words:
        """What the shares of all give.  It becomes known to all, so it must be under a mask."""
        await self._send_all(mine)
        shares = [mine]
        for party in range(self.parties):
            if party != self.index:
                shares.append(await self._receive(mine.shape, party))
        return Part(mine.shape, joined).join(shares)

    async def _send_all(self, words: Words) -> None:
        for party in range(self.parties):
            if party != self.index:
                await self._link.send(words.ravel(), party)

    async def _receive(self, shape: Shape, frm: int, *, result: bool = False) -> Words:
        count = int(np.prod(shape, dtype=np.int64))
        words = await self._link.receive(count, frm, result=result)
        if words.size != count:
            raise WrongShare(words.size, count)
        return words.reshape(shape)


class Dealer:
    """The party without data.  Every call returns the correction for the last party.

    ``seeds[i]`` goes to party i, to it alone.
    """

    def __init__(self, parties: int) -> None:
        self._dealing = Dealing(parties)

    @property
    def seeds(self) -> tuple[bytes, ...]:
        """One of each party."""
        return self._dealing.seeds

    def matrix(self, shape: tuple[int, int], owner: int) -> DealtMatrix:
        """See `Computer.matrix`; nothing is sent."""
        return DealtMatrix(owner, shape, self._dealing.draw(owner, shape))

    def product(
        self,
        matrix: DealtMatrix,
        columns: int | None = None,
        rows: Rows = None,
        *,
        transposed: bool = False,
    ) -> Words:
        """See `Computer.product`; ``columns`` of w, None for a vector."""
        part = matrix.mask if rows is None else matrix.mask[rows]
        side = part.shape[0] if transposed else part.shape[1]
        shape: Shape = (side,) if columns is None else (side, columns)
        product = _product_shape(part.shape, shape, transposed)
        return self.deal(Sliced(shape, product, matrix.owner, part, transposed))

    def multiply(self, shape: Shape) -> Words:
        """See `Computer.multiply`."""
        return self.deal(Triple(shape))

    def matmul(self, n: int, k: int, m: int) -> Words:
        """See `Computer.matmul`."""
        return self.deal(MatrixTriple(n, k, m))

    def truncate(self, shape: Shape, bits: int) -> Words:
        """See `Computer.truncate`."""
        _check_shift(bits)
        return self.deal(Shifted(shape, bits))

    def series(self, shape: Shape, series: Series) -> list[Words]:
        """See `Computer.series`; two corrections, to be sent one after the other."""
        waves = self.deal(Waves(shape, series.frequencies, series.wave_bits))
        return [waves, self.truncate(shape, series.excess_bits)]

    def negative(self, shape: Shape) -> list[Words]:
        """See `Computer.negative`; corrections to be sent one after the other."""
        return [self.deal(correlation) for correlation in comparison.dealt(shape)]

    def positive_part(self, shape: Shape) -> list[Words]:
        """See `Computer.positive_part`; corrections to be sent one after the other."""
        return [*self.negative(shape), self.multiply(shape)]

    def reveal(self, shape: Shape) -> Words:
        """See `Computer.reveal`."""
        return self.deal(Zeros(shape))

    def deal(self, correlation: Correlation) -> Words:
        """The correction of any correlation."""
        return self._dealing.deal(correlation)


def _product_shape(matrix: Shape, w: Shape, transposed: bool) -> Shape:
    inner, outer = (matrix[0], matrix[1]) if transposed else (matrix[1], matrix[0])
    if len(w) not in (1, 2) or w[0] != inner:
        raise ValueError(f"{matrix} by {w}, transposed: {transposed}; the sides must agree")
    return (outer, *w[1:])


def _check_shift(bits: int) -> None:
    if not 1 <= bits <= MAX_SHIFT:
        raise ValueError(f"cut by {bits} bits; allowed are 1 to {MAX_SHIFT}")
