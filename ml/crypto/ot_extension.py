"""A pseudo-random function that one party evaluates on its own inputs without showing them.

The receiver has one input for each of many instances and gets the function of it; the sender has
the keys of all instances and can evaluate any input under any of them.  The sender learns nothing
of the inputs, the receiver nothing of the function elsewhere.  It costs `WIDTH` oblivious transfers
(`ml.crypto.ot`) once, then 56 bytes and a microsecond per instance.

Assumption
    SHA-256's compression function is correlation robust, AES-128 a pseudo-random function.  Parties
    follow the protocol (semi-honest): a receiver that sends other corrections can learn the
    function of more inputs, and a sender's keys are whatever it says.
Width
    The code words of two inputs must differ in 128 places or more.  With 448 places, two random
    ones differ in fewer with probability 2**-66.5; a sender who evaluates 3 x 2**24 inputs against
    one input each meets such a pair with probability 2**-40.9.
Source
    Kolesnikov, Kumaresan, Rosulek, Trieu, "Efficient Batched Oblivious PRF with Applications to
    Private Set Intersection", CCS 2016, fig. 2; the extension itself is Ishai, Kilian, Nissim,
    Petrank, CRYPTO 2003.

For instance j, with T0 and T1 the bit matrices that the two keys of each transfer expand to, s the
sender's choices and C a random code::

    receiver -> sender   u_j = t0_j ^ t1_j ^ C(x_j)
    receiver             F_j(x_j) = H(j, t0_j)
    sender               q_j = t_j ^ (u_j & s), with t_j the rows of the keys that it chose
    sender               F_j(y)   = H(j, q_j ^ (C(y) & s))
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from ml.crypto.bits import BLOCK, transpose
from ml.crypto.compiled import compiled, inlined
from ml.crypto.prg import Streams
from ml.crypto.sha256 import BLOCK_BYTES, LANES, lanes, mix, state_after

WIDTH = 448
WORDS = WIDTH // 64
TAG_BYTES = 12
MAX_EVALUATIONS = 3 * 2**24  # of a sender; see Width above

Words = NDArray[np.uint64]
Inputs = NDArray[np.uint64]  # (n, 2), each a hash of 128 bits


@dataclass(frozen=True)
class Tags:
    """Outputs of the function: 96 bits each."""

    high: NDArray[np.uint64]  # (n,)
    low: NDArray[np.uint32]  # (n,)

    @classmethod
    def empty(cls, n: int) -> Tags:
        return cls(np.empty(n, np.uint64), np.empty(n, np.uint32))

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, part: slice) -> Tags:
        return Tags(self.high[part], self.low[part])


@dataclass(frozen=True)
class Public:
    """What both parties derive from their session: the code and the hash."""

    session: bytes

    @cached_property
    def state(self) -> NDArray[np.uint32]:
        """Where hashing of a row goes on.  All inputs are one block, so none needs padding."""
        head = sha256(b"fatechain kkrt v1 tag" + self.session).digest()
        return state_after(head.ljust(BLOCK_BYTES, b"\0"))

    def code(self, inputs: Inputs) -> Words:
        """C of each input, (n, 8) words of which the first `WORDS` are used."""
        key = sha256(b"fatechain kkrt v1 code" + self.session).digest()[:16]
        blocks = np.repeat(inputs, 4, axis=0).reshape(-1, 4, 2)
        blocks[:, :, 0] ^= np.arange(4, dtype=np.uint64)
        encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  a PRF
        room = np.empty(blocks.nbytes + 16, np.uint8)
        encryptor.update_into(blocks.reshape(-1).view(np.uint8).data, room.data)
        return room[: blocks.nbytes].view(np.uint64).reshape(-1, 8)


class Receiver:
    """Has both keys of each transfer; instances are taken in order, in multiples of `BLOCK`."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]], session: bytes) -> None:
        _check_width(len(pairs))
        self._public = Public(session)
        self._zero = Streams([zero for zero, _ in pairs])
        self._one = Streams([one for _, one in pairs])

    def next(self, inputs: Inputs, tweaks: Words) -> tuple[Words, Tags]:
        """Corrections for the sender (n, `WORDS`), and F of each input under the next instances.

        ``tweaks`` (n,) are hashed into the outputs; the sender must use the same.
        """
        width = len(inputs) // 64
        zero, one = self._zero.words(width), self._one.words(width)
        one ^= zero
        rows, corrections = transpose(zero), transpose(one)
        corrections ^= self._public.code(inputs)[:, :WORDS]
        tags = Tags.empty(len(inputs))
        none = np.zeros(WORDS, np.uint64)
        at = np.arange(len(inputs), dtype=np.uint32)
        _tags(self._public.state, rows, at, rows, none, tweaks, tags.high, tags.low)
        return corrections, tags


