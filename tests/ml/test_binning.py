"""Bins hold what they say, small ones are merged, and every split is a row of the matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ml.errors import AllMissingColumn, ConstantColumn
from ml.local.binning import NO_CATEGORY, Columns, fit_bins, goes_left

NAN = np.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, float).reshape(-1, 1)


def counts(x: np.ndarray, **how: int) -> list[int]:
    bins = fit_bins(x, ("x",), **how)
    return np.bincount(bins.transform(x)[:, 0], minlength=bins.sizes[0]).tolist()


def test_quantile_bins_hold_about_equally_many_rows():
    x = np.random.default_rng(0).exponential(size=(3200, 1))
    found = counts(x, max_bins=32)
    assert len(found) == 32
    assert min(found) >= 99
    assert max(found) <= 101


def test_a_column_of_few_values_has_a_bin_for_each():
    assert counts(column(1, 1, 2, 2, 2, 3), max_bins=32) == [2, 3, 1]


def test_a_value_on_an_edge_goes_with_the_smaller_ones():
    bins = fit_bins(column(1, 2, 3), ("x",))
    assert bins.transform(column(0, 1, 1.5, 2, 2.5, 3, 9))[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 2]


def test_missing_values_have_a_bin_of_their_own():
    assert counts(column(1, NAN, 2, NAN, 3)) == [1, 1, 1, 2]


def test_too_few_present_values_are_not_told_from_missing_ones():
    assert counts(column(1, NAN, NAN, NAN), min_bin_rows=2) == [4]


def test_small_bins_are_merged_into_their_neighbours():
    assert counts(column(1, 2, 2, 2, 3, 4, 4, 4, 5), min_bin_rows=3) == [4, 5]


def test_too_few_missing_values_join_the_first_bin():
    assert counts(column(1, 1, 1, 2, 2, 2, NAN), min_bin_rows=2) == [4, 3]


def test_a_column_that_is_too_rare_to_split_offers_no_split():
    x = column(*[0] * 50, 1)
    columns = Columns.of(x, ("x",), min_bin_rows=5)
    assert columns.bins.sizes == (1,)
    assert len(columns.matrix) == 0
    assert columns.matrix.sums(np.ones((51, 3), np.int64), np.arange(51)).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "error"),
    [(column(7, 7, 7), ConstantColumn), (column(NAN, NAN), AllMissingColumn)],
)
def test_a_column_that_tells_nothing_is_named(x: np.ndarray, error: type[Exception]):
    with pytest.raises(error, match="'limit'"):
        fit_bins(np.hstack([column(*range(len(x))), x]), ("age", "limit"))


def test_a_constant_that_is_missing_in_some_rows_splits_them_off():
    columns = Columns.of(column(7, NAN, 7, NAN), ("x",))
    assert len(columns.matrix) == 1
    assert columns.matrix.left(0, np.arange(4)).tolist() == [True, False, True, False]
    split = columns.threshold(0)
    assert (split.value, split.missing_left) == (np.inf, False)


cells = st.one_of(st.just(NAN), st.sampled_from([-1.5, 0.0, 0.25, 2.0, 1e9]), st.floats(-5, 5))
tables = arrays.arrays(np.float64, st.tuples(st.integers(4, 40), st.just(2)), elements=cells)


@given(tables, st.integers(2, 8), st.integers(1, 5))
def test_a_threshold_sends_the_rows_left_that_its_bins_do(X, max_bins: int, min_bin_rows: int):
    try:
        columns = Columns.of(X, ("a", "b"), max_bins=max_bins, min_bin_rows=min_bin_rows)
    except (ConstantColumn, AllMissingColumn):
        return
    for split in range(len(columns.matrix)):
        asked = columns.threshold(split)
        x = X[:, asked.column]
        by_value = np.where(np.isnan(x), asked.missing_left, x <= asked.value)
        assert (by_value == columns.matrix.left(split, np.arange(len(X)))).all()


@given(tables, st.integers(1, 5))
def test_every_bin_has_its_least_number_of_rows(X, min_bin_rows: int):
    try:
        bins = fit_bins(X, ("a", "b"), min_bin_rows=min_bin_rows)
    except (ConstantColumn, AllMissingColumn):
        return
    for j, size in enumerate(bins.sizes):
        found = np.bincount(bins.transform(X)[:, j], minlength=size)
        assert len(found) == size
        # A column with fewer present values than that is left with one bin of them.
        present = found[: size - bins.missing[j]]
        assert len(found) == 1 or present.min() >= min_bin_rows
        assert not bins.missing[j] or found[-1] >= min_bin_rows


@given(tables, st.integers(0, 2**32))
def test_sums_are_those_of_the_rows_that_go_left(X, seed: int):
    try:
        matrix = Columns.of(X, ("a", "b"), max_bins=4).matrix
    except (ConstantColumn, AllMissingColumn):
        return
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**30), 2**30, (len(X), 3))
    rows = np.flatnonzero(rng.random(len(X)) < 0.7)
    for split, found in enumerate(matrix.sums(values, rows)):
        assert (found == values[rows[matrix.left(split, rows)]].sum(axis=0)).all()


# --- categories ---

letters = arrays.arrays(
    np.float64,
    st.tuples(st.integers(4, 60), st.just(2)),
    elements=st.sampled_from([NAN, 3.0, 5.0, 7.0, 8.0, 11.0]),
)


def with_categories(X: np.ndarray, max_bins: int, min_bin_rows: int) -> Columns | None:
    kept = {"max_bins": max_bins, "min_bin_rows": min_bin_rows}
    try:
        return Columns.of(X, ("a", "b"), categories=frozenset({"a"}), **kept)
    except (ConstantColumn, AllMissingColumn):
        return None


@given(letters, st.integers(2, 5), st.integers(1, 5), st.integers(0, 2**32))
def test_a_category_goes_left_alone_or_with_what_is_missing(X, max_bins, min_bin_rows, seed: int):
    columns = with_categories(X, max_bins, min_bin_rows)
    if columns is None:
        return
    values = np.random.default_rng(seed).integers(-9, 9, (len(X), 3))
    every = np.arange(len(X))
    sums = columns.matrix.sums(values, every)
    for split in np.flatnonzero(columns.matrix.column == 0):
        asked = columns.threshold(split)
        assert asked.category
        left = goes_left(X[:, 0], asked.value, asked.missing_left, category=True)
        present = np.unique(X[left & ~np.isnan(X[:, 0]), 0])
        assert present.tolist() == ([] if asked.value == NO_CATEGORY else [asked.value])
        assert (columns.matrix.left(split, every) == left).all()
        assert (sums[split] == values[left].sum(axis=0)).all()
        assert left.sum() >= min_bin_rows
        # What is left of all rows is no smaller: nobody may take its sum as a difference.
        known = [*columns.bins.edges[0], *([NAN] * columns.bins.missing[0])]
        others = ~np.isin(X[:, 0], known) & ~(np.isnan(X[:, 0]) & columns.bins.missing[0])
        assert not others.any() or others.sum() >= min_bin_rows


def test_the_most_frequent_categories_have_a_split_each_and_others_none():
    x = column(*[5] * 9, *[7] * 6, *[3] * 4, 1, 2, 2)
    columns = Columns.of(x, ("x",), categories=frozenset({"x"}), max_bins=2, min_bin_rows=2)
    assert [columns.threshold(k).value for k in range(len(columns.matrix))] == [5, 7]
    unknown = columns.bins.transform(column(3, 1, 99, NAN))
    assert len(set(unknown[:, 0].tolist())) == 1


def test_a_category_that_tells_nothing_is_named():
    for x, error in ((column(7, 7), ConstantColumn), (column(NAN, NAN), AllMissingColumn)):
        with pytest.raises(error, match="'x'"):
            Columns.of(x, ("x",), categories=frozenset({"x"}))
