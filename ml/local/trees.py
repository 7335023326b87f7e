"""Trees of gradient boosting on binned rows: gains, choices, weights, and a whole ensemble.

Gradients are whole numbers, multiples of a power of two that is chosen for every tree: sums are
exact in any order, so parties who add them up in different places, or encrypted, come to the same
tree.  A row has one g and one h for every *output*: one, or as many as there are classes.
`fit_trees` is the plain computation with all columns in one place; the federated one is compared
with it.

Source: Chen and Guestrin, XGBoost, KDD 2016, equations 6 (gain) and 5 (weight), each summed over
outputs; with reg_alpha and gamma as in its library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.errors import ScoreOverflow
from ml.local.binning import Columns, Threshold, goes_left
from ml.local.losses import LOGISTIC, Objective
from ml.local.sampling import ALL_ROWS, Labels, Sampling
from ml.wire import Shape

FRACTION_BITS = 24  # of g and h where nothing asks for fewer
ABSENT, LEAF, OWN = -2, -1, 0  # what stands in Tree.owner; k > 0 is the k-th host

Rows = NDArray[np.int64]
# (..., 2k + 1): sums of g of each of k outputs, of h of each, and the number of rows; (..., 2k)
# where nobody asks for that number.
Sums = NDArray[np.int64]
Scores = NDArray[np.float64]  # (n, outputs)


@dataclass(frozen=True)
class Growth:
    """How trees are grown; names as in scikit-learn and XGBoost."""

    n_estimators: int
    learning_rate: float
    max_depth: int
    reg_lambda: float  # above 0
    min_child_weight: float  # least sum of h in a child, of all outputs together
    min_samples_leaf: int
    fraction_bits: int = FRACTION_BITS  # of the largest g and h as whole numbers
    objective: Objective = LOGISTIC
    reg_alpha: float = 0.0  # taken off every sum of g
    gamma: float = 0.0  # least gain of a split
    sampling: Sampling = ALL_ROWS
    early_stopping_rounds: int = 0  # trees without a better loss on held-out rows; 0 for never
    # Of the tree at hand: whole numbers times 2^(scale - fraction_bits) are g and h.
    scale: tuple[int, int] = (0, 0)


@wire.register
@dataclass(frozen=True, eq=False)
class Tree:
    """A binary tree in heap order: node 0 is the root, node i has the children 2i + 1 and 2i + 2.

    A node with ``owner`` OWN asks whether column ``split`` is at most ``threshold``, or equal to it
    where it is a ``category``; one of host k
    knows only the host's number ``split``; a leaf has a ``weight`` for every
    output.
    """

    owner: Annotated[NDArray[np.int8], Shape("nodes")]
    split: Annotated[NDArray[np.int64], Shape("nodes")]
    threshold: Annotated[NDArray[np.float64], Shape("nodes")]
    missing_left: Annotated[NDArray[np.bool_], Shape("nodes")]
    category: Annotated[NDArray[np.bool_], Shape("nodes")]
    weight: Annotated[NDArray[np.float64], Shape("nodes", "outputs")]

    @classmethod
    def empty(cls, max_depth: int, outputs: int = 1) -> Tree:
        """A tree of which no node is there yet."""
        nodes = 2 ** (max_depth + 1) - 1
        return cls(
            np.full(nodes, ABSENT, np.int8),
            np.zeros(nodes, np.int64),
            np.zeros(nodes),
            np.zeros(nodes, np.bool_),
            np.zeros(nodes, np.bool_),
            np.zeros((nodes, outputs)),
        )

    def split_own(self, node: int, threshold: Threshold) -> None:
        """Make ``node`` a split of a column of our own."""
        self.owner[node], self.split[node] = OWN, threshold.column
        self.threshold[node], self.missing_left[node] = threshold.value, threshold.missing_left
        self.category[node] = threshold.category

    def split_by(self, node: int, host: int, number: int) -> None:
        """Make ``node`` the split that host ``host`` (from 1) knows as ``number``."""
        self.owner[node], self.split[node] = host, number

    def end(self, node: int, weight: NDArray[np.float64]) -> None:
        """Make ``node`` a leaf."""
        self.owner[node], self.weight[node] = LEAF, weight

    def own_goes_left(self, node: int, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these rows a split of our own sends left; X (m, p)."""
        return goes_left(
            X[:, self.split[node]],
            float(self.threshold[node]),
            bool(self.missing_left[node]),
            bool(self.category[node]),
        )


