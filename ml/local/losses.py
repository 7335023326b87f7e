"""Losses of gradient boosting: labels, value, gradient and curvature at the raw score.

Trees are grown on sums of g and h as whole numbers.  For that, no loss needs a range of its own:
for every tree, who has the labels takes the least power of two that holds all |g| and one that
holds all h (`ml.local.trees.targets`).  So a label may have any unit, a residual may grow, a weight
may be large; digits are lost only where single rows are far larger than all others.  What is
bounded is stated here, and scores of which no exponential can be taken are refused.

    | objective | |g| | h | value predicted |
    | --- | --- | --- | --- |
    | logistic | 1 | 1/4 | probability of label 1 |
    | softmax | 1 each | 1/4 each | probability of each class |
    | squared | any | 1 | mean |
    | absolute | 1 | 1 | median |
    | huber (slope d) | d | 1 | between mean and median |
    | fair (scale c) | c | 1 | between mean and median |
    | log_cosh | 1 | 1 | between mean and median |
    | poisson | any | e^score | mean of counts |
    | tweedie (power p) | any | any | mean of amounts, many of them 0 |

Sources: XGBoost (logistic, softmax with h = p(1 - p), squared, absolute, pseudo-Huber, Tweedie);
scikit-learn (Poisson); Fair's and log-cosh as in FATE's HeteroSecureBoost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.errors import ScoreOverflow
from ml.table import Table, binary_labels, class_labels, number_labels

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]  # (n, outputs)

ObjectiveName = Literal[
    "logistic",
    "softmax",
    "squared",
    "absolute",
    "huber",
    "fair",
    "log_cosh",
    "poisson",
    "tweedie",
]
MAX_EXPONENT = 30.0  # of e in Poisson and Tweedie: 10^13


def sigmoid(score: Vector) -> Vector:
    """1 / (1 + e^-score), without overflow at either end."""
    e = np.exp(-np.abs(score))
    return np.asarray(np.where(score >= 0, 1.0, e) / (1.0 + e))


def softmax(score: Matrix) -> Matrix:
    """e^score as shares of its row, without overflow."""
    e = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@wire.register
@dataclass(frozen=True)
class Objective:
    """What is learnt: one score a row, or one for each class."""

    name: ObjectiveName = "logistic"
    outputs: int = 1  # the number of classes with softmax
    shape: float = 1.0  # slope of huber, scale of fair, power of tweedie

    def labels(self, table: Table) -> Vector:
        """The labels, shape (n,).

        Raises `LabelsMissing`, `LabelsNotBinary`, `LabelsNotClasses`, `LabelsNegative` or
        `SingleClass`.
        """
        if self.name == "logistic":
            return binary_labels(table).astype(np.float64)
        if self.name == "softmax":
            return class_labels(table, self.outputs).astype(np.float64)
        return number_labels(table, negative=self.name not in ("poisson", "tweedie"))

    def start(self, y: Vector, weight: Vector) -> Vector:
        """The best constant score, or nearly; shape (outputs,).  Weights are above 0 somewhere."""
        match self.name:
            case "softmax":
                shares = np.array([weight[y == k].sum() for k in range(self.outputs)])
                # A class that is held out, or weighs nothing, keeps a finite score.
                return np.asarray(np.log(np.maximum(shares / weight.sum(), 1e-6)))
            case "logistic":
                mean = min(max(float(np.average(y, weights=weight)), 1e-6), 1 - 1e-6)
                return np.array([np.log(mean / (1.0 - mean))])
            case "squared":
                return np.array([np.average(y, weights=weight)])
            case "poisson" | "tweedie":
                return np.array([np.log(max(float(np.average(y, weights=weight)), 1e-6))])
            case _:
                return np.array([_median(y, weight)])

    def gradients(self, y: Vector, score: Matrix) -> tuple[Matrix, Matrix]:
        """First and second derivative by the score, each (n, outputs); h is not negative.

        Raises `ScoreOverflow`.
        """
        if self.name == "softmax":
            p = softmax(score)
            return p - _one_hot(y, self.outputs), p * (1.0 - p)
        g, h = _GRADIENTS[self.name](y, self._checked(score[:, 0]), self.shape)
        return g[:, None], h[:, None]

    def loss(self, y: Vector, score: Matrix, weight: Vector) -> float:
        """Mean over rows by weight; raises `ScoreOverflow`."""
        if self.name == "softmax":
            top = score.max(axis=1)
            log_sum = top + np.log(np.exp(score - top[:, None]).sum(axis=1))
            each = log_sum - score[np.arange(len(y)), y.astype(np.int64)]
        else:
            each = _LOSSES[self.name](y, self._checked(score[:, 0]), self.shape)
        return float(np.average(each, weights=weight))

    def predict(self, score: Matrix) -> Vector | Matrix:
        """What scores mean: probabilities of 1 (n,) or of every class (n, classes), or values."""
        if self.name == "softmax":
            return softmax(score)
        s = self._checked(score[:, 0])
        if self.name == "logistic":
            return sigmoid(s)
        return np.exp(s) if self.name in ("poisson", "tweedie") else s.copy()

    def _checked(self, score: Vector) -> Vector:
        if self.name in ("poisson", "tweedie"):
            largest = float(np.abs(score).max(initial=0.0))
            if not largest <= MAX_EXPONENT:
                raise ScoreOverflow(self.name, largest, MAX_EXPONENT)
        return score


LOGISTIC = Objective()


def _one_hot(y: Vector, classes: int) -> Matrix:
    return np.asarray(y[:, None] == np.arange(classes), np.float64)


def _median(y: Vector, weight: Vector) -> float:
    order = np.argsort(y, kind="stable")
    below = np.cumsum(weight[order])
    return float(y[order[np.searchsorted(below, below[-1] / 2)]])


# --- one score a row: (y, score, shape) -> (g, h), and the loss ---------------------------------

_Pair = tuple[Vector, Vector]


def _logistic(y: Vector, s: Vector, _: float) -> _Pair:
    p = sigmoid(s)
    return p - y, p * (1.0 - p)


def _squared(y: Vector, s: Vector, _: float) -> _Pair:
    return s - y, np.ones_like(s)


def _absolute(y: Vector, s: Vector, _: float) -> _Pair:
    # No curvature: a step of the mean sign, as XGBoost and FATE take it.
    return np.sign(s - y), np.ones_like(s)


def _huber(y: Vector, s: Vector, slope: float) -> _Pair:
    z = 1.0 + ((s - y) / slope) ** 2
    return (s - y) / np.sqrt(z), 1.0 / (z * np.sqrt(z))


def _fair(y: Vector, s: Vector, scale: float) -> _Pair:
    away = np.abs(s - y) + scale
    return scale * (s - y) / away, (scale / away) ** 2


def _log_cosh(y: Vector, s: Vector, _: float) -> _Pair:
    t = np.tanh(s - y)
    return t, 1.0 - t * t


def _poisson(y: Vector, s: Vector, _: float) -> _Pair:
    mean = np.exp(s)
    return mean - y, mean


def _tweedie(y: Vector, s: Vector, power: float) -> _Pair:
    a, b = y * np.exp((1.0 - power) * s), np.exp((2.0 - power) * s)
    return b - a, (power - 1.0) * a + (2.0 - power) * b


_GRADIENTS: dict[str, Callable[[Vector, Vector, float], _Pair]] = {
    "logistic": _logistic,
    "squared": _squared,
    "absolute": _absolute,
    "huber": _huber,
    "fair": _fair,
    "log_cosh": _log_cosh,
    "poisson": _poisson,
    "tweedie": _tweedie,
}
_LOSSES: dict[str, Callable[[Vector, Vector, float], Vector]] = {
    "logistic": lambda y, s, _: np.logaddexp(0.0, s) - y * s,
    "squared": lambda y, s, _: (s - y) ** 2 / 2,
    "absolute": lambda y, s, _: np.abs(s - y),
    "huber": lambda y, s, d: d * d * (np.sqrt(1.0 + ((s - y) / d) ** 2) - 1.0),
    "fair": lambda y, s, c: c * c * (np.abs(s - y) / c - np.log1p(np.abs(s - y) / c)),
    # ln cosh x = |x| + ln(1 + e^-2|x|) - ln 2, without overflow.
    "log_cosh": lambda y, s, _: np.abs(s - y) + np.log1p(np.exp(-2 * np.abs(s - y))) - np.log(2),
    "poisson": lambda y, s, _: np.exp(s) - y * s,
    "tweedie": lambda y, s, p: (
        np.exp((2.0 - p) * s) / (2.0 - p) - y * np.exp((1.0 - p) * s) / (1.0 - p)
    ),
}
