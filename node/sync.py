"""The one writer of a site: sends its transactions, follows the chain, orders the audit log.

    python -m node.sync --home HOME

One process per site, under a lease in the database.  Everything it does is read from rows and
written as rows, so it may be killed at any moment and goes on where it stood:

    chain     send what is wanted, read the confirmed events, end what the head does not allow
    log       give pending entries their places, anchor the head now and then and when a job ends
    tasks     end those whose lease ran out; beside the loop, the scheduler moves jobs on
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from node import projection
from node.admission import Decision, decide
from node.audit.entries import record, type_of
from node.chain_tx import OPEN, Sender, want
from node.directory import ChainDirectory
from node.errors import Conflict, Failed, NodeError, Unavailable
from node.facts import gather
from node.jobs import intent_refused
from node.lifecycle import TASK_ENDS, move_task
from node.scheduler import Scheduler
from node.site import Site
from node.store import (
    Anchor,
    AuditEntry,
    ChainEvent,
    ChainState,
    ChainTx,
    JobParty,
    Lease,
    LocalJob,
    Store,
    Task,
)

if TYPE_CHECKING:
    from chain.calls import BlockRef, EventRecord
    from chain.client import ChainClient
    from chain.indexer import Cursor, Indexer
    from chain.network import Network

log = logging.getLogger(__name__)

LOOP_SECONDS = 0.3  # a third of a block
LEASE = "sync"
LEASE_SECONDS = 15.0
RECHECK_SECONDS = 5.0  # grants expire without an event: running work is looked at this often
EXPIRE_PATIENCE_SECONDS = 30  # before others than the proposer end a job that is past its deadline


# ── Alone ────────────────────────────────────────────────────────────────────────────────────


class Alone:
    """The lease that makes this process the only sync of its site."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.clock = clock
        self.owner = f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"

    def acquire(self) -> None:
        """Take the lease, or raise `Conflict` (``AlreadyRunning``) while another sync lives."""
        now = self.clock()
        with self.store.begin() as session:
            row = session.get(Lease, LEASE)
            if row is None:
                session.add(Lease(name=LEASE, owner=self.owner, until=now + LEASE_SECONDS))
                return
            if row.owner != self.owner and row.until > now and not _is_dead(row.owner):
                raise Conflict(
                    "AlreadyRunning",
                    f"another sync of this site runs: {row.owner}",
                    found=row.owner,
                    hint=f"end it first; its lease runs out {LEASE_SECONDS:g} s after its death",
                )
            row.owner, row.until = self.owner, now + LEASE_SECONDS

    def renew(self) -> None:
        """Keep the lease; raises `Conflict` if another process took it meanwhile."""
        mine = (Lease.name == LEASE, Lease.owner == self.owner)
        until = self.clock() + LEASE_SECONDS
        with self.store.begin() as session:
            result: Any = session.execute(update(Lease).where(*mine).values(until=until))
        if result.rowcount != 1:
            raise Conflict("LeaseLost", "another sync of this site took over; this one ends")

    def release(self) -> None:
        """Let the next sync in at once."""
        mine = (Lease.name == LEASE, Lease.owner == self.owner)
        with self.store.begin() as session:
            session.execute(delete(Lease).where(*mine))


def _is_dead(owner: str) -> bool:
    """Whether the holder was a process of this machine that is gone (killed before it let go)."""
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname()[:30] or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


# ── Events into rows ─────────────────────────────────────────────────────────────────────────


