"""One bit a row, for the rows of several nodes one after the other: which of them go left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ml.errors import ProtocolViolation

Rows = NDArray[np.int64]
Bits = NDArray[np.bool_]


def pack(bits: Sequence[Bits]) -> NDArray[np.uint8]:
    """All bits together, eight in a byte."""
    return np.packbits(np.concatenate([np.empty(0, np.bool_), *bits]))


def unpack(packed: NDArray[np.uint8], nodes: Mapping[int, Rows], sender: object) -> dict[int, Bits]:
    """The bits of every node, nodes ascending; raises `ProtocolViolation` for another number."""
    sizes = {node: len(rows) for node, rows in sorted(nodes.items())}
    bits = unpack_one(packed, sum(sizes.values()), sender)
    ends = np.cumsum(list(sizes.values()))
    return dict(zip(sizes, np.split(bits, ends[:-1]), strict=True)) if sizes else {}


def unpack_one(packed: NDArray[np.uint8], count: int, sender: object) -> Bits:
    """``count`` bits; raises `ProtocolViolation` for another number."""
    if len(packed) != -(-count // 8):
        raise ProtocolViolation(f"{sender} sent {len(packed)} bytes of bits for {count} rows")
    return np.unpackbits(packed, count=count).astype(np.bool_)


def children(nodes: Mapping[int, Rows], left: Mapping[int, Bits]) -> dict[int, Rows]:
    """The rows of the children of split nodes, by node in heap order."""
    below: dict[int, Rows] = {}
    for node, goes_left in sorted(left.items()):
        rows = nodes[node]
        below[2 * node + 1], below[2 * node + 2] = rows[goes_left], rows[~goes_left]
    return below
