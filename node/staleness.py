"""Whether this site still knows what the chain says; if not, everything it shows says so.

Work is refused or pauses by itself (`node.admission`, `node.mailbox`).  This is for people: they
should not read a page, or the answer of a command, and take it for the present.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from node.store import ChainState

if TYPE_CHECKING:
    from node.site import Site


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


def warning(silent: float, allowed: float) -> str:
    """One line of ASCII for a person."""
    since = "this node has not read the chain yet"
    if silent != float("inf"):
        since = f"no new block for {silent:.0f} s (allowed are {allowed:g} s)"
    return f"THE CHAIN IS STALE: {since}. What is shown may be out of date; nothing new is allowed."
