"""Computing with shares between sites: `ml.crypto.beaver` over the channels of a job.

Scenario
    The guest and the hosts compute, the arbiter deals.  At the guest and at hosts::

        computer = await shares.join(ch)

    and the same calls in the same order at all of them; at the arbiter::

        dealer = await shares.deal(ch)

    and the calls of the same names.  With `join_checked` and `deal_checked` numbers carry tags, and
    a party that does not follow the protocol is caught before a result is used.  An algorithm
    names `MESSAGES` among its own.
Who learns what
    Only `Revealed` tells anybody anything.  The arbiter learns shapes, and how far the others are.
What is not protected
    Parties follow the protocol (semi-honest), but for the checked form.  The arbiter must not work
    together with one of the others: a party's numbers are hidden by what it dealt.  So that it need
    not be trusted with what crosses between the others, that is enciphered under keys which it does
    not have.
Rounds
    Greetings once; then as `Computer` says.  Corrections are dealt ahead of their use, as far as
    the last party has room.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.crypto.authenticated import CheckedComputer, CheckedDealer
from ml.crypto.beaver import Computer, Dealer, DealtMatrix
from ml.crypto.correlations import Rows, Shape
from ml.crypto.dh import PUBLIC_BYTES, Secret
from ml.crypto.errors import WrongShare
from ml.crypto.fixed_point import Words
from ml.crypto.prg import KEY_BYTES, Stream
from ml.crypto.series import Series
from ml.crypto.transferred import Transferred
from ml.errors import ProtocolViolation
from ml.federation import ARBITER, GUEST, HOST, Channel, Message, Party
from ml.wire import Shape as WireShape

PIECE_WORDS = 1 << 21  # of one message: 16 MiB
MARK_WORDS = 1 << 21  # the last party says how far it is after so many words,
MARK_CORRECTIONS = 16  # or so many corrections, whatever is first;
AHEAD = 2  # and the dealer is no more than so many marks ahead of it

Vector = Annotated[NDArray[np.uint64], WireShape("words")]


class Greeting(Message, sender=(GUEST, HOST), to=(GUEST, HOST)):
    """A public key, from which both derive a secret one.  The receiver learns nothing."""

    public: bytes


class Seed(Message, sender=ARBITER, to=(GUEST, HOST)):
    """Sixteen random bytes, which stand for as many random numbers as are needed."""

    seed: bytes


class Correction(Message, sender=ARBITER, to=HOST):
    """Random-looking numbers that make those of all parties fit.  The host learns nothing."""

    words: Vector


class Masked(Message, sender=(GUEST, HOST), to=(GUEST, HOST)):
    """Numbers under masks that are used once.  The receiver learns nothing."""

    words: Vector


class Taken(Message, sender=HOST, to=ARBITER):
    """The host has used what was dealt.  The arbiter learns how far the job is."""


class Revealed(Message, sender=(GUEST, HOST), to=(GUEST, HOST)):
    """A share of a result: with those of all others the receiver learns this result."""

    words: Vector


MESSAGES: tuple[type[Message], ...] = (Greeting, Seed, Correction, Masked, Taken, Revealed)


def computing(ch: Channel) -> tuple[Party, ...]:
    """The parties that compute, in the order of their numbers: the guest, then the hosts."""
    of = [[p for p in ch.parties if p.role == role] for role in (GUEST, HOST)]
    if len(of[0]) != 1 or not of[1]:
        raise ProtocolViolation(f"{len(of[0])} guests and {len(of[1])} hosts; allowed is 1 with 1+")
    return (*of[0], *of[1])


async def join(ch: Channel) -> Computer:
    """This party's part of the computation, at the guest and at hosts."""
    return Computer(*await _joined(ch))


async def join_checked(ch: Channel) -> CheckedComputer:
    """The same with tags, for parties that need not follow the protocol; see `deal_checked`."""
    return CheckedComputer(*await _joined(ch))


async def pair(ch: Channel) -> Computer:
    """The same for a guest and one host without an arbiter: by oblivious transfer.

    Products of shared numbers, truncation and results only, at 4 to 8 kB for each; the rest raises
    `ValueError`.
    """
    parties, link = await _greeted(ch)
    if len(parties) != 2:
        raise ProtocolViolation(f"{len(parties)} parties compute; without an arbiter it must be 2")
    index = parties.index(ch.me)
    source = await Transferred.begin(index, link, b"shares " + ch.context)
    return Computer(index, 2, None, link, source)


