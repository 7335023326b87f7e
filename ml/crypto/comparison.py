"""Signs of shared numbers: who is negative, as a shared 0 or 1.

The parties open c = x + r under a mask r whose bits are shared, too, by XOR.  The sign of
x = c - r is the top bit of c, that of r, and the borrow of the 63 bits below: whether r is larger
than c there.  That is found bit by bit in parallel: a block of bits is larger (G), or equal (E),
and two neighbouring blocks make one twice as long::

    G = G_high ^ (E_high & G_low)      E = E_high & E_low

so 6 times, each with two ANDs of shared words (Beaver's, modulo 2), and a bit shared both ways
turns the result from XOR into a sum.  8 rounds, 160 bytes from each party per number.

Right for every x from -2^63 to 2^63 - 1.  Source: Catrina, de Hoogh, "Improved primitives for
secure multiparty integer computation", SCN 2010, § 3, with the shape of Kogge and Stone's adder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.crypto.correlations import Correlation, Join, Part, Shape
from ml.crypto.fixed_point import Words

_STEPS = (1, 2, 4, 8, 16, 32)
_ONE, _TOP = np.uint64(1), np.uint64(63)
_LOW = np.uint64(2**63 - 1)


class Party(Protocol):
    """What `negative` needs of a computing party."""

    async def take(self, correlation: Correlation) -> tuple[Words, ...]:
        """Its shares of a correlation."""
        ...

    async def open_masked(self, mine: Words, joined: Join = "sum") -> Words:
        """What the shares of all parties give, known to all."""
        ...

    def constant(self, words: Words) -> Words:
        """A share of a public number, by sum or by XOR."""
        ...


async def negative(party: Party, x: Words) -> Words:
    """Shares of 1 where x, as a signed number, is below 0, and of 0 elsewhere."""
    bits, mask = await party.take(Bits(x.shape))
    c = await party.open_masked(x + mask)
    # The top bits are taken as equal; they come in at the end.
    larger = bits & ~c & _LOW
    equal = (bits & _LOW) ^ party.constant(~c | ~_LOW)
    for step in _STEPS:
        shift = np.uint64(step)
        a, b, product = await party.take(Ands((2, *x.shape)))
        left, right = equal >> shift, np.stack([larger, equal])
        opened = await party.open_masked(np.concatenate([left[None] ^ a, right ^ b]), "xor")
        d, e = opened[0], opened[1:]
        both = product ^ (d & b) ^ (e & a) ^ party.constant(d & e)
        larger, equal = (larger >> shift) ^ both[0], both[1]
    sign = (larger & _ONE) ^ (bits >> _TOP) ^ party.constant(c >> _TOP)
    coin, number = await party.take(Coins(x.shape))
    # The coin is a whole word, so the 63 bits that mean nothing are masked as well.
    flipped = await party.open_masked(sign ^ coin, "xor") & _ONE
    # flipped ^ coin as numbers: f + k - 2 f k.
    result: Words = party.constant(flipped) + number - (flipped << _ONE) * number
    return result


def dealt(shape: Shape) -> list[Correlation]:
    """What `negative` takes, in its order."""
    return [Bits(shape), *(Ands((2, *shape)) for _ in _STEPS), Coins(shape)]


@dataclass(frozen=True)
class Bits:
    """A uniform word by XOR and the same by sum."""

    shape: Shape

    @property
    def drawn(self) -> tuple[Part, ...]:
        return (Part(self.shape, "xor"),)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part(self.shape),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        return drawn


@dataclass(frozen=True)
class Coins:
    """Uniform words by XOR, and the lowest bit of each by sum."""

    shape: Shape

    @property
    def drawn(self) -> tuple[Part, ...]:
        return (Part(self.shape, "xor"),)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part(self.shape),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        [coin] = drawn
        return (coin & _ONE,)


@dataclass(frozen=True)
class Ands:
    """Words b (m, ...), one word a for each column of them (1, ...), and a & b, all by XOR."""

    shape: Shape

    @property
    def drawn(self) -> tuple[Part, ...]:
        return Part((1, *self.shape[1:]), "xor"), Part(self.shape, "xor")

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part(self.shape, "xor"),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        a, b = drawn
        return (a & b,)
