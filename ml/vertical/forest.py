"""A boosted model whose splits lie at several parties, and the way of rows through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.errors import ColumnNotFound, ProtocolViolation
from ml.local import trees
from ml.local.losses import sigmoid
from ml.local.trees import Tree
from ml.table import Table
from ml.wire import Shape

Rows = NDArray[np.int64]


@wire.register
@dataclass(frozen=True, eq=False)
class GuestModel:
    """The guest's part: all trees, with its own splits and the numbers of those of the hosts."""

    columns: tuple[str, ...]
    hosts: tuple[str, ...]  # sites; Tree.owner counts them from 1
    depth: int
    start: float  # the score before the first tree
    trees: tuple[Tree, ...]
    loss: Annotated[NDArray[np.float64], Shape("trees")]  # on the training rows, after each tree
    auc: Annotated[NDArray[np.float64], Shape("trees")]


@wire.register
@dataclass(frozen=True, eq=False)
class HostModel:
    """A host's part: what its numbered splits ask."""

    columns: tuple[str, ...]
    depth: int
    column: Annotated[NDArray[np.int64], Shape("splits")]
    threshold: Annotated[NDArray[np.float64], Shape("splits")]
    missing_left: Annotated[NDArray[np.bool_], Shape("splits")]

    def left(self, number: int, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these rows split ``number`` sends left; X (m, columns)."""
        if not 0 <= number < len(self.column):
            raise ProtocolViolation(
                f"split {number} was visited; this model has {len(self.column)}"
            )
        x = X[:, self.column[number]]
        left = np.where(np.isnan(x), self.missing_left[number], x <= self.threshold[number])
        return np.asarray(left, np.bool_)


def columns_of(table: Table, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """The columns of a model, in its order, shape (n, columns); raises `ColumnNotFound`."""
    names = table.schema.features
    for name in columns:
        if name not in names:
            raise ColumnNotFound(name, names)
    return table.X[:, [names.index(name) for name in columns]]


@dataclass(frozen=True)
class Visit:
    """Rows that arrive at one node of one tree."""

    tree: int
    node: int
    rows: Rows


class Walk:
    """All rows in all trees, level by level: move them at our own splits, then at the hosts'."""

    def __init__(self, model: GuestModel, table: Table) -> None:
        self._model, self._X = model, columns_of(table, model.columns)
        self._at = np.zeros((len(model.trees), len(table)), np.int64)  # the node of each row
        self._then = self._at.copy()  # and where it goes from there

    def own_step(self) -> None:
        """Move the rows that stand at splits of our own."""
        for k, tree in enumerate(self._model.trees):
            for visit in self._visits(k, trees.OWN):
                self.step(visit, tree.own_goes_left(visit.node, self._X[visit.rows]))

    def visits(self, host: int) -> dict[int, Visit]:
        """The rows that stand at splits of this host (from 1), by the host's number, ascending."""
        found = {
            int(tree.split[visit.node]): visit
            for k, tree in enumerate(self._model.trees)
            for visit in self._visits(k, host)
        }
        return dict(sorted(found.items()))

    def _visits(self, tree: int, owner: int) -> list[Visit]:
        at, owners = self._at[tree], self._model.trees[tree].owner
        nodes = [node for node in np.unique(at).tolist() if owners[node] == owner]
        return [Visit(tree, node, np.flatnonzero(at == node)) for node in nodes]

    def step(self, visit: Visit, goes_left: NDArray[np.bool_]) -> None:
        """Send these rows to the children of their node."""
        self._then[visit.tree, visit.rows] = 2 * visit.node + np.where(goes_left, 1, 2)

    def next_level(self) -> None:
        """All rows of this level were sent on."""
        self._at = self._then.copy()

    def probabilities(self) -> NDArray[np.float64]:
        """Of label 1, once every row stands at a leaf; shape (n,)."""
        score = np.full(self._at.shape[1], self._model.start)
        for tree, at in zip(self._model.trees, self._at, strict=True):
            score += tree.weight[at]
        return sigmoid(score)