async def _joined(ch: Channel) -> tuple[int, int, bytes, _ChannelLink]:
    parties, link = await _greeted(ch)
    seed = (await ch.receive(Seed)).seed
    if len(seed) != KEY_BYTES:
        raise ProtocolViolation(f"a seed of {len(seed)} bytes; needed are {KEY_BYTES}")
    return parties.index(ch.me), len(parties), seed, link


async def _greeted(ch: Channel) -> tuple[tuple[Party, ...], _ChannelLink]:
    """The computing parties, and a link to them that nobody else can read."""
    parties = computing(ch)
    secret = Secret.new()
    await ch.send(Greeting(secret.public))
    keys: dict[Party, tuple[_Cipher, _Cipher]] = {}
    for party in parties:
        if party != ch.me:
            theirs = (await ch.receive(Greeting, party)).public
            if len(theirs) != PUBLIC_BYTES:
                raise ProtocolViolation(f"{party} sent a key of {len(theirs)} bytes")
            keys[party] = (
                _Cipher(secret, theirs, _purpose(ch, ch.me, party)),
                _Cipher(secret, theirs, _purpose(ch, party, ch.me)),
            )
    return parties, _ChannelLink(ch, parties, keys)


async def deal(ch: Channel) -> ChannelDealer:
    """The arbiter's part."""
    parties = computing(ch)
    dealer = Dealer(len(parties))
    await _give(ch, parties, dealer.seeds)
    return ChannelDealer(_Corrector(ch, parties[-1]), dealer)


async def deal_checked(ch: Channel) -> CheckedChannelDealer:
    """The arbiter's part where the others `join_checked`."""
    parties = computing(ch)
    dealer = CheckedDealer(len(parties))
    await _give(ch, parties, dealer.seeds)
    return CheckedChannelDealer(_Corrector(ch, parties[-1]), dealer)


async def _give(ch: Channel, parties: tuple[Party, ...], seeds: tuple[bytes, ...]) -> None:
    for party, seed in zip(parties, seeds, strict=True):
        await ch.send(Seed(seed), party)


class _Corrector:
    """Sends corrections to the last party, no further ahead than it has room."""

    def __init__(self, ch: Channel, last: Party) -> None:
        self._ch, self._last = ch, last
        self._marks, self._ahead = _Marks(), 0

    async def send(self, words: Words) -> None:
        for piece in _pieces(words):
            await self._ch.send(Correction(piece), self._last)
        if self._marks.passed(words.size):
            self._ahead += 1
        while self._ahead > AHEAD:
            await self._ch.receive(Taken, self._last)
            self._ahead -= 1


@dataclass
class CheckedChannelDealer:
    """The calls of `CheckedDealer`; what they return goes to the last party."""

    corrector: _Corrector
    dealer: CheckedDealer

    async def input(self, shape: Shape, owner: int) -> None:
        """See `CheckedComputer.input`."""
        await self.corrector.send(self.dealer.input(shape, owner))

    async def multiply(self, shape: Shape) -> None:
        """See `CheckedComputer.multiply`."""
        await self.corrector.send(self.dealer.multiply(shape))

    async def reveal(self, shape: Shape) -> None:
        """See `CheckedComputer.reveal`."""
        await self.corrector.send(self.dealer.reveal(shape))