class Events:
    """`chain.indexer.EventStore` over this site's database: events and their effect are one."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def load(self) -> Cursor | None:
        """How far the events were read."""
        from chain.indexer import Cursor

        with self.site.store.read() as session:
            state = session.get(ChainState, 1)
        if state is None or state.cursor_block < 0:
            return None
        return Cursor(state.cursor_block, state.cursor_hash)

    def commit(self, events: Sequence[EventRecord], cursor: Cursor) -> None:
        """Keep events, what follows from them, and the cursor."""
        me = self.site.settings.site_id
        with self.site.store.begin() as session:
            for event in events:
                session.add(
                    ChainEvent(
                        block=event.block_number,
                        block_hash=event.block_hash,
                        tx_hash=event.tx_hash,
                        log_index=event.log_index,
                        contract=event.contract,
                        name=event.name,
                        args=dict(event.args),
                    )
                )
                projection.apply(session, event, me)
            state = _chain_state(session)
            state.cursor_block, state.cursor_hash = cursor.number, cursor.hash


def _chain_state(session: Session) -> ChainState:
    state = session.get(ChainState, 1)
    if state is None:
        state = ChainState(id=1)
        session.add(state)
        session.flush()
    return state


# ── The loop ─────────────────────────────────────────────────────────────────────────────────


class Sync:
    """One pass after the other; ``step`` is one pass, for tests, too."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock
        self.client: ChainClient | None = None
        self.network: Network | None = None
        self.sender: Sender | None = None
        self.indexer: Indexer | None = None
        self.read_up_to: BlockRef | None = None  # the head of the last whole pass
        self.looked_at = -1  # the head that running work was last held against
        self.looked_when = 0.0

    def step(self) -> None:
        """One pass.  A silent chain holds up the log and the tasks in nothing.

        Raises `Failed` (``ChainRegressed``, ``WrongChain``): then the node must not go on.
        """
        self._chain()
        self._log()
        sweep_tasks(self.site.store, self.clock())

    # ── Chain ────────────────────────────────────────────────────────────────────────────────

    def _chain(self) -> None:
        from chain import errors

        try:
            self._connect()
            assert self.client is not None
            assert self.sender is not None
            assert self.indexer is not None
            head = self.client.head()
            if head == self.read_up_to:
                self.sender.send_new()  # nothing else can have changed
                return
            self._seen(head)
            self.sender.step(head.number)
            if self.indexer.step() and isinstance(self.site.directory, ChainDirectory):
                self.site.directory.forget()
            if self.site.is_registered:
                self._hold_to_head(head)
                self._expire(head)
                self._anchor()
            self.read_up_to = head
        except (errors.ChainRegressed, errors.WrongChain) as error:
            self._problem(type(error).__name__, str(error))
            raise Failed(type(error).__name__, str(error)) from error
        except errors.ChainUnavailable as error:
            self._problem("ChainUnavailable", str(error))
        except errors.ChainError as error:
            # An endpoint that answers, but not as it should (it lags, or refuses a fee): as bad
            # as silence, and told in its own words.
            self._problem(type(error).__name__, str(error))

    def _connect(self) -> None:
        """The client with the key; opened once the chain answers."""
        if self.client is not None and self.network is not None:
            return
        from chain.indexer import Indexer

        settings = self.site.settings
        self.network = self.site.network()
        self.client = self.site.client(self.site.identity.account)
        self.client.learn(self.network.contracts)
        self.sender = Sender(
            self.site.store,
            self.client,
            confirmations=settings.confirmations,
            on_refused=_refused,
        )
        reader = self.network.client
        reader.learn(self.network.contracts)
        self.indexer = Indexer(
            reader,
            self.network,
            Events(self.site),
            settings.confirmations,
            first_block=settings.from_block,
        )
        with self.site.store.begin() as session:
            _chain_state(session).chain_id = self.client.chain_id

    def _seen(self, head: BlockRef) -> None:
        """Note a new head; the first one after an outage goes into the audit log."""
        with self.site.store.begin() as session:
            state = _chain_state(session)
            if head.number > state.head_block or not state.seen_at:
                state.head_block, state.head_time = head.number, head.timestamp
                state.seen_at = self.clock()
            if state.problem:
                data = {"block": head.number, "was": state.problem[:200]}
                record(session, "chain.available", self._me(), data, "sync")
                state.problem = ""

    def _problem(self, code: str, detail: str) -> None:
        """Note an outage, once."""
        self.read_up_to = None
        told = f"{code}: {detail}"[:200]
        with self.site.store.begin() as session:
            state = _chain_state(session)
            if not state.problem:
                log.warning("%s", told)
                data = {"code": code, "detail": detail[:400]}
                record(session, "chain.unavailable", self._me(), data, "sync")
                state.problem = told

    def _me(self) -> str:
        return self.site.settings.site_id or f"urn:fatechain:{self.site.settings.name}"

    # ── Withdrawals ──────────────────────────────────────────────────────────────────────────

    def _hold_to_head(self, head: BlockRef) -> None:
        """End running work that the newest block does not allow, before it is confirmed."""
        assert self.network is not None
        if head.number <= self.looked_at:
            return
        # A reorganisation may put a withdrawal into a block that was looked at before.
        first = max(0, self.looked_at + 1 - self.site.settings.confirmations)
        running = self._running()
        due = self.clock() - self.looked_when > RECHECK_SECONDS
        if running:
            reader = self.network.client
            first = max(first, head.number - 1000)
            if due or reader.logs(first, head.number, self.network.contracts):
                for job_id in running:
                    self._recheck(job_id)
                self.looked_when = self.clock()
        self.looked_at = head.number

    def _running(self) -> list[str]:
        query = (
            select(LocalJob.id)
            .join(Task, Task.job_id == LocalJob.id)
            .where(LocalJob.state == "RUNNING", Task.state.not_in(TASK_ENDS))
        )
        with self.site.store.read() as session:
            return list(session.scalars(query.distinct()))

    def _recheck(self, job_id: str) -> None:
        """Admission of running work: permissions were confirmed before, withdrawals count now."""
        facts = gather(self.site, job_id, "task")
        facts = dataclasses.replace(facts, views=facts.views[-1:])
        decision = decide(facts)
        if decision.allowed or all(isinstance(why, Unavailable) for why in decision.reasons):
            return  # a silent chain pauses work, it does not end it
        self._stop(job_id, decision)

    def _stop(self, job_id: str, decision: Decision) -> None:
        """Stop this site's tasks, and fail the job for all unless it is over on the chain."""
        from node.refusals import word

        assert self.network is not None
        first = decision.reasons[0]
        over = "JobNotRunning" in decision.codes
        call = self.network.jobs.fail(job_id, self.site.id, word(first.code))
        error = {"code": first.code, "detail": first.detail}
        if over:
            found = self.network.jobs.job(job_id)
            ended = f"job {found.state}, by {found.ended_by or 'its deadline'}: {found.reason}"
            error = {"code": found.reason or "JobNotRunning", "detail": ended}
        with self.site.store.begin() as session:
            stopped = projection.stop_tasks(session, job_id, error)
            job = session.get_one(LocalJob, job_id)
            if not over and job.state == "RUNNING":
                job.reason = f"{first.code}: {first.detail}"[:500]
                want(session, f"job:{job_id}:fail", call)
            data = {"moment": "running", "stopped": stopped, **decision.to_json()}
            record(session, "admission.decided", job_id, data, "sync")
        log.warning("job %s stopped: %s", job_id, first)

    def _expire(self, head: BlockRef) -> None:
        """End jobs that are past their deadline; the proposer first, others if it does not."""
        assert self.network is not None
        for job_id, mine, deadline in self._deadlines():
            patience = 0 if mine else EXPIRE_PATIENCE_SECONDS
            if head.timestamp < deadline + patience:
                continue
            call = self.network.jobs.expire(job_id)
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

    # ── The audit log ────────────────────────────────────────────────────────────────────────

    def _log(self) -> None:
        while self.site.log.pending and self.site.log.sequence():
            pass

    def _anchor(self) -> None:
        """Ask for an anchor of the present head when one is due.

        Entries that tell of anchors alone make none due, else each anchor would call for the next.
        """
        assert self.network is not None
        with self.site.store.read() as session:
            flying = select(ChainTx.id).where(
                ChainTx.intent.like("anchor:%"), ChainTx.state.in_(OPEN)
            )
            if session.scalar(flying.limit(1)) is not None:
                return
            anchored = session.scalar(select(func.max(Anchor.size))) or 0
            if not self._is_anchor_due(session, anchored):
                return
        head, size = self.network.anchors.head(self.site.id), self.site.log.size
        if size <= head.size:
            return
        root = "0x" + self.site.log.root(size).hex()
        proof: list[str] = []
        if head.size:
            proof = ["0x" + node.hex() for node in self.site.log.consistency_proof(head.size, size)]
        call = self.network.anchors.anchor(self.site.id, size, root, proof)
        with self.site.store.begin() as session:
            want(session, f"anchor:{self.site.id}:{size}", call)

    def _is_anchor_due(self, session: Session, anchored: int) -> bool:
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


