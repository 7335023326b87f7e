"""Trees of gradient boosting on binned rows: gains, choices, weights, and a whole ensemble.

Gradients are whole numbers, multiples of 2^-fraction_bits: sums are exact in any order, so
parties who add them up in different places, or encrypted, come to the same tree.  `fit_trees` is
the plain computation with all columns in one place; the federated one is compared with it.

Source: Chen and Guestrin, XGBoost, KDD 2016, equations 6 (gain) and 5 (weight).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.local.binning import Columns, Threshold
from ml.local.losses import initial_score, logistic_gradients
from ml.wire import Shape

FRACTION_BITS = 24  # of g and h where nothing asks for fewer
ABSENT, LEAF, OWN = -2, -1, 0  # what stands in Tree.owner; k > 0 is the k-th host

Rows = NDArray[np.int64]
# (..., 3): sums of g, of h, and the number of rows; (..., 2) where nobody asks for that number.
Sums = NDArray[np.int64]


@dataclass(frozen=True)
class Growth:
    """How trees are grown; names as in scikit-learn and XGBoost."""

    n_estimators: int
    learning_rate: float
    max_depth: int
    reg_lambda: float  # above 0
    min_child_weight: float  # least sum of h in a child
    min_samples_leaf: int
    fraction_bits: int = FRACTION_BITS  # of g and h as whole numbers


@wire.register
@dataclass(frozen=True, eq=False)
class Tree:
    """A binary tree in heap order: node 0 is the root, node i has the children 2i + 1 and 2i + 2.

    A node with ``owner`` OWN asks whether column ``split`` is at most ``threshold``; one of host k
    knows only the host's number ``split``; a leaf has a ``weight``.
    """

    owner: Annotated[NDArray[np.int8], Shape("nodes")]
    split: Annotated[NDArray[np.int64], Shape("nodes")]
    threshold: Annotated[NDArray[np.float64], Shape("nodes")]
    missing_left: Annotated[NDArray[np.bool_], Shape("nodes")]
    weight: Annotated[NDArray[np.float64], Shape("nodes")]

    @classmethod
    def empty(cls, max_depth: int) -> Tree:
        """A tree of which no node is there yet."""
        nodes = 2 ** (max_depth + 1) - 1
        return cls(
            np.full(nodes, ABSENT, np.int8),
            np.zeros(nodes, np.int64),
            np.zeros(nodes),
            np.zeros(nodes, np.bool_),
            np.zeros(nodes),
        )

    def split_own(self, node: int, threshold: Threshold) -> None:
        """Make ``node`` a split of a column of our own."""
        self.owner[node], self.split[node] = OWN, threshold.column
        self.threshold[node], self.missing_left[node] = threshold.value, threshold.missing_left

    def split_by(self, node: int, host: int, number: int) -> None:
        """Make ``node`` the split that host ``host`` (from 1) knows as ``number``."""
        self.owner[node], self.split[node] = host, number

    def end(self, node: int, weight: float) -> None:
        """Make ``node`` a leaf."""
        self.owner[node], self.weight[node] = LEAF, weight

    def own_goes_left(self, node: int, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these rows a split of our own sends left; X (m, p)."""
        x = X[:, self.split[node]]
        left = np.where(np.isnan(x), self.missing_left[node], x <= self.threshold[node])
        return np.asarray(left, np.bool_)


def targets(
    y: NDArray[np.int8], score: NDArray[np.float64], fraction_bits: int = FRACTION_BITS
) -> NDArray[np.int64]:
    """g, h and 1 of every row at the present score, as whole numbers; shape (n, 3)."""
    g, h = (_fixed(part, fraction_bits) for part in logistic_gradients(y, score))
    return np.stack([g, h, np.ones(len(y), np.int64)], axis=1)


def _fixed(values: NDArray[np.float64], fraction_bits: int) -> NDArray[np.int64]:
    return np.rint(np.ldexp(values, fraction_bits)).astype(np.int64)


def gains(left: Sums, total: Sums, growth: Growth) -> NDArray[np.float64]:
    """Twice the loss saved by every split, -inf where it is not allowed; left (splits, 2 or 3).

    Without numbers of rows a child needs none: one without rows gains nothing.
    """
    right = total - left
    gain = _score(left, growth) + _score(right, growth) - _score(total, growth)
    allowed = gain > 0.0
    for side in (left, right):
        if side.shape[1] > 2:
            allowed &= side[:, 2] >= growth.min_samples_leaf
        allowed &= np.ldexp(side[:, 1].astype(np.float64), -growth.fraction_bits) >= (
            growth.min_child_weight
        )
    return np.where(allowed, gain, -np.inf)


def _score(sums: Sums, growth: Growth) -> NDArray[np.float64]:
    g = np.ldexp(sums[..., 0].astype(np.float64), -growth.fraction_bits)
    h = np.ldexp(sums[..., 1].astype(np.float64), -growth.fraction_bits)
    return np.asarray(g * g / (h + growth.reg_lambda))


def leaf_weight(total: Sums, growth: Growth) -> float:
    """What a leaf adds to the score of its rows."""
    g, h = (float(np.ldexp(float(s), -growth.fraction_bits)) for s in total[:2])
    return -growth.learning_rate * g / (h + growth.reg_lambda)


@dataclass(frozen=True)
class Choice:
    """The best splits of one node within one party's matrix: equally good ones, ascending."""

    gain: float
    splits: tuple[int, ...]


def choose(left: Sums, total: Sums, growth: Growth) -> Choice | None:
    """The best split and all that are exactly as good, or None if none is allowed.

    Who owns the matrix takes the first of them in its own order: so that the choice does not depend
    on the order in which splits are shown to whom.
    """
    gain = gains(left, total, growth)
    best = float(gain.max(initial=-np.inf))
    if best == -np.inf:
        return None
    return Choice(best, tuple(int(i) for i in np.flatnonzero(gain == best)))


def can_split(rows: Rows, growth: Growth) -> bool:
    """Whether a node has enough rows for two children."""
    return len(rows) >= 2 * growth.min_samples_leaf


def fit_trees(
    columns: Columns, y: NDArray[np.int8], growth: Growth
) -> tuple[float, list[Tree], list[NDArray[np.float64]]]:
    """The ensemble on all columns at once: initial score, trees, and the score after each (n,).

    Each node adds up its own rows: no subtraction, no encryption, nothing shared with the
    federated computation but the formulas.
    """
    score = np.full(len(y), initial_score(y))
    start, trees, scores = float(score[0]), list[Tree](), list[NDArray[np.float64]]()
    for _ in range(growth.n_estimators):
        values = targets(y, score, growth.fraction_bits)
        tree = Tree.empty(growth.max_depth)
        nodes: dict[int, Rows] = {0: np.arange(len(y))}
        score = score.copy()
        for node in range(len(tree.owner)):
            if (rows := nodes.pop(node, None)) is None:
                continue
            total = values[rows].sum(axis=0)
            deep = 2 * node + 1 >= len(tree.owner)
            choice = (
                None
                if deep or not can_split(rows, growth)
                else choose(columns.matrix.sums(values, rows), total, growth)
            )
            if choice is None:
                tree.end(node, leaf_weight(total, growth))
                score[rows] += tree.weight[node]
                continue
            split = choice.splits[0]
            tree.split_own(node, columns.threshold(split))
            goes_left = columns.matrix.left(split, rows)
            nodes[2 * node + 1], nodes[2 * node + 2] = rows[goes_left], rows[~goes_left]
        trees.append(tree)
        scores.append(score)
    return start, trees, scores
