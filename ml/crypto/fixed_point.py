"""Fractions as whole numbers modulo 2^64: v is kept as round(v · 2^bits), in two's complement.

Sums keep their bits, a product has the bits of both factors together.  Nothing here notices a
sum that runs over 2^63, so whoever computes states a bound for what it enters, and the largest
result its protocol can give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.crypto.errors import OutOfRange

MAX_BITS = 52  # a float64 has no more

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class FixedPoint:
    """Numbers with ``bits`` binary places."""

    bits: int

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= MAX_BITS:
            raise ValueError(f"{self.bits} binary places; allowed are 0 to {MAX_BITS}")

    def encode(self, values: NDArray[np.float64], *, bound: float) -> Words:
        """``values`` to the nearest 2^-bits.

        Raises `OutOfRange` for a value that is no number or beyond ``bound``, and `ValueError` for
        a bound that does not fit 62 bits (a quarter of the range is kept for `Computer.truncate`).
        """
        if not 0 < bound * 2.0**self.bits < 2.0**62:
            raise ValueError(f"a bound of {bound:g} with {self.bits} binary places leaves 62 bits")
        values = np.asarray(values, np.float64)
        with np.errstate(invalid="ignore"):
            fits = np.abs(values) <= bound
        if not fits.all():
            raise OutOfRange(int(fits.size - fits.sum()), bound)
        return np.rint(values * 2.0**self.bits).astype(np.int64).view(np.uint64)

    def decode(self, words: Words) -> NDArray[np.float64]:
        """The numbers again; exact up to 53 significant bits."""
        return np.ascontiguousarray(words).view(np.int64).astype(np.float64) / 2.0**self.bits
