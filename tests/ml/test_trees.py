"""The plain trees: the right gain, the right choice, and scores like those of others."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from ml.local import metrics, trees
from ml.local.binning import Columns
from ml.local.losses import LOGISTIC, sigmoid
from ml.local.sampling import Labels
from ml.local.trees import LEAF, OWN, Growth

ONE = 2**trees.FRACTION_BITS
GROWTH = Growth(5, 0.3, 3, reg_lambda=1.0, min_child_weight=0.0, min_samples_leaf=1)


def sums(*rows: tuple[float, float, int]) -> np.ndarray:
    return np.array([[round(g * ONE), round(h * ONE), count] for g, h, count in rows], np.int64)


def problem(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    z = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(0, 0.5, n)
    return X, (z > 0).astype(np.int8)


# --- losses (the others: test_losses.py) ---


def test_extreme_scores_do_not_overflow():
    y, score = np.array([0.0, 1.0]), np.array([1000.0, -1000.0])
    assert sigmoid(score).tolist() == [1.0, 0.0]
    assert LOGISTIC.loss(y, score[:, None], np.ones(2)) == 1000.0


# --- one split ---


def test_the_gain_is_that_of_the_book():
    left, total = sums((-2, 1, 4)), sums((1, 3, 9))[0]
    [gain] = trees.gains(left, total, GROWTH)
    assert gain == pytest.approx(4 / 2 + 9 / 3 - 1 / 4)


@pytest.mark.parametrize(
    ("growth", "left"),
    [
        (Growth(1, 1, 1, 1, 0.0, 3), (-2, 1, 2)),
        (Growth(1, 1, 1, 1, 0.0, 3), (-2, 1, 7)),
        (Growth(1, 1, 1, 1, 1.5, 1), (-2, 1, 4)),
        (Growth(1, 1, 1, 1, 2.5, 1), (-2, 1, 4)),
    ],
)
def test_a_split_with_too_small_a_child_is_not_allowed(growth: Growth, left):
    assert trees.choose(sums(left), sums((1, 3, 9))[0], growth) is None


def test_a_split_that_gains_nothing_is_not_taken():
    assert trees.choose(sums((1, 1, 2)), sums((2, 2, 4))[0], GROWTH) is None
    assert trees.choose(np.empty((0, 3), np.int64), sums((2, 2, 4))[0], GROWTH) is None


def test_equally_good_splits_are_all_named_in_order():
    left = sums((-1, 1, 3), (-2, 1, 4), (-1, 1, 3), (-2, 1, 4))
    choice = trees.choose(left, sums((1, 3, 9))[0], GROWTH)
    assert choice is not None
    assert choice.splits == (1, 3)


def test_a_leaf_weighs_what_the_book_says():
    assert trees.leaf_weight(sums((-2, 3, 5))[0], GROWTH) == pytest.approx(0.3 * 2 / 4)


def test_targets_are_whole_numbers_within_their_bits():
    labels = Labels.of(np.array([0, 1, 0, 1]))
    values, growth = trees.targets(labels, np.array([[800.0], [-800.0], [0.0], [0.0]]), GROWTH, 0)
    assert growth.scale == (0, -2)
    assert values[:, 0].tolist() == [ONE, -ONE, ONE // 2, -ONE // 2]
    assert values[:, 1].tolist() == [0, 0, ONE, ONE]
    assert values[:, 2].tolist() == [1, 1, 1, 1]


# --- an ensemble ---


def test_scores_are_the_sums_of_the_leaves_that_rows_reach():
    X, y = problem(200)
    start, grown, scores = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), GROWTH)
    total = np.tile(start, (len(y), 1))
    for tree, score in zip(grown, scores, strict=True):
        for i in range(len(y)):
            node = 0
            while tree.owner[node] == OWN:
                goes_left = tree.own_goes_left(node, X[i : i + 1])[0]
                node = 2 * node + (1 if goes_left else 2)
            assert tree.owner[node] == LEAF
            total[i] += tree.weight[node]
        assert score == pytest.approx(total, abs=1e-12)


def test_the_loss_falls_with_every_tree():
    X, y = problem()
    _, _, scores = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), GROWTH)
    losses = [LOGISTIC.loss(y, score, np.ones(len(y))) for score in scores]
    assert losses == sorted(losses, reverse=True)


def test_the_order_of_rows_does_not_matter():
    X, y = problem(300)
    order = np.random.default_rng(1).permutation(len(y))
    _, first, _ = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), GROWTH)
    _, again, _ = trees.fit_trees(Columns.of(X[order], tuple("abcd")), Labels.of(y[order]), GROWTH)
    for a, b in zip(first, again, strict=True):
        assert a.owner.tolist() == b.owner.tolist()
        assert a.threshold.tolist() == b.threshold.tolist()
        assert a.weight == pytest.approx(b.weight, abs=1e-12)


def test_an_ensemble_is_as_good_as_that_of_scikit_learn():
    X, y = problem(2000)
    growth = Growth(30, 0.2, 3, reg_lambda=1.0, min_child_weight=1e-3, min_samples_leaf=20)
    ours = trees.fit_trees(Columns.of(X, tuple("abcd")), Labels.of(y), growth)[2][-1]
    theirs = HistGradientBoostingClassifier(
        max_iter=30,
        learning_rate=0.2,
        max_depth=3,
        max_leaf_nodes=None,
        max_bins=32,
        l2_regularization=1.0,
        min_samples_leaf=20,
        early_stopping=False,
    ).fit(X, y)
    expected = metrics.auc(y, theirs.predict_proba(X)[:, 1])
    assert metrics.auc(y, LOGISTIC.predict(ours)) == pytest.approx(expected, abs=0.005)
