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
from ml.local.losses import initial_score, logistic_loss, sigmoid
from ml.local.trees import Choice, Growth, Tree
from ml.vertical.forest import GuestModel

ROOT = 0

Rows = NDArray[np.int64]
Sums = NDArray[np.int64]  # (splits, 3): g, h and rows left of each split


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

    def below(self, children: Mapping[int, Rows], growth: Growth) -> Level:
        """The next level: of two siblings that could be split, the one with fewer rows is asked."""
        ask = tuple(
            min(pair, key=lambda node: len(children[node]))
            for pair in ((n, n + 1) for n in sorted(children) if n % 2)
            if any(trees.can_split(children[node], growth) for node in pair)
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
        if ((sums[:, 1:] < 0) | (sums[:, 2:] > len(self.nodes[node]))).any():
            raise ProtocolViolation(f"{host} returned sums over more rows than a node has")
        self.sums[node][host] = sums

    def winners(self, own: Columns, values: NDArray[np.int64], growth: Growth) -> dict[int, Winner]:
        """The best split of every node that has one, nodes ascending.

        Between equal gains our own split is first, then the hosts' in their order.
        """
        found: dict[int, Winner] = {}
        for node, rows in sorted(self.nodes.items()):
            if not trees.can_split(rows, growth):
                continue
            total = values[rows].sum(axis=0)
            for host, sums in [(None, own.matrix.sums(values, rows)), *self.sums[node].items()]:
                choice = trees.choose(sums, total, growth)
                if choice and (node not in found or choice.gain > found[node].choice.gain):
                    found[node] = Winner(host, choice, sums[list(choice.splits)])
        return found


@dataclass
class Ensemble:
    """The trees so far, and the one that grows."""

    own: Columns
    hosts: tuple[Party, ...]
    y: NDArray[np.int8]
    growth: Growth
    done: list[Tree] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    aucs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = initial_score(self.y)
        self.score = np.full(len(self.y), self.start)
        self._tree = Tree.empty(self.growth.max_depth)
        # Both sides number a host's chosen splits through all trees, nodes of a level ascending.
        self._numbers = dict.fromkeys(self.hosts, 0)

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
            weight = trees.leaf_weight(values[rows].sum(axis=0), self.growth)
            self._tree.end(node, weight)
            self.score[rows] += weight

    def end_tree(self) -> str:
        """The tree has grown; loss and AUC on the training rows after it, to be read."""
        self.done.append(self._tree)
        self._tree = Tree.empty(self.growth.max_depth)
        self.losses.append(logistic_loss(self.y, self.score))
        self.aucs.append(metrics.auc(self.y, sigmoid(self.score)))
        return f"loss {self.losses[-1]:.4f}, AUC {self.aucs[-1]:.4f}"

    def model(self, columns: tuple[str, ...]) -> GuestModel:
        """The guest's part."""
        return GuestModel(
            columns,
            tuple(host.site for host in self.hosts),
            self.growth.max_depth,
            self.start,
            tuple(self.done),
            np.array(self.losses),
            np.array(self.aucs),
        )
