"""Which columns a tree is grown on, where each party draws a share of its own for every tree.

A host does not tell which columns it drew, but which of its splits stand for them, numbered in the
order in which the guest sees them.  It draws from its own values, which nobody else knows, so that
it draws the same again when a tree is grown again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.local.binning import SplitMatrix
from ml.local.sampling import ColumnSample
from ml.vertical import bits
from ml.wire import Shape

Masks = dict[Party | None, NDArray[np.bool_]]


class Drawn(Message, sender=HOST, to=GUEST):
    """The guest learns which of the host's splits it may choose in this tree, one bit each: those
    of the columns that the host drew. With lattice, whose order of splits stays for several trees,
    it learns from this which splits belong to one column, which their sums tell, too."""

    splits: Annotated[NDArray[np.uint8], Shape("bytes")]  # numpy.packbits


async def tell(
    ch: Channel,
    sample: ColumnSample | None,
    matrix: SplitMatrix,
    order: NDArray[np.int64],
    tree: int,
) -> None:
    """A host's part: say what it drew for tree number ``tree``, if columns are drawn at all."""
    if sample is not None:
        await ch.send(Drawn(bits.pack([sample.splits(matrix.column, tree)[order]])))


async def hear(
    ch: Channel,
    sample: ColumnSample | None,
    matrix: SplitMatrix,
    offers: Mapping[Party, int],
    tree: int,
) -> Masks:
    """The guest's: which splits may be chosen of each host, and of its own (None); empty if all.

    Raises `ProtocolViolation` for another number of bits than of splits.
    """
    if sample is None:
        return {}
    drawn: Masks = {None: sample.splits(matrix.column, tree)}
    for party, splits in offers.items():
        drawn[party] = bits.unpack_one((await ch.receive(Drawn, party)).splits, splits, party)
    return drawn
