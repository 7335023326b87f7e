"""Whether this site still knows what the chain says; if not, everything it shows says so.

Work is refused or pauses by itself (`node.admission`, `node.mailbox`).  This is for people: they
should not read a page, or the answer of a command, and take it for the present.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.store import ChainState

if TYPE_CHECKING:
    from node.site import Site

LAG_BLOCKS = 2


def silent_seconds(site: Site, now: float | None = None) -> float | None:
    """Since a new block was seen, where that is longer than allowed; None: the view is fresh.

    Infinite where no block was ever seen.
    """
    with site.store.read() as session:
        state = session.get(ChainState, 1)
    if state is None or not state.seen_at:
        return float("inf")
    silent = (time.time() if now is None else now) - state.seen_at
    return silent if silent > site.settings.staleness_seconds else None


@dataclass(frozen=True)
class Behind:
    """What is shown is the chain as of block `read`, -1 where none was read yet.

    `by`: blocks from there to the newest block that this node has seen; `waiting` of them are not
    confirmed yet, and none would be read before they are.
    """

    read: int
    by: int
    waiting: int

    @property
    def late(self) -> bool:
        """More than confirmation takes, by more than a block or two that just came."""
        return self.read < 0 or self.by - self.waiting > LAG_BLOCKS


def behind(site: Site) -> Behind:
    """By how many blocks what this node shows is behind the chain."""
    with site.store.read() as session:
        state = session.get(ChainState, 1)
    if state is None or state.cursor_block < 0:
        return Behind(-1, 0 if state is None else state.head_block, 0)
    by = max(0, state.head_block - state.cursor_block)
    return Behind(state.cursor_block, by, min(by, site.settings.confirmations))


def warning(silent: float, allowed: float) -> str:
    """One line of ASCII for a person."""
    since = "this node has not read the chain yet"
    if silent != float("inf"):
        since = f"no new block for {silent:.0f} s (allowed are {allowed:g} s)"
    return f"THE CHAIN IS STALE: {since}. What is shown may be out of date; nothing new is allowed."
