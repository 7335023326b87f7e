"""Carrying proposals on: simulated when they appear, queued and executed when they have passed.

Part of the sync process.  Nobody has to be asked to queue or execute what the members passed, so
every member's node could; they take turns, the proposer's first, and a node whose turn comes does
only what the ones before it left undone.  After the execution the events that really happened are
held against what the proposal said it would do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from chain.ids import ZERO_ID
from node import governance, refusals
from node.audit.entries import record
from node.errors import NodeError
from node.store import ChainTx, Proposal
from node.votes import OPEN

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.network import Network
    from node.site import Site

log = logging.getLogger(__name__)

RETRY_BLOCKS = 20  # before a proposal that could not be tried out is tried out again; then twice
# as many, and so on: one that takes long, or comes to nothing, must not take all our time.
TURN_BLOCKS = 5  # that a node leaves to those whose turn comes before its own
SYNC = "sync"


class Enactment:
    """`step` is one pass at a new head."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._ready: dict[tuple[str, str], int] = {}  # (proposal, what) → head when it became due
        self._tried: dict[str, tuple[int, int]] = {}  # proposal → head when, and how often
        self._trying: Thread | None = None

    def step(self, network: Network, head: BlockRef) -> None:
        """Follow all open proposals.  Raises ChainUnavailable; what was done until then stands."""
        from chain.errors import ChainUnavailable

        executed = and_(Proposal.state == "EXECUTED", Proposal.executed_digest.is_(None))
        rows = self._rows(or_(Proposal.state.in_(OPEN), executed))
        for row in rows:
            try:
                if row.state == "EXECUTED":
                    self._compare(network, row)
                else:
                    self._follow(network, row, head)
            except ChainUnavailable:
                raise
            except Exception:
                # Anybody may propose any bytes: what we stumble over in one proposal must not
                # keep the node from its other work.
                log.exception("proposal %s", row.id)
        self._preview(network, rows, head)  # at last: those that are over by now are left out

    def _rows(self, *where: Any) -> list[Proposal]:
        with self.site.store.read() as session:
            query = select(Proposal).where(*where)
            return list(session.scalars(query.order_by(Proposal.created_block, Proposal.id)))

    # ── Before the vote is over ──────────────────────────────────────────────────────────────

    def _preview(self, network: Network, rows: Sequence[Proposal], head: BlockRef) -> None:
        """Keep what proposals of others would do, as seen when they appeared here.

        In a thread of its own: trying out takes seconds, and jobs that must be stopped do not wait
        for it.
        """
        if self._trying is not None and self._trying.is_alive():
            return
        due = [
            row
            for row in rows
            if row.state in OPEN and row.effect is None and self._may_try(row, head)
        ]
        if due:
            for row in due:
                self._tried[row.id] = head.number, self._tried.get(row.id, (0, 0))[1] + 1
            self._trying = Thread(target=self._try_out, args=(network, due), daemon=True)
            self._trying.start()

    def _may_try(self, row: Proposal, head: BlockRef) -> bool:
        at, times = self._tried.get(row.id, (0, 0))
        return not times or head.number - at >= RETRY_BLOCKS * 2 ** (times - 1)

    def _try_out(self, network: Network, rows: Sequence[Proposal]) -> None:
        for row in rows:
            try:
                effect = governance.effect_of(self.site, network, row)
                if effect is not None:
                    self._set(row, effect=effect.to_json(), effect_digest=effect.digest)
            except Exception as error:  # a thread's end: nobody above would tell
                log.warning("proposal %s is not tried out: %s", row.id, error)

    def wait(self) -> None:
        """Until nothing is being tried out."""
        if self._trying is not None:
            self._trying.join()

    def _follow(self, network: Network, row: Proposal, head: BlockRef) -> None:
        assert row.snapshot is not None
        assert row.deadline is not None
        if row.state in ("PENDING", "ACTIVE") and head.number <= row.deadline:
            voting = head.number > row.snapshot
            if voting and row.state == "PENDING":
                self._set(row, state="ACTIVE")
            return
        found = network.governor.proposal(row.id)
        state = str(found.state)
        if state != row.state and state != "EXECUTED":  # what was executed, the event tells
            self._set(row, state=state)
        if not self.site.settings.execute_proposals:
            return
        if state == "SUCCEEDED":
            self._carry(network, row, "queue", head)
        elif state == "QUEUED" and found.eta and found.eta <= head.timestamp:
            self._carry(network, row, "execute", head)

    # ── After it ─────────────────────────────────────────────────────────────────────────────

    def _carry(self, network: Network, row: Proposal, what: str, head: BlockRef) -> None:
        """Queue or execute, when the nodes before this one have had their turn."""
        from chain.errors import ContractRefused

        since = self._ready.setdefault((row.id, what), head.number)
        turn = self._turn(network, row)
        if turn is None or head.number - since < turn * TURN_BLOCKS or self._is_asked(row, what):
            return
        carry = governance.queue if what == "queue" else governance.execute
        try:
            carry(self.site, row.id, actor=SYNC)
        except NodeError as refusal:
            self._note(row, refusal)
        except ContractRefused as refusal:
            self._note(row, refusals.from_contract(refusal))

    def _turn(self, network: Network, row: Proposal) -> int | None:
        """How many nodes come before this one; None where this site's account is no member's."""
        members = network.membership
        accounts = sorted(
            members.member(id).account.lower()
            for id in members.members()
            if str(members.standing(id)) == "ACTIVE"
        )
        own, proposer = self.site.identity.address.lower(), row.proposer.lower()
        if own not in accounts:
            return None
        first = accounts.index(proposer) if proposer in accounts else 0
        return (accounts.index(own) - first) % len(accounts)

    def _is_asked(self, row: Proposal, what: str) -> bool:
        """Whether a transaction for it is on its way."""
        with self.site.store.read() as session:
            query = select(ChainTx.id).where(
                ChainTx.intent.startswith(f"proposal.{what}:{row.id}"), ChainTx.state != "REFUSED"
            )
            return session.scalar(query) is not None

    def _compare(self, network: Network, row: Proposal) -> None:
        """Hold what happened against what the proposal said, once, and enter both."""
        from chain.effects import effect_of

        assert row.executed_tx is not None
        operation = governance.made_of(row).operation(network.governor.address)
        # Another governor's timelock may have executed it: that is not what was declared.
        digest = effect_of(network, row.executed_tx, operation) or ZERO_ID
        with self.site.store.begin() as session:
            session.get_one(Proposal, row.id).executed_digest = digest
            facts = {
                "kind": row.kind,
                "declared": row.declared_digest,
                "executed": digest,
                "asDeclared": digest == row.declared_digest,
                "transaction": row.executed_tx,
            }
            record(session, "proposal.executed", row.id, facts, SYNC)
        if digest != row.declared_digest:
            log.warning("proposal %s did something else than it declared", row.id)

    def _note(self, row: Proposal, refusal: NodeError) -> None:
        """Why a proposal does not go on; it is tried again at the next block."""
        problem = {"code": refusal.code, "detail": refusal.detail}
        if row.problem != problem:
            log.warning("proposal %s: %s", row.id, refusal)
            self._set(row, problem=problem)

    def _set(self, row: Proposal, **values: Any) -> None:
        with self.site.store.begin() as session:
            current = session.get_one(Proposal, row.id)
            for name, value in values.items():
                setattr(current, name, value)
                setattr(row, name, value)
