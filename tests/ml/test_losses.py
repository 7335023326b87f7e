"""Losses: derivatives that are those of the value, starts that are best, ranges as stated."""

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from ml.errors import LabelsMissing, LabelsNegative, LabelsNotClasses, ScoreOverflow, SingleClass
from ml.local import trees
from ml.local.binning import Columns
from ml.local.losses import Objective, ObjectiveName
from ml.local.sampling import Labels
from ml.local.trees import Growth
from ml.table import Schema, Table

SMOOTH = [
    Objective("logistic"),
    Objective("squared"),
    Objective("huber", shape=2.0),
    Objective("fair", shape=0.5),
    Objective("log_cosh"),
    Objective("poisson"),
    Objective("tweedie", shape=1.3),
]
ALL = [*SMOOTH, Objective("absolute"), Objective("softmax", 3)]
ONE = np.ones(1)


def labels_for(objective: Objective, rng: np.random.Generator, n: int) -> np.ndarray:
    match objective.name:
        case "logistic":
            return rng.integers(0, 2, n).astype(float)
        case "softmax":
            return rng.integers(0, objective.outputs, n).astype(float)
        case _:
            return rng.integers(0, 9, n).astype(float)


@pytest.mark.parametrize("objective", SMOOTH, ids=lambda o: o.name)
@given(score=st.floats(-4, 4), label=st.integers(0, 5))
def test_gradients_are_the_derivatives_of_the_loss(objective: Objective, score: float, label: int):
    y, step = np.array([min(label, 1) if objective.name == "logistic" else label], float), 1e-5
    at = np.array([[score]])
    slope = objective.loss(y, at + step, ONE) - objective.loss(y, at - step, ONE)
    g, h = objective.gradients(y, at)
    assert g[0, 0] == pytest.approx(slope / (2 * step), rel=1e-5, abs=1e-5)
    bend = objective.gradients(y, at + step)[0] - objective.gradients(y, at - step)[0]
    assert h[0, 0] >= 0
    if objective.name == "fair" and abs(score - label) < 2 * step:
        return  # Fair's curvature has a kink where the residual is zero.
    assert h[0, 0] == pytest.approx(bend[0, 0] / (2 * step), rel=1e-4, abs=1e-4)


@given(st.lists(st.floats(-30, 30), min_size=3, max_size=3), st.integers(0, 2))
def test_gradients_of_classes_are_the_derivatives_of_the_loss(score: list[float], label: int):
    objective, y, step = Objective("softmax", 3), np.array([float(label)]), 1e-5
    g, h = objective.gradients(y, np.array([score]))
    for k in range(3):
        up, down = np.array([score]), np.array([score])
        up[0, k] += step
        down[0, k] -= step
        slope = objective.loss(y, up, ONE) - objective.loss(y, down, ONE)
        assert g[0, k] == pytest.approx(slope / (2 * step), abs=1e-5)
        bend = objective.gradients(y, up)[0] - objective.gradients(y, down)[0]
        assert h[0, k] == pytest.approx(bend[0, k] / (2 * step), abs=1e-5)


def test_the_absolute_loss_steps_by_the_sign():
    g, h = Objective("absolute").gradients(np.array([1.0, 2.0, 3.0]), np.full((3, 1), 2.0))
    assert g[:, 0].tolist() == [1.0, 0.0, -1.0]
    assert h[:, 0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["logistic", "squared", "poisson", "tweedie", "softmax"])
def test_at_the_start_gradients_cancel_by_weight(name: ObjectiveName):
    objective = Objective(name, 3 if name == "softmax" else 1, 1.5)
    rng = np.random.default_rng(3)
    y, weight = labels_for(objective, rng, 50), rng.random(50)
    g, _ = objective.gradients(y, np.tile(objective.start(y, weight), (50, 1)))
    assert weight @ g == pytest.approx(0, abs=1e-9)


