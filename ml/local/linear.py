"""Generalised linear models by gradient descent with momentum, on all columns in one place.

What the protocol of `ml.vertical.linear` computes on shared numbers is written here on plain ones.
The columns of each party are standardised and, by `Design`, turned and stretched so that their
own block of the Hessian is at most the identity: every party can do that alone, and descent then
needs as many steps as the parties' columns depend on each other, however much those of one party
do.  The objective is the mean loss of a row plus alpha/2 times the squared coefficients of the
standardised columns, plus l1 times their absolute values; the intercept is free.  With l1 a column
keeps its direction, and all of a party are stretched alike.  In scikit-learn's words:
``LogisticRegression(C=1 / (alpha * n))``, ``Ridge(alpha * n)``, ``PoissonRegressor(alpha)``,
``Lasso(l1)``.

Nesterov's momentum in the form that keeps the point looked at, not the one behind it (Bengio,
Boulanger-Lewandowski, Pascanu: Advances in Optimizing Recurrent Networks, ICASSP 2013, eq. 6-7);
with l1 in that of Beck, Teboulle: A Fast Iterative Shrinkage-Thresholding Algorithm, SIAM Journal
on Imaging Sciences 2(1), 2009, with constant momentum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import ConstantColumn
from ml.local.losses import sigmoid
from ml.table import Table, binary_labels, check_features, class_labels, number_labels

Family = Literal["logistic", "linear", "poisson"]
Floats = NDArray[np.float64]

# The most that a row's loss can bend, by the linear predictor.  Poisson's has no bound: it is 1 at
# the labels' mean, and 4 leaves room for rows that are expected to be well above it.
CURVATURE: dict[Family, float] = {"logistic": 0.25, "linear": 1.0, "poisson": 4.0}
# Directions of less variance than this, of the largest, are left out: they are rounding.
RANK_TOLERANCE = 1e-9
# Columns that differ by less variance than this, of the largest direction, are one: who has read
# the others has read it.
SEEN_TOLERANCE = 1e-6


def mean(family: Family, eta: Floats) -> Floats:
    """What the model expects of a label, by the linear predictor."""
    match family:
        case "logistic":
            return sigmoid(eta)
        case "linear":
            return eta
        case "poisson":
            return np.exp(eta)


@dataclass(frozen=True)
class Descent:
    """How to descend; the same at all parties."""

    epochs: int
    batch_rows: int  # 0: all rows at once
    learning_rate: float  # of the largest that cannot diverge
    momentum: float
    decay: float  # the rate of epoch t is learning_rate / (1 + decay * t)
    tol: float = 0.0  # stop after an epoch in which the parameters moved by less

    def step(self, epoch: int, parties: int) -> float:
        """The step in ``epoch``: blocks of at most the identity sum to at most their number."""
        return self.learning_rate / (1.0 + self.decay * epoch) / parties

    def batches(self, rows: int) -> Iterator[slice]:
        """Consecutive rows, as even as can be."""
        count = max(1, -(-rows // self.batch_rows)) if self.batch_rows else 1
        for start, end in pairwise(rows * i // count for i in range(count + 1)):
            yield slice(start, end)


@dataclass(frozen=True, eq=False)
class Design:
    """One party's columns as the descent sees them: X = Z basis, with Z the standardised ones."""

    mean: Floats  # (p,)
    scale: Floats  # (p,)
    basis: Floats  # (p, p)
    X: Floats  # (n, d); d is p, and one more with the intercept, which is last
    penalty: Floats  # (d, d)
    threshold: Floats  # (d,), what l1 costs by the parameter

    @classmethod
    def of(
        cls, table: Table, family: Family, alpha: float, *, intercept: bool, l1: float = 0.0
    ) -> Design:
        """A missing value counts as its column's mean.

        Raises `ConstantColumn` or `AllMissingColumn`.
        """
        check_features(table)
        centre = np.nanmean(table.X, axis=0)
        spread = np.nanstd(table.X, axis=0)
        for name, value in zip(table.schema.features, spread, strict=True):
            if value == 0:  # one value and gaps
                raise ConstantColumn(name)
        Z = standardised(table.X, centre, spread)
        h, p = CURVATURE[family], Z.shape[1]
        values, vectors = np.linalg.eigh(h * (Z.T @ Z) / len(Z) + alpha * np.eye(p))
        kept = values > RANK_TOLERANCE * max(values.max(initial=0.0), 1.0)
        basis = vectors * np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
        if l1:
            basis = np.eye(p) / np.sqrt(values.max(initial=1e-12))
        X, penalty, threshold = Z @ basis, alpha * (basis.T @ basis), l1 * np.diag(basis)
        if intercept:
            X = np.column_stack([X, np.full(len(Z), h**-0.5)])
            penalty, threshold = np.pad(penalty, (0, 1)), np.pad(threshold, (0, 1))
        return cls(centre, spread, basis, X, penalty, threshold)

    def coefficients(self, v: Floats) -> Floats:
        """Of the standardised columns, shape (p, outputs), for ``v`` (d, outputs)."""
        return np.asarray(self.basis @ v[: len(self.basis)])


