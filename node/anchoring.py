"""When the head of this site's audit log goes to the chain: now and then, and when a job ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.audit.entries import type_of
from node.chain_tx import OPEN, want
from node.store import Anchor, AuditEntry, ChainTx

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site


class Anchoring:
    """Asks for an anchor when one is due, one at a time.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock

    def step(self, network: Network) -> None:
        """Ask for an anchor of the present head when one is due.

        Entries that tell of anchors alone make none due, else each anchor would call for the next.
        """
        with self.site.store.read() as session:
            flying = select(ChainTx.id).where(
                ChainTx.intent.like("anchor:%"), ChainTx.state.in_(OPEN)
            )
            if session.scalar(flying.limit(1)) is not None:
                return
            anchored = session.scalar(select(func.max(Anchor.size))) or 0
            if not self._is_due(session, anchored):
                return
        head, size = network.anchors.head(self.site.id), self.site.log.size
        if size <= head.size:
            return
        root = "0x" + self.site.log.root(size).hex()
        proof: list[str] = []
        if head.size:
            proof = ["0x" + node.hex() for node in self.site.log.consistency_proof(head.size, size)]
        call = network.anchors.anchor(self.site.id, size, root, proof)
        with self.site.store.begin() as session:
            want(session, f"anchor:{self.site.id}:{size}", call)

    def _is_due(self, session: Session, anchored: int) -> bool:
        settings = self.site.settings
        new = (AuditEntry.index >= anchored, AuditEntry.type != type_of("anchor.made"))
        count = session.scalar(select(func.count()).select_from(AuditEntry).where(*new)) or 0
        if not count:
            return False
        ended = (*new, AuditEntry.type.in_([type_of("job.ended"), type_of("model.registered")]))
        if session.scalar(select(AuditEntry.index).where(*ended).limit(1)) is not None:
            return True
        last = session.scalar(select(func.max(Anchor.anchored_at))) or 0.0
        waited = self.clock() - last > settings.anchor_every_seconds
        return waited or count >= settings.anchor_every_entries
