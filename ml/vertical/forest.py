"""A boosted model whose splits lie at several parties, and the paths of rows through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.errors import ColumnNotFound, ProtocolViolation
from ml.local import trees
from ml.local.binning import goes_left
from ml.local.losses import Objective
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
    objective: Objective
    start: Annotated[NDArray[np.float64], Shape("outputs")]  # the score before the first tree
    trees: tuple[Tree, ...]
    # After each tree that was grown: with early stopping the last of them are not kept.
    loss: Annotated[NDArray[np.float64], Shape("grown")]  # on the training rows
    auc: Annotated[NDArray[np.float64], Shape("measured")]  # likewise, with labels 0 and 1
    held_out_loss: Annotated[NDArray[np.float64], Shape("seen")]


@wire.register
@dataclass(frozen=True, eq=False)
class HostModel:
    """A host's part: what its numbered splits ask."""

    columns: tuple[str, ...]
    depth: int
    column: Annotated[NDArray[np.int64], Shape("splits")]
    threshold: Annotated[NDArray[np.float64], Shape("splits")]
    missing_left: Annotated[NDArray[np.bool_], Shape("splits")]
    category: Annotated[NDArray[np.bool_], Shape("splits")]  # equal to the threshold goes left

    def left(self, number: int, X: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of these rows split ``number`` sends left; X (m, columns)."""
        if not 0 <= number < len(self.column):
            raise ProtocolViolation(f"split {number} was asked; this model has {len(self.column)}")
        return goes_left(
            X[:, self.column[number]],
            float(self.threshold[number]),
            bool(self.missing_left[number]),
            bool(self.category[number]),
        )


def columns_of(table: Table, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """The columns of a model, in its order, shape (n, columns); raises `ColumnNotFound`."""
    names = table.schema.features
    for name in columns:
        if name not in names:
            raise ColumnNotFound(name, names)
    return table.X[:, [names.index(name) for name in columns]]


@dataclass(frozen=True)
class Path:
    """What hosts' splits must say for a row to end in one of some leaves of a tree."""

    tree: int
    conditions: tuple[tuple[int, int, bool], ...]  # host (from 1), its number, whether left

    @property
    def hosts(self) -> frozenset[int]:
        """Whose splits are on it."""
        return frozenset(host for host, _, _ in self.conditions)


def joint_paths(model: GuestModel) -> tuple[Path, ...]:
    """All paths on which there is a split of a host, tree after tree."""
    nobody = np.empty((0, len(model.columns)))
    return tuple(
        dict.fromkeys(
            Path(k, conditions)
            for k, tree in enumerate(model.trees)
            for _, _, conditions in _ends(tree, nobody)
            if conditions
        )
    )


def scores_by_path(
    model: GuestModel, paths: Sequence[Path], X: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the guest's own columns X (m, columns) say of the scores.

    The sum of leaves that rows reach whatever hosts say, with the start, (m, outputs); and what
    each path adds to a row's score if the hosts' splits go along it, (m, paths, outputs).
    """
    outputs = outputs_of(model)
    place = {path: number for number, path in enumerate(paths)}
    own = np.broadcast_to(np.asarray(model.start, np.float64), (len(X), outputs)).copy()
    joint = np.zeros((len(X), len(paths), outputs))
    for k, tree in enumerate(model.trees):
        weights = tree.weight.reshape(len(tree.owner), -1)
        for node, rows, conditions in _ends(tree, X):
            if conditions:
                joint[rows, place[Path(k, conditions)]] += weights[node]
            else:
                own[rows] += weights[node]
    return own, joint


def outputs_of(model: GuestModel) -> int:
    """How many scores a row has."""
    return model.trees[0].weight.reshape(len(model.trees[0].owner), -1).shape[1]


def largest_scores(model: GuestModel, paths: Sequence[Path]) -> float:
    """No sum of leaves at the ends of these paths, one of each tree, is farther from zero."""
    return sum(float(np.abs(model.trees[k].weight).max()) for k in {path.tree for path in paths})


def _ends(
    tree: Tree, X: NDArray[np.float64]
) -> Iterator[tuple[int, Rows, tuple[tuple[int, int, bool], ...]]]:
    """Every leaf, the rows that our own splits let reach it, and what hosts must say for it."""
    waiting: list[tuple[int, Rows, tuple[tuple[int, int, bool], ...]]] = [
        (0, np.arange(len(X)), ())
    ]
    while waiting:
        node, rows, conditions = waiting.pop()
        owner, number = int(tree.owner[node]), int(tree.split[node])
        if owner == trees.LEAF:
            yield node, rows, conditions
        elif owner == trees.OWN:
            left = tree.own_goes_left(node, X[rows])
            waiting.append((2 * node + 2, rows[~left], conditions))
            waiting.append((2 * node + 1, rows[left], conditions))
        else:
            for child, on in ((2, False), (1, True)):
                waiting.append((2 * node + child, rows, (*conditions, (owner, number, on))))