def _refused(session: Session, row: ChainTx, reason: NodeError) -> None:
    log.warning("%s: %s", row.intent, reason)
    intent_refused(session, row.intent, reason)


def sweep_tasks(store: Store, now: float) -> int:
    """End tasks whose lease ran out: their worker is lost.  How many were ended."""
    late = (Task.state.in_(("RUNNING", "STOPPING")), Task.lease_until < now)
    with store.read() as session:
        lost = list(session.scalars(select(Task.id).where(*late)))
    ended = 0
    for task_id in lost:
        with store.begin() as session:
            ended += _end_lost(session, task_id, now)
    return ended


def _end_lost(session: Session, task_id: str, now: float) -> bool:
    task = session.get_one(Task, task_id)
    if task.lease_until is None or task.lease_until >= now:
        return False  # renewed in the meantime
    state, job_id, step, owner = task.state, task.job_id, task.step, task.lease_owner
    data: dict[str, Any] = {"task": task_id, "step": step}
    if state == "STOPPING":
        data |= task.error or {}
        if not move_task(session, task_id, "STOPPING", "STOPPED", owner=owner, ended_at=now):
            return False
        record(session, "task.stopped", job_id, data, "sync")
        return True
    error = {"code": "WorkerLost", "detail": f"the worker of step {step} gave no sign of life"}
    moved = move_task(session, task_id, "RUNNING", "FAILED", owner=owner, error=error, ended_at=now)
    if moved:
        record(session, "task.failed", job_id, data | error, "sync")
    return moved


