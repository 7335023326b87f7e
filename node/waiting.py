"""What waits for a person at this site, and what happens while nobody comes.

A proposal that asks this site for data is tried against the standing rules.  The first that
matches approves it; otherwise it waits, with the reason why each rule did not match.  After
``approval_remind_seconds`` the log reminds, after ``approval_timeout_seconds`` the proposal is
rejected with ``ApprovalTimedOut``: a proposer learns that nobody will answer.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select

from node import jobs
from node.admission import decide
from node.audit.entries import acting_as, record
from node.chain_tx import state_of
from node.errors import NodeError, Unavailable
from node.facts import gather
from node.rules import Rule, in_force, matches
from node.store import Approval, ApprovalRule, JobParty, LocalJob, Waiting

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 15.0  # a grant or an attestation that was missing may be there now
TIMED_OUT = "ApprovalTimedOut"

Why = list[dict[str, Any]]
"""{"rule", "name", "why", "code", "values"}: of a rule, or with rule null of admission itself."""


class WaitingList:
    """One pass looks at every proposal that this site has not decided.  ``clock``: Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock

    def step(self) -> None:
        """Approve by rule, remind, time out.  What one job raises holds up no other."""
        for job_id, waiting in self._undecided():
            try:
                if waiting is None or self._is_due(waiting):
                    self._try_rules(job_id, waiting)
                elif self.clock() >= waiting.timeout_at:
                    self._time_out(job_id)
                else:
                    self._remind(waiting)
            except Unavailable as problem:
                log.info("proposal %s is looked at again: %s", job_id, problem)
            except NodeError as problem:
                log.warning("proposal %s: %s", job_id, problem)
            except Exception as error:
                # Where it happened, not what it said: the text of an error may quote a row.
                place = "".join(traceback.format_tb(error.__traceback__))
                log.error("proposal %s: %s\n%s", job_id, type(error).__name__, place)

    def _undecided(self) -> list[tuple[str, Waiting | None]]:
        """Proposals of others whose specification is here, oldest first, with what waits of them.

        What was decided, here or by another, waits no more.
        """
        site = self.site.id
        proposed = (
            select(LocalJob.id)
            .join(JobParty, JobParty.job_id == LocalJob.id)
            .where(
                LocalJob.state == "PROPOSED",
                LocalJob.mine.is_(False),
                LocalJob.specification.is_not(None),
                JobParty.site == site,
                JobParty.approved_block.is_(None),
                LocalJob.id.not_in(select(Approval.job_id)),
            )
            .order_by(LocalJob.created_at, LocalJob.id)
        )
        with self.site.store.read() as session:
            found = [
                (id, session.get(Waiting, id))
                for id in session.scalars(proposed)
                if state_of(session, f"job:{id}:reject") is None
            ]
            kept = set(session.scalars(select(Waiting.job_id)))
        if over := kept - {id for id, _ in found}:
            with self.site.store.begin() as session:
                session.execute(delete(Waiting).where(Waiting.job_id.in_(over)))
        return found

    def _is_due(self, waiting: Waiting) -> bool:
        """A rule was added since, or some time has passed."""
        if self.clock() >= waiting.timeout_at:
            return False
        if self.clock() - waiting.looked_at >= LOOK_AGAIN_SECONDS:
            return True
        newest = select(func.max(ApprovalRule.created_at))
        with self.site.store.read() as session:
            return (session.scalar(newest) or 0.0) > waiting.looked_at

    def _try_rules(self, job_id: str, waiting: Waiting | None) -> None:
        looked_at = self.clock()
        # The policy is asked by the approval itself, if a rule comes to it.
        facts = gather(self.site, job_id, "approve", ask_policy=False)
        decision = decide(facts)
        why: Why = [_told(None, reason) for reason in decision.reasons]
        if decision.allowed:
            with self.site.store.read() as session:
                rules = in_force(session, looked_at)
            for rule in rules:
                mismatch = matches(rule, facts, looked_at)
                if mismatch is not None:
                    told = {"code": mismatch.code, "values": dict(mismatch.values)}
                    why.append({"rule": rule.id, "name": rule.name, "why": str(mismatch), **told})
                elif (refusal := self._approve(job_id, rule)) is None:
                    return
                else:
                    why.append(_told(rule, refusal))
        self._wait(job_id, waiting, why, looked_at)

    def _approve(self, job_id: str, rule: Rule) -> NodeError | None:
        """Why the rule could not approve; None: it did."""
        try:
            with acting_as(f"rule:{rule.id}"):
                jobs.approve(self.site, job_id, rule=rule)
        except NodeError as refusal:
            return refusal
        return None

    def _wait(self, job_id: str, waiting: Waiting | None, why: Why, looked_at: float) -> None:
        settings = self.site.settings
        with self.site.store.begin() as session:
            if session.get(Approval, job_id) is not None:
                return  # a person was quicker
            row = session.get(Waiting, job_id)
            if row is None:
                row = Waiting(
                    job_id=job_id,
                    since=looked_at,
                    timeout_at=looked_at + settings.approval_timeout_seconds,
                    looked_at=looked_at,
                    why=why,
                )
                session.add(row)
                record(session, "job.waiting", job_id, {"why": why}, "sync")
            row.looked_at, row.why = looked_at, why

    def _remind(self, waiting: Waiting) -> None:
        """Enter once that somebody should come."""
        if waiting.reminded_at is not None:
            return
        if self.clock() < waiting.since + self.site.settings.approval_remind_seconds:
            return
        with self.site.store.begin() as session:
            row = session.get(Waiting, waiting.job_id)
            if row is None or row.reminded_at is not None:
                return
            row.reminded_at = self.clock()
            left = max(0, round(row.timeout_at - self.clock()))
            record(session, "job.reminded", row.job_id, {"secondsLeft": left}, "sync")
        log.warning("job %s waits for an approval; %d s are left", waiting.job_id, left)

    def _time_out(self, job_id: str) -> None:
        with acting_as("sync"):
            jobs.reject(self.site, job_id, TIMED_OUT)


def _told(rule: Rule | None, reason: NodeError) -> dict[str, Any]:
    return {
        "rule": None if rule is None else rule.id,
        "name": None if rule is None else rule.name,
        "why": f"{reason.code}: {reason.detail}"[:400],
        "code": reason.code,
        "values": {},
    }
