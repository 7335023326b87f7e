"""What open proposals would do now, tried out anew every few seconds at most however many look."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from node import governance

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.effects import Effect
    from chain.network import Network
    from node.site import Site
    from node.store import Proposal

MAX_KEPT = 100
FRESH_SECONDS = 10.0  # so long a result is shown again: trying out takes most of a second


class Previews:
    """One per process; safe for threads."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._kept: dict[str, tuple[str, float, Effect | None]] = {}
        self._lock = Lock()  # held while trying out: a second reader waits for the first's result

    def of(self, network: Network, row: Proposal, head: BlockRef) -> Effect | None:
        """None where it cannot be tried out."""
        with self._lock:
            kept = self._kept.get(row.id)
            if kept is not None and (kept[0] == head.hash or kept[1] > time.monotonic()):
                return kept[2]
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            effect = governance.effect_of(self.site, network, row)
            self._kept[row.id] = (head.hash, time.monotonic() + FRESH_SECONDS, effect)
            return effect