def targets(
    labels: Labels, score: Scores, growth: Growth, tree: int
) -> tuple[NDArray[np.int64], Growth]:
    """g, h and 1 of every row at the present score, as whole numbers, (n, 2 outputs + 1); and
    ``growth`` with their scale.

    The scale is the least power of two that holds all of them, one for g and one for h: no value
    is beyond 2^fraction_bits.  Rows that are not in the sample of tree number ``tree`` are zero.
    Raises `ScoreOverflow`.
    """
    g, h = growth.objective.gradients(labels.y, score)
    factors = growth.sampling.factors(labels, g, tree)
    g, h = g * factors[:, None], h * factors[:, None]
    scale = _exponent(g, growth), _exponent(h, growth)
    count = (factors > 0).astype(np.int64)[:, None]
    fixed = [_fixed(part, growth.fraction_bits - s) for part, s in zip((g, h), scale, strict=True)]
    return np.concatenate([*fixed, count], axis=1), replace(growth, scale=scale)


def _exponent(values: Scores, growth: Growth) -> int:
    """The least power of two that is not below any of the values; raises `ScoreOverflow`."""
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        raise ScoreOverflow(growth.objective.name, largest, float(np.finfo(np.float64).max))
    mantissa, exponent = np.frexp(largest)
    return int(exponent) - int(mantissa == 0.5)


def _fixed(values: Scores, fraction_bits: int) -> NDArray[np.int64]:
    return np.rint(np.ldexp(values, fraction_bits)).astype(np.int64)


def gains(left: Sums, total: Sums, growth: Growth) -> NDArray[np.float64]:
    """Twice the loss saved by every split, -inf where it is not allowed; left (splits, fields).

    Without numbers of rows a child needs none: one without rows gains nothing.
    """
    right, outputs = total - left, growth.objective.outputs
    gain = _score(left, growth) + _score(right, growth) - _score(total, growth)
    allowed = (gain > 0.0) & (gain >= growth.gamma)
    for side in (left, right):
        if side.shape[1] > 2 * outputs:
            allowed &= side[:, -1] >= growth.min_samples_leaf
        h = side[:, outputs : 2 * outputs].sum(axis=1).astype(np.float64)
        allowed &= np.ldexp(h, growth.scale[1] - growth.fraction_bits) >= growth.min_child_weight
    return np.where(allowed, gain, -np.inf)


def _parts(sums: Sums, output: int, growth: Growth) -> tuple[Scores, Scores]:
    """Sums of g, less reg_alpha, and of h of one output, as they are without fixed point."""
    k = growth.objective.outputs
    g, h = (
        np.ldexp(sums[..., at].astype(np.float64), scale - growth.fraction_bits)
        for at, scale in zip((output, k + output), growth.scale, strict=True)
    )
    if growth.reg_alpha:
        g = np.sign(g) * np.maximum(np.abs(g) - growth.reg_alpha, 0.0)
    return np.asarray(g), np.asarray(h)


def _score(sums: Sums, growth: Growth) -> Scores:
    score = np.zeros(sums.shape[:-1])
    # One output after the other, so that rounding does not depend on how many splits there are.
    for output in range(growth.objective.outputs):
        g, h = _parts(sums, output, growth)
        score += g * g / (h + growth.reg_lambda)
    return score


