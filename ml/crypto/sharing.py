"""Additive sharing modulo 2^64: the secret is the sum of what the parties hold.

Any n-1 of n uniform shares say nothing of the secret.  Sums, and products with public numbers,
are computed by each party on its own share with numpy's `+`, `-` and `*`, which wrap; a product
of two secrets needs the parties to talk (`ml.crypto.beaver`).
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from ml.crypto.compiled import compiled
from ml.crypto.fixed_point import Words
from ml.crypto.prg import KEY_BYTES, Stream


def split(words: Words, parties: int) -> list[Words]:
    """Uniform shares of ``words`` for so many parties."""
    if parties < 2:
        raise ValueError(f"{parties} shares; needed are 2 or more")
    stream = Stream(secrets.token_bytes(KEY_BYTES))
    others = [stream.words(*words.shape) for _ in range(parties - 1)]
    return [words - join(others), *others]


def join(shares: Sequence[Words]) -> Words:
    """What the shares add up to."""
    total = shares[0].copy()
    for share in shares[1:]:
        total += share
    return total


def matmul(a: Words, b: Words, *, transposed: bool = False) -> Words:
    """``a @ b``, or ``a.T @ b``, modulo 2^64.

    ``a`` is (n, k); ``b`` is a vector or a matrix of as many rows as the product needs.
    """
    height = a.shape[0] if transposed else a.shape[1]
    if a.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != height:
        raise ValueError(f"{a.shape} by {b.shape}, transposed: {transposed}; the sides must agree")
    right = np.ascontiguousarray(b.reshape(height, -1))
    out = np.zeros((a.shape[1] if transposed else a.shape[0], right.shape[1]), np.uint64)
    if right.shape[1] == 1:
        kernel = _transposed_by_vector if transposed else _by_vector
        kernel(np.ascontiguousarray(a), right[:, 0], out[:, 0])
    else:
        kernel = _transposed_product if transposed else _product
        kernel(np.ascontiguousarray(a), right, out)
    return out.reshape(out.shape[:1] + b.shape[1:])


@compiled
def _by_vector(a, b, out):
    for i in range(a.shape[0]):
        total = np.uint64(0)
        for k in range(a.shape[1]):
            total += a[i, k] * b[k]
        out[i] = total


@compiled
def _transposed_by_vector(a, b, out):
    for i in range(a.shape[0]):
        factor = b[i]
        for k in range(a.shape[1]):
            out[k] += a[i, k] * factor


@compiled
def _product(a, b, out):
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            factor = a[i, k]
            for j in range(b.shape[1]):
                out[i, j] += factor * b[k, j]


@compiled
def _transposed_product(a, b, out):
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            factor = a[i, k]
            for j in range(b.shape[1]):
                out[k, j] += factor * b[i, j]
