"""Linear models on plain numbers: against scikit-learn, and what a design promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from ml.errors import ConstantColumn, LabelsNegative, LabelsNotBinary
from ml.local.linear import CURVATURE, Descent, Design, label_scale, targets
from ml.vertical.linear import models
from ml.vertical.linear.models import Params
from tests.ml.linear_data import FAMILIES, problem, table


@pytest.mark.parametrize("family", FAMILIES)
def test_coefficients_are_those_of_scikit_learn(family):
    X, y = problem(family, rows=400)
    params = Params(family=family, alpha=0.01, max_iter=300)
    part = models.alone(params, table(X, y))
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = {
        "logistic": LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-10, max_iter=1000),
        "linear": Ridge(0.01 * len(y)),
        "poisson": PoissonRegressor(alpha=0.01, tol=1e-10, max_iter=1000),
    }[family].fit(Z, y)
    unit = part.label_scale if family == "linear" else 1.0
    np.testing.assert_allclose(part.coefficients[:, 0] * unit, reference.coef_.ravel(), atol=1e-5)
    intercept = part.intercept * unit + part.label_centre
    if family == "poisson":
        intercept = intercept + np.log(part.label_scale)
    np.testing.assert_allclose(intercept, reference.intercept_, atol=1e-6)
    np.testing.assert_allclose(part.per_unit[:, 0] * X.std(axis=0), part.coefficients[:, 0])


@given(seed=st.integers(0, 2**32 - 1), alpha=st.sampled_from([0.0, 1e-3, 1.0]))
def test_a_design_bends_by_at_most_the_identity(seed, alpha):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(40, 4)) @ rng.normal(size=(4, 4)) * 10.0 ** rng.integers(-3, 4, 4)
    design = Design.of(table(X), "logistic", alpha, intercept=True)
    block = CURVATURE["logistic"] * design.X.T @ design.X / len(X) + design.penalty
    assert np.linalg.eigvalsh(block).max() <= 1 + 1e-9


def test_a_missing_value_counts_as_the_mean_of_its_column():
    X = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0], [7.0, 10.0]])
    filled = np.where(np.isnan(X), 6.0, X)
    y = np.array([0.0, 1.0, 0.0, 1.0])
    params = Params(max_iter=20)
    with_gap, without = (models.alone(params, table(x, y)) for x in (X, filled))
    gap, full = (models.predict_alone(with_gap, table(x)) for x in (X, filled))
    np.testing.assert_array_equal(gap, full)
    assert with_gap.mean[1] == without.mean[1] == 6.0


def test_a_column_that_repeats_another_changes_no_prediction():
    X, y = problem("logistic", rows=100)
    params = Params(alpha=0.0, max_iter=100)
    twice = np.column_stack([X, X[:, 0]])
    once, again = (
        models.predict_alone(models.alone(params, table(x, y)), table(x)) for x in (X, twice)
    )
    np.testing.assert_allclose(once, again, atol=1e-6)


def test_labels_and_columns_that_cannot_be_fitted_are_refused():
    X, y = problem("poisson", rows=20)
    with pytest.raises(LabelsNotBinary):
        targets(table(X, np.arange(20.0)), "logistic")
    with pytest.raises(LabelsNegative):
        targets(table(X, y - 50), "poisson")
    with pytest.raises(ConstantColumn):
        Design.of(table(np.where(X > 0, 1.0, np.nan)), "linear", 0.0, intercept=False)


def test_the_scale_of_labels_is_a_power_of_two_near_their_size():
    Y = np.array([[900.0], [1100.0], [1000.0]])
    assert label_scale(Y, "poisson") == 1024.0
    assert label_scale(Y, "logistic") == 1.0
    assert label_scale(np.zeros((3, 1)), "linear") == 1.0


def test_batches_are_even_and_rates_decay():
    descent = Descent(10, batch_rows=4, learning_rate=1.0, momentum=0.9, decay=0.5)
    sizes = [part.stop - part.start for part in descent.batches(10)]
    assert sizes == [3, 3, 4]
    assert descent.step(2, 4) == 1 / 2 / 4


def test_predictions_are_measured_as_their_family_has_it():
    X, y = problem("logistic", rows=120)
    kinds = {
        "log_loss": (Params(max_iter=5), y),
        "r2": (Params(family="linear", max_iter=5), X @ np.arange(8.0)),
        "classes": (Params(classes=3, max_iter=5), np.digitize(X[:, 0], [4.5, 5.5]).astype(float)),
    }
    for number, (params, labels) in kinds.items():
        rows = table(X, labels)
        scores = models.predict_alone(models.alone(params, rows), rows)
        found = models.measure(params, rows, scores)
        assert found["rows"] == 120
        assert number in found


def test_a_tolerance_too_small_to_be_seen_is_refused():
    with pytest.raises(ValueError, match="allowed are 0 and 1e-05"):
        Params(tol=1e-7)
