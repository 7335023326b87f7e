"""What moves jobs on at this site, from rows alone: a tick may be repeated or lost at any point.

    proposed here   deliver the specification to the other parties
    proposed to us  approve by a standing rule, or let it wait for a person
    approved        admission, slots reserved at ALL parties or none, then the start on the chain
    running         the next task READY and its bell rung; a failed task fails the job at all
    ended           evidence of all parties collected and reconciled, by each party for itself
    succeeded       model registered, certificate issued

Partners are asked over the network, so ticks run beside the sync loop, never in it; and evidence,
which may be long and slow to come, is collected beside the ticks, so that no job waits for it.
Slots are reserved by the guest's node, oldest job first, for a limited time, and given back
whenever one party refuses: two jobs cannot wait for each other.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, or_, select

from node import refusals
from node.admission import decide
from node.audit.entries import record
from node.chain_tx import state_of, want
from node.errors import NodeError, NotFound, Unavailable
from node.facts import gather
from node.jobs import deliver
from node.lifecycle import move_task
from node.partners import hold
from node.reconciliation import due, reconcile_job, tell_silence
from node.refusals import chain_errors
from node.store import JobParty, LocalJob, Reservation, Task
from node.waiting import WaitingList
from node.worker import make_app, ring

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

RESERVE_SECONDS = 90.0
RING_AGAIN_SECONDS = 10.0  # a bell that nobody answered is rung again
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two tries with a partner
LONGEST_OWED_PAUSE = 600.0


class Pauses:
    """When to try something again: after 1, 2, 4 … seconds, at most 30 unless told."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, longest: float = LONGEST_PAUSE
    ) -> None:
        self.clock, self.longest = clock, longest
        self._next: dict[Any, tuple[float, float]] = {}

    def is_due(self, key: Any) -> bool:
        return self.clock() >= self._next.get(key, (0.0, 0.0))[0]

    def failed(self, key: Any) -> None:
        pause = min(max(2 * self._next.get(key, (0.0, 0.0))[1], FIRST_PAUSE), self.longest)
        self._next[key] = (self.clock() + pause, pause)

    def succeeded(self, key: Any) -> None:
        self._next.pop(key, None)


