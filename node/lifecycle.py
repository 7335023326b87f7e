"""The states of jobs and tasks as two tables of allowed moves, and the one way to move.

A job's moves are the contract's (a test compares them), with two states before the chain knows of
it: SUBMITTED (asked for, not on the chain yet) and REFUSED (the chain did not take it).  A move is
a compare-and-set: of all who try, one succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from node.store import LocalJob, Task

SUBMITTED, REFUSED = "SUBMITTED", "REFUSED"
RESTARTED = frozenset({"train"})  # steps whose conversations begin again (node.restarts)
MAX_RESTARTS = 3  # of the conversation of one party that ended without a word

JOB_MOVES: Mapping[str, frozenset[str]] = {
    SUBMITTED: frozenset({"PROPOSED", REFUSED}),
    REFUSED: frozenset(),
    "PROPOSED": frozenset({"APPROVED", "REJECTED", "CANCELLED", "EXPIRED"}),
    "APPROVED": frozenset({"RUNNING", "CANCELLED", "EXPIRED"}),
    "RUNNING": frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}),
    "SUCCEEDED": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
    "REJECTED": frozenset(),
    "EXPIRED": frozenset(),
}

TASK_MOVES: Mapping[str, frozenset[str]] = {
    "WAITING": frozenset({"READY", "STOPPED"}),
    "READY": frozenset({"RUNNING", "STOPPED"}),
    "RUNNING": frozenset({"SUCCEEDED", "FAILED", "STOPPING"}),
    "STOPPING": frozenset({"STOPPED"}),
    "SUCCEEDED": frozenset(),
    "FAILED": frozenset(),
    "STOPPED": frozenset(),
}

JOB_ENDS = frozenset(state for state, moves in JOB_MOVES.items() if not moves)
TASK_ENDS = frozenset(state for state, moves in TASK_MOVES.items() if not moves)


class IllegalMove(ValueError):
    """A move that no table allows: a mistake in the program, not in the data."""

    def __init__(self, what: str, frm: str, to: str) -> None:
        super().__init__(f"{what} may not move from {frm} to {to}")


def move_job(session: Session, job_id: str, frm: str, to: str, **values: Any) -> bool:
    """Move a job if it still is in ``frm``; whether it was."""
    _check("a job", JOB_MOVES, frm, to)
    where = (LocalJob.id == job_id, LocalJob.state == frm)
    return _moved(session.execute(update(LocalJob).where(*where).values(state=to, **values)))


def move_task(
    session: Session, task_id: str, frm: str, to: str, *, owner: str | None = None, **values: Any
) -> bool:
    """Move a task if it still is in ``frm`` (and its lease is ``owner``'s); whether it was."""
    _check("a task", TASK_MOVES, frm, to)
    where = [Task.id == task_id, Task.state == frm]
    if owner is not None:
        where.append(Task.lease_owner == owner)
    return _moved(session.execute(update(Task).where(*where).values(state=to, **values)))


def _check(what: str, moves: Mapping[str, frozenset[str]], frm: str, to: str) -> None:
    if to not in moves[frm]:
        raise IllegalMove(what, frm, to)


def _moved(result: Any) -> bool:
    assert isinstance(result, CursorResult)
    return bool(result.rowcount == 1)