def independent_columns(table: Table) -> int:
    """How many columns are not, but for a thousandth of their spread, sums of others.

    Raises `AllMissingColumn`.
    """
    check_features(table)
    spread = np.nanstd(table.X, axis=0)
    Z = standardised(table.X, np.nanmean(table.X, axis=0), np.where(spread > 0, spread, 1.0))
    values = np.linalg.eigvalsh(Z.T @ Z / len(Z))
    return int(np.sum(values > SEEN_TOLERANCE * values.max(initial=1e-300)))


def standardised(X: Floats, mean: Floats, scale: Floats) -> Floats:
    """X less its mean in units of its scale, 0 where missing."""
    return np.where(np.isnan(X), 0.0, (X - mean) / scale)


def targets(table: Table, family: Family, classes: int = 2) -> Floats:
    """The labels as the descent needs them, shape (n, outputs): one column a class beyond two.

    Raises `LabelsMissing`, `LabelsNotBinary`, `LabelsNotClasses`, `SingleClass` or
    `LabelsNegative`.
    """
    if family != "logistic":
        return number_labels(table, negative=family == "linear")[:, None]
    if classes == 2:
        return binary_labels(table)[:, None].astype(np.float64)
    return np.asarray(class_labels(table, classes)[:, None] == np.arange(classes), np.float64)


def centre(Y: Floats, family: Family) -> float:
    """What is taken from the labels before anything else, and added to predictions."""
    return float(np.mean(Y)) if family == "linear" else 0.0


def label_scale(Y: Floats, family: Family) -> float:
    """A power of two near the labels' size; labels are divided by it.

    A power of two, because all parties are told: it says of the labels what their size is.
    """
    size = {"logistic": 1.0, "linear": float(np.std(Y)), "poisson": float(np.mean(Y))}[family]
    return float(2.0 ** np.round(np.log2(size))) if size > 0 else 1.0


def descend(
    designs: Sequence[Design], Y: Floats, family: Family, descent: Descent
) -> tuple[list[Floats], int]:
    """The parameters of every design, each (d, outputs), from 0, and the epochs; Y (n, outputs)."""
    beta, edges = descent.momentum, np.cumsum([design.X.shape[1] for design in designs])[:-1]
    w = [np.zeros((design.X.shape[1], Y.shape[1])) for design in designs]
    velocity = np.zeros((sum(len(part) for part in w), Y.shape[1]))
    thresholds = np.concatenate([design.threshold for design in designs])[:, None]
    shrunk = velocity  # with thresholds: the point behind the one that is looked at
    for epoch in range(descent.epochs):
        step, before = descent.step(epoch, len(designs)), np.concatenate(w)
        for rows in descent.batches(len(Y)):
            eta = sum((d.X[rows] @ part for d, part in zip(designs, w, strict=True)), start=0.0)
            residual = mean(family, np.asarray(eta)) - Y[rows]
            gradient = np.concatenate(
                [
                    d.X[rows].T @ residual / len(residual) + d.penalty @ part
                    for d, part in zip(designs, w, strict=True)
                ]
            )
            if thresholds.any():
                reached, last = np.concatenate(w) - step * gradient, shrunk
                shrunk = np.sign(reached) * np.maximum(np.abs(reached) - step * thresholds, 0.0)
                w = np.split(shrunk + beta * (shrunk - last), edges)
                continue
            move = beta**2 * velocity - (1 + beta) * step * gradient
            velocity = beta * velocity - step * gradient
            w = [a + b for a, b in zip(w, np.split(move, edges), strict=True)]
        if np.sum((np.concatenate(w) - before) ** 2) < descent.tol**2:
            break
    return (np.split(shrunk, edges) if thresholds.any() else w), epoch + 1
