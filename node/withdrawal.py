"""Running work held against the newest block: what it does not allow any more is stopped.

Permissions were confirmed before the work began; withdrawals count before they are confirmed.  Both
sites of a job see the same block, so both stop without hearing of each other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select

from chain.errors import LogsRefused
from node import projection, stops
from node.admission import Decision, decide
from node.audit.entries import record
from node.chain_tx import want
from node.errors import Unavailable
from node.facts import gather
from node.lifecycle import TASK_ENDS
from node.refusals import word
from node.store import ChainTx, JobParty, LocalJob, Task

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from node.site import Site

log = logging.getLogger(__name__)

RECHECK_SECONDS = 5.0  # grants expire without an event: running work is looked at this often
MOST_BLOCKS = 100  # after more of them running work is looked at without asking what happened
EXPIRE_PATIENCE_SECONDS = 30  # before others than the proposer end a job that is past its deadline


class Watch:
    """Looks at every new head.  ``clock`` is in seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock
        self.looked_at = -1  # the head that running work was last held against
        self.looked_when = 0.0

    def hold_to_head(self, head: BlockRef) -> None:
        """End running work that the newest block does not allow, before it is confirmed."""
        if head.number <= self.looked_at:
            return
        # A reorganisation may put a withdrawal into a block that was looked at before.
        first = max(0, self.looked_at + 1 - self.site.settings.confirmations)
        running = self._running()
        due = self.clock() - self.looked_when > RECHECK_SECONDS
        if running and (due or self._anything_happened(first, head.number)):
            for job_id in running:
                self._recheck(job_id, head)
            self.looked_when = self.clock()
        self.looked_at = head.number

    def _anything_happened(self, first: int, last: int) -> bool:
        """Whether the contracts told something; true where that takes longer than to look."""
        if last - first >= MOST_BLOCKS:
            return True
        network = self.site.network()
        try:
            return bool(network.client.logs(first, last, network.contracts))
        except LogsRefused:
            return True

    def _running(self) -> list[str]:
        query = (
            select(LocalJob.id)
            .join(Task, Task.job_id == LocalJob.id)
            .where(LocalJob.state == "RUNNING", Task.state.not_in(TASK_ENDS))
        )
        with self.site.store.read() as session:
            return list(session.scalars(query.distinct()))

    def _recheck(self, job_id: str, head: BlockRef) -> None:
        """Admission of running work: permissions were confirmed before, withdrawals count now."""
        decision = decide(gather(self.site, job_id, "task", running=True))
        if decision.allowed or all(isinstance(why, Unavailable) for why in decision.reasons):
            return  # a silent chain pauses work, it does not end it
        self._stop(job_id, decision, head)

    def _stop(self, job_id: str, decision: Decision, head: BlockRef) -> None:
        """Stop this site's tasks, and fail the job for all unless it is over on the chain."""
        first = decision.reasons[0]
        over = "JobNotRunning" in decision.codes
        call = self.site.network().jobs.fail(job_id, self.site.id, word(first.code))
        error = {"code": first.code, "detail": first.detail}
        if over:
            found = self.site.network().jobs.job(job_id)
            ended = f"job {found.state}, by {found.ended_by or 'its deadline'}: {found.reason}"
            error = {"code": found.reason or "JobNotRunning", "detail": ended}
        with self.site.store.begin() as session:
            stopped = projection.stop_tasks(session, job_id, error)
            job = session.get_one(LocalJob, job_id)
            noted = stops.notice(
                session, job, self.site.id, error["code"], error["detail"], head.number
            )
            if not over and job.state == "RUNNING":
                job.reason = f"{first.code}: {first.detail}"[:500]
                want(session, f"job:{job_id}:fail", call)
            if noted or stopped:
                data = {"moment": "running", "stopped": stopped, **decision.to_json()}
                record(session, "admission.decided", job_id, data, "sync")
        log.warning("job %s stopped: %s", job_id, first)

    def expire(self, head: BlockRef) -> None:
        """End jobs that are past their deadline; the proposer first, others if it does not."""
        for job_id, mine, deadline in self._deadlines():
            patience = 0 if mine else EXPIRE_PATIENCE_SECONDS
            if head.timestamp < deadline + patience:
                continue
            call = self.site.network().jobs.expire(job_id)
            with self.site.store.begin() as session:
                want(session, f"job:{job_id}:expire", call)

    def _deadlines(self) -> list[tuple[str, bool, int]]:
        """Open jobs of this site, with their deadlines, whose end nobody asked for yet."""
        asked = select(ChainTx.id).where(ChainTx.intent == "job:" + LocalJob.id + ":expire")
        query = (
            select(LocalJob)
            .join(JobParty, JobParty.job_id == LocalJob.id)
            .where(
                JobParty.site == self.site.id,
                LocalJob.state.in_(("PROPOSED", "APPROVED", "RUNNING")),
                ~asked.exists(),
            )
        )
        with self.site.store.read() as session:
            jobs = list(session.scalars(query))
        return [
            (job.id, job.mine, int(job.specification["deadline"]))
            for job in jobs
            if job.specification is not None
        ]