class Scheduler:
    """Ticks for one site; remembers only what may be forgotten."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.monotonic) -> None:
        self.site = site
        self.pauses = Pauses(clock)
        self.owed = Pauses(clock, LONGEST_OWED_PAUSE)  # evidence of jobs that ended
        self.delivered: set[str] = set()
        self.broker_away = False
        self.app = make_app(site.settings)
        self.waiting = WaitingList(site)

    async def tick(self) -> None:
        """Move every job as far as it goes now.  A job that cannot move holds up no other."""
        if not self.site.is_registered:
            return
        await self._deliver()
        self.waiting.step()
        await self._start()
        self._advance()

    async def conclude(self) -> None:
        """Show what remains to be shown of jobs that ended; takes as long as the partners do."""
        if not self.site.is_registered:
            return
        await self._finish()
        await self._reconcile()

    @contextmanager
    def _apart(self, job_id: str) -> Iterator[None]:
        """What nobody foresaw in one job pauses that job, and holds up no other."""
        try:
            yield
        except Exception as error:
            problem = refusals.from_error(error)
            # Where it happened, not what it said: the text of an error may quote a row.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("job %s pauses: %s\n%s", job_id, problem, place)
            self.pauses.failed(("job", job_id))
        else:
            self.pauses.succeeded(("job", job_id))

    # ── Proposed: the specification ──────────────────────────────────────────────────────────

    async def _deliver(self) -> None:
        for job in self._mine("PROPOSED"):
            with self._apart(job.id):
                await self._deliver_one(job)

    async def _deliver_one(self, job: LocalJob) -> None:
        key = ("deliver", job.id)
        if job.id in self.delivered or not self.pauses.is_due(key):
            return
        try:
            outcome = await deliver(self.site, job.id)
        except NodeError as problem:
            outcome = {"": problem.code}
        if set(outcome.values()) <= {"delivered"}:
            self.delivered.add(job.id)
            self.pauses.succeeded(key)
        else:
            log.warning("specification of %s: %s", job.id, outcome)
            self.pauses.failed(key)

    # ── Approved: slots at all parties, then the start ───────────────────────────────────────

    async def _start(self) -> None:
        for job in self._mine("APPROVED"):
            with self._apart(job.id):
                if not await self._start_one(job):
                    return  # oldest first: a younger job does not take what this one waits for

    async def _start_one(self, job: LocalJob) -> bool:
        """Whether nothing of this job keeps younger ones from their turn."""
        intent = f"job:{job.id}:start"
        with self.site.store.read() as session:
            asked = state_of(session, intent)
        if asked == "REFUSED":
            self._withdraw(job)
        if asked is not None:
            return True
        if not self.pauses.is_due(("start", job.id)):
            return False
        try:
            started = await self._try_start(job, intent)
        except NodeError as problem:
            log.warning("job %s does not start yet: %s", job.id, problem)
            started = False
        if started:
            self.pauses.succeeded(("start", job.id))
        else:
            self.pauses.failed(("start", job.id))
        return started

    async def _try_start(self, job: LocalJob, intent: str) -> bool:
        """Whether the start is asked for or the job withdrawn; False: try again later."""
        decision = decide(gather(self.site, job.id, "start"))
        if not decision.allowed:
            if all(isinstance(reason, Unavailable) for reason in decision.reasons):
                return False
            with self.site.store.begin() as session:
                entry = {"moment": "start", **decision.to_json()}
                record(session, "admission.decided", job.id, entry, "sync")
            self._withdraw(job, decision.reasons[0])
            return True
        if not await self._reserve(job):
            return False
        with chain_errors():
            call = self.site.network().jobs.start(job.id)
        with self.site.store.begin() as session:
            if session.get_one(LocalJob, job.id).state == "APPROVED":
                entry = {"moment": "start", **decision.to_json()}
                record(session, "admission.decided", job.id, entry, "sync")
                want(session, intent, call)
        return True

    async def _reserve(self, job: LocalJob) -> bool:
        """A slot at every party or at none."""
        until = time.time() + RESERVE_SECONDS
        reserved: list[str] = []
        try:
            with self.site.store.begin() as session:
                hold(session, job.id, until, self.site.settings.slots)
            for other in self._others(job.id):
                await self.site.peers.reserve(other, job.id, job.attempt, until)
                reserved.append(other)
        except NodeError as problem:
            log.info("job %s waits for slots: %s", job.id, problem)
            if problem.code == "SpecificationMissing":
                await self._deliver_again(job)
            await self._release(job, reserved)
            return False
        return True

    async def _release(self, job: LocalJob, reserved: list[str]) -> None:
        with self.site.store.begin() as session:
            session.execute(delete(Reservation).where(Reservation.job_id == job.id))
        for other in reserved:
            try:
                await self.site.peers.release(other, job.id)
            except NodeError as problem:
                log.info("slot at %s frees itself in time: %s", other, problem.code)

    async def _deliver_again(self, job: LocalJob) -> None:
        try:
            await deliver(self.site, job.id)
        except NodeError as problem:
            log.warning("specification of %s: %s", job.id, problem.code)

    def _withdraw(self, job: LocalJob, reason: NodeError | None = None) -> None:
        """A job that may not start any more is taken back, so that nobody waits for it."""
        with self.site.store.read() as session:
            known = session.get_one(LocalJob, job.id).reason
        told = known or "NotRunnable: it may not start" if reason is None else _told(reason)
        word = refusals.word(told.partition(":")[0])
        with chain_errors():
            call = self.site.network().jobs.cancel(job.id, self.site.id, word)
        with self.site.store.begin() as session:
            session.get_one(LocalJob, job.id).reason = told
            want(session, f"job:{job.id}:cancel", call)

    # ── Running: tasks ───────────────────────────────────────────────────────────────────────

    def _advance(self) -> None:
        for job in self._running():
            with self._apart(job.id):
                self._advance_one(job)
        self._ring()

    def _advance_one(self, job: LocalJob) -> None:
        with self.site.store.read() as session:
            tasks = list(session.scalars(_tasks(job)))
        failed = next((task for task in tasks if task.state == "FAILED"), None)
        if failed is not None and failed.error is not None:
            code = failed.error.get("why", failed.error["code"])
            self.give_up(job.id, code, failed.error["detail"])
        elif not tasks and self._is_party(job.id):
            self.give_up(job.id, "SpecificationMissing", "this site has no tasks for the job")
        else:
            self._make_ready(tasks)

    def _make_ready(self, tasks: list[Task]) -> None:
        """The first task that waits becomes READY when all before it succeeded."""
        for task in tasks:
            if task.state == "WAITING":
                with self.site.store.begin() as session:
                    move_task(session, task.id, "WAITING", "READY")
            if task.state != "SUCCEEDED":
                return

    def _ring(self) -> None:
        """Tell the workers what is READY; a bell may be lost, so it is rung until it is heard."""
        again = time.time() - RING_AGAIN_SECONDS
        unheard = or_(Task.rung_at.is_(None), Task.rung_at < again)
        query = select(Task.id).where(Task.state == "READY", unheard).order_by(Task.created_at)
        with self.site.store.read() as session:
            ready = list(session.scalars(query))
        for task_id in ready:
            try:
                ring(self.app, task_id)
            except Unavailable as problem:
                if not self.broker_away:
                    log.warning("%s", problem)
                self.broker_away = True
                return
            self.broker_away = False
            with self.site.store.begin() as session:
                session.get_one(Task, task_id).rung_at = time.time()

    def give_up(self, job_id: str, code: str, detail: str) -> None:
        """Fail a running job on the chain: every party hears it there and stops."""
        intent = f"job:{job_id}:fail"
        with self.site.store.read() as session:
            if state_of(session, intent) is not None:
                return
        with chain_errors():
            call = self.site.network().jobs.fail(job_id, self.site.id, refusals.word(code))
        with self.site.store.begin() as session:
            job = session.get_one(LocalJob, job_id)
            if job.state == "RUNNING":
                job.reason = f"{code}: {detail}"[:500]
                want(session, intent, call)

    # ── Succeeded: what remains to be shown ──────────────────────────────────────────────────

    async def _finish(self) -> None:
        for job in self._mine("SUCCEEDED", LocalJob.certificate.is_(None)):
            with self._apart(job.id):
                await self._finish_one(job)

    async def _finish_one(self, job: LocalJob) -> None:
        from node.certificate import issue

        if job.certificate is not None or not self._agrees(job):
            return
        if job.kind == "train" and job.model_id is None:
            self._register_model(job)
            return
        key = ("certificate", job.id)
        if not self.pauses.is_due(key):
            return
        try:
            await issue(self.site, job.id)
        except NodeError as problem:
            level = logging.INFO if problem.code == "EvidencePending" else logging.WARNING
            log.log(level, "certificate of %s: %s", job.id, problem)
            tell_silence(self.site, job, problem, time.time())
            self.pauses.failed(key)
        else:
            self.pauses.succeeded(key)

    # ── Ended: all parties' logs against each other ──────────────────────────────────────────

    def _agrees(self, job: LocalJob) -> bool:
        """Not if the logs were found to differ: `_reconcile` asks the parties again."""
        return job.reconciliation is None or bool(job.reconciliation["agrees"])

    async def _reconcile(self) -> None:
        for job in self._unpaused(due(self.site, time.time())):
            if not self.owed.is_due(job.id):
                continue
            with self._apart(job.id):
                await self._reconcile_one(job)
            return  # one in a tick: parties that answer slowly keep no job from its turn

    async def _reconcile_one(self, job: LocalJob) -> None:
        try:
            await reconcile_job(self.site, job.id)
        except NodeError as problem:
            log.info("reconciliation of %s: %s", job.id, problem)
            tell_silence(self.site, job, problem, time.time())
            self.owed.failed(job.id)
        else:
            self.owed.succeeded(job.id)

    def _register_model(self, job: LocalJob) -> None:
        from chain.certificate import model_digest

        intent = f"job:{job.id}:model"
        with self.site.store.read() as session:
            if state_of(session, intent) is not None:
                return
        if job.result is None:
            raise NotFound("NotFound", f"job {job.id} has no result here")
        digest = model_digest(job.id, job.result["parts"])
        with chain_errors():
            call = self.site.network().models.register(
                job.id, self.site.id, digest, (), secrets.randbits(128)
            )
        with self.site.store.begin() as session:
            want(session, intent, call)

    # ── Rows ─────────────────────────────────────────────────────────────────────────────────

    def _mine(self, state: str, *where: ColumnElement[bool]) -> list[LocalJob]:
        """Jobs that this site proposed, oldest first."""
        query = select(LocalJob).where(LocalJob.mine.is_(True), LocalJob.state == state, *where)
        with self.site.store.read() as session:
            found = list(session.scalars(query.order_by(LocalJob.created_at, LocalJob.id)))
        return self._unpaused(found)

    def _running(self) -> list[LocalJob]:
        query = select(LocalJob).where(LocalJob.state == "RUNNING").order_by(LocalJob.created_at)
        with self.site.store.read() as session:
            found = list(session.scalars(query))
        return self._unpaused(found)

    def _unpaused(self, jobs: list[LocalJob]) -> list[LocalJob]:
        return [job for job in jobs if self.pauses.is_due(("job", job.id))]

    def _is_party(self, job_id: str) -> bool:
        with self.site.store.read() as session:
            return session.get(JobParty, (job_id, self.site.id)) is not None

    def _others(self, job_id: str) -> list[str]:
        query = select(JobParty.site).where(
            JobParty.job_id == job_id, JobParty.site != self.site.id
        )
        with self.site.store.read() as session:
            return list(session.scalars(query.order_by(JobParty.position)))


def _tasks(job: LocalJob) -> Any:
    where = (Task.job_id == job.id, Task.attempt == job.attempt)
    return select(Task).where(*where).order_by(Task.position)


def _told(reason: NodeError) -> str:
    return f"{reason.code}: {reason.detail}"[:500]
