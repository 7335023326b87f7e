"""What a step keeps on disk while it runs, for its conversation to go on after an interruption.

It tells more than the step's outputs do (`ml.vertical.checkpoints`), so it is gone with the step:
the conversation takes it away when it succeeded, the supervisor when its child ended, whatever the
end, the sync process when the job ended, and whatever a crash left, when it starts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import select

from node.lifecycle import TASK_ENDS
from node.store import LocalJob, Store, Task

KEPT = "kept"  # folder below the step's own


def forget(jobs: Path, job_id: str) -> int:
    """Take away what the steps of a job kept below ``jobs``; how many folders it were."""
    folders = list((jobs / job_id).glob(f"*/*/{KEPT}"))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return len(folders)


def forget_ended(store: Store, jobs: Path, since: float) -> int:
    """`forget` of all jobs that ended at ``since`` (Unix seconds) or later."""
    with store.read() as session:
        ended = session.scalars(select(LocalJob.id).where(LocalJob.ended_at >= since)).all()
    return sum(forget(jobs, job_id) for job_id in ended)


def sweep(store: Store, jobs: Path) -> int:
    """`forget` of every job in whose steps nobody is at work; how many folders it were."""
    found = {folder.parents[2].name for folder in jobs.glob(f"*/*/*/{KEPT}")}
    with store.read() as session:
        at_work = set(
            session.scalars(
                select(Task.job_id).where(Task.job_id.in_(found), Task.state.not_in(TASK_ENDS))
            )
        )
        # A task of a job that ended may be about to be stopped; its supervisor comes after it.
        ended = set(
            session.scalars(
                select(LocalJob.id).where(LocalJob.id.in_(found), LocalJob.ended_at.is_not(None))
            )
        )
    return sum(forget(jobs, job_id) for job_id in sorted((found - at_work) | (found & ended)))
