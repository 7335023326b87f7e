"""What open proposals would do now, tried out once per block however many look."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from node import governance

if TYPE_CHECKING:
    from chain.effects import Effect

    from chain.calls import BlockRef
    from chain.network import Network
    from node.site import Site
    from node.store import Proposal

MAX_KEPT = 100


class Previews:
    """One per process; safe for threads."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._kept: dict[str, tuple[str, Effect | None]] = {}
        self._lock = Lock()  # held while trying out: a second reader waits for the first's result

    def of(self, network: Network, row: Proposal, head: BlockRef) -> Effect | None:
        """None where it cannot be tried out."""
        with self._lock:
            kept = self._kept.get(row.id)
            if kept is None or kept[0] != head.hash:
                if len(self._kept) >= MAX_KEPT:
                    self._kept.clear()
                kept = (head.hash, governance.effect_of(self.site, network, row))
                self._kept[row.id] = kept
            return kept[1]
