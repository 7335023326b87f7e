"""Products of a private bit and a private number, left as additive shares in Z_2^32.

The *correlator* has numbers x, the *chooser* a bit b for each; they end with random shares of b·x,
modulo 2^32.  Neither learns anything of what the other has.  It costs `WIDTH` oblivious transfers
(`ml.crypto.ot`) once, then 16 bytes from the chooser and 4 bytes a number from the correlator.

Assumption
    AES-128 under a fixed key is a random permutation, and its counter mode a pseudo-random
    function.  Parties follow the protocol (semi-honest): a chooser that sends other columns learns
    about the correlator's choices, a correlator may correlate by any number it likes.
Source
    Ishai, Kilian, Nissim, Petrank, CRYPTO 2003, § 3; Asharov, Lindell, Schneider, Zohner, CCS 2013,
    § 5.4 (correlated transfer); the hash is TMMO of Guo, Katz, Wang, Yu, IEEE S&P 2020, § 7.4.

For instance j, with T0 and T1 the bit matrices that the two keys of each transfer expand to, s the
correlator's choices, H a hash, r the chooser's bits::

    chooser    -> correlator   u = T0 ^ T1 ^ r                      (by column)
    correlator                 q_j = t_j ^ (r_j & s)                with t_j row j of T0
    correlator -> chooser      d_j = H(j, q_j) - H(j, q_j ^ s) + x_j
    correlator                 its share is -H(j, q_j)
    chooser                    its share is H(j, t_j) + r_j d_j
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from ml.crypto.bits import BLOCK, transpose
from ml.crypto.prg import KEY_BYTES, Streams

WIDTH = 128  # oblivious transfers, and bits of a row

_NUMBERS_PER_BLOCK = 4  # of 32 bits in a block of AES

Words = NDArray[np.uint64]
Bits = NDArray[np.bool_]
Numbers = NDArray[np.uint32]  # (n, outputs), modulo 2^32


def width_of(n: int) -> int:
    """How many 64-bit words of each column hold ``n`` instances."""
    return -(-n // BLOCK) * (BLOCK // 64)


def new_choices() -> list[bool]:
    """A correlator's secret choices, fresh for each chooser."""
    bits = secrets.randbits(WIDTH)
    return [bool(bits >> k & 1) for k in range(WIDTH)]


@dataclass(frozen=True, eq=False, repr=False)
class Chosen:
    """Instances for which the correlator's answer is awaited."""

    bits: Bits  # (n,)
    pads: Numbers

    def shares(self, differences: Numbers) -> Numbers:
        """The chooser's shares of bit times number; both have the shape of the pads."""
        return np.where(self.bits[:, None], self.pads + differences, self.pads)


class Chooser:
    """Has both keys of each transfer; instances are taken in order."""

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]], session: bytes) -> None:
        _check_width(len(pairs))
        self._hash = _Hash(session)
        self._zero = Streams([zero for zero, _ in pairs])
        self._one = Streams([one for _, one in pairs])

    def next(self, bits: Bits, outputs: int) -> tuple[Words, Chosen]:
        """Columns for the correlator (`WIDTH`, `width_of(n)`), and the next n instances."""
        width = width_of(len(bits))
        zero, one = self._zero.words(width), self._one.words(width)
        one ^= zero
        one ^= _packed(bits, width)
        rows = transpose(zero)[: len(bits)]
        return one, Chosen(bits, self._hash.next(len(bits)).numbers(rows, outputs))


class Correlator:
    """Has the key that it chose of each transfer; instances are taken in order."""

    def __init__(self, choices: Sequence[bool], keys: Sequence[bytes], session: bytes) -> None:
        _check_width(len(choices))
        self._hash = _Hash(session)
        self._choices = np.array(choices, np.bool_)
        self._bits = _packed(self._choices, WIDTH // 64)
        self._streams = Streams(keys)

    def next(self, columns: Words, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """The differences for the chooser, and our own shares, both of the shape of ``numbers``."""
        width = width_of(len(numbers))
        if columns.shape != (WIDTH, width):
            raise ValueError(f"columns of shape {columns.shape}; needed are {(WIDTH, width)}")
        words = self._streams.words(width)
        words[self._choices] ^= columns[self._choices]
        rows = transpose(words)[: len(numbers)]
        pads = self._hash.next(len(numbers))
        zero = pads.numbers(rows, numbers.shape[1])
        one = pads.numbers(rows ^ self._bits, numbers.shape[1])
        return zero - one + numbers, -zero


class _Hash:
    """H(j, row) = P(P(row) ^ j) ^ P(row), P being AES under a key that both derive."""

    def __init__(self, session: bytes) -> None:
        self._key = sha256(b"fatechain correlated ot v1" + session).digest()[:KEY_BYTES]
        self._first = 0

    def next(self, count: int) -> _Pads:
        """The hash for the next instances."""
        first, self._first = self._first, self._first + count
        return _Pads(self._key, first)


@dataclass(frozen=True, repr=False)
class _Pads:
    key: bytes
    first: int

    def numbers(self, rows: Words, outputs: int) -> Numbers:
        """``outputs`` numbers of each row (n, 2) of these instances."""
        blocks = -(-outputs // _NUMBERS_PER_BLOCK)
        inner = self._permuted(rows)
        outer = np.repeat(inner[:, None, :], blocks, axis=1)
        mixed = outer.copy()
        mixed[:, :, 0] ^= np.arange(self.first, self.first + len(rows), dtype=np.uint64)[:, None]
        mixed[:, :, 1] ^= np.arange(blocks, dtype=np.uint64)
        outer ^= self._permuted(mixed)
        return outer.reshape(len(rows), -1).view(np.uint32)[:, :outputs]

    def _permuted(self, blocks: Words) -> Words:
        encryptor = Cipher(algorithms.AES(self.key), modes.ECB()).encryptor()  # noqa: S305  a permutation
        blocks = np.ascontiguousarray(blocks)
        room = np.empty(blocks.nbytes + 16, np.uint8)
        encryptor.update_into(blocks.reshape(-1).view(np.uint8).data, room.data)
        return room[: blocks.nbytes].view(np.uint64).reshape(blocks.shape)


def _packed(bits: Bits, width: int) -> Words:
    """Bits as 64-bit words, the first one lowest, filled up with zeros."""
    room = np.zeros(width * 64, np.bool_)
    room[: len(bits)] = bits
    return np.packbits(room, bitorder="little").view(np.uint64)


def _check_width(found: int) -> None:
    if found != WIDTH:
        raise ValueError(f"{found} transfers; needed are {WIDTH}")
