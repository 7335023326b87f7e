"""Numbers modulo 2^128 in two words, the low one first: arrays of shape (..., 2).

Twice the room of `ml.crypto.sharing`, which authenticated shares need for their tags.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml.crypto.compiled import Compiled, compiled, high_product
from ml.crypto.fixed_point import Words


def widen(words: Words) -> Words:
    """Non-negative numbers below 2^64."""
    return np.stack([words, np.zeros_like(words)], axis=-1)


def add(a: Words, b: Words) -> Words:
    """a + b, of one shape."""
    return _apply(_add, a, b)


def subtract(a: Words, b: Words) -> Words:
    """a - b."""
    return _apply(_subtract, a, b)


def multiply(a: Words, b: Words) -> Words:
    """a b, elementwise; a single number (2,) goes with every element."""
    a, b = np.broadcast_arrays(a, b)
    return _apply(_multiply, a, b)


def total(numbers: Sequence[Words], shape: tuple[int, ...]) -> Words:
    """Their sum; 0 of that shape for none."""
    out = np.zeros(shape, np.uint64)
    for number in numbers:
        out = add(out, number)
    return out


def _apply(kernel: Compiled, a: Words, b: Words) -> Words:
    if a.shape != b.shape or a.shape[-1] != 2:
        raise ValueError(f"shapes {a.shape} and {b.shape}; needed are two equal ones of pairs")
    out = np.empty(a.shape, np.uint64)
    kernel(
        np.ascontiguousarray(a).reshape(-1, 2),
        np.ascontiguousarray(b).reshape(-1, 2),
        out.reshape(-1, 2),
    )
    return out


@compiled
def _add(a, b, out):
    for i in range(a.shape[0]):
        low = a[i, 0] + b[i, 0]
        out[i, 0] = low
        out[i, 1] = a[i, 1] + b[i, 1] + np.uint64(low < a[i, 0])


@compiled
def _subtract(a, b, out):
    for i in range(a.shape[0]):
        out[i, 0] = a[i, 0] - b[i, 0]
        out[i, 1] = a[i, 1] - b[i, 1] - np.uint64(a[i, 0] < b[i, 0])


@compiled
def _multiply(a, b, out):
    for i in range(a.shape[0]):
        out[i, 0] = a[i, 0] * b[i, 0]
        out[i, 1] = high_product(a[i, 0], b[i, 0]) + a[i, 0] * b[i, 1] + a[i, 1] * b[i, 0]
