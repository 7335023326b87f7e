"""Correlations of two parties without a dealer, by oblivious transfer.

A party has a number a, the other a bit b, and both want shares of a b.  They have a pseudo-random
function of which the first knows k_0 = F(0) and k_1 = F(1), and the other k_b alone
(`ml.crypto.ot_extension`)::

    first -> other   k_0 - k_1 + a
    first            -k_0
    other            k_b + b (k_0 - k_1 + a) = k_0 + a b

A product of words is 64 of these, one for each bit of a factor, and 4 kB; a triple is two such
products, and 66 microseconds of both parties together.  For small computations of parties who have
nobody to deal.

Assumption
    As `ml.crypto.ot_extension`; parties follow the protocol (semi-honest).
Source
    Gilboa, "Two party RSA key generation", CRYPTO 1999, § 4.1; correlated transfers as in Asharov,
    Lindell, Schneider, Zohner, CCS 2013, § 5.4.  Shared bits of a mask as in Damgard et al.,
    "New primitives for actively-secure MPC over rings", S&P 2019, § 4.
"""

from __future__ import annotations

import secrets
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.crypto import ot, ot_extension
from ml.crypto.correlations import Correlation, MatrixTriple, Shape, Shifted, Triple, Zeros
from ml.crypto.errors import WrongShare
from ml.crypto.fixed_point import Words
from ml.crypto.prg import KEY_BYTES, Stream
from ml.crypto.ristretto255 import POINT_BYTES

BATCH = 1 << 15  # transfers at a time: 2 MiB of corrections
_POINT_WORDS = POINT_BYTES // 8
_LEAST_DISTANCE = 128
_PLACES = np.arange(64, dtype=np.uint64)


class Peer(Protocol):
    """How the two talk; see `ml.crypto.beaver.Link`."""

    async def send(self, words: Words, to: int) -> None:
        """Give ``words`` to party ``to``."""
        ...

    async def receive(self, count: int, frm: int) -> Words:
        """The next words of party ``frm``; there must be ``count``."""
        ...


