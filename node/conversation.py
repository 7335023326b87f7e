"""The child process of a task: admission once more, then the conversation of one step.

    python -m node.conversation TASK_ID --home HOME      (started by node.supervisor only)

It ends when its standard input closes, since then its supervisor is gone.  Whatever goes wrong
becomes a code and a sentence in the task's row; neither holds a secret or a row of a table.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from sqlalchemy import update

from node import refusals
from node.admission import Decision, decide
from node.audit.entries import record
from node.errors import NodeError
from node.facts import gather
from node.lifecycle import move_task
from node.site import Site
from node.specification import Specification
from node.store import LocalJob, Metric, Task

log = logging.getLogger(__name__)

CHAIN_LOOK_SECONDS = 1.0  # between two looks whether the chain answers again
PROGRESS_SECONDS = 0.5  # progress is written at most this often


def main(arguments: list[str] | None = None) -> int:
    """Run one task; the exit status is 0 if its row was settled."""
    parser = argparse.ArgumentParser(prog="python -m node.conversation")
    parser.add_argument("task_id")
    parser.add_argument("--home", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    threading.Thread(target=_die_with_supervisor, name="pipe", daemon=True).start()
    with Site.open(chosen.home) as site:
        owner = os.environ.get("FATECHAIN_LEASE_OWNER", "")
        return asyncio.run(run(site, chosen.task_id, owner))


def _die_with_supervisor() -> None:
    """Wait for the end of the pipe: a conversation that nobody watches must not go on."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(70)


async def run(site: Site, task_id: str, owner: str) -> int:
    """The task from admission to its settled row; 0 if this process settled it."""
    with site.store.read() as session:
        task = session.get_one(Task, task_id)
        job = session.get_one(LocalJob, task.job_id)
    if task.state != "RUNNING" or task.lease_owner != owner:
        return 1  # somebody else's by now
    try:
        await _admit(site, task)
        specification = Specification.model_validate(job.specification)
        settled = await _converse(site, task, specification, owner)
    except Exception as error:
        problem = refusals.from_error(error)
        if problem.code == "InternalError":
            # Where it happened, not what it said: the text of an error may quote a row.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("step %s: %s\n%s", task.step, type(error).__name__, place)
        settled = _failed(site, task, owner, problem)
    return 0 if settled else 1


# ── May it run? ──────────────────────────────────────────────────────────────────────────────


async def _admit(site: Site, task: Task) -> None:
    """Decide, waiting as long as staleness allows for a chain that does not answer."""
    end = time.monotonic() + site.settings.staleness_seconds
    while True:
        decision = decide(await asyncio.to_thread(gather, site, task.job_id, "task"))
        if decision.codes != ("ChainUnavailable",) or time.monotonic() > end:
            break
        await asyncio.sleep(CHAIN_LOOK_SECONDS)
    _record_decision(site, task, decision)
    decision.require()


def _record_decision(site: Site, task: Task, decision: Decision) -> None:
    data = {"moment": "task", "step": task.step, "attempt": task.attempt, **decision.to_json()}
    with site.store.begin() as session:
        record(session, "admission.decided", task.job_id, data, "worker")


# ── The conversation ─────────────────────────────────────────────────────────────────────────


async def _converse(site: Site, task: Task, spec: Specification, owner: str) -> bool:
    """Run the step's program and settle the row with its output; whether it was still ours."""
    from ml.federation import Channel, Party, Role
    from node.restarts import RunTransport, run_to_end
    from node.steps import PROGRAMS, Output, Step, folder_of

    parties = tuple(Party(Role(plan.role), plan.site) for plan in spec.parties)
    me = next(party for party in parties if party.site == site.id)
    end = time.monotonic() + spec.timeouts.step

    def transport() -> RunTransport:
        return RunTransport(
            site,
            task.job_id,
            task.step,
            task.attempt,
            me,
            parties,
            message_seconds=float(spec.timeouts.message),
            step_seconds=max(end - time.monotonic(), 0.0),
        )

    async def program(transport: RunTransport, run: int) -> tuple[Step, Output]:
        again = f"/{run}" if run else ""
        if run:
            _record_restart(site, task, run, transport.begun_by())
        channel = Channel(
            me=me,
            parties=parties,
            transport=transport,
            timeout=float(spec.timeouts.message),
            max_bytes=site.settings.max_message_bytes,
            context=f"{task.job_id}/{task.step}/{task.attempt}{again}".encode(),
            on_progress=_Progress(site, task),
            on_measure=_Measures(site, task),
        )
        step = Step(site, task.job_id, task.step, task.attempt, spec, me, channel)
        return step, await PROGRAMS[task.step](step)

    folder = folder_of(site.settings.jobs, task.job_id, task.attempt, task.step)

    async def admit() -> None:
        await _admit(site, task)

    step, output = await run_to_end(transport, folder / "run", program, admit)
    digest = step.write(output.files)
    now = time.time()
    with site.store.begin() as session:
        moved = move_task(
            session,
            task.id,
            "RUNNING",
            "SUCCEEDED",
            owner=owner,
            output_digest=digest,
            ended_at=now,
        )
        if not moved:
            return False
        if output.settle is not None:
            output.settle(session)
        data = {"task": task.id, "step": task.step, "attempt": task.attempt, "output": digest}
        record(session, "task.finished", task.job_id, data, "worker")
    step.forget()
    return True


def _record_restart(site: Site, task: Task, run: int, by: str) -> None:
    data = {"task": task.id, "step": task.step, "attempt": task.attempt, "run": run, "by": by}
    with site.store.begin() as session:
        record(session, "task.restarted", task.job_id, data, "worker")


def _failed(site: Site, task: Task, owner: str, problem: NodeError) -> bool:
    error = {"code": problem.code, "detail": problem.detail[:400]}
    why = problem.found
    if problem.code == "JobStopped" and isinstance(why, str) and why.isascii() and why.isalnum():
        error["why"] = why[:60]  # a partner stopped: its reason is the one that counts
    with site.store.begin() as session:
        moved = move_task(
            session, task.id, "RUNNING", "FAILED", owner=owner, error=error, ended_at=time.time()
        )
        if moved:
            data = {"task": task.id, "step": task.step, "attempt": task.attempt, **error}
            record(session, "task.failed", task.job_id, data, "worker")
    return moved


class _Measures:
    """Keeps the points of a step's curves as they come."""

    def __init__(self, site: Site, task: Task) -> None:
        self.site, self.task = site, task

    def __call__(self, name: str, x: int, y: float) -> None:
        with self.site.store.begin() as session:
            job, step = self.task.job_id, self.task.step
            session.add(Metric(job_id=job, step=step, name=name, x=x, y=y))


class _Progress:
    """Writes how far the step is, not more often than a person can read."""

    def __init__(self, site: Site, task: Task) -> None:
        self.site, self.task = site, task
        self.written = 0.0

    def __call__(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if done < total and now - self.written < PROGRESS_SECONDS:
            return
        self.written = now
        values = {"done": done, "total": total, "text": text[:200]}
        with self.site.store.begin() as session:
            session.execute(update(Task).where(Task.id == self.task.id).values(**values))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    sys.exit(main())
