"""What a guest knows while it grows trees with hosts: the level at hand, and the trees so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.errors import ProtocolViolation
from ml.federation import Party
from ml.local import metrics, trees
from ml.local.binning import Columns
from ml.local.sampling import ColumnSample, Labels
from ml.local.trees import Choice, Growth, Tree
from ml.vertical.forest import GuestModel

ROOT = 0

Rows = NDArray[np.int64]
Sums = NDArray[np.int64]  # (splits, fields) left of each split, as in `ml.local.trees`


@dataclass(frozen=True)
class Winner:
    """The best splits of a node, equally good: of ``host``, or our own where that is None."""

    host: Party | None
    choice: Choice
    sums: Sums  # left of each of choice.splits

    def check(self, left: NDArray[np.int64]) -> None:
        """Raises `ProtocolViolation` if the host sends other rows left than it added up."""
        if not (self.sums == left).all(axis=1).any():
            raise ProtocolViolation(
                f"the rows that {self.host} sends left are not those of the sums it returned"
            )


@dataclass(frozen=True)
class Level:
    """The nodes of one level; what hosts say of them is added as it arrives."""

    nodes: Mapping[int, Rows]
    ask: tuple[int, ...]  # the nodes that hosts add up, ascending
    above: Mapping[int, Mapping[Party, Sums]]  # sums of the parents
    sums: Mapping[int, dict[Party, Sums]]

    @classmethod
    def root(cls, rows: int) -> Level:
        """All rows in one node."""
        return cls({ROOT: np.arange(rows)}, (ROOT,), {}, {ROOT: {}})

    def below(
        self, children: Mapping[int, Rows], values: NDArray[np.int64], growth: Growth
    ) -> Level:
        """The next level: of two siblings that could be split, the one with fewer rows is asked."""
        ask = tuple(
            min(pair, key=lambda node: len(children[node]))
            for pair in ((n, n + 1) for n in sorted(children) if n % 2)
            if any(trees.can_split(values, children[node], growth) for node in pair)
        )
        return Level(children, ask, self.sums, {node: {} for node in children})

    def add(self, host: Party, answers: Sequence[Sums]) -> None:
        """What ``host`` says of the asked nodes; a sibling is the rest of the parent.

        Raises `ProtocolViolation` for sums that no rows have.
        """
        for node, sums in zip(self.ask, answers, strict=True):
            self._add(host, node, sums)
            if node != ROOT:
                sibling = node + 1 if node % 2 else node - 1
                self._add(host, sibling, self.above[(node - 1) // 2][host] - sums)

    def _add(self, host: Party, node: int, sums: Sums) -> None:
        outputs = sums.shape[1] // 2
        counts = sums[:, 2 * outputs :]
        if (sums[:, outputs:] < 0).any() or (counts > len(self.nodes[node])).any():
            raise ProtocolViolation(f"{host} returned sums over more rows than a node has")
        self.sums[node][host] = sums

    def winners(
        self,
        own: Columns,
        values: NDArray[np.int64],
        growth: Growth,
        drawn: Mapping[Party | None, NDArray[np.bool_]],
    ) -> dict[int, Winner]:
        """The best split of every node that has one, nodes ascending, among those ``drawn``.

        Between equal gains our own split is first, then the hosts' in their order.
        """
        found: dict[int, Winner] = {}
        for node, rows in sorted(self.nodes.items()):
            if not trees.can_split(values, rows, growth):
                continue
            total = values[rows].sum(axis=0)
            for host, sums in [(None, own.matrix.sums(values, rows)), *self.sums[node].items()]:
                choice = trees.choose(sums, total, growth, drawn.get(host))
                if choice and (node not in found or choice.gain > found[node].choice.gain):
                    found[node] = Winner(host, choice, sums[list(choice.splits)])
        return found


@dataclass
class Ensemble:
    """The trees so far, and the one that grows."""

    own: Columns
    hosts: tuple[Party, ...]
    labels: Labels
    growth: Growth
    sample: ColumnSample | None = None  # of our own columns
    done: list[Tree] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    aucs: list[float] = field(default_factory=list)  # with labels 0 and 1 only
    held_out_losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._objective, labels = self.growth.objective, self.labels
        self.start = self._objective.start(labels.y, labels.training_weight)
        self.score = np.tile(self.start, (len(labels.y), 1))
        self._tree = Tree.empty(self.growth.max_depth, self._objective.outputs)
        self._leaf = np.zeros(len(labels.y), np.int32)
        # Both sides number a host's chosen splits through all trees, nodes of a level ascending.
        self._numbers = dict.fromkeys(self.hosts, 0)

    def targets(self) -> NDArray[np.int64]:
        """What the next tree is grown on; ``growth`` has their scale.  See `trees.targets`."""
        values, self.growth = trees.targets(self.labels, self.score, self.growth, len(self.done))
        return values

    @property
    def is_over(self) -> bool:
        """Whether no further tree is worth growing."""
        return trees.is_stale(self.held_out_losses, self.growth)

    def split_own(self, node: int, winner: Winner, rows: Rows) -> NDArray[np.bool_]:
        """Split ``node`` by a column of ours; which of its rows go left."""
        split = winner.choice.splits[0]
        self._tree.split_own(node, self.own.threshold(split))
        return self.own.matrix.left(split, rows)

    def split_host(self, node: int, host: Party) -> None:
        """Split ``node`` by the next number of ``host``."""
        self._tree.split_by(node, self.hosts.index(host) + 1, self._numbers[host])
        self._numbers[host] += 1

    def end_leaves(self, leaves: Mapping[int, Rows], values: NDArray[np.int64]) -> None:
        """These nodes are split no further."""
        for node, rows in leaves.items():
            self._leaf[rows] = node
            weight = trees.leaf_weight(values[rows].sum(axis=0), self.growth)
            self._tree.end(node, weight)
            self.score[rows] += weight

    @property
    def last(self) -> tuple[Tree, NDArray[np.int32]]:
        """The tree that grew last, and where in it each row ended."""
        return self.done[-1], self._leaf

    @property
    def is_complete(self) -> bool:
        """Whether all trees have grown."""
        return self.is_over or len(self.done) == self.growth.n_estimators

    def restore(self, tree: Tree, leaf: NDArray[np.int32]) -> None:
        """The next tree as it grew before an interruption, with the leaf of each row."""
        for node in np.flatnonzero(tree.owner == trees.LEAF):
            self.score[leaf == node] += tree.weight[node]
        for k, host in enumerate(self.hosts, start=1):
            self._numbers[host] += int((tree.owner == k).sum())
        self._tree, self._leaf = tree, leaf.copy()
        self.end_tree()

    def end_tree(self) -> str:
        """The tree has grown; how good all of them are on the rows, to be read."""
        self.done.append(self._tree)
        self._tree = Tree.empty(self.growth.max_depth, self._objective.outputs)
        labels, training = self.labels, ~self.labels.held_out
        self.losses.append(self._objective.loss(labels.y, self.score, labels.training_weight))
        said = f"loss {self.losses[-1]:.4f}"
        if self._objective.name == "logistic":
            p = self._objective.predict(self.score)
            self.aucs.append(metrics.auc(labels.y[training], p[training]))
            said += f", AUC {self.aucs[-1]:.4f}"
        if labels.held_out.any():
            loss = self._objective.loss(labels.y, self.score, labels.held_out_weight)
            self.held_out_losses.append(loss)
            said += f", {loss:.4f} on held-out rows"
        return said

    def model(self, columns: tuple[str, ...]) -> GuestModel:
        """The guest's part: with early stopping, up to the best tree on held-out rows."""
        kept = len(self.done)
        if self.growth.early_stopping_rounds:
            kept = trees.best_tree(self.held_out_losses)
        return GuestModel(
            columns,
            tuple(host.site for host in self.hosts),
            self.growth.max_depth,
            self._objective,
            self.start,
            tuple(self.done[:kept]),
            np.array(self.losses),
            np.array(self.aucs),
            np.array(self.held_out_losses),
        )
