"""Quantile bins of a party's own columns, and the 0/1 matrix of all splits between them.

`fit_bins` chooses the edges, `Bins.transform` puts rows into bins, `split_matrix` lists every
split "at most this bin goes left" as one row of a 0/1 matrix.  A column of categories has a bin
for each frequent one and one for all others, and splits "this one goes left".  Nobody else is
needed for any of it.
"""

# mypy: allow-untyped-defs
# (The arguments of a compiled function have the types of its calls.)

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled
from ml.errors import AllMissingColumn, ConstantColumn

MAX_BINS = 32  # of present values; missing ones have a bin of their own beside them


@dataclass(frozen=True)
class Bins:
    """The edges of every column, ascending.

    Bin b of a column holds x with edges[b-1] < x <= edges[b]; the last one has no upper edge.
    Where ``missing``, NaN has a bin of its own after the last; elsewhere NaN is in the first bin.

    The edges of a ``category`` are its frequent values.  Its bins are: one that is always empty
    (so that a split can begin with nothing), one for NaN if ``missing``, one for each of these
    values, and one for all else.
    """

    edges: tuple[NDArray[np.float64], ...]
    missing: tuple[bool, ...]
    category: tuple[bool, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many bins each column has, that of missing values included."""
        return tuple(
            len(edges) + 1 + missing + category
            for edges, missing, category in zip(
                self.edges, self.missing, self.category, strict=True
            )
        )

    def transform(self, X: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The bin of every value; X (n, p) with NaN for missing values, result (n, p)."""
        bins = np.zeros(X.shape, np.uint8)
        for j, edges in enumerate(self.edges):
            if self.category[j]:
                bins[:, j] = self._categories(j, X[:, j])
                continue
            bins[:, j] = np.searchsorted(edges, X[:, j], side="left")
            bins[np.isnan(X[:, j]), j] = len(edges) + 1 if self.missing[j] else 0
        return bins

    def _categories(self, j: int, x: NDArray[np.float64]) -> NDArray[np.int64]:
        known, first = self.edges[j], 1 + self.missing[j]
        at = np.searchsorted(known, x)
        found = at < len(known)
        found[found] = known[at[found]] == x[found]
        bins = np.where(found, first + at, first + len(known))
        return np.where(np.isnan(x) & self.missing[j], 1, bins)


def fit_bins(
    X: NDArray[np.float64],
    columns: tuple[str, ...],
    *,
    categories: frozenset[str] = frozenset(),
    max_bins: int = MAX_BINS,
    min_bin_rows: int = 1,
) -> Bins:
    """Bins of about equal numbers of rows, each of at least ``min_bin_rows``; X is (n, p).

    A bin with fewer rows is merged into its neighbour, and missing values go into the first bin if
    they, or all others, are fewer than that.  Of ``categories`` the most frequent values have a
    bin each; others, and missing values that are few, share the last one, which has no row or as
    many as any bin.  A column of which one bin remains offers no split.  Raises `ConstantColumn`
    and `AllMissingColumn`.
    """
    return Bins(
        tuple(
            (_frequent if name in categories else _edges)(X[:, j], name, max_bins, min_bin_rows)
            for j, name in enumerate(columns)
        ),
        tuple(_missing_apart(X[:, j], max(min_bin_rows, 1)) for j in range(len(columns))),
        tuple(name in categories for name in columns),
    )


def _missing_apart(x: NDArray[np.float64], least: int) -> bool:
    """Whether missing values, and present ones, are enough for bins of their own."""
    absent = int(np.count_nonzero(np.isnan(x)))
    return least <= absent <= len(x) - least


def _frequent(
    x: NDArray[np.float64], name: str, max_bins: int, min_bin_rows: int
) -> NDArray[np.float64]:
    """The values of a category that have a bin each, ascending."""
    values, counts = np.unique(x[~np.isnan(x)], return_counts=True)
    absent = len(x) - int(counts.sum())
    if not len(values):
        raise AllMissingColumn(name)
    if len(values) == 1 and not absent:
        raise ConstantColumn(name)
    least = max(min_bin_rows, 1)
    order = np.argsort(-counts, kind="stable")[:max_bins]
    kept = [int(k) for k in order if counts[k] >= least]
    # All else, which is the rest of the node: nobody may compute a sum over fewer rows.
    others = len(x) - int(counts[kept].sum())
    others -= absent if _missing_apart(x, least) else 0
    while kept and 0 < others < least:
        others += int(counts[kept.pop()])
    return values[sorted(kept)]


def _edges(
    x: NDArray[np.float64], name: str, max_bins: int, min_bin_rows: int
) -> NDArray[np.float64]:
    present = np.sort(x[~np.isnan(x)])
    if not len(present):
        raise AllMissingColumn(name)
    if present[0] == present[-1] and len(present) == len(x):
        raise ConstantColumn(name)
    # Edges are values that occur, so that no bin is empty to begin with.
    edges = np.unique(
        np.quantile(present, np.arange(1, max_bins) / max_bins, method="inverted_cdf")
    )
    edges = edges[edges < present[-1]]
    rows_up_to = np.searchsorted(present, edges, side="right")
    kept: list[float] = []
    start = 0
    for edge, count in zip(edges.tolist(), rows_up_to.tolist(), strict=True):
        # Missing values that join the first bin are not counted: it may only be larger.
        if count - start >= min_bin_rows and len(present) - count >= min_bin_rows:
            kept.append(edge)
            start = count
    return np.array(kept, np.float64)


@dataclass(frozen=True, eq=False)
class SplitMatrix:
    """All splits of binned rows as a 0/1 matrix: row k marks the samples that split k sends left.

    Bins of all columns are numbered through as *slots*: bin b of column j is slot offsets[j] + b.
    Split k sends left the slots from the first one of its column up to ``upto[k]``, and the slot
    ``also[k]`` (missing values) unless that is -1.
    """

    bins: NDArray[np.uint8]  # (n, p)
    sizes: tuple[int, ...]  # of the p columns
    column: NDArray[np.int64]  # (splits,)
    upto: NDArray[np.int64]  # (splits,)
    also: NDArray[np.int64]  # (splits,)

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return len(self.bins)

    def __len__(self) -> int:
        """How many splits there are."""
        return len(self.upto)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The first slot of every column, and the number of slots; shape (p + 1,)."""
        return np.cumsum([0, *self.sizes]).astype(np.int64)

    def left(self, split: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these samples split ``split`` sends left."""
        j = self.column[split]
        slots = self.bins[rows, j] + self.offsets[j]
        return np.asarray((slots <= self.upto[split]) | (slots == self.also[split]))

    def sums(self, values: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The product with integer vectors over some samples; values (n, k), result (splits, k)."""
        slots = np.zeros((int(self.offsets[-1]), values.shape[1]), np.int64)
        _add_slots(self.bins, self.offsets, values, rows, slots)
        # Differences of one running sum over all columns: integers, so nothing is lost.
        running = np.concatenate([np.zeros((1, slots.shape[1]), np.int64), slots.cumsum(axis=0)])
        sums = running[self.upto + 1] - running[self.offsets[self.column]]
        with_missing = self.also >= 0
        sums[with_missing] += slots[self.also[with_missing]]
        return np.asarray(sums)


@compiled
def _add_slots(bins, offsets, values, rows, slots):
    for i in rows:
        for j in range(bins.shape[1]):
            slot = slots[offsets[j] + bins[i, j]]
            for k in range(values.shape[1]):
                slot[k] += values[i, k]


def split_matrix(bins: Bins, X: NDArray[np.float64]) -> SplitMatrix:
    """Every split of every column, in the order of columns, edges, and missing right before left.

    A column with a bin for missing values is also split into present and missing; a category has a
    split for each of its frequent values, missing right before left, and then that of missing ones.
    """
    splits: list[tuple[int, int, int]] = []
    first = 0
    for j, (size, missing) in enumerate(zip(bins.sizes, bins.missing, strict=True)):
        if bins.category[j]:
            known = range(first + 1 + missing, first + size - 1)
            splits += [(j, first + m, value) for value in known for m in range(1 + missing)]
            splits += [(j, first + 1, -1)] * missing
            first += size
            continue
        present = size - missing
        for b in range(size - 1):
            splits.append((j, first + b, -1))
            if missing and b < present - 1:
                splits.append((j, first + b, first + present))
        first += size
    column, upto, also = np.array(splits, np.int64).reshape(-1, 3).T
    return SplitMatrix(bins.transform(X), bins.sizes, column, upto, also)


@dataclass(frozen=True)
class Threshold:
    """A split in terms of raw values: x <= value goes left, NaN where ``missing_left`` says.

    Of a ``category`` x == value goes left instead.
    """

    column: int
    value: float
    missing_left: bool
    category: bool = False


NO_CATEGORY = -1.0  # a value that none has: missing ones alone go left


def goes_left(
    x: NDArray[np.float64], value: float, missing_left: bool, category: bool
) -> NDArray[np.bool_]:
    """What a `Threshold` says of values of its column, (m,)."""
    present = x == value if category else x <= value
    return np.asarray(np.where(np.isnan(x), missing_left, present), np.bool_)


@dataclass(frozen=True, eq=False)
class Columns:
    """A party's own columns for training: their bins, and all splits of its rows."""

    bins: Bins
    matrix: SplitMatrix

    @classmethod
    def of(
        cls,
        X: NDArray[np.float64],
        names: tuple[str, ...],
        *,
        categories: frozenset[str] = frozenset(),
        max_bins: int = MAX_BINS,
        min_bin_rows: int = 1,
    ) -> Columns:
        """See `fit_bins`."""
        bins = fit_bins(
            X, names, categories=categories, max_bins=max_bins, min_bin_rows=min_bin_rows
        )
        return cls(bins, split_matrix(bins, X))

    def threshold(self, split: int) -> Threshold:
        """What ``split`` asks of raw values: the same answer as `SplitMatrix.left` on bins."""
        j = int(self.matrix.column[split])
        b = int(self.matrix.upto[split] - self.matrix.offsets[j])
        edges = self.bins.edges[j]
        if self.bins.category[j]:
            known = int(self.matrix.also[split] - self.matrix.offsets[j]) - 1 - self.bins.missing[j]
            value = float(edges[known]) if self.matrix.also[split] >= 0 else NO_CATEGORY
            return Threshold(j, value, missing_left=b > 0, category=True)
        return Threshold(
            column=j,
            value=float(edges[b]) if b < len(edges) else float("inf"),
            missing_left=bool(self.matrix.also[split] >= 0 or not self.bins.missing[j]),
        )