def test_the_start_of_the_absolute_loss_is_the_median_by_weight():
    y, weight = np.array([5.0, 1.0, 9.0]), np.array([1.0, 1.0, 5.0])
    assert Objective("absolute").start(y, np.ones(3)) == [5.0]
    assert Objective("absolute").start(y, weight) == [9.0]


@pytest.mark.parametrize("objective", [Objective("poisson"), Objective("tweedie", shape=1.5)])
def test_scores_beyond_any_exponential_are_refused(objective: Objective):
    far = np.array([[31.0]])
    for use in (objective.predict, lambda s: objective.gradients(ONE, s)):
        with pytest.raises(ScoreOverflow, match="reached 31; allowed are 30"):
            use(far)
    with pytest.raises(ScoreOverflow):
        objective.predict(np.array([[np.nan]]))


def test_labels_that_cannot_be_learnt_are_refused():
    def table(*y: float) -> Table:
        ids = tuple(str(i) for i in range(len(y)))
        return Table(Schema((), (), label="y"), ids, np.empty((len(y), 0)), np.array(y))

    with pytest.raises(LabelsNegative, match="1 labels are negative"):
        Objective("poisson").labels(table(0, -1, 2))
    with pytest.raises(LabelsNotClasses, match="0 to 2"):
        Objective("softmax", 3).labels(table(0, 1, 3))
    with pytest.raises(SingleClass):
        Objective("softmax", 3).labels(table(1, 1))
    with pytest.raises(LabelsMissing):
        Objective("squared").labels(table(1, float("nan")))
    assert Objective("squared").labels(table(-1, 7)).tolist() == [-1, 7]


# --- as whole numbers ---


@given(st.floats(1e-9, 1e9), st.integers(0, 2**32))
def test_the_scale_of_a_tree_holds_any_labels_and_wastes_no_digit(unit: float, seed: int):
    y = np.random.default_rng(seed).normal(0, unit, 20)
    growth = Growth(1, 0.3, 3, 1.0, 0.0, 1, objective=Objective("squared"))
    values, scaled = trees.targets(Labels.of(y), np.zeros((20, 1)), growth, 0)
    largest = np.abs(values[:, 0]).max()
    assert 2**23 <= largest <= 2**24
    exact = np.ldexp(values[:, 0].astype(float), scaled.scale[0] - 24)
    assert exact == pytest.approx(-y, abs=float(np.abs(y).max()) * 2**-23)
    assert values[:, 1].tolist() == [2**24] * 20


def test_what_overflows_has_no_scale():
    growth = Growth(1, 0.3, 3, 1.0, 0.0, 1, objective=Objective("squared"))
    labels = Labels(np.array([1e300, 0.0]), np.array([1e300, 1.0]), np.zeros(2, np.bool_))
    with np.errstate(over="ignore"), pytest.raises(ScoreOverflow):
        trees.targets(labels, np.zeros((2, 1)), growth, 0)


# --- ensembles ---


def problem(n: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(0, 0.3, n)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: o.name)
def test_the_loss_falls_with_trees_for_every_objective(objective: Objective):
    X, z = problem(400)
    match objective.name:
        case "logistic":
            y = (z > 0).astype(float)
        case "softmax":
            y = np.digitize(z, [-1, 1]).astype(float)
        case _:
            y = np.floor(np.exp(z / 2) * 2)
    growth = Growth(6, 0.3, 3, 1.0, 0.0, 5, objective=objective)
    _, _, scores = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), growth)
    losses = [objective.loss(y, score, np.ones(len(y))) for score in scores]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.parametrize(
    ("objective", "theirs"),
    [(Objective("squared"), "squared_error"), (Objective("poisson"), "poisson")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_regression_is_as_good_as_that_of_scikit_learn(objective: Objective, theirs: str):
    X, z = problem()
    y = np.round(np.exp(z)) if theirs == "poisson" else z
    other = HistGradientBoostingRegressor(
        loss=theirs,
        max_iter=30,
        learning_rate=0.2,
        max_depth=3,
        max_leaf_nodes=None,
        max_bins=32,
        l2_regularization=1.0,
        min_samples_leaf=20,
        early_stopping=False,
    ).fit(X, y)
    growth = Growth(30, 0.2, 3, 1.0, 1e-3, 20, objective=objective)
    scores = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), growth)[2][-1]
    expected = np.log(other.predict(X)) if theirs == "poisson" else other.predict(X)
    ours, known = (objective.loss(y, s, np.ones(len(y))) for s in (scores, expected[:, None]))
    assert ours == pytest.approx(known, rel=0.05, abs=0.02)


