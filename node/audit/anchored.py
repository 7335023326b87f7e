"""The heads of a site's log as the chain has them: what no edit of its database can change."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.audit.dates import BLOCK_SLACK, Anchored
from node.audit.verification import Fault, Progress

if TYPE_CHECKING:
    from chain.network import Network


def heads_on_chain(
    network: Network, site: str, sizes: Iterable[int], progress: Progress | None = None
) -> tuple[list[Anchored], list[Fault]]:
    """The heads anchored at these sizes and the newest one, with the times of their blocks.

    A size that the chain does not know is a fault of whoever told it.  A chain whose clock is ahead
    of this machine's, as that of a testnet may be, has no times.  Raises `ChainUnavailable`.
    """
    from chain.errors import ContractRefused

    newest = network.anchors.head(site)
    now = datetime.now(UTC) + BLOCK_SLACK
    is_ahead = network.client.head().timestamp > now.timestamp()
    heads, faults = [], []
    asked = sorted({*sizes, newest.size} - {0})
    for done, size in enumerate(asked, 1):
        try:
            head = network.anchors.head_at(site, size)
        except ContractRefused as refusal:
            if refusal.error != "AnchorUnknown":
                raise
            faults.append(
                Fault(size, f"the chain has no anchor of {size} entries, as is told here")
            )
            continue
        time = None if is_ahead else network.client.block(head.at_block).timestamp
        heads.append(Anchored(size, bytes.fromhex(head.root.removeprefix("0x")), time))
        if progress is not None:
            progress(done, len(asked))
    return heads, faults
