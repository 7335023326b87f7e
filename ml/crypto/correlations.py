"""Random numbers that belong together: what parties need before they multiply what they share.

A `Correlation` names arrays that are uniform (`drawn`) and arrays that follow from them
(`derived`); everybody gets a share of each.  A dealer who sees no data makes them cheaply: every
party expands its own seed to its shares, and only the shares of the derived arrays at the *last*
party do not come from a seed.  They are sent to it, and are all that the dealer ever sends.

    dealer   seeds s_0 ... s_(n-1), one to each party
    party i  drawn_i, derived_i = stream(s_i)
    dealer   drawn = sum drawn_i, correction = compute(drawn) - sum of derived_i, i < n-1
    dealer -> last party   correction, which is its share of the derived arrays

To the last party the correction is as good as uniform, for it hides under streams whose seeds that
party does not have; so no party learns anything, and a dealer that sees only its seeds and its own
messages learns nothing of data.  A dealer *and* a party together learn everything of the others, as
does a dealer who reads what the parties send each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.crypto import wide
from ml.crypto.errors import WrongShare
from ml.crypto.fixed_point import Words
from ml.crypto.prg import KEY_BYTES, Stream
from ml.crypto.sharing import matmul

Shape = tuple[int, ...]
Join = Literal["sum", "xor", "wide"]  # wide: a sum modulo 2^128, the last axis being two words
Rows = NDArray[np.int64] | slice | None  # which rows of a matrix; None: all


@dataclass(frozen=True)
class Part:
    """One array, and how its shares are put together.

    With ``absent``, that party has no share of it.
    """

    shape: Shape
    joined: Join = "sum"
    absent: int | None = None

    def join(self, shares: Sequence[Words]) -> Words:
        """The array, from the shares."""
        if self.joined == "wide":
            return wide.total(shares, self.shape)
        operation = np.add if self.joined == "sum" else np.bitwise_xor
        return reduce(operation, shares, np.zeros(self.shape, np.uint64))

    def missing(self, value: Words, shares: Sequence[Words]) -> Words:
        """The one share that together with ``shares`` gives ``value``."""
        rest = self.join(shares)
        if self.joined == "wide":
            return wide.subtract(value, rest)
        return value - rest if self.joined == "sum" else value ^ rest


class Correlation(Protocol):
    """Arrays that belong together."""

    @property
    def drawn(self) -> tuple[Part, ...]:
        """The uniform ones."""
        ...

    @property
    def derived(self) -> tuple[Part, ...]:
        """Those that follow from them."""
        ...

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        """The derived arrays; the dealer's part."""
        ...


class Source(Protocol):
    """Where a party has its shares of correlations from."""

    async def take(self, correlation: Correlation) -> tuple[Words, ...]:
        """Its shares of the drawn arrays (without those it is absent from), then of the derived."""
        ...


class Hand:
    """A party's stream of shares."""

    def __init__(self, index: int, parties: int, seed: bytes) -> None:
        self._index, self._last = index, index == parties - 1
        self._stream = Stream(seed)

    def drawn(self, correlation: Correlation) -> list[Words]:
        """The next shares of drawn arrays."""
        return [
            self._stream.words(*part.shape)
            for part in correlation.drawn
            if part.absent != self._index
        ]

    def derived(self, correlation: Correlation) -> list[Words]:
        """The next shares of derived arrays; none at the last party, which gets a correction."""
        if self._last:
            return []
        return [self._stream.words(*part.shape) for part in correlation.derived]


