"""One task from READY to its end, as seen from outside the conversation.

The supervisor enters by compare-and-set, starts ``python -m node.conversation`` as a child in a
process group of its own, renews the lease, and ends the child when the row says STOPPING or the
step lasts too long.  The child holds the read end of a pipe: when the supervisor dies by any
signal the pipe closes, and the child with it, so no conversation goes on unseen.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from node.audit.entries import record
from node.kept import forget
from node.lifecycle import MAX_RESTARTS, RESTARTED, move_task
from node.settings import Settings
from node.store import LocalJob, Store, Task

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between two looks at the row; a stop is done within one of them
GRACE_SECONDS = 1.0  # for a child to end by itself after SIGTERM


@dataclass(frozen=True)
class Claim:
    """A task that this process alone may work on."""

    task_id: str
    job_id: str
    step: str
    attempt: int
    owner: str
    step_timeout: float  # seconds


def supervise(home: Path, task_id: str) -> str | None:
    """Run the task to its end and return its state; None if it was not to be had."""
    settings = Settings.load(home)
    store = Store(settings.database_url)
    store.name_source(settings.site_id or f"urn:fatechain:{settings.name}")
    try:
        claimed = claim(store, task_id, settings)
        if claimed is None:
            return None
        command = [sys.executable, "-m", "node.conversation", task_id, "--home", str(home)]
        try:
            return Supervisor(store, claimed, settings.lease_seconds).run(command)
        finally:
            forget(settings.jobs, claimed.job_id)  # the child is gone, whatever it came to
    finally:
        store.dispose()


def claim(store: Store, task_id: str, settings: Settings) -> Claim | None:
    """READY → RUNNING with a lease; None if somebody else was first or it is not READY."""
    owner = f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"
    now = time.time()
    with store.begin() as session:
        taken = move_task(
            session,
            task_id,
            "READY",
            "RUNNING",
            lease_owner=owner,
            lease_until=now + settings.lease_seconds,
            started_at=now,
        )
        if not taken:
            return None
        task = session.get_one(Task, task_id)
        job = session.get_one(LocalJob, task.job_id)
        agreed = (job.specification or {}).get("timeouts", {}).get("step")
        data = {"task": task_id, "step": task.step, "attempt": task.attempt}
        record(session, "task.started", task.job_id, data, "worker")
        return Claim(
            task_id=task_id,
            job_id=task.job_id,
            step=task.step,
            attempt=task.attempt,
            owner=owner,
            step_timeout=float(agreed or settings.step_timeout_seconds),
        )


class Supervisor:
    """Watches one child.  ``clock`` is monotonic seconds, ``wall`` Unix seconds."""

    def __init__(
        self,
        store: Store,
        claimed: Claim,
        lease_seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.claim = claimed
        self.lease_seconds = lease_seconds
        self.clock = clock
        self.wall = wall
        self.started = 0.0  # by the clock, once it runs

    def run(self, command: Sequence[str]) -> str:
        """Start the child, watch it to its end, settle the row; the state it ended in."""
        self.started = self.clock()
        for _ in range(MAX_RESTARTS):
            why, returncode = self._run_once(command)
            if why != "ended" or self.claim.step not in RESTARTED or self._state() != "RUNNING":
                break
            log.warning("step %s ended with status %d: begins again", self.claim.step, returncode)
        else:
            why, returncode = self._run_once(command)
        return self._settle(why, returncode)

    def _run_once(self, command: Sequence[str]) -> tuple[str, int]:
        """Start the child and watch it to its end; why it ended, and with what status."""
        environment = os.environ | {"FATECHAIN_LEASE_OWNER": self.claim.owner}
        # The write end of this pipe is held here and nowhere else: it closes when we die.
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, start_new_session=True
        )
        try:
            why = self._watch(child)
        finally:
            end_group(child)
        return why, child.returncode

    def _watch(self, child: subprocess.Popen[bytes]) -> str:
        """Until the child ends ("ended") or has to: "stopping", "timeout" or "lost"."""
        renewed = self.started
        while True:
            try:
                child.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            else:
                return "ended"
            state = self._state()
            if state == "STOPPING":
                return "stopping"
            if state != "RUNNING":
                return "ended" if state in ("SUCCEEDED", "FAILED") else "lost"
            now = self.clock()
            if now - self.started > self.claim.step_timeout:
                return "timeout"
            if now - renewed > self.lease_seconds / 3:
                if not self._renew():
                    return "lost"
                renewed = now

    def _state(self) -> str | None:
        query = select(Task.state).where(
            Task.id == self.claim.task_id, Task.lease_owner == self.claim.owner
        )
        with self.store.read() as session:
            return session.scalar(query)

    def _renew(self) -> bool:
        mine = (
            Task.id == self.claim.task_id,
            Task.lease_owner == self.claim.owner,
            Task.state.in_(("RUNNING", "STOPPING")),
        )
        until = self.wall() + self.lease_seconds
        with self.store.begin() as session:
            result: Any = session.execute(update(Task).where(*mine).values(lease_until=until))
            return bool(result.rowcount == 1)

    def _settle(self, why: str, returncode: int) -> str:
        """Bring the row to an end where the child did not."""
        if why == "timeout":
            limit = f"{self.claim.step_timeout:g}"
            self._fail("StepTimeout", f"step {self.claim.step} took longer than {limit} s")
        elif why == "ended":
            how = f"signal {-returncode}" if returncode < 0 else f"status {returncode}"
            self._fail("WorkerLost", f"the conversation of step {self.claim.step} ended by {how}")
        self._stopped()
        return self._state() or "LOST"

    def _fail(self, code: str, detail: str) -> None:
        """RUNNING → FAILED; nothing where the child settled its row itself."""
        error = {"code": code, "detail": detail}
        with self.store.begin() as session:
            moved = move_task(
                session,
                self.claim.task_id,
                "RUNNING",
                "FAILED",
                owner=self.claim.owner,
                error=error,
                ended_at=self.wall(),
            )
            if moved:
                data = {"task": self.claim.task_id, "step": self.claim.step, **error}
                record(session, "task.failed", self.claim.job_id, data, "worker")

    def _stopped(self) -> None:
        """STOPPING → STOPPED, now that the child is gone."""
        with self.store.begin() as session:
            moved = move_task(
                session, self.claim.task_id, "STOPPING", "STOPPED", ended_at=self.wall()
            )
            if moved:
                task = session.get_one(Task, self.claim.task_id)
                data = {"task": task.id, "step": task.step, **(task.error or {})}
                record(session, "task.stopped", task.job_id, data, "worker")


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and all it started: politely, then for good."""
    if child.stdin is not None:
        child.stdin.close()
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("conversation %d does not end by itself", child.pid)
    # The leader may be gone and have left workers behind.
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        log.debug("process group %d is gone", group)
