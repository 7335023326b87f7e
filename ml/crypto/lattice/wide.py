"""The ring for matrices of whole numbers: modulo x^8192 + 1 and a q of three words.

q is a product of three primes of 52 bits, each 1 modulo 2n, so that every residue is three words
("limbs") that never meet until a result is read.  q is 1 modulo 2^64: with delta = (q - 1) / 2^64
numbers modulo 2^64 are carried exactly, and sums that run over 2^64 cost a noise of one.

Polynomials are (..., 3, n) uint64 below their primes.  Values that are multiplied by many others
are kept times 2^64 ("Montgomery form"), as in Montgomery, Modular multiplication without trial
division, Math. Comp. 44, 1985; the transform is that of `ml.crypto.lattice.ring`.
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
from ml.crypto.lattice.randomness import binomial, derive, ternary, words

DEGREE = 8192
PRIMES = (4503599627124737, 4503550775869441, 4033078708830209)
LIMBS = len(PRIMES)
MODULUS = prod(PRIMES)
BITS = 156
SHARE_BITS = 64
DELTA = (MODULUS - 1) >> SHARE_BITS
FLOOD_BITS = 88  # the flood is a sum of eight uniform numbers of so many bits, less its mean

Wide = NDArray[np.uint64]

_Q = np.array(PRIMES, np.uint64)
_WORD = 2**64
_RESIDUE_BITS, _GROUP = 52, 16  # sixteen residues travel in thirteen words
_PACKED_GROUP = _GROUP * _RESIDUE_BITS // 64
_LANES = 8
_SUMMANDS = 512  # products below 2q that 64 bits hold together

_ONE, _TWO = np.uint64(1), np.uint64(2)
_HALF, _HALF_LOW = np.uint64(32), np.uint64(2**32 - 1)
_B52, _B64, _LOW52 = np.uint64(52), np.uint64(64), np.uint64(2**52 - 1)
_B61, _B62, _B63 = np.uint64(61), np.uint64(62), np.uint64(63)
_LOW62 = np.uint64(2**62 - 1)
_PART = FLOOD_BITS // 2
_LOW_PART = np.uint64(2**_PART - 1)
# How far noise may carry a result from a whole number, of 2^62: the flood 0.28, the rest nothing.
_FAR = np.uint64(2**62 * 3 // 10)


def _factors(values: tuple[int, ...]) -> Wide:
    """A constant modulo each prime, and the quotients floor(value 2^64 / q) of Shoup: (2, 3)."""
    known = [value % q for value, q in zip(values, PRIMES, strict=True)]
    shoup = [value * _WORD // q for value, q in zip(known, PRIMES, strict=True)]
    return np.array([known, shoup], np.uint64)


_UNIT = _factors((1, 1, 1))
_MONTGOMERY = _factors((_WORD,) * LIMBS)
_DELTA = _factors((DELTA,) * LIMBS)
_FLOOD_HIGH = _factors((2**_PART,) * LIMBS)
_FLOOD_MEAN = np.array([4 * (2**FLOOD_BITS - 1) % q for q in PRIMES], np.uint64)
_Q_INVERSE = np.array([pow(q, -1, _WORD) for q in PRIMES], np.uint64)
# (q / q_i)^-1 modulo q_i, and 2^128 / q_i in two words: what rounding takes.
_COFACTOR = _factors(tuple(pow(MODULUS // q, -1, q) for q in PRIMES))
_RECIPROCAL = np.array([divmod(_WORD**2 // q, _WORD) for q in PRIMES], np.uint64).T.copy()


# --- residues -------------------------------------------------------------------------------


@inlined
def _below_twice(x: np.uint64, factor: np.uint64, quotient: np.uint64, q: np.uint64) -> np.uint64:
    """x times ``factor`` modulo q, below 2q, for any 64-bit x."""
    found: np.uint64 = x * factor - high_product(x, quotient) * q
    return found


@inlined
def _below_four(x: np.uint64, factor: np.uint64, quotient: np.uint64, q: np.uint64) -> np.uint64:
    """As `_below_twice`, below 4q: without the lowest partial product, so that vectors do it."""
    high, low = x >> _HALF, x & _HALF_LOW
    upper, lower = quotient >> _HALF, quotient & _HALF_LOW
    estimate = high * upper + ((high * lower) >> _HALF) + ((low * upper) >> _HALF)
    return x * factor - estimate * q


@inlined
def _less(x: np.uint64, q: np.uint64) -> np.uint64:
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
    scale = _factors(tuple(pow(DEGREE, -1, q) for q in PRIMES))
    return _Roots(there[0], there[1], back[0], back[1], scale)


def _powers(root: int, q: int, order: list[int]) -> list[list[int]]:
    """Powers of a root in this order, and their quotients."""
    powers = [1]
    for _ in range(DEGREE - 1):
        powers.append(powers[-1] * root % q)
    return [[powers[k] for k in order], [powers[k] * _WORD // q for k in order]]


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
                    u, v = a[j], _below_twice(a[j + t], f, fq, q)
                    a[j] = u + v
                    a[j + t] = u - v + four
        m <<= 1
    for j in range(a.shape[0]):
        a[j] = _less(_below_twice(a[j], factor, quotient, q), q)


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
                    a[j + t] = _below_twice(u - v + high, f, fq, q)
        t <<= 1
        m = half
        layer += 1
        if layer == 6:
            for j in range(a.shape[0]):
                a[j] = _below_four(a[j], _ONE, unit, q)
    for j in range(a.shape[0]):
        a[j] = _less(_below_twice(a[j], factor, quotient, q), q)


@compiled
def _transform_all(rows, w, wq, factors):
    for r in range(rows.shape[0]):
        for k in range(LIMBS):
            _forward(rows[r, k], _Q[k], w[k], wq[k], factors[0, k], factors[1, k])


@compiled
def _inverse_transform_all(rows, w, wq, factors):
    for r in range(rows.shape[0]):
        for k in range(LIMBS):
            _backward(rows[r, k], _Q[k], w[k], wq[k], _UNIT[1, k], factors[0, k], factors[1, k])


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
        q, inverse, unit = _Q[k], _Q_INVERSE[k], _UNIT[1, k]
        total = out[k]
        for i in range(many.shape[0]):
            a, b = many[i, k], others[i, k]
            for j in range(total.shape[0]):
                low = a[j] * b[j]
                total[j] += high_product(a[j], b[j]) - high_product(low * inverse, q) + q
            if i % _SUMMANDS == _SUMMANDS - 1:
                for j in range(total.shape[0]):
                    total[j] = _below_twice(total[j], _ONE, unit, q)
        for j in range(total.shape[0]):
            total[j] = _less(_below_twice(total[j], _ONE, unit, q), q)


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
            out[k, j] = _less(a[k, j] + b[k, j], _Q[k])


@compiled
def _negate(a, out):
    for k in range(LIMBS):
        for j in range(a.shape[1]):
            out[k, j] = _Q[k] - a[k, j] if a[k, j] else a[k, j]


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


# --- numbers into residues, and back -------------------------------------------------------------


@compiled
def _of_integers(values, out):
    for k in range(LIMBS):
        for j in range(values.shape[0]):
            x = values[j]
            out[k, j] = np.uint64(x) if x >= 0 else _Q[k] - np.uint64(-x)


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
            y = _less(_below_twice(x, _DELTA[0, k], _DELTA[1, k], _Q[k]), _Q[k])
            out[k, j] = _Q[k] - y if negative and y else y


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
            x = _below_twice(residues[k, j], _COFACTOR[0, k], _COFACTOR[1, k], _Q[k])
            x = _less(x, _Q[k])
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


# --- randomness ---------------------------------------------------------------------------------


@compiled
def _accept(stream, q, out, filled):
    for j in range(stream.shape[0]):
        x = stream[j] & _LOW52
        if x < q and filled < out.shape[0]:
            out[filled] = x
            filled += 1
    return filled


def uniform(key: bytes) -> Wide:
    """One uniform polynomial (3, n), transformed domain, by rejection from a stream per prime."""
    out = np.empty((LIMBS, DEGREE), np.uint64)
    for k, q in enumerate(_Q):
        own, filled, place = derive(key, "limb", k), 0, 0
        while filled < DEGREE:
            chunk = words(own, DEGREE * 5 // 4, place)
            filled, place = int(_accept(chunk, q, out[k], filled)), place + len(chunk)
    return out


@compiled
def _ternary(stream, out):
    for j in range(stream.shape[0]):
        x = ternary(stream[j])
        for k in range(LIMBS):
            out[k, j] = np.uint64(x) if x >= 0 else _Q[k] - np.uint64(-x)


@compiled
def _binomial(stream, out):
    for j in range(stream.shape[0]):
        x = binomial(stream[j])
        for k in range(LIMBS):
            out[k, j] = np.uint64(x) if x >= 0 else _Q[k] - np.uint64(-x)


@compiled
def _flood(stream, out):
    for j in range(out.shape[1]):
        high, low = np.uint64(0), np.uint64(0)
        for i in range(16 * j, 16 * j + 8):
            high += stream[i] & _LOW_PART
            low += stream[i + 8] & _LOW_PART
        for k in range(LIMBS):
            q = _Q[k]
            x = _less(_below_twice(high, _FLOOD_HIGH[0, k], _FLOOD_HIGH[1, k], q), q)
            out[k, j] = _less(_less(x + low, q) + q - _FLOOD_MEAN[k], q)


def ternary_polynomial(key: bytes) -> Wide:
    """Coefficients uniform in {-1, 0, 1}; (3, n)."""
    out = np.empty((LIMBS, DEGREE), np.uint64)
    _ternary(words(key, DEGREE), out)
    return out


def noise_polynomial(key: bytes) -> Wide:
    """Centred binomial noise, s.d. 3.24; (3, n)."""
    out = np.empty((LIMBS, DEGREE), np.uint64)
    _binomial(words(key, DEGREE), out)
    return out


def flood(key: bytes, count: int) -> Wide:
    """Numbers of s.d. 2^87.7 and at most 2^90; (3, count)."""
    out = np.empty((LIMBS, count), np.uint64)
    _flood(words(key, 16 * count), out)
    return out


# --- on the wire --------------------------------------------------------------------------------


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
        canonical &= x < _Q[(j // run) % LIMBS]
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