XGBOOST: list[tuple[Objective, dict[str, object]]] = [
    (Objective("logistic"), {"objective": "binary:logistic"}),
    (Objective("squared"), {"objective": "reg:squarederror"}),
    (Objective("huber", shape=1.5), {"objective": "reg:pseudohubererror", "huber_slope": 1.5}),
    (Objective("tweedie", shape=1.3), {"objective": "reg:tweedie", "tweedie_variance_power": 1.3}),
]


@pytest.mark.parametrize(("objective", "named"), XGBOOST, ids=lambda v: getattr(v, "name", ""))
@pytest.mark.parametrize(("alpha", "gamma"), [(0.0, 0.0), (2.0, 1.5)], ids=["plain", "regularised"])
def test_trees_are_those_of_xgboost(
    objective: Objective, named: dict[str, object], alpha: float, gamma: float
):
    """The same scores of rows with weights and missing values, where bins hold one value each."""
    rng = np.random.default_rng(2)
    X = rng.integers(-4, 5, (500, 3)).astype(float)
    z = X[:, 0] - np.abs(X[:, 1]) + rng.normal(0, 1, 500)
    X[rng.random(X.shape) < 0.15] = np.nan
    match objective.name:
        case "logistic":
            y = (z > 0).astype(float)
        case "tweedie":
            y = np.floor(np.exp(z / 4))
        case _:
            y = z / 2
    labels = Labels(y, rng.integers(1, 4, 500).astype(float), np.zeros(500, np.bool_))
    growth = Growth(
        5, 0.3, 4, 1.0, 3.0, 1, objective=objective, reg_alpha=alpha, gamma=gamma, fraction_bits=30
    )
    start, _, scores = trees.fit_trees(Columns.of(X, tuple("abc")), labels, growth)
    booster = xgboost.train(
        named
        | {"base_score": float(objective.predict(start[None])[0]), "max_depth": 4, "eta": 0.3}
        | {"lambda": 1.0, "alpha": alpha, "gamma": gamma, "min_child_weight": 3.0, "nthread": 1},
        xgboost.DMatrix(X, y, weight=labels.weight),
        5,
    )
    expected = booster.predict(xgboost.DMatrix(X), output_margin=True)
    assert np.ptp(expected) > 0.3
    assert scores[-1][:, 0] == pytest.approx(expected, abs=1e-4)


def test_classes_are_told_apart_as_by_scikit_learn():
    """Its trees have one output each, ours one for every class: a third of the trees."""
    X, z = problem()
    y = np.digitize(z, [-1, 1]).astype(float)
    objective = Objective("softmax", 3)
    growth = Growth(30, 0.2, 3, 1.0, 1e-3, 20, objective=objective)
    scores = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), growth)[2][-1]
    other = HistGradientBoostingClassifier(
        max_iter=30,
        learning_rate=0.2,
        max_depth=3,
        max_leaf_nodes=None,
        max_bins=32,
        l2_regularization=1.0,
        early_stopping=False,
    ).fit(X, y)
    ours = (objective.predict(scores).argmax(axis=1) == y).mean()
    assert ours == pytest.approx(other.score(X, y), abs=0.03)
