"""Logs that lie, before the chain: what convicts them is posted, and this site answers for its own.

    fork       two signed heads of one size convict by themselves; whoever found them posts both
    unproven   a signed head that nobody proved to continue the log: it is challenged, its site has
               a day to prove it on the chain, and silence convicts
    answer     a site that is challenged proves its head to continue in an anchored one

Decided by what rows and the chain say, under intents that are asked once: killed at any point, the
sync process goes on where it stood.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import select

from node.audit.account_key import AccountKey
from node.audit.checkpoint import Checkpoint, origin_of
from node.audit.note_keys import TIME_BYTES, time_of
from node.audit.notes import Note
from node.chain_tx import state_of, want_again
from node.errors import NodeError
from node.identity import ANCHOR
from node.refusals import from_error
from node.store import Anchor, Challenge, LogConflict
from node.submission import rehearse
from node.witness import FORK

if TYPE_CHECKING:
    from chain.calls import BlockRef, Call
    from chain.equivocations import SignedCheckpoint
    from chain.network import Network
    from node.site import Site

log = logging.getLogger(__name__)

AT_ONCE = 10  # conflicts that are looked at in one block
POSTED = "POSTED"
NEEDLESS = "NEEDLESS"  # the site is marked already, or what it showed is what it anchored
UNSIGNED = "UNSIGNED"  # no key that a contract reads signed it
REFUSED = "REFUSED"
SAID_ALREADY = ("ChallengeTaken", "ChallengeAlreadyAnswered", "EquivocationMarkedAlready")


class Equivocations:
    """Posts, answers and settles; one per sync process."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def step(self, network: Network, head: BlockRef) -> None:
        """One look at a new block.  Raises `chain.errors.ChainError` for a chain that is silent."""
        self._post(network)
        self._answer(network)
        self._settle(network, head)

    # ── What others did ──────────────────────────────────────────────────────────────────────

    def _post(self, network: Network) -> None:
        with self.site.store.read() as session:
            query = select(LogConflict).where(LogConflict.posted == "").order_by(LogConflict.id)
            rows = list(session.scalars(query.limit(AT_ONCE)))
        for row in rows:
            done = self._prove(network, row) if row.kind == FORK else self._ask(network, row)
            with self.site.store.begin() as session:
                session.get_one(LogConflict, row.id).posted = done

    def _prove(self, network: Network, row: LogConflict) -> str:
        """Post a fork; how it went."""
        if network.equivocations.is_marked(row.log_id):
            return NEEDLESS
        pair = [signed_for_contracts(network, row.log_id, note) for note in (row.known, row.shown)]
        one, other = pair
        if one is None or other is None:
            return UNSIGNED
        call = network.equivocations.prove_fork(row.log_id, one, other)
        return self._want(f"fork:{row.log_id}", call)

    def _ask(self, network: Network, row: LogConflict) -> str:
        """Challenge both heads: which of the two the log stands by, it has not said.

        One of another root than the chain has of its size convicts without a question.
        """
        if network.equivocations.is_marked(row.log_id):
            return NEEDLESS
        done = set()
        for note in (row.shown, row.known):
            signed = signed_for_contracts(network, row.log_id, note) if note else None
            if signed is None:
                done.add(UNSIGNED)
                continue
            anchored = anchored_root(network, row.log_id, signed.size)
            if anchored == signed.root:
                done.add(NEEDLESS)
            elif anchored is not None:
                call = network.equivocations.prove_anchored_fork(row.log_id, signed)
                return self._want(f"fork:{row.log_id}", call)
            else:
                call = network.equivocations.challenge(row.log_id, signed)
                done.add(self._want(f"challenge:{row.log_id}:{signed.size}:{signed.root}", call))
        return next(how for how in ("", POSTED, REFUSED, NEEDLESS, UNSIGNED) if how in done)

    def _settle(self, network: Network, head: BlockRef) -> None:
        """What this site asked, and nobody answered in time."""
        with self.site.store.read() as session:
            overdue = (Challenge.state == "OPEN", Challenge.until <= head.timestamp)
            rows = list(session.scalars(select(Challenge).where(*overdue).limit(AT_ONCE)))
            asked = [
                row
                for row in rows
                if state_of(session, f"challenge:{row.site}:{row.size}:{row.root}")
            ]
        for row in asked:
            self._want(f"settle:{row.id}", network.equivocations.settle(row.id))

    def _want(self, intent: str, call: Call) -> str:
        """Ask once; whether the chain would take it.  "": not now."""
        from chain.errors import ContractRefused

        with self.site.store.read() as session:
            # An endpoint that was behind may have refused what the chain takes now.
            if state_of(session, intent) not in (None, "REFUSED"):
                return POSTED
        try:
            rehearse(self.site, call)
        except ContractRefused as refusal:
            if refusal.error in SAID_ALREADY:
                return NEEDLESS
            log.warning("%s is not posted: %s", intent, from_error(refusal))
            return "" if refusal.error == "ChallengeTooMany" else REFUSED
        with self.site.store.begin() as session:
            want_again(session, intent, call)
        return POSTED

    # ── What this site is asked ──────────────────────────────────────────────────────────────

    def _answer(self, network: Network) -> None:
        with self.site.store.read() as session:
            own = (Challenge.site == self.site.id, Challenge.state == "OPEN")
            rows = list(session.scalars(select(Challenge).where(*own).limit(AT_ONCE)))
        for row in rows:
            problem = self._answer_one(network, row)
            if problem != row.problem:
                log.error("challenge %s: %s", row.id, problem) if problem else None
                with self.site.store.begin() as session:
                    session.get_one(Challenge, row.id).problem = problem

    def _answer_one(self, network: Network, row: Challenge) -> str:
        """Answer if this log can; why not."""
        if row.size > self.site.log.size or self._root(row.size) != row.root:
            return f"this log of {self.site.log.size} entries has not this head of {row.size}"
        with self.site.store.read() as session:
            of = select(Anchor.size).where(Anchor.size >= row.size).order_by(Anchor.size)
            anchored = session.scalar(of.limit(1))
        if anchored is None:
            return ""  # `node.anchoring` anchors one that can be proved from
        proof = []
        if anchored > row.size:
            nodes = self.site.log.consistency_proof(row.size, anchored)
            proof = ["0x" + node.hex() for node in nodes]
        call = network.equivocations.answer_challenge(row.id, anchored, proof)
        refused = self._want(f"answer:{row.id}", call) == REFUSED
        return "the chain does not take the answer" if refused else ""

    def _root(self, size: int) -> str:
        return "0x" + self.site.log.root(size).hex()


def signed_for_contracts(network: Network, log_id: str, raw: str) -> SignedCheckpoint | None:
    """The head of a note as a contract takes it; None where no anchor key of the log signed it.

    Keys that ended count: who signed two histories does not get away by a new key.
    """
    from chain.equivocations import SignedCheckpoint

    note = Note.parse(raw)
    head = Checkpoint.parse(note.text)
    place = (network.client.chain_id, network.anchors.address.lower())
    keys = [
        AccountKey(origin_of(log_id), key.public_key, *place)
        for key in network.sites.keys(log_id)
        if key.purpose == ANCHOR and network.sites.proves(log_id, key)
    ]
    try:
        [line, *_] = note.opened(keys)
    except NodeError:
        return None
    time = time_of(line.blob)
    assert time is not None  # it was verified
    root = "0x" + head.root.hex()
    return SignedCheckpoint(head.size, root, time, "0x" + line.blob[TIME_BYTES:].hex())


def anchored_root(network: Network, log_id: str, size: int) -> str | None:
    """What the chain has as the root of exactly so many entries."""
    from chain.errors import ContractRefused

    try:
        return network.anchors.head_at(log_id, size).root
    except ContractRefused:
        return None
