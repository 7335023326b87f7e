"""Functions of shared numbers as sums of waves: one opening, however many waves there are.

The dealer gives shares of cos(k r) and sin(k r) of a uniform angle r.  The parties open c = x + r,
which tells nothing of x, and have f(x) = sum_k a_k cos(k(c-r)) + b_k sin(k(c-r)) as a sum of dealt
shares with public factors.  An angle is a word: 2^64 is the whole circle, so x is scaled to make
the period of the series 2^64, and c is exactly uniform.

Outside of one period the function repeats, and between ``reach`` and the half period it is not the
function any more: numbers must stay within reach.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, log2, pi, sinh

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled
from ml.crypto.correlations import Part, Shape
from ml.crypto.fixed_point import Words

WAVE_BITS = 30
_TOTAL_BITS = 61  # a sum, its sign, and the quarter that truncation needs

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """sum_k cosines[k] cos(k t) + sines[k] sin(k t), with t = 2 pi x / period.

    x comes with ``bits_in`` binary places and leaves with ``bits_out``.
    """

    bits_in: int
    bits_out: int
    period: int  # a power of two
    reach: float
    frequencies: tuple[int, ...]  # ascending, without 0
    constant: float
    cosines: tuple[float, ...]
    sines: tuple[float, ...]
    error: float  # the largest of |x| <= reach, with all rounding

    @classmethod
    def sigmoid(
        cls, bits_in: int, bits_out: int, reach: int = 16, tolerance: float = 1e-6
    ) -> Series:
        """1 / (1 + exp(-x)) for |x| <= reach, a power of two.

        The waves of a sigmoid that goes up and, 2 reach later, down again: it is symmetric about
        +-2 reach / 2, where it is within exp(-reach) of its limit, so its coefficients fall
        as 1 / sinh and only odd ones are there (Poisson summation).
        """
        half = 2 * reach
        if reach < 4 or reach & (reach - 1):
            raise ValueError(f"a reach of {reach}; allowed are powers of two from 4")
        decay = pi * pi / half
        frequencies, k = [], 1
        while (2 * pi / half) * 2 * exp(-decay * k) / (1 - exp(-2 * decay)) > tolerance:
            frequencies.append(k)
            k += 2
        sines = [2 * pi / half / sinh(decay * k) for k in frequencies]
        return _rounded(
            lambda x: 1 / (1 + np.exp(-x)),
            (bits_in, bits_out, 2 * half, float(reach)),
            tuple(frequencies),
            0.5,
            (0.0,) * len(sines),
            tuple(sines),
        )

    @classmethod
    def fit(
        cls,
        function: Callable[[Floats], Floats],
        reach: int,
        bits_in: int,
        bits_out: int,
        terms: int,
    ) -> Series:
        """A smooth function on |x| <= reach, a power of two, by least squares.

        The period is 4 reach, so that the waves need not meet the function beyond its reach.
        """
        if reach < 1 or reach & (reach - 1) or terms < 1:
            raise ValueError(f"a reach of {reach} with {terms} terms; allowed are powers of two")
        x = reach * np.cos(pi * (np.arange(40 * terms) + 0.5) / (40 * terms))
        frequencies = tuple(range(1, terms + 1))
        t = 2 * pi * x[:, None] / (4 * reach) * np.array(frequencies)
        columns = np.hstack([np.ones((len(x), 1)), np.cos(t), np.sin(t)])
        found = np.linalg.lstsq(columns, function(x), rcond=1e-8)[0]
        return _rounded(
            function,
            (bits_in, bits_out, 4 * reach, float(reach)),
            frequencies,
            float(found[0]),
            tuple(map(float, found[1 : terms + 1])),
            tuple(map(float, found[terms + 1 :])),
        )

    @property
    def period_bits(self) -> int:
        """Bits of a number that tell its place in the period."""
        return self.bits_in + int(log2(self.period))

    @property
    def wave_bits(self) -> int:
        """Binary places of a dealt wave."""
        return WAVE_BITS

    @property
    def factor_bits(self) -> int:
        """Binary places of a public factor: as many as leave room for the largest sum."""
        largest = abs(self.constant) + sum(map(abs, (*self.cosines, *self.sines)))
        return min(WAVE_BITS, _TOTAL_BITS - WAVE_BITS - max(0, ceil(log2(largest + 1))))

    @property
    def excess_bits(self) -> int:
        """Bits to cut from a sum."""
        return self.wave_bits + self.factor_bits - self.bits_out

    def offset(self, shape: Shape) -> Words:
        """The constant term, with the binary places of a sum."""
        scaled = round(self.constant * 2.0 ** (self.wave_bits + self.factor_bits))
        return np.full(shape, scaled % 2**64, np.uint64)

    def evaluate(self, angles: Words, waves: Words) -> Words:
        """Shares of the sum without its constant, from opened angles and dealt waves."""
        out = np.empty(angles.size, np.uint64)
        terms = len(self.frequencies)
        _evaluate(
            angles.ravel(),
            waves.reshape(-1, 2 * terms),
            np.array(self.frequencies, np.int64),
            np.array(self.cosines),
            np.array(self.sines),
            2.0**self.factor_bits,
            out,
        )
        return out.reshape(angles.shape)


def _rounded(
    function: Callable[[Floats], Floats],
    places: tuple[int, int, int, float],
    frequencies: tuple[int, ...],
    constant: float,
    cosines: tuple[float, ...],
    sines: tuple[float, ...],
) -> Series:
    """The series with its error, measured where it is meant for and rounded as it will be."""
    bits_in, bits_out, period, reach = places
    rough = Series(
        bits_in, bits_out, period, reach, frequencies, constant, cosines, sines, float("inf")
    )
    if rough.excess_bits < 1 or rough.period_bits > 62:
        raise ValueError(f"{bits_in} and {bits_out} binary places; too many for this function")
    x = np.linspace(-reach, reach, 4001)
    t = 2 * pi * x[:, None] / period * np.array(frequencies)
    values = constant + np.cos(t) @ np.array(cosines) + np.sin(t) @ np.array(sines)
    exact = float(np.max(np.abs(values - function(x))))
    factors = float(np.sum(np.abs(cosines)) + np.sum(np.abs(sines)))
    # A wave is off by half its last place, a factor by half of its own, the cut by one.
    rounding = factors * 2.0**-WAVE_BITS + 2 * len(frequencies) * 2.0**-rough.factor_bits
    error = exact + rounding + 2.0**-bits_out
    return Series(bits_in, bits_out, period, reach, frequencies, constant, cosines, sines, error)


@dataclass(frozen=True)
class Waves:
    """A uniform angle r of every element, and cos(k r), sin(k r) of some frequencies k."""

    shape: Shape
    frequencies: tuple[int, ...]
    bits: int

    @property
    def drawn(self) -> tuple[Part, ...]:
        return (Part(self.shape),)

    @property
    def derived(self) -> tuple[Part, ...]:
        return (Part((*self.shape, 2 * len(self.frequencies))),)

    def compute(self, *drawn: Words) -> tuple[Words, ...]:
        [r] = drawn
        out = np.empty((r.size, 2 * len(self.frequencies)), np.uint64)
        _waves(r.ravel(), np.array(self.frequencies, np.int64), 2.0**self.bits, out)
        return (out.reshape(*self.shape, -1),)


_TURN = 2 * pi / 2.0**64


@compiled
def _waves(angles, frequencies, scale, out):
    """Scaled cosines, then sines, of multiples of the angles."""
    terms = frequencies.shape[0]
    for i in range(angles.shape[0]):
        angle = np.float64(np.int64(angles[i])) * _TURN
        c1, s1 = np.cos(angle), np.sin(angle)
        c, s, at = 1.0, 0.0, 0
        for j in range(terms):
            while at < frequencies[j]:
                c, s = c * c1 - s * s1, s * c1 + c * s1
                at += 1
            out[i, j] = np.uint64(np.int64(np.rint(c * scale)))
            out[i, terms + j] = np.uint64(np.int64(np.rint(s * scale)))


@compiled
def _evaluate(angles, waves, frequencies, cosines, sines, scale, out):
    """sum_k (a cos kc + b sin kc) [cos kr] + (a sin kc - b cos kc) [sin kr], factors scaled."""
    terms = frequencies.shape[0]
    for i in range(angles.shape[0]):
        angle = np.float64(np.int64(angles[i])) * _TURN
        c1, s1 = np.cos(angle), np.sin(angle)
        c, s, at, total = 1.0, 0.0, 0, np.uint64(0)
        for j in range(terms):
            while at < frequencies[j]:
                c, s = c * c1 - s * s1, s * c1 + c * s1
                at += 1
            even = cosines[j] * c + sines[j] * s
            odd = cosines[j] * s - sines[j] * c
            total += np.uint64(np.int64(np.rint(even * scale))) * waves[i, j]
            total += np.uint64(np.int64(np.rint(odd * scale))) * waves[i, terms + j]
        out[i] = total
