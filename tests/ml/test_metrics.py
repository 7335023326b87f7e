"""Metrics: right on cases that can be counted by hand, typed errors where they mean nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import DataError, LabelsNotBinary, SingleClass
from ml.local import metrics

Y = np.array([1, 0, 1, 0, 1])
SCORE = np.array([0.9, 0.8, 0.7, 0.2, 0.1])

labels_and_scores = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=40
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def test_auc_is_the_share_of_pairs_in_the_right_order():
    assert metrics.auc(Y, SCORE) == pytest.approx(3 / 6)


@given(labels_and_scores)
def test_auc_counts_pairs_with_ties_as_half(rows):
    y, score = np.array(rows).T
    pairs = [(a > b) + (a == b) / 2 for a in score[y == 1] for b in score[y == 0]]
    assert metrics.auc(y, score) == pytest.approx(np.mean(pairs))


def test_ks_is_the_largest_distance_of_the_rates():
    assert metrics.ks(Y, SCORE) == pytest.approx(1 / 3)
    assert metrics.ks([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == 1.0


def test_log_loss_is_the_mean_surprise():
    assert metrics.log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-np.log([0.8, 0.6]).mean())
    assert metrics.log_loss([1, 1], [0.8, 0.8]) == pytest.approx(-np.log(0.8))


def test_a_score_at_the_threshold_is_taken_as_one():
    found = metrics.confusion(Y, SCORE, 0.7)
    assert (found.true_positives, found.false_positives) == (2, 1)
    assert (found.true_negatives, found.false_negatives) == (1, 1)
    assert found.accuracy == metrics.accuracy(Y, SCORE, 0.7) == 3 / 5
    assert found.precision == found.recall == 2 / 3


def test_precision_and_recall_are_none_where_they_divide_by_nothing():
    assert metrics.confusion([0, 1], [0.1, 0.2], 0.5).precision is None
    assert metrics.confusion([0, 0], [0.1, 0.9], 0.5).recall is None


def test_an_evaluation_is_plain_json():
    found = metrics.evaluate(Y, SCORE).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["rows"] == 5
    assert found["positives"] == 3
    assert found["auc"] == metrics.auc(Y, SCORE)


@given(labels_and_scores)
def test_curves_start_and_end_where_they_must(rows):
    y, score = np.array(rows).T
    roc, lift, calibration = (
        metrics.roc(y, score),
        metrics.lift(y, score),
        metrics.calibration(y, score),
    )
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (lift.x[-1], lift.y[-1]) == (1, pytest.approx(1))
    assert len(calibration.x) == len(calibration.y) <= 10
    for curve in (roc, lift, calibration):
        assert list(curve.x) == sorted(curve.x)
        json.dumps([curve.x, curve.y])


def test_lift_of_perfect_scores_is_the_inverse_share_of_ones():
    curve = metrics.lift([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9], points=4)
    assert curve.x == (0.25, 0.5, 0.75, 1.0)
    assert curve.y == pytest.approx((4, 2, 4 / 3, 1))


def test_lift_of_equal_scores_is_one():
    assert metrics.lift([1, 0, 0, 1], [0.5] * 4).y == pytest.approx([1.0] * 4)


def test_calibration_compares_scores_with_shares():
    curve = metrics.calibration([0, 1, 1, 1], [0.1, 0.3, 0.8, 1.0], bins=2)
    assert curve.x == pytest.approx((0.2, 0.9))
    assert curve.y == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize(
    "measure",
    [metrics.auc, metrics.ks, metrics.roc, metrics.lift, metrics.calibration, metrics.evaluate],
)
def test_labels_of_one_class_are_refused(measure):
    with pytest.raises(SingleClass, match="all 2 labels"):
        measure([1, 1], [0.2, 0.3])


@pytest.mark.parametrize(
    ("y", "score", "error"),
    [
        ([0, 2], [0.1, 0.2], LabelsNotBinary),
        ([0, 1], [0.1], DataError),
        ([], [], DataError),
        ([0, 1], [0.1, np.nan], DataError),
        ([0, 1], [0.1, 1.5], DataError),
    ],
)
def test_what_has_no_meaning_is_refused(y, score, error):
    with pytest.raises(error):
        metrics.auc(y, score)


def test_what_only_asks_for_an_algorithm_does_not_load_what_measures() -> None:
    ask = "import sys; from ml import algorithm; algorithm.get('secureboost')"
    loaded = f"{ask}; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]
