"""Which rows and columns a tree is grown on: all, a share drawn anew, or, of rows, those with
large gradients (GOSS).

A row that is out stays in its nodes with g, h and 1 all zero: it adds nothing to any sum, and the
leaf it arrives at gives it its score.  So who adds up need not know the sample; whoever has the
labels draws it, from a seed and the number of the tree, and draws the same again.

Source of GOSS: Ke et al., LightGBM, NIPS 2017, algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Labels:
    """Rows to learn from, and rows to see by how well it goes.

    A row that is ``held_out`` is never in a sample.  Weights are finite, not negative, and above 0
    for some row that is not held out, and for some that is if there are any.
    """

    y: Vector  # (n,)
    weight: Vector  # (n,)
    held_out: Mask  # (n,)

    @classmethod
    def of(cls, y: NDArray[np.generic]) -> Labels:
        """All rows alike, none held out."""
        return cls(np.asarray(y, np.float64), np.ones(len(y)), np.zeros(len(y), np.bool_))

    @property
    def training_weight(self) -> Vector:
        """Zero for what is held out."""
        return np.where(self.held_out, 0.0, self.weight)

    @property
    def held_out_weight(self) -> Vector:
        """Zero for what is not."""
        return np.where(self.held_out, self.weight, 0.0)


@dataclass(frozen=True)
class Sampling:
    """How rows are drawn; ``top_rate`` above 0 is GOSS, and ``subsample`` is 1 then."""

    subsample: float = 1.0  # chance of every row
    top_rate: float = 0.0  # share of rows with the largest gradients, all kept
    other_rate: float = 0.0  # share of rows drawn from the rest, made to stand for all of it
    seed: int = 0

    def factors(self, labels: Labels, g: NDArray[np.float64], tree: int) -> Vector:
        """What to multiply g and h of every row by in tree number ``tree``, (n,); 0 is out.

        ``g`` is (n, outputs).  Each row's weight is in its factor.
        """
        weight = labels.training_weight
        if self.subsample == 1.0 and not self.top_rate:
            return weight
        random = np.random.default_rng([self.seed, tree])
        if not self.top_rate:
            return np.where(random.random(len(weight)) < self.subsample, weight, 0.0)
        there = np.flatnonzero(weight)
        size = np.abs(g[there]).sum(axis=1) * weight[there]
        order = there[np.argsort(-size, kind="stable")]
        top = int(np.ceil(self.top_rate * len(there)))
        others = int(np.ceil(self.other_rate * len(there)))
        drawn = random.permutation(order[top:])[:others]
        factors = np.zeros(len(weight))
        factors[order[:top]] = weight[order[:top]]
        # Those drawn stand for all that are not on top.
        factors[drawn] = weight[drawn] * ((1.0 - self.top_rate) / self.other_rate)
        return factors


ALL_ROWS = Sampling()


@dataclass(frozen=True)
class ColumnSample:
    """How a party draws ``share`` of its columns for every tree, at least one."""

    columns: int
    share: float
    seed: bytes

    @classmethod
    def of(cls, X: NDArray[np.float64], share: float, seed: int) -> ColumnSample:
        """The seed is a digest of the values X (n, columns), which only their owner can draw from,
        and of a number that all know."""
        values = np.ascontiguousarray(X).tobytes()
        return cls(X.shape[1], share, sha256(seed.to_bytes(8, "big") + values).digest())

    def splits(self, column: NDArray[np.int64], tree: int) -> Mask:
        """Which splits may be chosen in tree number ``tree``; ``column`` is that of each split."""
        random = np.random.default_rng([*self.seed, tree])
        drawn = random.permutation(self.columns)[: max(1, round(self.share * self.columns))]
        return np.asarray(np.isin(column, drawn))
