"""Whether some members have pulled the emergency brake, as this site has read it.

From the confirmed events alone, so that every page can ask: what decides about work asks the chain
itself (`node.admission`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import select

from node.store import ChainEvent

if TYPE_CHECKING:
    from node.site import Site


def paused_until(site: Site, now: float | None = None) -> int | None:
    """Unix seconds until which nothing new may begin; None: the brake is not pulled."""
    query = (
        select(ChainEvent)
        .where(
            ChainEvent.contract == "Brake", ChainEvent.name.in_(("BrakePaused", "BrakeReleased"))
        )
        .order_by(ChainEvent.id.desc())
        .limit(1)
    )
    with site.store.read() as session:
        last = session.scalar(query)
    if last is None or last.name == "BrakeReleased":
        return None
    until = int(last.args["until"])
    return until if until > (time.time() if now is None else now) else None
