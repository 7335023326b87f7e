"""What a host knows while it helps to grow one tree, and what it refuses."""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from ml.errors import ProtocolViolation
from ml.federation import GUEST
from ml.local.binning import Columns
from ml.vertical import bits
from ml.vertical.growing import ROOT

Rows = NDArray[np.int64]


class HostTree:
    """The nodes of the level at hand, by rows; raises `ProtocolViolation` for what is not there.

    No node has fewer than ``min_rows`` rows, asked or not: the sums of a node are those of its
    parent less those of its sibling.
    """

    def __init__(self, own: Columns, min_rows: int) -> None:
        self._own, self._min_rows = own, min_rows
        self._nodes: dict[int, Rows] = {ROOT: np.arange(own.matrix.rows)}
        # One order for all nodes of a tree, so that the guest can take the rest of a parent.
        order = list(range(len(own.matrix)))
        secrets.SystemRandom().shuffle(order)
        self.order = np.array(order, np.int64)
        self.chosen: list[int] = []  # our splits, levels and nodes ascending

    def asked(self, ask: Rows) -> list[Rows]:
        """The rows of these nodes, each of which may be asked once."""
        nodes: list[int] = ask.tolist()
        if len(set(nodes)) < len(nodes) or any(node not in self._nodes for node in nodes):
            raise ProtocolViolation("sums were asked of nodes that are not there, or twice")
        return [self._nodes[node] for node in nodes]

    def choose(self, nodes: Rows, splits: Rows) -> NDArray[np.uint8]:
        """Which rows of each chosen node go left; of several splits the first in our own order."""
        first: dict[int, int] = {}
        for node, number in zip(nodes.tolist(), splits.tolist(), strict=True):
            if node not in self._nodes or not 0 <= number < len(self.order):
                raise ProtocolViolation(f"split {number} of node {node} was chosen: none is there")
            first[node] = min(first.get(node, len(self.order)), int(self.order[number]))
        routes = []
        for node, split in sorted(first.items()):
            self.chosen.append(split)
            routes.append(self._own.matrix.left(split, self._nodes[node]))
        return bits.pack(routes)

    def descend(self, nodes: Rows, left: NDArray[np.uint8]) -> None:
        """To the next level: these nodes are split, and these rows of them go left."""
        split = {node: self._nodes[node] for node in nodes.tolist() if node in self._nodes}
        if len(split) < len(nodes):
            raise ProtocolViolation("nodes were split that are not there, or twice")
        below = bits.children(split, bits.unpack(left, split, GUEST))
        if few := [len(rows) for rows in below.values() if len(rows) < self._min_rows]:
            raise ProtocolViolation(
                f"a node of {min(few)} rows; the smallest allowed has {self._min_rows}"
            )
        self._nodes = below