@dataclass
class ChannelDealer:
    """The calls of `Dealer`; what they return goes to the last party."""

    corrector: _Corrector
    dealer: Dealer

    async def matrix(self, shape: tuple[int, int], owner: int) -> DealtMatrix:
        """See `Computer.matrix`."""
        return self.dealer.matrix(shape, owner)

    async def product(
        self,
        matrix: DealtMatrix,
        columns: int | None = None,
        rows: Rows = None,
        *,
        transposed: bool = False,
    ) -> None:
        """See `Computer.product`; ``columns`` of w, None for a vector."""
        await self.corrector.send(self.dealer.product(matrix, columns, rows, transposed=transposed))

    async def multiply(self, shape: Shape) -> None:
        """See `Computer.multiply`."""
        await self.corrector.send(self.dealer.multiply(shape))

    async def matmul(self, n: int, k: int, m: int) -> None:
        """See `Computer.matmul`."""
        await self.corrector.send(self.dealer.matmul(n, k, m))

    async def truncate(self, shape: Shape, bits: int) -> None:
        """See `Computer.truncate`."""
        await self.corrector.send(self.dealer.truncate(shape, bits))

    async def series(self, shape: Shape, series: Series) -> None:
        """See `Computer.series`."""
        for correction in self.dealer.series(shape, series):
            await self.corrector.send(correction)

    async def negative(self, shape: Shape) -> None:
        """See `Computer.negative`."""
        for correction in self.dealer.negative(shape):
            await self.corrector.send(correction)

    async def positive_part(self, shape: Shape) -> None:
        """See `Computer.positive_part`."""
        for correction in self.dealer.positive_part(shape):
            await self.corrector.send(correction)

    async def reveal(self, shape: Shape) -> None:
        """See `Computer.reveal`."""
        await self.corrector.send(self.dealer.reveal(shape))


class _Marks:
    """Where dealer and last party look at how far they are; the same at both."""

    def __init__(self) -> None:
        self._words = self._corrections = 0

    def passed(self, words: int) -> bool:
        """Whether a correction of so many words ends a stretch."""
        self._words += words
        self._corrections += 1
        if self._words < MARK_WORDS and self._corrections < MARK_CORRECTIONS:
            return False
        self._words = self._corrections = 0
        return True


class _Cipher:
    """Words of one direction, under a key of the two parties.

    Masked words and results are streams of their own: a receiver may take one before the other.
    """

    def __init__(self, secret: Secret, theirs: bytes, purpose: bytes) -> None:
        keys = secret.agree(theirs, purpose, 2 * KEY_BYTES)
        self._masked, self._results = Stream(keys[:KEY_BYTES]), Stream(keys[KEY_BYTES:])

    def apply(self, words: Words, *, result: bool) -> Words:
        """Encipher, or decipher, the next words."""
        return words ^ (self._results if result else self._masked).words(words.size)


@dataclass
class _ChannelLink:
    """A `Link` over a channel."""

    ch: Channel
    parties: tuple[Party, ...]
    keys: dict[Party, tuple[_Cipher, _Cipher]]  # to that party, from that party
    _marks: _Marks = field(init=False)

    def __post_init__(self) -> None:
        self._marks = _Marks()

    async def send(self, words: Words, to: int, *, result: bool = False) -> None:
        kind = Revealed if result else Masked
        party = self.parties[to]
        for piece in _pieces(words):
            await self.ch.send(kind(self.keys[party][0].apply(piece, result=result)), party)

    async def receive(self, count: int, frm: int, *, result: bool = False) -> Words:
        party = self.parties[frm]
        kind: type[Masked] | type[Revealed] = Revealed if result else Masked
        out = np.empty(count, np.uint64)
        for part in _places(count):
            words = (await self.ch.receive(kind, party)).words
            out[part] = self.keys[party][1].apply(_exactly(words, part), result=result)
        return out

    async def dealt(self, count: int) -> Words:
        out = np.empty(count, np.uint64)
        for part in _places(count):
            out[part] = _exactly((await self.ch.receive(Correction)).words, part)
        if self._marks.passed(count):
            await self.ch.send(Taken())
        return out


def _places(count: int) -> list[slice]:
    """Where the messages of ``count`` words go; no words are one message without any."""
    return [
        slice(start, min(start + PIECE_WORDS, count))
        for start in range(0, max(count, 1), PIECE_WORDS)
    ]


def _pieces(words: Words) -> list[Words]:
    return [words[part] for part in _places(words.size)]


def _exactly(words: Words, part: slice) -> Words:
    if words.size != part.stop - part.start:
        raise WrongShare(words.size, part.stop - part.start)
    return words


def _purpose(ch: Channel, sender: Party, receiver: Party) -> bytes:
    """The direction, and the conversation, that a key is for."""
    names = "\n".join(map(str, (sender, receiver))).encode()
    return b"shares " + sha256(names).digest() + ch.context
