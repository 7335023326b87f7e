"""Small problems for tests of linear models."""

import numpy as np

from ml.table import Schema, Table

FAMILIES = ("logistic", "linear", "poisson")
NOTHING = Table(Schema((), ()), (), np.empty((0, 0)))  # what an arbiter brings


def problem(family: str, rows: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Eight columns, two of them related and two that labels do not depend on, and labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6)) * np.array([1, 1, 100, 1, 0.01, 1]) + 5
    X[:, 3] += X[:, 0]
    X = np.column_stack([X, np.random.default_rng(seed + 1).normal(size=(rows, 2))])
    w = np.array([0.7, -0.4, 0.2, 0.5, -0.7, 0.15, 0.0, 0.0])
    eta = (X - X.mean(axis=0)) / X.std(axis=0) @ w + 0.3
    match family:
        case "logistic":
            return X, (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(float)
        case "linear":
            return X, 500 * eta + 200 * rng.normal(size=rows) + 3000
        case "poisson":
            return X, rng.poisson(3 * np.exp(eta)).astype(float)
    raise ValueError(family)


def table(X: np.ndarray, y: np.ndarray | None = None, first: int = 0) -> Table:
    """Columns c0, c1, ... of rows 0, 1, ..."""
    names = tuple(f"c{first + j}" for j in range(X.shape[1]))
    schema = Schema(names, ("number",) * len(names), label=None if y is None else "y")
    return Table(schema, tuple(map(str, range(len(X)))), np.ascontiguousarray(X), y)
