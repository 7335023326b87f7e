"""The heads of this site's audit log on the chain, and who cosigned them.

Anchored are heads that are shown to witnesses, so that what they say of one is said of what the
chain has.  Nobody waits for a witness: an anchor goes out with the cosignatures that are there, and
what comes later follows in at most `MAX_CALLS` transactions a head: one when it brings the number
that the consortium asks for, one when a newer head has taken the place of this one or
`SETTLED_SECONDS` have gone by.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node import heads
from node.audit.entries import type_of
from node.audit.note_keys import TIME_BYTES, time_of
from node.audit.notes import Signature
from node.chain_tx import OPEN, want
from node.store import Anchor, AuditEntry, ChainTx, Challenge, Cosignature

if TYPE_CHECKING:
    from chain.anchors import Cosignature as Counted
    from chain.network import Network
    from node.site import Site

log = logging.getLogger(__name__)

Held = list[tuple[str, "Counted"]]
"""Cosignatures of a head, with the site of each."""

PENDING, WITNESSED, UNWITNESSED = "PENDING", "WITNESSED", "UNWITNESSED"
SETTLED_SECONDS = 300.0  # half of the time after which the chain calls a head unwitnessed
MAX_CALLS = 3
LOOKED_AT = 20  # heads that the chain is asked about at a block
COSIGNED = 5  # of the newest anchors, late cosignatures are looked for


class Anchoring:
    """Asks for an anchor when one is due, one at a time.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock
        self._considered: dict[int, object] = {}  # what was there when it was last looked at

    def step(self, network: Network) -> None:
        """One look at a new block.  Raises `chain.errors.ChainError` for a chain that is silent."""
        self._look(network)
        self._anchor(network)
        self._cosign(network)

    # ── A new head ───────────────────────────────────────────────────────────────────────────

    def _anchor(self, network: Network) -> None:
        """Ask for an anchor of the head that is shown, when one is due.

        Entries that tell of anchors alone make none due, else each anchor would call for the next.
        """
        with self.site.store.read() as session:
            if _is_flying(session, "anchor:"):
                return
            anchored = session.scalar(select(func.max(Anchor.size))) or 0
            if not self._is_due(session, anchored):
                return
        head = network.anchors.head(self.site.id)
        size = heads.shown(self.site)
        if size <= head.size or self._has_ended_since(size):
            waits = 0 < size == head.size and self._held(size) < network.anchors.cosigners_needed()
            heads.publish(self.site, self.clock, at_once=not waits)
            size = heads.shown(self.site)
        if size <= head.size:
            return
        root = "0x" + self.site.log.root(size).hex()
        proof: list[str] = []
        if head.size:
            proof = ["0x" + node.hex() for node in self.site.log.consistency_proof(head.size, size)]
        lines = [each for _, each in self._cosignatures(size)]
        call = network.anchors.anchor(self.site.id, size, root, proof, lines)
        with self.site.store.begin() as session:
            want(session, f"anchor:{self.site.id}:{size}", call)

    def _is_due(self, session: Session, anchored: int) -> bool:
        settings = self.site.settings
        new = (AuditEntry.index >= anchored, AuditEntry.type != type_of("anchor.made"))
        count = session.scalar(select(func.count()).select_from(AuditEntry).where(*new)) or 0
        if not count:
            return False
        if self._has_ended_since(anchored) or self._is_challenged_beyond(session, anchored):
            return True
        last = session.scalar(select(func.max(Anchor.anchored_at))) or 0.0
        waited = self.clock() - last > settings.anchor_every_seconds
        return waited or count >= settings.anchor_every_entries

    def _is_challenged_beyond(self, session: Session, anchored: int) -> bool:
        """Whether this site has to prove a head that no anchored one can follow yet."""
        own = (Challenge.site == self.site.id, Challenge.state == "OPEN", Challenge.size > anchored)
        return session.scalar(select(Challenge.id).where(*own).limit(1)) is not None

    def _has_ended_since(self, size: int) -> bool:
        """Whether a job did, which its parties want certified, or an audit was requested: what
        answers it is shown up to a head of after the request."""
        kinds = ("job.ended", "model.registered", "audit.requested")
        ends = [type_of(kind) for kind in kinds]
        ended = select(AuditEntry.index).where(AuditEntry.index >= size, AuditEntry.type.in_(ends))
        with self.site.store.read() as session:
            return session.scalar(ended.limit(1)) is not None

    # ── Who cosigned it ──────────────────────────────────────────────────────────────────────

    def _look(self, network: Network) -> None:
        """What the chain says of heads that were not settled when it was asked last."""
        with self.site.store.read() as session:
            query = select(Anchor).where(Anchor.state == PENDING).order_by(Anchor.size.desc())
            rows = list(session.scalars(query.limit(LOOKED_AT)))
        needed = network.anchors.cosigners_needed() if rows else 0
        for row in rows:
            state = network.anchors.state_of(self.site.id, row.size).value
            witnesses = list(network.anchors.witness_of(self.site.id, row.size).members)
            if (state, witnesses, needed) == (row.state, row.witnesses, row.needed):
                continue
            with self.site.store.begin() as session:
                kept = session.get_one(Anchor, row.size)
                kept.state, kept.witnesses, kept.needed = state, witnesses, needed
            if state == UNWITNESSED:
                found = (row.size, len(witnesses), needed)
                log.warning("the head of %d entries was cosigned by %d of %d members", *found)

    def _cosign(self, network: Network) -> None:
        """Send the cosignatures that came after their head was anchored."""
        with self.site.store.read() as session:
            query = select(Anchor).order_by(Anchor.size.desc()).limit(COSIGNED)
            rows = list(session.scalars(query))
            held = {row.size: _cosignatures(session, row.size) for row in rows}
        shown = heads.shown(self.site) if any(held.values()) else 0
        for row in rows:
            is_over = row.size < shown or self.clock() - row.anchored_at > SETTLED_SECONDS
            there = (is_over, tuple(row.witnesses), tuple(held[row.size]))
            if held[row.size] and self._considered.get(row.size) != there:
                self._cosign_one(network, row, is_over, held[row.size], there)

    def _cosign_one(
        self, network: Network, row: Anchor, is_over: bool, held: Held, there: object
    ) -> None:
        from chain.anchors import Verdict

        intent = f"cosign:{self.site.id}:{row.size}:"
        with self.site.store.read() as session:
            if _is_flying(session, intent):
                return
            of_head = select(func.count()).where(ChainTx.intent.startswith(intent))
            calls = session.scalar(of_head) or 0
        if calls >= MAX_CALLS:
            return
        judge = network.anchors.judge
        new = [
            (witness, each)
            for witness, each in held
            if judge(self.site.id, row.size, each)[0] is Verdict.COUNTS
        ]
        members = {network.sites.member_of(witness) for witness, _ in new} - set(row.witnesses)
        before, needed = len(row.witnesses), network.anchors.cosigners_needed()
        if new and (is_over or before < needed <= before + len(members)):
            call = network.anchors.cosign(self.site.id, row.size, [each for _, each in new])
            with self.site.store.begin() as session:
                want(session, f"{intent}{calls + 1}", call)
        self._considered[row.size] = there

    def _held(self, size: int) -> int:
        return len(self._cosignatures(size))

    def _cosignatures(self, size: int) -> Held:
        with self.site.store.read() as session:
            return _cosignatures(session, size)


def _cosignatures(session: Session, size: int) -> Held:
    """By which sites, for the contract; in the order in which they were made."""
    query = select(Cosignature).where(Cosignature.size == size)
    made = query.where(Cosignature.account_line != "").order_by(Cosignature.time)
    return [(row.witness, _for_contract(row.account_line)) for row in session.scalars(made)]


def _for_contract(line: str) -> Counted:
    from chain.anchors import Cosignature as Counted

    blob = Signature.parse(line).blob
    time = time_of(blob)
    assert time is not None  # `heads.receive` keeps no other
    return Counted(time, "0x" + blob[TIME_BYTES:].hex())


def _is_flying(session: Session, intent: str) -> bool:
    query = select(ChainTx.id).where(ChainTx.intent.startswith(intent), ChainTx.state.in_(OPEN))
    return session.scalar(query.limit(1)) is not None
