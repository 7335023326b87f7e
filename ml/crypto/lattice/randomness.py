"""Seeds with their purposes, uniform residues that both sides expand, and noise.

Expansion is AES-256 in counter mode.  Every purpose has a key of its own (`derive`), so no stream
can be mistaken for another: the matrix's polynomials, a batch's public key, noise.  Nobody sends
an expanded polynomial; both sides expand the seed they agreed on.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls; the typed faces stand below.)

from __future__ import annotations

import secrets
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from ml.crypto.compiled import compiled
from ml.crypto.lattice.ring import BITS, DEGREE, MODULUS, Q, Residues, residue

SEED_BYTES = 32
TILE = 240  # polynomials expanded at a time: as many as fit unreduced into a 64-bit sum
_DOMAIN = b"fatechain lattice products 1"
_ZEROS = bytes(2**20)
_WORDS_OF_SEED = TILE * DEGREE

_LOW = np.uint64(2**BITS - 1)
_THREE = np.uint64(3)
_HALF = np.uint64(2**21 - 1)
_SHIFT = np.uint64(21)
_M1, _M2, _M4 = (np.uint64(int(h, 16)) for h in ("5" * 16, "3" * 16, "0F" * 8))
_M01 = np.uint64(int("01" * 8, 16))
_S1, _S2, _S4, _S56 = (np.uint64(s) for s in (1, 2, 4, 56))
_WORD = np.uint64(2**32 - 1)
_S32 = np.uint64(32)


def fresh_seed() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(SEED_BYTES)


def derive(seed: bytes, purpose: str, *numbers: int) -> bytes:
    """The key of one purpose: SHA-256 over the seed, the purpose and where it is used."""
    parts = [_DOMAIN, purpose.encode(), seed, *(n.to_bytes(8, "big") for n in numbers)]
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def words(key: bytes, count: int, first: int = 0) -> NDArray[np.uint64]:
    """``count`` 64-bit words of the stream of ``key`` from word ``first`` (even) on; writable."""
    cipher = Cipher(algorithms.AES(key), modes.CTR((first // 2).to_bytes(16, "big"))).encryptor()
    out = np.empty(count, "<u8")
    view = out.data.cast("B")
    for start in range(0, len(view), len(_ZEROS)):
        part = view[start : start + len(_ZEROS)]
        cipher.update_into(memoryview(_ZEROS)[: len(part)], part)
    return out


# --- uniform residues -----------------------------------------------------------------------


@compiled
def _cut(stream, rejected):
    """Words to 56 bits; where one is not below q goes into ``rejected``; how many there are."""
    count = 0
    for j in range(stream.shape[0]):
        x = stream[j] & _LOW
        stream[j] = x
        if x >= Q:
            if count < rejected.shape[0]:
                rejected[count] = j
            count += 1
    return count


def uniform(stream: NDArray[np.uint64], key: bytes, first: int = 0) -> Residues:
    """Uniform residues from words of the stream of ``key``, in place, by rejection.

    One in 2^24 words is not below q; it is drawn again from a stream of its own place.
    """
    rejected = np.empty(1024, np.int64)
    count = _cut(stream, rejected)
    assert count <= len(rejected)  # 2^-24 of at most 2^20 words
    for j in rejected[:count].tolist():
        stream[j] = _again(key, first + j)
    return stream


def _again(key: bytes, place: int) -> int:
    tries = 0
    while True:
        found = int.from_bytes(derive(key, "rejected", place, tries)[:7], "little")
        if found < MODULUS:
            return found
        tries += 1


def tile(key: bytes, number: int, rows: int = TILE) -> Residues:
    """The first ``rows`` polynomials of a tile, transformed domain, (rows, n)."""
    first = number * _WORDS_OF_SEED
    return uniform(words(key, rows * DEGREE, first), key, first).reshape(rows, DEGREE)


def polynomial(key: bytes) -> Residues:
    """One uniform polynomial (n,), transformed domain."""
    return uniform(words(key, DEGREE), key)


# --- noise ----------------------------------------------------------------------------------


@compiled
def _count_bits(x):
    x = x - ((x >> _S1) & _M1)
    x = (x & _M2) + ((x >> _S2) & _M2)
    x = (x + (x >> _S4)) & _M4
    return (x * _M01) >> _S56


@compiled
def binomial(word):
    """Centred binomial with 21 and 21 bits of a word: s.d. 3.24, at most 21."""
    plus = _count_bits(word & _HALF)
    return np.int64(plus) - np.int64(_count_bits((word >> _SHIFT) & _HALF))


@compiled
def ternary(word):
    """-1, 0 or 1; the bias of a 64-bit word modulo 3 is below 2^-62."""
    return np.int64(word % _THREE) - 1


@compiled
def flood(stream, place, width):
    """A sum of eight uniform numbers below ``width``, less its mean, from four words."""
    total = np.uint64(0)
    for j in range(4 * place, 4 * place + 4):
        total += ((stream[j] & _WORD) * width) >> _S32
        total += ((stream[j] >> _S32) * width) >> _S32
    return np.int64(total) - np.int64(4 * (width - _S1))


@compiled
def _fill_ternary(stream, out):
    for j in range(out.shape[0]):
        out[j] = residue(ternary(stream[j]))


@compiled
def _fill_binomial(stream, out):
    for j in range(out.shape[0]):
        out[j] = residue(binomial(stream[j]))


def ternary_residues(seed: bytes, count: int) -> Residues:
    """Uniform in {-1, 0, 1}, as residues; (count,)."""
    out = np.empty(count, np.uint64)
    _fill_ternary(words(seed, count), out)
    return out


def binomial_residues(seed: bytes, count: int) -> Residues:
    """Centred binomial noise as residues; (count,)."""
    out = np.empty(count, np.uint64)
    _fill_binomial(words(seed, count), out)
    return out