# ── The process ──────────────────────────────────────────────────────────────────────────────


class Process:
    """The loop with its scheduler beside it, until it is told to end."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sync = Sync(site)
        self.alone = Alone(site.store)
        self.ending = threading.Event()

    def run(self) -> None:
        """Serve until `end`.  Raises `Conflict` (``AlreadyRunning``, ``LeaseLost``), `Failed`."""
        self.alone.acquire()
        scheduling = threading.Thread(target=self._schedule, name="scheduler")
        scheduling.start()
        try:
            self._serve()
        finally:
            self.ending.set()
            scheduling.join()
            self.alone.release()

    def end(self) -> None:
        """Finish the present pass and return from `run`."""
        self.ending.set()

    def _serve(self) -> None:
        renewed = time.monotonic()
        while not self.ending.is_set():
            if time.monotonic() - renewed > LEASE_SECONDS / 3:
                self.alone.renew()
                renewed = time.monotonic()
            try:
                self.sync.step()
            except Unavailable as problem:
                log.warning("%s", problem)  # the database: it is asked again at the next pass
            self.ending.wait(LOOP_SECONDS)

    def _schedule(self) -> None:
        scheduler = Scheduler(self.site)
        with asyncio.Runner() as runner:
            while not self.ending.is_set():
                try:
                    runner.run(scheduler.tick())
                except NodeError as problem:
                    log.warning("scheduler: %s", problem)
                except Exception:
                    # A mistake of ours in one tick must not end the scheduling of all jobs.
                    log.exception("scheduler")
                self.ending.wait(LOOP_SECONDS)


def run(site: Site) -> None:
    """Be the sync process of a site until SIGTERM or SIGINT."""
    process = Process(site)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.end())
    process.run()


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m node.sync")
    parser.add_argument("--home", type=Path, default=os.environ.get("FATECHAIN_HOME"))
    home: Path | None = parser.parse_args(arguments).home
    if home is None:
        parser.error("--home or FATECHAIN_HOME is needed")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    with Site.open(home) as site:
        try:
            run(site)
        except NodeError as problem:
            log.error("%s", problem)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
