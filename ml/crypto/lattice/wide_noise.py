"""Randomness of the wide ring: uniform polynomials that both sides expand, secrets and noise."""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls; the typed faces stand below.)

from __future__ import annotations

import numpy as np

from ml.crypto.compiled import compiled
from ml.crypto.lattice.randomness import binomial, derive, ternary, words
from ml.crypto.lattice.wide import DEGREE, LIMBS, PRIMES, Q, Wide, below_twice, factors, less

FLOOD_BITS = 88  # the flood is a sum of eight uniform numbers of so many bits, less its mean
_PART = FLOOD_BITS // 2
_LOW_PART = np.uint64(2**_PART - 1)
_LOW52 = np.uint64(2**52 - 1)

_FLOOD_HIGH = factors((2**_PART,) * LIMBS)
_FLOOD_MEAN = np.array([4 * (2**FLOOD_BITS - 1) % q for q in PRIMES], np.uint64)


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
    for k, q in enumerate(Q):
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
            out[k, j] = np.uint64(x) if x >= 0 else Q[k] - np.uint64(-x)


@compiled
def _binomial(stream, out):
    for j in range(stream.shape[0]):
        x = binomial(stream[j])
        for k in range(LIMBS):
            out[k, j] = np.uint64(x) if x >= 0 else Q[k] - np.uint64(-x)


@compiled
def _flood(stream, out):
    for j in range(out.shape[1]):
        high, low = np.uint64(0), np.uint64(0)
        for i in range(16 * j, 16 * j + 8):
            high += stream[i] & _LOW_PART
            low += stream[i + 8] & _LOW_PART
        for k in range(LIMBS):
            q = Q[k]
            x = less(below_twice(high, _FLOOD_HIGH[0, k], _FLOOD_HIGH[1, k], q), q)
            out[k, j] = less(less(x + low, q) + q - _FLOOD_MEAN[k], q)


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