class Dealing:
    """The dealer's side: knows all seeds."""

    def __init__(self, parties: int) -> None:
        if parties < 2:
            raise ValueError(f"{parties} parties share; needed are 2 or more")
        self.seeds = tuple(secrets.token_bytes(KEY_BYTES) for _ in range(parties))
        self._hands = [Hand(k, parties, seed) for k, seed in enumerate(self.seeds)]

    def draw(self, owner: int, shape: Shape) -> Words:
        """The next words of one party's stream, which that party takes with `Dealt.draw`."""
        return self._hands[owner]._stream.words(*shape)

    def deal(self, correlation: Correlation) -> Words:
        """The correction for the last party, all derived arrays in a row."""
        drawn: list[list[Words]] = [[] for _ in correlation.drawn]
        derived: list[list[Words]] = [[] for _ in correlation.derived]
        for index, hand in enumerate(self._hands):
            held = iter(hand.drawn(correlation))
            for part, shares in zip(correlation.drawn, drawn, strict=True):
                if part.absent != index:
                    shares.append(next(held))
            for share, shares in zip(hand.derived(correlation), derived, strict=False):
                shares.append(share)
        values = correlation.compute(
            *(part.join(shares) for part, shares in zip(correlation.drawn, drawn, strict=True))
        )
        return np.concatenate(
            [
                part.missing(value, shares).ravel()
                for part, value, shares in zip(correlation.derived, values, derived, strict=True)
            ]
        )


class Corrections(Protocol):
    """How the last party hears from the dealer."""

    async def dealt(self, count: int) -> Words:
        """The next correction, of ``count`` words."""
        ...


class Dealt:
    """A party's side of a dealer: a `Source`."""

    def __init__(self, index: int, parties: int, seed: bytes, corrections: Corrections) -> None:
        self._hand = Hand(index, parties, seed)
        self._last = index == parties - 1
        self._corrections = corrections

    def draw(self, shape: Shape) -> Words:
        """The next words of this party alone; see `Dealing.draw`."""
        return self._hand._stream.words(*shape)

    async def take(self, correlation: Correlation) -> tuple[Words, ...]:
        """See `Source`.  Raises `WrongShare` for a correction of another size."""
        drawn = self._hand.drawn(correlation)
        if not self._last:
            return (*drawn, *self._hand.derived(correlation))
        sizes = [prod(part.shape) for part in correlation.derived]
        found = await self._corrections.dealt(sum(sizes))
        if found.size != sum(sizes):
            raise WrongShare(found.size, sum(sizes))
        pieces = np.split(found.ravel(), np.cumsum(sizes)[:-1])
        shapes = [part.shape for part in correlation.derived]
        derived = [piece.reshape(to) for piece, to in zip(pieces, shapes, strict=True)]
        return (*drawn, *derived)


# --- the correlations of arithmetic ---------------------------------------------------------


@dataclass(frozen=True)
class Triple:
    """a, b and their elementwise product."""

    shape: Shape

    @property
    def drawn(self) -> tuple[Part, ...]:
        return Part(self.shape), Part(self.shape)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part(self.shape),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        a, b = drawn
        return (a * b,)


@dataclass(frozen=True)
class MatrixTriple:
    """A (n, k), B (k, m) and A @ B."""

    n: int
    k: int
    m: int

    @property
    def drawn(self) -> tuple[Part, ...]:
        return Part((self.n, self.k)), Part((self.k, self.m))

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part((self.n, self.m)),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        a, b = drawn
        return (matmul(a, b),)


@dataclass(frozen=True)
class Shifted:
    """A uniform mask r, r >> bits, and the top bit of r."""

    shape: Shape
    bits: int

    @property
    def drawn(self) -> tuple[Part, ...]:
        return (Part(self.shape),)

    @property
    def derived(self) -> tuple[Part, ...]:
        return Part(self.shape), Part(self.shape)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        [r] = drawn
        return r >> np.uint64(self.bits), r >> np.uint64(63)


@dataclass(frozen=True)
class Zeros:
    """Shares of nothing: they hide what a party's own share tells of the way to a result."""

    shape: Shape

    @property
    def drawn(self) -> tuple[Part, ...]:
        return ()

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part(self.shape),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        return (np.zeros(self.shape, np.uint64),)


@dataclass(frozen=True, repr=False)
class Sliced:
    """A vector v of all but one party, and the product of a mask U of that party with it."""

    shape: Shape  # of v
    product: Shape
    owner: int
    mask: Words | None  # U, the rows in question; only the dealer has it
    transposed: bool

    @property
    def drawn(self) -> tuple[Part, ...]:
        return (Part(self.shape, absent=self.owner),)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part(self.product),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        [v] = drawn
        assert self.mask is not None, "only the dealer computes"
        return (matmul(self.mask, v, transposed=self.transposed),)