class Transferred:
    """One of two parties; a `Source` of `Triple`, `MatrixTriple`, `Shifted` and `Zeros`."""

    def __init__(
        self,
        index: int,
        peer: Peer,
        receiver: ot_extension.Receiver,
        sender: ot_extension.Sender,
        zeros: Stream,
    ) -> None:
        self._index, self._other, self._peer = index, 1 - index, peer
        self._receiver, self._sender, self._zeros = receiver, sender, zeros
        self._own = Stream(secrets.token_bytes(KEY_BYTES))
        self._received = self._sent = 0

    @classmethod
    async def begin(cls, index: int, peer: Peer, session: bytes) -> Transferred:
        """Party 0 or 1; ``session`` names the conversation and is the same at both."""
        if index not in (0, 1):
            raise ValueError(f"party {index}; transfers are between parties 0 and 1")
        names = [session + b" from %d" % k for k in (0, 1)]
        for name in names:
            _check_code(name)
        other, offer, choices = 1 - index, ot.Offer.new(), ot_extension.new_choices()
        seed = np.frombuffer(secrets.token_bytes(KEY_BYTES), np.uint64)
        await peer.send(np.concatenate([_words([offer.point]), seed]), other)
        theirs = await _exactly(peer, _POINT_WORDS + 2, other)
        [point] = _points(theirs[:_POINT_WORDS])
        choice = ot.Choice.of(point, choices, names[other])
        await peer.send(_words(choice.points), other)
        chosen = _points(await _exactly(peer, ot_extension.WIDTH * _POINT_WORDS, other))
        receiver = ot_extension.Receiver(offer.keys(chosen, names[index]), names[index])
        sender = ot_extension.Sender(choices, choice.keys, names[other])
        # Both know the stream of zeros: it hides their shares from nobody else.
        zeros = Stream((seed ^ theirs[_POINT_WORDS:]).tobytes())
        return cls(index, peer, receiver, sender, zeros)

    async def take(self, correlation: Correlation) -> tuple[Words, ...]:
        """See `Source`.  Raises `ValueError` for a correlation that transfers do not make."""
        if isinstance(correlation, Triple):
            a, b = (self._own.words(*correlation.shape) for _ in range(2))
            return a, b, await self._product(a, b)
        if isinstance(correlation, MatrixTriple):
            return await self._matrices(correlation)
        if isinstance(correlation, Shifted):
            return await self._shifted(correlation.shape, correlation.bits)
        if isinstance(correlation, Zeros):
            zeros = self._zeros.words(*correlation.shape)
            return (zeros if self._index == 0 else np.uint64(0) - zeros,)
        raise ValueError(f"{type(correlation).__name__} needs a dealer")

    async def _product(self, a: Words, b: Words) -> Words:
        """Shares of (a_0 + a_1)(b_0 + b_1), elementwise."""
        mine = np.repeat(a.reshape(-1, 1), 64, axis=1)
        bits = (b.reshape(-1, 1) >> _PLACES) & np.uint64(1)
        cross = np.uint64(0)
        for giver in (0, 1):  # a_giver times b of the other
            shares = await self._times_bits(giver, mine.ravel() if self._index == giver else bits)
            cross = cross + (shares.reshape(-1, 64) << _PLACES).sum(axis=1, dtype=np.uint64)
        product: Words = a * b + cross.reshape(a.shape)
        return product

    async def _matrices(self, shape: MatrixTriple) -> tuple[Words, ...]:
        a, b = self._own.words(shape.n, shape.k), self._own.words(shape.k, shape.m)
        full = (shape.n, shape.k, shape.m)
        left = np.broadcast_to(a[:, :, None], full).copy()
        right = np.broadcast_to(b[None], full).copy()
        return a, b, (await self._product(left, right)).sum(axis=1, dtype=np.uint64)

    async def _shifted(self, shape: Shape, shift: int) -> tuple[Words, ...]:
        """A mask of bits that nobody knows: r_i = x ^ y = x + y - 2 x y of the parties' bits."""
        own = self._own.words(*shape)
        bits = (own.reshape(-1, 1) >> _PLACES) & np.uint64(1)
        both = await self._times_bits(0, bits.ravel())
        shared = bits - (both.reshape(-1, 64) << np.uint64(1))
        mask = (shared << _PLACES).sum(axis=1, dtype=np.uint64)
        high = (shared[:, shift:] << _PLACES[: 64 - shift]).sum(axis=1, dtype=np.uint64)
        top = shared[:, 63].copy()
        return mask.reshape(shape), high.reshape(shape), top.reshape(shape)

    async def _times_bits(self, giver: int, mine: Words) -> Words:
        """Shares of the products of the giver's numbers and the other's bits, one by one."""
        flat = mine.ravel()
        out = np.empty_like(flat)
        for start in range(0, flat.size, BATCH):
            part = flat[start : start + BATCH]
            work = self._give if self._index == giver else self._choose
            out[start : start + BATCH] = await work(part)
        return out

    async def _give(self, numbers: Words) -> Words:
        n, size = numbers.size, ot_extension.padded(numbers.size)
        words = await _exactly(self._peer, size * ot_extension.WORDS, self._other)
        rows = self._sender.next(words.reshape(size, ot_extension.WORDS))
        tweaks, at = self._sent + np.arange(size, dtype=np.uint64), np.arange(size, dtype=np.uint32)
        self._sent += size
        zero, one = (
            self._sender.evaluate(rows, at, _inputs(np.full(size, bit, np.uint64)), tweaks).high[:n]
            for bit in (0, 1)
        )
        await self._peer.send(zero - one + numbers, self._other)
        return np.uint64(0) - zero

    async def _choose(self, bits: Words) -> Words:
        n, size = bits.size, ot_extension.padded(bits.size)
        chosen = np.zeros(size, np.uint64)
        chosen[:n] = bits
        tweaks = self._received + np.arange(size, dtype=np.uint64)
        self._received += size
        corrections, tags = self._receiver.next(_inputs(chosen), tweaks)
        await self._peer.send(corrections.ravel(), self._other)
        return tags.high[:n] + bits * await _exactly(self._peer, n, self._other)


def _inputs(bits: Words) -> NDArray[np.uint64]:
    return np.stack([bits, np.zeros_like(bits)], axis=1)


def _check_code(session: bytes) -> None:
    """Only two inputs are ever evaluated, so the distance of their code words is known."""
    code = ot_extension.Public(session).code(_inputs(np.arange(2, dtype=np.uint64)))
    apart = (code[0] ^ code[1])[: ot_extension.WORDS]
    if int(np.unpackbits(apart.view(np.uint8)).sum()) < _LEAST_DISTANCE:
        raise ValueError("the code words of 0 and 1 are too close; name the session otherwise")


def _words(points: tuple[bytes, ...] | list[bytes]) -> Words:
    return np.frombuffer(b"".join(points), np.uint64)


def _points(words: Words) -> list[bytes]:
    raw = words.tobytes()
    return [raw[k : k + POINT_BYTES] for k in range(0, len(raw), POINT_BYTES)]


async def _exactly(peer: Peer, count: int, frm: int) -> Words:
    words = await peer.receive(count, frm)
    if words.size != count:
        raise WrongShare(words.size, count)
    return words
