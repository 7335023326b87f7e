"""A key of this site takes the place of another, and a key is ended at once.

    ADDING      the new key lies in a file and is on its way to the chain; the old one signs
    OVERLAP     the new one signs, the old one stands beside it for what was said with it
    ENDING      the old one is being ended
    ENDED       only the new one stands
    ABANDONED   the new key did not come to stand; the old one goes on

The new key's file is written before anything is asked for, the signing file is replaced in one
rename, and each step is decided by what the files, the database and the chain say: killed at any
point, the sync process goes on where it stood.  The old key ends after ``key_overlap_seconds``, and
not while a job runs that began under it.  A key that got into other hands is ended by `revoke`, at
once; what this site was doing with it stops.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.audit.entries import acting_as, record
from node.chain_tx import state_of
from node.errors import Conflict, Invalid, NotFound
from node.identity import (
    PURPOSES,
    drop_next_key,
    prove,
    public_bytes,
    take_next_key,
)
from node.refusals import from_error
from node.store import ChainTx, KeyRotation, LocalJob
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.network import Network
    from chain.sites import Key
    from node.site import Site

log = logging.getLogger(__name__)

OPEN = ("ADDING", "OVERLAP", "ENDING")
SYNC = "sync"


# ── What an operator asks for ────────────────────────────────────────────────────────────────


def rotate(site: Site, purpose: str) -> Submitted:
    """Make a new key for "request", "audit" or "anchor" and have it registered; sync does the rest.

    Asked again while the new key is on its way, it is the same rotation.  Raises `Invalid`, and
    what the chain refuses.
    """
    from chain.sites import KeyInput, key_id, key_proof_digest

    if purpose not in PURPOSES:
        raise Invalid(
            "InvalidRequest",
            "this site has no key for that",
            found=purpose,
            allowed=list(PURPOSES),
        )
    with site.store.read() as session:
        adding = _adding(session, purpose)
    if adding is not None:
        return Submitted(adding.key_id, _add_intent(adding.key_id))
    network, identity = site.network(), site.identity
    new = identity.make_next_key(site.settings, purpose)
    public = "0x" + public_bytes(new).hex()
    place = (network.client.chain_id, network.sites.address, site.id, purpose, public)
    id = key_id(*place)
    proof = prove(new, bytes.fromhex(key_proof_digest(*place).removeprefix("0x")))
    call = network.sites.add_key(site.id, KeyInput(purpose, public, "0x" + proof.hex()))
    rehearse(site, call)
    row = KeyRotation(
        purpose=purpose,
        state="ADDING",
        public_key=public,
        key_id=id,
        old_key_id=site.key_id(purpose, identity),
    )
    facts = {"purpose": purpose, "publicKey": public, "old": row.old_key_id}
    return submit(site, Submitted(id, _add_intent(id)), call, "key.rotating", facts, row)


def revoke(site: Site, id: str, *, force: bool = False) -> Submitted:
    """End a key of this site at once.

    Raises `NotFound` for a key that this site does not have, `Conflict` (``KeyEnded``), and
    `Conflict` (``KeyInUse``) for one that the site signs with now, unless ``force``: then it can
    speak to nobody until another key stands.
    """
    network = site.network()
    found = {key.id: key for key in network.sites.keys(site.id)}.get(id)
    if found is None:
        raise NotFound(
            "NotFound", "this site has no such key", found=id, hint="see `fatechain key list`"
        )
    if found.until_block:
        raise Conflict("KeyEnded", f"the key ended at block {found.until_block}", found=id)
    if not force and id in _signing(site):
        raise Conflict(
            "KeyInUse",
            f"this site signs with this {found.purpose} key; without it work stops at once",
            found=id,
            hint=f"`fatechain key rotate {found.purpose}` first; or --force where the key got into "
            "other hands",
        )
    submitted = Submitted(id, f"key.revoke:{id}")
    if is_open(site, submitted.intent):
        return submitted
    call = network.sites.revoke_key(site.id, id)
    rehearse(site, call)
    return submit(site, submitted, call, "key.revoked", {"purpose": found.purpose})


def rotations(site: Site) -> list[KeyRotation]:
    """All of them, newest first."""
    with site.store.read() as session:
        return list(session.scalars(select(KeyRotation).order_by(KeyRotation.id.desc())))


# ── What the sync process does ───────────────────────────────────────────────────────────────


class Rotation:
    """Carries rotations on.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock

    def step(self, network: Network, head: BlockRef) -> None:
        """One look at a new head.  Raises `chain.errors.ChainError` for a chain that is silent."""
        with self.site.store.read() as session:
            query = select(KeyRotation).where(KeyRotation.state.in_(OPEN)).order_by(KeyRotation.id)
            rows = list(session.scalars(query))
        if not rows:
            return
        keys = {key.id: key for key in network.sites.keys(self.site.id, block=head.number)}
        for row in rows:
            if row.state == "ADDING":
                self._add(row, keys.get(row.key_id), head)
            else:
                self._end(network, row, keys.get(row.old_key_id))

    def _add(self, row: KeyRotation, key: Key | None, head: BlockRef) -> None:
        if key is None:
            with self.site.store.read() as session:
                if state_of(session, _add_intent(row.key_id)) == "REFUSED":
                    self._abandon(row, _refusal(session, row.key_id))
            return
        if key.until_block:
            self._abandon(row, f"it was revoked at block {key.until_block}")
        elif head.number - key.from_block >= self._settled():
            self._switch(row)

    def _settled(self) -> int:
        """Blocks after which partners take a new key.

        Each takes it after its own confirmations: twice ours, and one for an endpoint that lags.
        """
        return 2 * self.site.settings.confirmations + 1

    def _switch(self, row: KeyRotation) -> None:
        """Sign with the new key; a crash between file and row comes here again."""
        settings, identity = self.site.settings, self.site.identity
        public = bytes.fromhex(row.public_key.removeprefix("0x"))
        if identity.public_key(row.purpose) != public:
            if identity.next_public_key(settings, row.purpose) != public:
                self._abandon(row, "its file is gone from this home: revoke it")
                return
            take_next_key(settings, row.purpose)
        with self.site.store.begin() as session:
            current = session.get_one(KeyRotation, row.id)
            current.state, current.switched_at = "OVERLAP", self.clock()
            record(session, "key.switched", row.key_id, _facts(row), SYNC)
        log.warning("the site signs with its new %s key", row.purpose)

    def _abandon(self, row: KeyRotation, reason: str) -> None:
        public = bytes.fromhex(row.public_key.removeprefix("0x"))
        if self.site.identity.next_public_key(self.site.settings, row.purpose) == public:
            drop_next_key(self.site.settings, row.purpose)
        with self.site.store.begin() as session:
            current = session.get_one(KeyRotation, row.id)
            current.state, current.reason = "ABANDONED", reason[:500]
            record(session, "key.abandoned", row.key_id, _facts(row) | {"reason": reason}, SYNC)
        log.warning("the new %s key is given up: %s", row.purpose, reason)

    def _end(self, network: Network, row: KeyRotation, old: Key | None) -> None:
        from chain.errors import ContractRefused

        if old is None or old.until_block:
            with self.site.store.begin() as session:
                current = session.get_one(KeyRotation, row.id)
                current.state, current.ended_at = "ENDED", self.clock()
                record(session, "key.ended", row.old_key_id, _facts(row), SYNC)
            return
        if not self._is_due(row):
            return
        submitted = Submitted(row.old_key_id, f"key.end:{row.old_key_id}")
        if is_open(self.site, submitted.intent):
            return
        call = network.sites.revoke_key(self.site.id, row.old_key_id)
        try:
            rehearse(self.site, call)
        except ContractRefused as refusal:
            log.warning("the old %s key cannot be ended: %s", row.purpose, from_error(refusal))
            return
        row.state = "ENDING"
        with acting_as(SYNC):
            submit(self.site, submitted, call, "key.revoked", {"purpose": row.purpose}, row)

    def _is_due(self, row: KeyRotation) -> bool:
        assert row.switched_at is not None
        if self.clock() - row.switched_at < self.site.settings.key_overlap_seconds:
            return False
        began = select(LocalJob.id).where(
            LocalJob.state == "RUNNING", LocalJob.started_at <= row.switched_at
        )
        with self.site.store.read() as session:
            return session.scalar(began.limit(1)) is None


def _signing(site: Site) -> set[str]:
    identity = site.identity
    return {site.key_id(purpose, identity) for purpose in PURPOSES}


def _adding(session: Session, purpose: str) -> KeyRotation | None:
    query = select(KeyRotation).where(KeyRotation.purpose == purpose, KeyRotation.state == "ADDING")
    return session.scalar(query.limit(1))


def _add_intent(key_id: str) -> str:
    return f"key.add:{key_id}"


def _refusal(session: Session, key_id: str) -> str:
    error = session.scalar(select(ChainTx.error).where(ChainTx.intent == _add_intent(key_id)))
    return "the chain refused it" if error is None else str(error["detail"])


def _facts(row: KeyRotation) -> dict[str, Any]:
    return {"purpose": row.purpose, "new": row.key_id, "old": row.old_key_id}
