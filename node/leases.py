"""Who alone may do what, and until when: the sync process of a site, and the workers of its tasks.

A lease is a row with an end in the future.  Its holder renews it; when the holder is gone, the
lease runs out, and what it protected is free again, or lost.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from node.audit.entries import record
from node.errors import Conflict
from node.lifecycle import move_task
from node.store import Lease, Store, Task

LEASE = "sync"
LEASE_SECONDS = 15.0


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


# ── Tasks whose worker is lost ───────────────────────────────────────────────────────────────


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
