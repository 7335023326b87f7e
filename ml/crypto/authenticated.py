"""Shares with tags: a party that computes something else than agreed is caught before a result.

Scenario
    As `ml.crypto.beaver`, but a computing party may send whatever it likes.  Numbers are modulo
    2^64; shares and tags are modulo 2^128.  Party i has a share a_i of a secret key a, and of
    every number x shares of x and of the tag a x.
Who learns what
    Nobody learns anything but what is revealed.  Before a result is opened, all numbers opened so
    far are checked, and the result itself is before it is used: `WrongTag` ends the computation.
    A cheater may still see a result that it denies to the others.
Assumption
    The dealer is honest and works with no party, SHA-256 is a random oracle.  A wrong number passes
    with a probability below 2^-57.
Source
    Cramer, Damgard, Escudero, Scholl, Xing, "SPDZ2k", CRYPTO 2018, with k = s = 64: fig. 6 and
    lemma 1 for the check of many numbers at once; dealt instead of its preprocessing, so a number
    opened under a mask is opened in all its 128 bits.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from ml.crypto import wide
from ml.crypto.beaver import Link
from ml.crypto.correlations import Dealing, Dealt, Part, Shape
from ml.crypto.errors import BrokenComputation, WrongShare, WrongTag
from ml.crypto.fixed_point import Words
from ml.crypto.prg import KEY_BYTES, Stream

_DOMAIN = b"fatechain authenticated v1"


@dataclass(frozen=True, repr=False)
class Tagged:
    """This party's share of numbers and of their tags, (..., 2) each."""

    share: Words
    tag: Words

    @property
    def shape(self) -> Shape:
        """Of the numbers."""
        return self.share.shape[:-1]

    def __add__(self, other: Tagged) -> Tagged:
        return Tagged(wide.add(self.share, other.share), wide.add(self.tag, other.tag))

    def __sub__(self, other: Tagged) -> Tagged:
        return Tagged(wide.subtract(self.share, other.share), wide.subtract(self.tag, other.tag))

    def times(self, factor: Words) -> Tagged:
        """With public numbers (..., 2)."""
        return Tagged(wide.multiply(self.share, factor), wide.multiply(self.tag, factor))


class CheckedComputer:
    """A computing party, like `ml.crypto.beaver.Computer`.  Numbers are words of two's complement.

    Every call is one of all computing parties, in the same order with the same shapes; so are the
    dealer's of the same names, but for `check`, which needs no dealer.  A call that fails is the
    last one: any later one raises `BrokenComputation`.
    """

    def __init__(self, index: int, parties: int, seed: bytes, link: Link) -> None:
        self.index, self.parties = index, parties
        self._link = link
        self._source = Dealt(index, parties, seed, link)
        self._key = wide.widen(self._source.draw((1,)))[0]
        self._broken = False
        self._opened: list[tuple[Words, Words]] = []  # what was opened, and our share of its tag

    async def input(self, words: Words | None, shape: Shape, owner: int) -> Tagged:
        """Numbers of ``owner``, who hands in words; the others hand in None.  Half a round."""
        with self._last_if_it_fails():
            mask = self._source.draw((*shape, 2)) if self.index == owner else None
            share, tag = await self._source.take(InputMask(shape, None, None))
            if mask is None:
                public = await self._receive((*shape, 2), owner)
            elif words is None or words.shape != shape:
                raise ValueError(f"the owner of numbers of shape {shape} must hand them in")
            else:
                public = wide.subtract(wide.widen(words), mask)
                await self._send_all(public)
            return Tagged(share, tag) + self.constant(public)

    def constant(self, numbers: Words) -> Tagged:
        """Public numbers (..., 2)."""
        share = numbers if self.index == 0 else np.zeros_like(numbers)
        return Tagged(share, wide.multiply(numbers, self._key))

    async def multiply(self, x: Tagged, y: Tagged) -> Tagged:
        """The elementwise product of numbers of one shape.  One round."""
        with self._last_if_it_fails():
            if x.shape != y.shape:
                raise ValueError(f"shapes {x.shape} and {y.shape}; they must be equal")
            taken = await self._source.take(Triples(x.shape, None))
            a, b = Tagged(taken[0], taken[3]), Tagged(taken[1], taken[4])
            c = Tagged(taken[2], taken[5])
            d, e = await self._open([x - a, y - b])
            return c + b.times(d) + a.times(e) + self.constant(wide.multiply(d, e))

    async def reveal(self, x: Tagged) -> Words:
        """The numbers, to everybody, if all was computed as agreed.

        Raises `WrongTag`; then no number that was computed may be used.
        """
        with self._last_if_it_fails():
            share, tag = await self._source.take(Masks(x.shape, None))
            # The upper word of a share tells of the computation; a result is the lower one.
            lifted = Tagged(share, tag).times(np.array([0, 1], np.uint64))
            await self.check()
            [value] = await self._open([x + lifted], result=True)
            await self.check()
            return value[..., 0].copy()

    async def check(self) -> None:
        """Hold all that was opened since the last check against the tags.  Four rounds."""
        with self._last_if_it_fails():
            coins = await self._at_once(np.frombuffer(secrets.token_bytes(KEY_BYTES), np.uint64))
            stream = Stream(np.bitwise_xor.reduce(coins).tobytes())
            rest = np.zeros(2, np.uint64)
            for value, tag in self._opened:
                factors = wide.widen(stream.words(len(value)))
                off = wide.subtract(tag, wide.multiply(value, self._key))
                rest = wide.add(rest, wide.total(list(wide.multiply(factors, off)), (2,)))
            if wide.total(await self._at_once(rest), (2,)).any():
                raise WrongTag
            self._opened.clear()

    @contextmanager
    def _last_if_it_fails(self) -> Iterator[None]:
        # What a failed check opens tells a cheater the key: with it, it could forge all that
        # follows.  A call that was cut short, too, leaves parties that no longer fit.
        if self._broken:
            raise BrokenComputation
        try:
            yield
        except BaseException:
            self._broken = True
            raise

    # --- talk ---

    async def _open(self, numbers: list[Tagged], *, result: bool = False) -> list[Words]:
        mine = np.concatenate([number.share.reshape(-1, 2) for number in numbers])
        await self._send_all(mine, result=result)
        shares = [mine]
        for party in range(self.parties):
            if party != self.index:
                shares.append(await self._receive(mine.shape, party, result=result))
        value = wide.total(shares, mine.shape)
        tags = np.concatenate([number.tag.reshape(-1, 2) for number in numbers])
        self._opened.append((value, tags))
        pieces = np.split(value, np.cumsum([len(n.share.reshape(-1, 2)) for n in numbers])[:-1])
        return [p.reshape(n.share.shape) for p, n in zip(pieces, numbers, strict=True)]

    async def _at_once(self, mine: Words) -> list[Words]:
        """Two words of everybody, each chosen before those of the others were seen."""
        nonce = np.frombuffer(secrets.token_bytes(16), np.uint64)
        await self._send_all(_commitment(self.index, nonce, mine))
        promised = {p: await self._receive((4,), p) for p in self._others()}
        await self._send_all(np.concatenate([nonce, mine]))
        said = [mine]
        for party, commitment in promised.items():
            opened = await self._receive((4,), party)
            if (_commitment(party, opened[:2], opened[2:]) != commitment).any():
                raise WrongTag
            said.append(opened[2:])
        return said

    def _others(self) -> list[int]:
        return [party for party in range(self.parties) if party != self.index]

    async def _send_all(self, words: Words, *, result: bool = False) -> None:
        for party in self._others():
            await self._link.send(words.ravel(), party, result=result)

    async def _receive(self, shape: Shape, frm: int, *, result: bool = False) -> Words:
        count = int(np.prod(shape, dtype=np.int64))
        words = await self._link.receive(count, frm, result=result)
        if words.size != count:
            raise WrongShare(words.size, count)
        return words.reshape(shape)


