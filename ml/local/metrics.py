"""How good scores are: numbers and curves, through scikit-learn.

Unless said otherwise labels are 0 and 1, scores are probabilities of 1, both of shape (n,).  Where
a measure has no meaning on labels of one class, it raises `SingleClass`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.errors import DataError, LabelsNotBinary, SingleClass

Floats = NDArray[np.float64]


def _sklearn() -> Any:
    """Loaded when something is measured: that takes a second, and most steps of a job, and a node
    that only asks for an algorithm's parameters, measure nothing."""
    from sklearn import metrics

    return metrics


@dataclass(frozen=True)
class Confusion:
    """Counts of rows at one threshold: a score at or above it is taken as 1."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def accuracy(self) -> float:
        """Share of rows that are right."""
        rows = self.true_positives + self.false_positives
        rows += self.true_negatives + self.false_negatives
        return (self.true_positives + self.true_negatives) / rows

    @property
    def precision(self) -> float | None:
        """Share of the rows taken as 1 that are 1; None if no row is taken as 1."""
        taken = self.true_positives + self.false_positives
        return self.true_positives / taken if taken else None

    @property
    def recall(self) -> float | None:
        """Share of the rows with label 1 that are taken as 1; None if there are none."""
        ones = self.true_positives + self.false_negatives
        return self.true_positives / ones if ones else None


@dataclass(frozen=True)
class Curve:
    """Points to draw, ``x`` ascending; what the axes are is said where a curve is made."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Evaluation:
    """The numbers that a job reports about its held-out rows."""

    rows: int
    positives: int
    auc: float
    ks: float
    log_loss: float
    accuracy: float
    threshold: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def evaluate(y: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> Evaluation:
    """All numbers at once; raises `SingleClass`, `LabelsNotBinary` or `DataError`."""
    labels, scores = _checked(y, score)
    return Evaluation(
        rows=len(labels),
        positives=int(labels.sum()),
        auc=auc(labels, scores),
        ks=ks(labels, scores),
        log_loss=log_loss(labels, scores),
        accuracy=confusion(labels, scores, threshold).accuracy,
        threshold=threshold,
    )


def evaluate_values(y: ArrayLike, predicted: ArrayLike) -> dict[str, Any]:
    """Numbers on predicted numbers, both (n,); ``r2`` is None where all labels are equal."""
    labels, values = np.asarray(y, dtype=float), np.asarray(predicted, dtype=float)
    if labels.shape != values.shape or labels.ndim != 1 or not len(labels):
        raise DataError(f"labels {labels.shape} and values {values.shape}; needed are equally many")
    away = values - labels
    spread = float(((labels - labels.mean()) ** 2).sum())
    return {
        "rows": len(labels),
        "rmse": float(np.sqrt(np.mean(away**2))),
        "mae": float(np.abs(away).mean()),
        "r2": 1.0 - float((away**2).sum()) / spread if spread else None,
    }


def evaluate_classes(y: ArrayLike, probabilities: ArrayLike) -> dict[str, Any]:
    """Numbers on probabilities (n, classes) of labels 0 to classes - 1, (n,)."""
    labels, shares = np.asarray(y, dtype=np.int64), np.asarray(probabilities, dtype=float)
    if shares.ndim != 2 or labels.shape != shares.shape[:1] or not len(labels):
        raise DataError(
            f"labels {labels.shape}, probabilities {shares.shape}; needed is a row each"
        )
    own = np.maximum(shares[np.arange(len(labels)), labels], np.finfo(float).eps)
    return {
        "rows": len(labels),
        "classes": shares.shape[1],
        "accuracy": float((shares.argmax(axis=1) == labels).mean()),
        "log_loss": float(-np.log(own).mean()),
    }


def auc(y: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve."""
    labels, scores = _both_classes(y, score)
    return float(_sklearn().roc_auc_score(labels, scores))


def ks(y: ArrayLike, score: ArrayLike) -> float:
    """Kolmogorov-Smirnov: the largest distance of true and false positive rates."""
    labels, scores = _both_classes(y, score)
    false_rate, true_rate, _ = _sklearn().roc_curve(labels, scores)
    return float(np.max(true_rate - false_rate))


def log_loss(y: ArrayLike, score: ArrayLike) -> float:
    """Mean of -ln(probability of the label); scores are kept off 0 and 1 by one machine epsilon."""
    labels, scores = _checked(y, score)
    return float(_sklearn().log_loss(labels, scores, labels=[0, 1]))


def confusion(y: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> Confusion:
    """Counts at one threshold."""
    labels, scores = _checked(y, score)
    matrix = _sklearn().confusion_matrix(labels, scores >= threshold, labels=[0, 1])
    tn, fp, fn, tp = (int(count) for count in matrix.ravel())
    return Confusion(threshold, tp, fp, tn, fn)


def accuracy(y: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Share of rows that are right at one threshold."""
    return confusion(y, score, threshold).accuracy


def roc(y: ArrayLike, score: ArrayLike) -> Curve:
    """False positive rate (x) against true positive rate (y)."""
    labels, scores = _both_classes(y, score)
    false_rate, true_rate, _ = _sklearn().roc_curve(labels, scores)
    return _curve(false_rate, true_rate)


def lift(y: ArrayLike, score: ArrayLike, points: int = 20) -> Curve:
    """Share of rows, highest scores first (x), against how many times more ones it has (y)."""
    labels, scores = _both_classes(y, score)
    # Rows of equal score have no order among themselves: each stands for their mean.
    _, group = np.unique(-scores, return_inverse=True)
    ordered = (np.bincount(group, labels) / np.bincount(group))[np.sort(group)]
    ends = np.unique(np.ceil(np.linspace(0, len(labels), points + 1)[1:]).astype(int))
    captured = np.cumsum(ordered)[ends - 1]
    return _curve(ends / len(labels), captured / ends / labels.mean())


def calibration(y: ArrayLike, score: ArrayLike, bins: int = 10) -> Curve:
    """Mean score (x) against the share of ones (y), in bins of equally many rows."""
    labels, scores = _both_classes(y, score)
    bins = min(bins, len(np.unique(scores)))
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return _curve([scores[part].mean() for part in parts], [labels[part].mean() for part in parts])


def _curve(x: ArrayLike, y: ArrayLike) -> Curve:
    return Curve(tuple(np.asarray(x, float).tolist()), tuple(np.asarray(y, float).tolist()))


def _checked(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    labels, scores = np.asarray(y, dtype=float), np.asarray(score, dtype=float)
    if labels.shape != scores.shape or labels.ndim != 1 or not len(labels):
        raise DataError(f"labels {labels.shape} and scores {scores.shape}; needed are equally many")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise LabelsNotBinary(len(np.unique(labels)))
    if not ((scores >= 0) & (scores <= 1)).all():
        raise DataError("a score is missing or outside of 0 to 1; scores are probabilities")
    return labels, scores


def _both_classes(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    labels, scores = _checked(y, score)
    if labels.min() == labels.max():
        raise SingleClass(len(labels))
    return labels, scores
