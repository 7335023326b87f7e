"""Numbers in the wide ring: into residues, back by rounding, and on the wire."""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls; the typed faces stand below.)

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled, high_product
from ml.crypto.lattice.wide import (
    DELTA,
    LIMBS,
    MODULUS,
    PRIMES,
    WORD,
    Q,
    Wide,
    below_twice,
    factors,
    less,
)

_RESIDUE_BITS, _GROUP = 52, 16  # sixteen residues travel in thirteen words
_PACKED_GROUP = _GROUP * _RESIDUE_BITS // 64
# How far noise may carry a result from a whole number, of 2^62: the flood 0.28, the rest nothing.
_FAR = np.uint64(2**62 * 3 // 10)

_ONE, _TWO = np.uint64(1), np.uint64(2)
_B52, _B64, _LOW52 = np.uint64(52), np.uint64(64), np.uint64(2**52 - 1)
_B61, _B62, _B63 = np.uint64(61), np.uint64(62), np.uint64(63)
_LOW62 = np.uint64(2**62 - 1)

_DELTA = factors((DELTA,) * LIMBS)
# (q / q_i)^-1 modulo q_i, and 2^128 / q_i in two words: what rounding takes.
_COFACTOR = factors(tuple(pow(MODULUS // q, -1, q) for q in PRIMES))
_RECIPROCAL = np.array([divmod(WORD**2 // q, WORD) for q in PRIMES], np.uint64).T.copy()


# --- numbers --------------------------------------------------------------------------------


@compiled
def _of_integers(values, out):
    for k in range(LIMBS):
        for j in range(values.shape[0]):
            x = values[j]
            out[k, j] = np.uint64(x) if x >= 0 else Q[k] - np.uint64(-x)


def of_integers(values: NDArray[np.int64]) -> Wide:
    """Signed numbers (m,) of absolute value below 2^51 as residues (3, m)."""
    out = np.empty((LIMBS, len(values)), np.uint64)
    _of_integers(values, out)
    return out


@compiled
def _scaled(values, out):
    for j in range(values.shape[0]):
        x = values[j]
        negative = x >> _B63
        if negative:
            x = np.uint64(0) - x
        for k in range(LIMBS):
            y = less(below_twice(x, _DELTA[0, k], _DELTA[1, k], Q[k]), Q[k])
            out[k, j] = Q[k] - y if negative and y else y


def scaled(values: NDArray[np.uint64]) -> Wide:
    """delta times numbers modulo 2^64 (m,), the upper half taken as negative: (3, m)."""
    out = np.empty((LIMBS, len(values)), np.uint64)
    _scaled(values, out)
    return out


@compiled
def _rounded(residues, out):
    furthest = np.uint64(0)
    for j in range(out.shape[0]):
        whole, part = np.uint64(0), np.uint64(0)
        for k in range(LIMBS):
            x = below_twice(residues[k, j], _COFACTOR[0, k], _COFACTOR[1, k], Q[k])
            x = less(x, Q[k])
            whole += x * _RECIPROCAL[0, k] + high_product(x, _RECIPROCAL[1, k])
            part += (x * _RECIPROCAL[1, k]) >> _TWO
        part += _ONE << _B61
        out[j] = whole + (part >> _B62)
        part &= _LOW62
        half = _ONE << _B61
        furthest = max(furthest, part - half if part > half else half - part)
    return furthest


def rounded(residues: Wide) -> tuple[NDArray[np.uint64], bool]:
    """The numbers modulo 2^64 nearest to residues (3, m) over delta; and if noise is honest.

    2^64 d / q modulo 2^64 is the sum of 2^64 t_i / q_i with t_i = d (q / q_i)^-1 modulo q_i.
    """
    out = np.empty(residues.shape[1], np.uint64)
    return out, bool(_rounded(residues, out) <= _FAR)


# --- on the wire ------------------------------------------------------------------------------


@compiled
def _pack(residues, out):
    at, filled, word = 0, np.uint64(0), np.uint64(0)
    for j in range(residues.shape[0]):
        x = residues[j]
        word |= x << filled
        filled += _B52
        if filled >= _B64:
            out[at] = word
            at += 1
            filled -= _B64
            word = x >> (_B52 - filled)


@compiled
def _unpack(data, run, out):
    at, held, word = 0, np.uint64(0), np.uint64(0)
    canonical = True
    for j in range(out.shape[0]):
        x = word
        if held < _B52:
            word = data[at]
            at += 1
            x |= word << held
            word >>= _B52 - held
            held += _B64 - _B52
        else:
            word >>= _B52
            held -= _B52
        x &= _LOW52
        out[j] = x
        canonical &= x < Q[(j // run) % LIMBS]
    return canonical


def packed_words(count: int) -> int:
    """How many 64-bit words carry ``count`` residues."""
    return -(-count // _GROUP) * _PACKED_GROUP


def pack(residues: Wide) -> NDArray[np.uint64]:
    """Residues of any shape, 52 bits each, padded with zeros to sixteens."""
    flat = residues.reshape(-1)
    if len(flat) % _GROUP:
        flat = np.concatenate([flat, np.zeros(-len(flat) % _GROUP, np.uint64)])
    out = np.empty(packed_words(len(flat)), np.uint64)
    _pack(flat, out)
    return out


def unpack(data: NDArray[np.uint64], shape: tuple[int, ...]) -> Wide | None:
    """Residues (..., 3, m); None for another number of words, or one not below its prime."""
    count = int(np.prod(shape))
    if len(data) != packed_words(count):
        return None
    padded = np.empty(-(-count // _GROUP) * _GROUP, np.uint64)
    # What fills up the last sixteen is zero, so it is below any prime.
    canonical = _unpack(np.ascontiguousarray(data, np.uint64), shape[-1], padded)
    return padded[:count].reshape(shape) if canonical and not padded[count:].any() else None
