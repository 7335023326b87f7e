"""Bit matrices of 64-bit words: turning columns of bits into rows."""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled

BLOCK = 512  # bits of a row are turned eight words at a time: one vector register each


def transpose(rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The transposed bit matrix.

    From (64 a, 8 b) words to (512 b, a) words.  Bit j of a word is column j, the lowest first.
    """
    height, width = rows.shape
    if height % 64 or width % 8:
        raise ValueError(f"{height} x {width} words; needed are multiples of 64 and 8")
    out = np.empty((width * 64, height // 64), np.uint64)
    _transpose(rows, out)
    return out


@compiled
def _transpose(rows, out):
    t = np.empty((64, 8), np.uint64)
    for tall in range(rows.shape[0] // 64):
        for wide in range(0, rows.shape[1], 8):
            for i in range(64):
                for k in range(8):
                    t[i, k] = rows[tall * 64 + i, wide + k]
            # Hacker's Delight, § 7-3: swap ever smaller off-diagonal blocks, eight words abreast.
            j, mask = 32, np.uint64(0x00000000FFFFFFFF)
            while j:
                shift = np.uint64(j)
                i = 0
                while i < 64:
                    for k in range(8):
                        y = ((t[i, k] >> shift) ^ t[i + j, k]) & mask
                        t[i, k] ^= y << shift
                        t[i + j, k] ^= y
                    i = (i + j + 1) & ~j
                j >>= 1
                mask ^= mask << np.uint64(j)
            for k in range(8):
                for i in range(64):
                    out[(wide + k) * 64 + i, tall] = t[i, k]