class Sender:
    """Has the key that it chose of each transfer."""

    def __init__(self, bits: Sequence[bool], keys: Sequence[bytes], session: bytes) -> None:
        _check_width(len(bits))
        self._public = Public(session)
        self._bits = np.packbits(np.array(bits, np.uint8), bitorder="little").view(np.uint64)
        self._streams = Streams(keys)

    def next(self, corrections: Words) -> Words:
        """The keys of the next instances, (n, `WORDS`), from the receiver's corrections."""
        rows = transpose(self._streams.words(len(corrections) // 64))
        rows ^= corrections & self._bits
        return rows

    def evaluate(self, rows: Words, at: NDArray[np.uint32], inputs: Inputs, tweaks: Words) -> Tags:
        """F of each input under the instance ``rows[at]``."""
        tags = Tags.empty(len(inputs))
        code = self._public.code(inputs)
        _tags(self._public.state, rows, at, code, self._bits, tweaks, tags.high, tags.low)
        return tags


def new_choices() -> list[bool]:
    """A sender's secret choices, fresh for each receiver."""
    bits = secrets.randbits(WIDTH)
    return [bool(bits >> k & 1) for k in range(WIDTH)]


def padded(n: int) -> int:
    """The least number of instances that holds ``n``."""
    return -(-n // BLOCK) * BLOCK


def _check_width(found: int) -> None:
    if found != WIDTH:
        raise ValueError(f"{found} transfers; needed are {WIDTH}")


@inlined
def _swapped(x):
    """The four bytes of a word in the other order: SHA-256 reads big-endian words."""
    x = np.uint32(x)
    x = ((x & np.uint32(0x00FF00FF)) << np.uint32(8)) | (
        (x >> np.uint32(8)) & np.uint32(0x00FF00FF)
    )
    return (x << np.uint32(16)) | (x >> np.uint32(16))


@compiled
def _tags(state, rows, at, code, bits, tweaks, high, low):
    """The first 96 bits of the state after the block ``rows[at] ^ (code & bits) || tweak``."""
    w, room = np.empty((64, LANES), np.uint32), lanes()
    a, b, c = room[0], room[1], room[2]
    n = high.shape[0]
    for first in range(0, n, LANES):
        for k in range(LANES):
            e = min(first + k, n - 1)
            row = at[e]
            for i in range(WORDS):
                word = rows[row, i] ^ (code[e, i] & bits[i])
                w[2 * i, k] = _swapped(word & np.uint64(0xFFFFFFFF))
                w[2 * i + 1, k] = _swapped(word >> np.uint64(32))
            w[14, k] = _swapped(tweaks[e] & np.uint64(0xFFFFFFFF))
            w[15, k] = _swapped(tweaks[e] >> np.uint64(32))
        mix(state, w, room)
        for k in range(min(LANES, n - first)):
            high[first + k] = (np.uint64(a[k]) << np.uint64(32)) | np.uint64(b[k])
            low[first + k] = c[k]
