"""The ring for matrices of whole numbers: modulo x^8192 + 1 and a q of three words.

q is a product of three primes of 52 bits, each 1 modulo 2n, so that every residue is three words
("limbs") that never meet until a result is read.  q is 1 modulo 2^64: with delta = (q - 1) / 2^64
numbers modulo 2^64 are carried exactly, and sums that run over 2^64 cost a noise of one.

Polynomials are (..., 3, n) uint64 below their primes.  Values that are multiplied by many others
are kept times 2^64 ("Montgomery form"), as in Montgomery, Modular multiplication without trial
division, Math. Comp. 44, 1985; the transform is that of `ml.crypto.lattice.ring`.  What numbers are
in it stands in `wide_values`, and its randomness in `wide_noise`.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls; the typed faces stand below.)

from __future__ import annotations

from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled, high_product, inlined

DEGREE = 8192
PRIMES = (4503599627124737, 4503550775869441, 4033078708830209)
LIMBS = len(PRIMES)
MODULUS = prod(PRIMES)
BITS = 156
SHARE_BITS = 64
DELTA = (MODULUS - 1) >> SHARE_BITS

Wide = NDArray[np.uint64]

Q = np.array(PRIMES, np.uint64)
WORD = 2**64
_LANES = 8
_SUMMANDS = 512  # products below 2q that 64 bits hold together

_ONE, _TWO = np.uint64(1), np.uint64(2)
_HALF, _HALF_LOW = np.uint64(32), np.uint64(2**32 - 1)


def factors(values: tuple[int, ...]) -> Wide:
    """A constant modulo each prime, and the quotients floor(value 2^64 / q) of Shoup: (2, 3)."""
    known = [value % q for value, q in zip(values, PRIMES, strict=True)]
    shoup = [value * WORD // q for value, q in zip(known, PRIMES, strict=True)]
    return np.array([known, shoup], np.uint64)


_UNIT = factors((1, 1, 1))
_MONTGOMERY = factors((WORD,) * LIMBS)
_Q_INVERSE = np.array([pow(q, -1, WORD) for q in PRIMES], np.uint64)


# --- residues -------------------------------------------------------------------------------


@inlined
def below_twice(x: np.uint64, factor: np.uint64, quotient: np.uint64, q: np.uint64) -> np.uint64:
    """x times ``factor`` modulo q, below 2q, for any 64-bit x."""
    found: np.uint64 = x * factor - high_product(x, quotient) * q
    return found


@inlined
def _below_four(x: np.uint64, factor: np.uint64, quotient: np.uint64, q: np.uint64) -> np.uint64:
    """As `below_twice`, below 4q: without the lowest partial product, so that vectors do it."""
    high, low = x >> _HALF, x & _HALF_LOW
    upper, lower = quotient >> _HALF, quotient & _HALF_LOW
    estimate = high * upper + ((high * lower) >> _HALF) + ((low * upper) >> _HALF)
    return x * factor - estimate * q


@inlined
def less(x: np.uint64, q: np.uint64) -> np.uint64:
    """x below 2q, modulo q."""
    return x - q if x >= q else x


# --- the transform --------------------------------------------------------------------------


class _Roots(NamedTuple):
    """Powers of 2n-th roots of unity in bit-reversed order with their quotients; (3, n) each."""

    forward: Wide
    forward_quotients: Wide
    inverse: Wide
    inverse_quotients: Wide
    scale: Wide  # 1/n and its quotient, (2, 3)


@cache
def _roots() -> _Roots:
    width = DEGREE.bit_length() - 1
    order = [int(format(i, f"0{width}b")[::-1], 2) for i in range(DEGREE)]
    forward, inverse = [], []
    for q in PRIMES:
        generator = next(g for g in range(2, 200) if pow(g, (q - 1) // 2, q) != 1)
        root = pow(generator, (q - 1) // (2 * DEGREE), q)
        forward.append(_powers(root, q, order))
        inverse.append(_powers(pow(root, -1, q), q, order))
    # The powers of all primes, then their quotients.
    there, back = (np.array(t, np.uint64).swapaxes(0, 1).copy() for t in (forward, inverse))
    scale = factors(tuple(pow(DEGREE, -1, q) for q in PRIMES))
    return _Roots(there[0], there[1], back[0], back[1], scale)


def _powers(root: int, q: int, order: list[int]) -> list[list[int]]:
    """Powers of a root in this order, and their quotients."""
    powers = [1]
    for _ in range(DEGREE - 1):
        powers.append(powers[-1] * root % q)
    return [[powers[k] for k in order], [powers[k] * WORD // q for k in order]]


@compiled
def _forward(a, q, w, wq, factor, quotient):
    # Values grow by 4q in each of thirteen layers and stay below 53q, which 64 bits hold.
    four = q << _TWO
    t = a.shape[0]
    m = 1
    while m < a.shape[0]:
        t >>= 1
        for i in range(m):
            first = 2 * i * t
            f, fq = w[m + i], wq[m + i]
            if t >= _LANES:
                left, right = a[first : first + t], a[first + t : first + 2 * t]
                for j in range(t):
                    u, v = left[j], _below_four(right[j], f, fq, q)
                    left[j] = u + v
                    right[j] = u - v + four
            else:
                for j in range(first, first + t):
                    u, v = a[j], below_twice(a[j + t], f, fq, q)
                    a[j] = u + v
                    a[j + t] = u - v + four
        m <<= 1
    for j in range(a.shape[0]):
        a[j] = less(below_twice(a[j], factor, quotient, q), q)


@compiled
def _backward(a, q, w, wq, unit, factor, quotient):
    # Sums double in each layer: reduced halfway, they stay below 2^11 q.
    high = q << np.uint64(11)
    t = 1
    m = a.shape[0]
    layer = 0
    while m > 1:
        half = m >> 1
        for i in range(half):
            first = 2 * i * t
            f, fq = w[half + i], wq[half + i]
            if t >= _LANES:
                left, right = a[first : first + t], a[first + t : first + 2 * t]
                for j in range(t):
                    u, v = left[j], right[j]
                    left[j] = u + v
                    right[j] = _below_four(u - v + high, f, fq, q)
            else:
                for j in range(first, first + t):
                    u, v = a[j], a[j + t]
                    a[j] = u + v
                    a[j + t] = below_twice(u - v + high, f, fq, q)
        t <<= 1
        m = half
        layer += 1
        if layer == 6:
            for j in range(a.shape[0]):
                a[j] = _below_four(a[j], _ONE, unit, q)
    for j in range(a.shape[0]):
        a[j] = less(below_twice(a[j], factor, quotient, q), q)


@compiled
def _transform_all(rows, w, wq, factors):
    for r in range(rows.shape[0]):
        for k in range(LIMBS):
            _forward(rows[r, k], Q[k], w[k], wq[k], factors[0, k], factors[1, k])


@compiled
def _inverse_transform_all(rows, w, wq, factors):
    for r in range(rows.shape[0]):
        for k in range(LIMBS):
            _backward(rows[r, k], Q[k], w[k], wq[k], _UNIT[1, k], factors[0, k], factors[1, k])


def transform(rows: Wide, *, montgomery: bool = False) -> Wide:
    """Polynomials (m, 3, n) into the transformed domain, in place; times 2^64 if asked."""
    roots = _roots()
    factors = _MONTGOMERY if montgomery else _UNIT
    _transform_all(rows, roots.forward, roots.forward_quotients, factors)
    return rows


def inverse_transform(rows: Wide) -> Wide:
    """Back from the transformed domain, in place."""
    roots = _roots()
    _inverse_transform_all(rows, roots.inverse, roots.inverse_quotients, roots.scale)
    return rows


# --- products and sums ------------------------------------------------------------------------


@compiled
def _add_products(many, others, out):
    for k in range(LIMBS):
        q, inverse, unit = Q[k], _Q_INVERSE[k], _UNIT[1, k]
        total = out[k]
        for i in range(many.shape[0]):
            a, b = many[i, k], others[i, k]
            for j in range(total.shape[0]):
                low = a[j] * b[j]
                total[j] += high_product(a[j], b[j]) - high_product(low * inverse, q) + q
            if i % _SUMMANDS == _SUMMANDS - 1:
                for j in range(total.shape[0]):
                    total[j] = below_twice(total[j], _ONE, unit, q)
        for j in range(total.shape[0]):
            total[j] = less(below_twice(total[j], _ONE, unit, q), q)


def add_products(many: Wide, others: Wide, out: Wide) -> Wide:
    """Add the products of pairs to ``out`` (3, n), in place.

    Both (m, 3, n) are transformed; one of them stands in Montgomery form.
    """
    _add_products(many, others, out)
    return out


@compiled
def _add(a, b, out):
    for k in range(LIMBS):
        for j in range(a.shape[1]):
            out[k, j] = less(a[k, j] + b[k, j], Q[k])


@compiled
def _negate(a, out):
    for k in range(LIMBS):
        for j in range(a.shape[1]):
            out[k, j] = Q[k] - a[k, j] if a[k, j] else a[k, j]


def add(a: Wide, b: Wide) -> Wide:
    """a + b of (3, m) residues."""
    out = np.empty_like(a)
    _add(a, b, out)
    return out


def negate(a: Wide) -> Wide:
    """-a of (3, m) residues."""
    out = np.empty_like(a)
    _negate(a, out)
    return out
