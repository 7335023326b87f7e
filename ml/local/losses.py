"""Losses of gradient boosting: value, gradient and curvature at the raw score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def sigmoid(score: Vector) -> Vector:
    """1 / (1 + e^-score), without overflow at either end."""
    e = np.exp(-np.abs(score))
    return np.asarray(np.where(score >= 0, 1.0, e) / (1.0 + e))


def initial_score(y: NDArray[np.int8]) -> float:
    """The score of the constant model: log odds of the mean label; both classes must occur."""
    mean = float(np.mean(y))
    return float(np.log(mean / (1.0 - mean)))


def logistic_loss(y: NDArray[np.int8], score: Vector) -> float:
    """Mean negative log likelihood of labels 0 and 1."""
    return float(np.mean(np.logaddexp(0.0, score) - y * score))


def logistic_gradients(y: NDArray[np.int8], score: Vector) -> tuple[Vector, Vector]:
    """First and second derivative by the score: g = p - y in [-1, 1], h = p(1 - p) in [0, 1/4]."""
    p = sigmoid(score)
    return p - y, p * (1.0 - p)
