"""When a block was made, and about when one will be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.network import Network

PACE_BLOCKS = 50  # the pace is the mean over so many of the newest blocks
MAX_KNOWN = 10_000


class BlockTimes:
    """Block times in Unix seconds; read once each.  Raises ChainUnavailable."""

    def __init__(self, network: Callable[[], Network]) -> None:
        self._network = network
        self._known: dict[int, int] = {}

    def at(self, block: int, head: BlockRef) -> int:
        """When `block` was made, or about when it will be if it comes after `head`."""
        if block > head.number:
            return head.timestamp + self.seconds(block - head.number, head)
        if block not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[block] = self._network().client.block(block).timestamp
        return self._known[block]

    def seconds(self, blocks: int, head: BlockRef) -> int:
        """About how long so many more blocks will take."""
        back = min(PACE_BLOCKS, head.number)
        if back == 0:
            return 0
        passed = head.timestamp - self.at(head.number - back, head)
        return round(blocks * passed / back)