def leaf_weight(total: Sums, growth: Growth) -> Scores:
    """What a leaf adds to the score of its rows, (outputs,)."""
    pairs = [_parts(total, output, growth) for output in range(growth.objective.outputs)]
    return np.array([-growth.learning_rate * g / (h + growth.reg_lambda) for g, h in pairs])


@dataclass(frozen=True)
class Choice:
    """The best splits of one node within one party's matrix: equally good ones, ascending."""

    gain: float
    splits: tuple[int, ...]


def choose(
    left: Sums, total: Sums, growth: Growth, drawn: NDArray[np.bool_] | None = None
) -> Choice | None:
    """The best split and all that are exactly as good, or None if none is allowed.

    Where columns are drawn, ``drawn`` marks their splits.

    Who owns the matrix takes the first of them in its own order: so that the choice does not depend
    on the order in which splits are shown to whom.
    """
    gain = gains(left, total, growth)
    if drawn is not None:
        gain = np.where(drawn, gain, -np.inf)
    best = float(gain.max(initial=-np.inf))
    if best == -np.inf:
        return None
    return Choice(best, tuple(int(i) for i in np.flatnonzero(gain == best)))


def can_split(values: NDArray[np.int64], rows: Rows, growth: Growth) -> bool:
    """Whether a node has enough rows for two children; ``values`` as from `targets`."""
    counted = values.shape[1] > 2 * growth.objective.outputs
    there = int(values[rows, -1].sum()) if counted else len(rows)
    return there >= 2 * growth.min_samples_leaf


def best_tree(losses: Sequence[float]) -> int:
    """How many trees have the least loss on held-out rows: the fewest of equally good."""
    return int(np.argmin(losses)) + 1


def is_stale(losses: Sequence[float], growth: Growth) -> bool:
    """Whether it is long enough that the loss on held-out rows was at its best."""
    rounds = growth.early_stopping_rounds
    return rounds > 0 and len(losses) > 0 and len(losses) - best_tree(losses) >= rounds


def fit_trees(
    columns: Columns,
    labels: Labels,
    growth: Growth,
    drawn: Callable[[int], NDArray[np.bool_]] | None = None,
) -> tuple[NDArray[np.float64], list[Tree], list[Scores]]:
    """The ensemble on all columns at once: initial score (outputs,), trees, and the score after
    each (n, outputs).  ``drawn`` marks the splits that a tree, by its number, may choose.

    Each node adds up its own rows: no subtraction, no encryption, nothing shared with the
    federated computation but the formulas.
    """
    objective, held_out = growth.objective, labels.held_out_weight
    start = objective.start(labels.y, labels.training_weight)
    score = np.tile(start, (len(labels.y), 1))
    trees, scores, losses = list[Tree](), list[Scores](), list[float]()
    for k in range(growth.n_estimators):
        values, growth = targets(labels, score, growth, k)
        tree = Tree.empty(growth.max_depth, objective.outputs)
        nodes: dict[int, Rows] = {0: np.arange(len(labels.y))}
        score, marked = score.copy(), None if drawn is None else drawn(k)
        for node in range(len(tree.owner)):
            if (rows := nodes.pop(node, None)) is None:
                continue
            total = values[rows].sum(axis=0)
            deep = 2 * node + 1 >= len(tree.owner)
            choice = (
                None
                if deep or not can_split(values, rows, growth)
                else choose(columns.matrix.sums(values, rows), total, growth, marked)
            )
            if choice is None:
                tree.end(node, leaf_weight(total, growth))
                score[rows] += tree.weight[node]
                continue
            split = choice.splits[0]
            tree.split_own(node, columns.threshold(split))
            to_left = columns.matrix.left(split, rows)
            nodes[2 * node + 1], nodes[2 * node + 2] = rows[to_left], rows[~to_left]
        trees.append(tree)
        scores.append(score)
        if growth.early_stopping_rounds:
            losses.append(objective.loss(labels.y, score, held_out))
            if is_stale(losses, growth):
                break
    kept = best_tree(losses) if losses else len(trees)
    return start, trees[:kept], scores[:kept]