class CheckedDealer:
    """The party without data; calls return corrections, as those of `ml.crypto.beaver.Dealer`."""

    def __init__(self, parties: int) -> None:
        self._dealing = Dealing(parties)
        shares = [wide.widen(self._dealing.draw(k, (1,)))[0] for k in range(parties)]
        self._key = wide.total(shares, (2,))

    @property
    def seeds(self) -> tuple[bytes, ...]:
        """One of each party."""
        return self._dealing.seeds

    def input(self, shape: Shape, owner: int) -> Words:
        """See `CheckedComputer.input`."""
        mask = self._dealing.draw(owner, (*shape, 2))
        return self._dealing.deal(InputMask(shape, mask, self._key))

    def multiply(self, shape: Shape) -> Words:
        """See `CheckedComputer.multiply`."""
        return self._dealing.deal(Triples(shape, self._key))

    def reveal(self, shape: Shape) -> Words:
        """See `CheckedComputer.reveal`."""
        return self._dealing.deal(Masks(shape, self._key))


def _commitment(index: int, nonce: Words, words: Words) -> Words:
    head = _DOMAIN + index.to_bytes(4, "big")
    return np.frombuffer(sha256(head + nonce.tobytes() + words.tobytes()).digest(), np.uint64)


# --- what is dealt; the key is the dealer's alone ------------------------------------------


def _pair(shape: Shape) -> Part:
    return Part((*shape, 2), "wide")


def _tag(key: Words | None, numbers: Words) -> Words:
    assert key is not None, "only the dealer computes"
    return wide.multiply(numbers, key)


@dataclass(frozen=True, repr=False)
class InputMask:
    """Shares of a mask that its owner knows, and of its tag."""

    shape: Shape
    mask: Words | None
    key: Words | None

    @property
    def drawn(self) -> tuple[Part, ...]:
        return ()

    @property
    def derived(self) -> tuple[Part, ...]:
        return _pair(self.shape), _pair(self.shape)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        assert self.mask is not None, "only the dealer computes"
        return self.mask, _tag(self.key, self.mask)


@dataclass(frozen=True, repr=False)
class Masks:
    """Uniform numbers and their tags."""

    shape: Shape
    key: Words | None

    @property
    def drawn(self) -> tuple[Part, ...]:
        return (_pair(self.shape),)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (_pair(self.shape),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        return (_tag(self.key, drawn[0]),)


@dataclass(frozen=True, repr=False)
class Triples:
    """a, b and their product; and the tags of all three."""

    shape: Shape
    key: Words | None

    @property
    def drawn(self) -> tuple[Part, ...]:
        return _pair(self.shape), _pair(self.shape)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (_pair(self.shape),) * 4

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        a, b = drawn
        c = wide.multiply(a, b)
        return c, _tag(self.key, a), _tag(self.key, b), _tag(self.key, c)
