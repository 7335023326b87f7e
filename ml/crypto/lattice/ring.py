"""Polynomials modulo x^n + 1 and q: the number-theoretic transform, and products through it.

q = 2^56 - 2^32 + 1 is prime, 1 modulo 2n = 8192 (so x^n + 1 splits) and 1 modulo 2^32 (so that
shares modulo 2^32 can be rounded exactly).  Residues are uint64 below q; a polynomial is an array
(n,), and one in the transformed domain is multiplied value by value.

Source: Harvey, Faster arithmetic for number-theoretic transforms, J. Symb. Comp. 60, 2014 (lazy
butterflies with the quotients of Shoup).
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls; the typed faces stand below.)

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled, high_product, inlined

DEGREE = 4096
MODULUS = 2**56 - 2**32 + 1
BITS = 56

Residues = NDArray[np.uint64]

Q = np.uint64(MODULUS)
_Q4 = np.uint64(4 * MODULUS)
_LOW = np.uint64(2**BITS - 1)
_BITS = np.uint64(BITS)
_FOLD = np.uint64(2**32 - 1)  # 2^56 modulo q
_ONE = np.uint64(1)
_HALF = np.uint64(32)
_HALF_LOW = np.uint64(2**32 - 1)
_LANES = 8  # 64-bit words in the widest vectors of a processor


# --- residues -------------------------------------------------------------------------------


@inlined
def reduced(x: np.uint64) -> np.uint64:
    """Any 64-bit number modulo q."""
    y = (x & _LOW) + (x >> _BITS) * _FOLD
    return y - Q if y >= Q else y


@inlined
def plus(a: np.uint64, b: np.uint64) -> np.uint64:
    """a + b modulo q."""
    x = a + b
    return x - Q if x >= Q else x


@inlined
def minus(a: np.uint64, b: np.uint64) -> np.uint64:
    """a - b modulo q."""
    return a - b if a >= b else a + Q - b


@inlined
def residue(x: int) -> np.uint64:
    """A signed number of absolute value below q as a residue."""
    return np.uint64(x) if x >= 0 else Q - np.uint64(-x)


@inlined
def lazy_times(x: np.uint64, factor: np.uint64, quotient: np.uint64) -> np.uint64:
    """x times ``factor`` modulo q, below 2q; ``quotient`` is floor(factor 2^64 / q)."""
    found: np.uint64 = x * factor - high_product(x, quotient) * Q
    return found


@inlined
def lazier_times(x: np.uint64, factor: np.uint64, quotient: np.uint64) -> np.uint64:
    """As `lazy_times`, below 4q: without the lowest partial product, so that vectors can do it."""
    high, low = x >> _HALF, x & _HALF_LOW
    upper, lower = quotient >> _HALF, quotient & _HALF_LOW
    estimate = high * upper + ((high * lower) >> _HALF) + ((low * upper) >> _HALF)
    return x * factor - estimate * Q


# --- the transform --------------------------------------------------------------------------


class _Roots(NamedTuple):
    """Powers of a 2n-th root of unity in bit-reversed order, with their Shoup quotients."""

    forward: Residues
    forward_quotients: Residues
    inverse: Residues
    inverse_quotients: Residues
    scale: Residues  # 1/n and its quotient


@cache
def _roots() -> _Roots:
    width = DEGREE.bit_length() - 1
    generator = next(g for g in range(2, 100) if pow(g, (MODULUS - 1) // 2, MODULUS) != 1)
    root = pow(generator, (MODULUS - 1) // (2 * DEGREE), MODULUS)
    order = [int(format(i, f"0{width}b")[::-1], 2) for i in range(DEGREE)]
    forward = _powers(root, order)
    inverse = _powers(pow(root, -1, MODULUS), order)
    scale = np.array([pow(DEGREE, -1, MODULUS)], np.uint64)
    both = np.concatenate([scale, quotients(scale)])
    return _Roots(forward, quotients(forward), inverse, quotients(inverse), both)


def _powers(base: int, exponents: list[int]) -> Residues:
    return np.array([pow(base, e, MODULUS) for e in exponents], np.uint64)


def quotients(factors: Residues) -> Residues:
    """floor(f 2^64 / q) of every factor, which makes multiplying by it cheap."""
    return np.array([(int(f) << 64) // MODULUS for f in factors], np.uint64)


@compiled
def _transform(a, w, wq):
    # Each layer adds at most 4q to a value; twelve layers stay below 50q, which 64 bits hold.
    t = a.shape[0]
    m = 1
    while m < a.shape[0]:
        t >>= 1
        for i in range(m):
            first = 2 * i * t
            factor, quotient = w[m + i], wq[m + i]
            if t >= _LANES:
                left, right = a[first : first + t], a[first + t : first + 2 * t]
                for j in range(t):
                    u, v = left[j], lazier_times(right[j], factor, quotient)
                    left[j] = u + v
                    right[j] = u - v + _Q4
            else:
                for j in range(first, first + t):
                    u, v = a[j], lazy_times(a[j + t], factor, quotient)
                    a[j] = u + v
                    a[j + t] = u - v + _Q4
        m <<= 1
    for j in range(a.shape[0]):
        a[j] = reduced(a[j])


@compiled
def _inverse_transform(a, w, wq, scale):
    t = 1
    m = a.shape[0]
    while m > 1:
        half = m >> 1
        for i in range(half):
            first = 2 * i * t
            factor, quotient = w[half + i], wq[half + i]
            if t >= _LANES:
                left, right = a[first : first + t], a[first + t : first + 2 * t]
                for j in range(t):
                    u, v = left[j], right[j]
                    s = u + v
                    left[j] = (s & _LOW) + (s >> _BITS) * _FOLD
                    right[j] = lazier_times(u - v + _Q4, factor, quotient)
            else:
                for j in range(first, first + t):
                    u, v = a[j], a[j + t]
                    s = u + v
                    a[j] = (s & _LOW) + (s >> _BITS) * _FOLD
                    a[j + t] = lazy_times(u - v + _Q4, factor, quotient)
        t <<= 1
        m = half
    for j in range(a.shape[0]):
        x = lazy_times(a[j], scale[0], scale[1])
        a[j] = x - Q if x >= Q else x


@compiled
def _transform_rows(rows, w, wq):
    for r in range(rows.shape[0]):
        _transform(rows[r], w, wq)


@compiled
def _inverse_transform_rows(rows, w, wq, scale):
    for r in range(rows.shape[0]):
        _inverse_transform(rows[r], w, wq, scale)


@compiled
def _multiply_rows(rows, factor, quotient, out):
    for r in range(rows.shape[0]):
        for j in range(factor.shape[0]):
            x = lazy_times(rows[r, j], factor[j], quotient[j])
            out[r, j] = x - Q if x >= Q else x


def transform(rows: Residues) -> Residues:
    """Polynomials (m, n) into the transformed domain, in place."""
    roots = _roots()
    _transform_rows(rows, roots.forward, roots.forward_quotients)
    return rows


def inverse_transform(rows: Residues) -> Residues:
    """Back from the transformed domain, in place."""
    roots = _roots()
    _inverse_transform_rows(rows, roots.inverse, roots.inverse_quotients, roots.scale)
    return rows


class Factor:
    """One transformed polynomial (n,) that many others are multiplied by."""

    def __init__(self, values: Residues) -> None:
        self.values, self.quotients = values, quotients(values)

    def times(self, rows: Residues, out: Residues | None = None) -> Residues:
        """Its product with transformed polynomials (m, n), into ``out`` if given."""
        result = np.empty_like(rows) if out is None else out
        _multiply_rows(rows, self.values, self.quotients, result)
        return result


@compiled
def _add(a, b, out):
    for j in range(a.shape[0]):
        out[j] = plus(a[j], b[j])


@compiled
def _subtract(a, b, out):
    for j in range(a.shape[0]):
        out[j] = minus(a[j], b[j])


@compiled
def _centred(a, out):
    for j in range(a.shape[0]):
        out[j] = np.int64(a[j]) if a[j] <= Q >> _ONE else -np.int64(Q - a[j])


@compiled
def _residues(a, out):
    for j in range(a.shape[0]):
        out[j] = residue(a[j])


def add(a: Residues, b: Residues) -> Residues:
    """a + b modulo q, of one shape."""
    out = np.empty_like(a)
    _add(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    return out


def subtract(a: Residues, b: Residues) -> Residues:
    """a - b modulo q, of one shape."""
    out = np.empty_like(a)
    _subtract(a.reshape(-1), b.reshape(-1), out.reshape(-1))
    return out


def centred(a: Residues) -> NDArray[np.int64]:
    """Residues as numbers between -q/2 and q/2."""
    out = np.empty(a.shape, np.int64)
    _centred(a.reshape(-1), out.reshape(-1))
    return out


def residues(a: NDArray[np.int64]) -> Residues:
    """Signed numbers of absolute value below q as residues."""
    out = np.empty(a.shape, np.uint64)
    _residues(a.reshape(-1), out.reshape(-1))
    return out
