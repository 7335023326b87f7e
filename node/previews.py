"""What open proposals would do now, tried out anew every few seconds at most however many look.

Anybody may propose calls that take as long as a copy of the chain may live.  Such a proposal keeps
nobody's page waiting for longer than `WAIT_SECONDS`, and is tried out the more seldom.
"""

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
WAIT_SECONDS = 3.0  # that a reader leaves to the one who is trying something out
REST = 10.0  # times what a failed try took: so long it is not tried again


class Previews:
    """One per process; safe for threads."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._kept: dict[str, tuple[str, float, Effect | None]] = {}
        self._lock = Lock()  # held while trying out: a second reader waits for the first's result

    def of(self, network: Network, row: Proposal, head: BlockRef) -> Effect | None:
        """None where it cannot be tried out, or not in time."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            kept = self._kept.get(row.id)
            return None if kept is None else kept[2]
        try:
            return self._of(network, row, head)
        finally:
            self._lock.release()

    def _of(self, network: Network, row: Proposal, head: BlockRef) -> Effect | None:
        began = time.monotonic()
        kept = self._kept.get(row.id)
        if kept is not None and (kept[0] == head.hash or kept[1] > began):
            return kept[2]
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        effect = governance.effect_of(self.site, network, row)
        now = time.monotonic()
        rest = 0.0 if effect is not None else REST * (now - began)
        self._kept[row.id] = (head.hash, now + FRESH_SECONDS + rest, effect)
        return effect
