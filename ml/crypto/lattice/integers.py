"""Products of matrices of whole numbers with fresh vectors, left as shares modulo 2^64.

The *holder* has M (outputs, inputs), the *owner* v (inputs,), any numbers modulo 2^64, perhaps
themselves shares.  Afterwards both have uniform numbers that add up to M v modulo 2^64, exactly::

    owner   k ternary, b = -a k + e                           once per session
    owner   c = -a' k + e' + delta v(x)                       sends c; a' is expanded by both
    holder  alpha = M(x) a' + a w + e1                        sends alpha, and of
            beta  = M(x) c + b w + e2 + delta u(x)            beta the places of results; keeps -u
    owner   round((beta + alpha k) / delta) = M v + u         modulo 2^64

Polynomials carry blocks of ``block`` inputs in n / ``block`` rows of M side by side, so that every
place of a result is a whole row times the vector (the packing of Huang, Lu, Hong, Ding: Cheetah,
USENIX Security 2022, section 3).

What rounding takes off is M e' - e1 k - e w - e2: e' is known to the owner, so the flood e2 is
wider than all that depends on M by `MARGIN_BITS`; and it never reaches the holder.  w, e1, e2 and u
are fresh for every answer, and a session's key lives in memory only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from math import sqrt
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.crypto.errors import (
    InvalidAnswer,
    InvalidCiphertext,
    InvalidKey,
    LatticeNoise,
    MaskReuse,
    PackingOverflow,
)
from ml.crypto.lattice import randomness, wide, wide_noise, wide_values
from ml.crypto.lattice.parameters import NOISE_SD, security_bits
from ml.crypto.lattice.session import (
    IntegerKey,
    SessionKey,
    check_session,
    commitment,
    public_polynomial,
    session_of,
)
from ml.crypto.lattice.wide import DEGREE, LIMBS, Wide
from ml.crypto.products import Budget
from ml.crypto.threads import Threads
from ml.wire import Shape

__all__ = [
    "IntegerAnswer",
    "IntegerHolder",
    "IntegerKey",
    "IntegerMatrix",
    "IntegerOwner",
    "IntegerQuestion",
    "ProductShape",
    "session_of",
]

MAX_ENTRY_BITS = 31
MARGIN_BITS = 40  # of the flood over what depends on the matrix
MAX_POLYNOMIALS = 2**20  # under one key
_FLOOD_SD = 2.0**wide_noise.FLOOD_BITS * sqrt(8 / 12)
_PER_MESSAGE = 24  # polynomials: 3.8 MiB

# Thousandths of a second on one core, both sides: to send a block of inputs, to answer with a
# block of outputs, and to multiply one with the other.
_COSTS = (0.65, 1.2, 0.064)

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class ProductShape:
    """Of a matrix; and how it is cut, which both sides derive from it."""

    outputs: int
    inputs: int

    def __post_init__(self) -> None:
        if self.outputs < 1 or self.inputs < 1:
            raise ValueError(f"a matrix of {self.outputs} times {self.inputs}")

    @cached_property
    def block(self) -> int:
        """How many inputs one polynomial carries: a power of two, the cheapest."""

        def cost(block: int) -> float:
            blocks, tiles = -(-self.inputs // block), -(-self.outputs * block // DEGREE)
            return _COSTS[0] * blocks + _COSTS[1] * tiles + _COSTS[2] * blocks * tiles

        return min((1 << k for k in range(DEGREE.bit_length())), key=cost)

    @property
    def blocks(self) -> int:
        """Of inputs: how many polynomials a question takes."""
        return -(-self.inputs // self.block)

    @property
    def height(self) -> int:
        """How many outputs one polynomial gives."""
        return min(DEGREE // self.block, self.outputs)

    @property
    def tiles(self) -> int:
        """How many polynomials an answer takes."""
        return -(-self.outputs // self.height)

    @property
    def questions(self) -> int:
        """How many messages the owner sends."""
        return -(-self.blocks // _PER_MESSAGE)

    @property
    def answers(self) -> int:
        """How many messages the holder sends."""
        return -(-self.tiles // _PER_MESSAGE)

    @property
    def places(self) -> slice:
        """Where results stand in a polynomial."""
        return slice(self.block - 1, self.height * self.block, self.block)

    def check_noise(self, bits: int) -> None:
        """Raises `LatticeNoise` if entries of so many bits could be told from the noise.

        A result carries 3.24 |row| of the owner's noise, and half an entry for every input where
        sums run over 2^64; polynomials are full of rows, which count as well.
        """
        security_bits(DEGREE, wide.BITS)
        if not 0 < bits <= MAX_ENTRY_BITS:
            raise LatticeNoise(f"entries of {bits} bits; allowed are 1 to {MAX_ENTRY_BITS}")
        known = 2.0**bits * (NOISE_SD * sqrt(self.blocks * DEGREE) + self.inputs / 2)
        if known * 2**MARGIN_BITS > _FLOOD_SD:
            raise LatticeNoise(
                f"{self.inputs} inputs and entries of {bits} bits: the flood hides them by less "
                f"than {MARGIN_BITS} bits; use fewer bits"
            )


@wire.register
@dataclass(frozen=True, eq=False)
class IntegerQuestion:
    """A masked vector, or a part of it."""

    product: int
    start: int  # of the blocks of inputs
    masked: Annotated[Words, Shape("blocks", "words")]


@wire.register
@dataclass(frozen=True, eq=False)
class IntegerAnswer:
    """What the owner needs for its share, or a part of it."""

    product: int
    start: int  # of the tiles of outputs
    blind: Annotated[Words, Shape("tiles", "words")]
    masked: Annotated[Words, Shape("tiles", "packed")]


class IntegerOwner:
    """Has the vectors; ``session`` is fresh, known to both, and of this pair alone."""

    def __init__(
        self, session: bytes, threads: Threads, *, seed: bytes | None = None, candidate: int = 0
    ) -> None:
        """``seed`` is that of the candidate that was kept, drawn for this session alone."""
        self._session, self._threads = check_session(session), threads
        fresh = randomness.fresh_seed() if seed is None else seed
        self._key = SessionKey.of(session, fresh, candidate)
        self.key = IntegerKey(candidate, wide_values.pack(self._key.public))
        self._product, self._spent = 0, 0
        self._shape: ProductShape | None = None
        self._sent: list[IntegerQuestion] = []

    def __repr__(self) -> str:
        return "IntegerOwner(...)"

    async def ask(self, shape: ProductShape, vector: Words) -> list[IntegerQuestion]:
        """The messages for one product with ``vector`` (inputs,); `sent` gives them again.

        Raises `MaskReuse` if the key of the session has served its time.
        """
        if vector.shape != (shape.inputs,) or vector.dtype != np.uint64:
            raise ValueError(f"a vector {vector.dtype}{vector.shape} for {shape.inputs} inputs")
        if self._spent + shape.blocks > MAX_POLYNOMIALS:
            raise MaskReuse(f"a key masks {MAX_POLYNOMIALS} polynomials; begin another session")
        # Before anything is masked: whatever fails from here on, these numbers are spent.
        self._product, self._spent = self._product + 1, self._spent + shape.blocks
        self._shape, self._sent = shape, []
        noise, product = randomness.fresh_seed(), self._product

        def masked(block: int) -> Words:
            c = wide_noise.noise_polynomial(randomness.derive(noise, "question noise", block))
            some = vector[block * shape.block : (block + 1) * shape.block]
            c[:, : len(some)] = wide.add(c[:, : len(some)], wide_values.scaled(some))
            wide.transform(c.reshape(1, LIMBS, DEGREE))
            return wide_values.pack(
                self._key.under(c, _expanded(self._session, product, shape, block))
            )

        found = await self._threads.map(masked, range(shape.blocks))
        self._sent = [
            IntegerQuestion(product, start, np.stack(found[start : start + _PER_MESSAGE]))
            for start in range(0, shape.blocks, _PER_MESSAGE)
        ]
        return self.sent

    @property
    def sent(self) -> list[IntegerQuestion]:
        """The last question, for a retry: the same bytes."""
        return list(self._sent)

    async def read(self, parts: Sequence[IntegerAnswer]) -> Words:
        """Our share (outputs,) of the last product.

        Raises `InvalidAnswer` for what no honest holder sends.
        """
        shape = self._shape
        if shape is None:
            raise InvalidAnswer("an answer before the first question")
        starts = [(self._product, start) for start in range(0, shape.tiles, _PER_MESSAGE)]
        told = [(part.product, part.start) for part in parts]
        full = [min(_PER_MESSAGE, shape.tiles - start) for _, start in starts]
        sizes = [(len(part.blind), len(part.masked)) for part in parts]
        if told != starts or sizes != [(count, count) for count in full]:
            raise InvalidAnswer(f"other parts than those of product {self._product}")
        tiles = [pair for part in parts for pair in zip(part.blind, part.masked, strict=True)]

        def opened(tile: tuple[Words, Words]) -> Words:
            alpha = wide_values.unpack(tile[0], (1, LIMBS, DEGREE))
            beta = wide_values.unpack(tile[1], (LIMBS, shape.height))
            if alpha is None or beta is None:
                raise InvalidAnswer("numbers that are no residues")
            product = wide.add_products(self._key.k, alpha, _nothing()).reshape(1, LIMBS, DEGREE)
            at = np.ascontiguousarray(wide.inverse_transform(product)[0][:, shape.places])
            # Whether this fires depends on noise and errors, never on the result itself.
            result, honest = wide_values.rounded(wide.add(beta, at))
            if not honest:
                raise InvalidAnswer("a product with more noise than any honest answer has")
            return result

        found = await self._threads.map(opened, tiles)
        return np.concatenate(found)[: shape.outputs]


@dataclass(frozen=True, eq=False, repr=False)
class IntegerMatrix:
    """A matrix as it is multiplied: 24 bytes an entry."""

    shape: ProductShape
    bits: int
    polynomials: Wide  # (tiles, blocks, 3, n), transformed, Montgomery form


class IntegerHolder:
    """Has matrices; ``session`` and ``key`` are the owner's, ``committed`` the commitment to it.

    Raises `InvalidCiphertext` for what is no key, `InvalidKey` for another than was committed to.
    """

    def __init__(
        self,
        session: bytes,
        key: IntegerKey,
        *,
        budget: Budget,
        threads: Threads,
        committed: bytes | None = None,
    ) -> None:
        self._session, self._threads, self._budget = check_session(session), threads, budget
        public = wide_values.unpack(key.public, (LIMBS, DEGREE))
        if public is None or key.candidate < 0:
            raise InvalidCiphertext("not the public key of a session")
        if committed is not None and commitment(key) != committed:
            raise InvalidKey("a key that is not the one that was committed to")
        both = np.stack([public_polynomial(session, key.candidate), public])
        # Into Montgomery form: there and back.
        self._key = wide.transform(wide.inverse_transform(both), montgomery=True)
        self._product = 0
        self._asked: tuple[IntegerMatrix, bool, bytes] | None = None
        self._answered: tuple[list[IntegerAnswer], Words] | None = None

    async def encode(self, matrix: NDArray[np.int64], bits: int) -> IntegerMatrix:
        """``matrix`` (outputs, inputs) of |entries| < 2^bits, for any number of products.

        Raises `PackingOverflow` for larger entries, `LatticeNoise` for too many bits.
        """
        shape = ProductShape(*matrix.shape)
        shape.check_noise(bits)
        if max(int(matrix.max()), -int(matrix.min())) >= 2**bits:
            raise PackingOverflow(f"an entry of more than the agreed {bits} bits")
        out = np.empty((shape.tiles, shape.blocks, LIMBS, DEGREE), np.uint64)

        def one(tile: int) -> None:
            some = matrix[tile * shape.height : (tile + 1) * shape.height]
            for block in range(shape.blocks):
                part = some[:, block * shape.block : (block + 1) * shape.block]
                rows = np.zeros((DEGREE // shape.block, shape.block), np.int64)
                rows[: part.shape[0], shape.block - part.shape[1] :] = part[:, ::-1]
                out[tile, block] = wide_values.of_integers(rows.reshape(-1))
            wide.transform(out[tile], montgomery=True)

        await self._threads.map(one, range(shape.tiles))
        return IntegerMatrix(shape, bits, out)

    async def answer(
        self, matrix: IntegerMatrix, parts: Sequence[IntegerQuestion], *, shared: bool = True
    ) -> tuple[list[IntegerAnswer], Words]:
        """The messages for the owner, and our share (outputs,); zeros if it is not ``shared``.

        The same question again gives the same bytes; charges the budget, one vector, before
        anything else and raises `ProductBudgetExceeded`; raises `MaskReuse` for another question
        of the same number, `InvalidCiphertext` for anything that is not due.
        """
        asked = (matrix, shared, _digest(parts))
        if parts and parts[0].product <= self._product:
            if self._answered is not None and asked == self._asked:
                return self._answered
            raise MaskReuse(f"another question of product {parts[0].product}, which is answered")
        shape, product = matrix.shape, self._product + 1
        starts = [(product, start) for start in range(0, shape.blocks, _PER_MESSAGE)]
        full = [min(_PER_MESSAGE, shape.blocks - start) for _, start in starts]
        told = [(part.product, part.start) for part in parts]
        if told != starts or [len(part.masked) for part in parts] != full:
            raise InvalidCiphertext(f"other parts than those of product {product}")
        self._budget(1)
        self._product, self._asked, self._answered = product, asked, None
        masked = [row for part in parts for row in part.masked]

        def opened(block: int) -> Wide:
            c = wide_values.unpack(masked[block], (LIMBS, DEGREE))
            if c is None:
                raise InvalidCiphertext("numbers that are no residues")
            return np.stack([_expanded(self._session, product, shape, block), c])

        both = np.stack(await self._threads.map(opened, range(shape.blocks)), axis=1)
        tasks = [
            (polynomials, both, self._key, shape, shared) for polynomials in matrix.polynomials
        ]
        tiles = await self._threads.map(_answer, tasks)
        answers = []
        for start in range(0, shape.tiles, _PER_MESSAGE):
            some = tiles[start : start + _PER_MESSAGE]
            blind, beta = np.stack([t[0] for t in some]), np.stack([t[1] for t in some])
            answers.append(IntegerAnswer(product, start, blind, beta))
        share = np.uint64(0) - np.concatenate([t[2] for t in tiles])[: shape.outputs]
        self._answered = answers, share
        return self._answered


def _answer(task: tuple[Wide, Wide, Wide, ProductShape, bool]) -> tuple[Words, Words, Words]:
    """alpha and beta of a tile as they are sent, and u.  All of w, e1, e2, u are new."""
    polynomials, (a, c), (key_a, key_b), shape, shared = task
    seed, one = randomness.fresh_seed(), (1, LIMBS, DEGREE)
    w = wide.transform(
        wide_noise.ternary_polynomial(randomness.derive(seed, "integer w")).reshape(one)
    )
    e1 = wide_noise.noise_polynomial(randomness.derive(seed, "integer e1"))
    wide.transform(e1.reshape(one))
    alpha = wide.add_products(polynomials, a, wide.add_products(key_a.reshape(one), w, e1))
    beta = wide.add_products(polynomials, c, _nothing())
    wide.add_products(key_b.reshape(one), w, beta)
    wide.inverse_transform(beta.reshape(one))
    u = np.zeros(shape.height, np.uint64)
    if shared:
        u = randomness.words(randomness.derive(seed, "integer u"), shape.height)
    e2 = wide_noise.flood(randomness.derive(seed, "integer e2"), shape.height)
    hidden = wide.add(
        wide.add(np.ascontiguousarray(beta[:, shape.places]), e2), wide_values.scaled(u)
    )
    return wide_values.pack(alpha), wide_values.pack(hidden), u


def _nothing() -> Wide:
    return np.zeros((LIMBS, DEGREE), np.uint64)


def _expanded(session: bytes, product: int, shape: ProductShape, block: int) -> Wide:
    """The uniform half of a masked block; parties who mean other shapes find garbage."""
    numbers = (product, shape.outputs, shape.inputs, block)
    return wide_noise.uniform(randomness.derive(session, "integer question", *numbers))


def _digest(parts: Sequence[IntegerQuestion]) -> bytes:
    known = sha256()
    for part in parts:
        known.update(repr((part.product, part.start, part.masked.shape)).encode())
        known.update(part.masked.tobytes())
    return known.digest()
